"""Images are saved exactly, whole or not at all."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.recordings import RECORDED, image_of

from eds_xr import atomic_write, store
from eds_xr.schema import EdsError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


KILLED = """
import sys, time
import dask.array as da, numpy as np, xarray as xr
from eds_xr import store

def slow(block):
    print("started", flush=True)
    time.sleep(60)
    return block

data = da.ones((4, 4, 8), dtype="u1").map_blocks(slow, dtype="u1", meta=np.empty((0, 0, 0), "u1"))
store.save(xr.DataArray(data, {"energy": range(8)}, ("y", "x", "energy")), sys.argv[1])
"""


def test_save__killed_run_leaves_no_store_and_the_next_cleans_up(
    tmp_path: Path, eager_image: xr.DataArray
) -> None:
    target = tmp_path / "x.zarr"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"started"
        (partial,) = names(tmp_path)
        atomic_write.clean_leftovers(target)
        assert names(tmp_path) == [partial]  # its run is alive
        process.kill()
    assert names(tmp_path) == [partial]
    assert partial.startswith(".x.zarr.partial-")
    store.save(eager_image, target)
    assert names(tmp_path) == ["x.zarr"]


def test_save__round_trip(spectrum_image: xr.DataArray, tmp_path: Path) -> None:
    image = store.open(store.save(spectrum_image, tmp_path / "a.zarr"))
    xr.testing.assert_equal(image, spectrum_image)
    assert spectrum_image.attrs.items() <= image.attrs.items()
    assert image.y.attrs == spectrum_image.y.attrs
    assert image.dtype == spectrum_image.dtype


DTYPES = st.sampled_from(["u1", "u2", "u4", "i4", "i8", "f4", "f8", ">u2"])


SHAPES = hnp.array_shapes(min_dims=2, max_dims=4, max_side=6)


@settings(max_examples=25)
@given(st.data())
def test_save__round_trip_of_any_shape_and_dtype(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    values = data.draw(hnp.arrays(data.draw(DTYPES), shape, elements={"min_value": 0}))
    values = np.nan_to_num(values, posinf=0)
    dims = ("frame", "y", "x")[4 - len(shape) :] + ("energy",)
    image = xr.DataArray(values, {"energy": np.arange(float(shape[-1]))}, dims)
    chunks = {d: data.draw(st.integers(1, n)) for d, n in image.sizes.items()}
    with tempfile.TemporaryDirectory() as folder:
        back = store.open(store.save(image.chunk(chunks), Path(folder) / "a.zarr")).compute()
    np.testing.assert_array_equal(back, values)
    assert back.dtype == values.dtype.newbyteorder("=")
    assert back.dims == dims


def test_save__images_and_coordinates(eager_image: xr.DataArray, tmp_path: Path) -> None:
    haadf = xr.DataArray(np.full((12, 15), np.nan, "f4"), dims=("y", "x"))
    dark = xr.zeros_like(haadf).chunk(y=5)
    image = eager_image.assign_coords(dark=dark, phase="Brg", tilt=3)
    back = store.open(store.save(image, tmp_path / "a.zarr", images={"haadf": haadf}))
    assert set(back.coords) == {"y", "x", "energy", "haadf", "dark", "tilt"}
    np.testing.assert_array_equal(back.haadf, haadf)
    np.testing.assert_array_equal(back.dark, dark)


def test_save__onto_the_store_it_was_opened_from(eager_image: xr.DataArray, tmp_path: Path) -> None:
    path = store.save(eager_image, tmp_path / "a.zarr")
    store.save(store.open(path).isel(y=slice(3, 9)), path, overwrite=True)
    xr.testing.assert_equal(store.open(path), eager_image.isel(y=slice(3, 9)))


@pytest.mark.slow
@pytest.mark.usefixtures("client")
def test_save__on_a_cluster(eager_image: xr.DataArray, tmp_path: Path) -> None:
    image = eager_image.chunk(y=5, x=4, energy=-1)
    back = store.open(store.save(image, tmp_path / "a.zarr")).compute()
    xr.testing.assert_equal(back, eager_image)


def test_save__refuses_negative_counts(eager_image: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(EdsError, match="negative values"):
        store.save(eager_image.astype(float) - 1, tmp_path / "a.zarr")
    assert names(tmp_path) == []


def test_save__attribute_that_zarr_cannot_hold(eager_image: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(EdsError, match="attribute 'who' cannot be written"):
        store.save(eager_image.assign_attrs(who=object()), tmp_path / "a.zarr")


def test_save__not_a_spectrum_image(eager_image: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(EdsError, match="no dimension 'energy'"):
        store.save(eager_image.sum("energy").chunk(), tmp_path / "a.zarr")


FULL = """
import resource, sys
import numpy as np, xarray as xr
from eds_xr import store
from eds_xr.schema import EdsError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
counts = np.random.default_rng(0).integers(0, 255, (40, 40, 64), np.uint8)
image = xr.DataArray(counts, {"energy": np.arange(64)}, ("y", "x", "energy"))
try:
    store.save(image, sys.argv[1], overwrite=True)
except EdsError as error:
    print(error)
"""


@pytest.mark.slow
def test_save__disk_full_keeps_the_former(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    target = store.save(image_of(RECORDED), tmp_path / "a.zarr")
    command = [sys.executable, "-c", FULL, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout
    assert "nothing was left behind" in done.stdout
    np.testing.assert_array_equal(store.open(target), RECORDED)
    assert os.listdir(tmp_path) == ["a.zarr"]
