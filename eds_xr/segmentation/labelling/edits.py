"""Edits of a session: each returns another session, the given one stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import xarray as xr

from eds_xr.schema import EdsError
from eds_xr.segmentation.classify.classifier import PixelClassifier
from eds_xr.segmentation.labelling.session import (
    AND,
    LabelClass,
    LabelledImage,
    Parameters,
    Session,
    Stroke,
    class_name,
    with_parameter,
)
from eds_xr.segmentation.rois import ERASER, Roi


def add_image(session: Session, name: str, like: xr.DataArray) -> Session:
    """Return the session with one more image to paint on; an image that is there stays.

    Parameters
    ----------
    session : Session
    name : str
        Such as the path of its store.
    like : DataArray [y, x, ...]
        Gives the grid; no value is read.

    Raises
    ------
    EdsError
        When there is an image of this name on another grid.
    """
    new = LabelledImage(name, like)
    for image in session.images:
        if image.name == name:
            if image != new:
                raise EdsError(
                    f"{name!r} was painted on a grid of {dict(image.grid.sizes)}, this one is "
                    f"{dict(new.grid.sizes)}, or lies elsewhere; give it another name"
                )
            return session
    return replace(session, images=(*session.images, new))


def remove_image(session: Session, name: str) -> Session:
    """Return the session without an image and its strokes."""
    gone = session.image(name).name
    return replace(
        session,
        images=tuple(i for i in session.images if i.name != gone),
        strokes=tuple(s for s in session.strokes if s.image != gone),
    )


def add_class(session: Session, name: str, color: str | None = None) -> Session:
    """Return the session with one more class; ``A+B`` is one of pixels that hold both.

    Parameters
    ----------
    session : Session
    name : str
        Spaces become underscores.
    color : str, optional
        ``"#rrggbb"``; by default one that no other class has.

    Raises
    ------
    EdsError
        When there is such a class, or the parts of a combination are no classes.

    Examples
    --------
    >>> session = add_class(add_class(Session(), "matrix"), "iron oxide")
    >>> add_class(session, "matrix + iron oxide").class_names
    ('matrix', 'iron_oxide', 'matrix+iron_oxide')
    """
    new = LabelClass(class_name(name), color or session.next_color())
    return replace(session, classes=(*session.classes, new))


def rename_class(session: Session, name: str, to: str) -> Session:
    """Return the session with a class of another name, also where it is part of combinations.

    Raises
    ------
    EdsError
        When there is no such class, or another of the new name: then merge them.

    Examples
    --------
    >>> session = add_class(add_class(add_class(Session(), "a"), "b"), "a+b")
    >>> rename_class(session, "a", "oxide").class_names
    ('oxide', 'b', 'oxide+b')
    """
    old, new = _known(session, name), class_name(to)
    if new == old:
        return session
    if new in session.class_names:
        raise EdsError(f"{new} is a class already; merge_classes makes one of two")
    if (AND in old) != (AND in new):
        raise EdsError(f"{old} and {new}: a phase stays a phase, a combination a combination")
    return _renamed(session, partial(_with_part, old=old, new=new))


def recolour_class(session: Session, name: str, color: str) -> Session:
    """Return the session with a class of another colour, ``"#rrggbb"``."""
    chosen = _known(session, name)
    classes = (replace(c, color=color) if c.name == chosen else c for c in session.classes)
    return replace(session, classes=tuple(classes))


def merge_classes(session: Session, names: Iterable[str], into: str) -> Session:
    """Return the session with several classes made one: strokes keep their places and order.

    A combination of merged phases is what is left of it: with b merged into a, ``a+b`` is a and
    ``b+c`` is ``a+c``.

    Parameters
    ----------
    session : Session
    names : iterable of str
    into : str
        Their class; its colour stays.

    Raises
    ------
    EdsError
        When one of them is no class, or a phase would become a combination of others.

    Examples
    --------
    >>> session = Session()
    >>> for name in ("a", "b", "c", "a+b", "b+c"):
    ...     session = add_class(session, name)
    >>> merge_classes(session, ["b"], "a").class_names
    ('a', 'c', 'a+c')
    """
    target = _known(session, into)
    for name in [_known(session, name) for name in names]:
        if AND in target and AND not in name:
            raise EdsError(f"{name} is a phase and {target} a combination; merge the other way")
        session = _renamed(session, partial(_with_part, old=name, new=target))
    return session


def delete_class(session: Session, name: str) -> Session:
    """Return the session without a class, its strokes, and the combinations that hold it.

    Examples
    --------
    >>> session = add_class(add_class(add_class(Session(), "a"), "b"), "a+b")
    >>> delete_class(session, "a").class_names
    ('b',)
    """
    gone = _known(session, name)
    classes = tuple(
        c for c in session.classes if c.name != gone and (AND in gone or gone not in c.phases)
    )
    kept = {c.name for c in classes} | {ERASER}
    strokes = tuple(s for s in session.strokes if s.roi.phase in kept)
    return replace(session, classes=classes, strokes=strokes)


def add_stroke(session: Session, roi: Roi, image: str | None = None) -> Session:
    """Return the session with one more stroke, on top of all others; its number is the next.

    Parameters
    ----------
    session : Session
    roi : Roi
        From :mod:`eds_xr.scribbles`; without a phase it is an eraser.
    image : str, optional
        Name of the image that it lies on; needed when there are several.

    Raises
    ------
    EdsError
        When it marks no class of the session, or there is no such image.
    """
    number = 1 + max((stroke.number for stroke in session.strokes), default=0)
    stroke = Stroke(number, session.image(image).name, roi)
    return replace(session, strokes=(*session.strokes, stroke))


def remove_strokes(session: Session, numbers: Iterable[int]) -> Session:
    """Return the session without some strokes, given by their numbers.

    Raises
    ------
    EdsError
        When there is no stroke of a number.
    """
    gone = set(numbers)
    if unknown := gone - {stroke.number for stroke in session.strokes}:
        raise EdsError(f"there is no stroke number {min(unknown)}")
    strokes = tuple(stroke for stroke in session.strokes if stroke.number not in gone)
    return replace(session, strokes=strokes)


def set_parameter(session: Session, name: str, value: Any) -> Session:
    """Return the session with one choice changed, see :class:`Parameters`."""
    changed = Parameters(**with_parameter(session.parameters, name, value))
    return replace(session, parameters=changed)


def set_classifier(session: Session, classifier: PixelClassifier | None) -> Session:
    """Return the session with what was trained on it, or without."""
    return replace(session, classifier=classifier)


def _known(session: Session, name: str) -> str:
    if name not in session.class_names:
        known = ", ".join(session.class_names) or "none yet"
        raise EdsError(f"{name!r} is no class of the session; classes are {known}")
    return name


def _with_part(name: str, old: str, new: str) -> str:
    """Return the name of a class with itself, or one of its phases, renamed."""
    if name == old:
        return new
    return AND.join(dict.fromkeys(new if part == old else part for part in name.split(AND)))


def _renamed(session: Session, called: Callable[[str], str]) -> Session:
    """Return the session with all classes renamed; those that become the same are one."""
    first: dict[frozenset[str], str] = {}
    # a class that keeps its name gives its colour and place to those that become it
    for c in sorted(session.classes, key=lambda c: called(c.name) != c.name):
        first.setdefault(frozenset(called(c.name).split(AND)), called(c.name))
    name_of = {c.name: first[frozenset(called(c.name).split(AND))] for c in session.classes}
    keeps = {c.name for c in session.classes if name_of[c.name] == c.name}
    classes: dict[str, LabelClass] = {}
    for c in session.classes:
        new = name_of[c.name]
        if c.name in keeps or (new not in keeps and new not in classes):
            classes[new] = replace(c, name=new)
    strokes = (
        s if s.roi.phase == ERASER else replace(s, roi=replace(s.roi, phase=name_of[s.roi.phase]))
        for s in session.strokes
    )
    return replace(session, classes=tuple(classes.values()), strokes=tuple(strokes))
