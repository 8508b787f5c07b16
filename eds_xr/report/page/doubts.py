"""What a result says of itself on its page: strangers, tests of the image, what intervals hold."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.composition.uncertainty.number_text import value_text
from eds_xr.report.page.html import items, notes, section, table
from eds_xr.schema import ELEMENT, PHASE

#: Rows of strangers; the tree has all.
MOST_STRANGERS = 20
_WAYS = {"composition": "regions", "refined_composition": "all pixels"}


def what_the_check_says(parts: dict[str, xr.Dataset]) -> str:
    """Return the section, empty where nothing was checked."""
    made = ""
    if "check" in parts:
        made += f"<div><h3>What the model leaves out</h3>{tests_table(parts['check'])}</div>"
    if "coverage" in parts:
        made += f"<div><h3>What the intervals hold</h3>{coverage_table(parts['coverage'])}</div>"
    if "strangers" in parts:
        made += f"<div><h3>Strangers</h3>{strangers_table(parts['strangers'])}</div>"
    return section("What the check says", made, kind="columns") if made else ""


def tests_table(found: xr.Dataset) -> str:
    """Return the tests of an image, flagged ones in words."""
    flagged = [str(t) for t in found["text"].values[found["flagged"].values]]
    rows = []
    for test in found["test"].values.tolist():
        one = found.sel(test=test)
        size, sd = float(one["size"]), float(one["size_sd"])
        if np.isfinite(size):
            shown = f"{value_text(size, sd)} {one['units'].item()}"
            rows.append([test, shown, _chance(one), "yes" if bool(one["flagged"]) else ""])
        else:
            rows.append([test, str(one["text"].item()), "", ""])
    level = float(found.attrs.get("level", 0.05))
    below = f"Chance: of a clean image, all tests together; flagged below {100 * level:g} %."
    said = items(flagged) if flagged else "<p>Nothing.</p>"
    return said + table(["test", "size", "chance", "flagged"], rows) + notes([below])


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


def strangers_table(found: xr.Dataset) -> str:
    """Return the most significant strangers, a sentence each."""
    texts = [str(t) for t in found["text"].values]
    more = len(texts) - MOST_STRANGERS
    below = [f"And {more} more, in the group strangers of the tree."] if more > 0 else []
    return (items(texts[:MOST_STRANGERS]) if texts else "<p>None.</p>") + notes(below)


def _chance(one: xr.Dataset) -> str:
    chance = float(one["chance"])
    return f"{chance:.2g}" if chance >= 1e-4 else "<\N{NO-BREAK SPACE}0.0001"
