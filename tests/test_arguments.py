"""Numbers, ranges and confidences that callers give."""

import numpy as np
import pytest
import xarray as xr

from eds_xr import arguments
from eds_xr.schema import EdsError

LINES = xr.DataArray(np.ones((2, 3)), {"phase": ["Brg", "Fp"]}, ("phase", "line"))


@pytest.mark.parametrize("given", [2, "2", 2.0, np.float32(2), xr.DataArray(2)])
def test_number__of_any_kind(given):
    assert arguments.number(given, "the width") == 2.0


@pytest.mark.parametrize("given", [None, "wide", [1, 2], {}])
def test_number__refuses_by_name(given):
    with pytest.raises(EdsError, match="the width must be a number, found"):
        arguments.number(given, "the width")


def test_attribute_number__default_only_where_there_is_none():
    assert arguments.attribute_number({}, "beam_energy_kev", 200.0) == 200.0
    assert arguments.attribute_number({"beam_energy_kev": 0}, "beam_energy_kev", 200.0) == 0.0
    with pytest.raises(EdsError, match="the attribute beam_energy_kev must be a number"):
        arguments.attribute_number({"beam_energy_kev": "high"}, "beam_energy_kev", 200.0)


@pytest.mark.parametrize("given", [(0.7, 12.5), [0.7, 12], (None, 3), (3, None), (None, None)])
def test_check_range_kev__accepts(given):
    arguments.check_range_kev(given)


@pytest.mark.parametrize("given", [(12.5, 0.7), (1, 1), 3.0, (1, 2, 3), slice(1, 2), "1-2"])
def test_check_range_kev__refuses(given):
    with pytest.raises(EdsError, match="the lower first"):
        arguments.check_range_kev(given)


def test_number_or_array__numbers_become_arrays_and_arrays_stay():
    values = xr.DataArray([1.0, 2.0], dims="phase")
    assert arguments.number_or_array(values, "thickness") is values
    assert arguments.number_or_array(3, "thickness").item() == 3.0
    for wrong in ("3", [1, 2], np.ones(2)):
        with pytest.raises(EdsError, match="thickness must be a number, or a DataArray"):
            arguments.number_or_array(wrong, "thickness")


def test_check_fits__dimension_size_and_names_of_the_lines():
    names = {"phase": ["Brg", "Fp"]}
    arguments.check_fits(xr.DataArray(1.0), LINES, "thickness")
    arguments.check_fits(xr.DataArray([1.0, 2.0], names, "phase"), LINES, "thickness")
    with pytest.raises(EdsError, match="or lie along dimensions of the lines"):
        arguments.check_fits(xr.DataArray([1.0], dims="y"), LINES, "thickness")
    with pytest.raises(EdsError, match="or lie along dimensions of the lines"):
        arguments.check_fits(xr.DataArray([1.0] * 3, dims="phase"), LINES, "thickness")
    swapped = xr.DataArray([1.0, 2.0], {"phase": ["Fp", "Brg"]}, "phase")
    with pytest.raises(EdsError, match="other names or positions along 'phase'"):
        arguments.check_fits(swapped, LINES, "thickness")


@pytest.mark.parametrize("given", [0.49, 1, 95, "0.95"])
def test_check_confidence__refuses(given):
    arguments.check_confidence(0.95)
    with pytest.raises(EdsError, match="confidence must be between 0.5 and 1"):
        arguments.check_confidence(given)
