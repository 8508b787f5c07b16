"""Files of plain values: a zip of one JSON header, NumPy arrays, and files as they are.

Nothing in such a file is ever run: the header is JSON, arrays are of fixed dtypes of numbers, and
nothing is unpacked before its size is known.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eds_xr.schema import EdsError

#: A file may hold no more than this, unpacked; its header; so many arrays and files.
MAX_BYTES, MAX_HEADER_BYTES, MAX_MEMBERS = 2**30, 2**26, 10_000
HEADER = "eds_xr.json"
#: Of arrays: whole numbers and floating-point numbers, little-endian.
DTYPES = frozenset(("|u1", "<i4", "<i8", "<f8"))


class Archive(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    header : dict
        With ``kind``, what the file is, and ``form``, the version of that.
    arrays : dict of str to ndarray
    files : dict of str to bytes
        Each a file in itself.
    """

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]
    files: dict[str, bytes]


def packed(
    header: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    files: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return an archive as bytes; the same content gives the same bytes."""
    out = io.BytesIO()
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, indent=1)
    with zipfile.ZipFile(out, "w") as archive:
        _add(archive, HEADER, text.encode())
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, _plain(array), (1, 0), allow_pickle=False)
            _add(archive, f"{name}.npy", content.getvalue())
        for name, given in (files or {}).items():
            _add(archive, name, given)
    return out.getvalue()


def is_archive(content: bytes) -> bool:
    """Return whether bytes are such a file, whole or not."""
    return HEADER.encode() in content[:1024]


def unpacked(content: bytes, *, kind: str, form: int) -> Archive:
    """Return what :func:`packed` made, checked.

    Parameters
    ----------
    content : bytes
    kind : str
        What the header must say that it is.
    form : int
        The latest form that can be read.

    Raises
    ------
    EdsError
        When it is another kind of file, of a later form, too large or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_sizes(archive)
            header = json.loads(archive.read(HEADER))
            _check_header(header, kind, form)
            names = [n for n in archive.namelist() if n != HEADER]
            arrays = {
                n.removesuffix(".npy"): _array(archive.read(n)) for n in names if n.endswith(".npy")
            }
            files = {n: archive.read(n) for n in names if not n.endswith(".npy")}
    except EdsError:
        raise
    except Exception as error:  # whatever a damaged file makes of the parsers
        raise EdsError(f"it is damaged, or no {kind}: {error or type(error).__name__}") from error
    return Archive(header, arrays, files)


def bytes_of(path: str | os.PathLike[str], what: str) -> bytes:
    """Return the content of a file that is no larger than any of its kind."""
    place = Path(path).expanduser()
    try:
        if place.stat().st_size > MAX_BYTES:
            raise EdsError(f"{path} is larger than any {what}")
        return place.read_bytes()
    except OSError as error:
        raise EdsError(f"no {what} can be read from {path}: {error}") from error


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name)  # of 1980: the time is no content
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    archive.writestr(member, content, compresslevel=1)


def _plain(array: np.ndarray) -> np.ndarray:
    """Return an array in one of the dtypes of a file."""
    kinds = {"b": "u1", "u": "u1", "i": "i8", "f": "f8"}
    dtype = array.dtype.newbyteorder("<")
    known = dtype if dtype.str in DTYPES else np.dtype(f"<{kinds[array.dtype.kind]}")
    return np.ascontiguousarray(array, known)


def _check_sizes(archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    names = {member.filename for member in members}
    total = sum(member.file_size for member in members)
    if total > MAX_BYTES or len(members) > MAX_MEMBERS:
        raise EdsError(f"it unpacks to {total} bytes in {len(members)} parts: too large")
    if len(names) < len(members):
        raise EdsError("it is damaged: two of its parts have one name")
    if HEADER not in names:
        raise EdsError("it is no file of eds_xr's, it has no header")
    if archive.getinfo(HEADER).file_size > MAX_HEADER_BYTES:
        raise EdsError("it is damaged: its header is too large")


def _check_header(header: Any, kind: str, form: int) -> None:
    if not isinstance(header, dict) or header.get("kind") != kind:
        found = header.get("kind") if isinstance(header, dict) else None
        raise EdsError(f"it is a {found if isinstance(found, str) else 'file'}, expected a {kind}")
    given = header.get("form")
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise EdsError("it is damaged: its header names no form")
    if given > form:
        raise EdsError(f"it is of form {given}, expected {form}: update eds_xr")


def _array(content: bytes) -> np.ndarray:
    """Return an array of a ``.npy`` file; nothing is allocated that is not there."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise EdsError("it is damaged: an array is of another form")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    data = content[file.tell() :]
    if dtype.str not in DTYPES or fortran or any(n < 0 for n in shape):
        raise EdsError(f"it is damaged: an array of {dtype}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise EdsError("it is damaged: an array is not whole")
    return np.frombuffer(data, dtype).reshape(shape).copy()
