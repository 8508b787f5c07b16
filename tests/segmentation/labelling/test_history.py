"""Tests of undo and redo."""

import pytest

from eds_xr import labelling
from eds_xr.segmentation.labelling import History, Session
from eds_xr.segmentation.labelling import history as module


def edited(history: History, name: str) -> History:
    return history.after(labelling.add_class(history.present, name))


def names(history: History) -> tuple[str, ...]:
    return history.present.class_names


def test_history__back_and_forth() -> None:
    history = edited(edited(History(Session()), "a"), "b")
    assert names(history) == ("a", "b")
    back = history.undo().undo()
    assert names(back) == ()
    assert not back.can_undo
    assert back.undo() is back
    assert names(back.redo()) == ("a",)
    assert back.redo().redo() == history
    assert history.redo() is history


def test_history__an_edit_ends_what_was_undone() -> None:
    history = edited(edited(edited(History(Session()), "a"), "b").undo(), "c")
    assert names(history) == ("a", "c")
    assert not history.can_redo
    assert names(history.undo().undo()) == ()


def test_history__what_changes_nothing_is_no_step() -> None:
    history = edited(History(Session()), "a")
    assert history.after(history.present) is history


def test_history__noted_is_no_step() -> None:
    history = edited(edited(History(Session()), "a"), "b").undo()
    noted = history.noted(labelling.set_parameter(history.present, "smoothness", 2.0))
    assert noted.present.parameters.smoothness == 2.0
    assert names(noted.redo()) == ("a", "b")
    assert names(noted.undo()) == ()


def test_history__is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_STEPS", 3)
    history = History(Session())
    for i in range(6):
        history = edited(history, f"c{i}")
    assert len(history.past) == 3
    for _ in range(9):
        history = history.undo()
    assert names(history) == ("c0", "c1", "c2")
