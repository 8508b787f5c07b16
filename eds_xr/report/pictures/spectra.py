"""Spectra, one or many, with the lines named that were fitted or identified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from eds_xr.report.pictures.canvas import (
    DARK,
    SMALL,
    WIDTH,
    Colors,
    colors_of,
    dress,
    figure_of,
    legend_above,
    line_text,
    new_axes,
    open_frame,
    plain,
    units_text,
)
from eds_xr.report.pictures.line_labels import Label
from eds_xr.schema import COMPONENT, ENERGY, LINE, PHASE, EdsError, check_energy, check_one_of
from eds_xr.xray.lines import line_energy_kev, principal_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: How many spectra axes hold.
MOST_SPECTRA = 12
#: Lines to be named: their names, or what was fitted or identified.
Lines = Sequence[str] | xr.Dataset | None


def plot_spectra(
    spectra: xr.Dataset | xr.DataArray,
    *,
    lines: Lines = None,
    energies: tuple[float, float] | None = None,
    per: str | None = None,
    log: bool = False,
    confidence: float | None = 0.95,
    colors: Colors = None,
    axes: Axes | None = None,
) -> Figure:
    """Draw one spectrum or many, with names of lines that never overlap.

    Computes: the spectra; those of an image are summed first.

    Parameters
    ----------
    spectra : Dataset or DataArray [energy] or [..., energy]
        Spectra (``counts``, ``variance``, ``n_pixels``), loadings, or a spectrum image, of which
        the sum of all pixels is drawn.
    lines : sequence of str, or Dataset, optional
        Lines to name, ``["Fe_Ka", ...]``, or what was fitted or identified; default are the
        principal lines of the elements that the file names.
    energies : (float, float), optional
        The part of the axis that is drawn, in its own unit.
    per : {"pixel", "total"}, optional
        Counts per pixel, or of all pixels; the axis says which. Default is per pixel for several
        spectra whose numbers of pixels are known.
    log : bool
        Counts on a logarithmic axis.
    confidence : float, optional
        Of the band of counting errors around spectra with variance; None draws none.
    colors : mapping of str to str, or label image, optional
        By phase.
    axes : Axes, optional
        Where to draw; default is a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    EdsError
        For data without an energy axis, numbers of pixels that are asked for and not known, or
        more than 12 spectra.
    """
    table = summed(spectra)
    part = table.sel({ENERGY: slice(*energies)}) if energies else table
    if not part.sizes[ENERGY]:
        raise EdsError(f"no channel between the energies {energies}")
    values, spread, label = scaled(part, per)
    names = [str(n) for n in values["spectrum"].values]
    chosen = colors_of(names, colors)
    axes = new_axes(axes, WIDTH, 2.7)
    axes.set_yscale("log" if log else "linear")
    floor = lowest(values, spread) if log else -np.inf
    for name in names:
        style: dict[str, Any] = {"color": chosen[name], "linewidth": 0.8, "label": plain(name)}
        one = values.sel(spectrum=name)
        axes.step(one[ENERGY], one.where(one >= floor), where="mid", **style)
        if spread is not None and confidence is not None:
            band(axes, one, spread.sel(spectrum=name), confidence, chosen[name], floor)
    energy_axis(axes, values)
    axes.set_ylabel(label)
    axes.set_ylim(floor if log else None, None)
    name_lines(axes, values.max("spectrum"), lines, table.attrs)
    if len(names) > 1:
        legend_above(axes)
    open_frame(axes)
    dress(axes)
    return figure_of(axes)


def summed(spectra: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Return spectra [spectrum, energy] as ``counts``, with ``variance`` and ``n_pixels`` if known.

    Those of an image are summed.
    """
    check_energy(spectra)
    if isinstance(spectra, xr.DataArray):
        return _of_array(spectra)
    if "counts" not in spectra and "loadings" in spectra:
        return _of_array(spectra["loadings"])
    if "counts" not in spectra:
        raise EdsError(f"no 'counts' in {', '.join(map(str, spectra.data_vars)) or 'the Dataset'}")
    kept = [n for n in ("counts", "variance", "n_pixels") if n in spectra]
    over = [d for d in spectra.counts.dims if d != ENERGY]
    return _named(spectra[kept], over).compute()


def _of_array(spectra: xr.DataArray) -> xr.Dataset:
    lead = [d for d in spectra.dims if d != ENERGY]
    bare = spectra.drop_vars([n for n, c in spectra.coords.items() if n not in c.dims])
    if not lead or (len(lead) == 1 and lead[0] in (PHASE, COMPONENT, "spectrum")):
        found = _named(bare.to_dataset(name="counts"), lead).compute()
        found.attrs = spectra.attrs
        return found
    dtype = np.int64 if spectra.dtype.kind in "ui" else None
    total = bare.sum(lead, dtype=dtype).compute().assign_attrs(spectra.attrs)
    found = xr.Dataset({"counts": total}, attrs=spectra.attrs)
    if spectra.dtype.kind in "ui":
        found["variance"] = total
    return _named(found.assign(n_pixels=int(np.prod([spectra.sizes[d] for d in lead]))), [])


def _named(spectra: xr.Dataset, over: Sequence[Any]) -> xr.Dataset:
    """Return spectra along ``spectrum``, whatever the dimension was that told them apart."""
    if len(over) > 1:
        raise EdsError(f"spectra have one more dimension than energy, found {over}; choose of one")
    if not over:
        name = str(spectra.coords[PHASE].item()) if PHASE in spectra.coords else "spectrum"
        bare = spectra.drop_vars([n for n in spectra.coords if n != ENERGY])
        return bare.expand_dims(spectrum=[name])
    if spectra.sizes[over[0]] > MOST_SPECTRA:
        raise EdsError(f"{spectra.sizes[over[0]]} spectra, at most {MOST_SPECTRA}; choose some")
    names = spectra[over[0]].values if over[0] in spectra.coords else range(spectra.sizes[over[0]])
    bare = spectra.drop_vars([n for n in spectra.coords if n != ENERGY])
    found = bare.rename({over[0]: "spectrum"}).assign_coords(spectrum=[str(n) for n in names])
    return found


def scaled(spectra: xr.Dataset, per: str | None) -> tuple[xr.DataArray, xr.DataArray | None, str]:
    """Return counts, their standard deviations if known, and what the axis says of them."""
    known = "n_pixels" in spectra
    if per is not None:
        check_one_of(per, ("pixel", "total"), "per")
        if per == "pixel" and not known:
            raise EdsError("how many pixels were summed is not known; use per='total'")
    pixel = per == "pixel" or (per is None and known and spectra.sizes["spectrum"] > 1)
    number = spectra["n_pixels"] if pixel else 1
    values = (spectra["counts"] / number).transpose("spectrum", ENERGY)
    values[ENERGY].attrs = spectra[ENERGY].attrs
    spread = None
    if "variance" in spectra:
        spread = (spectra["variance"].clip(min=0) ** 0.5 / number).transpose("spectrum", ENERGY)
    units = str(spectra["counts"].attrs.get("units", "counts"))
    if units == "1":
        return values, spread, "share of the counts"
    if pixel:
        return values, spread, f"{units} per pixel and channel"
    pixels: Any = spectra["n_pixels"].values.ravel() if known else []
    many = f", sum of {pixels[0]} pixels" if len(pixels) == 1 and pixels[0] > 1 else ", total"
    return values, spread, f"{units} per channel{many}"


def band(
    axes: Axes, values: xr.DataArray, spread: xr.DataArray, confidence: float, color: str,
    floor: float = -np.inf,
) -> None:  # fmt: skip
    """Draw the two-sided band of this confidence around a spectrum."""
    from scipy.special import ndtri

    half = float(ndtri(0.5 + confidence / 2)) * spread
    low, high = ((values + sign * half).clip(min=floor) for sign in (-1, 1))
    axes.fill_between(values[ENERGY], low, high, step="mid", color=color, alpha=0.25, linewidth=0)


def lowest(values: xr.DataArray, spread: xr.DataArray | None = None) -> float:
    """Return where a logarithmic axis begins: below what most channels hold, and not in noise."""
    found = values.values[values.values > 0]
    if not found.size:
        return 1e-3
    noise = 0.0 if spread is None else float(np.nanmedian(spread.values)) / 2
    return float(max(np.percentile(found, 2) / 2, found.max() * 1e-6, min(noise, found.max() / 10)))


def energy_axis(axes: Axes, spectra: xr.DataArray) -> None:
    """Name the energy axis, in its own unit, and end it where the spectra end."""
    energy = spectra[ENERGY]
    units = energy.attrs.get("units", "keV")
    what = "energy loss" if units == "eV" else "energy"
    axes.set_xlabel(f"{what}{units_text(units)}")
    axes.set_xlim(float(energy[0]), float(energy[-1]))


def name_lines(
    axes: Axes, highest: xr.DataArray, lines: Lines, attrs: dict[Any, Any],
    styles: dict[str, dict[str, str]] | None = None,
) -> None:  # fmt: skip
    """Name lines above a spectrum [energy], and leave room for the names."""
    low, high = (float(e) for e in highest[ENERGY].values[[0, -1]])
    if highest[ENERGY].attrs.get("units", "keV") != "keV":
        names: list[str] = []
    elif lines is None:
        elements = [str(e) for e in attrs.get("elements", [])]
        names = list(principal_lines(elements, max(low, 0.0), high).values())
    else:
        names = chosen_lines(lines)
    found = {n: line_energy_kev(n) for n in names}
    labels = [
        Label(e, line_text(n), _height(highest, e), **(styles or {}).get(n, {"color": DARK}))
        for n, e in found.items()
        if low < e < high
    ]
    if labels:
        add_labels(axes, labels)


def add_labels(axes: Axes, labels: Sequence[Label]) -> None:
    """Name lines along the upper edge, and leave room for them."""
    from eds_xr.report.pictures.artists import LineLabels

    added = LineLabels(labels, SMALL)
    leave_room(axes, added.points_high)
    axes.add_artist(added)


def chosen_lines(lines: Sequence[str] | xr.Dataset) -> list[str]:
    """Return the names of lines: as given, fitted, or by which elements were identified."""
    if not isinstance(lines, xr.Dataset):
        return [lines] if isinstance(lines, str) else [str(n) for n in lines]
    if LINE in lines.dims:
        return [str(n) for n in lines[LINE].values]
    if "found" in lines and LINE in lines:
        texts = lines[LINE].values[lines["found"].values]
        return list(dict.fromkeys(str(n) for n in texts if str(n)))
    raise EdsError("expected names of lines, or a Dataset of fit_lines or identify")


def leave_room(axes: Axes, points: float) -> None:
    """Raise the upper end of the axis so that so many points above all that is drawn are free."""
    share = min(0.6, points / _points_high(axes))
    axes.autoscale_view(scalex=False)
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low, low * (high / low) ** (1 / (1 - share)))
    else:
        axes.set_ylim(low, low + (high - low) / (1 - share))


def _points_high(axes: Axes) -> float:
    """Return the height of axes [points], before they are laid out."""
    return float(72 * axes.bbox.height / axes.figure.get_figure(root=True).dpi)


def _height(highest: xr.DataArray, energy: float) -> float:
    """Return how high the spectrum stands about a line."""
    step = float(highest[ENERGY][1] - highest[ENERGY][0]) if highest.sizes[ENERGY] > 1 else 0.0
    near = highest.sel({ENERGY: slice(energy - 3 * step, energy + 3 * step)})
    return float(near.max()) if near.size else float("nan")
