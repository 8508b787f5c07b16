"""Phases from the probabilities of painted classes, combinations among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.schema import PHASE, label_array, phase_colors, phase_names, spatial_dims
from eds_xr.segmentation.graph_cut.potts import smooth
from eds_xr.segmentation.presence.forest import AND, phase_sums
from eds_xr.segmentation.presence.purity import alone_pixels
from eds_xr.segmentation.tiled_filters import in_tiles
from eds_xr.workers import task_name


def phases_of_classes(
    of_class: xr.DataArray,
    *,
    smoothness: float = 1.0,
    n_painted: Sequence[int] | None = None,
    colors: Sequence[str] = (),
) -> xr.Dataset:
    """Return the phases of each pixel by probabilities of classes; ``A+B`` is a pixel of both.

    Computes: the probabilities, and a graph cut of them.

    Parameters
    ----------
    of_class : DataArray [phase, y, x]
        Probabilities of the classes, from :func:`eds_xr.classify.predict`.
    smoothness : float
        Of the graph cut; 0 takes what is most probable in each pixel.
    n_painted : sequence of int, optional
        Painted pixels of each class: phases that nobody painted are left out.
    colors : sequence of str
        Of the classes, ``"#rrggbb"``.

    Returns
    -------
    Dataset
        ``present``, ``probability``, ``pure`` [phase, y, x], ``label`` and ``uncertainty`` [y, x]
        as :func:`eds_xr.segment` has them; attributes ``n_painted`` and ``phase_notes``.
    """
    classes = smooth(of_class, smoothness=smoothness)
    classes = classes if classes.chunks is None else in_tiles(classes)
    if colors:
        classes.attrs["flag_colors"] = " ".join(["none", *colors])
    parts = [name.split(AND) for name in phase_names(classes)]
    names = list(dict.fromkeys(name for part in parts for name in part))
    sets = np.array([[name in part for name in names] for part in parts])
    painted = np.ones(len(parts), int) if n_painted is None else np.array(n_painted)
    probability = phase_sums(of_class, sets, names)
    present = _held_by(classes, sets, names)
    kept = present.any(spatial_dims(present)).values & (painted @ sets > 0)
    probability, present = (a.isel({PHASE: kept}) for a in (probability, present))
    best = (probability.where(present, -1).argmax(PHASE) + 1).astype(np.uint8)
    label = label_array(best.data, best, list(present[PHASE].values))
    label.attrs["flag_colors"] = " ".join(["none", *colors_of_phases(classes, label)])
    label.attrs["history"] = classes.attrs["history"]
    pure = alone_pixels(present).rename("pure")
    attrs = {
        "n_painted": (painted @ sets)[kept].tolist(),
        "phase_notes": [f"no pixel has {n}" for n, k in zip(names, kept, strict=True) if not k],
    }
    return segmentation_of(present, probability, pure, label).assign_attrs(attrs)


def _held_by(classes: xr.DataArray, sets: np.ndarray, names: list[str]) -> xr.DataArray:
    """Return which phases the class of each pixel holds ``[phase, *spatial; bool]``. Lazy."""
    held = xr.apply_ufunc(
        _held_block,
        classes.drop_attrs(),
        kwargs={"table": np.vstack([np.zeros(len(names), bool), sets])},
        output_core_dims=[[PHASE]],
        dask="parallelized",
        output_dtypes=[bool],
        dask_gufunc_kwargs={"output_sizes": {PHASE: len(names)}},
    )
    held = held.assign_coords({PHASE: names}).transpose(PHASE, *classes.dims)
    return held.rename("present")


def painted_counts(scribbles: xr.DataArray, phases: Sequence[str]) -> np.ndarray:
    """Return how many pixels were painted with each phase, alone or in a combination."""
    number = np.bincount(np.asarray(scribbles.values).ravel(), minlength=256)
    found = np.zeros(len(phases), int)
    for i, name in enumerate(phase_names(scribbles), 1):
        found += number[i] * np.isin(list(phases), name.split(AND))
    return found


def in_all_classes(scribbles: xr.DataArray, phases: Sequence[str]) -> xr.DataArray:
    """Return which phases every painted class holds ``[phase; bool]``: those are everywhere."""
    painted = np.unique(np.asarray(scribbles.values))
    classes = [name.split(AND) for i, name in enumerate(phase_names(scribbles), 1) if i in painted]
    held = [all(name in one for one in classes) for name in phases]
    return xr.DataArray(held, {PHASE: list(phases)}, PHASE)


def colors_of_phases(scribbles: xr.DataArray, label: xr.DataArray) -> list[str]:
    """Return the colours of a label's phases: those that they were painted in, alone."""
    alone = dict(zip(phase_names(scribbles), phase_colors(scribbles), strict=True))
    own = zip(phase_names(label), phase_colors(label), strict=True)
    return [alone.get(name, color) for name, color in own]


def segmentation_of(
    present: xr.DataArray, probability: xr.DataArray, pure: xr.DataArray, label: xr.DataArray
) -> xr.Dataset:
    """Return a segmentation as :func:`eds_xr.segment` has it; its uncertainty is added."""
    unsure = (1 - abs(2 * probability - 1)).max(PHASE)
    return xr.Dataset(
        {
            "present": present.assign_attrs(long_name="phase is present"),
            "probability": probability.astype(np.float32).assign_attrs(
                long_name="probability that the phase is present", units="1"
            ),
            "pure": pure,
            "label": label,
            "uncertainty": unsure.astype(np.float32).assign_attrs(
                long_name="uncertainty", units="1"
            ),
        }
    )


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("phases of the classes")
def _held_block(classes: np.ndarray, *, table: np.ndarray) -> np.ndarray:
    """Return ``[..., phase]`` of classes ``[...]``."""
    return np.asarray(table[classes])
