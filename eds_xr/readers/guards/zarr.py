"""Zarr stores of others: what is read lies in the store, and is decoded as numbers or text.

Some codecs run code when they decode (a pickle does), and a link in a folder can lead to any file
of this computer. Both are refused before anything of them is read or decoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore, WrapperStore

from eds_xr.places import inside, local_or_url
from eds_xr.readers.guards.answering import remote_store
from eds_xr.schema import EdsError

COMPRESSORS = {None, "blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"}
NUMBER_FILTERS = {"delta", "shuffle"}
TEXT_FILTERS = ["vlen-utf8"]
#: Those above, and what only zarr itself decodes.
_SAFE = {
    *COMPRESSORS, *NUMBER_FILTERS, *TEXT_FILTERS, "adler32", "astype", "bitround", "bytes", "crc32",
    "crc32c", "endian", "fixedscaleoffset", "fletcher32", "json2", "packbits", "quantize",
    "sharding_indexed", "transpose", "vlen-bytes",
}  # fmt: skip
_DOCUMENTS = {"zarr.json", ".zarray", ".zmetadata"}


def guarded(where: Path | str) -> Any:
    """Return the store of a folder or URL, of which only what is safe can be read."""
    place = local_or_url(where)
    if isinstance(place, Path):
        return Guarded(LocalStore(place, read_only=True))
    return Guarded(remote_store(place, read_only=True))


class Guarded(WrapperStore[Any]):
    """A store that gives no content of elsewhere, and no metadata with a codec that is unsafe."""

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Return a content, checked."""
        if isinstance(self._store, LocalStore):
            inside(self._store.root, key)
        value = await super().get(key, *args, **kwargs)
        if value is not None and key.rsplit("/", 1)[-1] in _DOCUMENTS:
            _check_codecs(key, value.to_bytes())
        return value

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[Any]) -> list[Any]:
        """Return parts of contents, checked."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]


def _check_codecs(key: str, content: bytes) -> None:
    try:
        unsafe = sorted({str(name) for name in _codecs(json.loads(content))} - set(map(str, _SAFE)))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise EdsError(f"{key} is no description of Zarr: {error}; it may be damaged") from error
    if unsafe:
        raise EdsError(
            f"{key} names the codec {', '.join(unsafe)}, expected one of numbers or text: others "
            "are never decoded, as some of them (pickle) can run a program; write the array "
            "again, as plain numbers, in the program that made it"
        )


def _codecs(said: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the names of all codecs of a document of Zarr 2 or 3, those of other nodes too."""
    consolidated = said.get("consolidated_metadata") or {}
    for nodes in (said.get("metadata") or {}, consolidated.get("metadata") or {}):
        for node in nodes.values():
            yield from _codecs(node)
    for old in [said.get("compressor"), *(said.get("filters") or [])]:
        yield (old or {}).get("id")
    for new in said.get("codecs") or []:
        if isinstance(new, str):
            new = {"name": new}
        yield str(new["name"]).removeprefix("numcodecs.")
        configuration = new.get("configuration") or {}
        for inner in ("codecs", "index_codecs"):  # of a shard
            yield from _codecs({"codecs": configuration.get(inner)})
