"""Files and folders appear whole or not at all; what killed runs leave is cleaned up."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from eds_xr import atomic_write, store
from eds_xr.schema import EdsError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_written_file__failure_leaves_the_former(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    target = tmp_path / "a.csv"
    target.write_text("former")

    def write_half() -> None:
        with atomic_write.written_file(target, overwrite=True) as partial:
            partial.write_text("half")
            raise failure

    with pytest.raises(failure):
        write_half()
    assert target.read_text() == "former"
    assert names(tmp_path) == ["a.csv"]


def test_written_file__is_replaced_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.csv"
    for text in ("first", "second"):
        with atomic_write.written_file(target, overwrite=True) as partial:
            assert partial.suffix == ".csv"
            partial.write_text(text)
        assert target.read_text() == text
    assert names(target.parent) == ["a.csv"]


def test_written_file__one_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"

    def write_while_another_does() -> None:
        with atomic_write.written_file(target) as partial:
            partial.write_text("mine")
            target.write_text("another's")

    with pytest.raises(EdsError, match="exists; use overwrite=True"):
        write_while_another_does()
    assert target.read_text() == "another's"
    assert names(tmp_path) == ["a.csv"]


def test_written_file__says_what_the_disk_said_and_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = r"writing .*a\.csv failed: .*; nothing was left behind; choose another disk"
    with (
        pytest.raises(EdsError, match=message),
        atomic_write.written_file(tmp_path / "file" / "a.csv", cure="; choose another disk"),
    ):
        raise AssertionError("never reached")


def test_written_file__of_two_at_once_none_takes_the_other_for_a_leftover(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    with atomic_write.written_file(target, overwrite=True) as first:
        first.write_text("first")
        with atomic_write.written_file(target, overwrite=True) as second:
            second.write_text("second")
        assert target.read_text() == "second"
    assert target.read_text() == "first"
    assert names(tmp_path) == ["a.csv"]


def test_written_whole__what_is_no_store_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter_1.tex").write_text("...")
    with (
        pytest.raises(EdsError, match="not a spectrum image store, so it is never replaced"),
        atomic_write.written_whole(target, overwrite=True),
    ):
        raise AssertionError("never reached")
    assert names(target) == ["chapter_1.tex"]
    assert names(tmp_path) == ["thesis"]
