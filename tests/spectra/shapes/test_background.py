import numpy as np
import pytest
from support.line_spectra import ELEMENTS, ENERGY, FOIL, STRAY, as_spectra, draw, mean_counts

from eds_xr.schema import EdsError
from eds_xr.spectra.line_fits.fit_lines import fit_lines
from eds_xr.spectra.shapes.background import (
    BACKGROUNDS,
    Bremsstrahlung,
    background_shapes,
    flexible_background,
)
from eds_xr.xray.detector import detector_efficiency

AXIS = ENERGY[ENERGY > 0.7]

PLUG_IN = """
import numpy as np

class Hyperbola:
    def shapes(self, energy, beam_kev, attrs):
        return np.stack([1 / energy, np.full_like(energy, attrs.get("floor", 1.0))], axis=1)

class Empty:
    def shapes(self, energy, beam_kev, attrs):
        return np.zeros((energy.size, 1))

hyperbola, empty = Hyperbola(), Empty()
"""


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """A distribution of another package with backgrounds, as an installer leaves it."""
    (tmp_path / "toy_backgrounds.py").write_text(PLUG_IN)
    info = tmp_path / "toy_backgrounds-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-backgrounds\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[eds_xr.backgrounds]\nhyperbola = toy_backgrounds:hyperbola\n"
        "empty = toy_backgrounds:empty\nlost = toy_backgrounds:no_such_name\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_fit_lines__background_of_another_package(plug_in):
    spectrum = draw(mean_counts(1e6), 0)
    lines = fit_lines(spectrum, ELEMENTS, stray=STRAY, background="hyperbola")
    fitted = lines.background_model.isel(phase=0).values  # nothing but its two terms
    terms = np.stack([1 / lines.energy.values, np.ones(lines.sizes["energy"])], axis=1)
    amounts, *_ = np.linalg.lstsq(terms, fitted, rcond=None)
    np.testing.assert_allclose(terms @ amounts, fitted, rtol=1e-6, atol=1e-6)
    assert lines.attrs["calibration_source"] == "fitted"


def test_background_shapes__what_is_wrong_with_a_plug_in(plug_in):
    with pytest.raises(EdsError, match="one of 'flexible', 'physical', 'hyperbola', .*'linear'"):
        background_shapes("linear", AXIS, 200.0, {})
    with pytest.raises(EdsError, match="'empty' gives no terms to fit: .* above zero somewhere"):
        background_shapes("empty", AXIS, 200.0, {})
    with pytest.raises(EdsError, match="'lost' cannot be loaded from toy_backgrounds:no_such_name"):
        background_shapes("lost", AXIS, 200.0, {})


def test_background_shapes__of_attributes_and_by_itself(plug_in):
    named = background_shapes("hyperbola", AXIS, 200.0, {"floor": 3.0})
    assert (named[:, 1] == 3.0).all()
    given = background_shapes(Bremsstrahlung(), AXIS, 200.0, {})
    np.testing.assert_array_equal(given, background_shapes("physical", AXIS, 200.0, {}))


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_background_shapes__built_in_ones_see_the_detector(name):
    """The step of the efficiency at silicon's edge is in every background: it is no peak."""
    energy = np.arange(1.7, 2.0, 0.001)
    generated = background_shapes(name, energy, 200.0, {}).sum(axis=1) / detector_efficiency(energy)
    assert np.abs(np.diff(np.log(generated))).max() < 0.001
    assert np.abs(np.diff(np.log(detector_efficiency(energy)))).max() > 0.002


def test_bremsstrahlung__self_absorption_takes_the_soft_end():
    thin, thick = (Bremsstrahlung(FOIL, m, 20.0).shapes(AXIS, 200.0, {}) for m in (0.0, 2e-3))
    ratio = thick / thin
    assert (ratio[AXIS < 1.2] < 0.8 * ratio[-1]).all()
    np.testing.assert_allclose(thick.sum(axis=0), 1.0)


def test_flexible_background__holds_kramers_law():
    terms = flexible_background(tuple(AXIS.tolist()), 200.0)
    law = detector_efficiency(AXIS) * (1 - AXIS / 200.0) / AXIS
    amounts, *_ = np.linalg.lstsq(terms, law, rcond=None)
    np.testing.assert_allclose(terms @ amounts, law, rtol=1e-9)
    fitted = fit_lines(as_spectra(mean_counts(1e6)), ELEMENTS, stray=STRAY)
    assert fitted.background_model.min() > 0
