"""Tiles with margins, against Dask's own."""

from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.array.overlap import overlap
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from eds_xr.segmentation import tiled_filters
from eds_xr.segmentation.tiled_filters import (
    cut_out,
    in_tiles,
    map_planes,
    tile_sizes,
    with_margins,
)

CASES = {
    "maps": ((2, 50, 61), ((2,), (20, 17, 13), (30, 31)), 2),
    "line": ((40,), ((9, 11, 20),), 1),
    "frames": ((3, 2, 33, 40), ((2, 1), (1, 1), (33,), (8, 12, 20)), 2),
}


@pytest.mark.parametrize("margin", [0, 3, 8])
@pytest.mark.parametrize("case", CASES)
def test_with_margins__is_dasks_overlap_in_fewer_tasks(case: str, margin: int) -> None:
    shape, chunks, planes = CASES[case]
    array = da.from_array(np.random.default_rng(0).random(shape), chunks=chunks)
    first = len(shape) - planes
    depth = {a: margin * (len(chunks[a]) > 1) for a in range(first, len(shape))}
    wanted, found = (
        overlap(array, depth=depth, boundary="none"),
        with_margins(array, margin, planes),
    )
    assert found.chunks == wanted.chunks
    np.testing.assert_array_equal(found, wanted)
    assert found.name == with_margins(array, margin, planes).name
    assert len(dict(found.__dask_graph__())) <= 3 * array.npartitions + 1


def test_with_margins__joins_tiles_that_are_narrower() -> None:
    values = np.random.default_rng(0).random((6, 40))
    found = with_margins(da.from_array(values, chunks=((2, 4), (3, 20, 10, 7))), 6, 2)
    assert found.chunks[0] == (6,)
    assert min(found.chunks[1]) >= 6
    core = found.map_blocks(lambda block, block_info=None: block, dtype=float)
    assert core.shape[0] == 6


@given(data=st.data())
def test_cut_out__gives_the_parts_of_any_chunks(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30)))
    values = np.arange(np.prod(shape)).reshape(shape)
    chunks = [data.draw(st.integers(1, n)) for n in shape[1:]]
    boxes = []
    for _ in range(data.draw(st.integers(1, 4))):
        ends = [sorted(data.draw(st.sets(st.integers(0, n), min_size=2, max_size=2)))
                for n in shape[1:]]  # fmt: skip
        boxes.append(tuple(slice(*end) for end in ends))
    parts = cut_out(da.from_array(values, (-1, *chunks)) + 1, boxes)
    for box, part in zip(boxes, dask.compute(*parts, scheduler="synchronous"), strict=True):
        np.testing.assert_array_equal(part, values[(slice(None), *box)] + 1)


def test_cut_out__makes_each_block_once_and_ends_with_the_first_part_soon() -> None:
    made: list[int] = []
    made_at_a_part: list[int] = []

    def make(block: np.ndarray) -> np.ndarray:
        made.append(1)
        return block + 1

    lazy = da.zeros((2, 64, 64), chunks=(2, 8, 8)).map_blocks(make, meta=np.empty((0, 0, 0)))
    tiles = [(slice(y, y + 16), slice(x, min(x + 18, 64)))
             for y in range(0, 64, 16) for x in range(0, 64, 16)]  # fmt: skip
    look = dask.delayed(lambda part: made_at_a_part.append(len(made)))
    dask.compute(*(look(part) for part in cut_out(lazy, tiles)), scheduler="synchronous")
    assert len(made) == 64
    assert made_at_a_part[0] <= 6  # of its own, and none of the tiles around
    assert made_at_a_part[3] <= 20


def test_cut_out__of_what_workers_keep(client: Any) -> None:
    values = np.arange(288).reshape(2, 12, 12)
    kept = da.from_array(values, (2, 6, 6)).persist()
    (part,) = dask.compute(*cut_out(kept, [(slice(1, 9), slice(0, 12))]))
    np.testing.assert_array_equal(part, values[:, 1:9])


@pytest.mark.parametrize("chunks", [{"y": 4, "x": 9}, {"y": 50, "x": 7}, {"y": 23, "x": 60}])
def test_map_planes__has_no_seams_however_narrow_the_chunks(chunks: dict[str, int]) -> None:
    image = xr.DataArray(np.random.default_rng(1).random((2, 50, 60)), dims=("frame", "y", "x"))

    def smooth(block: np.ndarray, *, axes: int) -> np.ndarray:
        return gaussian_filter(block, 2.0, axes=tuple(range(-axes, 0)))

    found = map_planes(image.chunk(chunks), smooth, 8)
    np.testing.assert_allclose(found, map_planes(image, smooth, 8), rtol=1e-12)


def test_in_tiles__depend_on_the_shape_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled_filters, "TILE_PIXELS", 20)
    image = xr.DataArray(np.zeros((3, 45, 21, 5)), dims=("frame", "y", "x", "component"))
    wanted = ((1, 1, 1), (15, 15, 15), (11, 10), (5,))
    for chunks in ({"y": 4}, {"x": 7, "component": 2}):
        assert in_tiles(image.chunk(chunks)).chunks == wanted
    assert tile_sizes(20, 20) == (20,)
