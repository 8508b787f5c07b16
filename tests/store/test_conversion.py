"""Vendor files become stores: exact, whole or not at all."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from support.reading import WriteHspy
from support.recordings import COUNTS, RECORDED, E, X, Y, convert_counts, recording_of

from eds_xr import readers, store
from eds_xr.provenance import history
from eds_xr.readers.protocol import Axis, Recording
from eds_xr.schema import EdsError


def recording(blocks: Callable[[int], Iterator[np.ndarray]], **more: Any) -> Recording:
    """Return a recording of 300 x 8 pixels (several row blocks) with the given stream."""
    sizes = {"y": 300, "x": 8, "energy": 2048}
    axes = (Axis(name, np.arange(float(n)), "keV", name) for name, n in sizes.items())
    return Recording("EDX", tuple(axes), np.dtype(more.pop("dtype", "u2")), blocks, **more)


def no_computing(*_: Any, **__: Any) -> None:
    raise AssertionError("computed")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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


def test_info__says_the_same_of_file_and_store(hspy: Path) -> None:
    of_file = store.info(hspy)["spectrum_images"][0]
    of_store = store.info(store.convert(hspy))["spectrum_images"][0]
    for key in ("sizes", "dtype", "axes", "images"):
        assert of_file[key] == of_store[key]
    assert of_file["sizes"] == {"y": 7, "x": 5, "energy": 32}
    assert of_file["images"] == ["haadf"]


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


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1])))
import numpy as np
from eds_xr import readers, store
from support.recordings import recording_of
counts = np.full((6, 8, 16), int(sys.argv[3]), np.uint8)
readers.read = lambda _: [recording_of(counts)]
print("ready", flush=True)
while True:
    store.convert("a.emd", sys.argv[2], overwrite=True, pyramid=True)
"""


@pytest.mark.slow
def test_convert__killed_at_any_moment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    chance = random.Random(0)
    for value in range(1, 4):
        old = np.full((6, 8, 16), value - 1, np.uint8)
        convert_counts(old, target, monkeypatch, overwrite=True, pyramid=True)
        command = [sys.executable, "-c", KILLED, str(Path(__file__).parents[1]), str(target)]
        with subprocess.Popen([*command, str(value)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == b"ready"
            time.sleep(chance.uniform(0, 0.6))
            process.send_signal(signal.SIGKILL)
        if target.exists():
            found = store.open(target).compute()
            assert found.values.min() == found.values.max()
            assert found.values.max() in (value - 1, value)
            assert int(store.open(target, binned=2).sum()) == int(found.sum())
        else:
            with pytest.raises(EdsError, match="no such store"):
                store.open(target)
        convert_counts(old, target, monkeypatch, overwrite=True)
        assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_convert__disk_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from zarr.storage import LocalStore

    put, written = LocalStore.set, []

    async def full(self: Any, key: str, value: Any, *more: Any) -> None:
        written.append(key)
        if len(written) > 2:
            raise OSError(28, "No space left on device")
        await put(self, key, value, *more)

    monkeypatch.setattr(LocalStore, "set", full)
    with pytest.raises(EdsError, match="No space left on device"):
        convert_counts(
            np.ones((9, 300, 2048), "u1"), tmp_path / "a.zarr", monkeypatch, pyramid=True
        )
    assert os.listdir(tmp_path) == []


def test_convert__a_reader_that_breaks_its_promise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = recording_of(RECORDED)
    object.__setattr__(wrong, "dtype", np.dtype("u2"))
    monkeypatch.setattr(readers, "read", lambda _: [wrong])
    with pytest.raises(EdsError, match="promised uint16 .* found uint8"):
        store.convert("a.emd", tmp_path / "a.zarr")
    assert os.listdir(tmp_path) == []


def test_convert__line_scan_round_trip() -> None:
    counts = RECORDED[0]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = convert_counts(counts, Path(folder) / "a.zarr", patch)
        np.testing.assert_array_equal(store.open(path), counts)
