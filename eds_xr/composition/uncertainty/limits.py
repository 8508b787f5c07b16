"""Limits and intervals of normal estimates, and of few counts, element by element."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.composition.uncertainty import marks
from eds_xr.composition.uncertainty.number_text import above_text, below_text, value_text
from eds_xr.composition.uncertainty.quantities import (
    CRITICAL_SIGMA,
    beyond_counting,
    critical_level,
    deviation,
    one_count,
    units_of,
)
from eds_xr.schema import ASSUMED, DOUBT
from eds_xr.workers import task_name

#: With fewer counts of background, net counts are far from normal: normal limits of 95 % held in
#: 70 to 93 % of simulations with 0.2 to 30 counts.
FEW_COUNTS = 80.0
#: How often chance alone passes for detected, as at Currie's critical level.
FALSE_ALARM = 0.05


def limit_sigma(value: np.ndarray, sd: np.ndarray, confidence: float) -> np.ndarray:
    """Return how many sd the upper limit of what cannot be negative lies above its estimate.

    A normal estimate and a flat prior at and above zero: ``1 - Phi(z) = (1 - confidence)
    Phi(value / sd)``. Hence z exceeds the usual one-sided quantile, and ``value + z sd`` zero.
    """
    from scipy.special import log_ndtr, ndtri_exp  # in logarithms: far below zero Phi underflows

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(-ndtri_exp(np.log1p(-confidence) + log_ndtr(value / sd)))


def upper_limit(value: np.ndarray, sd: np.ndarray, confidence: float) -> np.ndarray:
    """Return the one-sided upper limit of what cannot be negative; never below zero."""
    value, sd = np.broadcast_arrays(np.asarray(value, float), np.asarray(sd, float))
    with np.errstate(invalid="ignore"):
        limit = value + limit_sigma(value, sd, confidence) * sd
    return np.where(sd > 0, limit, np.maximum(value, 0.0 * sd))


def poisson_upper_limit(net: np.ndarray, background: np.ndarray, confidence: float) -> np.ndarray:
    """Return the one-sided upper limit of counts on a background, by Poisson's law.

    With a flat prior at and above zero, for a background that is known (O. Helene, Nucl. Instrum.
    Methods 212 (1983) 319). It holds at least as often as `confidence` says at any true value, and
    is 3.0 for none seen at 95 %, however little the background.
    """
    from scipy.special import gammaincc, gammainccinv

    seen = np.maximum(net + background, 0.0) + 1
    above = (1 - confidence) * gammaincc(seen, background)
    return np.asarray(gammainccinv(seen, above) - background)


def ratio_interval(
    a: np.ndarray, b: np.ndarray, variances: tuple[np.ndarray, np.ndarray, np.ndarray],
    sigma: np.ndarray | float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return Fieller's interval of a / b, exact for normal a and b.

    All D with ``(a - D b)^2 <= sigma^2 Var(a - D b)``: a quadratic inequality. `variances` are
    those of a and of b, and their covariance. Where b is not significant the interval has no
    upper end; its lower end then takes into account that D is not negative.
    """
    of_a, of_b, of_both = variances
    square = np.asarray(b**2 - sigma**2 * of_b)
    middle = a * b - sigma**2 * of_both
    root = middle**2 - square * (a**2 - sigma**2 * of_a)
    bounded, everywhere = square > 0, (square <= 0) & (root < 0)
    spread = np.sqrt(np.maximum(root, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (middle - spread) / square, (middle + spread) / square
    # b not significant: all below `high` and all above `low`, for the square is negative
    open_end = np.where(everywhere | ~(high < 0), -np.inf, low)
    return np.where(bounded, low, open_end), np.where(bounded, high, np.inf)


def quantile(coverage: float) -> float:
    """Return how many sd lie on each side of the two-sided interval of this coverage."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + 0.5 * coverage))


def limits_of(dataset: xr.Dataset, quantity: str, confidence: float) -> xr.Dataset:
    """Return ``detected`` and ``upper_limit`` of a quantity, its own where the Dataset has them.

    Detected is what is above the critical level, other errors than those of counting added to it.

    The deviation is not taken below that of a blank, from which the critical level comes: where
    counts happen to be few, their own variance is too small. Of few counts the limit and what is
    detected follow Poisson's law, see :func:`poisson_upper_limit`.
    """
    if f"{quantity}_upper_limit" in dataset:
        return xr.Dataset({n: dataset[f"{quantity}_{n}"] for n in ("detected", "upper_limit")})
    value, sd = dataset[quantity], deviation(dataset, quantity)
    level, assumed = critical_level(dataset, quantity), marks.mark_of(dataset, ASSUMED, value)
    detected, limit = xr.apply_ufunc(
        _limits_block, value, sd, level, one_count(dataset, quantity),
        beyond_counting(dataset, quantity), kwargs={"confidence": confidence},
        output_core_dims=[[], []], dask="parallelized", output_dtypes=[bool, float],
    )  # fmt: skip
    return xr.Dataset(
        {
            "detected": detected.assign_attrs(long_name="above the critical level", units="1"),
            "upper_limit": limit.where(~assumed).assign_attrs(
                long_name=f"upper limit at {100 * confidence:g} % confidence",
                units=units_of(value),
            ),
        }
    )


def as_text(dataset: xr.Dataset, quantity: str, confidence: float, scale: float) -> xr.DataArray:
    """Return what to print of a quantity: ``0.34(5)``, ``< 0.12``; ``> 3.1`` of open ratios.

    What is in doubt bears a sign, whose meaning is among the attribute ``notes``, and has no
    limit; what is assumed says so.
    """
    limits = limits_of(dataset, quantity, confidence)
    lowest = f"{quantity}_lower_limit"
    lower = dataset[lowest] if lowest in dataset else xr.full_like(limits.upper_limit, -np.inf)
    values = dataset[quantity]
    parts = (values, deviation(dataset, quantity), limits.upper_limit, lower)
    doubt = marks.mark_of(dataset, DOUBT, values)
    sign, notes = marks.signs(doubt)
    text = xr.apply_ufunc(
        _one_text, *(scale * p for p in parts), limits.detected, doubt != "", vectorize=True,
        output_dtypes=[object],
    ) + sign.astype(object)  # fmt: skip
    assumed = marks.mark_of(dataset, ASSUMED, values)
    return (
        text.where(~assumed, marks.ASSUMED_TEXT + sign.astype(object))
        .astype(str)
        .assign_attrs(notes=[*notes, *marks.left_out_note(dataset.attrs)])
    )


@task_name("upper limits")
def _limits_block(
    value: np.ndarray, sd: np.ndarray, level: np.ndarray, one: np.ndarray, beyond: np.ndarray, *,
    confidence: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return what is detected, and upper limits; `one` count is worth so much, if that is known.

    `beyond` are standard deviations that counting does not explain.
    """
    from scipy.special import gammainc

    value, sd, level, one, beyond = np.broadcast_arrays(value, sd, level, one, beyond)
    spread = np.maximum(sd, np.where(sd > 0, level / CRITICAL_SIGMA, 0.0))
    detected = value > np.hypot(level, CRITICAL_SIGMA * beyond)
    limit = upper_limit(value, spread, confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        net, blank = value / one, (level / CRITICAL_SIGMA / one) ** 2
        background = np.maximum(blank, (sd / one) ** 2 - np.maximum(net, 0))
        few = ((sd > 0) | (level > 0)) & (one > 0) & (background < FEW_COUNTS)
    net, background = net[few], background[few]
    limit[few] = one[few] * poisson_upper_limit(net, background, confidence)
    by_chance = gammainc(np.maximum(net + background, 1e-9), background)
    detected[few] = (net > 0) & (by_chance < FALSE_ALARM) & (value > CRITICAL_SIGMA * beyond)[few]
    return detected, limit


def _one_text(
    value: float, sd: float, upper: float, lower: float, detected: bool, doubted: bool
) -> str:
    if doubted and not detected:  # no limit holds what is not to be believed
        return "-"
    if np.isinf(upper):  # the divisor of a ratio is not significant
        return above_text(lower) if detected and lower > 0 else "-"
    return value_text(value, sd) if detected or not np.isfinite(upper) else below_text(upper)
