"""NMF components that are phases, with what is said of the others."""

from __future__ import annotations

import xarray as xr

from eds_xr.factorisation.component_kinds.kinds import NOISE, component_kinds, merge_kinds
from eds_xr.factorisation.nmf import nmf
from eds_xr.schema import COMPONENT


def phase_components(
    image: xr.DataArray, n_components: int | str, *, seed: int
) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Factorise; fold components that are no phases into their parents, and return their kinds.

    Components that the others mix turn these away from their phases, which folding cannot undo:
    then the image is factorised anew, into fewer. A number that is given is kept: then all
    components are phases, and there are no kinds.
    """
    factors = nmf(image, n_components, seed=seed)
    if n_components != "auto":
        return factors, None
    while True:
        kinds = component_kinds(factors)
        fewer = int((kinds.kind != NOISE).sum())
        if fewer == factors.sizes[COMPONENT] or fewer < 1:
            return merge_kinds(factors, kinds), kinds
        factors = nmf(image, fewer, seed=seed)


def kinds_said(kinds: xr.Dataset | None) -> tuple[str, ...]:
    """Return what is to be said of components that are no phases, and of continua."""
    if kinds is None:
        return ()
    folded = [
        f"component {name} is no phase but {kind} of component {parent}: {reason}"
        for name, kind, parent, reason in zip(
            kinds[COMPONENT].values, kinds.kind.values, kinds.parent.values, kinds.reason.values,
            strict=True,
        )
        if name != parent
    ]  # fmt: skip
    continua = [f"a continuum of compositions, {pair}" for pair in kinds.attrs["continuum"]]
    return (*folded, *continua, *kinds.attrs["notes"])
