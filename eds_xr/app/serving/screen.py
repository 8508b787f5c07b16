"""Changes of a page from threads: on a server with the document's lock, in a notebook pushed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import panel as pn
from panel.io.state import set_curdoc


class Screen:
    """The page of one view.

    Parameters
    ----------
    raw : sequence of Panel objects
        Whose Bokeh models are changed directly; notebooks are told of these.
    """

    def __init__(self) -> None:
        self.document = pn.state.curdoc
        try:  # the kernel's, in a notebook
            self.loop: Any = asyncio.get_running_loop()
        except RuntimeError:
            self.loop = None
        self.raw: Sequence[Any] = ()
        self.gone = False

    def later(self, change: Callable[[], Any]) -> None:
        """Carry out a change of the page; may be called from any thread."""
        if self.gone:
            return
        if self.document is not None and self.document.session_context is not None:
            self.document.add_next_tick_callback(lambda: self._now(change))
        elif self.loop is not None and self.loop.is_running():
            # one after the other: messages of two threads would mix
            self.loop.call_soon_threadsafe(self._pushed, change)
        else:
            self._pushed(change)

    def _pushed(self, change: Callable[[], Any]) -> None:
        if self.gone:
            return
        change()
        for one in self.raw:
            if one._models:
                pn.io.push_notebook(one)

    def _now(self, change: Callable[[], Any]) -> None:
        if not self.gone:
            with set_curdoc(self.document):
                change()
