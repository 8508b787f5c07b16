"""Probabilities to label, and the energy of a Potts model by its definition."""

import itertools
from typing import Any

import numpy as np
import xarray as xr

PHASES = ["Brg", "Fp", "Ca-Pv", "metal"]
REACH = {4: 1.0, 8: 1.5, 6: 1.0, 26: 1.8}  # distance of the farthest neighbour


def probabilities(shape: tuple[int, ...], n: int = 2, seed: int = 0) -> xr.DataArray:
    values = np.random.default_rng(seed).dirichlet(np.full(n, 0.5), shape)
    dims = ("phase", *("frame", "y", "x")[-len(shape) :])
    return xr.DataArray(np.moveaxis(values, -1, 0), {"phase": PHASES[:n]}, dims)


def noisy(shape: tuple[int, ...], n: int = 4, seed: int = 0) -> xr.DataArray:
    """Return probabilities of blobs under noise: the cut has much to do."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    blobs = np.stack([gaussian_filter(rng.normal(size=shape), 4) for _ in range(n)])
    found = blobs.argmax(0) == np.arange(n).reshape(-1, *(1,) * len(shape))
    p = np.exp(1.5 * found + rng.normal(size=blobs.shape))
    return probabilities(shape, n).copy(data=p / p.sum(0))


def picture(like: xr.DataArray, channels: int = 2, seed: int = 5) -> xr.DataArray:
    shape = (channels, *like.shape[1:])
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return xr.DataArray(values, dims=("channel", *like.dims[1:]), name="picture")


def neighbour_pairs(shape: tuple[int, ...], neighbours: int) -> list[tuple[Any, Any, float]]:
    """Return all pairs of neighbours and their distances, by comparing all pixels."""
    every = itertools.combinations(list(np.ndindex(shape)), 2)
    apart = [(i, j, float(np.hypot.reduce(np.subtract(i, j)))) for i, j in every]
    return [pair for pair in apart if pair[2] <= REACH[neighbours]]


def defined_energy(
    label: np.ndarray, p: np.ndarray, smoothness: float, neighbours: int,
    edges: np.ndarray | None = None, weight: float = 0.0, variance: float = 1.0,
) -> float:  # fmt: skip
    """E by its definition, pixel by pixel; labels from 0."""
    total = 0.0
    for i, j, distance in neighbour_pairs(label.shape, neighbours):
        if label[i] != label[j]:
            total += smoothness / distance
            if edges is not None:
                apart = sum((e[i] - e[j]) ** 2 for e in edges)
                total += weight * np.exp(-apart / (2 * variance)) / distance
    return total - sum(np.log(max(p[(label[i], *i)], 1e-6)) for i in np.ndindex(label.shape))


def least_energy(p: np.ndarray, *args: Any) -> float:
    shape = p.shape[1:]
    labelings = itertools.product(range(p.shape[0]), repeat=int(np.prod(shape)))
    return min(defined_energy(np.reshape(c, shape), p, *args) for c in labelings)
