"""Which phase is embedded in which: the matrix is found, not told."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.schema import PHASE, spatial_dims

#: A phase surrounds regions of another when it is there in this share of their rims ...
LEAST_RIM = 0.75
#: ... and is its host when regions that hold this share of the other's pixels are surrounded.
LEAST_ENCLOSED = 0.5
#: The rim of a region reaches so far out: boundaries are uncertain by a pixel [pixels].
RIM_PIXELS = 3


def enclosure(present: xr.DataArray) -> xr.DataArray:
    """Return which share of each phase's regions lies within another phase.

    Computes: one image of each phase at a time.

    A region lies within a phase when it does not reach the border of the image and the phase is
    present in three quarters of its rim. Regions at the border tell nothing: what lies beyond is
    not seen. So a matrix, which reaches around all others, lies in none, and neither do layers or
    lamellae that cross the image.

    Parameters
    ----------
    present : DataArray of bool [phase, *spatial]

    Returns
    -------
    DataArray [phase, host; 1]
        0 on the diagonal, and where no region of a phase is whole.
    """
    names = present[PHASE].values.tolist()
    maps = present.transpose(PHASE, *spatial_dims(present)).values
    found = np.array([_enclosed_shares(maps, i) for i in range(len(names))])
    return xr.DataArray(
        found.reshape(len(names), len(names)), {PHASE: names, "host": names}, (PHASE, "host")
    )


def hosts(present: xr.DataArray) -> dict[str, str]:
    """Return the phase in which each phase is embedded, "" for those that are in none.

    Of several that surround a phase (the shell and the support of a core) it is the smallest. Two
    that surround each other lie side by side, and a line shows no embedding.
    """
    if len(spatial_dims(present)) < 2:
        return dict.fromkeys(present[PHASE].values.tolist(), "")
    within = enclosure(present)
    size = present.sum(spatial_dims(present)).to_series().to_dict()
    found = {}
    for name in within[PHASE].values.tolist():
        row = within.sel({PHASE: name})
        around = [
            h for h in row["host"].values.tolist()
            if float(row.sel(host=h)) >= LEAST_ENCLOSED
            and float(within.sel({PHASE: h, "host": name})) < LEAST_ENCLOSED
        ]  # fmt: skip
        found[name] = min(around, key=lambda h: size[h], default="")
    return found


def matrix_of(host_of: dict[str, str], present: xr.DataArray) -> str:
    """Return the phase in which most others are embedded, themselves or with what holds them.

    "" where no phase lies in another.
    """
    size = present.sum(spatial_dims(present)).to_series().to_dict()
    held = dict.fromkeys(size, 0)
    for name in host_of:
        at, seen = host_of[name], {name}
        while at and at not in seen:
            held[at] += size[name]
            seen.add(at)
            at = host_of.get(at, "")
    best = max(held, key=lambda name: held[name])
    return best if held[best] else ""


def _enclosed_shares(maps: np.ndarray, index: int) -> np.ndarray:
    """Return the share of the whole regions of one phase that lies within each phase [phase]."""
    from scipy.ndimage import binary_fill_holes, find_objects, label

    own = maps[index]
    solid = binary_fill_holes(own)
    square = np.ones((3,) * own.ndim, bool)
    regions, _ = label(solid, structure=square)
    inside, whole = np.zeros(len(maps)), 0.0
    for number, box in enumerate(find_objects(regions), start=1):
        if any(s.start == 0 or s.stop == n for s, n in zip(box, own.shape, strict=True)):
            continue
        wide = tuple(slice(max(0, s.start - RIM_PIXELS), s.stop + RIM_PIXELS) for s in box)
        region = regions[wide] == number
        pixels = float((region & own[wide]).sum())
        rim = _rim(region, square) & ~own[wide]
        whole += pixels
        if rim.any():
            inside += pixels * (maps[(slice(None), *wide)][:, rim].mean(axis=1) >= LEAST_RIM)
    inside[index] = 0.0
    return inside / whole if whole else inside


def _rim(region: np.ndarray, square: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_dilation

    around: np.ndarray = binary_dilation(region, square, iterations=RIM_PIXELS)
    return around & ~region
