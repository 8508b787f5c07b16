"""Errors of the deep-mantle study that come from the matrix's variation."""

from __future__ import annotations

import xarray as xr

from eds_xr.analysis.deep_mantle.steps import GRAINS, MATRIX, PINNED
from eds_xr.schema import ENERGY, PHASE, spatial_dims
from eds_xr.segmentation import masks as mk
from eds_xr.spectra.common_errors import add_common_errors
from eds_xr.spectra.line_fits.model_errors import add_variance, variation


def with_matrix_variation(
    lines: xr.Dataset, pure: xr.Dataset, tiles: xr.Dataset, masks: xr.DataArray
) -> xr.Dataset:
    """Add to the errors what the matrix varies from place to place.

    The matrix above and below a grain is not the average matrix. Ratios to the pinned line vary
    between tiles of its mask beyond chance, by a variance ``t`` a tile; the mean over a mask that
    spans ``k`` tiles by ``t / k``. That is an error of the matrix, as a phase, and what was
    subtracted carries it, for mixture and matrix.

    Returns
    -------
    Dataset
        As `lines`, ``variance`` and ``covariance`` with the addition, which ``matrix_variance``
        [phase, line] shows on its own.
    """
    matrix = lines.net.sel({PHASE: MATRIX})
    between = {line: variation(tiles, per=line).variance for line in PINNED.values()}
    used = [MATRIX, *(f"{grain}+{MATRIX}" for grain in GRAINS)]
    a_tile = {name: 1 / _tiles_spanned(masks.sel({PHASE: name})) for name in used}
    added = xr.zeros_like(lines.variance)
    base = PINNED[GRAINS[0]]
    added.loc[{PHASE: MATRIX}] = float(matrix.sel(line=base)) ** 2 * between[base] * a_tile[MATRIX]
    for grain in GRAINS:
        pixels = pure.n_pixels.sel({PHASE: [grain, MATRIX]}).values
        share = float(pure.scale.sel({PHASE: grain})) * pixels[0] / pixels[1]
        taken = share * float(matrix.sel(line=PINNED[grain]))
        spans = a_tile[f"{grain}+{MATRIX}"] + a_tile[MATRIX]
        added.loc[{PHASE: grain}] = taken**2 * between[PINNED[grain]] * spans
    attrs = {"long_name": "variance due to the matrix", "units": "counts^2"}
    return add_variance(lines, added, "matrix").assign(matrix_variance=added.assign_attrs(attrs))


def lines_of_all_pixels(
    unmixed: xr.Dataset, fitted: xr.Dataset, pure: xr.Dataset, lines: xr.Dataset
) -> xr.Dataset:
    """Add to the errors of the unmixed spectra's lines what is beyond counting.

    What the phases share, and, relative to their counts, what matrix and model add to the errors
    of the pure spectra's `lines`. (The whole map spans more of the matrix than the masks do.)
    """
    size = unmixed.counts.sum(ENERGY) / pure.counts.sum(ENERGY)
    beyond = (lines.matrix_variance + lines.model_variance) * size**2
    return add_variance(add_common_errors(fitted, unmixed), beyond, "matrix")


def _tiles_spanned(mask: xr.DataArray) -> float:
    """Return over how many tiles a mask is spread, evenly filled ones counting fully."""
    sizes = mk.tiles(mask, min_share=0).sum(spatial_dims(mask)).values.astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())
