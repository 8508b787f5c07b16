import asyncio
import http.client
import re
from http.cookies import SimpleCookie
from typing import Any

import pytest

pytest.importorskip("panel", reason="the extra 'label' is not installed")

from tornado.httpclient import HTTPClientError, HTTPRequest  # noqa: E402
from tornado.websocket import websocket_connect  # noqa: E402

from eds_xr.app.serving.server import Served  # noqa: E402

#: A page, its data, a file of Bokeh's, one of Panel's, what names a Python module, and none at all.
ROUTES = (
    "/",
    "/ws",
    "/autoload.js",
    "/metadata",
    "/static/js/bokeh.min.js",
    "/static/extensions/panel/panel.min.js",
    "/components/panel.io.server/Server/_resources",
    "/favicon.ico",
    "/nowhere",
)


def ask(served: Served, path: str, *, method: str = "GET", **headers: str) -> Any:
    """Send one raw request; headers as given, Host included."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    headers = {"Host": f"127.0.0.1:{served.port}"} | headers
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer


def admitted(served: Served) -> str:
    """Return the cookie of a browser that came with the token."""
    answer = ask(served, served.url.partition(str(served.port))[2])
    assert answer.status == 302
    (morsel,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
    return f"{morsel.key}={morsel.value}"


@pytest.mark.parametrize("path", ROUTES)
def test_guard__without_token_nothing_is_served(served: Served, path: str) -> None:
    answer = ask(served, path)
    assert answer.status == 403
    assert "no token" in answer.text


@pytest.mark.parametrize("path", ROUTES)
def test_guard__another_host_is_refused_even_with_the_token(served: Served, path: str) -> None:
    cookie = admitted(served)
    for host in (f"evil.example:{served.port}", "127.0.0.1.evil.example", "[::2]", "evil", ""):
        answer = ask(served, path, Host=host, Cookie=cookie)
        assert (answer.status, "Host" in answer.text) == (403, True), host


@pytest.mark.parametrize("path", ROUTES)
def test_guard__another_origin_is_refused_even_with_the_token(served: Served, path: str) -> None:
    cookie = admitted(served)
    others = ("http://evil.example", f"http://127.0.0.1:{served.port + 1}", "null", "file://")
    for origin in others:
        answer = ask(served, path, Cookie=cookie, Origin=origin)
        assert (answer.status, "Origin" in answer.text) == (403, True), origin


def test_guard__rebinding_where_origin_equals_host(served: Served) -> None:
    """The case that Tornado's own check lets pass."""
    name = f"evil.example:{served.port}"
    answer = ask(
        served, "/ws", Host=name, Origin=f"http://{name}", Cookie=admitted(served),
        Upgrade="websocket", Connection="Upgrade",
    )  # fmt: skip
    assert answer.status == 403


def test_guard__the_token_is_kept_and_leaves_the_address(served: Served) -> None:
    token = served.url.partition("token=")[2]
    assert len(token) >= 32
    answer = ask(served, f"/?token={token}")
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    said = answer.headers["Set-Cookie"]
    assert "HttpOnly" in said
    assert "SameSite=Lax" in said
    page = ask(served, "/", Cookie=admitted(served))
    assert page.status == 200
    assert token not in page.text  # a script of the page cannot read it


@pytest.mark.parametrize("path", [r for r in ROUTES if "static" in r or r == "/metadata"])
def test_guard__with_the_token_everything_is_served(served: Served, path: str) -> None:
    assert ask(served, path, Cookie=admitted(served)).status == 200


@pytest.mark.parametrize("token", ["wrong", "%ff", "%00", "%C3%A9"])
def test_guard__a_wrong_token_is_refused(served: Served, token: str) -> None:
    assert ask(served, f"/?token={token}").status == 403
    assert ask(served, "/", Cookie=f"eds_xr_{served.port}={token}").status == 403


def test_guard__a_wrong_token_in_the_address_of_an_admitted_browser(served: Served) -> None:
    assert ask(served, "/?token=wrong", Cookie=admitted(served)).status == 403


def test_guard__a_ticket_opens_once(served: Served) -> None:
    path = served.opening_url().partition(str(served.port))[2]
    assert ask(served, path).status == 302
    assert ask(served, path).status == 403


def test_guard__leads_nowhere_else(served: Served) -> None:
    token = served.url.partition("token=")[2]
    answer = ask(served, f"//evil.example/?token={token}")
    assert not answer.headers.get("Location", "/").startswith(("//", "http"))


def test_guard__two_hosts_are_refused(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.putrequest("GET", "/", skip_host=True)
    connection.putheader("Host", "evil.example")
    connection.putheader("Host", "127.0.0.1")
    connection.putheader("Cookie", admitted(served))
    connection.endheaders()
    assert connection.getresponse().status in (400, 403)
    connection.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_guard__only_get_is_served(served: Served, method: str) -> None:
    answer = ask(served, "/", method=method, Cookie=admitted(served), Content_Length="0")
    assert answer.status == 403


def test_guard__a_page_may_load_from_its_own_server_only(served: Served) -> None:
    answer = ask(served, "/", Cookie=admitted(served))
    policy = answer.headers["Content-Security-Policy"]
    assert not re.search(r"\*|https?:", policy)
    assert f"connect-src 'self' blob: ws://127.0.0.1:{served.port} " in policy
    assert "frame-ancestors 'none'" in policy
    refused = ask(served, "/")
    assert refused.headers["X-Content-Type-Options"] == "nosniff"


def test_guard__logs_no_token(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    token = served.url.partition("token=")[2]
    with caplog.at_level("DEBUG"):
        ask(served, f"/?token={token}")
        ask(served, f"/?token={token}x")
        ask(served, "/", Cookie=admitted(served))
    assert token not in caplog.text


def open_socket(served: Served, **headers: str) -> int:
    """Return the status with which a websocket's handshake ends."""

    async def connect() -> int:
        request = HTTPRequest(
            f"ws://127.0.0.1:{served.port}/ws", headers=headers, request_timeout=60
        )
        try:
            connection = await websocket_connect(request, subprotocols=["bokeh", "no-token"])
        except HTTPClientError as error:
            return int(error.code)
        connection.close()
        while await connection.read_message() is not None:
            pass
        return 101

    return asyncio.run(connect())


def test_guard__websockets(served: Served) -> None:
    cookie, own = admitted(served), f"http://127.0.0.1:{served.port}"
    assert open_socket(served, Cookie=cookie, Origin=own) == 101
    assert open_socket(served, Origin=own) == 403
    assert open_socket(served, Cookie=cookie) == 403
    assert open_socket(served, Cookie=cookie, Origin="http://evil.example") == 403
    evil = f"evil.example:{served.port}"
    assert open_socket(served, Cookie=cookie, Origin=f"http://{evil}", Host=evil) == 403


def test_guard__a_tunnel_has_another_port(served: Served) -> None:
    cookie, tunnel = admitted(served), "localhost:8765"
    assert ask(served, "/", Host=tunnel, Cookie=cookie).status == 200
    headers = {"Host": tunnel, "Origin": f"http://{tunnel}", "Cookie": cookie}
    assert open_socket(served, **headers) == 101
