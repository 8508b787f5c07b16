"""Halves of the counts are independent; lines that are held out are not chosen on."""

import math

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import counts_image, refuse

from eds_xr import simulate
from eds_xr.image.element_maps import element_map
from eds_xr.image.split import hold_out, split_counts
from eds_xr.schema import EdsError
from eds_xr.xray.lines import family
from eds_xr.xray.windows import line_windows_kev

SHAPE = (40, 40, 1024)


@pytest.fixture(scope="module")
def simulated() -> xr.DataArray:
    return simulate.spectrum_image(SHAPE, 300, seed=4)


@settings(max_examples=30)
@given(
    dtype=st.sampled_from(["uint8", "uint16", "int64", ">u2"]),
    chunk=st.integers(1, 5),
    seed=st.integers(0, 2**63),
)
def test_split_counts__halves_add_up(dtype, chunk, seed):
    values = np.random.default_rng(1).integers(0, 256, (5, 4, 6)).astype(dtype)
    first, second = split_counts(counts_image(values).chunk(y=chunk, x=chunk), seed=seed)
    np.testing.assert_array_equal(first.values + second.values, values)
    assert first.values.min() >= 0
    assert second.values.min() >= 0


def test_split_counts__is_the_same_for_any_chunks(spectrum_image, eager_image):
    for found, expected in zip(
        split_counts(spectrum_image, seed=3), split_counts(eager_image, seed=3), strict=True
    ):
        xr.testing.assert_identical(found.compute(), expected.compute())


def test_split_counts__halves_of_poisson_counts_are_independent():
    counts = np.random.default_rng(2).poisson(6.0, (60, 60, 20)).astype(np.uint8)
    first, second = (half.values.astype(float) for half in split_counts(counts_image(counts)))
    error = np.sqrt(3 / counts.size)
    assert first.mean() == pytest.approx(3, abs=4 * error)
    assert first.var() == pytest.approx(3, rel=0.05)
    correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(counts.size)


def test_split_counts__holds_many_counts_in_a_voxel():
    first, _ = split_counts(counts_image(np.full((20, 20, 10), 60_000, np.uint16)))
    z = (first.values - 30_000.0) / np.sqrt(15_000)
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert z.std() == pytest.approx(1, abs=0.1)


def test_split_counts__seeds_differ(eager_image):
    assert (split_counts(eager_image, seed=1)[0] != split_counts(eager_image, seed=2)[0]).any()


def test_split_counts__computes_nothing_until_asked(spectrum_image):
    with dask.config.set(scheduler=refuse):
        first, _ = split_counts(spectrum_image)
    assert first.chunks is not None


def test_split_counts__refuses(eager_image):
    with pytest.raises(EdsError, match="only whole counts"):
        split_counts(eager_image * 1.0)
    with pytest.raises(EdsError, match="seed"):
        split_counts(eager_image, seed=-1)
    with pytest.raises(EdsError, match="negative values"):
        split_counts(eager_image.astype(np.int16) - 1)[0].compute()


def test_hold_out__no_count_is_left_in_the_windows(simulated):
    choose, quantify = hold_out(simulated, ["Nd", "U"])
    assert quantify is simulated
    assert choose.dtype == simulated.dtype
    assert choose.chunks == simulated.chunks
    spectrum, full = choose.sum(("y", "x")).compute(), simulated.sum(("y", "x")).compute()
    inside = np.zeros(spectrum.size, bool)
    for element, shell in (("Nd", "L"), ("U", "M")):  # of their principal lines
        for line in (x for x in family(element, shell) if x.weight > 0.01):
            _, (low, _), (_, high) = line_windows_kev(line.name)
            inside |= ((spectrum.energy >= low) & (spectrum.energy <= high)).values
    assert 100 < inside.sum() < spectrum.size / 2
    assert full.values[inside].sum() > 0
    assert spectrum.values[inside].sum() == 0
    np.testing.assert_array_equal(spectrum.values[~inside], full.values[~inside])


def test_hold_out__of_a_line_takes_its_family(simulated):
    one, family_l, element, family_m = (
        hold_out(simulated, [what])[0].sum(("y", "x")).compute()
        for what in ("Nd_La", "Nd_Lb1", "Nd", "Nd_Ma")
    )
    xr.testing.assert_equal(one, family_l)
    xr.testing.assert_equal(one, element)
    at_m = int(np.argmin(abs(one.energy.values - 0.98)))  # Nd Ma
    assert int(one[at_m]) > 0
    assert int(family_m[at_m]) == 0


def test_hold_out__halves_are_those_of_split_counts(simulated):
    for found, expected in zip(
        hold_out(simulated, "half", seed=3), split_counts(simulated, seed=3), strict=True
    ):
        xr.testing.assert_identical(found.compute(), expected.compute())


def test_hold_out__is_the_same_for_any_chunks(spectrum_image, eager_image):
    for what in (["Ca"], "half"):
        for found, expected in zip(
            hold_out(spectrum_image, what), hold_out(eager_image, what), strict=True
        ):
            xr.testing.assert_identical(found.compute(), expected.compute())


def test_hold_out__computes_nothing_until_asked(simulated):
    with dask.config.set(scheduler=refuse):
        hold_out(simulated, ["Nd"])
        hold_out(simulated, "half")


def test_hold_out__frees_net_counts_of_selection_bias():
    """Every pixel alike: whichever are chosen, their Nd per pixel is that of all."""
    matrix = simulate.PYROLITE_71GPA[:1]
    image = simulate.spectrum_image((64, 64, 1024), 150, seed=8, phases=matrix).persist()

    def excess(choose: xr.DataArray, quantify: xr.DataArray) -> float:
        """Net Nd of the tenth of the pixels that look richest in it, less the mean's, in sigma."""
        window = element_map(choose, "Nd_La", background=False)
        score = (window + 1e-3 * choose.sum("energy")).compute()
        mask = score > score.quantile(0.9)
        net = element_map(quantify, "Nd_La").compute()
        share = float(mask.mean())
        rest = float(net.where(mask).sum()) - share * float(net.sum())
        return rest / math.sqrt(float(net.variance.where(mask).sum()) * (1 - share))

    assert excess(image, image) > 10  # chosen and measured on the same counts
    assert abs(excess(*hold_out(image, ["Nd"]))) < 3
    assert abs(excess(*hold_out(image, "half", seed=1))) < 3


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ([], "found none"),
        ("Nd", "'half'"),
        (["Xx"], "no chemical element"),
        (["Nd_Zz"], "no line"),
        (["Ag_Ka"], "no line between"),
        (["He"], "no principal line"),
        (5, "must be a list"),
        ([None], "expected elements or lines"),
    ],
)
def test_hold_out__refuses(eager_image, what, message):
    with pytest.raises(EdsError, match=message):
        hold_out(eager_image, what)


def test_hold_out__refuses_to_hold_out_everything(eager_image):
    with pytest.raises(EdsError, match="no channel is left"):
        hold_out(eager_image.sel(energy=slice(3.6, 3.8)), ["Ca"])
