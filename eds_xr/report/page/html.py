"""Pieces of HTML, all text in them escaped, all pictures within them."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from eds_xr.schema import EdsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Points of a printed inch.
DPI = 220
KINDS = {"png": "image/png", "svg": "image/svg+xml"}
#: For screens, phones and paper. What stands in `columns` has two where there is room for them, on
#: paper always, and its pictures are drawn as wide as one.
STYLE = """
:root { color-scheme: light; --ink: #222; --dim: #555; --rule: #ccc; --warn: #b34700; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; color: var(--ink); background: #fff;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; border-bottom: 1px solid var(--rule); margin: 1.6rem 0 .6rem;
  break-after: avoid; }
h3 { font-size: 1rem; margin: 0 0 .3rem; break-after: avoid; }
header p, figcaption, .notes { color: var(--dim); font-size: .85rem; overflow-wrap: anywhere; }
.warnings { border-left: 4px solid var(--warn); padding-left: .8rem; }
.warnings ul { padding-left: 1.1rem; margin: 0; }
.warnings ul { columns: 2 25rem; column-gap: 1.5rem; }
.missing { color: var(--warn); }
.columns { columns: 2 25rem; column-gap: 1.5rem; }
.columns > * { break-inside: avoid; margin: 0 0 1rem; }
.columns > pre { break-inside: auto; }
.across { column-span: all; }
li { overflow-wrap: anywhere; break-inside: avoid; }
td, th { overflow-wrap: break-word; max-width: 22rem; }
figure { margin: 0 0 1rem; break-inside: avoid; }
img { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
.across img { min-width: 38rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; border-top: 1.5px solid; border-bottom: 1.5px solid;
  font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { padding: .12rem .7rem .12rem .2rem; text-align: left; vertical-align: top;
  min-width: 3rem; }
thead th { border-bottom: 1px solid; font-weight: 600; }
pre { background: #f5f5f5; padding: .6rem; font-size: .75rem; line-height: 1.35;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media print {
  @page { size: A4; margin: 10mm 12mm; }
  html { font-size: 10.5px; }
  body { font-size: 8.8px; line-height: 1.25; max-width: none; padding: 0; }
  h1 { font-size: 15px; }
  h2 { font-size: 12px; margin: 1.5mm 0 1mm; }
  h3 { font-size: 9.5px; margin: 0 0 .5mm; }
  p, ul { margin: 0 0 1mm; }
  .columns, .warnings ul { columns: 2; column-gap: 5mm; }
  .columns > * { margin: 0 0 1.8mm; }
  figure { margin: 0 0 1.8mm; }
  .across img { min-width: 0; }
  .scroll, .wide { overflow: visible; }
  table, header p, figcaption, .notes { font-size: 8px; line-height: 1.2; }
  td, th { padding: .2mm 2mm .2mm .4mm; min-width: 10.5mm; overflow-wrap: anywhere; }
  pre { font-size: 6.8px; line-height: 1.12; padding: .8mm; margin: 0 0 .6mm; }
}
"""


def escaped(text: Any) -> str:
    """Return text as HTML shows it, whatever it holds.

    Examples
    --------
    >>> escaped("<b>Fe</b>")
    '&lt;b&gt;Fe&lt;/b&gt;'
    """
    return html.escape(str(text), quote=True)


def section(title: str, inside: str, *, kind: str = "") -> str:
    """Return a section; `inside` is HTML."""
    return (
        f'<section><h2>{escaped(title)}</h2><div class="{escaped(kind)}">{inside}</div></section>'
    )


def items(texts: Iterable[str]) -> str:
    """Return a list."""
    return "<ul>" + "".join(f"<li>{escaped(t)}</li>" for t in texts) + "</ul>"


def block(text: str) -> str:
    """Return text as it was typed."""
    return f"<pre>{escaped(text)}</pre>"


def notes(texts: Iterable[str]) -> str:
    """Return what stands below a table."""
    return "".join(f'<p class="notes">{escaped(t)}</p>' for t in texts)


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table whose rows begin with their names."""
    top = "".join(f"<th>{escaped(h)}</th>" for h in head)
    body = "".join(
        f'<tr><th scope="row">{escaped(row[0])}</th>'
        + "".join(f"<td>{escaped(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def picture(
    make: Callable[[], Figure], caption: str, kind: str = "png", *, across: bool = False
) -> str:
    """Return a picture of the page, `across` both columns; where there can be none, why."""
    try:
        figure = make()
    except EdsError as error:
        return f'<p class="missing">{escaped(caption)} No picture: {escaped(error)}</p>'
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=DPI)
    data = base64.b64encode(stream.getvalue()).decode()
    text, wide = escaped(caption), ' class="across"' if across else ""
    width, height = (round(96 * size) for size in figure.get_size_inches())
    return (
        f'<figure{wide}><div class="scroll"><img src="data:{KINDS[kind]};base64,{data}" '
        f'alt="{text}" width="{width}" height="{height}"></div>'
        f"<figcaption>{text}</figcaption></figure>"
    )
