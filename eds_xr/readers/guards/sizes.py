"""What a file may claim: sizes are checked before anything is allocated for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from eds_xr.readers.protocol import Axis
from eds_xr.schema import EdsError

MOST_PIXELS = 2**31
MOST_CHANNELS = 65_535
#: No compression of counts reaches this; a file that claims more lies, or nearly all is missing.
_DENSEST = 100_000
#: Below this, any ratio is harmless.
_SMALL_BYTES = 2**30
#: As for spectrum images in general, see schema.check_energy.
_UNEVEN = 1e-3


def check_shape(name: str, shape: Sequence[int]) -> None:
    """Raise unless ``(*spatial, energy)`` can be the shape of a spectrum image."""
    pixels, channels = math.prod(shape[:-1]), shape[-1]
    if min(shape) < 1 or pixels > MOST_PIXELS or channels > MOST_CHANNELS:
        raise EdsError(
            f"{name} says that it holds {_times(shape)} values (positions, then energy), expected "
            f"1 to {MOST_PIXELS:,} positions of 1 to {MOST_CHANNELS:,} channels; its header is "
            "damaged: copy it again from its origin"
        )


def check_axes(name: str, axes: Sequence[Axis]) -> None:
    """Raise unless all positions are finite, and energies rise in equal steps."""
    for axis in axes:
        if not np.isfinite(axis.values).all():
            raise EdsError(f"{name}: the axis {axis.name!r} holds values that are not finite")
    *_, energy = axes
    steps = np.diff(energy.values)
    if steps.size and (steps.min() <= 0 or np.ptp(steps) > _UNEVEN * steps.mean()):
        raise EdsError(
            f"{name}: expected energies that rise in equal steps, found channel widths of "
            f"{steps.min():.6g} to {steps.max():.6g} {energy.units}; calibrate the axis in the "
            "program that wrote the file"
        )


def check_compression(name: str, shape: Sequence[int], dtype: np.dtype, file_bytes: int) -> None:
    """Raise if a compressed file of `file_bytes` cannot hold what it says."""
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > max(_SMALL_BYTES, _DENSEST * file_bytes):
        raise EdsError(
            f"{name} says that it holds {_times(shape)} values of {dtype}, {claimed / 1e9:,.1f} "
            f"GB, but has {file_bytes:,} bytes; its header is damaged, or nearly all of its data "
            "are missing: copy it again from its origin"
        )


def check_fits_memory(name: str, needed: int, what: str) -> None:
    """Raise if `needed` bytes, to hold `what`, are more than the free memory."""
    import psutil

    free = int(psutil.virtual_memory().available)
    if needed > free:
        raise EdsError(
            f"{name}: {what} needs {needed / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are "
            "free; convert it on a larger machine, or save it again in smaller chunks"
        )


def _times(shape: Sequence[int]) -> str:
    return " x ".join(f"{size:,}" for size in shape)
