"""STEM-EDS spectrum images of any size to quantified phases, out of core, as labelled xarray.

>>> import eds_xr
>>> store = eds_xr.convert("map.hspy")                                  # doctest: +SKIP
>>> image = eds_xr.open(store)                                          # doctest: +SKIP
>>> phases = image.eds.segment()                                        # doctest: +SKIP
>>> spectra = image.eds.sum_spectra(phases.label.eds.masks())           # doctest: +SKIP
>>> lines = spectra.eds.fit_lines()                                     # doctest: +SKIP
>>> lines.eds.quantify().atomic_fraction                                # doctest: +SKIP
"""

from eds_xr import accessor as _accessor  # noqa: F401  (registers .eds)
from eds_xr import (
    classify,
    features,
    graph_cut,
    k_factors,
    masks,
    readers,
    samples,
    scribbles,
    simulate,
)
from eds_xr.identify import identify
from eds_xr.line_fit import Bremsstrahlung, MissingLineWarning, calibrate, fit_lines
from eds_xr.maps import element_map, element_maps, fitted_maps, hold_out, rebin, split_counts
from eds_xr.minerals import formula, formula_text, oxides
from eds_xr.mixing import mixing_uncertainty, move_shares, purest, remove_baseline
from eds_xr.nmf import nmf, nmf_spread
from eds_xr.partition import partition_coefficients, shared_covariance
from eds_xr.provenance import history, package_version
from eds_xr.quantify import (
    quantify,
    quantify_cross_sections,
    quantify_zeta,
    ratio,
    standardless_k_factors,
)
from eds_xr.rank import suggest_rank
from eds_xr.schema import EdsError
from eds_xr.segment import segment
from eds_xr.spectra import (
    SubtractionWarning,
    add_common_errors,
    net_counts,
    subtract_phase,
    sum_spectra,
)
from eds_xr.store import convert, info, open, save
from eds_xr.tables import to_table, to_text, write_csv
from eds_xr.traces import compare_regions, upper_limits
from eds_xr.unmix import extend_loadings, project, refine_spectra, unmix

__version__ = package_version()

__all__ = [
    "Bremsstrahlung",
    "EdsError",
    "MissingLineWarning",
    "SubtractionWarning",
    "add_common_errors",
    "calibrate",
    "classify",
    "compare_regions",
    "convert",
    "element_map",
    "element_maps",
    "extend_loadings",
    "features",
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
    "masks",
    "mixing_uncertainty",
    "move_shares",
    "net_counts",
    "nmf",
    "nmf_spread",
    "open",
    "oxides",
    "partition_coefficients",
    "project",
    "purest",
    "quantify",
    "quantify_cross_sections",
    "quantify_zeta",
    "ratio",
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
    "subtract_phase",
    "suggest_rank",
    "sum_spectra",
    "to_table",
    "to_text",
    "unmix",
    "upper_limits",
    "write_csv",
]
