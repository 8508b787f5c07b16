"""A composition with the attributes of its lines, its method and its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import with_assumptions
from eds_xr.composition.results import marks_of_elements

#: The step of the history that each method is.
_STEPS = {
    "cliff_lorimer": "quantify",
    "zeta": "quantify_zeta",
    "cross_section": "quantify_cross_sections",
}


def labelled(
    found: xr.Dataset,
    lines: xr.Dataset,
    chosen: xr.Dataset,
    method: str,
    parameters: dict[str, Any],
    assumed: Sequence[str],
) -> xr.Dataset:
    """Return a composition with the attributes of its lines, its method and its history."""
    parameters |= {"assumed": list(assumed)} if assumed else {}
    attrs = with_assumptions(lines.attrs, *assumed)
    attrs = provenance.with_step(attrs, _STEPS[method], **parameters)
    more = {"method": method, "standardless": int(parameters["standardless"])}
    found = found.assign(marks_of_elements(lines, found))
    return found.assign_attrs(attrs | more | chosen.attrs)
