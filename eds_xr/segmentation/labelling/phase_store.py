"""Labels and masks of phases in a Zarr store of their own, plain arrays for any reader."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.atomic_write import written_whole
from eds_xr.cluster.supervision import computes
from eds_xr.progress import progress
from eds_xr.schema import PHASE, EdsError, checked_labels, spatial_dims

#: Pixels along a side of a chunk.
CHUNK = 1024


@computes
def save_phases(
    phases: xr.Dataset, store: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a segmentation to a Zarr store: masks, labels, probabilities as plain arrays.

    Computes: block by block through Dask. The store appears whole or not at all; ``xr.open_zarr``
    opens it. Coordinates other than positions and phases are not kept.

    Parameters
    ----------
    phases : Dataset
        From :func:`phases_of` or :func:`eds_xr.segment`: ``label`` [y, x], ``present`` [phase, y,
        x] and whatever else it holds.
    store : path
        Such as ``map.phases.zarr``.
    overwrite : bool
        Replace a store of labels that is there.

    Raises
    ------
    EdsError
        When these are no phases, there is something already, or the disk refuses.

    Examples
    --------
    >>> import tempfile
    >>> from eds_xr.schema import label_array
    >>> image = xr.DataArray(np.eye(2), dims=("y", "x"))
    >>> label = label_array(np.eye(2, dtype=np.uint8), image, ["a"])
    >>> phases = xr.Dataset({"label": label, "present": (label == 1).expand_dims(phase=["a"])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved = save_phases(phases, f"{folder}/map.phases.zarr")
    ...     xr.open_zarr(saved, consolidated=False).present.sel(phase="a").values
    array([[ True, False],
           [False,  True]])
    """
    target = Path(store).expanduser().resolve()
    if not isinstance(phases, xr.Dataset) or not {"label", "present"} <= set(phases.data_vars):
        raise EdsError(
            f"expected phases with 'label' and 'present', found {type(phases).__name__}; make them "
            "with labelling.phases_of or da.eds.segment"
        )
    made = _for_disk(phases.assign(label=checked_labels(phases.label)))
    with (
        written_whole(target, overwrite=overwrite, holds="label") as folder,
        progress(f"writing {target.name}"),
    ):
        made.to_zarr(folder, mode="w", consolidated=False, zarr_format=3)
    return target


def _for_disk(phases: xr.Dataset) -> xr.Dataset:
    dims = spatial_dims(phases.label)
    made = phases.drop_vars([n for n in phases.coords if n not in (PHASE, *dims)])
    names = np.array([str(name) for name in made[PHASE].values], object)  # Zarr knows no others
    made = made.assign_coords({PHASE: (PHASE, names, dict(made[PHASE].attrs))})
    if any(variable.chunks for variable in made.variables.values()):  # each in chunks of its own
        sides = {d: min(CHUNK, made.sizes[d]) for d in made.dims}
        made = made.chunk(sides)
    made.attrs = _plain(made.attrs)
    for name in made.variables:
        made[name].attrs = _plain(made[name].attrs)
        made[name].encoding = {}
    return made


def _plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes that JSON can hold."""
    text = json.dumps({str(k): v for k, v in attrs.items()}, default=_as_plain)
    found: dict[str, Any] = json.loads(text)
    return found


def _as_plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
