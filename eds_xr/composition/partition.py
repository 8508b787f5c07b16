"""Partition coefficients: how much of each element one phase takes, another being its partner."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import number
from eds_xr.cluster.supervision import computes
from eds_xr.composition.fractions import OTHER
from eds_xr.composition.pairs import QUANTITY, Pair, between_of, by_effect, pair_of, shared_of
from eds_xr.composition.results import BY_STOICHIOMETRY, elements_of_lines
from eds_xr.composition.uncertainty import marks
from eds_xr.composition.uncertainty.limits import limit_sigma, limits_of, quantile
from eds_xr.composition.uncertainty.quantities import CRITICAL_SIGMA, critical_level
from eds_xr.schema import ASSUMED, DOUBT, ELEMENT, LINE, PHASE, EdsError, check_one_of

#: Two-sided: how often the intervals that are given hold the truth.
COVERAGES = (0.68, 0.95)
KINDS = ("weight_fraction", "atomic_fraction")
#: One-sided, that of Currie's critical level: how often the truth is below the upper limit.
LIMIT_CONFIDENCE = 0.95
#: An element that others are divided by must be this many deviations above zero.
LEAST_SIGMA = 5.0


@computes
def partition_coefficients(
    composition: xr.Dataset,
    phase: str,
    *,
    reference: str,
    per: str | None = None,
    kind: str = "weight_fraction",
    between: xr.DataArray | None = None,
) -> xr.Dataset:
    """Divide the composition of a phase by that of another, element by element.

    Computes: small arrays only.

    ``D = C(phase) / C(reference)``, by weight as the field has it, with confidence intervals after
    Fieller (J. R. Stat. Soc. B 16 (1954) 175): exact for a ratio of two normal estimates, however
    large their errors, and asymmetric where they are.

    Parameters
    ----------
    composition : Dataset [phase, element]
        From ``quantify``, both phases by the same lines.
    phase, reference : str
        Names along ``phase``.
    per : str, optional
        An element that both are divided by first: ``per="Mg"`` gives exchange coefficients, as
        (Fe/Mg) / (Fe/Mg). All that is common to a spectrum then cancels.
    kind : str
        ``weight_fraction`` or ``atomic_fraction``; with `per`, both give the same.
    between : DataArray [element, element_other], optional
        Covariance of these fractions, of `phase` along ``element`` and of `reference` along
        ``element_other``; from :func:`shared_covariance` when the reference was subtracted from
        the phase's spectrum. By default the phases are independent.

    Returns
    -------
    Dataset over ``element``
        ``partition_coefficient`` [element; 1] with ``_variance`` (first order, statistical) and
        ``_systematic_variance``; ``_effect_variance`` [effect, element] and ``_by_error`` [element,
        error], without what both phases share; ``_lower`` and ``_upper`` [element, coverage],
        two-sided, infinite where the reference's share is not significant; ``_detected`` (the
        phase holds more than chance), ``_reference_detected``, and one-sided limits at 95 %,
        ``_upper_limit`` (never negative: report it where the phase's share is not detected) and
        ``_lower_limit``.
        ``doubt`` and ``assumed`` [element] as the composition has them, the latter of `phase`.
        The phase is a scalar coordinate, so that results of several phases concatenate.

    Raises
    ------
    EdsError
        For a phase or element that is not in the composition, or when `per` is not significant in
        both phases.

    Notes
    -----
    The same line measures an element in both phases, so that its k-factor cancels. What is left of
    the k-factors' uncertainty enters through the sums to 1, ``sum_j (C_j - C'_j)^2 s_j^2``, the
    same relative error for all elements; with `per`, nothing is left. What absorption leaves is
    taken as common to both phases, too.
    """
    check_one_of(kind, KINDS, "kind")
    one, other = (_of_phase(composition, name, kind) for name in (phase, reference))
    if per is not None:
        _check_divisor(per, {phase: one, reference: other}, kind)
    shared = between_of(one, between) + shared_of(one, other, kind)
    pair = pair_of(one, other, shared, per, kind)
    ends = zip(*(pair.interval(quantile(c)) for c in COVERAGES), strict=True)
    lower, upper = (((ELEMENT, "coverage"), np.stack(end, axis=-1)) for end in ends)
    parts = {
        "variance": (ELEMENT, pair.variance),
        "systematic_variance": (ELEMENT, pair.systematic_variance),
        "lower": lower,
        "upper": upper,
        **_limits(pair, one, other, per, kind),
    }
    effects = by_effect((one, other), pair, kind, between_of(one, between))
    made = xr.Dataset(
        {QUANTITY: (ELEMENT, pair.value)} | {f"{QUANTITY}_{n}": part for n, part in parts.items()},
        {ELEMENT: one[ELEMENT], "coverage": list(COVERAGES), PHASE: phase},
    ).assign(_marks({phase: one, reference: other}, per) | effects)
    parameters = {"phase": phase, "reference": reference, "per": per or "", "kind": kind}
    attrs = provenance.with_step(composition.attrs, "partition_coefficients", **parameters)
    return _described(made, f"{phase} / {reference}").assign_attrs(
        attrs | {"reference": reference, "per": per or "", "kind": kind}
    )


@computes
def shared_covariance(
    lines: xr.Dataset,
    composition: xr.Dataset,
    *,
    phase: str,
    reference: str,
    factor: float,
    kind: str = "weight_fraction",
) -> xr.DataArray:
    """Return the covariance of two phases, one of which was subtracted from the other's spectrum.

    Computes: small arrays only.

    The counts of ``mixture - factor reference`` hold the noise of the reference, with a minus:
    ``cov(net_phase, net_reference) = -factor cov(net_reference)``. It is carried to the fractions
    by the slopes of both normalisations.

    Parameters
    ----------
    lines : Dataset [phase, line]
        From ``fit_lines`` on the pure spectra: ``net`` and ``covariance``.
    composition : Dataset [phase, element]
        From ``quantify`` on them.
    phase, reference : str
    factor : float
        Of the reference's *counts*: after ``subtract_phase``, ``scale`` times the ratio of the
        numbers of pixels, ``float(pure.scale * pure.n_pixels / reference.n_pixels)``.
    kind : str
        ``weight_fraction`` or ``atomic_fraction``.

    Returns
    -------
    DataArray [element, element_other]
        For ``partition_coefficients(..., between=...)``.

    Raises
    ------
    EdsError
        When lines and composition are not of the same phases and lines.
    """
    check_one_of(kind, KINDS, "kind")
    one, other = (_of_phase(composition, name, kind) for name in (phase, reference))
    names = _lines_of(composition, lines)
    if not np.isfinite(number(factor, "factor")):
        raise EdsError(f"factor must be finite, found {factor!r}")
    if PHASE not in lines.dims or not {phase, reference} <= set(lines[PHASE].values.tolist()):
        raise EdsError(f"the lines must be those of {phase} and {reference}, along 'phase'")
    table = lines.covariance.sel({PHASE: reference, LINE: names, "line_other": names})
    spread = -factor * table.transpose(LINE, "line_other").values
    brought = _mass_per_line_mass(composition, kind)
    own = composition[LINE].values != BY_STOICHIOMETRY
    slopes = [
        _slope(part[kind].values, lines.net.sel({PHASE: name, LINE: names}).values, brought, own)
        for name, part in ((phase, one), (reference, other))
    ]
    return xr.DataArray(
        slopes[0] @ spread @ slopes[1].T,
        {ELEMENT: one[ELEMENT].values, OTHER: one[ELEMENT].values},
        (ELEMENT, OTHER),
        attrs={"long_name": f"covariance of {phase} and {reference}", "units": "1"},
    )


def _marks(parts: dict[str, xr.Dataset], per: str | None) -> dict[str, tuple[str, np.ndarray]]:
    """Return what is in doubt of either phase, also through `per`, and assumed of the first."""
    found = {}
    if all(DOUBT in part for part in parts.values()):
        doubts = [part[DOUBT] for part in parts.values()]
        doubts += [d.sel({ELEMENT: per}, drop=True) for d in doubts if per is not None]
        found[DOUBT] = (ELEMENT, marks.joined(*doubts).values)
    one = next(iter(parts.values()))
    if ASSUMED in one:
        found[ASSUMED] = (ELEMENT, one[ASSUMED].values)
    return found


def _limits(
    pair: Pair, one: xr.Dataset, other: xr.Dataset, per: str | None, kind: str
) -> dict[str, tuple[str, np.ndarray]]:
    """Return what is detected, and one-sided limits at 95 %."""
    limits = [limits_of(part, kind, LIMIT_CONFIDENCE) for part in (one, other)]
    # the noise of a blank and the limit of few counts, on the scale of what is divided
    scale = 1.0 if per is None else 1 / float(one[kind].sel({ELEMENT: per}))
    blank = critical_level(one, kind).values / CRITICAL_SIGMA * scale
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(pair.of_a > 0, np.maximum(pair.of_a, blank**2), pair.of_a)
        own = (limits[0].upper_limit.values * scale - pair.a) / np.sqrt(spread)
    sigma = np.fmax(limit_sigma(pair.a, np.sqrt(spread), LIMIT_CONFIDENCE), own)
    of_blank, sigma = pair._replace(of_a=spread), np.nan_to_num(sigma, posinf=0.0)
    return {
        "detected": (ELEMENT, limits[0].detected.values),
        "reference_detected": (ELEMENT, limits[1].detected.values),
        "upper_limit": (ELEMENT, of_blank.interval(sigma)[1]),
        "lower_limit": (ELEMENT, pair.interval(CRITICAL_SIGMA)[0]),
    }


def _of_phase(composition: xr.Dataset, name: str, kind: str) -> xr.Dataset:
    if kind not in composition or f"{kind}_covariance" not in composition:
        raise EdsError("expected a composition with covariance, from eds_xr.quantify(lines)")
    if set(composition[kind].dims) != {PHASE, ELEMENT}:
        raise EdsError(
            f"a partition coefficient needs a composition over phase and element, found "
            f"{tuple(composition[kind].dims)}"
        )
    known = [str(p) for p in composition[PHASE].values]
    if known.count(name) > 1:
        raise EdsError(f"more than one phase is named {name!r}; rename or choose one with isel")
    if name not in known:
        raise EdsError(f"no phase {name!r} in the composition; it has {', '.join(known)}")
    return composition.sel({PHASE: name}, drop=True)


def _check_divisor(per: str, parts: dict[str, xr.Dataset], kind: str) -> None:
    for name, part in parts.items():
        if not isinstance(per, str) or per not in part[ELEMENT].values:
            raise EdsError(f"per={per!r} is not in the composition: {list(part[ELEMENT].values)}")
        value, variance = (float(part[n].sel({ELEMENT: per})) for n in (kind, f"{kind}_variance"))
        if not value > LEAST_SIGMA * variance**0.5:
            raise EdsError(
                f"{name} holds no significant {per} ({value:.3g} +- {variance**0.5:.2g}); "
                "choose an element that both phases hold"
            )


def _lines_of(composition: xr.Dataset, lines: xr.Dataset) -> list[str]:
    """Return the lines that a composition is made from; oxygen may have none."""
    if not {"net", "covariance"} <= set(lines.data_vars) or LINE not in composition.coords:
        raise EdsError("expected lines from fit_lines and the composition that quantify made of it")
    names = [str(n) for n in composition[LINE].values if n != BY_STOICHIOMETRY]
    missing = [n for n in names if n not in lines[LINE].values]
    if missing:
        raise EdsError(f"the lines lack {', '.join(missing)}, from which the composition is made")
    return names


def _mass_per_line_mass(composition: xr.Dataset, kind: str) -> np.ndarray:
    """Return how much of each element a unit of each line's own element brings [element, line]."""
    names = [str(n) for n in composition[LINE].values]
    if BY_STOICHIOMETRY not in names:
        return np.eye(len(names))
    names.remove(BY_STOICHIOMETRY)
    stated = [s["valences"] for s in provenance.history(composition) if "valences" in s]
    quantified = elements_of_lines(names, BY_STOICHIOMETRY, stated[-1] if stated else None)
    brought, masses = quantified.mass_per_line_mass, quantified.masses
    if kind == "atomic_fraction":
        brought = brought * masses[:-1] / masses[:, None]
    return brought[[quantified.symbols.index(str(e)) for e in composition[ELEMENT].values]]


def _slope(
    fractions: np.ndarray, net: np.ndarray, brought: np.ndarray, own: np.ndarray
) -> np.ndarray:
    """Return the slopes [element, line] of ``x_i = sum_j b_ij f_j n_j / sum_kj b_kj f_j n_j``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(net == 0, 0.0, fractions[own] / net)
    return np.asarray((brought - np.outer(fractions, brought.sum(0))) * factor)


def _described(made: xr.Dataset, which: str) -> xr.Dataset:
    texts = {
        "": f"partition coefficient {which}",
        "_variance": "variance of the partition coefficient, statistical",
        "_systematic_variance": "variance of the partition coefficient, due to the k-factors",
        "_lower": "lower end of the interval",
        "_upper": "upper end of the interval",
        "_detected": "the phase holds more than chance",
        "_reference_detected": "the reference holds more than chance",
        "_upper_limit": f"upper limit at {100 * LIMIT_CONFIDENCE:g} % confidence",
        "_lower_limit": f"lower limit at {100 * LIMIT_CONFIDENCE:g} % confidence",
    }
    about = {QUANTITY + end: {"long_name": text, "units": "1"} for end, text in texts.items()}
    return made.assign({name: made[name].assign_attrs(about[name]) for name in about})
