"""What is found of each stranger, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.analysis.strangers.chance import as_sigma
from eds_xr.analysis.strangers.known import Known
from eds_xr.analysis.strangers.naming import Named
from eds_xr.analysis.strangers.regions import Region
from eds_xr.analysis.strangers.responses import Responses
from eds_xr.schema import LINE, STRANGER, spatial_dims

#: The dimension along which a line scan is one pixel.
ROW = "row_of_a_line_scan"


def table_of(
    known: Known, responses: Responses, regions: Sequence[Region], lines: Sequence[int]
) -> xr.Dataset:
    """Return the strangers, a row each, with the counts in excess of some families."""
    axes = [_Axis(known.image, d) for d in spatial_dims(known.image) if d != ROW]
    rows = [_cells(region, known, axes) for region in regions]
    made = xr.Dataset(
        {
            name: (
                STRANGER,
                np.array([row[name] for row in rows], kind),
                {"long_name": text, "units": units},
            )
            for name, (kind, text, units) in _columns(axes).items()
        },
        coords={
            STRANGER: np.arange(1, len(regions) + 1),
            LINE: [responses.line_names[f] for f in lines],
        },
    )
    for name, values, text, units in (
        ("excess", [_by_family(r, "counts") for r in regions], "counts in excess", "counts"),
        ("excess_variance", [_by_family(r, "variance") for r in regions], "variance", "counts^2"),
    ):
        table = np.array([[row.get(f, 0.0) for f in lines] for row in values])
        table = table.reshape(len(regions), len(lines))
        made[name] = ((STRANGER, LINE), table, {"long_name": text, "units": units})
    return made


def _by_family(region: Region, name: str) -> dict[int, float]:
    return {f: v for one in region.elements for f, v in getattr(one, name).items()}


def elements_of(region: Region) -> str:
    """Return the elements in excess, then those that are missing: ``Ti or Ba, less Mg``."""
    more, less = (
        [_may_be(one) for one in region.elements if sign * one.total > 0] for sign in (1, -1)
    )
    return ", ".join([*more, *(f"less {e}" for e in less)])


def _may_be(one: Named) -> str:
    return " or ".join([one.element, *one.aliases])


class _Axis:
    """A spatial axis: where pixels are, in units."""

    def __init__(self, image: xr.DataArray, dim: str) -> None:
        given = image.coords[dim] if dim in image.coords else None
        place = np.arange(image.sizes[dim]) if given is None else given.values.astype(float)
        self.dim, self.first = dim, float(place[0])
        self.step = float(place[-1] - place[0]) / max(place.size - 1, 1) or 1.0
        self.units = "pixels" if given is None else str(given.attrs.get("units", ""))


def _columns(axes: Sequence[_Axis]) -> dict[str, tuple[type, str, str]]:
    """Return of each column what it holds, its long name and units."""
    found: dict[str, tuple[type, str, str]] = {}
    for axis in axes:
        found[f"middle_{axis.dim}"] = (float, f"middle along {axis.dim}", axis.units)
        found[f"extent_{axis.dim}"] = (float, f"extent along {axis.dim}", axis.units)
    return found | {
        "n_pixels": (int, "pixels", "1"),
        "size": (float, "diameter of a disc of the same area, or length", axes[0].units),
        "elements": (object, "elements in excess, or missing", "1"),
        "significance": (float, "significance of the strongest window", "standard deviations"),
        "log_chance": (float, "logarithm of the chance of the strongest window", "1"),
        "q_value": (float, "false discovery rate down to this one", "1"),
        "host": (object, "phase around", "1"),
        "text": (object, "in words", "1"),
    }


def _cells(region: Region, known: Known, axes: Sequence[_Axis]) -> dict[str, Any]:
    """Return a row of the table."""
    row: dict[str, Any] = {}
    # the last ones: a line scan has one axis only
    middle, places = region.middle[-len(axes) :], region.pixels.T[-len(axes) :]
    for axis, mean, place in zip(axes, middle, places, strict=True):
        row[f"middle_{axis.dim}"] = axis.first + axis.step * float(mean)
        row[f"extent_{axis.dim}"] = abs(axis.step) * float(np.ptp(place) + 1)
    area = len(region.pixels) * abs(math.prod(a.step for a in axes))
    row |= {
        "n_pixels": len(region.pixels),
        "size": math.sqrt(4 / math.pi * area) if len(axes) == 2 else area,
        "elements": elements_of(region),
        "significance": float(as_sigma(np.array([region.log_p]))[0]),
        "log_chance": region.log_p,
        "q_value": region.q,
        "host": known.names[int(region.amounts.argmax())],
    }
    return row | {"text": _text(region, axes, row)}


def _text(region: Region, axes: Sequence[_Axis], row: dict[str, Any]) -> str:
    """Return what is found, in words."""
    parts = [
        f"{abs(one.total):.0f}({one.sd:.0f}) counts {'more' if one.total > 0 else 'less'} of "
        f"{_may_be(one)}"
        for one in region.elements
    ]
    where = ", ".join(f"{a.dim} = {row[f'middle_{a.dim}']:.4g}" for a in axes)
    size = " x ".join(f"{row[f'extent_{a.dim}']:.3g}" for a in axes)
    return (
        f"{', '.join(parts)} than the phases explain, at {where} {axes[0].units}, within {size} "
        f"{axes[0].units}, in {row['host']} ({row['significance']:.1f} standard deviations)"
    )
