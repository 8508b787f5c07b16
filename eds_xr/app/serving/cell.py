"""An app in a notebook's cell, which keeps a picture when there is no kernel any more."""

from __future__ import annotations

import base64
from typing import Any

from eds_xr.app.serving.server import View

#: Height of the app in a cell [pixels].
HEIGHT = 640
_READY = False


class Cell:
    """The page of an app in a notebook.

    Parameters
    ----------
    view : View
    """

    def __init__(self, view: View) -> None:
        self.view = view
        load_in_notebook()
        self.page = view.panel()
        self.page.param.update(height=HEIGHT, sizing_mode="stretch_width")

    def bundle(self, png: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what Jupyter shows: the live page, and a picture where it cannot live."""
        found = self.page._repr_mimebundle_()
        data, told = found if isinstance(found, tuple) else (found, {})
        data = dict(data or {})
        data["image/png"] = base64.b64encode(png).decode()
        return data, dict(told or {})

    def close(self) -> None:
        """End its work."""
        self.view.close()


def load_in_notebook() -> None:
    """Bring Bokeh and Panel into the notebook, once, from the installed packages."""
    global _READY
    if not _READY:
        import panel as pn

        pn.extension(inline=True)
        _READY = True
