"""Results of the study: plain numbers (JSON), tables (CSV), one file of labelled arrays."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.analysis.deep_mantle.study import GRAINS, MATRIX, PHASES, RECIPE, RECTANGLE, Study
from eds_xr.atomic_write import written_file
from eds_xr.composition.minerals import formula_text, oxides
from eds_xr.composition.pairs import QUANTITY
from eds_xr.composition.partition import partition_coefficients, shared_covariance
from eds_xr.composition.quantify import quantify
from eds_xr.composition.traces import compare_regions
from eds_xr.factorisation.mixing import purest
from eds_xr.report.tables import write_csv
from eds_xr.schema import ASSUMED, COMPONENT, ELEMENT, ENERGY, LINE, PHASE, spatial_dims
from eds_xr.xray.windows import line_windows_kev

#: Elements that are written together in a formula.
SITES = {phase.name: phase.sites or () for phase in RECIPE.phases}


def results(study: Study, *, name: str, sha256: str) -> dict[str, Any]:
    """Return the numbers of a study, ready for ``json.dump``.

    Parameters
    ----------
    study : Study
        From :func:`eds_xr.analysis.deep_mantle.study.run`.
    name, sha256 : str
        Of the spectrum image.

    Returns
    -------
    dict
        Values with errors are pairs ``[value, standard deviation]``. Those of net counts and atoms
        hold counting, the matrix's variation from place to place and the choice of the background;
        the k-factors' uncertainty comes on top. Those under ``snr`` are counting only. What is
        assumed to be zero has no deviation, ``[0.0, None]``. Partition coefficients of what a grain
        holds too little of are ``{"upper_limit": ...}``.
    """
    rank, lines, composition = (study.part(n) for n in ("rank", "lines", "composition"))
    formulae = study.part("formula")
    sizes = study.masks.sum(spatial_dims(study.masks)).to_series()
    return {
        "sample": {
            "name": name,
            "sha256": sha256,
            "shape": [int(n) for n in study.image.shape],
            "counts": int(study.total.sum()),
        },
        "rank": {
            "suggested": int(rank.attrs["suggested"]),
            "clear": bool(rank.attrs["clear"]),
            "gap": float(rank.attrs["gap"]),
            "eigenvalues": [float(v) for v in rank.eigenvalue.values],
        },
        "nmf": _nmf(study),
        "masks": {
            mask: {"n_pixels": int(n), "fraction": int(n) / study.total.size}
            for mask, n in sizes.items()
        },
        "snr": _snr(study),
        "subtraction": {g: _subtraction(study.part("pure"), g) for g in GRAINS},
        "net_counts": {p: _pairs(lines, "net", "variance", LINE, p) for p in PHASES},
        "atoms": {
            p: _pairs(composition, "atomic_fraction", "atomic_fraction_variance", ELEMENT, p)
            for p in PHASES
        },
        "formula": {
            p: str(formula_text(formulae.sel({PHASE: p}), sites=SITES[p]).values) for p in PHASES
        },
        "partition": {g: _partition(study, g) for g in GRAINS},
        "standardless": bool(composition.attrs["standardless"]),
        "calibration": {
            key.removeprefix("calibration_"): value
            for key, value in lines.attrs.items()
            if key.startswith("calibration_")
        },
        "reduced_chi2": {p: float(lines.reduced_chi2.sel({PHASE: p})) for p in PHASES},
        "warnings": list(study.tree.attrs["warnings"]),
    }


def save_results(study: Study, path: Path) -> Path:
    """Write the tree of a study, with all its masks, to one netCDF file.

    ``xarray.open_datatree(path)`` opens it. It appears whole or not at all.
    """
    parts = {name: node.to_dataset() for name, node in study.tree.children.items()}
    parts["masks"] = study.masks.to_dataset(name="mask")
    tree = xr.DataTree.from_dict({name: _plain(part) for name, part in parts.items()})
    with written_file(path, overwrite=True) as partial:
        tree.to_netcdf(partial, engine="h5netcdf")
    return path


def tables(study: Study) -> dict[str, xr.Dataset]:
    """Return what a paper tabulates of a study, by name.

    Returns
    -------
    dict of Dataset
        ``net_counts``, ``composition`` (without oxygen), ``composition_unmixed`` (from all
        pixels), ``oxides``, ``formulae`` (on the recipe's oxygens) and ``partition``
        (weight fractions, oxygen by stoichiometry, of each grain over the matrix), over
        ``phase``; ``regions``, the mask against the rectangle.
    """
    return {
        "net_counts": study.part("lines"),
        "composition": study.part("composition"),
        "composition_unmixed": study.part("refined_composition"),
        "oxides": oxides(study.part("composition")),
        "formulae": study.part("formula"),
        "partition": xr.concat(
            [_coefficients(study, g) for g in GRAINS],
            dim=PHASE,
            combine_attrs="override",
            coords="minimal",
            join="exact",
        ),  # fmt: skip
        "regions": _regions(study),
    }


def save_tables(made: Mapping[str, xr.Dataset], folder: Path) -> list[Path]:
    """Write :func:`tables` as CSV files, replacing those of an earlier run."""
    return [
        write_csv(table, folder / f"{name}.csv", overwrite=True) for name, table in made.items()
    ]


def _coefficients(study: Study, grain: str) -> xr.Dataset:
    """Return what the grain takes of each element over the matrix, by weight of the whole oxides.

    The tree's coefficients are by weight without oxygen, of which the phases hold different shares.
    """
    lines, pure = study.part("lines"), study.part("pure")
    whole = quantify(lines, oxygen="stoichiometry")
    one, matrix = (pure.sel({PHASE: p}) for p in (grain, MATRIX))
    pair = {"phase": grain, "reference": MATRIX}
    between = None
    if one.pinned:
        factor = float(one.scale * one.n_pixels / matrix.n_pixels)
        between = shared_covariance(lines, whole, factor=factor, **pair)
    found = partition_coefficients(whole, between=between, **pair)
    return found.drop_sel({ELEMENT: "O"})


def _partition(study: Study, grain: str) -> dict[str, Any]:
    """Return coefficients with errors where the grain's share is detected, else upper limits."""
    found: dict[str, Any] = {}
    coefficients = _coefficients(study, grain)
    for name in coefficients[ELEMENT].values:
        one = coefficients.sel({ELEMENT: name})
        value, variance = float(one[QUANTITY]), float(one[f"{QUANTITY}_variance"])
        limit = float(one[f"{QUANTITY}_upper_limit"])
        if one[ASSUMED]:
            found[str(name)] = [0.0, None]
        elif one[f"{QUANTITY}_detected"] and np.isfinite(limit):
            found[str(name)] = [value, variance**0.5]
        else:  # the matrix may hold none of it
            found[str(name)] = {"upper_limit": limit if np.isfinite(limit) else None}
    return found


def _nmf(study: Study) -> dict[str, Any]:
    factors = study.part("factors")
    return {
        "loss": str(factors.attrs["loss"]),
        "seed": study.seed,
        "deviance": float(factors.attrs["deviance"]),
        "map_correlation": {g: study.map_correlation[g] for g in reversed(GRAINS)},
        "rotation_residual": float(purest(factors).attrs["rotation_residual"]),
        "brg_loading_mg_si": _mg_si(factors.loadings.sel({COMPONENT: MATRIX})),
        "brg_mask_mg_si": _mg_si(study.spectra.counts.sel({PHASE: MATRIX})),
    }


def _mg_si(spectrum: xr.DataArray) -> float:
    """Return the ratio of the counts in the windows of Mg Ka and Si Ka, background included."""
    mg, si = (
        float(spectrum.sel({ENERGY: slice(*line_windows_kev(line)[0])}).sum())
        for line in ("Mg_Ka", "Si_Ka")
    )
    return mg / si


def _regions(study: Study) -> xr.Dataset:
    masks = study.masks.sel({PHASE: study.regions[PHASE]})
    return compare_regions(study.spectra, study.regions, reference=RECTANGLE, masks=masks)


def _snr(study: Study) -> dict[str, Any]:
    compared, found = _regions(study), {}
    for line in ("Nd_La", "Sm_La"):
        parts = {}
        for key, phase in (("mask", MATRIX), ("rectangle", RECTANGLE)):
            one = compared.sel({PHASE: phase, LINE: line})
            net, sd = (float(one[n] * one.n_pixels) for n in ("signal", "noise"))
            parts[key] = {"net": net, "sd": sd, "snr": net / sd}
        mask = compared.sel({PHASE: MATRIX, LINE: line})
        found[line] = parts | {
            "gain": float(mask.snr_gain),
            "signal_gain": float(mask.signal_gain),
            "noise_gain": float(mask.noise_gain),
        }
    return found


def _subtraction(pure: xr.Dataset, grain: str) -> dict[str, Any]:
    one = pure.sel({PHASE: grain})
    scale, sd = float(one.scale), float(one.scale_variance) ** 0.5
    return {"scale": scale, "scale_sd": sd, "line": str(one.pinned.values)}


def _pairs(
    data: xr.Dataset, value: str, variance: str, dim: str, phase: str
) -> dict[str, list[float | None]]:
    one = data.sel({PHASE: phase})
    parts = (one[n].values.tolist() for n in (dim, value, variance, ASSUMED))
    return {
        str(name): [number, None if assumed else spread**0.5]
        for name, number, spread, assumed in zip(*parts, strict=True)
    }


def _plain(data: xr.Dataset) -> xr.Dataset:
    """Return a Dataset that netCDF can hold: no empty lists in attributes."""

    def keep(attrs: dict[Hashable, Any]) -> dict[Hashable, Any]:
        return {k: v for k, v in attrs.items() if not (isinstance(v, list | tuple) and not v)}

    plain = data.copy()
    plain.attrs = keep(plain.attrs)
    for name in plain.variables:
        plain[name].attrs = keep(plain[name].attrs)
    return plain
