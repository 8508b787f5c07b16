"""Names of phases from the elements that an image holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import xarray as xr

from eds_xr.schema import COMPONENT, ENERGY
from eds_xr.xray.detector import peak_sigma_kev
from eds_xr.xray.elements import SYMBOLS
from eds_xr.xray.lines import FAMILIES, family, principal_lines

#: Weaker lines than this part of the phase's strongest name nothing.
LEAST_STRENGTH = 0.08
#: A strongest line holds at least this part of a phase's counts, else its name is a number.
LEAST_LINE = 0.02
#: No element counts as enriched more than this many times.
MOST_ENRICHED = 20.0
#: An element of the sample whose line has this part of a stray one's names the phase before it.
MUCH_BESIDE_STRAY = 0.25
#: Elements of grid, aperture and ion beam.
STRAY = frozenset({"Ar", "Cl", "Cu", "Ga", "Mo", "Xe"})
#: Lines below are not told from the noise peak [keV].
LOWEST_LINE_KEV = 0.2


def name_phases(
    loadings: xr.DataArray, elements: Sequence[str], stray: Collection[str] = STRAY
) -> list[str]:
    """Name components by their strongest line and what they are enriched in, as ``"Fe-O"``.

    Computes: the loadings.

    Parameters
    ----------
    loadings : DataArray [component, energy]
        NMF loadings, energy in keV.
    elements : sequence of str
        Those that the image holds, from :func:`eds_xr.identify`. Where none tells, phases are
        numbered: ``phase_1``; so are those that would share a name.
    stray : collection of str
        Elements of these that grid, holder or microscope emit: they name a phase only where their
        line is four times as strong as any other.
    """
    symbols = [e for e in dict.fromkeys(elements) if e in SYMBOLS]
    strength, symbols = _line_strengths(loadings, symbols)
    sample = [s not in stray for s in symbols]
    names = [_name(i, strength, symbols, sample) for i in range(loadings.sizes[COMPONENT])]
    return [n if names.count(n) == 1 else f"{n}_{i + 1}" for i, n in enumerate(names)]


def _name(phase: int, strength: np.ndarray, symbols: list[str], of_the_sample: list[bool]) -> str:
    own = strength[phase]
    if not symbols or own.max() < LEAST_LINE:
        return f"phase_{phase + 1}"
    first = int(own.argmax())
    of_sample = int(np.where(of_the_sample, own, -1.0).argmax())
    if of_the_sample[of_sample] and own[of_sample] > MUCH_BESIDE_STRAY * own[first]:
        first = of_sample
    others = np.delete(strength, phase, axis=0)
    usual = np.maximum(others, own / MOST_ENRICHED + 1e-12)
    ratio = own / np.exp(np.log(usual).mean(0)) if len(others) else np.ones_like(own)
    enriched = own * np.log(np.maximum(ratio, 1))
    telling = [
        i
        for i in np.argsort(-enriched, kind="stable")
        if i != first and own[i] > LEAST_STRENGTH * own[first] and of_the_sample[i]
    ]
    second = [symbols[i] for i in telling if ratio[i] > 1.1][:1]
    return "-".join([symbols[first], *second])


def _line_strengths(loadings: xr.DataArray, symbols: list[str]) -> tuple[np.ndarray, list[str]]:
    """Return the share of counts in each element's principal line [component, element].

    Families of all elements and a background are fitted together, as lines overlap.
    """
    from scipy.optimize import nnls

    energy = loadings[ENERGY].values.astype(float)
    values = loadings.transpose(COMPONENT, ENERGY).values.astype(float).clip(min=0)
    found = principal_lines(symbols, max(LOWEST_LINE_KEV, float(energy[0])), float(energy[-1]))
    shapes, of = [], []
    for symbol in found:
        for shell in FAMILIES:
            shape = _family_shape(symbol, shell, energy)
            if shape.sum() > 0.5:
                shapes.append(shape)
                of.append(symbol)
    smooth = [np.where(energy > 0.1, np.maximum(energy, 0.1) ** -p, 0) for p in (0, 1, 2)]
    smooth.append(np.exp(-((energy - 1.5) ** 2) / 2))
    table = np.array(shapes + [s / max(s.sum(), 1e-12) for s in smooth]).T
    names = list(found)
    strength = np.zeros((len(values), len(names)))
    for row, spectrum in zip(strength, values, strict=True):
        weight = 1 / np.sqrt(spectrum + 0.01 * spectrum.max() + 1e-12)
        amounts = nnls(table * weight[:, None], spectrum * weight)[0]
        for amount, symbol in zip(amounts, of, strict=False):
            row[names.index(symbol)] = max(row[names.index(symbol)], amount)
    return strength, names


def _family_shape(symbol: str, shell: str, energy: np.ndarray) -> np.ndarray:
    """Return the lines of a family as they are recorded, of those on the axis, sum 1."""
    shape: np.ndarray = np.zeros(energy.size)
    step = energy[1] - energy[0] if energy.size > 1 else 1.0
    lines = family(symbol, shell)
    for line in lines:
        sigma = float(peak_sigma_kev(line.energy_kev))
        peak = np.exp(-0.5 * ((energy - line.energy_kev) / sigma) ** 2)
        if LOWEST_LINE_KEV < line.energy_kev:
            shape += line.weight * peak * step / (sigma * np.sqrt(2 * np.pi))
    total = sum(line.weight for line in lines)
    return shape / total if total > 0 else shape
