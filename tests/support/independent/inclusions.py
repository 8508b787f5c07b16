"""Fields of several phases that vary smoothly, with planted inclusions of a few counts.

As `images.image`, but each element of each phase varies on its own, and thickness too; counts are
drawn one by one, which is fast where pixels are many and counts few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter
from support.independent.grains import lengths_nm, scatter
from support.independent.images import _coords
from support.independent.materials import Material
from support.independent.spectra import FOIL, MICROSCOPE, STRAYS, Microscope, unit_shapes

#: Olivine with grains of ferropericlase and pyrope.
PHASES = (
    Material("olivine", "silicate", {"Mg": 1.8, "Fe": 0.2, "Si": 1, "O": 4}, 3.3),
    Material("ferropericlase", "oxide", {"Mg": 0.8, "Fe": 0.2, "O": 1}, 4.0),
    Material("pyrope", "silicate", {"Mg": 3, "Al": 2, "Si": 3, "O": 12}, 3.6),
)
#: Elements whose strongest line is clear of those of the phases.
FOREIGN = ("Ti", "Ca", "Cr", "Zn", "P", "S", "Mn", "Ni")
#: Pixels between inclusions, and from them to the rim.
_APART = 9


@dataclass(frozen=True)
class Inclusion:
    """Pixels [pixel, (y, x)] that hold counts of an element beside what else is there."""

    element: str
    pixels: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """Mean place (y, x) [pixels]."""
        return self.pixels.mean(axis=0)


def field(
    shape: tuple[int, int],
    *,
    seed: int,
    dose: float = 100.0,
    inclusions: int = 0,
    counts: int = 60,
    elements: Sequence[str] = FOREIGN,
    size: int = 5,
    composition: float = 0.04,
    thickness: float = 0.2,
    grains: int = 12,
    radii: tuple[float, float] = (0.04, 0.1),
    phases: Sequence[Material] = PHASES,
    microscope: Microscope = MICROSCOPE,
) -> tuple[xr.DataArray, list[Inclusion]]:
    """Return a spectrum image, and its inclusions.

    Parameters
    ----------
    dose : float
        Mean counts of a pixel.
    inclusions, counts, size
        How many, of how many counts each, in all lines of the element, in how many pixels.
    composition, thickness : float
        Standard deviations, relative, of each element of each phase and of the foil, over fields
        that are smooth on a tenth of the image.
    """
    rng = np.random.default_rng(seed)
    spectra, amounts = _parts(shape, rng, seed, composition, thickness, grains, radii, phases,
                              microscope)  # fmt: skip
    amounts *= dose / amounts.sum(0).mean()
    values = np.zeros((*shape, microscope.channels), np.uint8)
    for spectrum, amount in zip(spectra, amounts, strict=True):
        _add(values, rng.poisson(amount).ravel(), spectrum, rng)
    planted = []
    for i, pixels in enumerate(_places(shape, inclusions, size, rng)):
        element = elements[i % len(elements)]
        made = unit_shapes({element: 1.0}, microscope=microscope, foil=FOIL, strays={})
        held = np.zeros(shape, int)
        np.add.at(held, tuple(pixels[rng.integers(size, size=counts)].T), 1)
        _add(values, held.ravel(), made.peaks.sum("line").values, rng)
        planted.append(Inclusion(element, pixels))
    image = xr.DataArray(
        values, _coords(shape, 2.0, microscope), ("y", "x", "energy"), "counts",
        microscope.attrs(FOIL) | {"units": "counts", "long_name": "counts"},
    )  # fmt: skip
    return image, planted


def _parts(
    shape: tuple[int, int], rng: np.random.Generator, seed: int, composition: float,
    thickness: float, grains: int, radii: tuple[float, float], phases: Sequence[Material],
    microscope: Microscope,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return spectra of elements and backgrounds [part, channel], and their counts [part, y, x]."""
    there = scatter(phases[1:], grains, seed=seed, radii=radii) if len(phases) > 1 else []
    length, _ = lengths_nm(list(phases), there, shape, FOIL.thickness_nm, 0.0, False)
    foil = np.clip(1 + _smooth(shape, rng, 0.12, thickness), 0.2, None)
    spectra, amounts = [], []
    for phase, nm in zip(phases, length, strict=True):
        for name, spectrum in _spectra(phase, microscope).items():
            varied = composition if name in phase.atoms else 0.0
            amount = nm * foil * np.clip(1 + _smooth(shape, rng, 0.1, varied), 0.2, None)
            spectra.append(spectrum)
            amounts.append(amount * spectrum.sum())
    return np.array(spectra), np.array(amounts)


def _spectra(phase: Material, microscope: Microscope) -> Mapping[str, np.ndarray]:
    """Return the lines of each element and the background, per thickness."""
    foil = replace(FOIL, density_g_cm3=phase.density_g_cm3)
    made = unit_shapes(phase.atoms, microscope=microscope, foil=foil, strays=STRAYS)
    found = {str(e): one.sum("line").values for e, one in made.peaks.groupby("element")}
    share = microscope.background / (1 - microscope.background)
    scale = share * float(made.peaks.sum()) / float(made.background.sum())
    return found | {"background": scale * made.background.values}


def _smooth(
    shape: tuple[int, int], rng: np.random.Generator, scale: float, deviation: float
) -> np.ndarray:
    """Return a smooth field of mean 0 and a standard deviation."""
    if deviation == 0:
        return np.zeros(shape)
    made = gaussian_filter(rng.normal(size=shape), scale * max(shape), mode="wrap")
    return deviation * (made - made.mean()) / made.std()


def _add(
    values: np.ndarray, counts: np.ndarray, spectrum: np.ndarray, rng: np.random.Generator
) -> None:
    """Add so many counts to each pixel, at channels drawn from a spectrum."""
    below = np.cumsum(spectrum) / spectrum.sum()
    channel = np.searchsorted(below, rng.random(int(counts.sum())))
    pixel = np.repeat(np.arange(counts.size, dtype=np.int64), counts)
    place, more = np.unique(pixel * spectrum.size + channel, return_counts=True)
    values.reshape(-1)[place] += more.astype(values.dtype)


def _places(
    shape: tuple[int, int], number: int, size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return the pixels of inclusions that lie apart, each grown from one pixel at random."""
    found: list[np.ndarray] = []
    while len(found) < number:
        grown = [tuple(rng.integers(_APART, np.array(shape) - _APART))]
        if any(np.abs(other - grown[0]).max(axis=1).min() < 2 * _APART for other in found):
            continue
        while len(grown) < size:
            step = [(0, 1), (1, 0), (0, -1), (-1, 0)][rng.integers(4)]
            pixel = tuple(np.add(grown[rng.integers(len(grown))], step))
            if pixel not in grown:
                grown.append(pixel)
        found.append(np.array(grown))
    return found
