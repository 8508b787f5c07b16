"""Where the choice of a mixing leaves more doubt in a ratio than its stated error says."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.analysis.mixing_intervals.intervals import RATIO
from eds_xr.cluster.supervision import computes
from eds_xr.composition.fractions import check_composition
from eds_xr.composition.ratios import ratio
from eds_xr.factorisation.ambiguity.intervals import TWO_SIDED_95
from eds_xr.schema import COMPONENT, PHASE, EdsError

#: An interval this many times as wide as the stated one is worth a word.
MUCH_WIDER = 2.0
#: A ratio is not spoken of where its own error is a larger part of it than this.
LEAST_KNOWN = 0.3


@computes
def wider_than_stated(intervals: xr.Dataset, composition: xr.Dataset) -> list[str]:
    """Say for which phases mixing leaves a ratio much less certain than its stated error.

    Computes: small arrays only.

    Parameters
    ----------
    intervals : Dataset [phase or component, ratio]
        From :func:`mixing_intervals`, its ratios of elements, ``[("Mg", "Si")]``; of net counts or
        of atoms: widths are compared relative to the value.
    composition : Dataset [phase, element]
        From :func:`eds_xr.quantify`, with the same names of phases.

    Returns
    -------
    list of str
        A sentence for each ratio whose interval is more than twice as wide as the 95 % interval of
        its stated error; phases and elements that the composition lacks are passed over.

    Raises
    ------
    EdsError
        For what is no intervals, or no composition of phases.

    Examples
    --------
    >>> spans = image.eds.mixing_intervals(result, [("Mg", "Si")], ["Mg", "Si"])  # doctest: +SKIP
    >>> spans.eds.wider_than_stated(composition)                            # doctest: +SKIP
    """
    _check(intervals, composition)
    dim = PHASE if PHASE in intervals.dims else COMPONENT
    phases = set(composition[PHASE].values.tolist())
    elements = set(composition["element"].values.tolist())
    told = []
    for text in intervals[RATIO].values.tolist():
        first, _, second = text.partition("/")
        if not {first, second} <= elements:
            continue
        stated = ratio(composition, first, other=second)
        for name in [n for n in intervals[dim].values.tolist() if n in phases]:
            one = stated.sel({PHASE: name})
            span = intervals.sel({dim: name, RATIO: text})
            sentence = _sentence(f"{name}: {text}", span, float(one.ratio), _deviation(one))
            if sentence:
                told.append(sentence)
    return told


def _check(intervals: xr.Dataset, composition: xr.Dataset) -> None:
    check_composition(composition)
    if RATIO not in intervals.dims or not {"low", "high", "value"} <= set(intervals.data_vars):
        raise EdsError("expected intervals of ratios, from image.eds.mixing_intervals")
    if PHASE not in composition.dims:
        raise EdsError(f"expected a composition of phases, found {tuple(composition.sizes)}")


def _deviation(stated: xr.Dataset) -> float:
    return float(stated.variance + stated.get("systematic_variance", 0.0)) ** 0.5


def _sentence(what: str, span: xr.Dataset, stated: float, deviation: float) -> str:
    value, low, high = (float(span[n]) for n in ("value", "low", "high"))
    known = np.isfinite([stated, deviation, value]).all() and min(stated, value) > 0
    if not known or deviation > LEAST_KNOWN * stated:
        return ""
    if (high - low) / value <= MUCH_WIDER * 2 * TWO_SIDED_95 * deviation / stated:
        return ""
    least, most = (f"{stated * end / value:.3g}" for end in (low, high))
    by = " and ".join(
        dict.fromkeys(t for t in (str(span.low_by.item()), str(span.high_by.item())) if t)
    )
    bounds = f" (bounds: {by})" if by else ""
    return (
        f"{what} is stated as {stated:.3g} +- {deviation:.2g}, but counts are explained as well by "
        f"mixtures from {least} to {most}{bounds}"
    )
