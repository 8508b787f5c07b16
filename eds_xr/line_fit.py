"""Net intensities of X-ray lines: whole families on a background, least squares with covariance.

A spectrum is modelled as a sum of line families (one amount an element and shell, peaks at their
tabulated energies and weights) on a smooth background. Only amounts are free once the energy axis
and the peaks' width are calibrated, so the fit is linear and its covariance exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr._parts.line_shapes import Calibration as Calibration
from eds_xr._parts.line_shapes import Family, Shapes, families_seen
from eds_xr._parts.line_solver import CALIBRATION_PRIOR as CALIBRATION_PRIOR
from eds_xr._parts.line_solver import FIT_RANGE_KEV as FIT_RANGE_KEV
from eds_xr._parts.line_solver import (
    beam_kev,
    find_calibration,
    least_variance,
    model_variance,
    resolution_ev,
    weighted_least_squares,
)
from eds_xr.schema import ENERGY, LINE, EdsError, check_energy_in_kev, check_spectra
from eds_xr.xray_lines import check_element, components, principal_line

#: A line of less than this share of its family is reported only when asked for.
LEAST_WEIGHT = 0.05


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
        ``background`` (counts under the peak, within one full width at half maximum of its
        centre), ``detection_limit`` (``2.71 + 3.29 s``, Currie, Anal. Chem. 40 (1968) 586, with
        ``s`` the standard deviation of the net counts if there were none: a signal that is found
        in 95 % of cases), ``element`` [line]; ``reduced_chi2`` [...]; ``model`` and
        ``background_model`` [..., energy]. The calibration is in the attributes, and
        ``calibration_source`` tells whether it was ``fitted``.

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
    part, beam = _in_range(spectra, range_kev), beam_kev(spectra)
    energy = part[ENERGY].values.astype(float)
    families = families_seen([*elements, *stray], energy, beam)
    chosen = _chosen_lines(elements, lines, energy, beam, families)
    if calibration is None:
        calibration = calibrate(spectra, [*elements, *stray], range_kev=range_kev)
    shapes = Shapes(energy, families, calibration, beam)
    shapes.check_separable(column for column, _ in chosen.values())
    found = {line.split("_")[0] for line in chosen}
    attrs = provenance.with_step(
        spectra.attrs, "fit_lines", elements=elements, stray=list(stray), range_kev=list(range_kev)
    )
    return _fit_all(part, shapes, chosen).assign_attrs(
        attrs
        | {"left_out": [e for e in elements if e not in found]}
        | {f"calibration_{k}": v for k, v in vars(calibration).items()}
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
        With the nominal axis when there are too few counts to tell; ``source`` says so.

    Notes
    -----
    Variable projection: for each trial calibration the amounts follow by linear least squares;
    only offset, gain and noise are searched for (the Fano slope is silicon's), from where
    `CALIBRATION_PRIOR` expects them. So a single peak moves the offset and leaves the gain alone.
    """
    check_spectra(spectra)
    check_energy_in_kev(spectra)
    part, beam = _in_range(spectra.compute(), range_kev), beam_kev(spectra)
    energy = part[ENERGY].values.astype(float)
    families = families_seen(elements, energy, beam)
    counts, variance = (_total(part[name]) for name in ("counts", "variance"))
    return find_calibration(energy, counts, variance, families, beam, resolution_ev(spectra))


# -- what is fitted ------------------------------------------------------------------------------


def _elements(spectra: xr.Dataset, elements: Sequence[str] | None) -> list[str]:
    chosen = spectra.attrs.get("elements", []) if elements is None else elements
    names = [chosen] if isinstance(chosen, str) else list(dict.fromkeys(chosen))
    if not names:
        raise EdsError("no elements to fit: give them, fit_lines(spectra, ['Mg', 'Si', ...])")
    for name in names:
        check_element(name)
    return names


def _in_range(spectra: xr.Dataset, range_kev: tuple[float, float]) -> xr.Dataset:
    part = spectra.sel({ENERGY: slice(*range_kev)})
    if not (np.isfinite(part.counts).all() and (part.variance >= 0).all()):
        raise EdsError(
            "the spectra hold values that are not finite, or a variance that is negative or "
            "missing; look at the masks that they come from"
        )
    if part.sizes[ENERGY] < 20:
        raise EdsError(
            f"only {part.sizes[ENERGY]} channels between {range_kev[0]:g} and {range_kev[1]:g} "
            "keV: widen range_kev"
        )
    return part


def _chosen_lines(
    elements: Sequence[str],
    lines: Sequence[str] | None,
    energy: np.ndarray,
    beam: float,
    families: Sequence[Family],
) -> dict[str, tuple[int, float]]:
    """Return for each reported line its family's column and its share of the family."""
    places = {n: (i, w) for i, f in enumerate(families) for n, w in f.groups.items()}
    if lines is None:
        found = [_principal(e, energy, beam) for e in elements]
        lines = [line for line in found if places.get(line, (0, 0.0))[1] > LEAST_WEIGHT]
    if not lines:
        raise EdsError(
            f"none of {', '.join(elements)} has a principal line between {energy[0]:.2f} and "
            f"{energy[-1]:.2f} keV; widen range_kev"
        )
    for line in lines:
        inside = [energy[0] <= p.energy_kev <= energy[-1] for p in components(line, beam)]
        if line not in places or not all(inside):
            raise EdsError(
                f"{line} lies outside {energy[0]:.2f} to {energy[-1]:.2f} keV, or its element is "
                "not among those fitted; widen range_kev, or add the element"
            )
    return {line: places[line] for line in lines}


def _principal(element: str, energy: np.ndarray, beam: float) -> str:
    try:
        return principal_line(element, beam, min_kev=float(energy[0]), max_kev=float(energy[-1]))
    except EdsError:
        return ""


# -- the fit -------------------------------------------------------------------------------------


def _fit_all(part: xr.Dataset, shapes: Shapes, chosen: dict[str, tuple[int, float]]) -> xr.Dataset:
    names = list(chosen)
    net, covariance, background, limit, chi2, model, smooth = xr.apply_ufunc(
        _fit_block,
        part.counts.astype(float),
        part.variance.astype(float),
        kwargs={
            "design": shapes.design,
            "peaks": len(shapes.families),
            "columns": np.array([column for column, _ in chosen.values()]),
            "shares": np.array([share for _, share in chosen.values()]),
            "windows": np.stack([shapes.window(line) for line in names], axis=1).astype(float),
        },
        input_core_dims=[[ENERGY], [ENERGY]],
        output_core_dims=[[LINE], [LINE, "line_other"], [LINE], [LINE], [], [ENERGY], [ENERGY]],
        vectorize=True,
    )
    variance = net.copy(data=np.diagonal(covariance.values, axis1=-2, axis2=-1))
    described = {
        "net": (net, "net counts", "counts"),
        "variance": (variance, "variance of the net counts", "counts^2"),
        "covariance": (covariance, "covariance of the net counts", "counts^2"),
        "background": (background, "counts under the peak", "counts"),
        "detection_limit": (limit, "detection limit (Currie)", "counts"),
        "reduced_chi2": (chi2, "misfit per degree of freedom", "1"),
        "model": (model, "fitted counts", "counts"),
        "background_model": (smooth, "fitted background", "counts"),
    }
    return xr.Dataset(
        {k: v.assign_attrs(long_name=text, units=unit) for k, (v, text, unit) in described.items()},
        coords={
            ENERGY: part[ENERGY],
            LINE: names,
            "line_other": names,
            "element": (LINE, [name.split("_")[0] for name in names]),
        },
    )


def _total(values: xr.DataArray) -> np.ndarray:
    return np.asarray(values.sum([d for d in values.dims if d != ENERGY]).values, float)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _fit_block(
    counts: np.ndarray, variance: np.ndarray, *, design: np.ndarray, peaks: int,
    columns: np.ndarray, shares: np.ndarray, windows: np.ndarray,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Fit one spectrum; see :func:`fit_lines` for the seven results."""
    spread, modelled = model_variance(design, variance)
    amounts, covariance = weighted_least_squares(design, counts, modelled)
    model, smooth = design @ amounts, design[:, peaks:] @ amounts[peaks:]
    misfit = ((counts - model) ** 2 / modelled).sum() / (counts.size - amounts.size)
    # clipping belongs to what is reported as counts, never to the fit
    under = np.maximum(smooth, 0) @ windows
    blank = [_blank_variance(design, modelled, spread, amounts, peaks, i) for i in columns]
    limit = 2.71 + 3.29 * shares * np.sqrt(blank)
    net, pick = amounts[columns] * shares, np.ix_(columns, columns)
    spreads = covariance[pick] * np.outer(shares, shares)
    return net, spreads, under, limit, np.asarray(misfit), model, smooth


def _blank_variance(
    design: np.ndarray, modelled: np.ndarray, spread: np.ndarray, amounts: np.ndarray, peaks: int,
    column: int,
) -> float:  # fmt: skip
    """Return the variance of a family's amount if there were none of it.

    The counts of the family itself no longer scatter. What is left of its variance beyond its net
    counts stays: in a difference of spectra, it is that of the counts that were subtracted.
    """
    own = np.clip(amounts[column], 0, max(0.0, spread[column]))
    background = np.maximum(design[:, peaks:] @ spread[peaks:], 0)
    least = 0.1 * background + least_variance(modelled)
    blank = np.maximum(modelled - own * design[:, column], least)
    _, covariance = weighted_least_squares(design, modelled, blank)
    return float(covariance[column, column])
