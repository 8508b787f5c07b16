"""What could be had with the true maps: presence, phase spectra, compositions.

The fits and the quantification are those of `eds_xr`; nothing is told but where the phases are,
and of which elements the sample is.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

import eds_xr
from eds_xr.xray.elements import atomic_mass

#: Share of a pixel's counts of all else, below which it is pure.
PURE_SHARE = 0.02
#: A phase is present where it gives more.
LEAST_SHARE = 0.1
#: Of a sum of pure pixels.
LEAST_COUNTS = 1e4
_SIGMAS_PX = (0.0, 0.5, 1.0, 1.5, 2.0)
_THRESHOLDS = np.arange(0.02, 0.6, 0.02)


def grouped(truth: xr.Dataset) -> xr.Dataset:
    """Return the truth with the end members of a continuum taken as one phase.

    `share`, `present`, `spectra` and `net` by phase, `expected_found` and `host`.
    """
    names = list(dict.fromkeys(truth.group.values.tolist()))
    member = xr.DataArray(
        [[g == name for g in truth.group.values] for name in names],
        {"of": names, "phase": truth.phase.values},
    )
    summed = {n: xr.dot(truth[n], member, dim="phase") for n in ("share", "spectra", "net")}
    first = [truth.group.values.tolist().index(name) for name in names]
    host = dict(zip(truth.phase.values.tolist(), truth.group.values.tolist(), strict=True))
    made = xr.Dataset(summed).transpose("of", ...).rename(of="phase")
    return made.assign(
        present=(made.share > LEAST_SHARE) & ~truth.dead,
        expected_found=("phase", truth.expected_found.values[first]),
        host=("phase", [host.get(h, "") for h in truth.host.values[first]]),
        dead=truth.dead,
        expected=truth.expected,
    ).assign_attrs(truth.attrs)


def iou(found: np.ndarray, true: np.ndarray) -> float:
    """Return the intersection of two masks over their union."""
    return float((found & true).sum() / max((found | true).sum(), 1))


def attainable_presence(image: xr.DataArray, truth: xr.Dataset) -> dict[str, float]:
    """Return each phase's best intersection over union from scores of the true spectra.

    Share of the scores above a threshold, after a Gaussian; the best of both, chosen by the truth.
    """
    loadings = (truth.spectra / truth.spectra.sum("energy")).rename(phase="component")
    scores = eds_xr.project(image, loadings.assign_coords(energy=image.energy))
    scores = scores.transpose("component", ...).values
    best = dict.fromkeys(truth.phase.values.tolist(), 0.0)
    for sigma in _SIGMAS_PX:
        smooth = np.stack([gaussian_filter(s, sigma) for s in scores])
        share = smooth / np.maximum(smooth.sum(0), 1e-9)
        for name, of_phase, true in zip(best, share, truth.present.values, strict=True):
            all_found = [iou((of_phase > t) & ~truth.dead.values, true) for t in _THRESHOLDS]
            best[name] = max(best[name], *all_found)
    return best


def spectra_of_pure_pixels(image: xr.DataArray, truth: xr.Dataset) -> xr.Dataset:
    """Return sums over truly pure pixels; those of all pixels where these hold too few counts."""
    pure = (truth.share > 1 - PURE_SHARE) & ~truth.dead
    counts = (pure * truth.expected).sum([d for d in pure.dims if d != "phase"])
    sums = eds_xr.sum_spectra(image, pure).compute()
    with xr.set_options(keep_attrs=True):
        return sums.where(counts >= LEAST_COUNTS, spectra_of_all_pixels(image, truth))


def spectra_of_all_pixels(image: xr.DataArray, truth: xr.Dataset) -> xr.Dataset:
    """Return spectra by least squares of all counts on the true counts of the phases.

    Channel by channel, pixels weighted by the inverse of their expected counts.
    """
    counts = image.values.reshape(-1, image.sizes["energy"]).astype(float)
    amounts = (truth.share * truth.expected).values.reshape(truth.sizes["phase"], -1)
    weights = np.where(truth.dead.values.ravel(), 0.0, 1 / truth.expected.values.clip(1e-9).ravel())
    solve = np.linalg.solve((amounts * weights) @ amounts.T, amounts * weights)
    total = amounts.sum(1)[:, None]
    spectra = eds_xr.sum_spectra(image, truth.present).compute()
    return spectra.assign(
        counts=spectra.counts.copy(data=total * (solve @ counts)),
        variance=spectra.variance.copy(data=total**2 * (solve**2 @ counts)),
    )


def quantified(
    spectra: xr.Dataset, truth: xr.Dataset, elements: Sequence[str], strays: Sequence[str]
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return lines and compositions of the sample's elements, those that are strays left out.

    Without phases that have no line of them in the range, such as a film of carbon.
    """
    own = [e for e in elements if e not in strays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # elements without a line in the range, such as O
        lines = eds_xr.fit_lines(spectra, own, stray=list(strays))
        net = truth.net.sel(phase=spectra.phase).reindex(line=lines.line, fill_value=0.0)
        lines = lines.isel(phase=(net.sum("line") > 0).values)
        return lines, eds_xr.quantify(lines)


def expected_fractions(
    truth: xr.Dataset, composition: xr.Dataset, lines: xr.Dataset
) -> xr.DataArray:
    """Return the atomic fractions that the true net counts give [phase, element].

    With the k-factors of a composition: what quantification makes of perfect counts, so that
    errors of k-factors and absorption, the same for everybody, are left out. NaN where a phase
    has none of the lines.
    """
    of_element = dict(zip(lines.element.values.tolist(), lines.line.values.tolist(), strict=True))
    elements = [e for e in composition.element.values.tolist() if e in of_element]
    net = truth.net.reindex(line=[of_element[e] for e in elements], fill_value=0.0).values
    masses = np.array([atomic_mass(e) for e in elements])
    atoms = net * composition.k_factor.sel(element=elements).values / masses
    total = atoms.sum(1, keepdims=True)
    fractions = np.divide(atoms, total, out=np.full(atoms.shape, np.nan), where=total > 0)
    return xr.DataArray(fractions, {"phase": truth.phase.values, "element": elements})
