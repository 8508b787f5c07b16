"""Apps in the cells of a notebook: the browser's code from this machine, a picture that stays."""

from __future__ import annotations

from typing import Any

from eds_xr.app.serving.extra import need_panel


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def load_panel() -> None:
    """Put the browser's code into the notebook, once, from this machine and no other."""
    need_panel()
    import panel as pn

    if not pn.extension._loaded:
        pn.extension(inline=True)


def shown_in_cell(view: Any, picture: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the live view for a cell's output, and beside it a picture for a notebook at rest.

    Parameters
    ----------
    view : Panel object
    picture : bytes
        PNG.
    """
    import base64

    found = view._repr_mimebundle_()
    data, more = found if isinstance(found, tuple) else (found or {}, {})
    return {**data, "image/png": base64.b64encode(picture).decode()}, more
