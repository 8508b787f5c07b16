"""The windows that a rehearsal looks at."""

import itertools

import numpy as np
import pytest
import xarray as xr

from eds_xr.segmentation.presence import sample
from eds_xr.segmentation.presence.sample import sample_windows


def _amounts(*shape: int) -> xr.DataArray:
    values = np.random.default_rng(0).gamma(1, 3, (*shape, 3)).astype(np.float32)
    return xr.DataArray(values, dims=(*("frame", "y", "x")[-len(shape) :], "component"))


def _by_definition(counts: xr.DataArray, corner: tuple[int, ...], sides: list[int]) -> np.ndarray:
    """Return sums of squares of shares over squares of four pixels on the image's grid."""
    squares = [min(4, side) for side in sides]
    box = tuple(slice(a // q * q, (a + s) // q * q)
                for a, s, q in zip(corner, sides, squares, strict=True))  # fmt: skip
    part = counts.values[box].astype(float)
    for axis, q in enumerate(squares):
        part = np.add.reduceat(part, np.arange(0, part.shape[axis], q), axis=axis)
    share = part / part.sum(-1, keepdims=True)
    return (share**2).reshape(-1, 3).sum(0)


@pytest.mark.parametrize("shape", [(150, 133), (30, 210), (300,), (3, 70, 65), (64, 64)])
def test_share_squares__of_every_window_in_any_chunks(shape: tuple[int, ...]) -> None:
    counts = _amounts(*shape)
    sides = [1] * (len(shape) - 2) + [min(n, 32) for n in shape[-2:]]
    places = [sorted({*range(0, n - s + 1, s), n - s}) for n, s in zip(shape, sides, strict=True)]
    corners = itertools.product(*places)
    wanted = np.array([_by_definition(counts, corner, sides) for corner in corners])
    for given in (counts, counts.chunk(dict.fromkeys(counts.dims[:-1], 37))):
        found = sample._share_squares(given, places, sides)
        np.testing.assert_allclose(found.reshape(-1, 3), wanted, rtol=1e-5)


def test_sample_windows__do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "SAMPLE_PIXELS", 4096)
    monkeypatch.setattr(sample, "WINDOW", 32)
    counts = _amounts(150, 133)
    found = [sample_windows(counts.chunk(y=side, x=2 * side)) for side in (20, 64)]
    assert found[0].shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(*found)
