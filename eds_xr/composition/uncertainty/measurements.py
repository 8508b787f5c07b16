"""What further measurements would leave of the errors of a result.

Independent errors have variance 1 before. A measurement of a combination of them is an observation
with an error of its own: the covariance after it is that of a linear least-squares update (JCGM
100:2008, F.1.2.4, with C. R. Rao, Linear Statistical Inference, 2nd ed., 4a.11).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.composition.uncertainty.effects import COUNTING, ERROR, ERROR_EFFECT, FACTOR_LINE

#: Errors that a measurement of another kind does away with, and what that is called.
KNOWN = {"thickness": "a known thickness", "valences": "known valences", "dose": "a known dose"}
ALL_LINES = "a standard with all lines"


class Measurement(NamedTuple):
    """A measurement that could be made.

    Attributes
    ----------
    name : str
    kept : dict
        What share of the variance of a statistical effect is left, by effect; 1 of others.
    covariance : ndarray [error, error] or None
        Of the systematic errors after it; None where they stay.
    pair : tuple of str
        The two lines of a standard that measures their ratio alone; of others none.
    """

    name: str
    kept: dict[str, float]
    covariance: np.ndarray | None
    pair: tuple[str, ...] = ()


def measurements(
    result: xr.Dataset,
    errors: xr.DataArray | None,
    *,
    counting_times: float,
    counts: float,
    uncertainty: float,
) -> Iterator[Measurement]:
    """Yield what could be measured: more counts, standards, what is assumed otherwise.

    Parameters
    ----------
    result : Dataset
        With ``factor_error`` [factor_line, error] where there are factors.
    errors : DataArray [error, ...] or None
        What systematic errors do.
    counting_times : float
    counts, uncertainty : float
        Of a standard: net counts of each line, and the relative uncertainty of each amount.
    """
    longer = f"counting {counting_times:g} times longer"
    yield Measurement(longer, {COUNTING: 1 / counting_times}, None)
    if errors is None:
        return
    effects = errors[ERROR_EFFECT].values.tolist()
    there = abs(errors).max([d for d in errors.dims if d != ERROR]).values > 0
    for effect, name in KNOWN.items():
        if any(e == effect for e, some in zip(effects, there, strict=True) if some):
            yield Measurement(name, {}, np.diag([float(e != effect) for e in effects]))
    if "factor_error" in result:
        yield from _standards(result, 1 / counts + uncertainty**2)


def _standards(result: xr.Dataset, variance: float) -> Iterator[Measurement]:
    """Yield standards with one line, or two where only ratios are measured, and with all.

    `variance` is the relative one of a line's factor from the standard.
    """
    known = result["factor_error"]  # of several detectors kept apart: of the first
    alike = {d: 0 for d in known.dims if d not in (FACTOR_LINE, ERROR)}
    changes = known.isel(alike).transpose(FACTOR_LINE, ERROR)
    names, slopes = [str(n) for n in changes[FACTOR_LINE].values], changes.values
    if not slopes.any():
        return
    unit = np.eye(len(names))
    ratios = result.attrs.get("method", "cliff_lorimer") == "cliff_lorimer"
    if not ratios:
        for i, name in enumerate(names):
            yield _standard(f"a standard with {name}", unit[[i]], slopes, variance)
        return
    for i, name in enumerate(names):
        for j in range(i):
            both = f"a standard with {names[j]} and {name}"
            made = _standard(both, unit[[i]] - unit[[j]], slopes, variance)
            yield made._replace(pair=(names[j], name))
    if len(names) > 2:
        yield _standard(ALL_LINES, unit[1:] - unit[[0]], slopes, variance)


def _standard(
    name: str, combinations: np.ndarray, slopes: np.ndarray, variance: float
) -> Measurement:
    """Return what a standard leaves that measures these combinations of the factors' logarithms."""
    observed = combinations @ slopes
    spread = observed @ observed.T + variance * combinations @ combinations.T
    gain = np.linalg.solve(spread, observed)
    return Measurement(name, {}, np.eye(slopes.shape[1]) - observed.T @ gain)
