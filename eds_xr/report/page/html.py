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
DPI = 160
KINDS = {"png": "image/png", "svg": "image/svg+xml"}
#: For screens, phones and paper.
STYLE = """
:root { color-scheme: light; --ink: #222; --dim: #666; --rule: #ccc; --warn: #d55e00; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; color: var(--ink); background: #fff;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; border-bottom: 1px solid var(--rule); margin: 1.6rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.1rem 0 .3rem; }
header p, figcaption, .notes { color: var(--dim); font-size: .85rem; overflow-wrap: anywhere; }
.warnings { border-left: 4px solid var(--warn); padding-left: .8rem; }
.missing { color: var(--warn); }
li { overflow-wrap: anywhere; }
td, th { overflow-wrap: break-word; max-width: 22rem; }
figure { margin: .8rem 0; break-inside: avoid; }
img { display: block; max-width: 100%; height: auto; }
.wide { overflow-x: auto; break-inside: avoid; }
table { border-collapse: collapse; border-top: 1.5px solid; border-bottom: 1.5px solid;
  font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { padding: .12rem .7rem .12rem .2rem; text-align: left; vertical-align: top;
  min-width: 3rem; }
thead th { border-bottom: 1px solid; font-weight: 600; }
pre { background: #f5f5f5; padding: .6rem; font-size: .75rem; line-height: 1.35;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media print {
  @page { size: A4; margin: 13mm; }
  body { font-size: 9px; max-width: none; padding: 0; }
  h1 { font-size: 15px; }
  h2 { font-size: 12px; margin: .5rem 0 .2rem; break-after: avoid; }
  h3 { font-size: 10px; margin: .4rem 0 .1rem; break-after: avoid; }
  p, ul { margin: .2rem 0; }
  figure { margin: .2rem 0; }
  table, header p, figcaption, .notes { font-size: 7.5px; }
  .pairs { display: grid; grid-template-columns: 1fr 1fr; column-gap: 5mm; align-items: start; }
  .pairs > h2 { grid-column: 1 / -1; }
  .columns { column-count: 2; column-gap: 5mm; }
  .columns > h2 { column-span: all; }
  img { max-height: 90mm; width: auto; }
  pre { font-size: 5.5px; padding: .3rem; margin: .2rem 0; }
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
    return f'<section class="{escaped(kind)}"><h2>{escaped(title)}</h2>{inside}</section>'


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


def picture(make: Callable[[], Figure], caption: str, kind: str = "png") -> str:
    """Return a picture within the page; where there can be none, why."""
    try:
        figure = make()
    except EdsError as error:
        return f'<p class="missing">{escaped(caption)} No picture: {escaped(error)}</p>'
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=DPI)
    data = base64.b64encode(stream.getvalue()).decode()
    text = escaped(caption)
    width, height = (round(96 * size) for size in figure.get_size_inches())
    return (
        f'<figure><img src="data:{KINDS[kind]};base64,{data}" alt="{text}" width="{width}" '
        f'height="{height}"><figcaption>{text}</figcaption></figure>'
    )
