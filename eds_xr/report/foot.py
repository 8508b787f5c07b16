"""What stands below a table: what the errors in brackets hold and do not, and what is assumed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from eds_xr.chunks import computed
from eds_xr.composition.minerals import oxides
from eds_xr.composition.uncertainty.effects import EFFECT, ERROR_EFFECT, effect_variance
from eds_xr.composition.uncertainty.quantities import variance_name
from eds_xr.schema import ELEMENT, LINE, PHASE, EdsError, spatial_dims, texts_of
from eds_xr.xray.absorption import attenuation_m2_kg, correction

#: An effect is named from this share of a variance on, a systematic one from this of a number.
LEAST_SHARE, LEAST_RELATIVE = 0.01, 0.001
#: Numbers of so many standard deviations are those whose relative error is told.
SIGNIFICANT = 3.0
#: The film that uncorrected absorption is told for [kg/m2], 100 nm of 5 g/cm3, at this angle [deg]
#: if the recording tells none; elements that would read too low by more than this are named.
FILM_KG_M2, ANGLE_DEG, LEAST_ABSORBED = 5e-4, 20.0, 0.02
#: Oxygen is compared with what the cations ask for where it is so much of the atoms.
LEAST_OXYGEN = 0.3
#: It contradicts them from so many (statistical) standard deviations, and this share, on.
CONTRADICTION_SIGMA, LEAST_EXCESS = 3.0, 0.05
_WORDS = {
    "k_factor": "k-factors", "absorption": "absorption", "valences": "valences",
    "line_weights": "weights of lines", "selection": "choice of pixels",
}  # fmt: skip


def foot(dataset: xr.Dataset, quantity: str) -> list[str]:
    """Return what the errors of a quantity hold and leave out, and what is assumed; in short.

    Computes: the result, which is small. Of maps, only what is assumed is told.
    """
    told: list[str] = []
    if not {*spatial_dims(dataset[quantity])} - {"oxide"}:
        dataset = computed(dataset)
        parts = effect_variance(dataset, quantity, dataset[variance_name(dataset, quantity)])
        told += [*_in_brackets(dataset, quantity, parts)]
        told += [*_not_in_brackets(dataset, quantity, parts)]
        told += [*_uncorrected(dataset), *_oxygen(dataset)]
    assumed = texts_of(dataset.attrs, "assumptions")
    return [*told, *([f"assumed: {'; '.join(assumed)}"] if assumed else [])]


def _in_brackets(dataset: xr.Dataset, quantity: str, parts: xr.DataArray) -> Iterator[str]:
    """Say what the statistical error is due to."""
    if not _told_apart(dataset, quantity):
        return
    kept = [e for e in parts[EFFECT].values.tolist() if e not in _systematic(dataset)]
    statistical = parts.sel({EFFECT: kept})
    share = statistical / statistical.sum(EFFECT)
    named = [e for e in kept if float(share.sel({EFFECT: e}).max()) > LEAST_SHARE]
    if named:
        yield f"in brackets are errors of {', '.join(_word(e) for e in named)}"


def _not_in_brackets(dataset: xr.Dataset, quantity: str, parts: xr.DataArray) -> Iterator[str]:
    """Say how large systematic errors are."""
    known = []
    if "systematic" in dataset and bool((dataset.systematic > 0).any()):
        own = 100 * dataset.systematic.where(dataset.systematic > 0)
        low, high = (round(float(v)) for v in (own.min(), own.max()))
        span = f"{low} %" if low == high else f"{low} to {high} %"
        computed_ones = "computed " if dataset.attrs.get("standardless") else ""
        known.append(f"{computed_ones}k-factors, {span} each")
    values = dataset[quantity]
    total = parts.sum(EFFECT) ** 0.5
    for effect in (e for e in parts[EFFECT].values.tolist() if e in _systematic(dataset)):
        relative = (parts.sel({EFFECT: effect}) ** 0.5 / values).where(values > SIGNIFICANT * total)
        most = float(relative.max())
        if most > LEAST_RELATIVE and not (known and effect == "k_factor"):
            known.append(f"{_word(effect)}, up to {_percent(most)} of a number")
    if not known and any(str(n).endswith("_systematic_variance") for n in dataset):
        known = [] if _systematic(dataset) else ["what the k-factors leave uncertain"]
    if known:
        yield f"not in brackets: {'; '.join(known)}"


def _uncorrected(dataset: xr.Dataset) -> Iterator[str]:
    """Say what uncorrected absorption does, in a film such as many are."""
    if "k_factor" not in dataset or "absorption_correction" in dataset or LINE not in dataset:
        return
    names = [str(n) for n in dataset[LINE].values if "_" in str(n)]
    there = dataset.isel({ELEMENT: np.isin(dataset[LINE].values, names)})
    of_all = there["weight_fraction"]
    weights = of_all.mean([d for d in of_all.dims if d != ELEMENT]).clip(min=0).values
    elements = [str(e) for e in there[ELEMENT].values]
    angle = float(dataset.attrs.get("elevation_angle_deg", ANGLE_DEG))
    try:
        attenuation = attenuation_m2_kg(names, elements) @ (weights / weights.sum())
    except EdsError:  # a line too soft for the tables
        yield "absorption is not corrected: no thickness was given"
        return
    factor = correction(attenuation * FILM_KG_M2 / np.sin(np.radians(max(angle, 1.0))))[0]
    low = (1 - (weights * factor).sum() / weights.sum() / factor).tolist()
    order = [i for i in np.argsort(low)[::-1] if low[i] > LEAST_ABSORBED]
    much = ", ".join(f"{elements[i]} {_percent(low[i])}" for i in order)
    text = "absorption is not corrected, no thickness was given"
    yield f"{text}: 100 nm of 5 g/cm3 make too low {much}" if much else text


def _oxygen(dataset: xr.Dataset) -> Iterator[str]:
    """Say where measured oxygen contradicts the cations."""
    found = dataset
    if "atomic_fraction" in dataset and "oxygen_excess" not in dataset:
        elements = dataset[ELEMENT].values.tolist()
        if "O" not in elements or "stoichiometry" in dataset.get(LINE, xr.DataArray("")).values:
            return
        try:
            found = oxides(dataset)
        except EdsError:  # an element of no usual charge, or nothing else than oxygen
            return
        found = found.where(dataset.atomic_fraction.sel({ELEMENT: "O"}, drop=True) > LEAST_OXYGEN)
    if "oxygen_excess" not in found:
        return
    excess, sd = found["oxygen_excess"], found["oxygen_excess_variance"] ** 0.5
    apart = (abs(excess) > CONTRADICTION_SIGMA * sd) & (abs(excess) > LEAST_EXCESS)
    names = excess[PHASE].values.tolist() if PHASE in excess.dims else [""]
    rows = zip(names, np.ravel(excess.values), np.ravel(apart.values), strict=True)
    said = [
        f"{100 * abs(v):.0f} % {'below' if v < 0 else 'above'}{f' in {n}' if n else ''}"
        for n, v, here in rows
        if here
    ]
    if said:
        yield f"oxygen against what the cations ask for: {', '.join(said)}"


def _told_apart(dataset: xr.Dataset, quantity: str) -> bool:
    """Return whether the effects of a quantity are those that its lines told."""
    names = {f"{p}effect_{v}variance" for p in ("", f"{quantity}_") for v in ("", "co")}
    return bool(names & set(map(str, dataset.data_vars)))


def _systematic(dataset: xr.Dataset) -> list[str]:
    return dataset[ERROR_EFFECT].values.tolist() if ERROR_EFFECT in dataset.coords else []


def _word(effect: str) -> str:
    return _WORDS.get(effect, effect.replace("_", " "))


def _percent(share: float) -> str:
    """Return a share in per cent, to one digit below ten.

    Examples
    --------
    >>> _percent(0.123), _percent(0.034), _percent(0.0042)
    ('12 %', '3 %', '0.4 %')
    """
    return f"{100 * share:.1g} %" if share < 0.095 else f"{100 * share:.0f} %"
