"""Masks of noise, and scores of overlapping grains."""

import numpy as np
import xarray as xr


def image(values: object, step: float = 2.0) -> xr.DataArray:
    array = np.asarray(values)
    coords = {"y": step * np.arange(array.shape[0]), "x": step * np.arange(array.shape[1])}
    return xr.DataArray(array, dims=("y", "x"), coords=coords)


def random_mask(seed: int = 0, share: float = 0.6) -> xr.DataArray:
    return image(np.random.default_rng(seed).random((30, 41)) < share)


def overlapped_scores(counts: float = 150.0, seed: int = 0) -> tuple[xr.DataArray, np.ndarray]:
    """Matrix with two kinds of grains and a needle; mixed scores, as NMF gives them; the truth.

    Truth: 1 pure matrix, 2 and 3 grains, 4 needle, 0 overlaps and faint rims.
    """
    y, x = np.mgrid[:96, :96]
    grain = 0.6 * np.clip((18 - np.hypot(y - 30, x - 30)) / 4, 0, 1)
    other = 0.5 * np.clip((14 - np.hypot(y - 60, x - 70)) / 3, 0, 1)
    needle = (np.abs(x - 12) < 5) & (y > 60)
    amounts = np.stack([1 - grain - other, grain, other])
    mixing = np.array([[0.7, 0.22, 0.08], [0.1, 0.9, 0.0], [0.2, 0.1, 0.7]])
    expected = np.einsum("kyx,kc->yxc", amounts, mixing)
    expected[needle] = [0.9, 0.02, 0.08]
    thickness = 1 + 0.3 * (y / 96)
    scores = np.random.default_rng(seed).poisson(counts * expected * thickness[..., None])
    truth = np.select(
        [needle, amounts[0] > 0.99, (grain > 0) & (other == 0), (other > 0) & (grain == 0)],
        [4, 1, 2, 3],
    )
    coords = {"component": ["Brg", "Fp", "Ca-Pv"]}
    return xr.DataArray(scores, dims=("y", "x", "component"), coords=coords), truth
