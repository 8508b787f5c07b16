"""Spectra of phases from all pixels, pixels where phases overlap included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.chunks import as_chunked, computed
from eds_xr.cluster.supervision import computes
from eds_xr.factorisation.known_spectra.unmix import OTHER, is_named, phase_table
from eds_xr.factorisation.solver.loadings import as_table
from eds_xr.progress import progress
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    PHASE,
    EdsError,
    check_spectra,
    check_spectrum_image,
    leading_dims,
    one_mask,
    spatial_dims,
)

#: Bounds on the pixels a side over which shares are averaged, and the counts that these hold.
LEAST_WINDOW, MOST_WINDOW, COUNTS_IN_WINDOW = 3, 9, 500
_BOTH = ("counts", "variance")


class Refined(NamedTuple):
    """Refined spectra; every channel's counts, over phases, add up to those of the map."""

    counts: np.ndarray  # [phase, channel]
    covariance: np.ndarray  # [phase, phase_other, channel], of counting
    common: np.ndarray  # [mode, phase, channel]: independent errors that all channels share
    misfit: np.ndarray  # [phase]: of the given spectra about the refined ones, per channel


def common_errors(spectra: xr.Dataset) -> xr.DataArray:
    """Return errors ``[mode, ..., energy; counts]`` that are independent of each other.

    Those that the spectra carry, ``common_error``, or what the scales of subtractions make, each
    phase's own.
    """
    if "common_error" in spectra:
        return spectra["common_error"]
    # a phase that was not subtracted, joined to others, has none
    moved = spectra["scale_slope"].fillna(0.0) * np.sqrt(spectra["scale_variance"].fillna(0.0))
    lead = leading_dims(spectra)
    table = moved.transpose(*lead, ENERGY).values
    rows = table.reshape(-1, table.shape[-1])
    modes = np.einsum("mp,pe->mpe", np.eye(len(rows)), rows).reshape(len(rows), *table.shape)
    coords = {d: moved[d] for d in (*lead, ENERGY) if d in moved.coords}
    return xr.DataArray(modes, coords, ("mode", *lead, ENERGY), attrs={"units": "counts"})


def refine(
    sums: np.ndarray, spread: np.ndarray, given: np.ndarray, noise: np.ndarray | None,
    shared: np.ndarray, names: Sequence[object],
) -> Refined:  # fmt: skip
    """Return the combinations of `sums` [phase, channel] that are nearest to `given` spectra.

    `spread` [phase, phase_other, channel] is the covariance of the sums, `noise` [phase, channel]
    the variance of the given spectra (None when they are exact), and `shared` [mode, phase,
    channel] the errors that their channels share.
    """
    mixing, solve = _mixing(sums, spread, given, exact=noise is None)
    size = _sizes(mixing, names)
    left = given - mixing @ sums
    moves = [*_moves_of_chance(left, solve), *(change @ solve for change in shared)]
    final = size[:, None] * mixing
    common = np.array([_moved(mixing, size, move) @ sums for move in moves])
    covariance = np.einsum("pa,abc,qb->pqc", final, spread, final, optimize=True)
    common = common.reshape(-1, *given.shape)  # of no modes, too
    return Refined(final @ sums, covariance, common, _misfit(left, noise))


@computes
def refine_spectra(
    image: xr.DataArray,
    spectra: xr.DataArray | xr.Dataset,
    *,
    mask: xr.DataArray | None = None,
    window: int | None = None,
    stray: xr.Dataset | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Find the spectra of phases from all pixels of a map, those where phases overlap too.

    Computes: reads `image` twice.

    Parameters
    ----------
    image : DataArray of integers [*spatial, energy; counts]
    spectra : Dataset or DataArray [phase, energy]
        The phases' spectra, from regions where they can be had pure: a Dataset with ``counts`` and
        ``variance`` of pixels of this very image (``sum_spectra``, ``subtract_phase``; with
        ``scale_slope`` and ``scale_variance``, the error of a subtraction is carried on). A
        DataArray is taken as exact, on any scale. No phase may be missing.
    mask : DataArray of bool [*spatial], optional
        Pixels to use: leave out what is none of the phases.
    window : int, optional
        Shares of the phases are averaged over so many pixels a side, an odd number. Default: 3,
        or as many as hold about 500 counts where the spectra say how many counts a pixel holds.
        It changes errors a little, and no expectation.
    stray : Dataset [energy], optional
        What every pixel holds beside the phases: ``counts`` and ``variance`` of one pixel, such as
        those of a hole, which were subtracted from the spectra given.
    seed : int
        Of the split of the counts.

    Returns
    -------
    Dataset
        ``counts`` [phase, energy; counts]: what the pixels hold of each phase. Over phases they
        add up to all counts of the pixels (less stray ones), channel by channel. Never clipped.
        ``variance`` and ``covariance`` [phase, phase_other, energy]: of counting, independent
        from channel to channel. ``common_error`` [mode, phase, energy; counts]: what all channels
        share, the error of how much of one phase is in another's spectrum, as independent errors
        of one standard deviation each (see :func:`eds_xr.add_common_errors`). ``misfit``
        [phase]: mean square of the given spectra less the refined ones, in their variance, about
        1 or less when the phases are the same everywhere. ``n_pixels``; ``pinned`` as given.

    Raises
    ------
    EdsError
        When counts are not whole numbers, the energy axes differ, a spectrum is NaN or nowhere
        positive, spectra are alike, or the map holds none of a phase.

    Notes
    -----
    Sums of the whole map, weighted by each pixel's shares of the phases, are mixtures of the
    phases' spectra: as many of them as phases. That combination of them is sought that is
    nearest to a given pure spectrum, which so decides what is pure, while all pixels decide on
    the counts. The shares are the Poisson-likeliest amounts; as the weights of least squares, they
    are those of greatest likelihood where phases are equally bright in a channel.

    No pixel's noise weighs itself: each count falls at random in one of two halves, and the
    shares that one half tells weight the counts of the other. The likeliest spectra for amounts
    as they are found (:func:`extend_loadings` with amounts of :func:`unmix`) take the noise of the
    amounts for signal instead: simulated with 100 counts a pixel, the Si of a matrix comes out
    6 % and the Ca of small grains 8 % too high.
    """
    from eds_xr.factorisation.known_spectra.share_weighted_sums import share_weighted_sums

    check_spectrum_image(image)
    if image.dtype.kind not in "ui":
        raise EdsError(f"only whole counts can be split in halves, found dtype {image.dtype}")
    image, spatial = as_chunked(image), spatial_dims(image)
    everywhere = xr.ones_like(image.isel({ENERGY: 0}, drop=True), dtype=bool)
    inside = one_mask(image, everywhere if mask is None else mask)
    table = phase_table(spectra, image)
    size = _window(spectra) if window is None else window
    if not isinstance(size, int | np.integer) or size < 1 or size % 2 == 0:
        raise EdsError(f"window must be an odd number of pixels, found {window!r}")
    least = min(image.sizes[d] for d in spatial[-2:])
    if size // 2 > least:
        raise EdsError(f"window={size} is wider than the image of {least} pixels; give less")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise EdsError(f"seed must be a whole number, 0 or more, found {seed!r}")
    with progress("spectra of the whole map"):
        sums, spread, shares = share_weighted_sums(image, as_table(table), inside, size, seed)
        n_pixels = computed(inside.sum())
    if stray is not None:
        sums, spread = _less_stray(sums, spread, shares, stray, image)
    result = refine(sums, spread, *_given(spectra), names=table[COMPONENT].values.tolist())
    attrs = provenance.with_step(image.attrs, "refine_spectra", window=size, seed=seed)
    found = _labelled(result, spectra, image).assign(n_pixels=n_pixels)
    if "pinned" in spectra:  # a given spectrum decides what is pure, with what it assumes
        found = found.assign(pinned=spectra["pinned"])
    return found.assign_attrs(provenance.of_the_recording(attrs))


def _less_stray(
    sums: np.ndarray, spread: np.ndarray, shares: np.ndarray, stray: xr.Dataset, image: xr.DataArray
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums and their covariance less what every pixel holds beside the phases."""
    check_spectra(stray)
    if stray.counts.dims != (ENERGY,) or stray.sizes[ENERGY] != image.sizes[ENERGY]:
        raise EdsError(
            f"stray must be one spectrum of {image.sizes[ENERGY]} channels, as the image has, "
            f"found {dict(stray.counts.sizes)}"
        )
    counts, variance = (stray[v].values.astype(float) for v in _BOTH)
    less = sums - shares[:, None] * counts
    return less, spread + shares[:, None, None] * shares[None, :, None] * variance


def _mixing(
    sums: np.ndarray, spread: np.ndarray, given: np.ndarray, *, exact: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``T`` [phase, sum] of least squares ``given = T sums``, and what solves for it.

    Each channel is weighted by the inverse of all its counts. Noise of the sums that is not in
    the given spectra, too, adds to their squares, and is taken out of these.
    """
    total = sums.sum(axis=0)
    weights = np.where(total > 0, 1 / np.maximum(total, 1e-300), 0.0)
    weighted = sums * weights
    square = weighted @ sums.T
    if exact:
        square = square - (spread * weights).sum(axis=2)
    if not np.linalg.cond(square) < 1e10:
        raise EdsError(
            "the map does not tell these spectra apart: two are alike, or one of the phases is "
            "nowhere; leave one out"
        )
    solve = np.linalg.solve(square, weighted).T  # [channel, sum]
    return given @ solve, solve


def _sizes(mixing: np.ndarray, names: Sequence[object]) -> np.ndarray:
    """Return the factor of each phase with which all together make up the whole map."""
    size = np.linalg.solve(mixing.T, np.ones(len(mixing)))
    if not (size > 0).all():
        none = ", ".join(str(n) for n, amount in zip(names, size, strict=True) if not amount > 0)
        raise EdsError(f"the map holds nothing of {none}: leave it out of the spectra")
    return np.asarray(size)


def _moves_of_chance(left: np.ndarray, solve: np.ndarray) -> list[np.ndarray]:
    """Return the independent errors of the mixing that the scatter of the fit makes.

    From the residuals themselves, channel by channel (White, Econometrica 48 (1980) 817): whatever
    makes the given spectra differ from the refined ones, chance or not, is in it.
    """
    phases = len(left)
    freedom = left.shape[1] / max(1, left.shape[1] - phases)
    scatter = np.einsum("pc,qc,ca,cb->paqb", left, left, solve, solve, optimize=True) * freedom
    values, vectors = np.linalg.eigh(scatter.reshape(phases**2, phases**2))
    return [
        (np.sqrt(value) * vector).reshape(phases, phases)
        for value, vector in zip(values, vectors.T, strict=True)
        if value > 1e-9 * values[-1]
    ]


def _moved(mixing: np.ndarray, size: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Return how the scaled mixing changes when the mixing moves, all counts staying the same."""
    resized = -np.linalg.solve(mixing.T, move.T @ size)
    return np.asarray(resized[:, None] * mixing + size[:, None] * move)


def _misfit(left: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    if noise is None:
        return np.full(len(left), np.nan)
    return np.array([(r[v > 0] ** 2 / v[v > 0]).mean() for r, v in zip(left, noise, strict=True)])


def _window(spectra: xr.DataArray | xr.Dataset) -> int:
    """Return the least odd number of pixels a side that hold enough counts, 3 if unknown."""
    if not isinstance(spectra, xr.Dataset) or "n_pixels" not in spectra:
        return LEAST_WINDOW
    a_pixel = float(spectra["counts"].sum()) / max(1.0, float(spectra["n_pixels"].sum()))
    side = np.ceil(np.sqrt(COUNTS_IN_WINDOW / max(a_pixel, 1e-9)))
    return int(np.clip(side + (side % 2 == 0), LEAST_WINDOW, MOST_WINDOW))


def _given(
    spectra: xr.DataArray | xr.Dataset,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return given spectra, their variance [phase, channel], and what their channels share."""
    order = (PHASE, ENERGY)
    if isinstance(spectra, xr.DataArray):
        values = spectra.transpose(*order).values.astype(float)
        return values, None, np.empty((0, *values.shape))
    check_spectra(spectra)
    values, noise = (spectra[v].transpose(*order).values.astype(float) for v in _BOTH)
    if not {"scale_slope", "scale_variance"} <= set(spectra) and "common_error" not in spectra:
        return values, noise, np.empty((0, *values.shape))
    return values, noise, common_errors(spectra).transpose("mode", *order).values


def _labelled(
    result: Refined, spectra: xr.DataArray | xr.Dataset, image: xr.DataArray
) -> xr.Dataset:
    one = (PHASE, ENERGY)
    variance = np.einsum("ppc->pc", result.covariance)
    names = {PHASE: spectra[PHASE].values, OTHER: spectra[PHASE].values}
    return xr.Dataset(
        {
            "counts": (one, result.counts, {"long_name": "counts", "units": "counts"}),
            "variance": (one, variance, {"long_name": "variance of counting", "units": "counts^2"}),
            "covariance": (
                (PHASE, OTHER, ENERGY),
                result.covariance,
                {"long_name": "covariance of counting", "units": "counts^2"},
            ),
            "common_error": (
                ("mode", *one),
                result.common,
                {"long_name": "error that all channels share", "units": "counts"},
            ),
            "misfit": (PHASE, result.misfit, {"long_name": "misfit per channel", "units": "1"}),
        },
        coords={ENERGY: image[ENERGY]} | (names if is_named(spectra) else {}),
    )
