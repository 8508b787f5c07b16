"""Spectrum images split in two: at random by counts, or by lines that are held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import beam_energy_of, resolution_of, with_beam_assumed
from eds_xr.chunks import as_chunked
from eds_xr.image.blocks import Box, flat_places
from eds_xr.schema import (
    ENERGY,
    LIVE_TIME,
    PIXEL_LIVE_TIME,
    EdsError,
    check_counts_block,
    check_energy_in_kev,
    check_one_of,
    check_spectrum_image,
)
from eds_xr.workers import task_name
from eds_xr.xray.lines import family, line_on_axis, split_line
from eds_xr.xray.windows import line_windows_kev

#: A line of less than this share of its family tells nothing about it.
LEAST_WEIGHT = 0.01


def held_out(image: xr.DataArray, what: Sequence[str]) -> np.ndarray:
    """Return which channels lie in the windows of the lines to be quantified [channel; bool]."""
    if not what or not all(isinstance(name, str) for name in what):
        raise EdsError(
            "expected elements or lines to hold out, such as ['Nd', 'Sm'], found "
            f"{list(what) or 'none'}"
        )
    energy, resolution = image[ENERGY].values, resolution_of(image.attrs)
    held: np.ndarray = np.zeros(energy.size, bool)
    beam = beam_energy_of(image.attrs)
    for name in what:
        own: np.ndarray = np.zeros(energy.size, bool)
        element, own_line = split_line(line_on_axis(name, energy, beam))
        for line in family(element, own_line[0], beam):  # they are fitted together
            if line.weight <= LEAST_WEIGHT:
                continue
            _, (low, _), (_, high) = line_windows_kev(line.name, resolution)
            own |= (energy >= low) & (energy <= high)
        if not own.any():
            raise EdsError(
                f"{name} has no line between {energy[0]:.2f} and {energy[-1]:.2f} keV: there is "
                "nothing to hold out"
            )
        held |= own
    if held.all():
        raise EdsError("no channel is left to choose pixels on: hold out less, or use 'half'")
    return held


def split_counts(image: xr.DataArray, *, seed: int = 0) -> tuple[xr.DataArray, xr.DataArray]:
    """Split every count at random between two images that are independent of each other.

    Lazy: nothing is computed.

    For Poisson counts the halves are independent Poisson images: choose pixels on one and
    quantify the other, and no selection bias can arise. The two sum to `image` exactly, and do
    not depend on its chunks.

    Parameters
    ----------
    image : DataArray of integers [*spatial, energy; counts]
    seed : int

    Returns
    -------
    (DataArray, DataArray)

    Raises
    ------
    EdsError
        When the values are not integers, or the seed is negative.
    """
    check_spectrum_image(image, detectors=True)
    if image.dtype.kind not in "ui":
        raise EdsError(f"only whole counts can be split, found dtype {image.dtype}")
    if seed < 0:
        raise EdsError(f"seed must be 0 or more, found {seed!r}")
    image = as_chunked(image)
    half = image.data.map_blocks(
        _split_block, shape=image.shape, seed=seed, dtype=image.dtype, meta=image.data._meta
    )
    first = image.copy(data=half)
    second = image.copy(data=image.data - half)
    first.attrs = provenance.with_step(image.attrs, "split_counts", seed=seed, half=1)
    second.attrs = provenance.with_step(image.attrs, "split_counts", seed=seed, half=2)
    return _half_as_long(first), _half_as_long(second)


def _half_as_long(image: xr.DataArray) -> xr.DataArray:
    """Return a half of the counts with the live time in which so many are counted."""
    names = [n for n in ("live_time_s", "real_time_s", PIXEL_LIVE_TIME) if n in image.attrs]
    image = image.assign_attrs({n: 0.5 * float(image.attrs[n]) for n in names})
    if LIVE_TIME not in image.coords:
        return image
    time = image[LIVE_TIME]
    return image.assign_coords({LIVE_TIME: (0.5 * time).assign_attrs(time.attrs)})


def hold_out(
    image: xr.DataArray, what: Sequence[str] | str, *, seed: int = 0
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return an image to choose pixels on and one to quantify, so that chance is not in both.

    Lazy: nothing is computed.

    Pixels chosen for many counts of a line hold more of its counts than their sample emits:
    chance chose them, too. Choose on the first image (segment it, make masks), then sum and
    quantify the second.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    what : sequence of str, or "half"
        What is going to be quantified: lines, ``["Nd_La"]``, or elements, ``["Nd", "Sm"]``, for
        their principal lines in range; each with all lines of its family, as they are fitted
        together. The channels of their windows, peak and background, are zero in the first
        image; the second is `image`, all counts. Or ``"half"``: every count falls at random in
        one of the two (:func:`split_counts`), which serves any line, at half the counts.
    seed : int
        Of ``"half"``.

    Returns
    -------
    (DataArray, DataArray)
        To choose on, and to quantify.

    Raises
    ------
    EdsError
        For an unknown element or line, or one without lines in range; when no channel is left.

    Notes
    -----
    With lines held out, net counts of their windows (:func:`element_map`,
    :func:`eds_xr.net_counts`) are independent of the choice. A fit of families takes its
    background from other channels, too: what chance in these does to it is small, not zero.
    """
    check_spectrum_image(image, detectors=True)
    if isinstance(what, str):
        check_one_of(what, ("half",), "what, unless it is a list of elements or lines,")
        return split_counts(image, seed=seed)
    check_energy_in_kev(image)
    if not isinstance(what, list | tuple):
        raise EdsError(f"what must be a list of elements or lines, or 'half'; found {what!r}")
    keep = xr.DataArray(~held_out(image, what), dims=ENERGY)
    attrs = provenance.with_step(with_beam_assumed(image.attrs), "hold_out", what=list(what))
    return as_chunked(image).where(keep, 0).assign_attrs(attrs), image


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("half of the counts")
def _split_block(
    block: np.ndarray, *, shape: tuple[int, ...], seed: int, block_info: Any = None
) -> np.ndarray:
    if not block_info:
        return block
    box = tuple(slice(*ends) for ends in block_info[0]["array-location"])
    return half_block(block, box[:-1], shape, seed)


def half_block(block: np.ndarray, box: Box, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return half of the counts of a block that fills a box of pixels of an image of `shape`.

    Chance depends on seed and absolute voxel only.
    """
    from eds_xr.image import count_kernels

    check_counts_block(block)
    rows = np.ascontiguousarray(block, block.dtype.newbyteorder("=")).reshape(-1, shape[-1])
    first = flat_places(box, shape[:-1]).astype(np.uint64) * np.uint64(shape[-1])
    return np.asarray(count_kernels.halve(rows, first, np.uint64(seed))).reshape(block.shape)
