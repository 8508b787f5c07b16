"""What intervals hold of a known truth, over many draws; and intervals that are made to hold it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.composition.uncertainty import marks
from eds_xr.composition.uncertainty.effects import EFFECT
from eds_xr.schema import DOUBT, ELEMENT, PHASE, spatial_dims

WAY = "way"
#: Compositions of an analysis whose intervals are checked.
WAYS = ("composition", "refined_composition")
KIND, OTHER_KIND = "atomic_fraction", "weight_fraction"
#: The interval that is checked, in standard deviations: 95 % for a normal error.
NOMINAL, TWO_SIDED = 0.95, 1.96
#: An interval fails when draws of one that holds as often as it says are as bad in this share.
CHANCE = 0.01
#: Fewer draws of a number tell nothing.
LEAST_DRAWS = 4
#: A phase of a draw is that of the model whose pixels it overlaps by this share (of their union).
LEAST_OVERLAP = 1 / 3
#: What a widening is due to, among the effects of a composition's errors.
SIMULATION = "simulation"


class Drawn(NamedTuple):
    """What the road made of a drawn image: fractions and their variances, NaN for none."""

    fraction: xr.DataArray  # [way, phase, element]
    variance: xr.DataArray


def drawn(tree: xr.DataTree, present: xr.DataArray, truth: xr.Dataset) -> Drawn:
    """Return the compositions of a drawn image by the names of the phases of its model."""
    like = xr.full_like(truth[KIND], np.nan, dtype=float)
    empty = xr.concat([like, like], dim=xr.DataArray(list(WAYS), dims=WAY, name=WAY))
    made = Drawn(empty.copy(), empty.copy())
    if "segmentation" not in tree.children:
        return made
    pairs = matched(tree["segmentation"].to_dataset().present.compute(), present)
    for way in (w for w in WAYS if w in tree.children):
        own = tree[way].to_dataset()
        for name, other in pairs.items():
            if name not in truth[PHASE].values or other not in own[PHASE].values:
                continue
            one = own.sel({PHASE: other}, drop=True)
            told = ~one.assumed if "assumed" in one else xr.ones_like(one[KIND], bool)
            place = {WAY: way, PHASE: name}
            for given, into in zip((KIND, f"{KIND}_variance"), made, strict=True):
                kept = one[given].where(told).reindex({ELEMENT: truth[ELEMENT]})
                into.loc[place] = kept.values
    return made


def matched(found: xr.DataArray, model: xr.DataArray) -> dict[str, str]:
    """Return for each phase of the model that of a draw which lies where it lies."""
    from scipy.optimize import linear_sum_assignment

    dims = spatial_dims(model)
    a, b = (v.transpose(PHASE, *dims).values.reshape(v.sizes[PHASE], -1).astype(float)
            for v in (model, found))  # fmt: skip
    both = a @ b.T
    union = a.sum(axis=1)[:, None] + b.sum(axis=1) - both
    overlap = both / np.maximum(union, 1.0)
    pairs = zip(*linear_sum_assignment(-overlap), strict=True)
    return {
        str(model[PHASE].values[i]): str(found[PHASE].values[j])
        for i, j in pairs
        if overlap[i, j] >= LEAST_OVERLAP
    }


def coverage(draws: Sequence[Drawn], truth: xr.Dataset) -> xr.Dataset:
    """Return what the intervals of draws hold of the truth ``[way, phase, element]``.

    Returns
    -------
    Dataset
        ``draws``, in how many the number was given; ``covered``, the share whose 95 % interval
        holds the truth, with ``covered_sd``, binomial; ``bias`` of the atomic fraction with
        ``bias_sd``; ``spread``, the standard deviation of the draws over that stated; ``failed``,
        whether so many misses are no chance; ``widening``, the factor by which the stated standard
        deviation becomes one that holds, 1 where it does.
    """
    fraction, variance = (xr.concat([getattr(d, n) for d in draws], "draw") for n in Drawn._fields)
    away = fraction - truth[KIND]
    given = np.isfinite(away) & np.isfinite(variance) & (variance > 0)
    z = (away / np.sqrt(variance.where(given))).where(given)
    number = given.sum("draw")
    held = ((abs(z) <= TWO_SIDED) & given).sum("draw")
    share = held / number.where(number > 0)
    mean = away.where(given).sum("draw") / number.where(number > 0)
    squares = ((away - mean) ** 2).where(given).sum("draw")
    spread = np.sqrt(squares / (number - 1).where(number > 1))
    stated = np.sqrt(variance.where(given).sum("draw") / number.where(number > 0))
    failed = _too_few(held, number)
    wider = xr.where(failed, np.maximum(_needed(z), 1.0), 1.0)
    smooth = (held + 1) / (number + 2)  # an error bar for 0 and 1, too
    found = {
        "truth": (truth[KIND].broadcast_like(share), "true atomic fraction", "1"),
        "draws": (number, "simulations that give the number", "1"),
        "covered": (share, "share of 95 % intervals that hold the truth", "1"),
        "covered_sd": (np.sqrt(smooth * (1 - smooth) / (number + 2)), "of that share", "1"),
        "bias": (mean, "mean less truth, atomic fraction", "1"),
        "bias_sd": (spread / np.sqrt(number), "standard deviation of the bias", "1"),
        "spread": (spread / stated, "standard deviation of the simulations over that stated", "1"),
        "failed": (failed, "intervals hold less than they say", ""),
        "widening": (wider, "factor of the standard deviation", "1"),
    }
    made = {
        n: v.drop_attrs().assign_attrs({"long_name": text} | ({"units": u} if u else {}))
        for n, (v, text, u) in found.items()
    }
    return xr.Dataset(made).drop_vars([c for c in ("line", "draw") if c in truth.coords])


def _too_few(held: xr.DataArray, number: xr.DataArray) -> xr.DataArray:
    """Return where intervals that hold the truth in 95 % would rarely hold it so seldom."""
    from scipy.stats import binom

    chance = xr.apply_ufunc(lambda k, n: binom.cdf(k, np.maximum(n, 1), NOMINAL), held, number)
    return (chance < CHANCE) & (number >= LEAST_DRAWS)


def _needed(z: xr.DataArray) -> xr.DataArray:
    """Return by what a standard deviation has to be multiplied so that 95 % of `z` are held."""
    some = z.notnull().any("draw")
    known = abs(z).where(some, 0.0)  # of numbers that no draw gives, none
    quantile = known.quantile(NOMINAL, "draw", skipna=True).drop_vars("quantile") / TWO_SIDED
    typical = (known**2).mean("draw") ** 0.5
    return quantile.where(quantile > typical, typical)


def widened(composition: xr.Dataset, found: xr.Dataset) -> xr.Dataset:
    """Return a composition with the errors that simulations ask for, and marks that say so.

    What is added is independent between numbers, an effect of its own.
    """
    known = composition[ELEMENT].values
    own = found.reindex({PHASE: composition[PHASE].values, ELEMENT: known})
    factor = own.widening.fillna(1.0).transpose(PHASE, ELEMENT)
    if not bool((factor > 1).any()):
        return composition
    made = composition
    for kind in (KIND, OTHER_KIND):
        if f"{kind}_variance" in made:
            made = _with_more(made, kind, factor)
    texts = xr.apply_ufunc(
        lambda f, share, n: f"interval widened {f:.2g} times: in {n:.0f} simulations of this image "
        f"it held the truth in {100 * share:.0f} %" if f > 1 else "",
        factor, own.covered, own.draws, vectorize=True, output_dtypes=[object],
    )  # fmt: skip
    before = made.get(DOUBT, marks.mark_of(made, DOUBT, made[KIND]))
    doubt = marks.joined(before, texts.astype(str)).transpose(*before.dims)
    return made.assign({DOUBT: doubt.assign_attrs(before.attrs)})


def _with_more(composition: xr.Dataset, kind: str, factor: xr.DataArray) -> xr.Dataset:
    """Return a composition whose standard deviations of one kind are `factor` times as large."""
    variance = composition[f"{kind}_variance"]
    added = (variance * (factor**2 - 1)).fillna(0.0)
    other = f"{ELEMENT}_other"
    made = composition.assign({f"{kind}_variance": (variance + added).assign_attrs(variance.attrs)})
    if (name := f"{kind}_covariance") in made:
        diagonal = added.where(made[ELEMENT] == made[other], 0.0)
        table = made[name]
        both = (table + diagonal).transpose(*table.dims)
        made = made.assign({name: both.assign_attrs(table.attrs)})
    if (name := f"{kind}_effect_covariance") in made:
        made = _with_effect(made)
        table = made[name]
        more = added.where(made[ELEMENT] == made[other], 0.0)
        here = xr.where(table[EFFECT] == SIMULATION, more, 0.0)
        both = (table + here).transpose(*table.dims)
        made = made.assign({name: both.assign_attrs(table.attrs)})
    return made


def _with_effect(composition: xr.Dataset) -> xr.Dataset:
    """Return a composition whose effects have simulations among them, zero at first."""
    effects = composition[EFFECT].values.tolist()
    if SIMULATION in effects:
        return composition
    return composition.reindex({EFFECT: [*effects, SIMULATION]}, fill_value=0.0)
