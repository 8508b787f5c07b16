"""Who may ask the server: the host's own names, one token per launch, pages of this server only.

A page of another site reaches a server on this machine by a name of its own that it points to
127.0.0.1 (DNS rebinding). Tornado lets it open a websocket, as its ``Origin`` equals its ``Host``.
So each request must name a host that is ours. The port is not compared: an SSH tunnel has another.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import Router
from tornado.web import Application, OutputTransform, RequestHandler

#: What a page may load: nothing from another host. Bokeh and Panel need code in the page.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' blob:{sockets}; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard(Router):
    """What stands between the socket and all routes of an application, websockets included.

    Parameters
    ----------
    application : Application
    names : iterable of str
        Of the host, without ports.
    cookie : str
        The name under which the browser keeps the token.
    token : str, optional
        A new one by default.
    """

    def __init__(
        self, application: Application, names: Iterable[str], cookie: str, token: str | None = None
    ) -> None:
        self.application, self.names, self.cookie = application, set(names), cookie
        self.token = token or secrets.token_urlsafe(32)
        self._tickets: set[str] = set()
        application.add_transform(_Headers)

    def ticket(self) -> str:
        """Return what opens the page once: other users see the arguments of a browser's process."""
        ticket = secrets.token_urlsafe(32)
        self._tickets.add(ticket)
        return ticket

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate | None:
        """Return the application's own handler, or the one that refuses."""
        reason = self._refusal(request)
        if reason:
            return self._hand(request, _Refuse, reason=reason)
        given = request.query_arguments.get("token", [b""])[-1].decode("utf-8", "replace")
        if given:
            if self._opens(given):
                return self._hand(request, _Admit, cookie=self.cookie, token=self.token)
            return self._hand(request, _Refuse, reason="the token in the address is not this one's")
        kept = request.cookies.get(self.cookie)
        if kept is None or not _same(kept.value, self.token):
            return self._hand(request, _Refuse, reason="no token")
        return self.application.find_handler(request, **kwargs)

    def _hand(
        self, request: HTTPServerRequest, handler: type[RequestHandler], **kwargs: str
    ) -> HTTPMessageDelegate:
        return self.application.get_handler_delegate(request, handler, kwargs)

    def _refusal(self, request: HTTPServerRequest) -> str:
        """Return why a request is refused before its token is looked at, if it is."""
        hosts = request.headers.get_list("Host")
        if len(hosts) != 1 or _host_name(hosts[0]) not in self.names:
            return "the Host is not this server"
        origins = request.headers.get_list("Origin")
        own = {f"{scheme}://{hosts[0]}".lower() for scheme in ("http", "https")}
        if any(origin.lower() not in own for origin in origins):
            return "the Origin is another site"
        if request.headers.get("Upgrade", "").lower() == "websocket" and not origins:
            return "a websocket without Origin"
        if request.method not in ("GET", "HEAD"):
            return "only GET is served"
        return ""

    def _opens(self, given: str) -> bool:
        """Return whether a token of an address is right; a ticket is right once."""
        used = [ticket for ticket in self._tickets if _same(given, ticket)]
        self._tickets.difference_update(used)
        return bool(used) or _same(given, self.token)


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


class _Unlogged(RequestHandler):
    """A handler whose requests stand in no log: their addresses bear tokens."""

    def _log(self) -> None:
        pass


class _Refuse(_Unlogged):
    def initialize(self, reason: str) -> None:
        self.reason = reason

    def prepare(self) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(
            f"403: {self.reason}.\nOpen the whole address that eds-xr has printed, "
            "with its token.\n"
        )


class _Admit(_Unlogged):
    """Keep the token in the browser, and lead to the same address without it."""

    def initialize(self, cookie: str, token: str) -> None:
        self.cookie, self.token = cookie, token

    def get(self, *_: str) -> None:
        # Lax: with Strict a browser that is led here by a link would not send it on
        self.set_cookie(self.cookie, self.token, httponly=True, samesite="Lax", path="/")
        self.set_header("Cache-Control", "no-store")
        path = re.sub(r"^/+", "/", self.request.path)  # //other.site would lead there
        self.redirect(path)


class _Headers(OutputTransform):
    """Headers of all answers: nothing is loaded from, framed by or told to other sites."""

    def __init__(self, request: HTTPServerRequest) -> None:
        host = request.host
        sockets = "" if re.search(r"[\s;,]", host) else f" ws://{host} wss://{host}"
        self.policy = POLICY.format(sockets=sockets)

    def transform_first_chunk(
        self, status_code: int, headers: Any, chunk: bytes, finishing: bool
    ) -> tuple[int, Any, bytes]:
        headers["Content-Security-Policy"] = self.policy
        for name, value in HEADERS.items():
            headers[name] = value
        return status_code, headers, chunk
