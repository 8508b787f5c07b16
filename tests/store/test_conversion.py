"""Zarr stores: exact, whole or not at all, checked, opened lazily."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.reading import WriteHspy

from eds_xr import atomic_write, readers, store
from eds_xr.provenance import history
from eds_xr.readers.protocol import Axis, Recording
from eds_xr.schema import EdsError

Y = {"name": "height", "scale": 0.002, "offset": 0.0, "units": "µm", "navigate": True}
X = {**Y, "name": "width"}
E = {"name": "Energy", "scale": 0.01, "offset": -0.1, "units": "keV", "navigate": False}
COUNTS = np.random.default_rng(1).poisson(0.3, (7, 5, 32)).astype(np.uint16)


@pytest.fixture
def hspy(write_hspy: WriteHspy, tmp_path: Path) -> Path:
    haadf = np.arange(35, dtype=np.float32).reshape(7, 5)
    flat = [{**Y, "navigate": False}, {**X, "navigate": False}]
    return write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS, [Y, X, E]), "HAADF": (haadf, flat)})


def recording(blocks: Callable[[int], Iterator[np.ndarray]], **more: Any) -> Recording:
    """Return a recording of 300 x 8 pixels (several row blocks) with the given stream."""
    sizes = {"y": 300, "x": 8, "energy": 2048}
    axes = (Axis(name, np.arange(float(n)), "keV", name) for name, n in sizes.items())
    return Recording("EDX", tuple(axes), np.dtype(more.pop("dtype", "u2")), blocks, **more)


def no_computing(*_: Any, **__: Any) -> None:
    raise AssertionError("computed")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def damage(chunk: Path) -> None:
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)


# --- convert -----------------------------------------------------------------------------------


def test_convert__opens_as_the_data_model_says(hspy: Path) -> None:
    path = store.convert(hspy)
    assert path == hspy.with_suffix(".zarr")
    image = store.open(path)
    np.testing.assert_array_equal(image, COUNTS)
    assert (image.name, image.dims, image.dtype) == ("counts", ("y", "x", "energy"), "uint16")
    assert {d: image[d].attrs["units"] for d in image.dims} == {
        "y": "nm",
        "x": "nm",
        "energy": "keV",
    }
    assert all(coord.attrs["long_name"] for coord in image.coords.values())
    np.testing.assert_allclose(image.energy, -0.1 + 0.01 * np.arange(32))
    np.testing.assert_allclose(image.y, 2.0 * np.arange(7))
    np.testing.assert_array_equal(image.haadf, np.arange(35).reshape(7, 5))
    assert (image.attrs["source"], image.attrs["live_time_s"]) == ("a.hspy", 12.5)
    assert history(image)[-1]["step"] == "convert"


def test_convert__xarray_opens_the_store_with_no_help_and_no_warning(hspy: Path) -> None:
    dataset = xr.open_zarr(store.convert(hspy))  # warnings are errors here
    np.testing.assert_array_equal(dataset.counts, COUNTS)
    assert set(dataset.coords) == {"y", "x", "energy", "haadf"}
    assert dataset.counts.encoding["fill_value"] == 0


def test_convert__each_array_is_compressed_and_checksummed(hspy: Path) -> None:
    group = zarr.open_group(store.convert(hspy), mode="r")
    for _, array in group.arrays():
        blosc, checksum = (codec.to_dict() for codec in array.compressors)
        assert blosc["configuration"]["shuffle"] == "bitshuffle"
        assert checksum["name"] == "crc32c"


def test_convert__keeps_what_the_vendor_said(hspy: Path) -> None:
    said = store.original_metadata(store.convert(hspy))
    assert said["original_metadata"] == {"Vendor": {"shift": [0, 1, 2]}}
    assert said["metadata"]["General"]["title"] == "EDX"


def test_convert__several_signals(write_hspy: WriteHspy, tmp_path: Path) -> None:
    signals = {"one": (COUNTS, [Y, X, E]), "two": (COUNTS + 1, [Y, X, E])}
    source = write_hspy(tmp_path / "a.hspy", signals)
    with pytest.raises(EdsError, match="choose signal= 'one', 'two'"):
        store.convert(source)
    np.testing.assert_array_equal(store.open(store.convert(source, signal="two")), COUNTS + 1)


def test_convert__line_scan(write_hspy: WriteHspy, tmp_path: Path) -> None:
    source = write_hspy(tmp_path / "a.hspy", {"line": (COUNTS[0], [X, E])})
    image = store.open(store.convert(source))
    assert image.dims == ("x", "energy")
    np.testing.assert_array_equal(image, COUNTS[0])


@pytest.mark.parametrize(
    ("values", "message"), [(np.nan, "NaN or infinite"), (-2, "negative values .down to -2.")]
)
def test_convert__refuses_what_cannot_be_counts(
    write_hspy: WriteHspy, tmp_path: Path, values: float, message: str
) -> None:
    counts = COUNTS.astype("f4")
    counts[6, 4, 31] = values
    source = write_hspy(tmp_path / "a.hspy", {"EDX": (counts, [Y, X, E])})
    with pytest.raises(EdsError, match=message):
        store.convert(source)
    assert names(tmp_path) == ["a.hspy"]


def test_convert__energy_loss_may_be_negative(write_hspy: WriteHspy, tmp_path: Path) -> None:
    losses = COUNTS.astype("i2") - 1
    axes = [Y, X, {**E, "units": "eV"}]
    source = write_hspy(tmp_path / "a.hspy", {"S": (losses, axes)}, signal_type="EELS")
    image = store.open(store.convert(source))
    assert (image.dtype, image.energy.attrs["units"]) == ("int16", "eV")
    np.testing.assert_array_equal(image, losses)


def test_convert__a_store_as_source(hspy: Path, tmp_path: Path) -> None:
    path = store.convert(hspy)
    with pytest.raises(EdsError, match="is a Zarr store already"):
        store.convert(path, tmp_path / "b.zarr")


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, OSError])
def test_convert__interrupted_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failure: type[BaseException]
) -> None:
    seen: list[list[str]] = []

    def blocks(rows: int) -> Iterator[np.ndarray]:
        yield np.ones((rows, 8, 2048), "u2")
        seen.append(names(tmp_path))
        raise failure("in the middle")

    monkeypatch.setattr(readers, "read", lambda _: [recording(blocks)])
    with pytest.raises(EdsError if failure is OSError else failure, match="in the middle"):
        store.convert("x.hspy", tmp_path / "x.zarr")
    assert len(seen[0]) == 1
    assert seen[0][0].startswith(".x.zarr.partial-")
    assert names(tmp_path) == []


@pytest.mark.parametrize("count", [0, 1])
def test_convert__a_reader_that_stops_early_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int
) -> None:
    def blocks(rows: int) -> Iterator[np.ndarray]:
        yield from [np.ones((rows, 8, 2048), "u2")] * count

    monkeypatch.setattr(readers, "read", lambda _: [recording(blocks)])
    with pytest.raises(EdsError, match="ends before its last row"):
        store.convert("x.hspy", tmp_path / "x.zarr")
    assert names(tmp_path) == []


# --- overwrite ---------------------------------------------------------------------------------


def test_convert__existing_store_is_refused_before_any_work(
    hspy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.convert(hspy)
    monkeypatch.setattr(readers, "read", no_computing)
    with pytest.raises(EdsError, match=r"a\.zarr exists; use overwrite=True"):
        store.convert(hspy)
    np.testing.assert_array_equal(store.open(path), COUNTS)


def test_convert__overwrite_replaces(hspy: Path, write_hspy: WriteHspy, tmp_path: Path) -> None:
    path = store.convert(hspy)
    other = write_hspy(tmp_path / "b.hspy", {"EDX": (COUNTS + 1, [Y, X, E])})
    store.convert(other, path, overwrite=True)
    np.testing.assert_array_equal(store.open(path), COUNTS + 1)
    assert names(tmp_path) == ["a.hspy", "a.zarr", "b.hspy"]


def test_convert__failed_overwrite_keeps_the_former(
    hspy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.convert(hspy)

    def blocks(rows: int) -> Iterator[np.ndarray]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(readers, "read", lambda _: [recording(blocks)])
    with pytest.raises(KeyboardInterrupt):
        store.convert(hspy, path, overwrite=True)
    np.testing.assert_array_equal(store.open(path), COUNTS)
    assert names(tmp_path) == ["a.hspy", "a.zarr"]


def test_convert__failed_swap_restores_the_former(
    hspy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.convert(hspy)
    rename = os.rename

    def refuse(old: Path, new: Path) -> None:
        if ".partial-" in str(old):
            raise OSError("refused")
        rename(old, new)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(EdsError, match="refused; nothing was left behind"):
        store.convert(hspy, path, overwrite=True)
    np.testing.assert_array_equal(store.open(path), COUNTS)
    assert names(tmp_path) == ["a.hspy", "a.zarr"]


@pytest.mark.parametrize("kind", ["file", "folder", "other group"])
def test_convert__what_is_no_store_is_never_replaced(hspy: Path, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "thesis"
    if kind == "file":
        target.write_text("years of work")
    elif kind == "folder":
        (target / "chapters").mkdir(parents=True)
    else:
        zarr.create_group(target).create_array("other", shape=(2,), dtype="u1")
    before = sorted(map(str, target.rglob("*")))
    with pytest.raises(EdsError, match="not a spectrum image store, so it is never replaced"):
        store.convert(hspy, target, overwrite=True)
    assert target.exists()
    assert sorted(map(str, target.rglob("*"))) == before


# --- killed runs -------------------------------------------------------------------------------

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


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_clean_leftovers__former_store_is_put_back(
    tmp_path: Path, eager_image: xr.DataArray
) -> None:
    target = store.save(eager_image, tmp_path / "x.zarr")
    dead = f"{atomic_write._HOST}-{dead_process()}-0badcafe"
    target.rename(tmp_path / f".x.zarr.former-{dead}")
    (tmp_path / f".x.zarr.partial-{dead}").mkdir()
    atomic_write.clean_leftovers(target)
    assert names(tmp_path) == ["x.zarr"]
    np.testing.assert_array_equal(store.open(target), eager_image)


def test_clean_leftovers__others_are_not_touched(tmp_path: Path) -> None:
    pid = dead_process()
    kept = [
        f".x.zarr.partial-elsewhere-{pid}-0badcafe",  # another host: its run may be alive
        f".y.zarr.partial-{atomic_write._HOST}-{pid}-0badcafe",  # another store
        ".x.zarr.partial-notes",
    ]
    for name in kept:
        (tmp_path / name).mkdir()
    atomic_write.clean_leftovers(tmp_path / "x.zarr")
    assert names(tmp_path) == sorted(kept)


# --- save and open -----------------------------------------------------------------------------


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


def test_info__says_the_same_of_file_and_store(hspy: Path) -> None:
    of_file = store.info(hspy)["spectrum_images"][0]
    of_store = store.info(store.convert(hspy))["spectrum_images"][0]
    for key in ("sizes", "dtype", "axes", "images"):
        assert of_file[key] == of_store[key]
    assert of_file["sizes"] == {"y": 7, "x": 5, "energy": 32}
    assert of_file["images"] == ["haadf"]


# --- real files --------------------------------------------------------------------------------


@pytest.mark.network
@pytest.mark.parametrize(("name", "total"), [("71GPa", 7_132_114), ("88GPa", 716_887)])
def test_convert__published_maps_exactly(
    sample: Callable[[str], Path], tmp_path: Path, name: str, total: int
) -> None:
    source = sample(name)
    image = store.open(store.convert(source, tmp_path / "a.zarr"))
    with h5py.File(source) as file:
        values = file["Experiments/EDX/data"][()]
    assert image.dtype == values.dtype == "uint8"
    np.testing.assert_array_equal(image, values)
    assert int(image.sum()) == total
    assert image.attrs["elements"][:3] == ["Al", "Ca", "Fe"]


@pytest.mark.vendor
@pytest.mark.parametrize("name", ["CuZn_EELS_mapping_tutorial.hspy", "LSMO_linescan.hspy"])
def test_convert__real_energy_loss_spectra_exactly(
    vendor_file: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    source = vendor_file(name)
    image = store.open(store.convert(source, tmp_path / "a.zarr"))
    with h5py.File(source) as file:
        (group,) = file["Experiments"].values()
        values = group["data"][()]
    assert image.dtype == values.dtype
    np.testing.assert_array_equal(image, values)
