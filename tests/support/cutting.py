"""A road between browser and server that breaks off in the middle of a message."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

BINARY = 2


class CuttingProxy:
    """Passes all bytes on; once told so, it cuts a connection within a frame of a websocket.

    Attributes
    ----------
    port : int
    cuts : int
        How often it has cut.
    """

    def __init__(self, port: int) -> None:
        self.to, self.port, self.cuts = port, 0, 0
        self.loop = asyncio.new_event_loop()
        self._within: tuple[int, bool] | None = None
        self._refused = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> CuttingProxy:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def cut_within(self, n_bytes: int, *, binary: bool = True) -> None:
        """Cut the next frame from the server that is longer than `n_bytes`, after so many."""
        self._within = (n_bytes, binary)

    def refuse(self, times: int) -> None:
        """Close the next websockets as soon as they are open."""
        self._refused = times

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:  # no server: as if nobody listened
            writer.close()
            return
        both = [
            asyncio.ensure_future(self._up(reader, back)),
            asyncio.ensure_future(self._down(there, writer)),
        ]
        with suppress(asyncio.CancelledError):  # the proxy ends
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        for one in (back, writer):
            one.close()
        await asyncio.gather(*both, return_exceptions=True)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        if b" 101 " not in head.split(b"\r\n")[0]:
            await self._up(reader, writer)
            return
        if self._refused:
            self._refused -= 1
            return
        while True:
            start = await reader.readexactly(2)
            more = {126: 2, 127: 8}.get(start[1] & 127, 0)
            size = await reader.readexactly(more)
            length = int.from_bytes(size, "big") if more else start[1] & 127
            stop = self._stops(start[0] & 15, length)
            writer.write(start + size)
            left = length if stop is None else stop
            while left:
                data = await reader.read(min(left, 2**16))
                if not data:
                    return
                writer.write(data)
                await writer.drain()
                left -= len(data)
            await writer.drain()
            if stop is not None:
                self.cuts += 1
                return

    def _stops(self, kind: int, length: int) -> int | None:
        """Return after how many bytes a frame is cut, if it is."""
        if self._within is None:
            return None
        n_bytes, binary = self._within
        if length <= n_bytes or (binary and kind != BINARY):
            return None
        self._within = None
        return n_bytes


def through(url: str, proxy: Any) -> str:
    """Return the address of a page by way of a proxy."""
    return url.replace(f":{proxy.to}/", f":{proxy.port}/")
