"""STEM-EDS spectrum images of any size to quantified phases, out of core, as labelled xarray.

>>> import eds_xr
>>> store = eds_xr.convert("map.hspy")                                  # doctest: +SKIP
>>> image = eds_xr.open(store)                                          # doctest: +SKIP
>>> phases = image.eds.segment()                                        # doctest: +SKIP
>>> spectra = image.eds.sum_spectra(phases.present)                     # doctest: +SKIP
>>> lines = spectra.eds.fit_lines()                                     # doctest: +SKIP
>>> lines.eds.quantify().atomic_fraction                                # doctest: +SKIP
"""

from eds_xr import accessor as _accessor  # noqa: F401  (registers .eds)
from eds_xr import readers, samples
from eds_xr.analysis.analyse import analyse
from eds_xr.analysis.mixing_intervals.intervals import mixing_intervals
from eds_xr.analysis.mixing_intervals.stated_errors import wider_than_stated
from eds_xr.analysis.plan import plan
from eds_xr.analysis.recipe import Recipe, read_recipe, write_recipe
from eds_xr.analysis.segment import segment
from eds_xr.analysis.self_check.check import check
from eds_xr.analysis.strangers.find import find_strangers
from eds_xr.analysis.zoning.zoning import zoning
from eds_xr.app.explore import explore
from eds_xr.app.labeller.label import label
from eds_xr.cluster.supervision import supervised
from eds_xr.composition import k_factors
from eds_xr.composition.absolute import quantify_cross_sections, quantify_zeta
from eds_xr.composition.film.thickness_map import thickness_map
from eds_xr.composition.k_factors.standardless import standardless_k_factors
from eds_xr.composition.minerals import formula, formula_text, oxides
from eds_xr.composition.partition import partition_coefficients, shared_covariance
from eds_xr.composition.quantify import quantify
from eds_xr.composition.ratios import ratio
from eds_xr.composition.traces import compare_regions, upper_limits
from eds_xr.composition.uncertainty.budget import budget
from eds_xr.factorisation.component_kinds.kinds import component_kinds, merge_kinds
from eds_xr.factorisation.known_spectra.refine import refine_spectra
from eds_xr.factorisation.known_spectra.unexplained import unexplained
from eds_xr.factorisation.known_spectra.unmix import extend_loadings, project, unmix
from eds_xr.factorisation.mixing import mixing_uncertainty, move_shares, purest, remove_baseline
from eds_xr.factorisation.nmf import nmf, nmf_spread
from eds_xr.factorisation.rank import suggest_rank
from eds_xr.image.detectors import sum_detectors
from eds_xr.image.element_maps import element_map, element_maps
from eds_xr.image.rebin import rebin
from eds_xr.image.split import hold_out, split_counts
from eds_xr.provenance import history, package_version
from eds_xr.report.tables import to_table, to_text, write_csv
from eds_xr.samples import simulate
from eds_xr.schema import EdsError
from eds_xr.segmentation import classify, features, graph_cut, labelling, masks, scribbles
from eds_xr.spectra.common_errors import add_common_errors
from eds_xr.spectra.detectors import DetectorWarning, compare_detectors
from eds_xr.spectra.hole import subtract_hole
from eds_xr.spectra.identification.identify import AxisWarning, identify
from eds_xr.spectra.line_fits.chosen_lines import LeftOutWarning
from eds_xr.spectra.line_fits.fit_lines import MissingLineWarning, calibrate, fit_lines
from eds_xr.spectra.line_fits.fitted_maps import fitted_maps
from eds_xr.spectra.reference_share import net_counts
from eds_xr.spectra.shapes.background import Bremsstrahlung
from eds_xr.spectra.shapes.families import Calibration
from eds_xr.spectra.subtraction import SubtractionWarning, subtract_phase
from eds_xr.spectra.sums import sum_spectra
from eds_xr.store.conversion import convert, info
from eds_xr.store.opening import open
from eds_xr.store.saving import save
from eds_xr.xray.own_detector import with_detector


def __getattr__(name: str) -> str:
    """Return the version, when somebody asks: to read it takes 70 ms."""
    if name == "__version__":
        return package_version()
    raise AttributeError(f"module 'eds_xr' has no attribute {name!r}")


__all__ = [
    "AxisWarning",
    "Bremsstrahlung",
    "Calibration",
    "DetectorWarning",
    "EdsError",
    "LeftOutWarning",
    "MissingLineWarning",
    "Recipe",
    "SubtractionWarning",
    "add_common_errors",
    "analyse",
    "budget",
    "calibrate",
    "check",
    "classify",
    "compare_detectors",
    "compare_regions",
    "component_kinds",
    "convert",
    "element_map",
    "element_maps",
    "explore",
    "extend_loadings",
    "features",
    "find_strangers",
    "fit_lines",
    "fitted_maps",
    "formula",
    "formula_text",
    "graph_cut",
    "history",
    "hold_out",
    "identify",
    "info",
    "k_factors",
    "label",
    "labelling",
    "masks",
    "merge_kinds",
    "mixing_intervals",
    "mixing_uncertainty",
    "move_shares",
    "net_counts",
    "nmf",
    "nmf_spread",
    "open",
    "oxides",
    "partition_coefficients",
    "plan",
    "project",
    "purest",
    "quantify",
    "quantify_cross_sections",
    "quantify_zeta",
    "ratio",
    "read_recipe",
    "readers",
    "rebin",
    "refine_spectra",
    "remove_baseline",
    "samples",
    "save",
    "scribbles",
    "segment",
    "shared_covariance",
    "simulate",
    "split_counts",
    "standardless_k_factors",
    "subtract_hole",
    "subtract_phase",
    "suggest_rank",
    "sum_detectors",
    "sum_spectra",
    "supervised",
    "thickness_map",
    "to_table",
    "to_text",
    "unexplained",
    "unmix",
    "upper_limits",
    "wider_than_stated",
    "with_detector",
    "write_csv",
    "write_recipe",
    "zoning",
]
