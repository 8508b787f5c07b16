import asyncio
import json
import re
import socket
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("panel", reason="the extra 'label' is not installed")

from tornado.httpclient import HTTPRequest  # noqa: E402
from tornado.websocket import websocket_connect  # noqa: E402

from eds_xr.app.serving import server as serving  # noqa: E402
from eds_xr.app.serving.server import Served, serve  # noqa: E402
from eds_xr.schema import EdsError  # noqa: E402

from .test_guard import admitted, ask  # noqa: E402


def until(what: Callable[[], Any]) -> None:
    """Wait for something; the suite's own limit ends what never comes."""
    while not what():
        time.sleep(0.02)


def session_of(served: Served) -> list[str]:
    """Open the page as a browser does; return the subprotocols that its websocket names."""
    page = ask(served, "/", Cookie=admitted(served)).text
    found = re.search(r'"token":"([^"]+)"', page)
    assert found is not None
    return ["bokeh", found.group(1)]


async def connected(served: Served, protocols: list[str]) -> Any:
    own = f"http://127.0.0.1:{served.port}"
    headers = {"Cookie": admitted(served), "Origin": own}
    request = HTTPRequest(f"ws://127.0.0.1:{served.port}/ws", headers=headers)
    socket = await websocket_connect(request, subprotocols=protocols)
    header, _, content = [await socket.read_message() for _ in range(3)]
    assert json.loads(header)["msgtype"] == "ACK", content
    return socket


async def left(connection: Any) -> None:
    """Leave a page, and wait until the server knows."""
    connection.close()
    while await connection.read_message() is not None:
        pass


def test_serve__listens_on_loopback_only(served: Served) -> None:
    assert served.url.startswith("http://127.0.0.1:")
    others = {a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {
        "127.0.0.1"
    }
    for address in others:
        if not address.startswith("127."):
            with pytest.raises(OSError):  # noqa: PT011  (refused or unreachable, by the system)
                socket.create_connection((address, served.port), timeout=5)


def test_serve__a_token_of_its_own_each_launch(text: Any) -> None:
    urls = []
    for _ in range(2):
        with serve(text, show=False, block=False) as one:
            urls.append(one.url)
    assert len({url.partition("token=")[2] for url in urls}) == 2


def test_serve__another_address_warns(text: Any) -> None:
    with pytest.warns(UserWarning, match="ssh -L"):
        running = serve(text, address="0.0.0.0", show=False, block=False)
    with running:
        assert ask(running, "/", Host="evil.example").status == 403
        assert ask(running, "/", Host=socket.gethostname()).text.startswith("403: no token")


def test_serve__the_default_does_not_warn(text: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        serve(text, show=False, block=False).stop()


def test_serve__a_port_that_is_taken(text: Any, served: Served) -> None:
    with pytest.raises(EdsError, match="0 takes a free one"):
        serve(text, port=served.port, show=False, block=False)


def test_serve__without_the_extra(text: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eds_xr.app.serving.extra.find_spec", lambda _: None)
    with pytest.raises(EdsError, match=r"pip install 'eds-xr\[label\]'"):
        serve(text, show=False, block=False)


def test_serve__a_message_beyond_the_limit_ends_the_connection(
    text: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MOST_BYTES", 2**20)

    async def send(running: Served, size: int) -> int | None:
        connection = await connected(running, session_of(running))
        stream = connection.protocol.stream
        await connection.write_message(b"x" * size, binary=True)
        assert await connection.read_message() is None  # closed
        connection.close()
        stream.close()
        return connection.close_code

    with serve(text, show=False, block=False) as running:
        assert asyncio.run(send(running, 2**20 + 1)) in (1009, None)
        assert ask(running, "/", Cookie=admitted(running)).status == 200  # and goes on


def test_serve__a_body_beyond_the_limit_is_refused(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as raw:
        raw.sendall(
            f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
            f"Cookie: {admitted(served)}\r\nContent-Length: {10**9}\r\n\r\n".encode()
        )
        assert b" 200 " not in raw.recv(1000)


def test_serve__a_page_that_comes_back_finds_its_work(served: Served, text: Any) -> None:
    async def twice() -> None:
        protocols = session_of(served)
        for _ in range(2):
            await left(await connected(served, protocols))

    asyncio.run(twice())
    assert (text.opened, text.closed) == (1, 0)


@pytest.mark.slow
def test_serve__a_page_that_is_gone_is_closed(text: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "KEPT_SECONDS", 0.01)

    async def once(running: Served) -> None:
        await left(await connected(running, session_of(running)))

    with serve(text, show=False, block=False) as running:
        asyncio.run(once(running))
        until(lambda: text.closed)
    assert (text.opened, text.closed) == (1, 1)


def test_serve__its_end_closes_all_pages(text: Any) -> None:
    with serve(text, show=False, block=False) as running:
        for _ in range(3):
            session_of(running)
        assert (text.opened, text.closed) == (3, 0)
    assert text.closed == 3
