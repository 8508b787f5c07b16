"""Fits: spectrum, model and background, and what they leave, in standard deviations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from eds_xr.composition.uncertainty import marks
from eds_xr.provenance import history
from eds_xr.report.pictures.canvas import (
    DARK,
    GREY,
    LARGE,
    SMALL,
    WIDTH,
    Colors,
    colors_of,
    dress,
    legend_above,
    line_text,
    new_figure,
    open_frame,
    plain,
    plain_note,
    rows_of_text,
)
from eds_xr.report.pictures.line_labels import Label
from eds_xr.report.pictures.spectra import add_labels, energy_axis, lowest
from eds_xr.schema import ASSUMED, DOUBT, ENERGY, LINE, PHASE, EdsError, check_energy
from eds_xr.xray.lines import line_energy_kev, principal_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

#: Heights of fit and residual, and of the notes' lines [inches].
FIT, RESIDUAL, NOTE = 1.9, 0.75, 0.13
#: In figures narrower than this [inches], fit and residual are flatter by this factor, and what
#: the axes say is shorter.
LEAST_WIDTH, NARROW = 5.0, 0.72
#: A figure holds so many fits.
MOST_FITS = 8
#: The residual is drawn within these limits; beyond, it is a mark at the edge [sd].
LIMIT_SIGMA = 6.0
#: What one more peak must be to be marked [sd], as where the fit warns of it.
MISSING_SIGMA = 5.0
#: Channels on each side over which the variance is smoothed: few counts know theirs badly.
SMOOTHED = 4
#: Ink of what is not to be believed: vermilion is told from grey and blue by everybody.
DOUBTED, MODEL, BACKGROUND = "#d55e00", "#000000", "#0072b2"


def plot_fit(
    spectra: xr.Dataset,
    lines: xr.Dataset,
    *,
    energies: tuple[float, float] | None = None,
    log: bool = True,
    colors: Colors = None,
    width: float = WIDTH,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    """Draw spectra, what was fitted to them, and the residual in standard deviations.

    Computes: the spectra. Lines whose counts are not to be believed are named in vermilion with a
    sign, whose meaning stands below; those that are zero by assumption in grey; triangles in the
    residual mark peaks that the fit does not account for.

    Parameters
    ----------
    spectra : Dataset [energy] or [phase, energy]
        That were fitted, with ``counts`` and ``variance``.
    lines : Dataset
        From :func:`eds_xr.fit_lines`, of the same spectra.
    energies : (float, float), optional
        The part of the axis that is drawn; default is the range of the fit.
    log : bool
        Counts on a logarithmic axis.
    colors : mapping of str to str, or label image, optional
        By phase.
    width : float
        Of a new figure [inches].
    figure : Figure or SubFigure, optional
        Where to draw; default is a new figure, a fit below the other.

    Returns
    -------
    Figure

    Raises
    ------
    EdsError
        For lines without their model, or of other spectra; or more than 8 fits.
    """
    pairs = _pairs(spectra, lines, energies)
    chosen = colors_of([name for name, *_ in pairs], colors)
    wide = width if figure is None else figure.bbox.width / figure.dpi
    notes = [[row for n in _notes(f) for row in rows_of_text(n, wide)] for _, _, f in pairs]
    panels = NARROW if wide < LEAST_WIDTH else 1.0
    heights = [panels * (FIT + RESIDUAL) + NOTE * (len(n) + 2) for n in notes]
    if figure is None:
        figure = new_figure(width, sum(heights))
    parts = figure.subfigures(len(pairs), 1, squeeze=False, height_ratios=heights).ravel()
    for part, (name, spectrum, fitted), note in zip(parts, pairs, notes, strict=True):
        upper, lower = part.subplots(2, 1, sharex=True, height_ratios=(FIT, RESIDUAL))
        _fit_panel(upper, spectrum, fitted, chosen[name], log)
        _residual_panel(lower, spectrum, fitted, chosen[name])
        if wide < LEAST_WIDTH:
            upper.set_ylabel("counts per\nchannel", fontsize=SMALL)
            lower.set_ylabel("sd", fontsize=SMALL)
            lower.set_yticks((-3, 3))
        part.suptitle(_title(name, fitted), x=0.01, ha="left", fontsize=LARGE)
        if note:
            part.supxlabel("\n".join(note), x=0.01, ha="left", fontsize=SMALL, color=DARK)
    return parts[0].get_figure(root=True)


def _pairs(
    spectra: xr.Dataset, lines: xr.Dataset, energies: tuple[float, float] | None
) -> list[tuple[str, xr.Dataset, xr.Dataset]]:
    """Return name, spectrum and fit, one by one, on the channels of the fit."""
    if not {"model", "background_model", "net"} <= set(lines.data_vars):
        raise EdsError("expected lines from fit_lines, with their model, found none; fit again")
    check_energy(spectra)
    inside = {ENERGY: lines[ENERGY]}
    both = (spectra.sel(inside, method="nearest", tolerance=1e-3).assign_coords(inside), lines)
    part, fits = (b.sel({ENERGY: slice(*energies)}) if energies else b for b in both)
    if PHASE not in fits.net.dims:
        name = str(fits.coords[PHASE].item()) if PHASE in fits.coords else "spectrum"
        return [(name, part.compute(), fits)]
    names = fits[PHASE].values.tolist()
    if len(names) > MOST_FITS:
        raise EdsError(f"{len(names)} fits, a figure holds {MOST_FITS}; choose phases")
    missing = set(names) - set(part[PHASE].values.tolist() if PHASE in part.dims else [])
    if missing:
        raise EdsError(f"no spectrum of {', '.join(map(str, sorted(missing)))}, which was fitted")
    return [(str(n), part.sel({PHASE: n}).compute(), fits.sel({PHASE: n})) for n in names]


def _fit_panel(axes: Axes, spectrum: xr.Dataset, fitted: xr.Dataset, color: str, log: bool) -> None:
    """Draw data, model and background, and name the lines."""
    counts = spectrum.counts
    axes.set_yscale("log" if log else "linear")
    floor = lowest(counts) if log else -np.inf
    axes.plot(
        counts[ENERGY], counts.where(counts >= floor), ".", color=color, markersize=2, label="data"
    )
    for name, ink, style in (("model", MODEL, "-"), ("background_model", BACKGROUND, "--")):
        values = fitted[name]
        axes.plot(
            values[ENERGY], values.where(values >= floor), style, color=ink, linewidth=0.8,
            label=name.split("_")[0],
        )  # fmt: skip
    axes.set_ylabel("counts per channel")
    axes.set_ylim(floor if log else None, None)
    energy_axis(axes, counts)
    axes.set_xlabel("")
    add_labels(axes, _labels(counts, fitted))
    legend_above(axes)
    open_frame(axes)
    dress(axes)
    axes.tick_params(labelbottom=False)


def _residual_panel(axes: Axes, spectrum: xr.Dataset, fitted: xr.Dataset, color: str) -> None:
    """Draw the residual in standard deviations, and where a peak is missing."""
    left = residual(spectrum, fitted)
    for sigma, shade in ((3, "0.93"), (1, "0.85")):
        axes.axhspan(-sigma, sigma, color=shade, linewidth=0)
    axes.plot(left[ENERGY], left.clip(-LIMIT_SIGMA, LIMIT_SIGMA), ".", color=color, markersize=1.5)
    peaks = _missing(fitted)
    axes.plot(
        peaks, np.full(len(peaks), 0.88 * LIMIT_SIGMA), "v", color=DOUBTED, markersize=4,
        gid="missing peaks",
    )  # fmt: skip
    axes.set(ylim=(-LIMIT_SIGMA - 0.5, LIMIT_SIGMA + 0.5), yticks=(-3, 0, 3))
    axes.set_ylabel("residual\n(sd)")
    energy_axis(axes, spectrum.counts)
    open_frame(axes)
    dress(axes)


def residual(spectrum: xr.Dataset, fitted: xr.Dataset) -> xr.DataArray:
    """Return counts less model [energy; standard deviations of the counts].

    The variance is smoothed over nine channels: that of a single channel of few counts is as
    uncertain as the counts, and zero where there is none.
    """
    window = 2 * SMOOTHED + 1
    variance = spectrum.variance.astype(float)
    smooth = variance.rolling({ENERGY: window}, center=True, min_periods=1).mean()
    return (spectrum.counts - fitted.model) / np.sqrt(smooth.where(smooth > 0))


def _labels(counts: xr.DataArray, fitted: xr.Dataset) -> list[Label]:
    """Return the names of the lines, with the signs of doubts."""
    signs, _ = marks.signs(marks.mark_of(fitted, DOUBT, fitted.net))
    assumed = marks.mark_of(fitted, ASSUMED, fitted.net)
    low, high = (float(e) for e in counts[ENERGY].values[[0, -1]])
    found = []
    for name, sign, zero in zip(
        fitted[LINE].values.tolist(), signs.values.tolist(), assumed.values.tolist(), strict=True
    ):
        energy = line_energy_kev(name)
        if low < energy < high:
            near = counts.sel({ENERGY: energy}, method="nearest")
            color = DOUBTED if sign else GREY if zero else DARK
            style = "italic" if zero else "normal"
            found.append(Label(energy, f"{line_text(name)}{sign}", float(near), color, style))
    for name in principal_lines(_stray(fitted), low, high).values():
        energy = line_energy_kev(name)
        near = counts.sel({ENERGY: energy}, method="nearest")
        found.append(Label(energy, f"({line_text(name)})", float(near), GREY))
    return found


def _stray(fitted: xr.Dataset) -> list[str]:
    """Return the elements that were fitted and are not of the sample, as the history has them."""
    fits = [step for step in history(fitted) if step["step"] == "fit_lines"]
    return [str(e) for e in fits[-1].get("stray") or []] if fits else []


def _missing(fitted: xr.Dataset) -> list[float]:
    """Return the energies at which one more peak is more than chance: the highest of each run."""
    if "residual_z" not in fitted:
        return []
    values = np.nan_to_num(fitted.residual_z.values)
    over = np.flatnonzero(values > MISSING_SIGMA)
    runs = np.split(over, np.flatnonzero(np.diff(over) > 1) + 1) if over.size else []
    return [float(fitted[ENERGY].values[run[values[run].argmax()]]) for run in runs]


def _notes(fitted: xr.Dataset) -> list[str]:
    """Return what the signs and marks of a fit mean."""
    doubt = marks.mark_of(fitted, DOUBT, fitted.net)
    notes = [plain_note(n) for n in marks.signs(doubt)[1]]
    zero = marks.mark_of(fitted, ASSUMED, fitted.net)
    if bool(zero.any()):
        notes.append("grey: zero by the choice of the subtraction's scale, not measured")
    if _stray(fitted):
        notes.append("in brackets: fitted, not of the sample")
    if _missing(fitted):
        notes.append("▼ a peak that the fit does not account for")
    return notes


def _title(name: str, fitted: xr.Dataset) -> str:
    if "reduced_chi2" not in fitted:
        return plain(name)
    return f"{plain(name)}   (χ² per degree of freedom {float(fitted.reduced_chi2):.2f})"
