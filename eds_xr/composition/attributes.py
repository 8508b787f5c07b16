"""What a composition tells of itself: its method and history, what is in doubt or assumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import with_assumptions
from eds_xr.composition.k_factors.table import Table
from eds_xr.composition.results import BY_STOICHIOMETRY, Elements
from eds_xr.composition.uncertainty import marks
from eds_xr.schema import ASSUMED, DOUBT, ELEMENT, LINE

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


def history_parameters(table: Table, elements: Elements, angle_deg: float | None) -> dict[str, Any]:
    """Return the parameters of a quantification for its history, whichever the method."""
    attrs = getattr(table, "attrs", {})
    parameters = {f"factors_{k}": attrs[k] for k in ("source", "beam_energy_kev") if k in attrs}
    if elements.charges is not None:
        parameters["valences"] = elements.valences
        spread = dict(zip(elements.symbols, elements.charges.deviations.tolist(), strict=True))
        parameters["valence_uncertainty"] = {e: s for e, s in spread.items() if s}
    if angle_deg is not None:
        parameters["take_off_angle_deg"] = angle_deg
    parameters["standardless"] = bool(attrs.get("standardless", 0))
    oxygen = BY_STOICHIOMETRY if BY_STOICHIOMETRY in elements.lines else "measured"
    return {"oxygen": oxygen, **parameters}


def marks_of_elements(lines: xr.Dataset, composition: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return what is in doubt, and what is assumed, of lines, as far as lines say so [element]."""
    found, names = {}, composition[LINE].values
    for name, nothing in ((DOUBT, ""), (ASSUMED, False)):
        if name in lines:
            values = marks.mark_of(lines, name, lines.net)
            values = values.reindex({LINE: names}, fill_value=nothing)
            values = values.drop_vars([n for n, c in values.coords.items() if LINE in c.dims])
            found[name] = values.rename({LINE: ELEMENT})
    return found
