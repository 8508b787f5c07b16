"""Writing a store so that it can be opened only when all of it is there.

All metadata are made in memory first. What :func:`create` copies to the place of the store lacks
the document of the group itself, without which nothing can be opened; :func:`seal` writes it when
everything else is there. The document carries the SHA-256 of its own content, so that also
metadata that were damaged later are found.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.chunks import chunk_shape
from eds_xr.readers.guards.timeouts import ask
from eds_xr.schema import EdsError, check_counts_block
from eds_xr.store.retries import persistently
from eds_xr.workers import task_name

#: Group attribute: empty chunks are written too, so one that is missing was lost.
EVERY_CHUNK_WRITTEN = "every_chunk_written"
#: Group attribute: SHA-256 of the group's document without this attribute.
CHECKSUM = "metadata_sha256"
#: The document of a group.
DOCUMENT = "zarr.json"
#: Edge of the chunks of images, in pixels.
_IMAGE_EDGE = 1024


def create(groups: Mapping[str, xr.Dataset], place: str) -> dict[str, bytes]:
    """Create the arrays of a store, with the values of what is not lazy; return what seals it.

    Parameters
    ----------
    groups : mapping of str to Dataset
        Path in the store (``""`` is the root) -> what it shall hold.
    place : str
        Folder or URL.

    Returns
    -------
    dict of str to bytes
        Documents of the groups, for :func:`seal`.
    """
    import zarr
    from zarr.storage import MemoryStore

    made: dict[str, Any] = {}
    memory = MemoryStore(made)
    for path, dataset in groups.items():
        _create_group(dataset, memory, path)
    with warnings.catch_warnings():  # version 3 of the format is silent about consolidation
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        for path in sorted(groups, reverse=True):  # the root, that repeats the others, last
            zarr.consolidate_metadata(memory, path=path or None)
            document = _document(path)
            made[document] = _buffer(_with_checksum(made[document].to_bytes()))
    contents = {key: value.to_bytes() for key, value in made.items()}
    documents = {_document(path): contents.pop(_document(path)) for path in groups}
    _put(place, contents)
    return documents


def seal(place: str, documents: Mapping[str, bytes]) -> None:
    """Write the documents of a store's groups, the root's last: from now on it can be opened."""
    for key in sorted(documents, key=lambda key: (-key.count("/"), key)):
        _put(place, {key: documents[key]})


def checksum(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a group's document, without the checksum that it carries."""
    attributes = {k: v for k, v in document.get("attributes", {}).items() if k != CHECKSUM}
    text = json.dumps({**document, "attributes": attributes}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def in_background(write: Callable[..., None], items: Iterable[tuple[Any, ...]]) -> None:
    """Call ``write(*item)`` for each item, in order, while the next item is being made.

    At most two items are in memory: the one that is written and the one that is made.
    """
    with ThreadPoolExecutor(1) as pool:
        writing: Future[None] | None = None
        for item in items:
            if writing is not None:
                writing.result()
            writing = pool.submit(write, *item)
            del item  # the thread alone holds it
        if writing is not None:
            writing.result()


def open_array(place: str, name: str) -> Any:
    """Return an array of a store that is being written."""
    import zarr

    from eds_xr.readers.guards.answering import remote_store

    where = remote_store(place, read_only=False) if "://" in place else place
    with zarr.config.set({"array.write_empty_chunks": True}):  # opening ignores its own config=
        return zarr.open_array(where, path=name, mode="r+")


def disk_chunks(name: str, variable: xr.Variable) -> tuple[int, ...]:
    """Return the chunks that a variable has on disk."""
    if name == "counts":
        return chunk_shape(variable.shape, variable.dtype)
    if variable.ndim < 2:
        return variable.shape
    return tuple(min(size, _IMAGE_EDGE) for size in variable.shape)


def plain_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as Zarr can hold them; raise for one that it cannot."""
    plain = {str(k): v.item() if isinstance(v, np.generic) else v for k, v in attrs.items()}
    for name, value in plain.items():
        try:
            json.dumps(value.tolist() if isinstance(value, np.ndarray) else value)
        except TypeError as error:
            raise EdsError(
                f"attribute {name!r} cannot be written to Zarr ({error}); make it a number, "
                "a text or a list of them"
            ) from error
    return plain


def _create_group(dataset: xr.Dataset, memory: Any, path: str) -> None:
    from zarr.codecs import BloscCodec, Crc32cCodec

    # On sparse counts level 1 in blocks of 1 MiB is six times as fast as level 5, and as small.
    blosc = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", blocksize=2**20)
    compressors = [blosc, Crc32cCodec()]
    encoding = {
        name: {
            "compressors": compressors,
            "chunks": disk_chunks(str(name), variable),
            "_FillValue": None,  # every value is one, also NaN
        }
        for name, variable in dataset.variables.items()
    }
    dataset.drop_encoding().assign_attrs({EVERY_CHUNK_WRITTEN: True}).to_zarr(
        memory,
        group=path or None,
        mode="w-",
        zarr_format=3,
        consolidated=False,
        compute=False,
        encoding=encoding,
        write_empty_chunks=True,
    )


def _document(path: str) -> str:
    return f"{path}/{DOCUMENT}" if path else DOCUMENT


def _with_checksum(document: bytes) -> bytes:
    content = json.loads(document)
    content["attributes"][CHECKSUM] = checksum(content)
    return json.dumps(content, indent=2).encode()


def _buffer(content: bytes) -> Any:
    """Return bytes as what Zarr's stores hold."""
    from zarr.core.buffer import default_buffer_prototype

    return default_buffer_prototype().buffer.from_bytes(content)


def _put(place: str, contents: Mapping[str, bytes]) -> None:
    """Write files, or the objects of a URL."""
    from fsspec.core import url_to_fs

    files, root = url_to_fs(place)
    for key, content in contents.items():
        path = f"{root.rstrip('/')}/{key}"
        persistently(partial(ask, files, "makedirs", path.rpartition("/")[0], exist_ok=True))
        persistently(partial(ask, files, "pipe_file", path, content))


def may_be_negative(attrs: Mapping[Any, Any]) -> bool:
    """Return whether values below zero are right: dark-corrected energy-loss spectra have them."""
    return attrs.get("signal_type") == "EELS"


@task_name("checked counts")
def checked_block(block: np.ndarray) -> np.ndarray:
    """Return a block if it holds counts, else raise."""
    check_counts_block(block)
    return block
