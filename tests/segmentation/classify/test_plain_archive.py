"""Tests of files of plain values."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from eds_xr.schema import EdsError
from eds_xr.segmentation.classify import plain_archive as module
from eds_xr.segmentation.classify.plain_archive import bytes_of, is_archive, packed, unpacked

HEADER = {"kind": "thing", "form": 2, "text": "Fe 7 %, \u03b1"}


def zipped(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def saved(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def test_packed__comes_back_the_same() -> None:
    arrays = {
        "a/b": np.arange(6, dtype=np.int32).reshape(2, 3).T,
        "big-endian": np.arange(3, dtype=">f4"),
        "bits": np.array([True, False]),
        "empty": np.empty((0, 2)),
    }
    content = packed(HEADER, arrays, {"inner.bin": b"\x00\x01"})
    found = unpacked(content, kind="thing", form=2)
    assert found.header == HEADER
    assert found.files == {"inner.bin": b"\x00\x01"}
    assert list(found.arrays) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    assert {str(a.dtype) for a in found.arrays.values()} == {"int32", "float64", "uint8"}
    assert content == packed(HEADER, arrays, {"inner.bin": b"\x00\x01"})
    assert is_archive(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is damaged, or no thing"),
        (b"PK\x03\x04 no zip", "it is damaged, or no thing"),
        (packed(HEADER | {"kind": "other"}, {}), "it is a other, expected a thing"),
        (packed(HEADER | {"form": 3}, {}), "it is of form 3, expected 2: update eds_xr"),
        (packed({"kind": "thing", "form": True}, {}), "names no form"),
        (zipped({"other.json": b"{}"}), "it has no header"),
        (zipped({module.HEADER: b"[1]"}), "it is a file, expected a thing"),
        (zipped({module.HEADER: b"[" * 10**6}), "it is damaged"),
        (zipped({module.HEADER: b"not json"}), "it is damaged"),
    ],
)
def test_unpacked__refuses(content: bytes, message: str) -> None:
    with pytest.raises(EdsError, match=message):
        unpacked(content, kind="thing", form=2)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{"a": print}], object),
        np.array(["text"]),
        np.zeros(2, [("a", "i4")]),
        np.zeros(2, complex),
        np.asfortranarray(np.zeros((2, 2))),
    ],
    ids=["object", "text", "record", "complex", "fortran"],
)
def test_unpacked__refuses_other_arrays(array: np.ndarray) -> None:
    content = zipped({module.HEADER: json.dumps(HEADER).encode(), "a.npy": saved(array)})
    with pytest.raises(EdsError, match="it is damaged"):
        unpacked(content, kind="thing", form=2)


def test_unpacked__refuses_what_unpacks_to_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    header = json.dumps(HEADER).encode()
    monkeypatch.setattr(module, "MAX_BYTES", 2**20)
    bomb = zipped({module.HEADER: header, "zeros.bin": bytes(2**21)})
    assert len(bomb) < 2**14
    with pytest.raises(EdsError, match="in 2 parts: too large"):
        unpacked(bomb, kind="thing", form=2)
    monkeypatch.setattr(module, "MAX_HEADER_BYTES", 10)
    with pytest.raises(EdsError, match="its header is too large"):
        unpacked(zipped({module.HEADER: header}), kind="thing", form=2)
    monkeypatch.setattr(module, "MAX_MEMBERS", 3)
    with pytest.raises(EdsError, match="in 4 parts: too large"):
        unpacked(packed(HEADER, {n: np.zeros(1) for n in "abc"}), kind="thing", form=2)


def test_unpacked__refuses_a_size_that_is_none() -> None:
    """A member that unpacks to more than its entry says is cut there, and found damaged."""
    content = bytearray(zipped({module.HEADER: json.dumps(HEADER).encode()}))
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (5).to_bytes(4, "little")
    with pytest.raises(EdsError, match="it is damaged"):
        unpacked(bytes(content), kind="thing", form=2)


def test_bytes_of__is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.edsx"
    path.write_bytes(bytes(100))
    assert bytes_of(path, "thing") == bytes(100)
    monkeypatch.setattr(module, "MAX_BYTES", 99)
    with pytest.raises(EdsError, match="is larger than any thing"):
        bytes_of(path, "thing")
    with pytest.raises(EdsError, match="no thing can be read from .*none.edsx"):
        bytes_of(tmp_path / "none.edsx", "thing")
