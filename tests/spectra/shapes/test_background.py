import numpy as np
import pytest
import xraydb
from support.line_spectra import (
    ELEMENTS,
    ENERGY,
    FOIL,
    STRAY,
    TRUE_AXIS,
    as_spectra,
    draw,
    mean_counts,
)

from eds_xr import simulate
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
    smooth = lines.background_model.isel(phase=0).sel(energy=slice(2.2, None))
    fitted = smooth.values  # nothing but its two terms, above the edges of the detector's layers
    terms = np.stack([1 / smooth.energy.values, np.ones(smooth.size)], axis=1)
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


def test_fit_lines__physical_background_of_a_thin_foil():
    mean = mean_counts(1e6)
    options = {"stray": STRAY, "calibration": TRUE_AXIS}
    flexible = fit_lines(as_spectra(mean), ELEMENTS, **options)
    physical = fit_lines(as_spectra(mean), ELEMENTS, background="physical", **options)
    assert float(physical.reduced_chi2.max()) < 0.01
    assert (abs(physical.net - flexible.net) < 0.15 * physical.variance**0.5).all()
    gain = flexible.variance / physical.variance
    assert float(gain.min()) >= 1
    assert float(gain.sel(line="Sm_La").min()) > 1.03


def test_fit_lines__self_absorption_bends_the_background():
    angle, mass_thickness = 22.0, 2e-3  # some 500 nm
    depth = 10 * mass_thickness / np.sin(np.radians(angle))  # kg/m^2 to g/cm^2 is 1/10 ...
    depth *= xraydb.material_mu("MgSiO3", 1000 * np.clip(ENERGY, 0.1, None), density=1) / 100
    peaks = simulate.Instrument(background=0.0)
    lines_only = simulate.phase_spectra(simulate.PYROLITE_71GPA, ENERGY, instrument=peaks).loadings
    # what is bremsstrahlung in the simulation, absorbed
    smooth = mean_counts(1e7) - 0.83e7 * lines_only
    absorbed = mean_counts(1e7) - smooth * (1 - -np.expm1(-depth) / depth)
    spectra = as_spectra(absorbed.isel(phase=0)).assign_attrs(elevation_angle_deg=angle)
    chi2 = {
        t: float(fit_lines(spectra, ELEMENTS, stray=STRAY, calibration=TRUE_AXIS,
                           background=Bremsstrahlung(FOIL, t)).reduced_chi2)
        for t in (0.0, 1e-3, 2e-3, 4e-3)
    }  # fmt: skip
    assert min(chi2, key=chi2.get) == mass_thickness
    assert chi2[mass_thickness] < 0.2 * chi2[0.0]
