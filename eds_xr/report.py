"""Results of the study as plain numbers (JSON) and as one file of labelled arrays."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import xarray as xr

from eds_xr.schema import COMPONENT, ELEMENT, ENERGY, LINE, PHASE
from eds_xr.study import GRAINS, MATRIX, PHASES, PINNED, Study
from eds_xr.xray_lines import line_windows_kev


def results(study: Study, *, name: str, sha256: str) -> dict[str, Any]:
    """Return the numbers of a study, ready for ``json.dump``.

    Parameters
    ----------
    study : Study
        From :func:`eds_xr.study.run`.
    name, sha256 : str
        Of the spectrum image.

    Returns
    -------
    dict
        Values with errors are pairs ``[value, standard deviation]``. Those of net counts and
        atoms hold counting, the matrix's variation from place to place and the choice of the
        background; the k-factors' uncertainty comes on top. Those under ``snr`` are counting only.
    """
    return {
        "sample": {
            "name": name,
            "sha256": sha256,
            "shape": [int(n) for n in study.image.shape],
            "counts": int(study.total.sum()),
        },
        "rank": {
            "suggested": int(study.rank.attrs["suggested"]),
            "clear": bool(study.rank.attrs["clear"]),
            "gap": float(study.rank.attrs["gap"]),
            "eigenvalues": [float(v) for v in study.rank.eigenvalue.values],
        },
        "nmf": _nmf(study),
        "masks": _masks(study),
        "snr": {line: _snr(study.regions, line) for line in ("Nd_La", "Sm_La")},
        "subtraction": {g: _subtraction(study.pure, g) for g in GRAINS},
        "net_counts": {p: _pairs(study.lines, "net", "variance", LINE, p) for p in PHASES},
        "atoms": {
            p: _pairs(study.composition, "atomic_fraction", "atomic_fraction_variance", ELEMENT, p)
            for p in PHASES
        },
        "standardless": bool(study.composition.attrs["standardless"]),
        "calibration": {
            key.removeprefix("calibration_"): value
            for key, value in study.lines.attrs.items()
            if key.startswith("calibration_")
        },
        "reduced_chi2": {p: float(study.lines.reduced_chi2.sel({PHASE: p})) for p in PHASES},
        "warnings": list(study.warnings),
    }


def save_results(study: Study, path: Path) -> Path:
    """Write all arrays of a study to one netCDF file, a group each.

    ``xarray.open_datatree(path)`` opens it. It appears whole or not at all.
    """
    parts = {
        "scores": study.rotated,
        "segmentation": study.segmentation,
        "masks": study.masks.to_dataset(name="mask"),
        "spectra": study.spectra,
        "pure": study.pure,
        "lines": study.lines,
        "composition": study.composition,
        "rank": study.rank,
    }
    tree = xr.DataTree.from_dict({name: _plain(part) for name, part in parts.items()})
    partial = path.with_name(f".{path.name}.partial")
    try:
        tree.to_netcdf(partial, engine="h5netcdf")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _nmf(study: Study) -> dict[str, Any]:
    loading = study.rotated.loadings.sel({COMPONENT: MATRIX})
    matrix = study.spectra.counts.sel({PHASE: MATRIX})
    return {
        "loss": str(study.factors.attrs["loss"]),
        "seed": study.seed,
        "deviance": float(study.factors.attrs["deviance"]),
        "map_correlation": {g: study.map_correlation[g] for g in reversed(GRAINS)},
        "rotation_residual": float(study.rotated.attrs["rotation_residual"]),
        "brg_loading_mg_si": _mg_si(loading),
        "brg_mask_mg_si": _mg_si(matrix),
    }


def _mg_si(spectrum: xr.DataArray) -> float:
    """Return the ratio of the counts in the windows of Mg Ka and Si Ka, background included."""
    mg, si = (
        float(spectrum.sel({ENERGY: slice(*line_windows_kev(line)[0])}).sum())
        for line in ("Mg_Ka", "Si_Ka")
    )
    return mg / si


def _masks(study: Study) -> dict[str, Any]:
    pixels = study.masks.sizes["y"] * study.masks.sizes["x"]
    sizes = study.spectra.n_pixels
    return {
        str(p): {
            "n_pixels": int(sizes.sel({PHASE: p})),
            "fraction": int(sizes.sel({PHASE: p})) / pixels,
        }
        for p in sizes[PHASE].values
    }


def _snr(regions: xr.Dataset, line: str) -> dict[str, Any]:
    found = {}
    for key, phase in (("mask", MATRIX), ("rectangle", "rectangle")):
        one = regions.sel({PHASE: phase, LINE: line})
        net, sd = float(one.net), float(one.variance) ** 0.5
        found[key] = {"net": net, "sd": sd, "snr": net / sd}
    return {**found, "gain": found["mask"]["snr"] / found["rectangle"]["snr"]}


def _subtraction(pure: xr.Dataset, grain: str) -> dict[str, Any]:
    one = pure.sel({PHASE: grain})
    return {
        "scale": float(one.scale),
        "scale_sd": float(one.scale_variance) ** 0.5,
        "line": PINNED[grain],
    }


def _pairs(
    data: xr.Dataset, value: str, variance: str, dim: str, phase: str
) -> dict[str, list[float]]:
    one = data.sel({PHASE: phase})
    return {
        str(name): [
            float(one[value].sel({dim: name})),
            float(one[variance].sel({dim: name})) ** 0.5,
        ]
        for name in one[dim].values
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
