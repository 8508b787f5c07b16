"""Tests of edits of sessions."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr import labelling, scribbles
from eds_xr.schema import EdsError, phase_names
from eds_xr.segmentation.labelling import Session, scribbles_of

LIKE = xr.DataArray(np.zeros((5, 7)), dims=("y", "x"))


@pytest.fixture
def session() -> Session:
    """Return three phases and two combinations, a stroke of each in a row of its own."""
    made = labelling.add_image(Session(), "map", LIKE)
    for i, name in enumerate(("a", "b", "c", "a+b", "b+c")):
        made = labelling.add_class(made, name)
        made = labelling.add_stroke(made, scribbles.line(name, [(i + 0.5, 0.5), (i + 0.5, 6.5)]))
    return labelling.add_stroke(made, scribbles.eraser([(0.5, 0.5), (4.5, 0.5)]))


def rows(session: Session) -> list[str]:
    """Return what each row is painted as."""
    label = scribbles_of(session)
    names = ["", *phase_names(label)]
    assert (label[:, 0] == 0).all()
    return [names[i] for i in label[:, 3].values]


def test_edits__leave_the_given_session_as_it_was(session: Session) -> None:
    before = rows(session)
    for edit in (
        lambda s: labelling.add_class(s, "d"),
        lambda s: labelling.rename_class(s, "a", "z"),
        lambda s: labelling.merge_classes(s, ["b"], "a"),
        lambda s: labelling.delete_class(s, "a"),
        lambda s: labelling.recolour_class(s, "a", "#000000"),
        lambda s: labelling.remove_strokes(s, [1]),
        lambda s: labelling.add_stroke(s, scribbles.line("b", [(0.5, 3.5)])),
        lambda s: labelling.set_parameter(s, "smoothness", 3.0),
        lambda s: labelling.add_image(s, "other", LIKE),
        lambda s: labelling.remove_image(s, "map"),
    ):
        assert edit(session) != session
        assert rows(session) == before


def test_rename_class__also_within_combinations(session: Session) -> None:
    renamed = labelling.rename_class(session, "b", "the grain")
    assert rows(renamed) == ["a", "the_grain", "c", "a+the_grain", "the_grain+c"]
    assert [c.color for c in renamed.classes] == [c.color for c in session.classes]
    assert labelling.rename_class(renamed, "the_grain", "b") == session
    with pytest.raises(EdsError, match="b is a class already; merge_classes"):
        labelling.rename_class(session, "a", "b")
    with pytest.raises(EdsError, match="a phase stays a phase"):
        labelling.rename_class(session, "a", "b+a")
    with pytest.raises(EdsError, match="'z' is no class of the session; classes are a, b"):
        labelling.rename_class(session, "z", "y")


def test_merge_classes__keeps_the_pixels(session: Session) -> None:
    merged = labelling.merge_classes(session, ["b"], "a")
    assert rows(merged) == ["a", "a", "c", "a", "a+c"]
    assert merged.class_names == ("a", "c", "a+c")
    assert merged.classes[0].color == session.classes[0].color
    backward = labelling.merge_classes(session, ["a"], "b")
    assert rows(backward) == ["b", "b", "c", "b", "b+c"]
    assert {c.name: c.color for c in backward.classes} == {
        c.name: c.color for c in session.classes if c.name in ("b", "c", "b+c")
    }
    assert rows(labelling.merge_classes(session, ["b", "c", "a"], "c")) == ["c"] * 5
    assert rows(labelling.merge_classes(session, ["a+b"], "c")) == ["a", "b", "c", "c", "b+c"]
    with pytest.raises(EdsError, match="a is a phase and b\\+c a combination"):
        labelling.merge_classes(session, ["a"], "b+c")


def test_delete_class__takes_strokes_and_combinations(session: Session) -> None:
    assert rows(labelling.delete_class(session, "b")) == ["a", "", "c", "", ""]
    assert rows(labelling.delete_class(session, "a+b")) == ["a", "b", "c", "", "b+c"]


def test_remove_strokes__by_number(session: Session) -> None:
    assert [s.number for s in session.strokes] == [1, 2, 3, 4, 5, 6]
    less = labelling.remove_strokes(session, [2, 4])
    assert rows(less) == ["a", "", "c", "", "b+c"]
    assert labelling.add_stroke(less, scribbles.eraser([(1, 1)])).strokes[-1].number == 7
    with pytest.raises(EdsError, match="no stroke number 9"):
        labelling.remove_strokes(session, [1, 9])


def test_add_image__again_is_the_same_on_the_same_grid(session: Session) -> None:
    assert labelling.add_image(session, "map", LIKE) is session
    with pytest.raises(EdsError, match="'map' was painted on a grid of"):
        labelling.add_image(session, "map", LIKE.isel(x=slice(3)))
    two = labelling.add_image(session, "other", LIKE)
    with pytest.raises(EdsError, match=r"which image\?"):
        labelling.add_stroke(two, scribbles.eraser([(1, 1)]))
    assert labelling.remove_image(two, "other") == session
    assert not labelling.remove_image(session, "map").strokes


def test_set_parameter__unknown() -> None:
    with pytest.raises(EdsError, match="'trees' is no parameter; they are channels, kinds"):
        labelling.set_parameter(Session(), "trees", 3)
    assert labelling.set_parameter(Session(), "scales", [1, 4]).parameters.scales == (1.0, 4.0)


EDITS = st.tuples(
    st.sampled_from(["add", "rename", "merge", "delete", "stroke", "erase", "remove"]),
    st.sampled_from(["a", "b", "c", "a+b", "b+c", "a+b+c"]),
    st.sampled_from(["a", "b", "d", "a+d", "c+a"]),
    st.integers(0, 4),
)


@given(st.lists(EDITS, max_size=14))
@settings(max_examples=150, deadline=None)
def test_edits__in_any_order_give_a_session_that_paints(edits: list[Any]) -> None:
    """What an edit refuses changes nothing; all else is a whole session, strokes of its classes."""
    session = labelling.add_image(Session(), "map", LIKE)
    for kind, one, other, row in edits:
        done = {
            "add": lambda s, o=one: labelling.add_class(s, o),
            "rename": lambda s, o=one, t=other: labelling.rename_class(s, o, t),
            "merge": lambda s, o=one, t=other: labelling.merge_classes(s, [o], t),
            "delete": lambda s, o=one: labelling.delete_class(s, o),
            "stroke": lambda s, o=one, r=row: labelling.add_stroke(
                s, scribbles.line(o, [(r + 0.5, 1.5), (r + 0.5, 4.5)])
            ),
            "erase": lambda s, r=row: labelling.add_stroke(s, scribbles.eraser([(r + 0.5, 2.5)])),
            "remove": lambda s, r=row: labelling.remove_strokes(s, [r]),
        }
        try:
            session = done[kind](session)
        except EdsError:
            continue
        parts = {p for c in session.classes for p in c.phases}
        assert parts <= set(session.class_names)
    if session.classes:
        label = scribbles_of(session)
        assert phase_names(label) == list(session.class_names)
        marked = {s.roi.phase for s in session.strokes if s.roi.phase}
        seen = {phase_names(label)[i - 1] for i in np.unique(label) if i}
        assert seen <= marked
