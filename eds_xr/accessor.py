"""``.eds`` on DataArrays, Datasets and DataTrees: the plain functions, bound once. Nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import xarray as xr

from eds_xr.analysis.analyse import analyse
from eds_xr.analysis.mixing_intervals.intervals import mixing_intervals
from eds_xr.analysis.mixing_intervals.stated_errors import wider_than_stated
from eds_xr.analysis.plan import plan
from eds_xr.analysis.segment import segment
from eds_xr.analysis.self_check.check import check
from eds_xr.analysis.strangers.find import find_strangers
from eds_xr.analysis.zoning.zoning import zoning
from eds_xr.app.explore import explore
from eds_xr.app.labeller.label import label
from eds_xr.cluster.supervision import computes
from eds_xr.composition.absolute import quantify_cross_sections, quantify_zeta
from eds_xr.composition.film.thickness_map import thickness_map
from eds_xr.composition.minerals import formula, formula_text, oxides
from eds_xr.composition.partition import partition_coefficients
from eds_xr.composition.quantify import quantify
from eds_xr.composition.ratios import ratio
from eds_xr.composition.traces import compare_regions, upper_limits
from eds_xr.composition.uncertainty.budget import budget
from eds_xr.factorisation.component_kinds.kinds import component_kinds, merge_kinds
from eds_xr.factorisation.known_spectra.refine import refine_spectra
from eds_xr.factorisation.known_spectra.unexplained import unexplained
from eds_xr.factorisation.known_spectra.unmix import extend_loadings, project, unmix
from eds_xr.factorisation.mixing import mixing_uncertainty, purest, remove_baseline
from eds_xr.factorisation.nmf import nmf, nmf_spread
from eds_xr.factorisation.rank import suggest_rank
from eds_xr.image.detectors import sum_detectors
from eds_xr.image.element_maps import element_map, element_maps
from eds_xr.image.rebin import rebin
from eds_xr.image.split import hold_out, split_counts
from eds_xr.report.drawn_table import plot_table
from eds_xr.report.page.page import write_report
from eds_xr.report.pictures.components import plot_components, plot_rank
from eds_xr.report.pictures.errors import plot_budget, plot_partition
from eds_xr.report.pictures.fits import plot_fit
from eds_xr.report.pictures.maps import plot_maps, plot_rgb, plot_strangers
from eds_xr.report.pictures.phases import plot_phases
from eds_xr.report.pictures.plot import plot
from eds_xr.report.pictures.profiles import plot_profile
from eds_xr.report.pictures.spectra import plot_spectra
from eds_xr.report.tables import to_table, to_text, write_csv
from eds_xr.segmentation.confident import confident_pixels, significance
from eds_xr.segmentation.masks import describe, from_labels
from eds_xr.spectra.common_errors import add_common_errors
from eds_xr.spectra.detectors import compare_detectors
from eds_xr.spectra.hole import subtract_hole
from eds_xr.spectra.identification.identify import identify
from eds_xr.spectra.line_fits.fit_lines import fit_lines
from eds_xr.spectra.line_fits.fitted_maps import fitted_maps
from eds_xr.spectra.reference_share import net_counts
from eds_xr.spectra.subtraction import subtract_phase
from eds_xr.spectra.sums import sum_spectra
from eds_xr.store.saving import save
from eds_xr.xray.own_detector import with_detector


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """Bind a function whose first argument is the array: its docstring is the method's."""
    supervised = computes(function)

    @wraps(function)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return supervised(self._data, *args, **kwargs)

    return method


@xr.register_dataarray_accessor("eds")
class ArrayAccessor:
    """Methods of spectrum images, scores, labels and masks."""

    def __init__(self, data: xr.DataArray) -> None:
        self._data = data

    with_detector = _method(with_detector)
    rebin = _method(rebin)
    split_counts = _method(split_counts)
    element_map = _method(element_map)
    element_maps = _method(element_maps)
    fitted_maps = _method(fitted_maps)
    hold_out = _method(hold_out)
    nmf = _method(nmf)
    nmf_spread = _method(nmf_spread)
    suggest_rank = _method(suggest_rank)
    project = _method(project)
    extend_loadings = _method(extend_loadings)
    mixing_intervals = _method(mixing_intervals)
    unmix = _method(unmix)
    unexplained = _method(unexplained)
    find_strangers = _method(find_strangers)
    zoning = _method(zoning)
    refine_spectra = _method(refine_spectra)
    segment = _method(segment)
    label = _method(label)
    analyse = _method(analyse)
    plan = _method(plan)
    explore = _method(explore)
    sum_spectra = _method(sum_spectra)
    sum_detectors = _method(sum_detectors)
    compare_detectors = _method(compare_detectors)
    confident_pixels = _method(confident_pixels)
    significance = _method(significance)
    masks = _method(from_labels)
    describe = _method(describe)
    save = _method(save)
    plot = _method(plot)
    plot_maps = _method(plot_maps)
    plot_phases = _method(plot_phases)
    plot_profile = _method(plot_profile)
    plot_rgb = _method(plot_rgb)
    plot_spectra = _method(plot_spectra)


@xr.register_dataset_accessor("eds")
class DatasetAccessor:
    """Methods of factorisations, spectra, lines and compositions."""

    def __init__(self, data: xr.Dataset) -> None:
        self._data = data

    purest = _method(purest)
    component_kinds = _method(component_kinds)
    merge_kinds = _method(merge_kinds)
    mixing_uncertainty = _method(mixing_uncertainty)
    wider_than_stated = _method(wider_than_stated)
    remove_baseline = _method(remove_baseline)
    subtract_hole = _method(subtract_hole)
    sum_detectors = _method(sum_detectors)
    compare_detectors = _method(compare_detectors)
    subtract_phase = _method(subtract_phase)
    net_counts = _method(net_counts)
    identify = _method(identify)
    with_detector = _method(with_detector)
    fit_lines = _method(fit_lines)
    add_common_errors = _method(add_common_errors)
    compare_regions = _method(compare_regions)
    quantify = _method(quantify)
    quantify_zeta = _method(quantify_zeta)
    quantify_cross_sections = _method(quantify_cross_sections)
    thickness_map = _method(thickness_map)
    ratio = _method(ratio)
    oxides = _method(oxides)
    formula = _method(formula)
    formula_text = _method(formula_text)
    partition_coefficients = _method(partition_coefficients)
    upper_limits = _method(upper_limits)
    budget = _method(budget)
    to_table = _method(to_table)
    to_text = _method(to_text)
    write_csv = _method(write_csv)
    plot = _method(plot)
    plot_budget = _method(plot_budget)
    plot_components = _method(plot_components)
    plot_fit = _method(plot_fit)
    plot_maps = _method(plot_maps)
    plot_partition = _method(plot_partition)
    plot_phases = _method(plot_phases)
    plot_profile = _method(plot_profile)
    plot_rank = _method(plot_rank)
    plot_rgb = _method(plot_rgb)
    plot_spectra = _method(plot_spectra)
    plot_strangers = _method(plot_strangers)
    plot_table = _method(plot_table)


@xr.register_datatree_accessor("eds")
class TreeAccessor:
    """Methods of analyses."""

    def __init__(self, data: xr.DataTree) -> None:
        self._data = data

    check = _method(check)
    write_report = _method(write_report)
