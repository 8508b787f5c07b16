"""Stored sums of pixels are those of rebin."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from support.recordings import RECORDED, convert_counts

from eds_xr import store
from eds_xr.image import rebin
from eds_xr.schema import EdsError
from eds_xr.store import writing


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(13, 9, 32), (3, 21, 5, 8), (37, 16), (1, 1, 4), (8, 16, 2)])
@pytest.mark.parametrize("rows", [1, 3, 4, 100])
def test_pyramid__is_what_rebin_gives(
    shape: tuple[int, ...], rows: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counts = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    policy = writing.chunk_shape

    def flat(shape: tuple[int, ...], dtype: Any) -> tuple[int, ...]:
        chunks, at = list(policy(shape, dtype)), max(0, len(shape) - 3)
        chunks[at] = min(rows, chunks[at])
        return tuple(chunks)

    monkeypatch.setattr(writing, "chunk_shape", flat)
    path = convert_counts(counts, tmp_path / "a.zarr", monkeypatch, pyramid=True)
    image = store.open(path)
    np.testing.assert_array_equal(image, counts)
    for factor in (2, 4, 8):
        level = store.open(path, binned=factor)
        expected = rebin.rebin(image, **{str(d): factor for d in image.dims[-3:-1]})
        xr.testing.assert_identical(level.compute(), expected.compute())
        assert level.dtype == expected.dtype
        assert int(level.sum(dtype=np.int64)) == int(counts.sum(dtype=np.int64))


def test_pyramid__xarray_opens_it_with_no_help_and_no_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = convert_counts(RECORDED, tmp_path / "a.zarr", monkeypatch, pyramid=True)
    dataset = xr.open_zarr(path)  # warnings are errors here
    assert set(dataset.data_vars) == {"counts"}
    level = xr.open_zarr(path, group="pyramid/4")
    assert dict(level.sizes) == {"y": 4, "x": 3, "energy": 32}
    with xr.open_datatree(path, group="pyramid", engine="zarr") as tree:
        assert [tree[n].counts.sizes["y"] for n in ("2", "4", "8")] == [7, 4, 2]


def test_pyramid__multiscales_say_where_pixels_lie(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = convert_counts(RECORDED, tmp_path / "a.zarr", monkeypatch, pyramid=True)
    group = zarr.open_group(path, mode="r")
    (scales,) = json.loads(group.attrs["multiscales"])
    assert [axis["name"] for axis in scales["axes"]] == ["y", "x", "energy"]
    for level in scales["datasets"]:
        scale, translation = level["coordinateTransformations"]
        y = group[level["path"].replace("counts", "y")][:]
        assert y[0] == translation["translation"][0]
        assert y[1] - y[0] == scale["scale"][0]


def test_pyramid__none_in_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = convert_counts(RECORDED, tmp_path / "a.zarr", monkeypatch)
    with pytest.raises(EdsError, match="holds no sums of pixels: convert it with pyramid=True"):
        store.open(path, binned=4)
    with pytest.raises(EdsError, match="binned must be one of 1, 2, 4, 8, found 3"):
        store.open(path, binned=3)
