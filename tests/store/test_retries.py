"""Storage that fails now and then, always, or is full: reads are repeated, writes leave nothing."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem

import eds_xr
from eds_xr.schema import EdsError
from eds_xr.store import retries


class FaultyFileSystem(MemoryFileSystem):
    """Objects in memory; every so many chunks that are read or written, an error."""

    protocol = "faulty"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]
    error: Exception | None = None
    reads_fail = writes_fail = every = 0
    asked = 0
    written, room = 0, 10**12

    @classmethod
    def reset(cls) -> None:
        cls.store.clear()
        cls.pseudo_dirs[:] = [""]
        cls.error, cls.reads_fail, cls.writes_fail = None, 0, 0
        cls.every, cls.asked, cls.written, cls.room = 1, 0, 0, 10**12

    def _fail(self, path: str, wanted: int) -> None:
        cls = type(self)
        if wanted and "/c/" in path:
            cls.asked += 1
            if cls.asked % cls.every == 0:
                assert cls.error is not None
                raise cls.error

    def cat_file(self, path: str, *given: Any, **options: Any) -> bytes:
        self._fail(path, self.reads_fail)
        return super().cat_file(path, *given, **options)

    def pipe_file(self, path: str, value: bytes, *given: Any, **options: Any) -> None:
        self._fail(path, self.writes_fail)
        type(self).written += len(value)
        if self.written > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().pipe_file(path, value, *given, **options)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyFileSystem]]:
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
    monkeypatch.setattr(retries, "WAITS", (0.0, 0.0, 0.0))
    FaultyFileSystem.reset()
    yield FaultyFileSystem
    FaultyFileSystem.reset()


@pytest.fixture
def image(eager_image: xr.DataArray) -> xr.DataArray:
    return eager_image.chunk(y=4, x=8)


ERRORS = [
    OSError(errno.EIO, "SlowDown: please reduce your request rate"),
    TimeoutError("no answer"),
    ConnectionResetError("reset by peer"),
]


@pytest.mark.parametrize("error", ERRORS)
def test_open__reads_again_what_failed_once(
    faulty: type[FaultyFileSystem], image: xr.DataArray, error: Exception
) -> None:
    eds_xr.save(image, "faulty://maps/map.zarr")
    faulty.error, faulty.reads_fail, faulty.every = error, 1, 4
    np.testing.assert_array_equal(eds_xr.open("faulty://maps/map.zarr"), image)


@pytest.mark.parametrize("error", ERRORS)
def test_open__names_store_and_chunk_of_what_always_fails(
    faulty: type[FaultyFileSystem], image: xr.DataArray, error: Exception
) -> None:
    eds_xr.save(image, "faulty://maps/map.zarr")
    lazy = eds_xr.open("faulty://maps/map.zarr")
    faulty.error, faulty.reads_fail = error, 1
    message = r"chunk counts/c/0/0/0 of faulty://maps/map.zarr could not be read, 4 times"
    with pytest.raises(EdsError, match=message):
        lazy.compute()
    assert faulty.asked == 4


def test_save__writes_again_what_failed_once(
    faulty: type[FaultyFileSystem], image: xr.DataArray
) -> None:
    faulty.error, faulty.writes_fail, faulty.every = TimeoutError("no answer"), 1, 2
    eds_xr.save(image, "faulty://maps/map.zarr")
    np.testing.assert_array_equal(eds_xr.open("faulty://maps/map.zarr"), image)


def test_save__leaves_nothing_when_writing_always_fails(
    faulty: type[FaultyFileSystem], image: xr.DataArray
) -> None:
    faulty.error, faulty.writes_fail = TimeoutError("no answer"), 1
    with pytest.raises(EdsError, match=r"writing faulty://maps/map.zarr failed: no answer"):
        eds_xr.save(image, "faulty://maps/map.zarr")
    assert FaultyFileSystem().find("/maps") == []


@pytest.mark.parametrize("room", [0, 3_000, 8_000])
def test_save__leaves_nothing_when_storage_is_full(
    faulty: type[FaultyFileSystem], image: xr.DataArray, room: int
) -> None:
    faulty.room = room
    with pytest.raises(EdsError, match=r"No space left on device; no store was left behind"):
        eds_xr.save(image, "faulty://maps/map.zarr")
    assert FaultyFileSystem().find("/maps") == []


def test_save__leaves_nothing_when_the_disk_is_full(
    tmp_path: Path, image: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zarr.storage import LocalStore

    before = eds_xr.save(image, tmp_path / "map.zarr")

    async def full(self: LocalStore, *given: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LocalStore, "set", full)
    with pytest.raises(EdsError, match=r"No space left on device; nothing was left behind"):
        eds_xr.save(image + image, tmp_path / "map.zarr", overwrite=True)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["map.zarr"]
    np.testing.assert_array_equal(eds_xr.open(before), image)


@pytest.mark.parametrize(
    "error", [FileNotFoundError("gone"), PermissionError("denied"), ValueError("damaged")]
)
def test_persistently__does_not_repeat_what_does_not_pass(error: Exception) -> None:
    calls = []

    def work() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        retries.persistently(work)
    assert len(calls) == 1
