import numpy as np
import pytest

from eds_xr.spectra.identification.candidates import FAMILY_RATIO, make_candidates
from eds_xr.spectra.identification.channels import bin_starts
from eds_xr.spectra.shapes.families import Calibration
from eds_xr.xray import lines as xray_lines

ENERGY = -0.2 + 0.01 * np.arange(1300)
STARTS = bin_starts(ENERGY[60:], 130.0)


@pytest.mark.parametrize("element", ["Fe", "Hf", "Mg"])
def test_make_candidates__one_shape_a_family_and_the_limits_of_their_ratios(element):
    one = make_candidates([element], ENERGY[60:], STARTS, Calibration(), 200.0)[0]
    families = one.shapes.shape[1]
    assert one.corners.shape[0] == families == len(one.doubts)
    assert one.shapes.sum(axis=0).max() <= 1 + 1e-9
    if families > 1:
        ratios = one.corners[0] / one.corners[1]
        assert ratios.max() / ratios.min() == pytest.approx(FAMILY_RATIO**2)
    for line, _, share in one.lines:
        assert xray_lines.split_line(line)[0] == element
        assert 0 < share <= 1
