"""A server and a page of the browser on which one test after the other shows an app of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.browser import Screen

from eds_xr.app.serving.server import View, serve


class Stage:
    """What tests of a file share, as most of the time of such a test is that of the first load.

    A test has a page that is loaded anew, a view that no other has, and an empty storage in the
    browser. What server and browser keep is what they have of any tab: scripts, and the cookie.
    """

    def __init__(self, browser: Any) -> None:
        self.screen = Screen(browser)
        self.views: list[Any] = []
        self._make: Callable[[], View] | None = None
        self._server = serve(self._view, show=False, block=False)

    def _view(self) -> View:
        assert self._make is not None, "a page was opened between tests"
        self.views.append(self._make())
        return self.views[-1]  # type: ignore[no-any-return]

    def show(self, make_view: Callable[[], View]) -> Screen:
        """Open a page of an app, and wait for its canvas."""
        self._make = make_view
        self.screen.open(self._server.url)
        return self.screen

    def clear(self) -> None:
        """Leave the page, and end its work as a server does that ends."""
        self._make = None
        page = self.screen.page
        page.goto(self._server.url.replace("/?", "/metadata?"))  # its storage is there
        page.evaluate("() => { localStorage.clear(); sessionStorage.clear() }")
        page.mouse.move(0, 0)
        self._server._views.close()
        self.views.clear()
        self.screen.forget()

    def close(self) -> None:
        self.screen.close()
        self._server.stop()
