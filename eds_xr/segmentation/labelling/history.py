"""Undo and redo of a session's edits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from eds_xr.segmentation.labelling.session import Session

#: Sessions share their strokes, so that each step is small.
MOST_STEPS = 500


@dataclass(frozen=True)
class History:
    """A session, and those before and after it; it never changes, steps return another one.

    Attributes
    ----------
    present : Session
    past, future : tuple of Session
        The oldest first; the next first.

    Examples
    --------
    >>> from eds_xr.segmentation.labelling import History, Session, add_class
    >>> history = History(Session())
    >>> history = history.after(add_class(history.present, "matrix"))
    >>> history.undo().present.class_names, history.undo().redo().present.class_names
    ((), ('matrix',))
    """

    present: Session
    past: tuple[Session, ...] = field(default=(), repr=False)
    future: tuple[Session, ...] = field(default=(), repr=False)

    def after(self, session: Session) -> History:
        """Return the history after an edit; what had been undone is gone."""
        if session is self.present:
            return self
        return History(session, (*self.past, self.present)[-MOST_STEPS:])

    def noted(self, session: Session) -> History:
        """Return the history with another present, as no step: a training is not undone."""
        return replace(self, present=session)

    @property
    def can_undo(self) -> bool:
        """Whether there is anything to undo."""
        return bool(self.past)

    @property
    def can_redo(self) -> bool:
        """Whether there is anything to do again."""
        return bool(self.future)

    def undo(self) -> History:
        """Return the history one step back; at its beginning, itself."""
        if not self.past:
            return self
        return History(self.past[-1], self.past[:-1], (self.present, *self.future))

    def redo(self) -> History:
        """Return the history one step forward; at its end, itself."""
        if not self.future:
            return self
        return History(self.future[0], (*self.past, self.present), self.future[1:])
