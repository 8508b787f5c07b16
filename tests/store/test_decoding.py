"""Chunks decoded into their place are those that zarr decodes."""

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import blosc
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec
from zarr.storage import MemoryStore

import eds_xr
from eds_xr import EdsError
from eds_xr.store.decoding import InPlace, decoded_in_place, fill

SETTING = "codec_pipeline.path"
CHAINS = {
    "ours": [BloscCodec(cname="zstd", shuffle="bitshuffle"), Crc32cCodec()],
    "Blosc": [BloscCodec(cname="lz4", shuffle="noshuffle")],
    "Blosc, then gzip": [BloscCodec(), GzipCodec()],
    "gzip, then Blosc": [GzipCodec(), BloscCodec()],
    "none": None,
}


def opened(store: MemoryStore | Path) -> zarr.Array:
    with decoded_in_place():
        return zarr.open_array(store, mode="r")


@given(
    sides=st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=3),
    dtype=st.sampled_from(["u1", "u2", ">u2", "f4"]),
    endian=st.sampled_from(["little", "big"]),
    chain=st.sampled_from(sorted(CHAINS)),
    order=st.sampled_from("CF"),
    written=st.booleans(),
    data=st.data(),
)
def test_in_place__any_part_of_any_array_is_what_zarr_reads(
    sides, dtype, endian, chain, order, written, data
):
    shape, chunks = zip(*sides, strict=True)
    values = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    array = zarr.create_array(
        MemoryStore(), shape=shape, chunks=chunks, dtype=dtype, compressors=CHAINS[chain],
        serializer=BytesCodec(endian=endian), filters=None, fill_value=3, config={"order": order},
    )  # fmt: skip
    if written:
        array[:] = values
    numbers = [st.integers(0, n) for n in shape]
    steps = [st.builds(slice, each, each, st.integers(1, 3)) for each in numbers]
    one = [st.integers(0, n - 1) for n in shape]
    part = data.draw(st.tuples(*map(st.one_of, steps, one)))
    plain, ours = zarr.open_array(array.store, mode="r"), opened(array.store)
    np.testing.assert_array_equal(ours[part], plain[part])
    places = [data.draw(st.permutations(range(n))) for n in shape]
    np.testing.assert_array_equal(ours.oindex[tuple(places)], plain.oindex[tuple(places)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of one chunk of 8 MiB, few counts in it."""
    image = eds_xr.simulate.spectrum_image((64, 64, 1024), 20.0).astype("uint16")
    image.chunk(y=64, x=64).eds.save(tmp_path / "a.zarr")
    return tmp_path / "a.zarr"


def test_in_place__a_chunk_is_in_memory_once(store):
    image = eds_xr.open(store)
    image.max().compute()  # what is loaded at first
    chunk = 64 * 64 * 1024 * 2
    assert image.data.chunksize == (64, 64, 1024)
    tracemalloc.start()
    try:
        image.max().compute()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert chunk < peak < 1.3 * chunk


def test_in_place__images_that_travel_to_workers_are_read_so(store, monkeypatch):
    image = pickle.loads(pickle.dumps(eds_xr.open(store)))
    seen = []
    monkeypatch.setattr("eds_xr.store.decoding.fill", lambda *given: seen.append(fill(*given)))
    assert image.sum().compute() > 0
    assert len(seen) == 1


def test_in_place__a_chunk_of_another_size_is_named(tmp_path):
    counts = np.ones((4, 4, 8), np.uint8)
    dims = ("y", "x", "energy")
    axis = {"energy": ("energy", np.arange(8) * 0.01, {"units": "keV"})}
    for name, part in {"a": counts, "b": counts[:2]}.items():
        encoding = {"counts": {"compressors": [BloscCodec()]}}
        xr.Dataset({"counts": (dims, part)}, axis).to_zarr(
            tmp_path / name, encoding=encoding, consolidated=False
        )
    chunk = Path("counts/c/0/0/0")
    (tmp_path / "a" / chunk).write_bytes((tmp_path / "b" / chunk).read_bytes())
    with pytest.raises(EdsError, match=r"counts/c/0/0/0.*holds 64 bytes, expected 128"):
        eds_xr.open(tmp_path / "a").compute()


@pytest.mark.parametrize("content", [b"", b"12345", bytes(15)])
def test_fill__refuses_what_is_no_chunk(content):
    array, whole = np.zeros(0, np.uint8), (slice(None),)
    with pytest.raises(ValueError, match="holds"):
        fill(array, whole, np.frombuffer(content, np.uint8), (0,), whole)


def test_fill__takes_any_part_of_a_chunk():
    values = np.arange(40, dtype=np.uint8)
    content = np.frombuffer(blosc.compress(values, b"zstd", 1, 1), np.uint8)
    for part in (slice(None), slice(3, 9), slice(0, 40, 3), np.arange(40)[::-1]):
        found = np.zeros(values[part].size + 2, np.uint8)
        fill(found, (slice(1, -1),), content, values.shape, (part,))
        np.testing.assert_array_equal(found[1:-1], values[part])
        assert not found[[0, -1]].any()


def test_decoded_in_place__leaves_the_setting_as_it_was():
    before = zarr.config.get(SETTING)
    first, second = decoded_in_place(), decoded_in_place()
    first.__enter__()
    second.__enter__()
    assert zarr.config.get(SETTING) == f"{InPlace.__module__}.InPlace"
    first.__exit__(None, None, None)  # the other thread's is still open
    assert zarr.config.get(SETTING) == f"{InPlace.__module__}.InPlace"
    second.__exit__(None, None, None)
    assert zarr.config.get(SETTING) == before


def test_decoded_in_place__another_pipeline_stays():
    with zarr.config.set({SETTING: "another.Pipeline"}), decoded_in_place():
        assert zarr.config.get(SETTING) == "another.Pipeline"
