"""The lines of all spectra of a call as one Dataset."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.progress import track
from eds_xr.schema import ENERGY, LINE
from eds_xr.spectra.line_fits.line_errors import by_effect, mode_coords
from eds_xr.spectra.line_fits.missing_peaks import Peak
from eds_xr.spectra.line_fits.one_spectrum import SpectrumModel, fit_spectrum
from eds_xr.spectra.shapes.weak_knowledge import EFFECTS

#: Results that are not one number a line: dimensions, and all results: long name, units.
_DIMS = {
    "covariance": (LINE, "line_other"),
    "reduced_chi2": (), "sum_peaks": (), "sum_peaks_variance": (),
    "model": (ENERGY,), "background_model": (ENERGY,), "residual_z": (ENERGY,),
}  # fmt: skip
_NAMES = {
    "net": ("net counts", "counts"),
    "variance": ("variance of the net counts", "counts^2"),
    "covariance": ("covariance of the net counts", "counts^2"),
    "effect_covariance": ("covariance of the net counts by what it is due to", "counts^2"),
    "shared_error": ("errors of the net counts that the spectra share", "counts"),
    "background": ("counts under the peak", "counts"),
    "critical_level": ("critical level (Currie)", "counts"),
    "detection_limit": ("detection limit (Currie)", "counts"),
    "quantification_limit": ("quantification limit (Currie)", "counts"),
    "misfit": ("variance at the line over that expected", "1"),
    "doubt": ("why the net counts are not to be believed", ""),
    "reduced_chi2": ("misfit per degree of freedom", "1"),
    "model": ("fitted counts", "counts"),
    "background_model": ("fitted background", "counts"),
    "residual_z": ("significance of one more peak", "1"),
    "sum_peaks": ("counts in sum peaks", "counts"),
    "sum_peaks_variance": ("variance of the counts in sum peaks", "counts^2"),
}

#: Dimensions, values, attributes.
Variable = tuple[tuple[str, ...], np.ndarray, dict[str, str]]


def fit_all(
    part: xr.Dataset, model: SpectrumModel, names: list[str]
) -> tuple[xr.Dataset, list[tuple[str, Peak]]]:
    """Fit spectrum by spectrum; return the results together, and which peaks are left where."""
    counts, variance = (
        v.transpose(..., ENERGY).astype(float) for v in xr.broadcast(part.counts, part.variance)
    )
    fits, peaks = [], []
    shape = counts.shape[:-1]
    steps = track(np.ndindex(shape), "fitting lines", total=math.prod(shape))
    for index in steps:
        fit, missing = fit_spectrum(counts.values[index], variance.values[index], model)
        fits.append(fit)
        peaks += [(_label(counts[index]), peak) for peak in missing]
    sizes = {str(d): counts.sizes[d] for d in counts.dims[:-1]}
    errors, modes = _errors(fits, sizes, model)
    found = _one_by_one(fits, sizes) | errors
    elements = (LINE, [name.split("_")[0] for name in names])
    coords = {LINE: names, "line_other": names, "element": elements, "effect": list(EFFECTS)}
    return xr.Dataset(found, {**part.coords, **coords, **modes}), peaks


def _errors(
    fits: list[dict[str, Any]], sizes: dict[str, int], model: SpectrumModel
) -> tuple[dict[str, Variable], dict[str, Any]]:
    """Return the errors of all fits, told apart by their effects, and the names of what is shared.

    What they are made of is taken out of `fits`.
    """
    covariance, by_parameter = (
        np.stack([fit.pop(name) for fit in fits]) for name in ("covariance", "by_parameter")
    )
    worse = np.stack([fit["misfit"] for fit in fits])
    learned = model.errors.learned
    covariance, shared, effects = by_effect(covariance, by_parameter, learned, worse)
    total, both = covariance.sum(axis=0), (*sizes, LINE, "line_other")
    more: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "variance": ((*sizes, LINE), np.diagonal(total, axis1=-2, axis2=-1)),
        "covariance": (both, total),
        "effect_covariance": (("effect", *both), covariance),
        "shared_error": (("mode", *sizes, LINE), shared),
    }
    lines = total.shape[-1]
    known = sizes | {LINE: lines, "line_other": lines}
    found = {
        name: (dims, values.reshape([known.get(d, len(values)) for d in dims]), _attrs(name))
        for name, (dims, values) in more.items()
    }
    return found, mode_coords(learned, effects)


def _one_by_one(fits: list[dict[str, Any]], sizes: dict[str, int]) -> dict[str, Variable]:
    """Return the results of all fits that stand by themselves."""
    found: dict[str, Variable] = {}
    for name in fits[0]:
        values = np.stack([fit[name] for fit in fits])
        values = values.astype(str) if values.dtype == object else values
        full = (*sizes.values(), *values.shape[1:])
        found[name] = ((*sizes, *_DIMS.get(name, (LINE,))), values.reshape(full), _attrs(name))
    return found


def _attrs(name: str) -> dict[str, str]:
    return dict(zip(("long_name", "units"), _NAMES[name], strict=True))


def _label(spectrum: xr.DataArray) -> str:
    """Return what tells a spectrum from the others given, ``"phase Brg: "``."""
    known = [f"{d} {v.item()}" for d, v in spectrum.coords.items() if d != ENERGY and v.ndim == 0]
    return f"{', '.join(known)}: " if known else ""
