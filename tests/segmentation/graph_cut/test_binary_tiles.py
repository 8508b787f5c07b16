"""Binary cuts in tiles, against the cut of the whole image."""

import dask.array as da
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from eds_xr.segmentation.graph_cut import binary_tiles, tiles
from eds_xr.segmentation.graph_cut.tiles import PottsModel
from eds_xr.segmentation.tiled_filters import tile_sizes


@pytest.fixture(autouse=True)
def _narrow_margins(monkeypatch: pytest.MonkeyPatch) -> None:
    """See few pixels around tiles, so that many pixels stay open at first."""
    monkeypatch.setattr(binary_tiles, "NEAR", 3)
    monkeypatch.setattr(binary_tiles, "FAR", 6)


def _maps(rng: np.random.Generator, shape: tuple[int, ...], doubt: float) -> np.ndarray:
    """Return probabilities of blobs under noise: the more doubt, the farther pixels reach."""
    blobs = gaussian_filter(rng.normal(size=shape), rng.choice([1, 3, 6])) * rng.choice([0, 12])
    evidence = (blobs + rng.normal(size=shape)) / doubt
    return (1 / (1 + np.exp(-evidence))).clip(0.005, 0.995).astype(np.float32)


def _whole(plane: np.ndarray, model: PottsModel) -> np.ndarray:
    pair = np.stack([1 - plane, plane]).reshape(2, *(1,) * (3 - plane.ndim), *plane.shape)
    found, _ = tiles.label_whole(da.from_array(pair), None, model, {})
    return found.reshape(plane.shape) == 1


def _in_tiles(values: np.ndarray, side: int, planes: int = 2) -> da.Array:
    lead = [(1,) * n for n in values.shape[:-planes]]
    return da.from_array(
        values, chunks=(*lead, *(tile_sizes(n, side, side) for n in values.shape[-planes:]))
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_cut_in_tiles__is_the_cut_of_the_whole_image(seed: int, monkeypatch) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(20, 80, 2))
    doubt, smoothness = rng.choice([0.3, 1.0, 3.0, 20.0]), float(rng.choice([0.1, 0.4, 1, 4]))
    values, model = _maps(rng, (2, *shape), doubt), PottsModel(smoothness, 8)
    open_tiles: list[int] = []
    kept = binary_tiles._kept

    def seen(codes):
        found = kept(codes)
        open_tiles.append(len(found[1]))
        return found

    monkeypatch.setattr(binary_tiles, "_kept", seen)
    arrays = [_in_tiles(values, int(side)) for side in rng.integers(10, 40, 2)]
    wanted = np.stack([_whole(plane, model) for plane in values])
    for array in arrays:
        np.testing.assert_array_equal(binary_tiles.cut_in_tiles(array, model), wanted)
    assert open_tiles[-1] == 0


def test_cut_in_tiles__of_some_images_pixels_stay_open_at_first() -> None:
    """Or the tests above would not look at what comes after."""
    values = _maps(np.random.default_rng(3), (1, 90, 90), 1.0)
    first = binary_tiles.decided(values[0][:40, :40], PottsModel(1.0, 8), ((0, 1), (0, 1)))
    assert (first == binary_tiles.OPEN).any()
    assert (first != binary_tiles.OPEN).any()


@pytest.mark.parametrize("shape", [(300,), (3, 40, 50)])
def test_cut_in_tiles__of_lines_and_of_frames_one_by_one(shape: tuple[int, ...]) -> None:
    model, planes = PottsModel(0.7, 8), min(2, len(shape))
    values = _maps(np.random.default_rng(1), (2, *shape), 1.0)
    found = binary_tiles.cut_in_tiles(_in_tiles(values, 17, planes), model).compute()
    for index in np.ndindex(values.shape[:-planes]):
        np.testing.assert_array_equal(found[index], _whole(values[index], model))


def test_cut_in_tiles__says_what_is_too_large_to_be_decided(monkeypatch) -> None:
    monkeypatch.setattr(binary_tiles, "WIDEST", 24)
    monkeypatch.setattr(binary_tiles, "PLANE_BYTES", 0)
    values = np.full((1, 150, 150), 0.5, np.float32)
    with pytest.warns(UserWarning, match="too large to be cut whole"):
        found = binary_tiles.cut_in_tiles(_in_tiles(values, 30), PottsModel(1.0, 8))
    assert not found.compute().any()
