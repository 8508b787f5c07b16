"""The film's thickness from place to place, by the charge balance of blocks of pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from eds_xr.arguments import number
from eds_xr.composition.film.given_charges import CHARGE_BALANCE
from eds_xr.composition.k_factors.table import Table
from eds_xr.composition.quantify import quantify
from eds_xr.schema import LINE, EdsError, spatial_dims
from eds_xr.workers import task_name


def thickness_map(
    lines: xr.Dataset,
    k_factors: Table | None = None,
    *,
    pixels: int = 8,
    exclude: Sequence[str] = (),
    valences: Mapping[str, float] | None = None,
    valence_uncertainty: Mapping[str, float] | None = None,
    density_g_cm3: float | None = None,
    take_off_angle_deg: float | None = None,
    absorption_uncertainty: float = 0.1,
) -> xr.Dataset:
    """Map the film's mass thickness: where the charges of each block of pixels balance.

    Lazy where the lines are, as those of fitted maps.

    A pixel has too few counts for a thickness of its own: it scatters, and may have none. So the
    counts of blocks are summed first. To correct every pixel with the thickness of its
    block: ``quantify(maps, mass_thickness_kg_m2=found.mass_thickness.clip(min=0))``.

    Parameters
    ----------
    lines : Dataset [line, *spatial]
        From ``fitted_maps``, one line an element, those of the anions among them.
    pixels : int
        Of a block, along each side. Blocks at the far edges may be smaller.
    k_factors, exclude, valences, valence_uncertainty, take_off_angle_deg, absorption_uncertainty
        As in :func:`eds_xr.quantify`.
    density_g_cm3 : float, optional
        For a thickness in nm, too.

    Returns
    -------
    Dataset [*spatial]
        On the pixels of the lines, the same throughout a block: ``mass_thickness`` [kg/m2] with
        ``_variance`` (statistical), ``_systematic_variance`` and ``_by_error`` [..., error]; with
        a density, ``thickness_nm`` likewise. Below zero within errors where more anions were
        measured than the charges ask for; NaN where no thickness balances them.

    Raises
    ------
    EdsError
        As :func:`eds_xr.quantify`; for lines that are no maps, or blocks of less than a pixel.
    """
    if not isinstance(lines, xr.Dataset) or "net" not in lines:
        raise EdsError("expected maps of net counts, from eds_xr.fitted_maps(image, elements)")
    sides = spatial_dims(lines.net)
    if not sides:
        raise EdsError(
            "the lines are of spectra, not of pixels; quantify(lines, thickness="
            f"{CHARGE_BALANCE!r}) gives the thickness of each"
        )
    size = number(pixels, "pixels")
    if size < 1 or size != int(size):
        raise EdsError(f"pixels must be a whole number of pixels, 1 or more, found {pixels!r}")
    blocks = _summed(lines, sides, int(size))
    found = quantify(
        blocks, k_factors, exclude=exclude, valences=valences, thickness=CHARGE_BALANCE,
        valence_uncertainty=valence_uncertainty, density_g_cm3=density_g_cm3,
        take_off_angle_deg=take_off_angle_deg, absorption_uncertainty=absorption_uncertainty,
    )  # fmt: skip
    names = [n for n in found if str(n).startswith(("mass_thickness", "thickness_nm"))]
    lengths = {d: lines.sizes[d] for d in sides}
    on_pixels = found[names].drop_vars(sides, errors="ignore")
    on_pixels = on_pixels.map(_on_pixels, args=(lengths, int(size)), keep_attrs=True)
    kept = {n: c for n, c in lines.coords.items() if set(c.dims) <= set(sides)}
    return on_pixels.assign_coords(kept).assign_attrs(pixels_of_blocks=int(size))


def _summed(lines: xr.Dataset, sides: tuple[str, ...], pixels: int) -> xr.Dataset:
    """Return net counts and their covariance of blocks; pixels are independent."""
    names = [n for n in ("net", "covariance") if n in lines]
    if "covariance" not in lines and "variance" in lines:
        names.append("variance")
    parts = lines[names].drop_vars([n for n, c in lines.coords.items() if set(c.dims) & set(sides)])
    if parts.net.chunks is not None:  # whole blocks in each chunk, or they would be put together
        widest = {d: max(parts.chunksizes[d]) for d in sides}
        parts = parts.chunk({d: -(-most // pixels) * pixels for d, most in widest.items()})
    summed = parts.map(_sums, args=(sides, pixels), keep_attrs=True)
    return summed.assign_coords({LINE: lines[LINE]}).assign_attrs(lines.attrs)


def _sums(values: xr.DataArray, sides: tuple[str, ...], pixels: int) -> xr.DataArray:
    """Return the sums of a variable over blocks of pixels, smaller ones at the far edges."""
    along = {d: pixels for d in sides if d in values.dims}
    if values.chunks is None:
        return values.coarsen(along, boundary="pad").sum()
    sizes = [
        tuple(-(-n // along.get(str(d), 1)) for n in one)
        for d, one in zip(values.dims, values.chunks, strict=True)
    ]
    made = values.data.map_blocks(
        _sums_block, dims=values.dims, along=along, chunks=tuple(sizes), dtype=values.dtype,
        meta=np.empty((0,) * values.ndim, values.dtype),
    )  # fmt: skip
    kept = {n: c for n, c in values.coords.items() if not set(c.dims) & set(along)}
    return xr.DataArray(made, kept, values.dims, attrs=values.attrs)


def _on_pixels(blocks: xr.DataArray, lengths: Mapping[str, int], pixels: int) -> xr.DataArray:
    """Return a value of each pixel: that of its block."""
    sides = tuple(d for d in lengths if d in blocks.dims)
    axes = tuple(blocks.get_axis_num(d) for d in sides)
    if blocks.chunks is None:
        values = repeated(blocks.values, axes=axes, pixels=pixels)
    else:
        sizes = [[n * pixels ** (i in axes) for n in one] for i, one in enumerate(blocks.chunks)]
        values = blocks.data.map_blocks(
            repeated, axes=axes, pixels=pixels, chunks=tuple(map(tuple, sizes)), dtype=blocks.dtype
        )
    made = xr.Variable(blocks.dims, values, blocks.attrs)
    kept = {n: c for n, c in blocks.coords.items() if not set(c.dims) & set(sides)}
    return xr.DataArray(made.isel({d: slice(lengths[d]) for d in sides}), kept, name=blocks.name)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("sums over blocks of pixels")
def _sums_block(
    values: np.ndarray, *, dims: tuple[str, ...], along: Mapping[str, int]
) -> np.ndarray:
    return xr.DataArray(values, dims=dims).coarsen(along, boundary="pad").sum().values


@task_name("thickness of pixels")
def repeated(values: np.ndarray, *, axes: tuple[int, ...], pixels: int) -> np.ndarray:
    """Return each value `pixels` times along each axis."""
    for axis in axes:
        values = values.repeat(pixels, axis)
    return values
