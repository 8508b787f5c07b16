import numpy as np
import pytest

from eds_xr.spectra.identification.candidates import make_candidates
from eds_xr.spectra.identification.channels import bin_starts
from eds_xr.spectra.shapes.families import Calibration
from eds_xr.xray import lines as xray_lines

ENERGY = -0.2 + 0.01 * np.arange(1300)
STARTS = bin_starts(ENERGY[60:], 130.0)


# grids emit K of iron without L; no foil absorbs M of hafnium; magnesium has K only
@pytest.mark.parametrize(("element", "ratio"), [("Fe", 4 * 4 / 0.02), ("Hf", 16), ("Mg", 1)])
def test_make_candidates__one_shape_a_family_and_the_limits_of_their_ratios(element, ratio):
    one = make_candidates([element], ENERGY[60:], STARTS, Calibration(), 200.0)[0]
    families = one.shapes.shape[1]
    assert one.corners.shape[0] == families == len(one.doubts)
    assert one.shapes.sum(axis=0).max() <= 1 + 1e-9
    if families > 1:
        ratios = one.corners[0] / one.corners[1]
        assert ratios.max() / ratios.min() == pytest.approx(ratio)
    for line, _, share in one.lines:
        assert xray_lines.split_line(line)[0] == element
        assert 0 < share <= 1
