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
from eds_xr import masks, readers, samples, scribbles, simulate
from eds_xr.line_fit import calibrate, fit_lines
from eds_xr.maps import element_map, element_maps, rebin, split_counts
from eds_xr.mixing import mixing_uncertainty, move_shares, purest, remove_baseline
from eds_xr.nmf import nmf, nmf_spread
from eds_xr.provenance import history, package_version
from eds_xr.quantify import quantify, ratio, standardless_k_factors
from eds_xr.rank import suggest_rank
from eds_xr.schema import EdsError
from eds_xr.segment import segment
from eds_xr.spectra import SubtractionWarning, net_counts, subtract_phase, sum_spectra
from eds_xr.store import convert, info, open, save
from eds_xr.unmix import extend_loadings, project, unmix

__version__ = package_version()

__all__ = [
    "EdsError",
    "SubtractionWarning",
    "calibrate",
    "convert",
    "element_map",
    "element_maps",
    "extend_loadings",
    "fit_lines",
    "history",
    "info",
    "masks",
    "mixing_uncertainty",
    "move_shares",
    "net_counts",
    "nmf",
    "nmf_spread",
    "open",
    "project",
    "purest",
    "quantify",
    "ratio",
    "readers",
    "rebin",
    "remove_baseline",
    "samples",
    "save",
    "scribbles",
    "segment",
    "simulate",
    "split_counts",
    "standardless_k_factors",
    "subtract_phase",
    "suggest_rank",
    "sum_spectra",
    "unmix",
]
