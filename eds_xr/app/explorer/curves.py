"""Which spectra an explorer draws, and which lines it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.app.explorer.explorer import Explorer
from eds_xr.app.explorer.peaks import in_kev, lines_of
from eds_xr.app.spectrum.panel import INK, Curve, Mark
from eds_xr.arguments import beam_energy_of
from eds_xr.report.pictures.canvas import line_text
from eds_xr.schema import ENERGY
from eds_xr.xray.lines import line_energy_kev, principal_lines

#: The part of all counts that the first look at a spectrum shows.
MOST_COUNTS = 0.995
WHOLE, PIXEL, REST, TYPED = "#9a9a9a", "#66ccee", "#111111", "#ee6677"


class Shown(NamedTuple):
    """The spectra that there are.

    Attributes
    ----------
    whole, pixel : Dataset, optional
        Of all pixels, of that under the pointer.
    regions : mapping of str to Dataset
    left : mapping of str to DataArray
        What a result does not explain of a region.
    rest : Dataset, optional
        Of a subtraction.
    """

    whole: xr.Dataset | None
    pixel: xr.Dataset | None
    regions: Mapping[str, xr.Dataset]
    left: Mapping[str, xr.DataArray]
    rest: xr.Dataset | None


def curves_of(shown: Shown, colors: Mapping[str, str]) -> list[Curve]:
    """Return the spectra that are drawn, per pixel."""
    found = []
    if shown.whole is not None:
        found.append(_curve("all pixels", shown.whole, WHOLE, 1.0))
    if shown.pixel is not None and not shown.regions:
        found.append(_curve("pixel", shown.pixel, PIXEL, 0.8, 0.7))
    for name, spectrum in shown.regions.items():
        found.append(_curve(name, spectrum, colors[name], 1.3))
        if name in shown.left:
            left = xr.Dataset({"counts": shown.left[name], "n_pixels": spectrum.n_pixels})
            found.append(_curve(f"{name}, unexplained", left, colors[name], 0.8, 0.55))
    if shown.rest is not None:
        found.append(_curve("difference", shown.rest, REST, 1.0, 0.9))
    return found


def seen_range(counts: xr.DataArray) -> tuple[float, float]:
    """Return the energies that hold nearly all counts, and a little more."""
    energy: np.ndarray = counts[ENERGY].values.astype(float)
    sums = np.cumsum(counts.values.clip(min=0))
    if not sums[-1] > 0:
        return float(energy[0]), float(energy[-1])
    last = float(energy[np.searchsorted(sums, MOST_COUNTS * sums[-1]).clip(max=energy.size - 1)])
    return float(energy[0]), min(float(energy[-1]), last + 0.1 * (last - float(energy[0])))


def _curve(name: str, spectrum: xr.Dataset, color: str, width: float, alpha: float = 1.0) -> Curve:
    values = spectrum.counts.values / max(float(spectrum.n_pixels), 1e-9)
    energy: np.ndarray = spectrum.counts[ENERGY].values
    return Curve(name, color, energy, np.asarray(values, np.float32), width, alpha)


def marks_of(explorer: Explorer, typed: Any) -> list[Mark]:
    """Return the lines that are named: the main one of each element, all of the one typed."""
    image = explorer.image
    if not in_kev(image):
        return []
    low, high = (float(e) for e in image[ENERGY].values[[0, -1]])
    main = principal_lines(explorer.elements, max(low, 0.05), high, beam_energy_of(image.attrs))
    marks = {n: Mark(line_energy_kev(n), line_text(n), INK, 1.0) for n in main.values()}
    element = str(typed or "").strip()
    element = element[:1].upper() + element[1:].lower()
    if element in explorer.elements:
        for x in lines_of(element, image):
            marks[x.name] = Mark(x.energy_kev, line_text(x.name), TYPED, 1.0 + x.weight)
    return list(marks.values())
