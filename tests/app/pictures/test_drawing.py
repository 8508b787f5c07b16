from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from support.recordings import convert_counts

import eds_xr
from eds_xr.app.pictures import channel as channels
from eds_xr.app.pictures import drawing
from eds_xr.app.pictures.drawing import Cache, Picture, Window, draw, factor_of
from eds_xr.app.pictures.worker import CancelledError, Job


def window(shape: tuple[int, int], screen: int = 100) -> Window:
    return Window(0, 0, *shape, screen, screen)


def an_image(shape: tuple[int, int, int], chunks: Any = None) -> xr.DataArray:
    values = np.random.default_rng(3).poisson(2.0, shape).astype(np.uint16)
    energy = ("energy", np.arange(shape[2]) * 0.1, {"units": "keV"})
    data = values if chunks is None else da.from_array(values, chunks=chunks)
    coords = {"y": np.arange(shape[0]) * 2.0, "x": np.arange(shape[1]) * 2.0, "energy": energy}
    return xr.DataArray(data, coords, ("y", "x", "energy"), name="counts")


def means(values: np.ndarray, factor: int) -> np.ndarray:
    """Return means of blocks, one by one; those on the edge hold fewer pixels."""
    starts = [range(0, n, factor) for n in values.shape]
    return np.array(
        [[values[i : i + factor, j : j + factor].mean() for j in starts[1]] for i in starts[0]]
    )


@pytest.mark.parametrize(
    ("seen", "screen", "factor"),
    [(100, 100, 1), (99, 100, 1), (199, 100, 1), (200, 100, 2), (8192, 800, 8), (8192, 4096, 4)],
)
def test_factor_of__as_fine_as_the_screen(seen: int, screen: int, factor: int) -> None:
    assert factor_of(Window(0, 0, seen, seen, screen, screen)) == factor


def test_factor_of__never_more_than_is_sent() -> None:
    for seen in (2048, 2049, 5000, 100_000):
        assert seen / factor_of(Window(0, 0, seen, seen, 10**6, 10**6)) <= drawing.MOST_SIDE


@pytest.mark.parametrize("chunks", [None, (8, 8, -1), (7, 13, -1), ((30, 3), (20, 21), -1)])
@pytest.mark.parametrize("screen", [64, 16, 8, 3])
def test_draw__means_of_all_counts(chunks: Any, screen: int) -> None:
    image = an_image((33, 41, 5), chunks)
    picture = draw(channels.counts(image), window((33, 41), screen), Job(), Cache())
    expected = means(image.sum("energy").values.astype(float), picture.factor)
    np.testing.assert_allclose(picture.values, expected, rtol=1e-6)
    assert picture.done == 1
    assert picture.place == (0, 0, *(n * picture.factor for n in picture.values.shape))


@pytest.mark.parametrize("size", [1, 300, 4000])
def test_draw__tiles_of_any_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "TILE_BYTES", size)
    image = an_image((33, 41, 5), (7, 13, -1))
    for seen in (Window(0, 0, 33, 41, 8, 8), Window(9.5, 3.2, 30.1, 40.9, 99, 99)):
        picture = draw(channels.counts(image), seen, Job(), Cache())
        whole = means(image.sum("energy").values.astype(float), picture.factor)
        y0, x0 = (int(v) // picture.factor for v in picture.place[:2])
        rows, columns = picture.values.shape
        expected = whole[y0 : y0 + rows, x0 : x0 + columns]
        np.testing.assert_allclose(picture.values, expected, rtol=1e-6)


def test_draw__only_what_is_seen_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "TILE_BYTES", 16 * 16 * 10)
    read: list[Any] = []

    def block(values: np.ndarray, block_info: Any = None) -> np.ndarray:
        read.append(tuple(block_info[0]["chunk-location"]))
        return values

    image = an_image((64, 64, 5), (16, 16, -1))
    image = image.copy(data=image.data.map_blocks(block, dtype=image.dtype, meta=image.data._meta))
    picture = draw(channels.counts(image), Window(20, 20, 28, 30, 99, 99), Job(), Cache())
    assert picture.place == (20, 20, 8, 10)
    assert set(read) == {(1, 1, 0)}


def test_draw__stored_sums_of_pixels_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(4).integers(0, 9, (61, 70, 5), np.uint8)
    image = eds_xr.open(convert_counts(values, tmp_path / "a.zarr", monkeypatch, pyramid=True))
    channel = channels.counts(image)
    for factor, stored in ((1, 1), (2, 2), (8, 8), (16, 8)):
        level, of = channel.at(factor)
        assert (of, level.shape) == (stored, (-(-61 // stored), -(-70 // stored)))
        picture = draw(channel, window((61, 70), 70 // factor), Job(), Cache())
        assert picture.factor == factor
        expected = means(values.sum(-1) * 1.0, factor)
        np.testing.assert_allclose(picture.values, expected, rtol=1e-6)


def test_draw__an_array_with_holes() -> None:
    values = np.arange(16, dtype=np.float32).reshape(4, 4)
    values[0, 0] = values[2:, 2:] = np.nan
    array = xr.DataArray(values, dims=("y", "x"))
    picture = draw(channels.of_array("haadf", array), window((4, 4), 2), Job(), Cache())
    np.testing.assert_allclose(picture.values, [[(1 + 4 + 5) / 3, 4.5], [10.5, np.nan]])


def test_draw__tiles_are_kept() -> None:
    made: list[int] = []

    def count(block: np.ndarray) -> np.ndarray:
        made.append(1)
        return block

    image = an_image((32, 32, 5), (16, 16, -1))
    image = image.copy(data=image.data.map_blocks(count, dtype=image.dtype, meta=image.data._meta))
    channel, cache = channels.counts(image), Cache()
    first = draw(channel, window((32, 32)), Job(), cache)
    read = len(made)
    again = draw(channel, Window(3, 3, 20, 30), Job(), cache)
    assert len(made) == read == 4
    np.testing.assert_array_equal(again.values, first.values[3:20, 3:30])


def test_cache__forgets_what_nobody_asked_for() -> None:
    cache = Cache(3 * 80)
    for i in range(3):
        cache.put(i, np.zeros(10))
    cache.get(0)
    cache.put(3, np.zeros(10))
    assert [cache.get(i) is not None for i in range(4)] == [True, False, True, True]


def test_draw__shows_unfinished_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(drawing, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(drawing, "TILE_BYTES", 16 * 16 * 10)
    image = an_image((64, 64, 5), (16, 16, -1)) + np.uint16(1)
    shown: list[Picture] = []
    last = draw(channels.counts(image), window((64, 64)), Job(), Cache(), shown.append)
    done = [p.done for p in shown]
    assert done == sorted(done)
    assert 0 < done[0] < 1
    assert all(np.isfinite(p.values).all() for p in shown)  # guessed by what is near
    assert last.done == 1
    total = image.sum("energy").values
    known = shown[0].values == total.astype(np.float32)
    assert known.mean() >= done[0]
    assert abs(shown[0].values - total.mean()).max() < total.mean()


def test_draw__ends_between_tiles_when_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "TILE_BYTES", 16 * 16 * 10)
    job, read = Job(), []

    def block(values: np.ndarray) -> np.ndarray:
        read.append(1)
        job.cancel()
        return values

    image = an_image((128, 128, 5), (16, 16, -1))
    image = image.copy(data=image.data.map_blocks(block, dtype=image.dtype, meta=image.data._meta))
    with pytest.raises(CancelledError):
        draw(channels.counts(image), window((128, 128)), job, Cache())
    assert 0 < len(read) < 64


def test_draw__nothing_is_seen() -> None:
    picture = draw(channels.counts(an_image((8, 8, 5))), Window(9, 9, 9, 9), Job(), Cache())
    assert picture.values.size == 0


def test_draw__on_a_cluster(client: Any) -> None:
    image = an_image((33, 41, 5), (7, 13, -1))
    picture = draw(channels.counts(image), window((33, 41), 8), Job(), Cache())
    expected = means(image.sum("energy").values.astype(float), 4)
    np.testing.assert_allclose(picture.values, expected, rtol=1e-6)


def test_counts__of_a_line_scan() -> None:
    image = an_image((3, 4, 5)).isel(y=0)
    with pytest.raises(eds_xr.EdsError, match="plot_profile"):
        channels.counts(image)
