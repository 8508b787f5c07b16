import numpy as np
import pytest

from eds_xr.schema import EdsError
from eds_xr.spectra.line_fits.chosen_lines import (
    check_calibration,
    chosen_elements,
    fit_attrs,
    left_out,
    left_out_message,
    reported_lines,
)
from eds_xr.spectra.shapes.families import Calibration, families_seen

ENERGY = np.arange(0.7, 12.5, 0.01)


def reported(elements, lines=None, energy=ENERGY):
    return reported_lines(elements, lines, energy, 200.0, families_seen(elements, energy, 200.0))


def test_reported_lines__the_principal_one_of_each_element():
    found = reported(["O", "Fe", "U"])
    assert list(found) == ["Fe_Ka", "U_Ma"]
    column, share = found["Fe_Ka"]
    assert families_seen(["O", "Fe", "U"], ENERGY, 200.0)[column].shell == "K"
    assert 0.85 < share < 0.9  # of K, the rest is Kb


def test_reported_lines__those_asked_for_in_their_order():
    assert list(reported(["Fe", "Nd"], ["Nd_Lb1", "Fe_Kb"])) == ["Nd_Lb1", "Fe_Kb"]
    with pytest.raises(EdsError, match=r"Fe_La lies outside 0.80 to 12.49 keV, or its element"):
        reported(["Fe"], ["Fe_La"], ENERGY[ENERGY > 0.795])
    with pytest.raises(EdsError, match="none of O, H has a principal line"):
        reported(["O", "H"])


def test_left_out_message__names_range_and_cure():
    assert left_out(["O", "Fe", "H"], ["Fe_Ka"]) == ["O", "H"]
    message = left_out_message(["O", "U"], ENERGY[:100])
    assert message.startswith("no results for O, U, without a strong line between 0.70 and 1.69")
    assert message.endswith(
        "widen range_kev (O_Ka at 0.52 keV, U_Ma at 3.17 keV), or leave them out"
    )
    assert left_out_message(["H"], ENERGY).endswith("12.49 keV: leave them out")


def test_chosen_elements__given_or_of_the_attributes():
    assert chosen_elements({"elements": ["Si"]}, None, "call") == ["Si"]
    assert chosen_elements({"elements": ["Si"]}, ["Fe", "Fe"], "call") == ["Fe"]
    with pytest.raises(EdsError, match=r"no elements to fit: give them, fit\(\['Mg'\]\)"):
        chosen_elements({}, None, "fit(['Mg'])")


def test_fit_attrs__tell_the_calibration():
    attrs = fit_attrs(["O", "Fe"], ["Fe_Ka"], Calibration(1.01, 0.002))
    assert attrs["left_out"] == ["O"]
    assert (attrs["calibration_gain"], attrs["calibration_offset_kev"]) == (1.01, 0.002)
    with pytest.raises(EdsError, match=r"expected a calibration from eds_xr.calibrate.*found 1.01"):
        check_calibration(1.01)
