"""The phases that a result knows: their spectra, on the energies of an image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.factorisation.solver.loadings import check_loadings
from eds_xr.schema import COMPONENT, ELEMENT, ENERGY, LINE, PHASE, EdsError

Result = xr.DataTree | xr.Dataset | xr.DataArray


class Known(NamedTuple):
    """What explains an image.

    Attributes
    ----------
    image : DataArray [*spatial, energy; counts]
        On the energies of the spectra.
    spectra : ndarray [phase, channel; sum 1]
    names : list of str
    elements : list of str, optional
        Of the sample and stray ones; None where the result does not tell.
    """

    image: xr.DataArray
    spectra: np.ndarray
    names: list[str]
    elements: list[str] | None


def known_phases(image: xr.DataArray, result: Result) -> Known:
    """Return the spectra of which mixtures explain an image.

    Of an analysis those of its factorisation, which explain mixtures best.

    Raises
    ------
    EdsError
        For no such result, or spectra on other energies.
    """
    table = _table(result)
    if COMPONENT not in table.coords:
        table = table.assign_coords({COMPONENT: np.arange(table.sizes[COMPONENT])})
    part = _on_energies(image, table)
    check_loadings(table, part, "the spectra")
    spectra = table.transpose(COMPONENT, ENERGY).values
    names = [str(name) for name in table[COMPONENT].values]
    return Known(part, spectra / spectra.sum(axis=1, keepdims=True), names, elements_of(result))


def _table(result: Result) -> xr.DataArray:
    """Return non-negative spectra [component, energy] of a result."""
    if isinstance(result, xr.DataTree) and "factors" in result.children:
        result = result["factors"].to_dataset()
    found: object = result
    if isinstance(result, xr.Dataset):
        name = next((n for n in ("loadings", "counts") if n in result), None)
        found = None if name is None else result[name]
    if not isinstance(found, xr.DataArray) or not {ENERGY} < set(found.dims):
        raise EdsError(
            "expected the result of analyse or nmf, or spectra [phase, energy], found "
            f"{type(result).__name__}; make one with image.eds.nmf() or image.eds.analyse()"
        )
    table = found.compute().astype(float).clip(min=0)
    return table.rename({PHASE: COMPONENT}) if PHASE in table.dims else table


def _on_energies(image: xr.DataArray, table: xr.DataArray) -> xr.DataArray:
    if image.sizes[ENERGY] == table.sizes[ENERGY]:
        return image
    low, high = (float(e) for e in table[ENERGY].values[[0, -1]])
    return image.sel({ENERGY: slice(low - 1e-6, high + 1e-6)})


def elements_of(result: Result) -> list[str] | None:
    """Return the elements of an analysis, of the sample and stray; None of another result."""
    if not isinstance(result, xr.DataTree):
        return None
    found: list[str] = []
    if "identification" in result.children:
        table = result["identification"].to_dataset()
        found += [str(e) for e in table[ELEMENT].values[table["found"].values]]
    if "lines" in result.children:
        found += [str(n).split("_")[0] for n in result["lines"].to_dataset()[LINE].values]
    return list(dict.fromkeys(found)) or None
