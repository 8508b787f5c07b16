"""The thickness at which the charges of what was measured sum to nothing.

Van Cappellen and Doukhan (Ultramicroscopy 53 (1994) 343): in an ionic compound the charges of the
cations ask for so much of the anions, and the anion's soft line is absorbed on its way out more
than theirs. Amounts ``a(t)`` that are corrected for absorption in a film of mass thickness ``t``
balance at the film's own thickness: ``g(t) = sum_i c_i a_i(t) = 0``, with the charges ``c``.

It is a further equation beside ``a = u A(a, t)``. To first order, then, everything that moves ``a``
at given ``t``, ``da = r``, also moves ``t``, which moves ``a`` along ``p = da/dt``::

    dt = -(c r + dc a) / (c p)        da = r + p dt

so that what only changes optical depths, such as a common error of the attenuation, changes the
thickness and leaves the composition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

#: Thickest film that is looked for [kg/m^2]: 2 um of 5 g/cm^3, where 300 kV electrons hardly pass.
THICKEST_KG_M2 = 1e-2
#: Thinnest thickness other than zero that is looked at, and the step from one to the next.
_FIRST_KG_M2, _STEP = 2e-6, 1.7
#: The search ends when the thickness is known this well [relative].
TOLERANCE, MOST_ITERATIONS = 1e-13, 80

#: Thicknesses [kg/m^2] between which intervals are interpolated.
THICKNESSES = np.append(0.0, np.geomspace(1e-7, THICKEST_KG_M2, 240))
#: Two-sided: how often the intervals that are given hold the truth.
COVERAGES = (0.68, 0.95)

#: Amounts [which, line] at thicknesses [which], of the spectra that an index array tells.
AmountsAt = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Balance(NamedTuple):
    """How a thickness that balances charges answers to what amounts answer to.

    Attributes
    ----------
    by_thickness : ndarray [..., line]
        ``p``, the slope of the amounts by the thickness.
    charges : ndarray [line]
        ``c``, of a unit amount of each line.
    """

    by_thickness: np.ndarray
    charges: np.ndarray

    @property
    def slope(self) -> np.ndarray:
        """How the sum of the charges changes with the thickness [...]."""
        slope = self.by_thickness @ self.charges
        return np.where(slope != 0, slope, np.nan)

    def thickness_by(self, change: np.ndarray, unbalanced: np.ndarray | float = 0.0) -> np.ndarray:
        """Return what changes of the amounts [..., line, error] do to the thickness [..., error].

        `unbalanced` [..., error] are charges that the errors bring at given amounts.
        """
        excess = np.einsum("i,...ij->...j", self.charges, change) + unbalanced
        return np.asarray(-excess / self.slope[..., None])

    def amounts_by(self, change: np.ndarray, thickness_by: np.ndarray) -> np.ndarray:
        """Return changes of the amounts [..., line, error], those through the thickness, too."""
        moved = self.by_thickness[..., :, None] * thickness_by[..., None, :]
        return np.asarray(change + moved)


def balanced_thickness(
    amounts_at: AmountsAt, charges: np.ndarray, uncorrected: np.ndarray
) -> np.ndarray:
    """Return the mass thickness of the thinnest film that balances charges [...; kg/m^2].

    NaN where no film of up to `THICKEST_KG_M2` does, or amounts are not finite.

    Parameters
    ----------
    amounts_at : callable
        ``amounts_at(thickness [n], which [n])``: amounts [n, line], corrected for absorption.
    charges : ndarray [line]
    uncorrected : ndarray [..., line]
        Amounts without correction.
    """
    every = np.arange(int(np.prod(uncorrected.shape[:-1])))

    def imbalance(thickness: np.ndarray, which: np.ndarray) -> np.ndarray:
        amounts = amounts_at(thickness, which)
        size = np.abs(amounts) @ np.abs(charges)
        return np.asarray(amounts @ charges / np.where(size > 0, size, np.nan))

    low, high = _bracket(imbalance, every)
    inside = high > low
    low[inside] = _root(imbalance, every[inside], low[inside], high[inside])
    return low.reshape(uncorrected.shape[:-1])


def thickness_interval(
    thickness: np.ndarray, pull: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return between which thicknesses the charges balance within `sigma` standard deviations.

    All films whose charges, corrected for their thickness, sum to nothing within the error of the
    sum: asymmetric where the thickness is not in proportion to it, from zero where an
    uncorrected sum does, to infinity where that of the thickest film does; NaN where none does.

    Parameters
    ----------
    thickness, pull : ndarray [..., thickness]
        Rising from zero, and the sum of charges over its standard deviation.
    """
    inside = np.abs(pull) <= sigma
    low = np.where(inside[..., 0], 0.0, np.inf)
    high = np.where(inside[..., -1], np.inf, -np.inf)
    for end in (sigma, -sigma):
        one, two = pull[..., :-1] - end, pull[..., 1:] - end
        with np.errstate(divide="ignore", invalid="ignore"):
            part = one / (one - two)
        crossing = thickness[..., :-1] + part * np.diff(thickness, axis=-1)
        crossing = np.where((one * two <= 0) & np.isfinite(part), crossing, np.nan)
        low = np.fmin(low, np.fmin.reduce(crossing, axis=-1))
        high = np.fmax(high, np.fmax.reduce(crossing, axis=-1))
    none = ~np.isfinite(low) | np.isneginf(high)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


#: The sum of charges at thicknesses [n], of the spectra that an index array tells [n].
_Imbalance = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _bracket(imbalance: _Imbalance, every: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return between which thicknesses the charges first change sign; NaN where they never do."""
    low, high = np.full((2, every.size), np.nan)
    before = imbalance(np.zeros(every.size), every)
    balanced = before == 0
    low[balanced] = high[balanced] = 0.0
    still = np.isfinite(before) & ~balanced
    which, before, thickness = every[still], before[still], 0.0
    while which.size and thickness < THICKEST_KG_M2:
        thicker = min(max(_FIRST_KG_M2, _STEP * thickness), THICKEST_KG_M2)
        now = imbalance(np.full(which.size, thicker), which)
        crossed = now * before <= 0
        low[which[crossed]], high[which[crossed]] = thickness, thicker
        still = ~crossed & np.isfinite(now)
        which, before, thickness = which[still], now[still], thicker
    return low, high


def _root(
    imbalance: _Imbalance, which: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Return roots between thicknesses of opposite sign: false position, after Illinois.

    An end that stays has its value halved, so that the other end moves, too.
    """
    at_low, at_high = imbalance(low, which), imbalance(high, which)
    found = high.copy()
    moving = np.ones(which.size, bool)
    for _ in range(MOST_ITERATIONS):
        rise = at_high - at_low
        middle = np.where(rise != 0, high - at_high * (high - low) / rise, (low + high) / 2)
        moving &= np.abs(middle - found) > TOLERANCE * high
        found = np.where(moving, middle, found)
        if not moving.any():
            break
        at_middle = np.zeros(which.size)
        at_middle[moving] = imbalance(middle[moving], which[moving])
        crossed = at_middle * at_high < 0
        low = np.where(moving & crossed, high, low)
        at_low = np.where(crossed, at_high, at_low / 2)
        high = np.where(moving, middle, high)
        at_high = np.where(moving, at_middle, at_high)
        moving &= at_middle != 0
    return found
