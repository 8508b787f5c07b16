"""What is painted: a session, its undo and redo, its autosave; strokes as a canvas shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.schema import EdsError
from eds_xr.segmentation import labelling
from eds_xr.segmentation.labelling.autosave import Autosave
from eds_xr.segmentation.labelling.session import AND, class_name
from eds_xr.segmentation.rois import ERASER, Roi

Message = Mapping[str, Any]
#: Classes that a new session begins with.
FIRST_CLASSES = ("class_1", "class_2")


class Painting:
    """A session on one image, edited by hand.

    Parameters
    ----------
    image : DataArray [y, x, ...]
    name : str
        Of the image in the session.
    session : Session
    autosave : Autosave, optional
    changed : callable
        Called after each edit.
    """

    def __init__(
        self, image: xr.DataArray, name: str, session: labelling.Session,
        *, autosave: Autosave | None = None, changed: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        session = labelling.add_image(session, name, image)
        if not session.classes:
            for first in FIRST_CLASSES:
                session = labelling.add_class(session, first)
        self.name, self.autosave = name, autosave
        self.history = labelling.History(session)
        self._changed = changed
        self._number_of: dict[str, int] = {}
        self._shown: dict[int, tuple[labelling.Stroke, dict[str, Any]]] = {}
        self._renamed: dict[str, str] = {}

    @property
    def session(self) -> labelling.Session:
        """What there is now."""
        return self.history.present

    @property
    def classes(self) -> list[dict[str, Any]]:
        """The classes as a canvas knows them."""
        return [
            {"id": c.name, "value": i, "name": c.name, "color": c.color}
            for i, c in enumerate(self.session.classes, 1)
        ]

    # -- strokes --------------------------------------------------------------------------------

    def draw(self, message: Message) -> bool:
        """Take a stroke of a canvas into the session; False for one that is there already.

        A canvas sends a stroke again when it does not know whether it has arrived, even to another
        process: such a stroke is known by its points.
        """
        if message["id"] in self._number_of:
            return False
        roi = self._roi(message)
        there = [s for s in self.session.strokes_on(self.name) if s.roi == roi]
        if message.get("again") and there:
            self._number_of[message["id"]] = there[-1].number
            return False
        self._edit(labelling.add_stroke(self.session, roi, self.name))
        self._number_of[message["id"]] = self.session.strokes[-1].number
        return True

    def strokes_shown(self) -> list[dict[str, Any]]:
        """Return the strokes on the image as a canvas shows them."""
        ids = {number: name for name, number in self._number_of.items()}
        shown: dict[int, tuple[labelling.Stroke, dict[str, Any]]] = {}
        for stroke in self.session.strokes_on(self.name):
            known = self._shown.get(stroke.number)
            if known is None or known[0] != stroke:
                name = ids.get(stroke.number, f"stroke-{stroke.number}")
                known = (stroke, _as_drawn(stroke, name))
            shown[stroke.number] = known
        self._shown = shown
        return [one for _, one in shown.values()]

    def number_of(self, stroke_id: str) -> int | None:
        """Return the number of a stroke by the id that a canvas has for it."""
        for number, (_, one) in self._shown.items():
            if one["id"] == stroke_id:
                return number
        return None

    def delete_strokes(self, ids: Iterable[str]) -> None:
        """Delete strokes by the ids that a canvas has for them."""
        numbers = [n for n in map(self.number_of, ids) if n is not None]
        if numbers:
            self._edit(labelling.remove_strokes(self.session, numbers))

    def replace_strokes(self, rois: Iterable[Roi]) -> None:
        """Put regions, from a file, over what is painted; classes that are new are added."""
        session = self.session
        for roi in rois:
            if roi.phase != ERASER and roi.phase not in session.class_names:
                session = _with_class(session, roi.phase, roi.color or None)
            session = labelling.add_stroke(session, roi, self.name)
        self._edit(session)

    # -- classes --------------------------------------------------------------------------------

    def add_class(self, name: str = "", color: str | None = None) -> str:
        """Add a class, named by itself if need be; return its name."""
        name = name or self._free_name()
        self._edit(_with_class(self.session, name, color))
        return self.session.classes[-1].name

    def rename_class(self, name: str, to: str) -> None:
        """Rename a class."""
        before = self.session.class_names
        self._edit(labelling.rename_class(self.session, name, to))
        self._renamed.update(zip(before, self.session.class_names, strict=True))

    def recolour_class(self, name: str, color: str) -> None:
        """Give a class another colour."""
        self._edit(labelling.recolour_class(self.session, name, color))

    def merge_classes(self, name: str, into: str) -> None:
        """Make one class of two."""
        self._edit(labelling.merge_classes(self.session, [name], into))
        self._renamed[name] = into

    def delete_class(self, name: str) -> None:
        """Delete a class and its strokes."""
        self._edit(labelling.delete_class(self.session, name))

    def set_parameter(self, name: str, value: Any) -> None:
        """Change a choice of training or smoothing; that is no edit to be undone."""
        self.note(labelling.set_parameter(self.session, name, value))

    # -- history --------------------------------------------------------------------------------

    def undo(self) -> None:
        """Take the last edit of strokes or classes back."""
        self._go(self._with_choices(self.history.undo()))

    def redo(self) -> None:
        """Do again what was taken back."""
        self._go(self._with_choices(self.history.redo()))

    def load(self, session: labelling.Session, image: xr.DataArray) -> None:
        """Take another session in place of this one; undo leads back."""
        self._edit(labelling.add_image(session, self.name, image))

    def note(self, session: labelling.Session) -> None:
        """Keep a session with a classifier; that is no edit to be undone."""
        self.history = self.history.noted(session)
        self._save()

    def close(self) -> None:
        """Write what is left to write."""
        if self.autosave is not None:
            self.autosave.close()

    def _with_choices(self, history: labelling.History) -> labelling.History:
        """Return a step of the history with the choices and the classifier of now."""
        if history is self.history:
            return history
        now = self.session
        kept = replace(history.present, parameters=now.parameters, classifier=now.classifier)
        return history.noted(kept)

    def _edit(self, session: labelling.Session) -> None:
        self._go(self.history.after(session))

    def _go(self, history: labelling.History) -> None:
        if history is not self.history:
            self.history = history
            self._save()
            self._changed()

    def _save(self) -> None:
        if self.autosave is not None:
            self.autosave.note(self.session)

    def _roi(self, message: Message) -> Roi:
        points = (np.asarray(message["points"], float).reshape(-1, 2),)
        name, seen = str(message.get("class") or ERASER), set()
        if message.get("erase"):
            name = ERASER
        # a stroke may be on its way while its class is renamed
        while name not in (*self.session.class_names, ERASER) and name not in seen:
            seen.add(name)
            name = self._renamed.get(name, name)
        if name == ERASER and not message.get("erase"):
            raise EdsError("choose a class to paint first")
        width = float(message.get("width_pixels") or 1)
        return Roi(name, str(message["kind"]), points, width)

    def _free_name(self) -> str:
        number = len(self.session.classes) + 1
        while f"class_{number}" in self.session.class_names:
            number += 1
        return f"class_{number}"


def _with_class(
    session: labelling.Session, name: str, color: str | None = None
) -> labelling.Session:
    """Return a session with a class, and with the phases that it combines."""
    parts = class_name(name).split(AND)
    for part in parts if len(parts) > 1 else ():
        if part not in session.class_names:
            session = labelling.add_class(session, part)
    return labelling.add_class(session, name, color)


def _as_drawn(stroke: labelling.Stroke, name: str) -> dict[str, Any]:
    roi = stroke.roi
    return {
        "id": name, "number": stroke.number, "kind": roi.kind, "points": roi.paths[0].tolist(),
        "more": [path.tolist() for path in roi.paths[1:]], "width": roi.width_pixels,
        "class": roi.phase or None, "erase": roi.phase == ERASER,
    }  # fmt: skip
