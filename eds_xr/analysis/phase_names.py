"""Names of phases from the strongest lines of their spectra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.schema import COMPONENT, ENERGY
from eds_xr.xray.elements import COMMON_ELEMENTS, SYMBOLS
from eds_xr.xray.lines import line_energy_kev, principal_lines

#: Half width of the window about a line, for naming only.
LINE_HALF_WIDTH_KEV = 0.06
#: Below, the L lines of the transition metals lie under the K lines of C, N and O.
LOWEST_LINE_KEV = 1.0


def name_phases(loadings: xr.DataArray, elements: Sequence[str] = ()) -> list[str]:
    """Name components by what they are rich in, such as ``"Mg-Fe"``.

    The two elements whose principal lines are the strongest, in order of strength. Components
    that would share a name are numbered.

    Computes: the loadings.

    Parameters
    ----------
    loadings : DataArray [component, energy]
        NMF loadings, energy in keV.
    elements : sequence of str
        Elements to look for; by default common ones of minerals. Where none has a line within the
        energy axis, phases are numbered: ``phase_1``.
    """
    symbols, values = _line_strengths(loadings, tuple(elements) or COMMON_ELEMENTS)
    if not symbols:
        return [f"phase_{i + 1}" for i in range(loadings.sizes[COMPONENT])]
    names = ["-".join(_strongest(symbols, row)) for row in values]
    return [n if names.count(n) == 1 else f"{n}_{i + 1}" for i, n in enumerate(names)]


def _line_strengths(
    loadings: xr.DataArray, elements: Sequence[str]
) -> tuple[list[str], np.ndarray]:
    """Return the elements with a line in the energy range, and loading in it less its flanks."""
    energy = loadings[ENERGY].values
    values = loadings.transpose(COMPONENT, ENERGY).values
    found, columns = [], []
    # what is no element, or has no line in this range, is passed over: another gives the name
    known = [e for e in elements if e in SYMBOLS]
    lines = principal_lines(known, max(LOWEST_LINE_KEV, float(energy[0])), float(energy[-1]))
    for element, name in lines.items():
        away = np.abs(energy - line_energy_kev(name))
        line = away <= LINE_HALF_WIDTH_KEV
        flanks = (away > LINE_HALF_WIDTH_KEV) & (away <= 2 * LINE_HALF_WIDTH_KEV)
        if line.any() and flanks.any():
            found.append(element)
            columns.append(
                (values[:, line].mean(1) - values[:, flanks].mean(1)).clip(0) * line.sum()
            )
    return found, np.stack(columns, axis=1) if columns else np.zeros((len(values), 0))


def _strongest(symbols: list[str], strength: np.ndarray) -> list[str]:
    """Return one element, or two when the second is not faint."""
    first, *others = np.argsort(-strength, kind="stable")[:2]
    return [symbols[first], *(symbols[i] for i in others if strength[i] > 0.1 * strength[first])]
