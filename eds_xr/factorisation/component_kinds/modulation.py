"""How much of a spectrum a smooth change of another explains, on plain arrays.

Absorption multiplies a spectrum by ``1 - sum of c_k a_k(E)`` with all ``c_k`` of one sign: ``a_0``
falls as ``E**-2.8``, the others so from the absorption edges of the strong lines on, just above
them. The background has a strength and a slope of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eds_xr.factorisation.purest.continuum import channels_of_a_line, continuum

#: Photoabsorption falls with this power of the energy, which below that [keV] is taken for that.
FALL, LOWEST_KEV = 2.8, 0.2
#: An edge lies above its line by this factor; lines above this energy absorb nothing [keV].
EDGE, HARDEST_KEV = 1.05, 4.0
#: How many edges.
EDGES = 5


def unexplained(
    c: int,
    others: Sequence[int],
    loadings: np.ndarray,
    energy: np.ndarray,
    first: np.ndarray,
    sigma: np.ndarray,
) -> tuple[int, float, bool]:
    """Return whose change explains most of what `c` has beyond mixtures of `others`.

    Parameters
    ----------
    c, others
        A component, and those it is compared with.
    loadings, energy : ndarray [component, channel], [channel; keV]
    first : ndarray [group]
        First channels of the groups in which spectra are compared.
    sigma : ndarray [group]
        Standard deviation of what is compared.

    Returns
    -------
    parent : int
    left : float
        Share that is left unexplained, noise taken off.
    soft : bool
        The background alone explains as much.
    """
    grouped = np.add.reduceat(loadings, first, axis=1) / sigma
    known = np.linalg.qr(grouped[list(others)].T)[0]
    own = grouped[c] - known @ (known.T @ grouped[c])
    whole = max(float(own @ own) - (len(own) - len(others)), 1e-9)
    best = (int(others[0]), np.inf, False)
    for parent in others:
        absorbed, back = _changes(loadings[parent], energy)
        soft = np.add.reduceat(back, first, axis=1) / sigma
        hard = np.add.reduceat(absorbed, first, axis=1) / sigma
        without = _left(own, known, soft, hard[:0])
        with_all = min(_left(own, known, soft, sign * hard) for sign in (1.0, -1.0))
        freedom = len(own) - len(others) - len(soft)
        left = max(0.0, with_all - freedom) / whole
        if left < best[1]:
            best = (int(parent), left, max(0.0, without - freedom) / whole < left + 0.05)
    return best


def beyond_others(
    c: int, others: Sequence[int], summed: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, float, int]:
    """Return the noise of what `c` has beyond its best mixture of `others`, and how sure that is.

    Sure is what no sum and no difference of the others has: as many components as eigenvalues of
    the counts stand above noise are not such sums, and a component that is one is another's second
    half, however unlike it became when its corner was sought.

    Returns
    -------
    sigma : ndarray [group]
    significance : float
        Of chi-squared, in its standard deviations.
    nearest : int
        That of the others of which the mixture holds most.
    """
    from scipy.optimize import nnls

    sigma = np.sqrt(np.maximum(noise[:, c, c], 1e-18))
    of = list(others)
    for _ in range(2):  # the mixture depends on the weights
        mixture, rest = nnls((summed[of] / sigma).T, summed[c] / sigma)
        step = np.zeros(len(summed))
        step[c], step[of] = 1.0, -mixture
        sigma = np.sqrt(np.maximum(np.einsum("gab,a,b->g", noise, step, step), 1e-18))
    table, wanted = (summed[of] / sigma).T, summed[c] / sigma
    rest = wanted - table @ np.linalg.lstsq(table, wanted, rcond=None)[0]
    free = max(1, len(sigma) - len(of))
    return sigma, float((rest @ rest - free) / np.sqrt(2 * free)), of[int(mixture.argmax())]


def _left(own: np.ndarray, known: np.ndarray, soft: np.ndarray, hard: np.ndarray) -> float:
    """Return the sum of squares that is left, `soft` of any sign and `hard` of one."""
    from scipy.optimize import nnls

    free = np.linalg.qr(np.column_stack([known, soft.T]))[0]
    rest = own - free @ (free.T @ own)
    if not len(hard):
        return float(rest @ rest)
    table = hard.T - free @ (free.T @ hard.T)
    scale = np.maximum(np.sqrt((table**2).sum(0)), 1e-12)
    return float(nnls(table / scale, rest)[1] ** 2)


def _changes(spectrum: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what absorption takes ``[edge, channel]`` and the background ``[slope, channel]``."""
    back = continuum(spectrum, channels_of_a_line(energy))
    fall = np.maximum(energy, LOWEST_KEV) ** -FALL
    edges = EDGE * _strong_lines(spectrum - back, energy, channels_of_a_line(energy))
    taken = [fall, *(np.where(energy > edge, fall, 0.0) for edge in edges)]
    return spectrum * np.array(taken), back * np.array([np.ones(energy.size), energy])


def _strong_lines(lines: np.ndarray, energy: np.ndarray, width: int) -> np.ndarray:
    """Return the energies of the highest peaks that may absorb, one in each neighbourhood."""
    left = np.where((energy < HARDEST_KEV) & (energy > LOWEST_KEV), lines, 0.0)
    floor, found = 0.01 * left.max(initial=0), []
    for _ in range(EDGES):
        at = int(left.argmax())
        if left[at] <= floor:
            break
        found.append(energy[at])
        left[max(0, at - width) : at + width + 1] = 0
    return np.array(found)
