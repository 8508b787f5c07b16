"""xarray's ``engine="eds_xr"``: what eds_xr.open gives, lazily, checked; other stores are left."""

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from support.reading import COUNTS

import eds_xr
from eds_xr.schema import EdsError
from eds_xr.store.xarray_engine import EdsXrEngine

ENTRY = importlib.metadata.entry_points(group="xarray.backends", name="eds_xr")
#: By its name where the installed package has the entry, and by its class.
ENGINES = [
    EdsXrEngine,
    pytest.param("eds_xr", marks=pytest.mark.skipif(not ENTRY, reason="needs an installation")),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    coords: dict[str, Any] = {
        "energy": ("energy", 0.01 * np.arange(32), {"units": "keV", "long_name": "X-ray energy"}),
        "y": ("y", 2.0 * np.arange(7), {"units": "nm", "long_name": "y position"}),
        "x": ("x", 2.0 * np.arange(5), {"units": "nm", "long_name": "x position"}),
        "haadf": (("y", "x"), np.arange(35.0).reshape(7, 5)),
    }
    image = xr.DataArray(COUNTS, coords, ("y", "x", "energy"), attrs={"beam_energy_kev": 200.0})
    return Path(eds_xr.save(image.chunk(y=3), tmp_path / "map.zarr"))


@pytest.mark.parametrize("engine", ENGINES)
def test_open_dataset__is_what_open_gives(place: Path, engine: Any) -> None:
    dataset, expected = xr.open_dataset(place, engine=engine, chunks={}), eds_xr.open(place)
    assert list(dataset.data_vars) == ["counts"]
    xr.testing.assert_identical(dataset.counts, expected)
    assert dataset.counts.chunks == expected.chunks
    assert dataset.haadf.chunks == expected.haadf.chunks
    np.testing.assert_array_equal(dataset.counts.eds.rebin(y=7, x=5)[0, 0], COUNTS.sum((0, 1)))


def remove_chunks(place: Path, name: str) -> None:
    for path in (place / name).rglob("*"):
        if path.is_file() and path.name != "zarr.json":
            path.unlink()


@pytest.mark.parametrize("options", [{}, {"chunks": {}}, {"chunks": "auto"}])
def test_open_dataset__reads_values_when_they_are_used(
    place: Path, options: dict[str, Any]
) -> None:
    remove_chunks(place, "counts")
    dataset = xr.open_dataset(place, engine=EdsXrEngine, **options)
    np.testing.assert_array_equal(dataset.haadf[1, :3], [5, 6, 7])
    with pytest.raises(EdsError, match=r"chunk counts/c/0/0/0 of .*map\.zarr is missing"):
        dataset.counts.load()


@pytest.mark.parametrize(
    "key",
    [
        {"y": 2, "energy": slice(3, 9)},
        {"y": slice(None, None, -2)},
        {"x": [4, 0, 0], "y": np.array([1, 6])},
        {"y": xr.DataArray([0, 6, 1], dims="n"), "x": xr.DataArray([4, 1, 1], dims="n")},
    ],
)
def test_open_dataset__parts_without_dask(place: Path, key: dict[str, Any]) -> None:
    part = xr.open_dataset(place, engine=EdsXrEngine).counts.isel(key)
    expected = xr.DataArray(COUNTS, dims=("y", "x", "energy")).isel(key)
    np.testing.assert_array_equal(part, expected)


def test_open_dataset__drops_variables(place: Path) -> None:
    dataset = xr.open_dataset(place, engine=EdsXrEngine, drop_variables=["haadf", "none such"])
    assert set(dataset.coords) == {"y", "x", "energy"}


def test_open_dataset__energy_stays_where_it_is_stored(tmp_path: Path) -> None:
    coords = {"energy": ("energy", 0.01 * np.arange(32), {"units": "keV"})}
    image = xr.DataArray(COUNTS, coords, ("y", "x", "energy"), name="counts")
    image.transpose("energy", ...).to_zarr(tmp_path / "map.zarr", consolidated=False)
    dataset = xr.open_dataset(tmp_path / "map.zarr", engine=EdsXrEngine)
    assert dataset.counts.dims == ("energy", "y", "x")
    np.testing.assert_array_equal(dataset.counts.transpose("y", "x", "energy"), COUNTS)


def test_open_dataset__other_stores_are_refused_and_never_guessed(tmp_path: Path) -> None:
    other = xr.Dataset({"temperature": (("lat", "lon"), np.ones((2, 3)))})
    other.to_zarr(tmp_path / "other.zarr", consolidated=False)
    with pytest.raises(EdsError, match="has no variable 'counts', found 'temperature'"):
        xr.open_dataset(tmp_path / "other.zarr", engine=EdsXrEngine)
    for path in (tmp_path / "other.zarr", tmp_path / "map.bcf"):
        assert not EdsXrEngine().guess_can_open(path)


def test_open_dataset__vendor_files_and_objects(tmp_path: Path) -> None:
    (tmp_path / "map.bcf").write_bytes(b"AAMVHFSS")
    with pytest.raises(EdsError, match="is a file, expected a Zarr store; use eds_xr.convert"):
        xr.open_dataset(tmp_path / "map.bcf", engine=EdsXrEngine)
    with pytest.raises(EdsError, match="no such store"):
        xr.open_dataset(tmp_path / "none.zarr", engine=EdsXrEngine)
    with pytest.raises(EdsError, match=r"expected the path or URL of a store, found an object"):
        xr.open_dataset(b"CDF\x01", engine=EdsXrEngine)
