"""Connected regions in tiles, against those of the whole image."""

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import generate_binary_structure, label

from eds_xr.segmentation import tiled_filters
from eds_xr.segmentation.tiled_filters import in_tiles, tiles_of
from eds_xr.segmentation.tiled_regions import borders_of, joined, regions_block


def _numbered(
    masks: xr.DataArray, margin: int, corners: bool
) -> tuple[np.ndarray, dict[int, bool]]:
    """Return numbers in the whole image ``[phase, y, x]``, and which reach its border."""
    tiles = tiles_of(masks, margin)
    regions = [
        tiles.call(regions_block)(*one, corners=corners)
        for one in zip(tiles.blocks, borders_of(tiles), strict=True)
    ]
    found, known = dask.compute(regions, joined(regions, tiles, margin), scheduler="sync")
    edges = [np.cumsum([0, *sizes]) for sizes in in_tiles(masks.chunk()).chunks[1:]]
    number: np.ndarray = np.zeros(masks.shape, int)
    reaches: dict[int, bool] = {}
    for place, one, of_image in zip(np.ndindex(tiles.grid), found, known, strict=True):
        start = [max(0, e[i] - margin) for e, i in zip(edges, place, strict=True)]
        shape = one.numbers.shape[1:]
        box = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
        for m, (table, at_border) in enumerate(zip(*of_image, strict=True)):
            seen, before = table[one.numbers[m]], number[m][box]
            assert np.all((before == 0) | (before == seen))  # neighbours agree on what both see
            number[m][box] = seen
            if m == 0:
                reaches |= dict(zip(table.tolist(), at_border.tolist(), strict=True))
    return number, reaches


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**31), filled=st.sampled_from([0.3, 0.5, 0.6]), corners=st.booleans(),
    tile=st.sampled_from([4, 7, 11]), margin=st.sampled_from([1, 3]),
)  # fmt: skip
def test_joined__is_the_region_of_the_whole_image(seed, filled, corners, tile, margin) -> None:
    values = np.random.default_rng(seed).random((2, 19, 26)) < filled
    masks = xr.DataArray(values, dims=("phase", "y", "x"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled_filters, "TILE_PIXELS", tile)
        found, _ = _numbered(masks.chunk(y=5), margin, corners)
    for mask, number in zip(values, found, strict=True):
        wanted, n = label(mask, generate_binary_structure(2, 2 if corners else 1))
        pairs = np.unique(np.stack([wanted.ravel(), number.ravel()]), axis=1)
        assert pairs.shape[1] == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))  # one to one
        assert pairs.shape[1] == n + (not mask.all())


@pytest.mark.parametrize("tile", [4, 384])
def test_joined__tells_which_regions_reach_the_border_of_the_image(tile: int, monkeypatch) -> None:
    monkeypatch.setattr(tiled_filters, "TILE_PIXELS", tile)
    values = np.zeros((1, 12, 12), bool)
    values[0, 2:10, 6], values[0, 5, 6:], values[0, 2, 2] = True, True, True
    masks = xr.DataArray(values, dims=("phase", "y", "x")).chunk()
    number, reaches = _numbered(masks, 1, corners=False)
    assert [reaches[number[0, y, x]] for y, x in ((2, 6), (2, 2), (0, 0))] == [True, False, False]
