"""NMF components that are phases, with what is said of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import xarray as xr

from eds_xr.factorisation.component_kinds.kinds import (
    CONTINUUM_END,
    NOISE,
    component_kinds,
    merge_kinds,
)
from eds_xr.factorisation.fit import NmfOptions, prepare
from eds_xr.factorisation.nmf import nmf_of_task
from eds_xr.factorisation.rank_evidence import Evidence
from eds_xr.schema import COMPONENT


class PhaseComponents(NamedTuple):
    """Components that are phases, and why there are so many."""

    factors: xr.Dataset
    kinds: xr.Dataset | None  # of all components; None where their number was given
    evidence: Evidence | None  # that of suggest_rank, where nmf had it


def phase_components(image: xr.DataArray, n_components: int | str, *, seed: int) -> PhaseComponents:
    """Factorise, and fold components that are no phases into their parents.

    Computes: reads `image` once, as :func:`eds_xr.nmf`.

    Components that the others mix turn these away from their phases, which folding cannot undo:
    then the image is factorised anew, into fewer. A number that is given is kept: then all
    components are phases, and there are no kinds.
    """
    task = prepare(image, n_components, NmfOptions())
    factors = nmf_of_task(task, seed)
    if n_components != "auto":
        return PhaseComponents(factors, None, None)
    while True:
        kinds = component_kinds(factors)
        fewer = int((kinds.kind != NOISE).sum())
        if fewer == factors.sizes[COMPONENT] or fewer < 1:
            return PhaseComponents(merge_kinds(factors, kinds), kinds, task.evidence)
        factors = nmf_of_task(task._replace(rank=fewer), seed)


def kinds_said(kinds: xr.Dataset | None, names: Mapping[Any, str]) -> tuple[str, ...]:
    """Return what is to be said of components that are no phases, and of continua.

    `names` are those of the components that are phases.
    """
    if kinds is None:
        return ()
    rows = zip(*(kinds[n].values for n in (COMPONENT, "kind", "parent", "reason")), strict=True)
    folded = [
        f"a component is no phase but {kind}, and is counted with {names[parent]}: {reason}"
        for name, kind, parent, reason in rows
        if name != parent and kind != CONTINUUM_END
    ]
    phase_of = {
        int(c): names[p] for c, p in zip(kinds[COMPONENT].values, kinds.parent.values, strict=True)
    }
    continua = []
    for told in kinds.attrs["continuum"]:
        pair, why = told.split(": ", 1)
        ends = dict.fromkeys(phase_of[int(end)] for end in pair.split(" to "))
        counted = ", counted as one phase" if len(ends) == 1 else ""
        continua.append(f"a continuum of compositions, {' to '.join(ends)}{counted}: {why}")
    one = [note for note in kinds.attrs["notes"] if note.startswith("one phase")]
    return (*folded, *continua, *one)
