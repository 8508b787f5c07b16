import warnings
from functools import partial

import numpy as np
import pytest
import xarray as xr
from support.drawn_spectra import LISTED, drawn

from eds_xr.schema import EdsError
from eds_xr.spectra.common_errors import add_common_errors
from eds_xr.spectra.line_fits.fit_lines import MissingLineWarning, fit_lines
from eds_xr.spectra.shapes.families import Calibration
from eds_xr.spectra.subtraction import subtract_phase


@pytest.mark.slow
def test_add_common_errors__errors_of_net_counts_hold_that_of_the_scale(shapes):
    """Mg of the rest: too large by what the scale is too small, in all channels alike."""
    brg, fp = (shapes.sel(phase=p).values for p in ("Brg", "Fp"))
    fit = partial(fit_lines, elements=LISTED, calibration=Calibration(), range_kev=(0.7, 4.5))
    rng = np.random.default_rng(9)
    truth = fit(drawn(1e6 * fp, rng).assign(counts=("energy", 1e6 * fp))).net / 5
    with_scale, without = [], []
    for _ in range(25):
        mixture = drawn(1.5e6 * brg + 2e5 * fp, rng)
        rest = subtract_phase(mixture, drawn(1e5 * brg, rng, pixels=10), scale="Si_Ka")
        lines = fit(rest)
        both = add_common_errors(lines, rest)
        for found, pulls in ((lines, without), (both, with_scale)):
            pulls.append(((found.net - truth) / found.variance**0.5).sel(line="Mg_Ka").item())
    assert abs(np.mean(with_scale)) < 0.6
    assert 0.7 < np.std(with_scale) < 1.35
    assert np.std(without) > 1.3 * np.std(with_scale)
    xr.testing.assert_allclose(both.covariance - both.common_covariance, lines.covariance)


def test_add_common_errors__the_scale_follows_the_counts_of_its_line(shapes):
    brg, fp = (shapes.sel(phase=p).values for p in ("Brg", "Fp"))
    rng = np.random.default_rng(10)
    mixture, reference = drawn(5e5 * brg + 5e5 * fp, rng), drawn(1e6 * brg, rng)
    rest = subtract_phase(mixture, reference, scale="Si_Ka", elements=LISTED)
    follows = rest.scale_by_counts
    assert float((follows**2 * rest.variance).sum()) == pytest.approx(
        float(rest.scale_variance), rel=0.05
    )
    assert float((follows * mixture.counts).sum()) == pytest.approx(float(rest.scale), rel=0.02)
    assumed = fit_lines(rest, LISTED, calibration=Calibration())
    assert float(add_common_errors(assumed, rest).variance.sel(line="Si_Ka")) == 0
    free = rest.assign(pinned="")  # as if nothing were assumed
    lines = fit_lines(free, LISTED, calibration=Calibration())
    both = add_common_errors(lines, free)
    pinned = both.variance.sel(line="Si_Ka") / lines.variance.sel(line="Si_Ka")
    assert 0 <= float(pinned) < 0.02  # zero by construction
    assert np.linalg.eigvalsh(both.covariance).min() > 0
    # a larger scale takes away from Mg and from Fe alike
    assert float(both.common_covariance.sel(line="Mg_Ka", line_other="Fe_Ka")) > 0


def test_add_common_errors__of_phases_joined_and_of_none(pyrolite):
    spectra, _, _ = pyrolite
    fit = partial(fit_lines, elements=[*LISTED, "U"], lines=["Fe_Ka", "Al_Ka"],
                  calibration=Calibration(), range_kev=(0.7, 7.5))  # fmt: skip
    brg = spectra.sel(phase="Brg", drop=True)
    rests = [
        subtract_phase(spectra.sel(phase=p, drop=True), brg, scale=line)
        for p, line in (("Fp", "Si_Ka"), ("Ca-Pv", "Mg_Ka"))
    ]
    joined = xr.concat(rests, xr.Variable("phase", ["Fp", "Ca-Pv"]), combine_attrs="override")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingLineWarning)  # of the rare earths, left out here
        lines = fit(joined)
        found = add_common_errors(lines, joined)
        for phase, rest in zip(found.phase, rests, strict=True):
            alone = add_common_errors(lines.sel(phase=phase, drop=True), rest)
            added = found.common_covariance.sel(phase=phase, drop=True)
            np.testing.assert_allclose(added, alone.common_covariance, rtol=1e-6)
        with pytest.raises(EdsError, match="the spectra carry no common errors"):
            add_common_errors(fit(spectra), spectra)
    with pytest.raises(EdsError, match="expected lines from fit_lines, with their history"):
        add_common_errors(found.assign_attrs(history=[]), joined)


def _pair_of_spectra():
    energy = ("energy", 0.5 + 0.02 * np.arange(500), {"units": "keV"})
    counts = xr.DataArray(np.random.default_rng(0).poisson(50.0, 500), dims="energy")
    one = xr.Dataset({"counts": counts, "variance": counts, "n_pixels": 10}, {"energy": energy})
    return one, one.copy(deep=True)


def test_add_common_errors__of_chosen_lines_once():
    spectra = subtract_phase(*_pair_of_spectra(), scale=0.5)
    lines = fit_lines(spectra, ["Mg", "Si", "Fe"])
    chosen = add_common_errors(lines.sel(line=["Fe_Ka", "Mg_Ka"]), spectra)
    both = {"line": ["Fe_Ka", "Mg_Ka"], "line_other": ["Fe_Ka", "Mg_Ka"]}
    xr.testing.assert_allclose(
        chosen.covariance, add_common_errors(lines, spectra).covariance.sel(both)
    )
    with pytest.raises(EdsError, match="already"):
        add_common_errors(chosen, spectra)
    with pytest.raises(EdsError, match="the same spectra along 'phase'"):
        add_common_errors(lines.expand_dims(phase=["a", "b"]), spectra)
