"""What an explorer tells in words and numbers, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

import xarray as xr

from eds_xr.app.explorer.explorer import Difference
from eds_xr.app.explorer.peaks import Peak
from eds_xr.app.explorer.regions import Region
from eds_xr.report.pictures.canvas import line_text
from eds_xr.schema import LINE

#: Lines of less than this many standard deviations are printed grey.
WEAK = 3.0


def title(image: xr.DataArray, name: str) -> str:
    """Return what is explored: its name, pixels and channels."""
    sizes = " × ".join(str(n) for n in image.shape[:-1])
    return f'<div class="title">{escape(name)}<span>{sizes} × {image.shape[-1]}</span></div>'


def region_row(one: Region, spectrum: xr.Dataset | None) -> str:
    """Return a region's name, and how many pixels and counts it has."""
    said = "…"
    if spectrum is not None:
        pixels = int(spectrum.n_pixels)
        mean = float(spectrum.counts.sum()) / max(pixels, 1)
        said = f"{pixels} pixels, {mean:.4g} counts each"
    return (
        f'<span class="swatch" style="background:{one.color}"></span>'
        f"<b>{escape(one.name)}</b> {one.roi.kind}, {said}"
    )


def difference(found: Difference, mixture: str, reference: str) -> str:
    """Return the share that is subtracted, net counts of lines, and what is to be said."""
    scale, sd = float(found.rest.scale), float(found.rest.scale_variance) ** 0.5
    share = f"{scale:.4f}" + (f" ± {sd:.4f}" if sd else "")
    parts = [
        f'<div class="note">{escape(mixture)} less {share} of {escape(reference)}, '
        f"{int(found.rest.n_pixels)} pixels</div>"
    ]
    told = messages(found.warnings)
    if found.lines is None:
        parts.append('<div class="note">Type elements to get their net counts.</div>')
        return "".join([*parts, told])
    ratio = found.signal_to_noise
    assert ratio is not None
    rows = []
    for line in found.lines[LINE].values.tolist():
        one, sigma = found.lines.sel({LINE: line}), float(ratio.sel({LINE: line}))
        assumed = bool(one.assumed) if "assumed" in one else False
        weak = ' class="weak"' if assumed or abs(sigma) < WEAK else ""
        numbers = (
            "<td colspan=3>zero by choice</td>"
            if assumed
            else f"<td>{float(one.net):.0f}</td><td>{float(one.variance) ** 0.5:.0f}</td>"
            f"<td>{sigma:.1f}</td>"
        )
        rows.append(f"<tr{weak}><td>{escape(line_text(line))}</td>{numbers}</tr>")
    head = "<tr><th>line</th><th>net counts</th><th>±</th><th>signal / noise</th></tr>"
    return "".join([*parts, f"<table>{head}{''.join(rows)}</table>", told])


def peak(one: Peak, channel: str, unit: str) -> str:
    """Return what was clicked at, and which elements it might be."""
    text = f"peak at {one.energy:.3f} {unit}: map of {escape(line_text(channel))}"
    if one.others:
        text += f"; also near: {', '.join(escape(line_text(n)) for n in one.others)}"
    return text


def at_pointer(y: float, x: float, value: float | None, sizes: Mapping[str, str]) -> str:
    """Return where the pointer is, and what the channel has there."""
    where = f"y {int(y)}, x {int(x)}"
    shown = "" if value is None else f": {value:.4g}"
    return where + shown + "".join(f", {name} {text}" for name, text in sizes.items())


def messages(texts: Iterable[str], kind: str = "told") -> str:
    """Return lines of a kind."""
    return "".join(f'<div class="{kind}">{escape(text)}</div>' for text in texts)
