"""The libraries of the apps, which come with the extra ``label``."""

from __future__ import annotations

from importlib.util import find_spec

from eds_xr.schema import EdsError


def need_panel() -> None:
    """Raise unless the libraries of the apps are installed."""
    missing = [name for name in ("panel", "bokeh") if find_spec(name) is None]
    if missing:
        raise EdsError(
            f"the apps in the browser need {' and '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed; "
            "install with pip install 'eds-xr[label]'"
        )
