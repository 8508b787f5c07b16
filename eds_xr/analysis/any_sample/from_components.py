"""Spectra of phases that no region shows: what NMF makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.analysis.any_sample.phases_found import Found
from eds_xr.provenance import of_the_recording
from eds_xr.schema import COMPONENT, ENERGY, PHASE, spatial_dims
from eds_xr.segmentation.presence.amounts import (
    COUNTS_FOR_NOISE,
    MOST_SIGMA,
    smoothed,
    width_gathering,
)
from eds_xr.spectra.common_errors import common_covariances
from eds_xr.spectra.line_fits.fitted_lines import with_error

#: Pixels richest in a phase hold so many counts: fewer are a choice by noise.
RICH_COUNTS = 3000.0
#: One standard deviation of what a component holds of the phases about it, as a share of its own
#: counts: nothing measures that. Of twelve materials with 100 counts a pixel components were off
#: by 0.01 to 0.05 where a pixel is pure.
IMPURITY = 0.05
#: Why the composition of a component is not to be believed.
BY_NMF = "purity rests on NMF alone"


def with_components(pure: xr.Dataset | None, found: Found, names: Sequence[str]) -> xr.Dataset:
    """Return spectra ``[phase, energy]`` with those of components added.

    A component's is its loading times its counts where it is present. It may lack what its phase
    has in common with others: these then have counts even where it is richest, and of so much that
    is its own something between none and all is, which is the error of a scale.
    """
    amounts = found.amounts.compute()
    added = [_of_component(found, amounts, name) for name in names]
    coord = xr.DataArray(list(names), dims=PHASE, name=PHASE)
    made = xr.concat(added, dim=coord, combine_attrs="drop", join="exact")
    if pure is None:
        return made.assign_attrs(of_the_recording(found.total.attrs))
    made = made.assign_coords({ENERGY: pure[ENERGY]})
    return xr.concat([pure, made], dim=PHASE, combine_attrs="override", join="exact")


def with_impurity(lines: xr.Dataset, pure: xr.Dataset, fitted: xr.Dataset) -> xr.Dataset:
    """Add to the errors of `lines` what components may hold of other phases.

    `fitted` are the lines of the same spectra as they were fitted, without any such addition.
    """
    names = pure[PHASE].values[(pure.way == "NMF component").values]
    if not names.size:
        return lines
    part = pure.sel({PHASE: names})
    moved = (part.scale_slope * part.scale_variance**0.5).expand_dims("mode")
    moved_part = part.assign(common_error=moved)
    added = common_covariances(fitted.sel({PHASE: names}), moved_part)["matrix"]
    return with_error(lines, added.reindex({PHASE: lines[PHASE]}, fill_value=0.0), "matrix")


def _of_component(found: Found, amounts: xr.DataArray, name: str) -> xr.Dataset:
    loadings = found.factors.loadings.transpose(COMPONENT, ENERGY).clip(min=0)
    loadings = loadings.sel({COMPONENT: amounts[PHASE].values}).rename({COMPONENT: PHASE})
    present = found.segmentation["present"].sel({PHASE: name}, drop=True)
    held = amounts.where(present, 0.0)
    inside = held.sum(spatial_dims(held)).clip(min=0.0)
    own = max(float(inside.sel({PHASE: name})), 1.0)
    others = _others_where_rich(held, name)
    share = float(others.sum())
    about = others if share > 0 else inside.where(inside[PHASE] != name, 0.0)
    shape = xr.dot(about, loadings, dim=PHASE) / max(float(about.sum()), 1e-9)
    counts = own * (loadings.sel({PHASE: name}, drop=True) + share / 2 * shape)
    return xr.Dataset(
        {
            "counts": counts,
            # its counts were told apart from those of the others
            "variance": counts * float(inside.sum() / own),
            "n_pixels": int(present.sum()),
            "scale": 0.0,
            "scale_variance": IMPURITY**2 + share**2 / 12,
            "scale_slope": own * shape,
            "scale_by_counts": (ENERGY, np.zeros(counts.size)),
            "pinned": "",
            "pinned_in_part": "",
            "way": "NMF component",
        }
    )


def _others_where_rich(held: xr.DataArray, name: str) -> xr.DataArray:
    """Return the counts of other phases to one of `name`, where that is richest [phase]."""
    ordered = held.transpose(*spatial_dims(held), PHASE)
    total = float(ordered.where(ordered.sum(PHASE) > 0).sum(PHASE).mean())
    sigma = width_gathering(COUNTS_FOR_NOISE, total, 0.7, MOST_SIGMA)
    near = ordered.copy(data=smoothed(ordered.values, sigma))
    share = near.sel({PHASE: name}) / near.sum(PHASE).clip(min=1e-9)
    order = np.argsort(-np.where(ordered.sum(PHASE) > 0, share, -np.inf), axis=None)
    table = ordered.values.reshape(-1, ordered.sizes[PHASE])[order]
    many = int(np.searchsorted(np.cumsum(table.sum(1)), RICH_COUNTS)) + 1
    rich = xr.DataArray(table[:many].sum(0), {PHASE: ordered[PHASE].values}, (PHASE,))
    own = max(float(rich.sel({PHASE: name})), 1.0)
    return (rich / own).where(rich[PHASE] != name, 0.0).clip(min=0.0)
