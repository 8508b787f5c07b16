"""Errors that come from a phase's variation from place to place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from eds_xr.analysis.any_sample.regions import Source
from eds_xr.schema import ENERGY, LINE, PHASE, spatial_dims
from eds_xr.segmentation import masks as mk
from eds_xr.spectra.common_errors import add_common_errors
from eds_xr.spectra.line_fits.model_errors import add_variance, variation


def with_reference_variation(
    lines: xr.Dataset,
    pure: xr.Dataset,
    sources: Sequence[Source],
    pinned: Mapping[str, Sequence[str]],
    tiles: Mapping[str, xr.Dataset],
    masks: xr.DataArray,
) -> xr.Dataset:
    """Add to the errors what a reference varies from place to place.

    What lies above and below a grain is not the average of its host. Ratios to the pinned line vary
    between tiles of the host's mask beyond chance, by a variance ``t`` a tile; the mean over a
    mask that spans ``k`` tiles by ``t / k``. That is an error of the host, as a phase, and what
    was subtracted carries it, for mixture and host.

    Parameters
    ----------
    tiles : mapping
        By reference, fitted lines of the tiles of its mask.

    Returns
    -------
    Dataset
        As `lines`, ``variance`` and ``covariance`` with the addition, which ``matrix_variance``
        [phase, line] shows on its own.
    """
    added = xr.zeros_like(lines.variance)
    for source in sources:
        known = lines[PHASE].values.tolist()
        if source.reference not in tiles or not {source.phase, source.reference} <= {*known}:
            continue
        base = pinned[source.phase][0]
        between = variation(tiles[source.reference], per=base).variance
        spans = {
            n: _tiles_spanned(masks.sel({PHASE: n})) for n in (source.region, source.reference)
        }
        net = float(lines.net.sel({PHASE: source.reference, LINE: base}))
        pixels = pure.n_pixels.sel({PHASE: [source.phase, source.reference]}).values
        taken = net * float(pure.scale.sel({PHASE: source.phase})) * pixels[0] / pixels[1]
        added.loc[{PHASE: source.phase}] = taken**2 * between * sum(1 / k for k in spans.values())
        own = net**2 * between / spans[source.reference]
        before = added.sel({PHASE: source.reference})
        added.loc[{PHASE: source.reference}] = own.where(own > before, before)
    attrs = {"long_name": "variance due to the matrix", "units": "counts^2"}
    return add_variance(lines, added, "matrix").assign(matrix_variance=added.assign_attrs(attrs))


def lines_of_all_pixels(
    refined: xr.Dataset, fitted: xr.Dataset, pure: xr.Dataset, lines: xr.Dataset
) -> xr.Dataset:
    """Add to the errors of the lines of refined spectra what is beyond counting.

    What the phases share, and, relative to their counts, what matrix and model add to the errors
    of the pure spectra's `lines`. (The whole map spans more of a host than the masks do.)
    """
    size = refined.counts.sum(ENERGY) / pure.counts.sum(ENERGY)
    beyond = (lines.matrix_variance + lines.model_variance) * size**2
    return add_variance(add_common_errors(fitted, refined), beyond, "matrix")


def _tiles_spanned(mask: xr.DataArray) -> float:
    """Return over how many tiles a mask is spread, evenly filled ones counting fully."""
    sizes = mk.tiles(mask, min_share=0).sum(spatial_dims(mask)).values.astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())
