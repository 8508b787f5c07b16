"""The accessor binds; it adds nothing."""

import inspect

import numpy as np
import xarray as xr

import eds_xr
from eds_xr import accessor


def _bound(cls):
    return {n: m for n, m in vars(cls).items() if callable(m) and not n.startswith("_")}


def test_accessors__methods_are_the_plain_functions():
    for cls in (accessor.ArrayAccessor, accessor.DatasetAccessor, accessor.TreeAccessor):
        for method in _bound(cls).values():
            assert method.__wrapped__.__doc__ == method.__doc__
            assert method.__wrapped__.__module__.startswith("eds_xr.")


def test_accessor__does_the_same(spectrum_image):
    xr.testing.assert_identical(
        spectrum_image.eds.rebin(y=2, energy=4), eds_xr.rebin(spectrum_image, y=2, energy=4)
    )


def test_accessor__is_there_on_everything():
    assert xr.DataArray(np.zeros(3)).eds is not None
    assert xr.Dataset().eds is not None


def test_public_functions__have_docstrings_that_say_lazy_or_computes():
    for name in eds_xr.__all__:
        thing = getattr(eds_xr, name)
        if inspect.isfunction(thing) and thing.__module__ not in ("eds_xr.provenance",):
            assert thing.__doc__, name
