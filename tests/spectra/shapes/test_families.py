import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.line_spectra import (
    CALCIUM,
    ENERGY,
    TRUE_AXIS,
    as_spectra,
)

from eds_xr import simulate
from eds_xr.schema import EdsError
from eds_xr.spectra.line_fits.fit_lines import fit_lines
from eds_xr.spectra.shapes.families import Calibration, Shapes, families_seen
from eds_xr.xray.detector import escape_fraction

WIDE = np.arange(0.2, 20.0, 0.01)


def calcium(background):
    bare = simulate.Instrument(stray={}, background=background)
    return 1e6 * simulate.phase_spectra(CALCIUM, ENERGY, instrument=bare).loadings[0]


def test_fit_lines__escape_peaks_are_part_of_the_line():
    mean, share = calcium(0.17), float(escape_fraction(3.70))
    lines = (0.83 * calcium(0)).where(mean.energy > 3.2, 0)
    moved = (share * lines).shift(energy=-174, fill_value=0)
    spectra = as_spectra(mean - share * lines + moved)
    true = fit_lines(as_spectra(mean), ["Ca"], calibration=TRUE_AXIS).net
    with_escape = fit_lines(spectra, ["Ca"], calibration=TRUE_AXIS, escape=True)
    without = fit_lines(spectra, ["Ca"], calibration=TRUE_AXIS)
    assert float(with_escape.net[0]) == pytest.approx(float(true[0]), rel=1e-3)
    assert float(without.net[0]) == pytest.approx((1 - share) * float(true[0]), rel=5e-4)
    # escape peaks are found where they are not expected, too: no peak is left
    assert without.attrs["warnings"] == with_escape.attrs["warnings"] == []
    assert float(without.reduced_chi2) == pytest.approx(float(with_escape.reduced_chi2), rel=0.1)


@pytest.mark.parametrize("escape", [False, True])
@pytest.mark.parametrize(("element", "shell"), [("Fe", "K"), ("Nd", "L"), ("U", "M")])
def test_families_seen__photons_and_shares_add_up_to_one(element, shell, escape):
    seen = families_seen([element, element], WIDE, 200.0, escape=escape)
    (one,) = [f for f in seen if f.shell == shell]
    assert sum(one.photons) == pytest.approx(1)
    assert sum(one.groups.values()) == pytest.approx(1)


def test_families_seen__only_what_reaches_the_axis():
    shells = [(f.element, f.shell) for f in families_seen(["O", "Fe", "U"], WIDE[WIDE > 3], 200.0)]
    assert shells == [("Fe", "K"), ("U", "L"), ("U", "M")]
    assert [f.shell for f in families_seen(["Fe"], WIDE, 5.0)] == ["L"]  # the beam is too slow


@given(
    gain=st.floats(0.99, 1.01), offset=st.floats(-0.05, 0.05), fine=st.sampled_from([0.005, 0.02])
)
def test_shapes__hold_all_counts_of_a_family_at_its_place(gain, offset, fine):
    energy = np.arange(0.0, 14.0, fine)
    families = [f for f in families_seen(["Si", "Fe"], energy, 200.0) if f.shell == "K"]
    made = Shapes(energy, families, Calibration(gain, offset), 200.0)
    peaks = made.design[:, :2]
    np.testing.assert_allclose(peaks.sum(axis=0), 1, rtol=1e-6)
    mean = [np.dot(f.energies_kev, f.photons) for f in families]
    np.testing.assert_allclose(made.true @ peaks, mean, atol=1e-4)
    np.testing.assert_allclose(made.peaks(families), peaks)


def test_shapes__lines_that_coincide_are_refused_where_asked_for():
    energy = np.arange(1.5, 6.0, 0.01)
    families = [f for f in families_seen(["Fe"], np.arange(4.0, 9.0, 0.01), 200.0)]
    twice = Shapes(energy + 2, [*families, *families], Calibration(), 200.0)
    with pytest.raises(EdsError, match="the K lines of Fe and the K lines of Fe coincide"):
        twice.check_separable([0])
    twice.check_separable([])
