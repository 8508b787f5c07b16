"""Stores open lazily; damage is found and named."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recordings import COUNTS, RECORDED, convert_counts

from eds_xr import store
from eds_xr.schema import EdsError
from eds_xr.store import writing


def no_computing(*_: Any, **__: Any) -> None:
    raise AssertionError("computed")


def damage(chunk: Path) -> None:
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)


def test_open__computes_nothing_until_asked(eager_image: xr.DataArray, tmp_path: Path) -> None:
    path = store.save(eager_image, tmp_path / "a.zarr")
    with dask.config.set(scheduler=no_computing):
        image = store.open(path)
        part = image.isel(y=slice(2, 4)).sum("x")
    shutil.rmtree(path / "counts" / "c")
    with pytest.raises(EdsError, match="is missing: convert"):
        part.compute()


def test_open__url(eager_image: xr.DataArray, tmp_path: Path) -> None:
    path = store.save(eager_image, tmp_path / "a.zarr")
    xr.testing.assert_equal(store.open(path.as_uri()), eager_image)
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").put(str(path), "/a.zarr", recursive=True)
    xr.testing.assert_equal(store.open("memory://a.zarr"), eager_image)


def test_open__plain_xarray_store_with_energy_in_chunks(
    eager_image: xr.DataArray, tmp_path: Path
) -> None:
    dataset = eager_image.chunk(y=5, energy=10).transpose("energy", "y", "x").to_dataset()
    dataset.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    image = store.open(tmp_path / "a.zarr")
    assert image.chunksizes["energy"] == (64,)
    assert image.chunksizes["y"] == (5, 5, 2)
    xr.testing.assert_equal(image, eager_image)


def test_open__empty_chunks_of_other_writers_are_zeros(
    eager_image: xr.DataArray, tmp_path: Path
) -> None:
    zeros = xr.zeros_like(eager_image).chunk()
    zeros.to_dataset().to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    assert not (tmp_path / "a.zarr" / "counts" / "c").exists()
    assert int(store.open(tmp_path / "a.zarr").sum()) == 0


def test_open__damaged_chunk_is_named(tmp_path: Path) -> None:
    counts = da.random.default_rng(0).poisson(1.0, (20, 300, 2048), chunks=(20, 100, 2048))
    image = xr.DataArray(counts.astype("u2"), {"energy": np.arange(2048.0)}, ("y", "x", "energy"))
    path = store.save(image, tmp_path / "a.zarr")
    damage(path / "counts" / "c" / "0" / "1" / "0")
    image = store.open(path)
    (width, *_) = image.chunksizes["x"]
    image[:, :width].compute()
    with pytest.raises(EdsError, match=r"chunk counts/c/0/1/0 of .*a\.zarr is damaged.*checksum"):
        image.compute()
    for part in (image[3:5, width + 2], image[[4, 2], width : width + 3], image[3, width]):
        with pytest.raises(EdsError, match="chunk counts/c/0/1/0"):
            part.compute()


@settings(max_examples=30)
@given(st.data())
def test_open__any_flipped_bit_is_found(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = xr.DataArray(COUNTS, {"energy": np.arange(32.0)}, ("y", "x", "energy"))
        path = store.save(image, Path(folder) / "a.zarr")
        chunk = path / "counts" / "c" / "0" / "0" / "0"
        content = bytearray(chunk.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        chunk.write_bytes(content)
        with pytest.raises(EdsError, match="chunk counts/c/0/0/0 .* is damaged"):
            store.open(path).compute()


def test_open__lost_chunk_is_not_zeros(eager_image: xr.DataArray, tmp_path: Path) -> None:
    images = {"haadf": xr.DataArray(np.zeros((12, 15)), dims=("y", "x"))}
    path = store.save(eager_image * 0, tmp_path / "a.zarr", images=images)
    assert int(store.open(path).sum()) == 0
    (path / "haadf" / "c" / "0" / "0").unlink()
    with pytest.raises(EdsError, match="chunk haadf/c/0/0 of .* is missing"):
        store.open(path).haadf.compute()


def test_open__missing(tmp_path: Path) -> None:
    with pytest.raises(EdsError, match="no such store: .* make one with eds_xr.convert"):
        store.open(tmp_path / "none.zarr")


def test_open__vendor_file(hspy: Path) -> None:
    with pytest.raises(EdsError, match="is a file, expected a Zarr store; use eds_xr.convert"):
        store.open(hspy)


def test_open__folder_that_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(EdsError, match="is not a Zarr store that xarray can open"):
        store.open(tmp_path)


def test_open__store_without_counts(tmp_path: Path) -> None:
    xr.Dataset({"other": ("y", [1, 2])}).to_zarr(tmp_path / "a.zarr", consolidated=False)
    with pytest.raises(EdsError, match="has no variable 'counts', found 'other'"):
        store.open(tmp_path / "a.zarr")


def test_open__counts_without_energy(tmp_path: Path) -> None:
    xr.Dataset({"counts": ("y", [1, 2])}).to_zarr(tmp_path / "a.zarr", consolidated=False)
    with pytest.raises(EdsError, match=r"dimensions \('y',\), expected 'energy'"):
        store.open(tmp_path / "a.zarr")


@pytest.fixture(scope="module")
def damageable(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[xr.DataArray]]:
    with pytest.MonkeyPatch.context() as patch:
        path = convert_counts(
            RECORDED, tmp_path_factory.mktemp("d") / "a.zarr", patch, pyramid=True
        )
    return path, everything(path)


def everything(path: Path) -> list[xr.DataArray]:
    return [store.open(path, binned=b).compute() for b in (1, 2, 4, 8)]


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_open__any_flipped_bit_in_any_file(
    damageable: tuple[Path, list[xr.DataArray]], data: st.DataObject
) -> None:
    folder, right = damageable
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    try:
        found = everything(folder)
    except EdsError as error:
        if path.name != "zarr.json":
            chunk = path.relative_to(folder).as_posix()
            assert f"chunk {chunk} of" in str(error)  # noqa: PT017
            assert "is damaged" in str(error)  # noqa: PT017
    else:
        assert path.name == "zarr.json", "a damaged chunk was not found"
        for one, other in zip(found, right, strict=True):
            xr.testing.assert_identical(one, other)
    finally:
        path.write_bytes(content)


def test_open__changed_metadata(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = convert_counts(RECORDED, tmp_path / "a.zarr", monkeypatch)
    document = path / "zarr.json"
    document.write_text(document.read_text().replace('"EDS\\', '"EDX\\'))
    with pytest.raises(EdsError, match=r"zarr\.json of .* is damaged, or was changed .* remove"):
        store.open(path)
    content = json.loads(document.read_text())
    del content["attributes"][writing.CHECKSUM]
    document.write_text(json.dumps(content))
    np.testing.assert_array_equal(store.open(path), RECORDED)


def test_open__lost_axis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = convert_counts(RECORDED, tmp_path / "a.zarr", monkeypatch)
    (path / "y" / "c" / "0").unlink()
    with pytest.raises(EdsError, match="chunk y/c/0 of .* is missing"):
        store.open(path)
