"""Simulated spectrum images with their truth, and how close a result comes to it."""

import itertools

import numpy as np
import xarray as xr
from scipy.ndimage import uniform_filter

from eds_xr import simulate

LIGHT = slice(0.3, 4.4)  # keV: no rare earth's L lines, which are to be quantified
PHASES = simulate.PYROLITE_71GPA
SILICA = simulate.Phase("St", {"O": 2, "Si": 1}, 0.1, (10.0, 25.0), 0.6)
IRON = simulate.Phase("Fe", {"Fe": 0.9, "Ni": 0.08, "S": 0.02}, 0.04, (8.0, 20.0), 0.5)
ZIRCONIA = simulate.Phase("Zr", {"Zr": 1, "O": 2}, 0.08, (8.0, 20.0), 0.6)
TRACE = simulate.Phase("Fe", {"Fe": 0.9, "Ni": 0.08, "S": 0.02}, 0.01, (6.0, 12.0), 0.5)


def simulated(size: int, dose: float, seed: int, phases=PHASES) -> tuple[xr.DataArray, xr.Dataset]:
    shape = (size, size, 1024)
    image = simulate.spectrum_image(shape, dose, seed=seed, phases=phases).sel(energy=LIGHT)
    truth = simulate.truth(shape, dose, seed=seed, phases=phases).sel(energy=LIGHT)
    return image.compute(), truth.compute()


def as_components(loadings: xr.DataArray) -> xr.DataArray:
    """Known spectra of phases as NMF takes them."""
    return loadings.rename(phase="component").astype(float)


def angles_deg(loadings: xr.DataArray, truth: xr.DataArray) -> np.ndarray:
    """Angles [component, phase] between spectra."""
    found, true = (a / np.linalg.norm(a, axis=1)[:, None] for a in (loadings.values, truth.values))
    return np.degrees(np.arccos(np.clip(found @ true.T, -1, 1)))


def matched(angles: np.ndarray) -> list[int]:
    """The component of each phase, one to one."""
    phases = range(angles.shape[1])
    orders = itertools.permutations(range(angles.shape[0]))
    return list(min(orders, key=lambda order: sum(angles[order[p], p] for p in phases)))


def largest_change(one: xr.DataArray, other: xr.DataArray) -> float:
    return float(abs(one - other).max() / abs(other).max())


def product(result: xr.Dataset) -> xr.DataArray:
    return result.scores.astype(float) @ result.loadings


def correlation(scores: xr.DataArray, element: xr.DataArray) -> float:
    """Best correlation of any score map with an element's, both smoothed over 3 x 3 pixels."""
    there = uniform_filter(element.values.astype(float), 3).ravel()
    maps = (
        uniform_filter(w.values.astype(float), 3).ravel() for _, w in scores.groupby("component")
    )
    return max(abs(np.corrcoef(w, there)[0, 1]) for w in maps)


def poisson_rows(pixels: int = 20, channels: int = 30, seed: int = 0):
    """Return counts [pixel, channel] drawn of three random spectra, and those spectra."""
    random = np.random.default_rng(seed)
    loadings = random.gamma(0.5, size=(channels, 3))
    loadings = (loadings / loadings.sum(0)).astype(np.float32)
    amounts = random.gamma(1.0, 60, size=(pixels, 3))
    return random.poisson(amounts @ loadings.T).astype(np.uint8), loadings


def even_scores(rows: np.ndarray) -> np.ndarray:
    """Return scores that deal the counts of each pixel evenly to three components."""
    return np.repeat(rows.sum(1, keepdims=True) / 3, 3, axis=1).astype(np.float32)
