"""Writing overlaps with reading; empty chunks are written."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from support.recordings import convert_counts

from eds_xr import store
from eds_xr.store import writing


def everything(path: Path) -> list[xr.DataArray]:
    return [store.open(path, binned=b).compute() for b in (1, 2, 4, 8)]


def test_convert__empty_chunks_are_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counts = np.zeros((3, 9, 32), "u1")
    path = convert_counts(counts, tmp_path / "a.zarr", monkeypatch, pyramid=True)
    assert (path / "counts" / "c" / "0" / "0" / "0").exists()
    assert not any(int(image.sum()) for image in everything(path))


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
