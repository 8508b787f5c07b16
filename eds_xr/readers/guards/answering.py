"""Zarr stores behind a network that never make one wait for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from zarr.storage import FsspecStore, WrapperStore

from eds_xr.readers.guards.timeouts import storage_timeout, unanswered

T = TypeVar("T")


def remote_store(url: str, *, read_only: bool) -> Answering:
    """Return the Zarr store at a URL; a request that is not answered is a TimeoutError."""
    return Answering(FsspecStore.from_url(url, read_only=read_only), storage_timeout())


class Answering(WrapperStore[Any]):
    """A store that gives up a request after some seconds."""

    def __init__(self, store: Any, seconds: float) -> None:
        super().__init__(store)
        self.seconds = seconds

    def _with_store(self, store: Any) -> Answering:
        return Answering(store, self.seconds)

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Return a content."""
        return await self._in_time(key, self._store.get(key, *args, **kwargs))

    async def exists(self, key: str) -> bool:
        """Return whether there is a content."""
        return await self._in_time(key, self._store.exists(key))

    async def set(self, key: str, value: Any) -> None:
        """Write a content."""
        await self._in_time(key, self._store.set(key, value))

    async def delete(self, key: str) -> None:
        """Remove a content."""
        await self._in_time(key, self._store.delete(key))

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield what stands in a group."""
        names = aiter(self._store.list_dir(prefix))
        while (name := await self._in_time(prefix, anext(names, None))) is not None:
            yield name

    async def _in_time(self, key: str, answer: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(answer, self.seconds)
        except TimeoutError as error:
            raise TimeoutError(str(error) or unanswered(self.seconds, key)) from error
