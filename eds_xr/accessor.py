"""``.eds`` on DataArrays and Datasets: the plain functions, bound once. Nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import xarray as xr

from eds_xr.figures import draw_image, draw_mask, draw_spectra
from eds_xr.line_fit import fit_lines
from eds_xr.maps import element_map, element_maps, rebin, split_counts
from eds_xr.masks import confident_pixels, describe, from_labels, significance
from eds_xr.mixing import mixing_uncertainty, purest, remove_baseline
from eds_xr.nmf import nmf, nmf_spread
from eds_xr.quantify import quantify, ratio
from eds_xr.rank import suggest_rank
from eds_xr.segment import segment
from eds_xr.spectra import net_counts, subtract_phase, sum_spectra
from eds_xr.store import save
from eds_xr.unmix import extend_loadings, project, unmix


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """Bind a function whose first argument is the array: its docstring is the method's."""

    @wraps(function)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self._data, *args, **kwargs)

    return method


def _drawing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Bind a drawing, on new axes of pyplot when none are given."""

    @wraps(function)
    def method(self: Any, axes: Any = None, **kwargs: Any) -> Any:
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.subplots(layout="constrained")[1]
        return function(axes, self._data, **kwargs)

    return method


@xr.register_dataarray_accessor("eds")
class ArrayAccessor:
    """Methods of spectrum images, scores, labels and masks."""

    def __init__(self, data: xr.DataArray) -> None:
        self._data = data

    rebin = _method(rebin)
    split_counts = _method(split_counts)
    element_map = _method(element_map)
    element_maps = _method(element_maps)
    nmf = _method(nmf)
    nmf_spread = _method(nmf_spread)
    suggest_rank = _method(suggest_rank)
    project = _method(project)
    unmix = _method(unmix)
    segment = _method(segment)
    sum_spectra = _method(sum_spectra)
    confident_pixels = _method(confident_pixels)
    significance = _method(significance)
    masks = _method(from_labels)
    describe = _method(describe)
    save = _method(save)
    draw_image = _drawing(draw_image)
    draw_mask = _drawing(draw_mask)
    draw_spectra = _drawing(draw_spectra)


@xr.register_dataset_accessor("eds")
class DatasetAccessor:
    """Methods of factorisations, spectra, lines and compositions."""

    def __init__(self, data: xr.Dataset) -> None:
        self._data = data

    purest = _method(purest)
    mixing_uncertainty = _method(mixing_uncertainty)
    remove_baseline = _method(remove_baseline)
    subtract_phase = _method(subtract_phase)
    net_counts = _method(net_counts)
    extend_loadings = _method(extend_loadings)
    fit_lines = _method(fit_lines)
    quantify = _method(quantify)
    ratio = _method(ratio)
