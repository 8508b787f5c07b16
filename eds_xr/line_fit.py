"""Net intensities of X-ray lines: whole families on a background, least squares with covariance.

A spectrum is modelled as a sum of line families (one amount an element and shell, peaks at their
tabulated energies and weights) on a smooth background. Only amounts are free once the energy axis
and the peaks' width are calibrated, so the fit is linear and its covariance exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.schema import (
    ENERGY,
    LINE,
    EdsError,
    check_energy_in_kev,
    check_spectra,
    energy_step,
)
from eds_xr.xray_lines import (
    FANO_KEV,
    check_element,
    components,
    detector_efficiency,
    families_in_range,
    family,
    line_energy_kev,
    peak_sigma_kev,
    principal_line,
)

#: Range of a fit when none is given [keV]; below, the detector's noise and cut-off rule.
FIT_RANGE_KEV = (0.6, 12.5)
#: Knots of the background, a spline over the root of the energy: as far apart in peak widths
#: everywhere, too far to follow a peak.
BACKGROUND_KNOTS = 12
#: Families with no peak above this share of the strongest line in range are left out.
WEAKEST_WEIGHT = 0.02


@dataclass(frozen=True)
class Calibration:
    """What turns the nominal energy axis into the true one, and the width of the peaks.

    ``true = gain * nominal + offset_kev``; ``sigma^2 = noise_kev2 + fano_kev * energy``.
    """

    gain: float = 1.0
    offset_kev: float = 0.0
    noise_kev2: float = 6.6e-4
    fano_kev: float = FANO_KEV


def fit_lines(
    spectra: xr.Dataset,
    elements: Sequence[str] | None = None,
    *,
    stray: Sequence[str] = (),
    lines: Sequence[str] | None = None,
    range_kev: tuple[float, float] = FIT_RANGE_KEV,
    calibration: Calibration | None = None,
) -> xr.Dataset:
    """Fit line families and background; return net counts of each element's line.

    Computes: all spectra, which are small, with one design matrix.

    Parameters
    ----------
    spectra : Dataset [..., energy]
        ``counts`` and ``variance``, from ``sum_spectra`` or ``subtract_phase``.
    elements : sequence of str, optional
        Elements of the sample; default is the attribute ``elements``.
    stray : sequence of str
        Elements that are fitted for their overlaps but not of the sample (Cu of the grid, Ga and
        Pt of the ion beam).
    lines : sequence of str, optional
        Lines to report, ``["Fe_Ka", ...]``; default is the principal line of each element that
        has one in the range (the others are named in the attribute ``left_out``).
    range_kev : (float, float)
        Energies used [keV].
    calibration : Calibration, optional
        From :func:`calibrate`; default fits it on the sum of all spectra.

    Returns
    -------
    Dataset over ``line``
        ``net`` [..., line; counts] with ``variance`` and ``covariance`` [..., line, line_other];
        ``background`` (counts under the peak), ``detection_limit`` (Currie 1968: a net signal
        that is found in 95 % of cases), ``element`` [line]; ``reduced_chi2`` [...]; ``model`` and
        ``background_model`` [..., energy]. The calibration is in the attributes.

    Raises
    ------
    EdsError
        For no elements, an element that does not exist, a line outside the range, or elements
        whose families cannot be told apart in it.

    Notes
    -----
    Weighted least squares. The weights are the inverse of a *modelled* variance, the fit of the
    same shapes to the given variance: weights taken from the noisy counts themselves would pull
    the fit down by about a count a channel.
    """
    check_spectra(spectra)
    check_energy_in_kev(spectra)
    spectra = spectra.compute()
    elements = _elements(spectra, elements)
    part = _in_range(spectra, range_kev)
    beam = float(spectra.attrs.get("beam_energy_kev", 200.0))
    families = _families([*elements, *stray], part[ENERGY].values, beam)
    chosen = _chosen_lines(elements, lines, part[ENERGY].values, beam, families)
    if calibration is None:
        calibration = calibrate(spectra, [*elements, *stray], range_kev=range_kev)
    shapes = _Shapes(part[ENERGY].values, families, calibration, beam)
    _check_separable(shapes)
    result = _fit_all(part, shapes, chosen)
    if not chosen:
        raise EdsError(
            f"none of {', '.join(elements)} has a principal line between {range_kev[0]:g} and "
            f"{range_kev[1]:g} keV; widen range_kev"
        )
    attrs = provenance.with_step(
        spectra.attrs, "fit_lines", elements=elements, stray=list(stray), range_kev=list(range_kev)
    )
    found = {line.split("_")[0] for line in chosen}
    attrs["left_out"] = [e for e in elements if e not in found]
    return result.assign_attrs(
        attrs | {f"calibration_{k}": v for k, v in vars(calibration).items()}
    )


def calibrate(
    spectra: xr.Dataset,
    elements: Sequence[str],
    *,
    range_kev: tuple[float, float] = FIT_RANGE_KEV,
) -> Calibration:
    """Fit offset and gain of the energy axis and the width of the peaks.

    Computes: the sum of all spectra, which is small.

    Parameters
    ----------
    spectra : Dataset [..., energy]
    elements : sequence of str
        All that is in the spectra, stray elements too.
    range_kev : (float, float)

    Returns
    -------
    Calibration

    Notes
    -----
    Variable projection: for each trial calibration the amounts follow by linear least squares;
    only offset, gain and noise are searched for (the Fano slope is silicon's).
    """
    from scipy.optimize import least_squares

    check_spectra(spectra)
    part = _in_range(spectra.compute(), range_kev)
    beam = float(spectra.attrs.get("beam_energy_kev", 200.0))
    energy = part[ENERGY].values
    families = _families(elements, energy, beam)
    counts, variance = (_total(part[name]) for name in ("counts", "variance"))
    weight = 1 / np.sqrt(_smooth(variance))
    start = float(
        peak_sigma_kev(0.0, float(spectra.attrs.get("energy_resolution_mnka_ev", 130.0))) ** 2
    )

    def misfit(x: np.ndarray) -> np.ndarray:
        trial = Calibration(1 + x[0] * 1e-3, x[1] * 1e-2, start * np.exp(x[2]))
        design = _Shapes(energy, families, trial, beam).design * weight[:, None]
        amounts = np.linalg.lstsq(design, counts * weight, rcond=None)[0]
        return design @ amounts - counts * weight

    found = least_squares(misfit, np.zeros(3), bounds=([-20, -10, -3], [20, 10, 3]), diff_step=1e-3)
    gain, offset, noise = found.x
    return Calibration(1 + gain * 1e-3, offset * 1e-2, start * float(np.exp(noise)))


# -- what is fitted ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Family:
    element: str
    shell: str
    peaks: tuple[tuple[float, float], ...]  # energy, detected photons; those of the family sum to 1
    groups: dict[str, float]  # share of a named line, "Fe_Ka"


class _Shapes:
    """The design matrix: a column of counts per channel for each family and background term."""

    def __init__(
        self, energy: np.ndarray, families: Sequence[_Family], calibration: Calibration, beam: float
    ) -> None:
        self.energy, self.families = energy, families
        self.true = calibration.gain * energy + calibration.offset_kev
        self.calibration = calibration
        peaks = np.column_stack([self._family_shape(f) for f in families])
        # the background is too smooth to notice the calibration
        self.design = np.hstack([peaks, _background_shapes(tuple(energy), beam)])

    def _family_shape(self, family: _Family) -> np.ndarray:
        from scipy.special import erf

        step = self.true[1] - self.true[0]
        centres, photons = np.array(family.peaks).T
        width = np.sqrt(2 * (self.calibration.noise_kev2 + self.calibration.fano_kev * centres))
        edges = np.append(self.true - step / 2, self.true[-1] + step / 2)
        return np.diff(erf((edges[:, None] - centres) / width), axis=0) @ photons / 2

    def window(self, line: str) -> np.ndarray:
        """Return which channels lie within one full width at half maximum of a line."""
        centre = line_energy_kev(line)
        sigma = np.sqrt(self.calibration.noise_kev2 + self.calibration.fano_kev * centre)
        return np.abs(self.true - centre) <= 2.3548 * sigma


def _elements(spectra: xr.Dataset, elements: Sequence[str] | None) -> list[str]:
    chosen = list(spectra.attrs.get("elements", [])) if elements is None else list(elements)
    if not chosen:
        raise EdsError("no elements to fit: give them, fit_lines(['Mg', 'Si', ...])")
    return list(dict.fromkeys(chosen))


def _in_range(spectra: xr.Dataset, range_kev: tuple[float, float]) -> xr.Dataset:
    part = spectra.sel({ENERGY: slice(*range_kev)})
    if part.sizes[ENERGY] < 3 * BACKGROUND_KNOTS:
        raise EdsError(
            f"only {part.sizes[ENERGY]} channels between {range_kev[0]:g} and {range_kev[1]:g} keV: "
            "widen range_kev"
        )
    return part


def _families(elements: Sequence[str], energy: np.ndarray, beam: float) -> list[_Family]:
    margin = 0.05  # a line at the very edge has half a peak in range
    low, high = float(energy[0]) + margin, float(energy[-1]) - margin
    found = []
    for element in dict.fromkeys(elements):
        for shell in families_in_range(element, low, high, beam):
            made = _detected(element, shell, beam)
            if sum(w for e, w in made.peaks if low <= e <= high) > WEAKEST_WEIGHT:
                found.append(made)
    return found


@lru_cache(maxsize=1024)
def _detected(element: str, shell: str, beam: float) -> _Family:
    """Return a family as the detector counts it: weights times efficiency, sum 1."""
    parts = [
        (line.name, p) for line in family(element, shell, beam) for p in components(line.name, beam)
    ]
    energies = np.array([p.energy_kev for _, p in parts])
    seen = np.array([p.weight for _, p in parts]) * detector_efficiency(energies)
    seen /= seen.sum()
    groups: dict[str, float] = {}
    for (name, _), share in zip(parts, seen, strict=True):
        groups[name] = groups.get(name, 0.0) + float(share)
    return _Family(element, shell, tuple(zip(energies, seen, strict=True)), groups)


def _chosen_lines(
    elements: Sequence[str],
    lines: Sequence[str] | None,
    energy: np.ndarray,
    beam: float,
    families: Sequence[_Family],
) -> dict[str, tuple[int, float]]:
    """Return for each reported line its family's column and its share of the family."""
    if lines is None:
        lines = [line for e in elements if (line := _principal(e, energy, beam))]
    places = {n: (i, w) for i, f in enumerate(families) for n, w in f.groups.items()}
    for line in lines:
        inside = [energy[0] <= p.energy_kev <= energy[-1] for p in components(line, beam)]
        if line not in places or not all(inside):
            raise EdsError(
                f"{line} lies outside {energy[0]:.2f} to {energy[-1]:.2f} keV, or its element is "
                "not among those fitted; widen range_kev, or add the element"
            )
    return {line: places[line] for line in lines}


def _principal(element: str, energy: np.ndarray, beam: float) -> str | None:
    check_element(element)
    try:
        return principal_line(element, beam, min_kev=float(energy[0]), max_kev=float(energy[-1]))
    except EdsError:
        return None


@lru_cache(maxsize=16)
def _background_shapes(energies: tuple[float, ...], beam: float) -> np.ndarray:
    """Return bremsstrahlung as the detector sees it, times smooth bumps (``[channel, term]``).

    Kramers' law for a thin film, ``1 / E``, times the efficiency: it carries the absorption edges
    of the detector; B-splines over sqrt(E) allow for what it lacks.
    """
    from scipy.interpolate import BSpline

    positive = np.clip(energies, 0.05, None)
    kramers = detector_efficiency(positive) * np.clip(1 - positive / beam, 0.01, None) / positive
    place = np.sqrt(positive)
    inner = np.linspace(place[0], place[-1], BACKGROUND_KNOTS - 2)
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    bumps = BSpline.design_matrix(np.clip(place, inner[0], inner[-1]), knots, 3).toarray()
    return kramers[:, None] * bumps


def _check_separable(shapes: _Shapes) -> None:
    peaks = shapes.design[:, : len(shapes.families)]
    unit = peaks / np.linalg.norm(peaks, axis=0)
    likeness = np.triu(unit.T @ unit, 1)
    i, j = np.unravel_index(np.argmax(likeness), likeness.shape)
    if likeness[i, j] > 0.995:
        a, b = shapes.families[i], shapes.families[j]
        raise EdsError(
            f"the {a.shell} lines of {a.element} and the {b.shell} lines of {b.element} coincide "
            "in this range: leave one element out, or widen range_kev to a family that differs"
        )


# -- the fit -------------------------------------------------------------------------------------


def _fit_all(part: xr.Dataset, shapes: _Shapes, chosen: dict[str, tuple[int, float]]) -> xr.Dataset:
    columns = np.array([i for i, _ in chosen.values()])
    shares = np.array([w for _, w in chosen.values()])
    windows = np.stack([shapes.window(line) for line in chosen], axis=1).astype(float)
    n = len(chosen)
    outputs = xr.apply_ufunc(
        _fit_block,
        part.counts.astype(float),
        part.variance.astype(float),
        kwargs={
            "design": shapes.design, "peaks": len(shapes.families),
            "columns": columns, "shares": shares, "windows": windows,
        },
        input_core_dims=[[ENERGY], [ENERGY]],
        output_core_dims=[[LINE], [LINE, "line_other"], [LINE], [], [ENERGY], [ENERGY]],
        vectorize=True,
        dask_gufunc_kwargs={"output_sizes": {LINE: n, "line_other": n}},
    )  # fmt: skip
    net, covariance, background, chi2, model, smooth = outputs
    names = list(chosen)
    variance = xr.DataArray(
        np.diagonal(covariance.values, axis1=-2, axis2=-1), dims=net.dims, coords=net.coords
    )
    limit = 2.71 + 3.29 * np.sqrt(variance)
    return xr.Dataset(
        {
            "net": net.assign_attrs(long_name="net counts", units="counts"),
            "variance": variance.assign_attrs(units="counts^2"),
            "covariance": covariance.assign_attrs(units="counts^2"),
            "background": background.assign_attrs(
                long_name="counts under the peak", units="counts"
            ),
            "detection_limit": limit.assign_attrs(
                long_name="detection limit (Currie)", units="counts"
            ),
            "reduced_chi2": chi2,
            "model": model.assign_coords({ENERGY: part[ENERGY]}),
            "background_model": smooth.assign_coords({ENERGY: part[ENERGY]}),
        },
        coords={
            LINE: names,
            "line_other": names,
            "element": (LINE, [name.split("_")[0] for name in names]),
        },
    )


def _total(values: xr.DataArray) -> np.ndarray:
    return np.asarray(values.sum([d for d in values.dims if d != ENERGY]).values, float)


def _smooth(variance: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return np.maximum(gaussian_filter1d(variance.astype(float), 4.0, mode="nearest"), 1.0)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _fit_block(
    counts: np.ndarray, variance: np.ndarray, *, design: np.ndarray, peaks: int,
    columns: np.ndarray, shares: np.ndarray, windows: np.ndarray,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Fit one spectrum; see :func:`fit_lines` for the six results."""
    modelled = _model_variance(design, variance)
    amounts, covariance = _weighted_least_squares(design, counts, modelled)
    model, smooth = design @ amounts, design[:, peaks:] @ amounts[peaks:]
    chi2 = float(((counts - model) ** 2 / modelled).sum() / (len(counts) - len(amounts)))
    # clipping belongs to what is reported as counts, never to the fit
    under = np.maximum(smooth, 0) @ windows
    pick = np.ix_(columns, columns)
    return (
        amounts[columns] * shares, covariance[pick] * np.outer(shares, shares), under, np.float64(chi2),
        model, smooth,
    )  # fmt: skip


def _model_variance(design: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the given variance, freed of its own noise by a fit of the same shapes."""
    modelled = _smooth(variance)
    for _ in range(2):
        amounts, _ = _weighted_least_squares(design, variance, modelled)
        modelled = np.maximum(design @ amounts, 0.1 * modelled)
    return modelled


def _weighted_least_squares(
    design: np.ndarray, values: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return amounts and their covariance."""
    weight = 1 / np.sqrt(variance)
    scale = np.linalg.norm(
        design * weight[:, None], axis=0
    )  # columns of one length: better conditioned
    u, s, vt = np.linalg.svd(design * weight[:, None] / scale, full_matrices=False)
    keep = s > 1e-10 * s[0]
    inverse = vt[keep].T / s[keep]
    amounts = inverse @ (u[:, keep].T @ (values * weight))
    return amounts / scale, (inverse @ inverse.T) / np.outer(scale, scale)
