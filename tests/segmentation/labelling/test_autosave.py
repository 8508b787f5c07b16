"""Tests of autosave: nothing is lost, nothing is overwritten."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from eds_xr import labelling, scribbles
from eds_xr.schema import EdsError
from eds_xr.segmentation.labelling import Autosave, Session, read_session
from eds_xr.segmentation.labelling import autosave as module

LIKE = xr.DataArray(np.zeros((5, 7)), {"y": np.arange(5.0)}, ("y", "x"))


def session(strokes: int) -> Session:
    made = labelling.add_image(Session(), "map.zarr", LIKE)
    made = labelling.add_class(made, "matrix")
    for i in range(strokes):
        made = labelling.add_stroke(made, scribbles.line("matrix", [(i % 5, 1), (i % 5, 3)]))
    return made


def test_note__is_written_off_the_callers_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, written = [], module.session_bytes

    def watched(one: Session, classifier: bytes | None) -> bytes:
        threads.append(threading.current_thread())
        return written(one, classifier)

    monkeypatch.setattr(module, "session_bytes", watched)
    with Autosave(tmp_path / "map.zarr", delay_s=60.0) as autosave:
        for n in range(20):
            autosave.note(session(n))
        assert not autosave.file.exists()  # all of them wait for one another
        autosave.flush()
        assert read_session(autosave.file) == session(19)
        assert len(threads) == 1
        assert threads[0] is not threading.current_thread()
        autosave.note(session(3))
    assert read_session(autosave.file) == session(3)
    assert [p.name for p in tmp_path.iterdir()] == [autosave.file.name]
    assert autosave.file.name.startswith(".map.zarr.strokes-")
    with pytest.raises(EdsError, match="is closed"):
        autosave.note(session(4))
    autosave.close()
    autosave.close(keep=False)
    assert not list(tmp_path.iterdir())


def test_note__is_written_after_a_while_by_itself(tmp_path: Path) -> None:
    with Autosave(tmp_path / "map.zarr", delay_s=0.01) as autosave:
        autosave.note(session(1))
        while not autosave.file.exists():
            time.sleep(0.005)
        assert read_session(autosave.file) == session(1)


def test_note__packs_a_classifier_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = session(0)
    made = labelling.add_class(made, "grain")
    for name, y in (("matrix", 1), ("grain", 3)):
        made = labelling.add_stroke(made, scribbles.line(name, [(y + 0.5, 0.5), (y + 0.5, 6.5)]))
    features = LIKE.expand_dims(feature=["a"]) + LIKE.y
    trained = [labelling.train_session(made, features) for _ in range(2)]
    packed, pack = [], module.classifier_bytes
    monkeypatch.setattr(module, "classifier_bytes", lambda c: packed.append(c) or pack(c))
    with Autosave(tmp_path / "map.zarr") as autosave:
        for one in (trained[0], labelling.remove_strokes(trained[0], [1]), trained[1], made):
            autosave.note(one)
            autosave.flush()
            again = read_session(autosave.file)
            assert again == one
            assert (again.classifier is None) == (one.classifier is None)
    assert packed == [trained[0].classifier, trained[1].classifier]


def test_recover__what_a_closed_session_has_left(tmp_path: Path) -> None:
    with Autosave(tmp_path / "map.zarr") as first:
        first.note(session(2))
    second = Autosave(tmp_path / "map.zarr")
    assert second.recoverable() == [first.file]
    assert second.recover() == session(2)
    assert list(tmp_path.iterdir()) == [second.file]  # and goes on in its own
    assert second.recoverable() == []
    assert second.recover() is None
    assert Autosave(tmp_path / "other.zarr").recover() is None
    second.close()


def test_recover__two_open_sessions_leave_each_other_alone(tmp_path: Path) -> None:
    first, second = (Autosave(tmp_path / "map.zarr") for _ in range(2))
    first.note(session(1))
    second.note(session(2))
    first.flush()
    second.flush()
    assert first.recoverable() == second.recoverable() == []
    assert (read_session(first.file), read_session(second.file)) == (session(1), session(2))
    first.close()
    os.utime(first.file, ns=(0, 0))
    second.close()
    third = Autosave(tmp_path / "map.zarr")
    assert third.recoverable() == [second.file, first.file]  # the newest first
    assert third.recover(first.file) == session(1)
    assert third.recoverable() == [second.file]
    third.close()


KILLED = """
import sys
from pathlib import Path
from eds_xr import labelling
autosave = labelling.Autosave(sys.argv[1])
autosave.note(labelling.read_session(sys.argv[2]))
autosave.flush()
print("written", flush=True)
sys.stdin.read()
"""


def test_recover__what_a_killed_process_has_left(tmp_path: Path) -> None:
    store, given = tmp_path / "map.zarr", tmp_path / "given.edsx"
    labelling.write_session(session(4), given)
    command = [sys.executable, "-c", KILLED, store, given]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    mine = Autosave(store)
    assert mine.recoverable() == []  # it runs
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert mine.recover() == session(4)
    mine.close(keep=False)
    assert list(tmp_path.iterdir()) == [given]


def test_recover__a_number_that_another_process_has_got(tmp_path: Path) -> None:
    """After a restart of the machine the number of the dead process may be taken."""
    left = tmp_path / "map.zarr"
    autosave = Autosave(left)
    name = autosave.file.name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-")
    path = labelling.write_session(session(1), tmp_path / name)
    assert autosave.recoverable() == []  # the parent runs, and may write it
    os.utime(path, (1.0, 1.0))  # before the parent was born
    assert autosave.recover() == session(1)
    autosave.close()


def test_recover__of_another_machine_is_copied(tmp_path: Path) -> None:
    other = tmp_path / ".map.zarr.strokes-elsewhere-1-0123abcd.edsx"
    labelling.write_session(session(1), other)
    with Autosave(tmp_path / "map.zarr") as autosave:
        assert autosave.recover() == session(1)
    assert sorted(tmp_path.iterdir()) == sorted([other, autosave.file])


def test_recover__skips_what_is_damaged_and_says_so(tmp_path: Path) -> None:
    with Autosave(tmp_path / "map.zarr") as first:
        first.note(session(1))
    damaged = tmp_path / ".map.zarr.strokes-elsewhere-1-0123abcd.edsx"
    damaged.write_bytes(b"PK")
    with Autosave(tmp_path / "map.zarr") as second:
        with pytest.warns(UserWarning, match="a session was not recovered: .*it is damaged"):
            assert second.recover() == session(1)
        with pytest.raises(EdsError, match="it is damaged"):
            second.recover(damaged)
    assert damaged.exists()


def test_autosave__says_why_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    autosave = Autosave("map.zarr", folder=tmp_path / "file", delay_s=0.0)
    autosave.note(session(1))
    with pytest.raises(EdsError, match="writing .* failed"):
        autosave.flush()
    assert isinstance(autosave.error, EdsError)
    (tmp_path / "file").unlink()
    autosave.note(session(2))  # the thread lives on
    autosave.flush()
    assert autosave.error is None
    assert read_session(autosave.file) == session(2)
    autosave.close()


def test_autosave__of_a_url_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(EdsError, match=r"need a folder on this machine.*give folder="):
        Autosave("s3://bucket/map.zarr")
    with Autosave("s3://bucket/map.zarr", folder=tmp_path) as autosave:
        autosave.note(session(1))
    assert autosave.file.parent == tmp_path
    assert autosave.file.name.startswith(".map.zarr.strokes-")
