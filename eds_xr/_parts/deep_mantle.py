"""Which component of a deep-mantle assemblage is which phase."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.schema import ENERGY
from eds_xr.xray_lines import line_windows_kev


def which_phases(loadings: xr.DataArray, phases: Sequence[str]) -> list[str]:
    """Name the components by the `phases` (matrix, Fp, Ca-Pv).

    Most Ca is Ca-Pv; of the others the higher Mg / Si is Fp.
    """
    matrix, periclase, perovskite = phases
    mg, si, ca = (_line_share(loadings, line) for line in ("Mg_Ka", "Si_Ka", "Ca_Ka"))
    richest = int(np.argmax(ca))
    ratio = np.where(np.arange(ca.size) == richest, -1.0, mg / (mg + si))
    names = [matrix] * ca.size
    names[richest], names[int(np.argmax(ratio))] = perovskite, periclase
    return names


def _line_share(loadings: xr.DataArray, line: str) -> np.ndarray:
    low, high = line_windows_kev(line)[0]
    return np.asarray(loadings.sel({ENERGY: slice(low, high)}).sum(ENERGY).values, float)
