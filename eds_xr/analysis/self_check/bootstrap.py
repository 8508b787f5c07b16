"""Images drawn from the model that was fitted to one, whose truth is then known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.provenance import of_the_recording
from eds_xr.schema import COMPONENT, ENERGY, PHASE, EdsError, spatial_dims
from eds_xr.segmentation.presence.amounts import smoothed, width_gathering

#: Pixels of a simulated image: more are taken together, so that a draw takes some ten seconds.
MOST_PIXELS = 128**2
#: Amounts are averages over so many counts, within the phase: scores scatter as single pixels do.
COUNTS_FOR_AMOUNTS, MOST_SIGMA = 400.0, 3.0


class ImageModel(NamedTuple):
    """What an image is expected to hold.

    Attributes
    ----------
    amounts : DataArray [phase, *spatial; counts]
    spectra : DataArray [phase, energy]
        Of a count, sum 1.
    lines : Dataset [phase, line]
        Net counts of the lines of the spectra, and nothing below zero: the truth.
    attrs : dict
        Of the recording.
    binned : int
        Pixels a side of the image that are one here.
    """

    amounts: xr.DataArray
    spectra: xr.DataArray
    lines: xr.Dataset
    attrs: dict[str, object]
    binned: int

    def draw(self, seed: tuple[int, ...]) -> xr.DataArray:
        """Return an image with Poisson's counts ``[*spatial, energy]``."""
        dims = spatial_dims(self.amounts)
        amounts = self.amounts.transpose(*dims, PHASE).values
        table = self.spectra.transpose(PHASE, ENERGY).values
        counts: np.ndarray = np.zeros((*amounts.shape[:-1], table.shape[1]), np.uint32)
        for i in np.ndindex(*amounts.shape[:-2]):  # a row has its own seed
            counts[i] = np.random.default_rng((*seed, *i)).poisson(amounts[i] @ table)
        small = counts.astype(np.uint16) if counts.max(initial=0) < 2**16 else counts
        coords = {d: self.amounts[d] for d in dims if d in self.amounts.coords}
        coords[ENERGY] = self.spectra[ENERGY]
        named = {"units": "counts", "long_name": "counts"}
        return xr.DataArray(small, coords, (*dims, ENERGY), "counts", self.attrs | named)


def image_model(tree: xr.DataTree, binned: int | None = None) -> ImageModel:
    """Return the model that an analysis has fitted to its image. Computes: the scores.

    Each phase has the spectrum of its fitted lines and background, beyond the range of the fit that
    of its component; its counts in each pixel are its scores, smoothed where it is present, and
    nothing where it is not.

    Parameters
    ----------
    tree : DataTree
        From :func:`eds_xr.analyse`.
    binned : int, optional
        How many pixels a side are taken together; default leaves at most `MOST_PIXELS`.

    Raises
    ------
    EdsError
        For a tree without fitted lines, or a number that is none.
    """
    lacking = [n for n in ("factors", "segmentation", "lines", "pure") if n not in tree.children]
    if lacking:
        raise EdsError(
            f"expected an analysis with compositions, found one without {', '.join(lacking)}: "
            "there is no model to draw from; its warnings say why"
        )
    factors, lines = tree["factors"].to_dataset(), tree["lines"].to_dataset().compute()
    factors = factors.assign(loadings=factors.loadings.compute())  # the scores stay where they are
    size = _size(factors.scores, binned)
    names = [str(n) for n in factors[COMPONENT].values]
    spectra = xr.concat(
        [_spectrum(name, factors, lines) for name in names],
        dim=xr.DataArray(names, dims=PHASE, name=PHASE),
    )
    scores, present = _together(factors.scores, tree["segmentation"].to_dataset().present, size)
    amounts = _amounts(scores, present, _of_components(factors.loadings, spectra))
    recorded = of_the_recording(tree["pure"].attrs)
    return ImageModel(
        amounts.assign_coords({PHASE: names}), spectra, _true_lines(lines),
        {n: v for n, v in recorded.items() if n not in _NOT_OF_AN_IMAGE}, size,
    )  # fmt: skip


_NOT_OF_AN_IMAGE = ("history", "warnings", "assumptions")


def _size(scores: xr.DataArray, binned: int | None) -> int:
    if binned is not None:
        if isinstance(binned, bool) or not isinstance(binned, int | np.integer) or binned < 1:
            raise EdsError(f"binned must be a number of pixels a side, 1 or more; found {binned!r}")
        return int(binned)
    dims = spatial_dims(scores)
    pixels = float(np.prod([scores.sizes[d] for d in dims]))
    return max(1, int(np.ceil((pixels / MOST_PIXELS) ** (1 / len(dims)) - 1e-9)))


def _spectrum(name: str, factors: xr.Dataset, lines: xr.Dataset) -> xr.DataArray:
    """Return the spectrum of a count of a component, of its phase's fit where there is one."""
    loading = factors.loadings.sel({COMPONENT: name}, drop=True).clip(min=0)
    if name in lines[PHASE].values:
        own = lines.sel({PHASE: name}, drop=True)
        background = own.background_model.clip(min=0)
        fitted = (own.model - own.background_model).clip(min=0) + background
        inside = loading.sel({ENERGY: fitted[ENERGY]})
        scaled = loading * float(fitted.sum() / max(float(inside.sum()), 1e-12))
        loading = fitted.reindex({ENERGY: loading[ENERGY]}).fillna(scaled)
    return loading / loading.sum()


def _of_components(loadings: xr.DataArray, spectra: xr.DataArray) -> np.ndarray:
    """Return how many counts of each phase a count of each component is [component, phase].

    May be negative: a component may lack what its phase has in common with others.
    """
    table = spectra.transpose(ENERGY, PHASE).values
    parts = loadings.transpose(COMPONENT, ENERGY).clip(min=0).values
    weight = 1 / np.sqrt(np.maximum(parts.mean(axis=0), 1e-9 * parts.max()))
    found, *_ = np.linalg.lstsq(table * weight[:, None], (parts * weight).T, rcond=1e-3)
    return np.asarray(found.T)


def _together(
    scores: xr.DataArray, present: xr.DataArray, size: int
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return scores summed over so many pixels a side, and where half of these hold a phase.

    Computes: both, as small as that.
    """
    from dask.base import compute

    if size > 1:
        window = {d: min(size, scores.sizes[d]) for d in spatial_dims(scores)}
        scores = scores.coarsen(window, boundary="trim").sum()
        present = present.astype(np.float32).coarsen(window, boundary="trim").mean() >= 0.5
    made = compute(scores, present)
    return made[0], made[1]


def _amounts(scores: xr.DataArray, present: xr.DataArray, shares: np.ndarray) -> xr.DataArray:
    """Return the counts of each phase where it is present ``[*spatial, phase]``."""
    dims = spatial_dims(scores)
    ordered = scores.transpose(*dims, COMPONENT)
    values = ordered.values.astype(float) @ shares
    known = [str(n) for n in present[PHASE].values]
    inside = np.ones(values.shape, bool)
    for i, name in enumerate(ordered[COMPONENT].values.tolist()):
        if name in known:  # others, such as a film's, are no phase and lie anywhere
            inside[..., i] = present.sel({PHASE: name}).transpose(*dims).values
    mean = float(values.sum(axis=-1).mean())
    sigma = width_gathering(COUNTS_FOR_AMOUNTS, mean, 0.0, MOST_SIGMA)
    if sigma > 0.3:
        near = smoothed(inside.astype(float), sigma)
        values = smoothed(np.where(inside, values, 0.0), sigma) / np.maximum(near, 1e-6)
    values = np.where(inside, values, 0.0).clip(min=0.0)
    coords = {d: ordered[d] for d in dims if d in ordered.coords}
    return xr.DataArray(values, coords, (*dims, PHASE))


def _true_lines(lines: xr.Dataset) -> xr.Dataset:
    """Return lines whose net counts are what a drawn image expects: nothing below zero."""
    return lines.assign(net=lines.net.clip(min=0).assign_attrs(lines.net.attrs))
