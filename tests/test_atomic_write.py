"""Stores are whole or not there, also on object stores; damage is found; writing overlaps."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr import readers, store
from eds_xr.image import rebin
from eds_xr.readers.protocol import Axis, Recording, row_regions
from eds_xr.schema import EdsError
from eds_xr.store import targets, writing

COUNTS = np.random.default_rng(1).poisson(0.3, (13, 9, 32)).astype(np.uint8)


def recording(counts: np.ndarray, pause: float = 0.0) -> Recording:
    names = ("frame", "y", "x", "energy")[4 - counts.ndim :] if counts.ndim > 2 else ("x", "energy")
    axes = tuple(
        Axis(n, 2.0 * np.arange(size), "keV" if n == "energy" else "nm", n)
        for n, size in zip(names, counts.shape, strict=True)
    )

    def blocks(rows: int) -> Iterator[np.ndarray]:
        for region in row_regions(counts.shape, rows):
            time.sleep(pause)
            yield counts[region].copy()

    images = {"haadf": np.arange(counts[..., 0].size, dtype="f4").reshape(counts.shape[:-1])}
    images = images if counts.ndim == 3 else {}
    return Recording("EDS", axes, counts.dtype, blocks, images=images)


def image_of(counts: np.ndarray) -> xr.DataArray:
    return xr.DataArray(counts, {"energy": np.arange(counts.shape[-1])}, ("y", "x", "energy"))


def convert(
    counts: np.ndarray, target: Any, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Any:
    monkeypatch.setattr(readers, "read", lambda _: [recording(counts)])
    return store.convert("a.emd", target, **options)


@pytest.fixture
def url() -> Iterator[str]:
    files = fsspec.filesystem("memory")
    yield "memory://bucket/maps/a.zarr"
    if files.exists("/bucket"):
        files.rm("/bucket", recursive=True)


def objects(url: str) -> list[str]:
    files, root = fsspec.core.url_to_fs(url)
    return [p.removeprefix(root).strip("/") for p in files.find(root)] if files.exists(root) else []


# --- sums of pixels ----------------------------------------------------------------------------


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
    path = convert(counts, tmp_path / "a.zarr", monkeypatch, pyramid=True)
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
    path = convert(COUNTS, tmp_path / "a.zarr", monkeypatch, pyramid=True)
    dataset = xr.open_zarr(path)  # warnings are errors here
    assert set(dataset.data_vars) == {"counts"}
    level = xr.open_zarr(path, group="pyramid/4")
    assert dict(level.sizes) == {"y": 4, "x": 3, "energy": 32}
    with xr.open_datatree(path, group="pyramid", engine="zarr") as tree:
        assert [tree[n].counts.sizes["y"] for n in ("2", "4", "8")] == [7, 4, 2]


def test_pyramid__multiscales_say_where_pixels_lie(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = convert(COUNTS, tmp_path / "a.zarr", monkeypatch, pyramid=True)
    group = zarr.open_group(path, mode="r")
    (scales,) = json.loads(group.attrs["multiscales"])
    assert [axis["name"] for axis in scales["axes"]] == ["y", "x", "energy"]
    for level in scales["datasets"]:
        scale, translation = level["coordinateTransformations"]
        y = group[level["path"].replace("counts", "y")][:]
        assert y[0] == translation["translation"][0]
        assert y[1] - y[0] == scale["scale"][0]


def test_pyramid__none_in_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = convert(COUNTS, tmp_path / "a.zarr", monkeypatch)
    with pytest.raises(EdsError, match="holds no sums of pixels: convert it with pyramid=True"):
        store.open(path, binned=4)
    with pytest.raises(EdsError, match="binned must be one of 1, 2, 4, 8, found 3"):
        store.open(path, binned=3)


# --- object stores -----------------------------------------------------------------------------


def test_convert__to_a_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert convert(COUNTS, url, monkeypatch, pyramid=True) == url
    np.testing.assert_array_equal(store.open(url), COUNTS)
    np.testing.assert_array_equal(xr.open_zarr(url).counts, COUNTS)
    assert int(store.open(url, binned=8).sum()) == COUNTS.sum()
    assert targets._MARKER not in objects(url)
    with pytest.raises(EdsError, match="exists; use overwrite=True"):
        convert(COUNTS, url, monkeypatch)
    convert(COUNTS[:4], url, monkeypatch, overwrite=True)
    np.testing.assert_array_equal(store.open(url), COUNTS[:4])
    assert not any(name.startswith("pyramid") for name in objects(url))


@pytest.mark.parametrize("existing", [False, True])
def test_save__to_a_url_that_fails_at_any_write(
    existing: bool, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each possible failure: the former store, or nothing that can be opened."""
    from fsspec.implementations.memory import MemoryFileSystem

    old, new = image_of(COUNTS), image_of(COUNTS[::-1].copy() + 1)
    seen: list[str] = []
    pipe = MemoryFileSystem.pipe_file

    def failing(self: Any, path: str, value: bytes, **more: Any) -> None:
        seen.append(path)
        if len(seen) == fail_at:
            raise OSError("no connection")
        pipe(self, path, value, **more)

    for fail_at in range(1, 100):  # noqa: B007  (the function above looks at it)
        files, root = fsspec.core.url_to_fs(url)
        if files.exists(root):
            files.rm(root, recursive=True)
        if existing:
            store.save(old, url)
        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr(MemoryFileSystem, "pipe_file", failing)
            try:
                store.save(new, url, overwrite=True)
            except EdsError as error:
                assert "no connection" in str(error)  # noqa: PT017
            else:
                break
        with pytest.raises(EdsError):
            store.open(url)
        assert objects(url) in ([], ["eds_xr.partial"])
    assert fail_at > 5
    np.testing.assert_array_equal(store.open(url), new)


def test_convert__to_a_url_the_root_comes_last(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed cannot clean up: whatever it leaves cannot be opened."""
    convert(COUNTS, url, monkeypatch)
    states = []

    def blocks(rows: int) -> Iterator[np.ndarray]:
        states.append(objects(url))
        with pytest.raises(EdsError):
            store.open(url)
        yield COUNTS

    interrupted = recording(COUNTS)
    object.__setattr__(interrupted, "row_blocks", blocks)
    monkeypatch.setattr(readers, "read", lambda _: [interrupted])
    seal = writing.seal
    monkeypatch.setattr(writing, "seal", lambda *_: (_ for _ in ()).throw(SystemExit))
    clear = targets._clear
    with monkeypatch.context() as killed:
        killed.setattr(targets, "_clear", lambda *a: None if states else clear(*a))
        with pytest.raises(SystemExit):
            store.convert("a.emd", url, overwrite=True)
    assert "counts/c/0/0/0" in objects(url)
    assert "zarr.json" not in states[0]
    monkeypatch.setattr(writing, "seal", seal)
    fsspec.filesystem("memory").pipe_file(f"/bucket/maps/a.zarr/{targets._MARKER}", b"")
    states.clear()
    store.convert("a.emd", url)  # without overwrite: what is left is no store
    np.testing.assert_array_equal(store.open(url), COUNTS)


def test_save__to_a_url_with_other_objects(url: str) -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/bucket/maps/a.zarr/thesis.txt", b"years of work")
    with pytest.raises(EdsError, match="not a spectrum image store, so it is never replaced"):
        store.save(image_of(COUNTS), url, overwrite=True)
    assert objects(url) == ["thesis.txt"]


def test_save__onto_the_url_it_was_opened_from(url: str) -> None:
    store.save(image_of(COUNTS), url)
    with pytest.raises(EdsError, match="is where the image is read from"):
        store.save(store.open(url)[2:], url, overwrite=True)
    np.testing.assert_array_equal(store.open(url), COUNTS)


def test_save__unknown_protocol() -> None:
    with pytest.raises(EdsError, match="cannot write to nosuch://x"):
        store.save(image_of(COUNTS), "nosuch://x")


def test_save__file_url_is_a_local_path(tmp_path: Path) -> None:
    path = store.save(image_of(COUNTS), (tmp_path / "a.zarr").as_uri())
    assert path == tmp_path / "a.zarr"
    np.testing.assert_array_equal(store.open(path), COUNTS)


# --- killed, disk full -------------------------------------------------------------------------

KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1])))
import numpy as np
from eds_xr import readers, store
from test_atomic_write import recording
counts = np.full((6, 8, 16), int(sys.argv[3]), np.uint8)
readers.read = lambda _: [recording(counts)]
print("ready", flush=True)
while True:
    store.convert("a.emd", sys.argv[2], overwrite=True, pyramid=True)
"""


def test_convert__killed_at_any_moment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    chance = random.Random(0)
    for value in range(1, 4):
        old = np.full((6, 8, 16), value - 1, np.uint8)
        convert(old, target, monkeypatch, overwrite=True, pyramid=True)
        command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(target)]
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
        convert(old, target, monkeypatch, overwrite=True)
        assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


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


def test_save__disk_full_keeps_the_former(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    target = store.save(image_of(COUNTS), tmp_path / "a.zarr")
    command = [sys.executable, "-c", FULL, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout
    assert "nothing was left behind" in done.stdout
    np.testing.assert_array_equal(store.open(target), COUNTS)
    assert os.listdir(tmp_path) == ["a.zarr"]


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
        convert(np.ones((9, 300, 2048), "u1"), tmp_path / "a.zarr", monkeypatch, pyramid=True)
    assert os.listdir(tmp_path) == []


# --- damage ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def damageable(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[xr.DataArray]]:
    with pytest.MonkeyPatch.context() as patch:
        path = convert(COUNTS, tmp_path_factory.mktemp("d") / "a.zarr", patch, pyramid=True)
    return path, everything(path)


def everything(path: Path) -> list[xr.DataArray]:
    return [store.open(path, binned=b).compute() for b in (1, 2, 4, 8)]


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
    path = convert(COUNTS, tmp_path / "a.zarr", monkeypatch)
    document = path / "zarr.json"
    document.write_text(document.read_text().replace('"EDS\\', '"EDX\\'))
    with pytest.raises(EdsError, match=r"zarr\.json of .* is damaged, or was changed .* remove"):
        store.open(path)
    content = json.loads(document.read_text())
    del content["attributes"][writing.CHECKSUM]
    document.write_text(json.dumps(content))
    np.testing.assert_array_equal(store.open(path), COUNTS)


def test_open__lost_axis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = convert(COUNTS, tmp_path / "a.zarr", monkeypatch)
    (path / "y" / "c" / "0").unlink()
    with pytest.raises(EdsError, match="chunk y/c/0 of .* is missing"):
        store.open(path)


def test_convert__empty_chunks_are_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counts = np.zeros((3, 9, 32), "u1")
    path = convert(counts, tmp_path / "a.zarr", monkeypatch, pyramid=True)
    assert (path / "counts" / "c" / "0" / "0" / "0").exists()
    assert not any(int(image.sum()) for image in everything(path))


# --- writing beside reading --------------------------------------------------------------------


def test_in_background__makes_the_next_item_while_one_is_written() -> None:
    events: list[str] = []
    writing_now, made = threading.Event(), threading.Event()

    def items() -> Iterator[tuple[int]]:
        yield (0,)
        assert writing_now.wait(60)  # the first is being written while the second is made
        made.set()
        yield (1,)

    def write(item: int) -> None:
        writing_now.set()
        assert made.wait(60)
        events.append(f"wrote {item}")

    writing.in_background(write, items())
    assert events == ["wrote 0", "wrote 1"]


def test_in_background__never_more_than_two_items() -> None:
    alive: list[int] = []
    most = []

    def items() -> Iterator[tuple[int]]:
        for i in range(20):
            alive.append(i)
            most.append(len(alive))
            yield (i,)

    def write(item: int) -> None:
        time.sleep(0.002)
        alive.remove(item)

    writing.in_background(write, items())
    assert max(most) <= 2


def test_in_background__failed_write_is_raised() -> None:
    def write(item: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        writing.in_background(write, ((i,) for i in range(3)))


def test_convert__a_reader_that_breaks_its_promise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = recording(COUNTS)
    object.__setattr__(wrong, "dtype", np.dtype("u2"))
    monkeypatch.setattr(readers, "read", lambda _: [wrong])
    with pytest.raises(EdsError, match="promised uint16 .* found uint8"):
        store.convert("a.emd", tmp_path / "a.zarr")
    assert os.listdir(tmp_path) == []


def test_convert__line_scan_round_trip() -> None:
    counts = COUNTS[0]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = convert(counts, Path(folder) / "a.zarr", patch)
        np.testing.assert_array_equal(store.open(path), counts)
