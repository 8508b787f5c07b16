"""What a result says of itself on its page: tests, what intervals hold, strangers, zoning."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.report.page.html import escaped, items, notes, table
from eds_xr.schema import ELEMENT, LINE, PHASE

#: Rows of strangers; the tree has all.
MOST_STRANGERS = 20
_WAYS = {"composition": "regions", "refined_composition": "all pixels"}


def what_the_check_says(parts: dict[str, xr.Dataset]) -> str:
    """Return a part of the page for each, none where nothing was checked."""
    made = ""
    if "check" in parts:
        made += f"<div><h3>What the model leaves out</h3>{tests_text(parts['check'])}</div>"
    if "coverage" in parts:
        made += f"<div><h3>What the intervals hold</h3>{coverage_table(parts['coverage'])}</div>"
    if {"strangers", "zoning"} & set(parts):
        told = strangers_text(parts.get("strangers")) + zoning_text(parts.get("zoning"))
        made += f"<div><h3>Strangers, zoning</h3>{told or '<p>None.</p>'}</div>"
    return made


def tests_text(found: xr.Dataset) -> str:
    """Return what tests of an image flagged, and the names of those that it passed."""
    flagged, tested = found["flagged"].values, np.isfinite(found["size"].values)
    texts, names = found["text"].values, found["test"].values
    said = items([str(t) for t in texts[flagged]]) if flagged.any() else "<p>Nothing.</p>"
    level = float(found.attrs.get("level", 0.05))
    below = [f"Flagged: less than {100 * level:g} % of clean images, all tests together."]
    if (passed := names[tested & ~flagged]).size:
        below.append(f"Not flagged: {', '.join(map(str, passed))}; sizes in the group check.")
    open_ = zip(names[~tested].tolist(), texts[~tested].tolist(), strict=True)
    return said + notes([*below, *(f"{name}: {text}" for name, text in open_)])


def coverage_table(found: xr.Dataset) -> str:
    """Return what intervals hold in simulations, in all and of those that failed."""
    drawn = int(found.attrs.get("draws", 0))
    given = found["draws"].where(found["draws"] > 0)
    rows = []
    for way in found["way"].values.tolist():
        for phase in found[PHASE].values.tolist():
            one, number = (d.sel({"way": way, PHASE: phase}) for d in (found, given))
            if not bool(number.notnull().any()):
                rows.append([f"{phase} ({_WAYS.get(way, way)})", "given in none", "", ""])
                continue
            held = float((one["covered"] * number).sum() / number.sum())
            wide = one.sel({ELEMENT: one["widening"].values > 1})
            failed = [
                f"{e} {float(v):.2g} times (bias {100 * float(b):+.2g} at%)"
                for e, v, b in zip(
                    wide[ELEMENT].values, wide["widening"].values, wide["bias"].values, strict=True
                )
            ]
            most = f"{int(number.max())} of {drawn}"
            rows.append([
                f"{phase} ({_WAYS.get(way, way)})", f"{100 * held:.0f} %", most, ", ".join(failed)
            ])  # fmt: skip
    below = (
        f"Of {drawn} images that were drawn from this one's model, and analysed: what the 95 % "
        "intervals of all elements hold of the truth, in how many images the phase has numbers, "
        "and which intervals are widened. Errors of k-factors and tables are the "
        "same in all images, and not seen."
    )
    return table(["", "held", "images", "widened"], rows) + notes([below])


def strangers_text(found: xr.Dataset | None) -> str:
    """Return the most significant strangers, a sentence each."""
    if found is None or not found["text"].size:
        return ""
    texts = [str(t) for t in found["text"].values]
    more = len(texts) - MOST_STRANGERS
    below = [f"And {more} more, in the group strangers of the tree."] if more > 0 else []
    return items(texts[:MOST_STRANGERS]) + notes(below)


def zoning_text(found: xr.Dataset | None) -> str:
    """Return which lines vary within which phases; how is told among the warnings, and in a table.

    Thickness, where the film absorbs, and another phase among the pixels look the same.
    """
    if found is None or not found["zoned"].any():
        return ""
    zoned = found["zoned"].transpose(PHASE, LINE).values
    told = [
        f"{phase}: {', '.join(found[LINE].values[varies].tolist())}"
        for phase, varies in zip(found[PHASE].values, zoned, strict=True)
        if varies.any()
    ]
    return f"<p>Vary within phases: {escaped('; '.join(told))}.</p>"
