"""Texts in HDF5 files, read past HDF5: what HDF5 writes is found, damage is refused."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr.readers.guards.hdf5_text import read_text
from eds_xr.schema import EdsError

TEXT = h5py.string_dtype()


def written(path: Path, texts: list[str], **options: Any) -> Path:
    with h5py.File(path, "w", **options) as file:
        for i, text in enumerate(texts):
            file.create_dataset(f"t{i}", data=[text], dtype=TEXT)
    return path


def texts_in(path: Path) -> list[str]:
    with h5py.File(path) as file:
        return [read_text(path, file[f"t{i}"]).decode(errors="replace") for i in range(len(file))]


@settings(max_examples=30)
@given(texts=st.lists(st.text(st.characters(min_codepoint=1, codec="utf-8")), max_size=40))
def test_read_text__what_hdf5_writes(tmp_path_factory: Any, texts: list[str]) -> None:
    texts = [text or "-" for text in texts]  # HDF5 keeps empty texts in no heap
    assert texts_in(written(tmp_path_factory.mktemp("text") / "a.h5", texts)) == texts


@pytest.mark.parametrize("options", [{"userblock_size": 512}, {"libver": "latest"}])
def test_read_text__other_forms_of_files(tmp_path: Path, options: dict) -> None:
    texts = ["one", "x" * 100_000, "three"]
    assert texts_in(written(tmp_path / "a.h5", texts, **options)) == texts


@pytest.mark.parametrize("userblock", [0, 512])
def test_read_text__chunked_and_of_fixed_length(tmp_path: Path, userblock: int) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file.create_dataset("t0", (1,), TEXT, chunks=(1,), maxshape=(None,))[0] = "chunked"
        file["t1"] = np.array([b"fixed"])
    assert texts_in(path) == ["chunked", "fixed"]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.zeros(1), {}, "/t0 is no text, but float64 of shape"),
        (np.array(["a", "b"], object), {"dtype": TEXT}, r"of shape \(2,\)"),
        (["a"], {"dtype": TEXT, "chunks": (1,), "compression": "gzip"}, "a form that is not known"),
        (["x" * 5_000_000], {"dtype": TEXT}, "damaged, or larger than 4194304"),
    ],
)
def test_read_text__refused(tmp_path: Path, values: Any, options: dict, message: str) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("t0", data=values, **options)
    with pytest.raises(EdsError, match=message):
        texts_in(path)


def test_read_text__damaged_heaps_are_refused_at_once(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", ["one", "two"])
    content = path.read_bytes()
    at = content.index(b"GCOL")
    outcomes = set()
    for seed in range(80):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        place = at + rng.integers(0, 64)
        damaged[place : place + 8] = bytes(rng.choice([0, 255], 8).astype(np.uint8))
        path.write_bytes(damaged)
        try:
            outcomes.add("read" if len(texts_in(path)) == 2 else "lost")
        except EdsError as error:
            outcomes.add("refused" if "t0" in str(error) or "t1" in str(error) else str(error))
    assert outcomes == {"read", "refused"}
