"""Errors by effect: they add up, hold what they claim, and stay correlated between spectra."""

import numpy as np
import pytest
import xarray as xr
from support.independent.materials import OVERLAPS
from support.line_spectra import (
    ATTRS,
    ELEMENTS,
    ENERGY,
    STRAY,
    TRUE_AXIS,
    as_spectra,
    draw,
    only_amounts,
)

import eds_xr
from eds_xr import simulate
from eds_xr.spectra.line_fits.fit_lines import calibrate, fit_lines
from eds_xr.spectra.shapes.background import flexible_background
from eds_xr.spectra.shapes.families import families_seen
from eds_xr.spectra.shapes.weak_knowledge import EFFECTS, WeakKnowledge

AXIS = ENERGY[(ENERGY > 0.7) & (ENERGY < 12.5)]


def known(name, counts):
    """Return the spectrum of an overlap by the package's tables, its elements and strays."""
    atoms = OVERLAPS[name].atoms
    bare = simulate.Instrument(background=0.3)
    made = simulate.phase_spectra((simulate.Phase("a", atoms),), ENERGY, instrument=bare)
    elements = [e for e in atoms if e != "O"]  # below the range of the fit
    return counts * made.loadings.isel(phase=0), elements, [e for e in STRAY if e not in atoms]


@pytest.mark.parametrize("name", ["Na/Zn", "Si/W", "P/Zr", "rare-earth L"])
def test_fit_lines__errors_by_effect_are_the_whole(name):
    mean, elements, stray = known(name, 1e5)
    fit = fit_lines(draw(mean, 0), elements, stray=stray)
    assert list(fit.effect.values) == list(EFFECTS)
    xr.testing.assert_allclose(fit.effect_covariance.sum("effect"), fit.covariance)
    np.testing.assert_allclose(np.diagonal(fit.covariance), fit.variance)
    for effect in EFFECTS:
        least = np.linalg.eigvalsh(fit.effect_covariance.sel(effect=effect)).min()
        assert least > -1e-9 * float(fit.variance.max())
    by_mode = fit.shared_error.groupby("mode_effect").map(lambda e: (e**2).sum("mode"))
    for effect in ("calibration", "line_weights"):
        own = np.diagonal(fit.effect_covariance.sel(effect=effect))
        np.testing.assert_allclose(by_mode.sel(mode_effect=effect), own, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Na/Zn", "Si/W"])
def test_fit_lines__scatter_is_that_of_counting_and_calibration(name):
    """The axis is found from the same counts: where peaks coincide that is most of the scatter."""
    mean, elements, stray = known(name, 1e5)
    true = fit_lines(as_spectra(mean), elements, stray=stray, calibration=TRUE_AXIS).net
    pulls = []
    with only_amounts():
        for seed in range(40):
            fit = fit_lines(draw(mean, seed), elements, stray=stray)
            parts = fit.effect_covariance.sel(effect=["counting", "calibration"]).sum("effect")
            pulls.append((fit.net - true) / np.diagonal(parts) ** 0.5)
    spread = np.std(pulls, axis=0)
    assert 0.7 < spread.min() <= spread.max() < 1.3  # of 40: +- 0.11


@pytest.mark.slow
def test_fit_lines__tables_that_are_wrong_within_their_doubt_are_held():
    """Truth: tables and detectors drawn from what is stated of them; two phases share each."""
    elements, stray = ["Na", "Zn", "Si", "W"], ["Cu"]
    families = families_seen([*elements, *stray], AXIS, 200.0)
    weak = WeakKnowledge(AXIS, families, TRUE_AXIS, 200.0)
    shares = {n: (i, s) for i, f in enumerate(families) for n, s in f.groups.items()}
    smooth = flexible_background(tuple(AXIS.tolist()), 200.0).sum(axis=1)
    amounts = np.array([[3e4 if f.element in pair else 0.0 for f in families]
                        for pair in (("Na", "Zn", "Cu"), ("Si", "W", "Zn"))])  # fmt: skip
    pulls, sums, ratios = [], [], []
    rng = np.random.default_rng(5)
    with only_amounts():
        for _ in range(40):
            x = rng.normal(size=weak.effects.size)
            mean = amounts @ weak.at(x).peaks.T + 2e4 * smooth / smooth.sum()
            counts = xr.DataArray(
                rng.poisson(np.maximum(mean, 0)).astype(float),
                {"phase": ["a", "b"], "energy": AXIS},
                ("phase", "energy"),
            )
            spectra = xr.Dataset({"counts": counts, "variance": counts}, attrs=ATTRS)
            fit = fit_lines(spectra, elements, stray=stray)
            true = fit.net.copy(data=amounts[:, [shares[n][0] for n in fit.line.values]])
            groups = {n: s for f in weak.families_at(x) for n, s in f.groups.items()}
            true *= [groups[n] for n in true.line.values]
            pulls.append(((fit.net - true) / fit.variance**0.5).values)
            zinc = fit.sel(line="Zn_Ka", line_other="Zn_Ka")
            own = zinc.covariance - (zinc.shared_error**2).sum("mode")
            off = zinc.net - true.sel(line="Zn_Ka")
            both = float(own.sum() + (zinc.shared_error.sum("phase") ** 2).sum())
            sums.append(float(off.sum()) / both**0.5)
            change = (zinc.shared_error / zinc.net).diff("phase")
            both = float((own / zinc.net**2).sum() + (change**2).sum())
            ratios.append(float((off / zinc.net).diff("phase").item()) / both**0.5)
    assert np.mean(np.abs(pulls) < 1.96) > 0.92
    assert 0.7 < np.std(sums) < 1.3
    assert 0.7 < np.std(ratios) < 1.3


def test_fit_lines__a_given_calibration_brings_its_covariance():
    mean, elements, stray = known("Na/Zn", 1e5)
    spectra = draw(mean, 3)
    found = calibrate(spectra, [*elements, *stray])
    with_errors = fit_lines(spectra, elements, stray=stray, calibration=found)
    exact = fit_lines(spectra, elements, stray=stray, calibration=TRUE_AXIS)
    errors = [
        np.diagonal(f.effect_covariance.sel(effect="calibration")) for f in (with_errors, exact)
    ]
    assert errors[0].min() > 0
    np.testing.assert_array_equal(errors[1], 0)


def test_quantify__errors_by_effect_go_on():
    phases = simulate.phase_spectra(simulate.PYROLITE_71GPA, ENERGY).loadings
    lines = fit_lines(draw(1e5 * phases, 0), ELEMENTS, stray=STRAY)
    composition = eds_xr.quantify(lines)
    for kind in ("atomic_fraction", "weight_fraction"):
        parts, whole = composition[f"{kind}_effect_covariance"], composition[f"{kind}_covariance"]
        total = whole + composition[f"{kind}_systematic_covariance"]
        xr.testing.assert_allclose(parts.sum("effect"), total, atol=1e-15)
        shared = composition[f"{kind}_shared_error"]
        table = xr.dot(shared, shared.rename(element="element_other"), dim="mode")
        assert (np.diagonal(whole - table, axis1=-2, axis2=-1) > 0).all()  # each one's own counting
