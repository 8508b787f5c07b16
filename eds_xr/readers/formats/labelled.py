"""Labelled arrays that xarray opens (``.nc``, ``.h5``, ``.zarr``), with an energy axis in them.

The spectrum image is a variable with one dimension of energy: named ``energy``, or with a
coordinate in eV or keV. Variables and coordinates ``(y, x)`` on its grid ride along as images.
Streamed: xarray reads the rows that are asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.readers import chunked_blocks, metadata
from eds_xr.readers.guards.damage import damage_named
from eds_xr.readers.guards.hdf5 import HDF5_MAGIC, check_hdf5
from eds_xr.readers.guards.sizes import check_compression, check_shape
from eds_xr.readers.protocol import Recording, Region
from eds_xr.schema import ENERGY, EdsError

_NETCDF3_MAGIC = (b"CDF\x01", b"CDF\x02")
_UNITS = ("eV", "keV")
#: Attributes of the array in its file, not of what was recorded.
_NOT_KEPT = {"units", "long_name", "_FillValue"}


def recognises(head: bytes) -> bool:
    """Return whether netCDF 3, HDF5 (but not HyperSpy's) or a Zarr document begins with `head`."""
    if b"HyperSpy" in head and b"Experiments" in head:
        return False
    return head.startswith((HDF5_MAGIC, *_NETCDF3_MAGIC)) or b'"zarr_format"' in head


def read(path: Path) -> list[Recording]:
    """Return the spectrum images among the variables of a file or Zarr store.

    Raises
    ------
    EdsError
        If the file is damaged, or no variable has an energy axis.
    """
    if _engine(path) == "h5netcdf":
        check_hdf5(path)
    with damage_named(path), _opened(path) as dataset:
        found = [
            _recording(path, dataset, str(name), energy)
            for name, variable in dataset.data_vars.items()
            if (energy := _energy_dim(dataset, variable)) and variable.ndim > 1
        ]
        if not found:
            raise EdsError(_nothing_found(path, dataset))
        return found


@contextmanager
def _opened(path: Path) -> Iterator[xr.Dataset]:
    """Give the Dataset with nothing decoded but its axes: counts stay as stored."""
    engine, source = _engine(path), str(path)
    options: dict[str, Any] = {} if engine != "h5netcdf" else {"phony_dims": "access"}
    if engine == "zarr":
        from eds_xr.readers.guards.zarr import guarded

        source = guarded(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about stores that are not consolidated, odd dtypes
        dataset = xr.open_dataset(
            source,
            engine=engine,
            cache=False,
            chunks=None,
            decode_times=False,
            mask_and_scale=False,
            **options,
        )
    with dataset:
        yield dataset


def _engine(path: Path) -> str:
    if path.is_dir():
        return "zarr"
    with path.open("rb") as file:
        return "scipy" if file.read(4) in _NETCDF3_MAGIC else "h5netcdf"


def _energy_dim(dataset: xr.Dataset, variable: xr.DataArray) -> str | None:
    """Return the dimension of energy; None where there is none, or no way to tell."""
    named = [
        str(dim)
        for dim in variable.dims
        if dim in dataset.coords and dataset[dim].attrs.get("units") in _UNITS
    ]
    if ENERGY in named or (ENERGY in variable.dims and ENERGY in dataset.coords):
        return ENERGY
    return named[0] if len(named) == 1 else None


def _recording(path: Path, dataset: xr.Dataset, name: str, energy: str) -> Recording:
    variable = dataset[name].transpose(..., energy)
    if variable.dtype.kind not in "uif":
        raise EdsError(f"{path.name}: {name} holds {variable.dtype}, expected numbers")
    packed = {"scale_factor", "add_offset", "_Unsigned"} & set(variable.attrs)
    if packed:
        raise EdsError(
            f"{path.name}: {name} is packed ({', '.join(sorted(packed))}); open it with xarray, "
            "which unpacks it, and use eds_xr.save"
        )
    check_shape(path.name, variable.shape)
    check_compression(path.name, variable.shape, variable.dtype, _size_bytes(path))
    chunks = _chunks(dataset, name, variable.dims)
    chunked_blocks.check_chunks(path.name, chunks, variable.dtype)
    shape, dtype = variable.shape, variable.dtype.newbyteorder("=")

    def row_blocks(rows: int) -> Iterator[np.ndarray]:
        with damage_named(path), _opened(path) as opened:
            values = opened[name].variable.transpose(..., energy)

            def read_region(region: Region) -> np.ndarray:
                return np.asarray(values[region].to_numpy(), dtype)

            yield from chunked_blocks.row_blocks(read_region, shape, dtype, chunks, rows)

    attrs = {str(k): v for k, v in variable.attrs.items() if k not in _NOT_KEPT}
    signal_type = str(attrs.get("signal_type", ""))
    axes = [_axis(dataset, str(dim), variable.sizes[dim]) for dim in variable.dims]
    return Recording(
        name=name,
        axes=metadata.recording_axes(axes, signal_type),
        dtype=dtype,
        row_blocks=row_blocks,
        attrs={key: _plain(value) for key, value in attrs.items()},
        images=dict(_images(dataset, name, variable.dims[:-1])),
        original_metadata={"attributes": metadata.plain(dict(dataset.attrs))},
    )


def _axis(dataset: xr.Dataset, dim: str, size: int) -> Mapping[str, Any]:
    if dim not in dataset.coords:
        return {"name": dim, "size": size, "scale": 1.0, "units": ""}
    coordinate = dataset[dim]
    units = str(coordinate.attrs.get("units", ""))
    if dim == ENERGY and not units:
        units = "keV"  # the data model's own
    return {"name": dim, "size": size, "axis": coordinate.to_numpy(), "units": units}


def _images(
    dataset: xr.Dataset, name: str, grid: tuple[Any, ...]
) -> Iterator[tuple[str, np.ndarray]]:
    for key, variable in dataset.variables.items():
        if len(grid) >= 2 and key != name and variable.dims == grid[-2:]:
            if variable.dtype.kind in "buif":
                yield metadata.variable_name(str(key)), variable.to_numpy()


def _chunks(dataset: xr.Dataset, name: str, dims: tuple[Any, ...]) -> tuple[int, ...] | None:
    """Return the stored chunks in the order of `dims`."""
    encoding = dataset[name].encoding
    chunks = encoding.get("chunks") or encoding.get("chunksizes")
    if chunks is None:
        return None
    by_dim = dict(zip(dataset[name].dims, chunks, strict=True))
    return tuple(int(by_dim[dim]) for dim in dims)


def _size_bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _plain(value: Any) -> Any:
    """Return an attribute as numbers, texts and lists; netCDF writes a list of one as a value."""
    return metadata.plain(value.tolist() if isinstance(value, np.ndarray | np.generic) else value)


def _nothing_found(path: Path, dataset: xr.Dataset) -> str:
    found = "; ".join(
        f"{name!r} with dimensions "
        + ", ".join(f"{dim} ({size})" for dim, size in variable.sizes.items())
        for name, variable in dataset.data_vars.items()
    )
    return (
        f"{path.name} holds no spectrum image: expected a variable with a dimension 'energy' that "
        f"has a coordinate (units eV or keV), found {found or 'no variable'}; add the coordinate "
        "with da.assign_coords, or open it with xarray and use eds_xr.save"
    )
