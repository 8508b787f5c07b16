"""Serve one app from this process, to this machine only unless an address is asked for."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from eds_xr.app.serving.extra import need_panel
from eds_xr.app.serving.page import page_template
from eds_xr.progress import say, warn
from eds_xr.schema import EdsError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What one message of a page may hold, an uploaded file included [bytes].
MOST_BYTES = 32 * 2**20
#: How long a page that has lost its connection may come back to its work [s].
KEPT_SECONDS = 120.0
#: How long a page may stay open, connected or asleep, and still be known [s].
SESSION_SECONDS = 30 * 24 * 3600
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class View(Protocol):
    """One page: what it shows, and how its work ends."""

    def panel(self) -> Any:
        """Return what Panel shows."""

    def close(self) -> None:
        """Cancel the work of the page; it is gone for good."""


class Served:
    """A running server.

    Attributes
    ----------
    url : str
        With the token.
    port : int
    """

    def __init__(self, views: _Views, address: str, token: str | None) -> None:
        self._views, self._address, self._token = views, address, token
        self._ready = threading.Event()
        self._stopping = False
        self._failed: BaseException | None = None
        self.port, self.url = 0, ""

    def opening_url(self) -> str:
        """Return an address that opens the page once."""
        return f"{self._base}?token={self._guard.ticket()}"

    def stop(self) -> None:
        """End the server and the work of all its pages."""
        if not self._stopping:
            self._stopping = True
            self._loop.add_callback(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_in_thread(self, port: int) -> None:
        """Run in a thread of its own; return when the server listens."""
        self._thread = threading.Thread(
            target=self.run, args=(port,), name="eds_xr app", daemon=True
        )
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed

    def run(self, port: int, once_listening: Callable[[], None] = lambda: None) -> None:
        """Run until stopped or interrupted, then end all work."""
        import asyncio

        from tornado.ioloop import IOLoop

        self._thread = threading.current_thread()
        own = asyncio.new_event_loop()
        asyncio.set_event_loop(own)
        self._loop = IOLoop.current()
        server = None
        try:
            server = self._listen(port)
            self._ready.set()
            once_listening()
            self._loop.start()
        except (EdsError, OSError) as error:
            self._failed = error
            if self._thread is threading.main_thread():
                raise
        finally:
            self._stopping = True
            self._views.close()
            if server is not None:
                _end(server, own)
            asyncio.set_event_loop(None)
            own.close()
            self._ready.set()

    def _listen(self, port: int) -> Any:
        from panel.io.server import get_server

        from eds_xr.app.serving.guard import Guard

        _check_port(self._address, port)
        with _signals_kept():
            server = get_server(
                {"/": self._views.page},
                port=port,
                address=self._address,
                title=self._views.title,
                session_token_expiration=SESSION_SECONDS,
                unused_session_lifetime_milliseconds=int(KEPT_SECONDS * 1000),
                check_unused_sessions_milliseconds=2000,
                websocket_max_message_size=MOST_BYTES,
                http_server_kwargs={"max_body_size": 2**16, "max_buffer_size": 2 * MOST_BYTES},
                include_headers=["Host"],
                include_cookies=[],
            )
        tornado, self.port = server._tornado, server.port or 0
        names = _names_of(self._address)
        # Bokeh compares Origins with these names; the guard compares them with the Host, too.
        tornado.websocket_origins.clear()
        tornado.websocket_origins.update(names)
        self._guard = Guard(tornado, names, f"eds_xr_{self.port}", self._token)
        server._http.request_callback = self._guard
        self._base = f"http://{_shown_name(self._address)}:{self.port}/"
        self.url = f"{self._base}?token={self._guard.token}"
        server.start()
        return server


def serve(
    make_view: Callable[[], View],
    *,
    port: int = 0,
    address: str = "127.0.0.1",
    show: bool = True,
    block: bool = True,
    token: str | None = None,
    title: str = "eds_xr",
) -> Served:
    """Serve an app, and open it in the browser.

    Computes: whatever the app does; the server runs in this process.

    Parameters
    ----------
    make_view : callable
        Makes the page of each tab that opens: an object with ``panel()`` and ``close()``.
        ``close()`` is called once, when the tab has been away for two minutes or the server ends.
    port : int
        0 takes a free one.
    address : str
        Of the network interface. Others than this machine's own are warned of.
    show : bool
        Open the browser.
    block : bool
        Return when the server ends (Ctrl-C); or at once, with the server in a thread.
    token : str, optional
        The secret of this launch; a random one by default.
    title : str
        Of the tab.

    Returns
    -------
    Served
        With its address, `url`; `stop()` ends it.
    """
    need_panel()
    if address not in LOOPBACK:
        warn(
            f"the app listens on {address}: who reads the network reads what is sent, the token "
            "included. Safer is an SSH tunnel: ssh -L PORT:127.0.0.1:PORT this-machine"
        )
    served = Served(_Views(make_view, title), address, token)

    def listening() -> None:
        say(f"{title}: {served.url}\n(Ctrl-C ends it)")
        if show:
            _open_browser(served.opening_url())

    if not block:
        served.start_in_thread(port)
        if show:
            _open_browser(served.opening_url())
        return served
    with suppress(KeyboardInterrupt):
        served.run(port, listening)
    return served


class _Views:
    """The pages that are open; each is closed once."""

    def __init__(self, make_view: Callable[[], View], title: str) -> None:
        self.make_view, self.title = make_view, title
        self.open: list[View] = []

    def page(self) -> None:
        import panel as pn
        from panel.io.resources import LOCAL_DIST, patch_model_css

        document = pn.state.curdoc
        assert document is not None
        document.title = self.title
        document.template, variables = page_template()
        # where style sheets lie is known to pages of HTML only, not to one that comes by its socket
        document.template_variables.update(variables, dist_url=LOCAL_DIST)
        # the page's own script reconnects, see connection.js
        document.config.update(reconnect_session=False, notify_connection_status=False)
        try:
            view = self.make_view()
        except EdsError as error:
            shown: Any = pn.pane.Str(str(error))
        else:
            self.open.append(view)
            pn.state.on_session_destroyed(lambda _: self.close_one(view))
            shown = pn.panel(view.panel())
        shown.server_doc(document, title=self.title, location=False)
        for root in document.roots:
            # Panel does this for pages of HTML only, not for one that comes back by its socket
            patch_model_css(root, dist_url=LOCAL_DIST)

    def close_one(self, view: View) -> None:
        if view in self.open:
            self.open.remove(view)
            view.close()

    def close(self) -> None:
        for view in list(self.open):
            self.close_one(view)


def _end(server: Any, loop: Any) -> None:
    """Close sockets and connections, and cancel what the loop still has to do."""
    import asyncio

    from panel.io.state import state

    with suppress(Exception):  # a page that is half open has no session yet
        server.stop(wait=False)
    for key in [k for k, (one, *_) in state._servers.items() if one is server]:
        del state._servers[key]
    with suppress(RuntimeError):
        loop.run_until_complete(server._http.close_all_connections())
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())


def _check_port(address: str, port: int) -> None:
    """Raise if the port is taken. Tornado would leave its socket open."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((address, port))
        except OSError as error:
            raise EdsError(
                f"cannot listen on {address}, port {port}: {error.strerror or error}; choose "
                "another --address, or --port (0 takes a free one)"
            ) from None


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Undo that Panel takes Ctrl-C for itself, for ever."""
    import signal

    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    yield
    if main:
        signal.signal(signal.SIGINT, before)


def _names_of(address: str) -> list[str]:
    """Return the names by which a server on an address may be asked."""
    if address in LOOPBACK:
        return list(LOOPBACK)
    names = {address, socket.gethostname().lower(), socket.getfqdn().lower(), *LOOPBACK}
    if _is_any(address):
        import psutil

        every = [one for list_ in psutil.net_if_addrs().values() for one in list_]
        names |= {a.address.split("%")[0] for a in every if a.family in _INTERNET}
    return sorted(names)


_INTERNET = (socket.AF_INET, socket.AF_INET6)


def _is_any(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return address == ""


def _shown_name(address: str) -> str:
    if _is_any(address):
        return socket.gethostname()
    return f"[{address}]" if ":" in address else address


def _open_browser(url: str) -> None:
    """Open a page where there is a browser; the address is printed anyway."""
    import webbrowser

    with suppress(webbrowser.Error):
        webbrowser.open(url)
