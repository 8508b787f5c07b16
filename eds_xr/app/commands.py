"""The commands that open an app in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SOURCE = Annotated[
    str,
    typer.Argument(help="Zarr store, or URL; folder of an analysis; vendor file, to be converted."),
]
PORT = Annotated[int, typer.Option(help="0 takes a free one.")]
ADDRESS = Annotated[
    str, typer.Option(help="Network interface; others than this machine's own are warned of.")
]
BROWSER = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")]


def explore(
    source: SOURCE,
    elements: Annotated[
        str, typer.Option(help="Known to be there: Mg,Si,Fe. By default those the store names.")
    ] = "",
    port: PORT = 0,
    address: ADDRESS = "127.0.0.1",
    browser: BROWSER = True,
) -> None:
    """Look at an image and its spectra in the browser."""
    from eds_xr.app import sources
    from eds_xr.app.explorer.explorer import Explorer
    from eds_xr.app.serving.extra import need_panel
    from eds_xr.app.serving.server import View, serve

    need_panel()
    found = sources.opened(source)
    named = [name.strip() for name in elements.split(",") if name.strip()]
    # one for all pages: a page that is loaded again has its regions
    explorer = Explorer(found.image, found.result, elements=named or None, opening=found.code)

    def view() -> View:
        from eds_xr.app.explorer.view import ExplorerView

        return ExplorerView(explorer, found.name)

    serve(view, port=port, address=address, show=browser, title=f"{found.name} · explore")


def label(
    source: SOURCE,
    session: Annotated[
        Path | None, typer.Option(help="Session to go on with; by default that of last time.")
    ] = None,
    port: PORT = 0,
    address: ADDRESS = "127.0.0.1",
    browser: BROWSER = True,
) -> None:
    """Paint phases in the browser and train a classifier."""
    from eds_xr.app import sources
    from eds_xr.app.labeller.label import shared_views
    from eds_xr.app.serving.extra import need_panel
    from eds_xr.app.serving.server import serve

    need_panel()
    found = sources.opened(source)
    factors = None
    if found.result is not None and "factors" in found.result.children:
        factors = found.result["factors"].to_dataset()
    pages = shared_views(found.image, channels=factors, session=session, folder=found.folder)
    serve(pages, port=port, address=address, show=browser, title=f"{found.name} · label")
