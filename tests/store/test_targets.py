"""Stores on object stores are whole or not there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr
from support.recordings import RECORDED, convert_counts, image_of, recording_of

from eds_xr import readers, store
from eds_xr.schema import EdsError
from eds_xr.store import retries, targets, writing


@pytest.fixture
def url() -> Iterator[str]:
    files = fsspec.filesystem("memory")
    yield "memory://bucket/maps/a.zarr"
    if files.exists("/bucket"):
        files.rm("/bucket", recursive=True)


def objects(url: str) -> list[str]:
    files, root = fsspec.core.url_to_fs(url)
    return [p.removeprefix(root).strip("/") for p in files.find(root)] if files.exists(root) else []


def test_convert__to_a_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert convert_counts(RECORDED, url, monkeypatch, pyramid=True) == url
    np.testing.assert_array_equal(store.open(url), RECORDED)
    np.testing.assert_array_equal(xr.open_zarr(url).counts, RECORDED)
    assert int(store.open(url, binned=8).sum()) == RECORDED.sum()
    assert targets._MARKER not in objects(url)
    with pytest.raises(EdsError, match="exists; use overwrite=True"):
        convert_counts(RECORDED, url, monkeypatch)
    convert_counts(RECORDED[:4], url, monkeypatch, overwrite=True)
    np.testing.assert_array_equal(store.open(url), RECORDED[:4])
    assert not any(name.startswith("pyramid") for name in objects(url))


@pytest.mark.parametrize("existing", [False, True])
def test_save__to_a_url_that_fails_at_any_write(
    existing: bool, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each possible failure: the former store, or nothing that can be opened."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(retries, "WAITS", (0.0, 0.0))
    old, new = image_of(RECORDED), image_of(RECORDED[::-1].copy() + 1)
    seen: list[str] = []
    pipe = MemoryFileSystem.pipe_file

    def failing(self: Any, path: str, value: bytes, **more: Any) -> None:
        seen.append(path)
        if len(seen) >= fail_at:  # and whenever it is tried again
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
    convert_counts(RECORDED, url, monkeypatch)
    states = []

    def blocks(rows: int) -> Iterator[np.ndarray]:
        states.append(objects(url))
        with pytest.raises(EdsError):
            store.open(url)
        yield RECORDED

    interrupted = recording_of(RECORDED)
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
    np.testing.assert_array_equal(store.open(url), RECORDED)


def test_save__to_a_url_with_other_objects(url: str) -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/bucket/maps/a.zarr/thesis.txt", b"years of work")
    with pytest.raises(EdsError, match="not a spectrum image store, so it is never replaced"):
        store.save(image_of(RECORDED), url, overwrite=True)
    assert objects(url) == ["thesis.txt"]


def test_save__onto_the_url_it_was_opened_from(url: str) -> None:
    store.save(image_of(RECORDED), url)
    with pytest.raises(EdsError, match="is where the image is read from"):
        store.save(store.open(url)[2:], url, overwrite=True)
    np.testing.assert_array_equal(store.open(url), RECORDED)


def test_save__unknown_protocol() -> None:
    with pytest.raises(EdsError, match="cannot write to nosuch://x"):
        store.save(image_of(RECORDED), "nosuch://x")


def test_save__file_url_is_a_local_path(tmp_path: Path) -> None:
    path = store.save(image_of(RECORDED), (tmp_path / "a.zarr").as_uri())
    assert path == tmp_path / "a.zarr"
    np.testing.assert_array_equal(store.open(path), RECORDED)
