import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr import nmf, simulate, workers
from eds_xr.factorisation import fit, one_read
from eds_xr.factorisation.one_read import read_once
from eds_xr.image import blocks
from eds_xr.image.blocks import boxes, compress_block, split_rows
from eds_xr.schema import EdsError


def image_of(shape=(40, 50, 20), dtype="uint8", chunk=(16, 17), mean=0.4) -> xr.DataArray:
    values = np.random.default_rng(0).poisson(mean, shape).astype(dtype)
    dims = ("frame", "y", "x", "energy")[-len(shape) :]
    chunks = dict(zip(dims[:-1], (*chunk, *chunk), strict=False))
    return xr.DataArray(values, dims=dims).chunk(chunks | {"energy": -1})


def dense(rows: blocks.Rows) -> np.ndarray:
    out = []
    for starts, channel, count in dask.compute(*rows.blocks):
        block = np.zeros((starts.size - 1, rows.channels))
        block[np.repeat(np.arange(starts.size - 1), np.diff(starts)), channel] = count
        out.append(block)
    return np.concatenate(out)


def in_tile_order(image: xr.DataArray) -> np.ndarray:
    parts = [image.values[box] for box in boxes(image.data.chunks[:-1])]
    return np.concatenate([part.reshape(-1, image.shape[-1]) for part in parts])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int64", "float32", "float64"])
def test_read_once__holds_every_count(stream, dtype):
    image = image_of(dtype=dtype)
    found = read_once(image, stream=stream).full
    np.testing.assert_array_equal(dense(found), in_tile_order(image))
    assert found.counts == float(image.sum())
    assert (found.pixels, found.channels) == (2000, 20)


@pytest.mark.parametrize("most", [1, 2, 5, 100])
def test_read_once__joins_small_chunks(monkeypatch, most):
    monkeypatch.setattr(one_read, "MOST_BLOCKS", most)
    image = image_of()
    found = read_once(image).full
    assert len(found.blocks) <= most
    np.testing.assert_array_equal(dense(found), in_tile_order(image))


@settings(max_examples=20)
@given(
    st.integers(1, 130), st.integers(1, 130), st.integers(20, 90), st.sampled_from([0.01, 1, 50])
)
def test_read_once__bins_are_sums_aligned_to_the_image(height, width, chunk, mean):
    image = image_of((height, width, 3), "uint16", (chunk, chunk + 3), mean)
    if not image.values.any():
        return
    found = read_once(image).binned
    whole = read_once(image.chunk(y=-1, x=-1)).binned
    np.testing.assert_array_equal(found, whole)
    np.testing.assert_array_equal(found.sum(0), image.sum(("y", "x")))
    assert found.any(axis=1).all()
    assert len(found) <= one_read.BINNED_PIXELS[1]


@pytest.mark.parametrize("at_once", [1, 7, 256])
def test_read_once__bins_that_chunks_share_come_back_once(monkeypatch, at_once):
    monkeypatch.setattr(one_read, "BINS_AT_ONCE", at_once)
    monkeypatch.setattr(one_read, "BINNED_PIXELS", (4, 64))
    came, kept = [], one_read._compute_and_keep
    monkeypatch.setattr(one_read, "_compute_and_keep", lambda *a: came.append(kept(*a)) or came[-1])
    image = image_of((60, 60, 5), mean=5)
    binned = [read_once(image.chunk(y=n, x=n)).binned for n in (60, 9, 4)]
    sizes = [found.values[2].size for _, found in came[:2]]
    assert sizes[0] == sizes[1]  # 49 chunks as one; of 225 chunks some share a bin in four reads
    assert sum(found.values[2].size for _, found in came[2:]) < 2 * sizes[0]
    np.testing.assert_array_equal(binned[1], binned[0])
    np.testing.assert_array_equal(binned[2], binned[0])


def test_read_once__bins_hold_counts_enough():
    few, many = image_of((128, 128, 4), mean=0.1), image_of((128, 128, 4), "uint16", mean=150)
    assert len(read_once(few).binned) == 256  # no fewer bins, even with few counts
    assert len(read_once(many).binned) == 64 * 64


@pytest.mark.parametrize("shape", [(3000, 4), (5, 60, 70, 4)])
def test_read_once__of_any_number_of_dimensions(shape):
    image = image_of(shape)
    found = read_once(image)
    np.testing.assert_array_equal(found.binned.sum(0), image.sum(image.dims[:-1]))
    np.testing.assert_array_equal(dense(found.full), in_tile_order(image))


@pytest.mark.parametrize("scheduler", ["threads", "synchronous", "processes"])
def test_read_once__on_any_scheduler(scheduler):
    image = image_of()
    with dask.config.set(scheduler=scheduler, num_workers=2):
        found = read_once(image)
    np.testing.assert_array_equal(dense(found.full), in_tile_order(image))


def test_read_once__reads_each_chunk_once():
    seen: list[int] = []

    def read(block: np.ndarray) -> np.ndarray:
        seen.append(1)
        return block

    image = image_of()
    watched = image.copy(data=image.data.map_blocks(read, meta=np.empty((0, 0, 0), np.uint8)))
    read_once(watched)
    assert len(seen) == len(image.data.to_delayed().ravel())


@pytest.mark.parametrize(("memory", "streams"), [(1e9, False), (60_000, False), (1e4, True)])
def test_read_once__streams_what_does_not_fit(monkeypatch, memory, streams):
    # 40,000 voxels: at most 120,000 bytes, in truth about a third of that
    monkeypatch.setattr(one_read, "memory", lambda: 2 * memory)
    found = read_once(image_of()).full
    assert isinstance(found.blocks[0], tuple) != streams


@pytest.mark.parametrize("bins_fit", [True, False])
def test_nmf__of_what_does_not_fit_is_the_same(monkeypatch, bins_fit):
    """Read for all bins, then for scores in smaller ones; for each step where bins do not fit."""
    seen: list[int] = []

    def read(block: np.ndarray) -> np.ndarray:
        seen.append(1)
        return block

    image = simulate.spectrum_image((128, 128, 64), 14.0, seed=1).load().chunk(y=32, x=32)
    kept = nmf(image, 3, seed=0)  # in bins of 8 x 8 pixels; scores in those of 4 x 4
    watched = image.copy(data=image.data.map_blocks(read, meta=np.empty((0, 0, 0), image.dtype)))
    monkeypatch.setattr(one_read, "memory", lambda: 1e4)  # not even a quarter of the counts
    monkeypatch.setattr(fit, "memory", lambda: 1e9 if bins_fit else 1e2)
    found = nmf(watched, 3, seed=0)
    look = 4  # chunks at which is seen whether counts fit
    assert (len(seen) == 3 * 16 + look) == bins_fit
    np.testing.assert_allclose(found.loadings, kept.loadings, rtol=1e-5, atol=1e-9)
    assert found.attrs["deviance"] == pytest.approx(kept.attrs["deviance"], rel=1e-6)


def test_read_once__refuses_an_empty_image():
    with pytest.raises(EdsError, match="no counts"):
        read_once(image_of() * 0)


def test_split_rows__holds_every_count():
    rows = np.random.default_rng(1).poisson(1, (11, 7))
    found = split_rows(rows, 4)
    assert len(found.blocks) == 4
    np.testing.assert_array_equal(dense(found), rows)
    assert found.counts == rows.sum()


def test_split_rows__of_fewer_rows_than_pieces():
    assert len(split_rows(np.ones((2, 3), int), 4).blocks) == 2


def test_compress_block__refuses_what_cannot_be_counts():
    with pytest.raises(EdsError, match="negative"):
        compress_block(np.full((2, 3), -1))


def test_memory__of_this_machine():
    assert 0 < workers.memory() < 1e15


def test_threads__as_dask_is_told():
    with dask.config.set(num_workers=3):
        assert workers.threads() == 3
    with dask.config.set(scheduler="synchronous"):
        assert workers.threads() == 1
