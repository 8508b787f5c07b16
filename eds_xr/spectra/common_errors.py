"""Errors that all channels of a spectrum share, as spectra of one standard deviation each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import beam_energy_of
from eds_xr.cluster.supervision import computes
from eds_xr.schema import ENERGY, LINE, EdsError, check_spectra, leading_dims, zero_where_assumed
from eds_xr.spectra.hole_errors import HOLE_BY_COUNTS, HOLE_ERROR, HOLE_SLOPE
from eds_xr.spectra.line_fits.fitted_lines import (
    check_lines,
    check_same_spectra,
    with_error,
    with_own_covariance,
)
from eds_xr.spectra.shapes.background import flexible_background
from eds_xr.spectra.shapes.families import Calibration, Shapes, families_seen, places_of_lines
from eds_xr.spectra.shapes.linear_fit import model_variance
from eds_xr.spectra.shapes.weak_knowledge import WeakKnowledge
from eds_xr.workers import task_name
from eds_xr.xray.own_detector import detector_of


def common_covariances(lines: xr.Dataset, spectra: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return what common errors add to the covariance ``[..., line, line_other]``, by effect.

    A fit is linear in the counts: an error is fitted as the spectrum was, with its weights.
    """
    check_spectra(spectra)
    _fitted(lines)
    if "common_covariance" in lines:
        raise EdsError("the common errors are in these lines already; add them once")
    check_same_spectra(lines, spectra)
    found: dict[str, xr.DataArray] = {}
    if "common_error" in spectra:
        found["matrix"] = _of_modes(lines, spectra, "common_error")
    elif {"scale_slope", "scale_by_counts"} <= set(spectra.data_vars):
        found["matrix"] = _of_scales(lines, spectra, "scale_slope", "scale_by_counts")
    if HOLE_SLOPE in spectra:
        found["hole"] = _of_scales(lines, spectra, HOLE_SLOPE, HOLE_BY_COUNTS)
        found["hole"] = found["hole"] + _of_modes(lines, spectra, HOLE_ERROR)
    if not found:
        raise EdsError(
            "the spectra carry no common errors: neither 'common_error' nor 'scale_slope' and "
            "'scale_by_counts', nor those of a hole; take them from subtract_phase, "
            "refine_spectra or subtract_hole"
        )
    names = {LINE: lines[LINE], "line_other": lines["line_other"]}
    return {effect: added.assign_coords(names) for effect, added in found.items()}


def carries_common_errors(spectra: xr.Dataset) -> bool:
    """Return whether spectra have errors for :func:`add_common_errors`."""
    return bool({"common_error", "scale_slope", HOLE_SLOPE} & set(spectra.data_vars))


@computes
def add_common_errors(lines: xr.Dataset, spectra: xr.Dataset) -> xr.Dataset:
    """Add to the errors of net counts those that all channels of a spectrum share.

    Computes: small arrays only.

    How much of one phase was taken out of another's spectrum, or of a hole's, is known up to an
    error. It moves all channels together, so that a spectrum's ``variance`` cannot hold it.

    Parameters
    ----------
    lines : Dataset [..., line]
        From ``fit_lines(spectra, ...)``.
    spectra : Dataset [..., energy]
        From :func:`subtract_phase` (several joined along ``phase``, too), :func:`subtract_hole` or
        ``refine_spectra``.

    Returns
    -------
    Dataset
        As `lines`, with the addition in ``variance`` and ``covariance`` (its effects are
        ``matrix`` and ``hole``), and on its own as ``common_covariance`` [..., line, line_other;
        counts^2]. The error of a ratio of doses, which all spectra share, is in ``shared_error``,
        too.

    Raises
    ------
    EdsError
        When the spectra carry no such errors, or the lines do not tell how they were fitted.

    Notes
    -----
    A scale follows the counts of the lines that it is taken from, which is allowed for. Lines that
    are ``assumed``, as a single pinned one is, stay zero without error: they are not measured.
    """
    check_lines(lines)
    found = with_own_covariance(lines)
    parts = common_covariances(found, spectra)
    for effect, added in parts.items():
        found = with_error(found, added, effect)
    total = sum(list(parts.values())[1:], next(iter(parts.values())))
    about = {"long_name": "covariance due to common errors", "units": "counts^2"}
    found = found.assign(common_covariance=total.assign_attrs(about))
    if HOLE_ERROR in spectra and "shared_error" in found:
        found = _with_shared(
            found, _changes(found, spectra, HOLE_ERROR), "hole", "dose of the hole"
        )
    return zero_where_assumed(found)


def _with_shared(lines: xr.Dataset, change: xr.DataArray, effect: str, name: str) -> xr.Dataset:
    """Return lines with one more independent error [..., line; counts] that spectra share."""
    old = lines["shared_error"]
    one = change.assign_coords({LINE: lines[LINE]}).expand_dims(mode=[name])
    if "mode_effect" in lines.coords:
        one = one.assign_coords(mode_effect=("mode", [effect]))
    made = xr.concat(
        [old, one.transpose(*old.dims)], dim="mode", coords="minimal", compat="override"
    )
    made = made.assign_attrs(old.attrs)
    return lines.drop_dims("mode").assign(shared_error=made)


def _of_modes(lines: xr.Dataset, spectra: xr.Dataset, name: str) -> xr.DataArray:
    """Return what independent errors ``[mode, ..., energy]``, or a single one, add."""
    changes = _changes(lines, spectra, name)
    other = changes.rename({LINE: "line_other"})
    dims = ["mode"] if "mode" in changes.dims else []
    return xr.dot(changes, other, dim=dims).transpose(*leading_dims(spectra), LINE, "line_other")


def _changes(lines: xr.Dataset, spectra: xr.Dataset, name: str) -> xr.DataArray:
    """Return what errors ``[..., energy]``, or ``[mode, ..., energy]``, do to net counts."""
    fit, lead = _LineFit.of(lines, spectra), leading_dims(spectra)
    errors = spectra[name].fillna(0.0)
    single = "mode" not in errors.dims
    errors = errors.expand_dims("mode") if single else errors
    found = xr.apply_ufunc(
        _change_block,
        errors.transpose("mode", *lead, ENERGY).compute(),
        spectra["variance"].transpose(*lead, ENERGY).astype(float).compute(),
        kwargs={"fit": fit},
        input_core_dims=[["mode", ENERGY], [ENERGY]],
        output_core_dims=[["mode", LINE]],
        vectorize=True,
    )
    return found.isel(mode=0) if single else found


def _of_scales(lines: xr.Dataset, spectra: xr.Dataset, slope: str, by_counts: str) -> xr.DataArray:
    """Return what the scales of subtractions add, which follow the counts of their lines.

    With the counts ``r`` at a fixed scale, whose error is ``q r``, what is left is
    ``(1 - slope q) r``.
    """
    lead = leading_dims(spectra)
    # a phase that was not subtracted, joined to others, has none
    parts = [spectra[n].fillna(0.0) for n in (slope, by_counts)]
    given = [p.transpose(*lead, ENERGY).astype(float).compute() for p in (*parts, spectra.variance)]
    return xr.apply_ufunc(
        _scale_block,
        *given,
        kwargs={"fit": _LineFit.of(lines, spectra)},
        input_core_dims=[[ENERGY]] * 3,
        output_core_dims=[[LINE, "line_other"]],
        vectorize=True,
    )


@dataclass(frozen=True)
class _LineFit:
    """How lines were fitted: shapes [channel, shape], each line's column and share of it."""

    inside: np.ndarray  # [energy]: the channels that were fitted
    design: np.ndarray
    columns: list[int]
    shares: np.ndarray

    @staticmethod
    def of(lines: xr.Dataset, spectra: xr.Dataset) -> _LineFit:
        energy = spectra[ENERGY].values.astype(float)
        low, high = _fitted(lines)["range_kev"]
        inside = (energy >= low) & (energy <= high)
        return _LineFit(inside, *_design(lines, energy[inside], beam_energy_of(spectra.attrs)))

    def rows(self, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what a count of each channel adds to each line, and the modelled variance."""
        modelled = np.maximum(variance, 0.0)
        modelled[self.inside] = model_variance(self.design, variance[self.inside])[1]
        weight = 1 / np.sqrt(modelled[self.inside])
        length = np.linalg.norm(self.design * weight[:, None], axis=0)
        inverse = np.linalg.pinv(self.design * weight[:, None] / length) / length[:, None]
        rows = np.zeros((len(self.columns), variance.size))
        rows[:, self.inside] = (inverse * weight)[self.columns] * self.shares[:, None]
        return rows, modelled


def _fitted(lines: xr.Dataset) -> dict[str, Any]:
    """Return how the lines were fitted, from their history."""
    steps = [s for s in provenance.history(lines) if s["step"] == "fit_lines"]
    if not steps or "learned_shapes" not in lines.attrs:
        raise EdsError("expected lines from fit_lines, with their history and calibration")
    return steps[-1]


def _design(
    lines: xr.Dataset, energy: np.ndarray, beam: float
) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Return the shapes [channel, shape], the column of each line and its share of the family."""
    step = _fitted(lines)
    told = {n: lines.attrs[f"calibration_{n}"] for n in ("gain", "offset_kev", "noise_kev2")}
    calibration = Calibration(**told, tails=tuple(lines.attrs["calibration_tails"]))
    detector = detector_of(lines.attrs)
    tabulated = families_seen([*step["elements"], *step["stray"]], energy, beam, detector=detector)
    weak = WeakKnowledge(
        energy, tabulated, calibration, beam, escape=bool(step.get("escape", False))
    )
    learned = weak.told(json.loads(lines.attrs["learned_shapes"]))
    families = weak.families_at(learned)
    places = places_of_lines(families)
    missing = [str(n) for n in lines[LINE].values if n not in places]
    if missing:
        raise EdsError(
            f"the spectra do not reach {', '.join(missing)}: give those that were fitted, all of "
            "their energies"
        )
    columns, shares = zip(*(places[str(n)] for n in lines[LINE].values), strict=True)
    smooth = flexible_background(tuple(energy.tolist()), beam, detector)
    smooth = smooth * weak.background_factor(learned)[:, None]
    design = Shapes(energy, families, calibration, beam, background=smooth).design
    return design, list(columns), np.array(shares)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("changes of net counts")
def _change_block(errors: np.ndarray, variance: np.ndarray, *, fit: _LineFit) -> np.ndarray:
    """Return what errors [mode, channel] do to net counts [mode, line]."""
    return np.asarray(errors @ fit.rows(variance)[0].T)


@task_name("errors of the scale")
def _scale_block(
    slope: np.ndarray, by_counts: np.ndarray, variance: np.ndarray, *, fit: _LineFit
) -> np.ndarray:
    """Return what a scale that follows the counts adds to the covariance [line, line]."""
    rows, modelled = fit.rows(variance)
    followed = rows - np.outer(rows @ slope, by_counts)
    return np.asarray((followed * modelled) @ followed.T - (rows * modelled) @ rows.T)
