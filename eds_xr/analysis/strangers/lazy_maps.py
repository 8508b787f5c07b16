"""Maps of strangers: which pixels are of which, and what each line has beyond mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.analysis.strangers import windows
from eds_xr.analysis.strangers.responses import Responses
from eds_xr.analysis.strangers.search import (
    Windows,
    held_by,
    less_the_usual,
    maps_of,
    shares_near,
    sums_of,
    tiles_of,
)
from eds_xr.schema import LINE, spatial_coords, spatial_dims
from eds_xr.segmentation.tiled_filters import inside_margins, with_margins
from eds_xr.workers import task_name


def residual_maps(image: xr.DataArray, responses: Responses, lines: Sequence[int]) -> xr.DataArray:
    """Return what some families have beyond mixtures [line, y, x; standard deviations]. Lazy."""
    import dask.array as da

    few = responses.only(lines)
    maps = maps_of(image, few)
    maps = maps.rechunk((-1, *tiles_of(maps.shape[1:])))
    values = da.map_blocks(
        _residual_block, with_margins(maps, windows.MARGIN, 2),
        chunks=((len(lines),), *maps.chunks[1:]), dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32), upper=few.upper, second=few.moment(2),
        third=few.moment(3),
    )  # fmt: skip
    return xr.DataArray(
        values, {**spatial_coords(image), LINE: [few.line_names[f] for f in lines]},
        (LINE, *spatial_dims(image)), "residual",
        {"long_name": "counts beyond mixtures, of 5 pixels", "units": "standard deviations"},
    )  # fmt: skip


def region_map(image: xr.DataArray, found: Windows, regions: Sequence[np.ndarray]) -> xr.DataArray:
    """Return which region a pixel is of [y, x], from 1; 0 where of none. Lazy."""
    import dask.array as da

    dims = spatial_dims(image)
    number = np.repeat(np.arange(1, len(regions) + 1), [len(w) for w in regions])
    of = np.concatenate([*regions, np.zeros(0, int)]).astype(int)
    # the strongest of each pixel is painted last
    order = np.argsort(found.score[of], kind="stable")
    painted = np.column_stack([number, found.shape[of], found.y[of], found.x[of]])[order]
    sizes = tiles_of([image.sizes[d] for d in dims])
    values = da.map_blocks(
        _region_block, chunks=sizes, dtype=np.int32, meta=np.empty((0, 0), np.int32),
        painted=painted,
    )  # fmt: skip
    attrs = {"long_name": "number of the stranger", "units": "1"}
    return xr.DataArray(values, spatial_coords(image), dims, attrs=attrs)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("regions of strangers")
def _region_block(*, painted: np.ndarray, block_info: Any) -> np.ndarray:
    (top, bottom), (left, right) = block_info[None]["array-location"]
    region = np.zeros((bottom - top, right - left), np.int32)
    for number, shape, y, x in painted.tolist():
        at = windows.shapes()[shape] + (y - top, x - left)
        inside = ((at >= 0) & (at < region.shape)).all(axis=1)
        region[tuple(at[inside].T)] = number
    return region


@task_name("residuals of line families")
def _residual_block(
    maps: np.ndarray, *, upper: np.ndarray, second: np.ndarray, third: np.ndarray, block_info: Any
) -> np.ndarray:
    from eds_xr.analysis.strangers import kernels

    inner = inside_margins(maps, block_info[0], windows.MARGIN, 2)
    amounts, response = maps[~upper], less_the_usual(maps, upper)[upper]
    near = shares_near(amounts)
    own, other = held_by(amounts, near, windows.SMALL)
    found = np.empty(response.shape, np.float32)
    for f, one in enumerate(response):
        kernels.standardise(sums_of(one, windows.SMALL), own, other, second[f], found[f])
        kernels.normalise(found[f], own, other, second[f], third[f])
    return np.ascontiguousarray(found[inner])
