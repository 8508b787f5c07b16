"""What the components of a factorisation are: phases, or something else that changes spectra.

What a component has that the others do not have in any mixture is compared with what thickness,
absorption and background do to another component's spectrum. A phase has lines in other ratios.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.cluster.supervision import computes
from eds_xr.factorisation.component_kinds.few_pixels import FEW_PIXELS, in_few, pixels_in_few
from eds_xr.factorisation.component_kinds.modulation import beyond_others, unexplained
from eds_xr.factorisation.component_kinds.smooth_maps import (
    MOST_PIXELS,
    SMOOTH,
    continua,
    cubic_share,
    scatters_as_noise,
    share_by_thickness,
)
from eds_xr.factorisation.purest.least_volume import even_rows
from eds_xr.factorisation.purest.shares import equal_groups, loading_noise, score_noise
from eds_xr.factorisation.rotation import binned_maps, check_factors
from eds_xr.schema import COMPONENT, ENERGY, EdsError, spatial_dims

PHASE_KIND, MODULATION, BACKGROUND = "phase", "modulation", "background"
ODD_PIXELS, NOISE, CONTINUUM_END = "odd pixels", "noise", "continuum end"
#: Groups of channels of equal counts in which spectra are compared.
GROUPS = 256
#: Of what a component has beyond the others, a modulation leaves less than this unexplained: a
#: wedge up to 0.27, as lines from elsewhere are not absorbed; phases 0.25 (with boundaries) to 0.9.
MOST_UNEXPLAINED = 0.35
#: Where its map has boundaries, less than this, and the counts explain where it is.
MOST_WITH_BOUNDARIES = 0.25
#: What is somewhere more than this share of a pixel's counts is a phase if more than this is left
#: unexplained; more than the last, it always is.
LARGER_PART, LITTLE, NEARLY_ALL = 0.6, 0.15, 0.95
#: What a phase has beyond the others is this many standard deviations of chi-squared above noise.
SIGNIFICANT = 8.0


class Kinds(NamedTuple):
    """What components are, and whose modulation [component]."""

    kind: list[str]
    parent: list[int]  # its own number where there is none
    reason: list[str]


@computes
def component_kinds(factors: xr.Dataset) -> xr.Dataset:
    """Tell components that are phases from those that are not.

    Computes: once through the scores, summed over bins of pixels.

    From the weakest component on, what no sum or difference of the remaining phases' spectra makes
    is explained by a change of one of them that is smooth in energy: absorption (falling with
    energy, steps above the strong lines, one sign) and background of another strength or slope.
    Where that leaves less than 35 % unexplained and the component's share changes smoothly across
    the field (a cubic surface describes 90 % of it), it is no phase; nor where less than 25 % is
    left and a cubic of the counts, which grow with thickness, describes 90 % of its share, whatever
    edges a thick lump has. What is nearly pure in places is always a phase. Two phases between
    which 30 % of their pixels or more lie, changing smoothly, are the ends of one.

    Parameters
    ----------
    factors : Dataset
        From :func:`eds_xr.nmf`.

    Returns
    -------
    Dataset over ``component``
        ``kind``: ``phase``; ``modulation`` of the spectrum of ``parent``, as thickness and
        absorption make it; ``background``, of another strength than `parent`'s; ``odd pixels``, a
        few that are like no others; ``noise``, nothing beyond the others, or a share that scatters
        as noise; ``continuum end``, of a phase whose composition changes. ``reason``, in words.
        ``parent`` is a component's own name where it has none. Attribute ``continuum`` lists pairs
        of phases between which compositions change smoothly (solid solution, diffusion profile)
        with the reason; ``notes`` says what else is remarkable, as one phase or none.

    Raises
    ------
    EdsError
        When `factors` is no factorisation.
    """
    check_factors(factors)
    scores = factors["scores"].transpose(*spatial_dims(factors["scores"]), COMPONENT)
    loadings = factors["loadings"].transpose(COMPONENT, ENERGY)
    maps = binned_maps(scores)
    spectra, energy = loadings.values.astype(float), loadings[ENERGY].values.astype(float)
    found = kinds_of(maps, spectra, energy, lambda spread: pixels_in_few(scores, spread))
    names = loadings[COMPONENT]
    said = continua(maps, spectra, [i for i, k in enumerate(found.kind) if k == PHASE_KIND])
    strength = maps.reshape(-1, len(spectra)).sum(0)
    for a, b, why, one_phase in said:
        if one_phase:
            end, other = (a, b) if strength[a] < strength[b] else (b, a)
            found.kind[end], found.parent[end] = CONTINUUM_END, other
            found.reason[end] = f"a continuum leads to {other}: {why}"
    found = _with_last_parents(found)
    attrs = provenance.with_step(factors.attrs, "component_kinds")
    pairs = [f"{names.values[a]} to {names.values[b]}: {why}" for a, b, why, _ in said]
    attrs |= {"continuum": pairs, "notes": _notes(maps, found)}
    return xr.Dataset(
        {
            "kind": (COMPONENT, np.array(found.kind)),
            "parent": (COMPONENT, names.values[found.parent]),
            "reason": (COMPONENT, np.array(found.reason)),
        },
        coords={COMPONENT: names},
        attrs=attrs,
    )


@computes
def merge_kinds(factors: xr.Dataset, kinds: xr.Dataset) -> xr.Dataset:
    """Fold components that are no phases into their parents, without changing their counts.

    Lazy: the scores. Computes: their sums.

    Parameters
    ----------
    factors : Dataset
        From :func:`eds_xr.nmf`.
    kinds : Dataset
        From :func:`component_kinds`.

    Returns
    -------
    Dataset
        As `factors`, of phases alone: scores of a phase and its modulations add up, loadings are
        their means, weighted with their counts.

    Raises
    ------
    EdsError
        When `factors` is no factorisation, or of other components than `kinds`.
    """
    check_factors(factors)
    names = factors["loadings"][COMPONENT].values
    if not ("parent" in kinds and np.array_equal(kinds[COMPONENT].values, names)):
        raise EdsError(
            f"expected the kinds of components {names.tolist()}, found "
            f"{kinds[COMPONENT].values.tolist() if COMPONENT in kinds.coords else list(kinds)}; "
            "make them of this factorisation with component_kinds"
        )
    parent = kinds["parent"].values
    kept = [n for n, p in zip(names, parent, strict=True) if n == p]
    into = xr.DataArray(
        (parent[:, None] == np.array(kept)[None]).astype(np.float32),
        {COMPONENT: names, "into": kept},
        (COMPONENT, "into"),
    )
    scores = factors["scores"]
    total = scores.sum(spatial_dims(scores)).compute().clip(min=0)
    weight = (into * total).transpose("into", COMPONENT)
    weight = weight + 1e-12 * into.transpose("into", COMPONENT)
    loadings = (weight / weight.sum(COMPONENT)) @ factors["loadings"].compute()
    chunked = scores.chunk({COMPONENT: -1}) if scores.chunks is not None else scores
    merged = (chunked @ into).rename(into=COMPONENT).transpose(*scores.dims)
    attrs = provenance.with_step(factors.attrs, "merge_kinds", parent=parent.tolist())
    if "ends_at" in attrs:
        attrs["ends_at"] = [factors.attrs["ends_at"][list(names).index(n)] for n in kept]
    return xr.Dataset(
        {
            "scores": merged.astype(scores.dtype).assign_attrs(scores.attrs).rename("scores"),
            "loadings": loadings.rename(into=COMPONENT)
            .transpose(*factors["loadings"].dims)
            .assign_attrs(factors["loadings"].attrs),
        },
        attrs=attrs,
    )


def kinds_of(
    maps: np.ndarray, loadings: np.ndarray, energy: np.ndarray,
    few_pixels: Callable[[np.ndarray], np.ndarray],
) -> Kinds:  # fmt: skip
    """Return the kinds of components, from `maps` [*bin, component] and `loadings`.

    `few_pixels` tells which components few pixels hold [component; bool], from the spread of a
    count in each; asked for where few bins hold one.
    """
    size = len(loadings)
    rows = maps.reshape(-1, size)
    found = Kinds([PHASE_KIND] * size, list(range(size)), ["lines in ratios of its own"] * size)
    if size < 2 or not rows.any():
        return found
    first = equal_groups(rows.sum(0) @ loadings, GROUPS)
    grouped = np.maximum(np.add.reduceat(loadings, first, axis=1), 1e-12)
    spectra = _Spectra(loadings, energy, first, grouped, loading_noise(even_rows(rows), grouped))
    spread = np.sqrt(np.diag(score_noise(even_rows(rows), loadings)))
    odd = in_few(rows, spread)
    if odd.any():
        odd &= few_pixels(spread)
    its = [_map(maps, c, spread, bool(odd[c])) for c in range(size)]
    phases = list(range(size))
    weakest_first = np.argsort(rows.sum(0)).tolist()
    while len(phases) > 1:  # the least of a phase goes first
        worst: tuple[float, int, int, str, str] | None = None
        for c in (c for c in weakest_first if c in phases):
            said = _no_phase(c, [p for p in phases if p != c], spectra, its[c])
            found.reason[c] = said[-1]
            if said[0] < 1 and (worst is None or said[0] < worst[0]):
                worst = (said[0], c, *said[1:])
        if worst is None:
            break
        _, c, parent, found.kind[c], found.reason[c] = worst
        phases.remove(c)
        found.parent[c] = parent
        its[parent] = its[parent]._replace(scattered=False)  # it is where both were
    return _with_last_parents(found)


_WHAT = {
    MODULATION: "absorption, as another thickness has it,",
    BACKGROUND: "background of another strength than that",
}


class _Spectra(NamedTuple):
    """Loadings, whole and in groups of channels, with their noise."""

    loadings: np.ndarray
    energy: np.ndarray
    first: np.ndarray
    grouped: np.ndarray
    noise: np.ndarray


class _Map(NamedTuple):
    """What the share of a component in the counts looks like across the field."""

    most: float  # in the richest places
    smooth: float  # how much of it a cubic surface explains
    scattered: bool
    odd: bool  # in few pixels only
    by_thickness: Callable[[int], float]  # how much of it in a parent the counts explain


def _no_phase(
    c: int, others: list[int], spectra: _Spectra, its: _Map
) -> tuple[float, int, str, str]:
    """Return how near `c` is to a phase (below 1: none), its parent, its kind and the reason."""
    sigma, significance, nearest = beyond_others(c, others, spectra.grouped, spectra.noise)
    if significance < SIGNIFICANT:
        why = f"mixtures of the others, of {nearest} most, explain all but noise"
        return significance / SIGNIFICANT - 2, nearest, NOISE, why
    if its.scattered:
        why = "its share scatters as noise does: neighbours are no more alike than others"
        return 0, nearest, NOISE, why
    if its.odd:
        return 0, nearest, ODD_PIXELS, f"half of its counts lie in {FEW_PIXELS} pixels or fewer"
    loadings, energy, first = spectra.loadings, spectra.energy, spectra.first
    parent, left, soft = unexplained(c, others, loadings, energy, first, sigma)
    if left > MOST_UNEXPLAINED:
        why = f"lines in ratios of its own: no smooth change explains {left:.0%} of it"
        return 2, c, PHASE_KIND, why
    if its.most > (LARGER_PART if left > LITTLE else NEARLY_ALL):
        why = f"nearly pure in places: up to {its.most:.0%} of the counts there"
        return 2, c, PHASE_KIND, why
    thickness = left < MOST_WITH_BOUNDARIES and its.by_thickness(parent) > SMOOTH
    if its.smooth < SMOOTH and not thickness:
        why = f"its map has boundaries: a smooth one explains {max(its.smooth, 0):.0%} of it"
        return 2, c, PHASE_KIND, why
    kind = BACKGROUND if soft else MODULATION
    why = f"{_WHAT[kind]} of {parent} explains {1 - left:.0%} of what it has of its own"
    return left, parent, kind, why


def _with_last_parents(found: Kinds) -> Kinds:
    """Return kinds whose parents are phases: of a parent that went later, its own parent."""
    parent = found.parent
    for c in range(len(parent)):
        while parent[c] != parent[parent[c]]:
            parent[c] = parent[parent[c]]
    return found


def _map(maps: np.ndarray, c: int, spread: np.ndarray, odd: bool) -> _Map:
    total = np.maximum(maps.sum(-1), 1.0)
    bright = total > 0.1 * np.median(total)
    share = maps[..., c] / total
    variance = spread[c] ** 2 / total
    between = np.abs(np.diff(share, axis=-1)) if share.shape[-1] > 1 else np.zeros(1)
    seen = (np.median(between) / 0.6745) ** 2 / 2  # robust: boundaries are few
    smooth = cubic_share(share, bright, variance * max(1.0, seen / np.median(variance)))
    by_thickness = partial(share_by_thickness, maps, c, variance=variance)
    return _Map(
        float(np.quantile(share, MOST_PIXELS)),
        smooth,
        scatters_as_noise(share, variance),
        odd,
        by_thickness,
    )


def _notes(maps: np.ndarray, found: Kinds) -> list[str]:
    if not maps.any():
        return ["no counts: no phase"]
    number = found.kind.count(PHASE_KIND)
    notes = ["one phase: all spectra are alike but for what is no phase"] if number == 1 else []
    for c, kind in enumerate(found.kind):
        if kind != PHASE_KIND:
            notes.append(f"component {c} is no phase ({kind}): {found.reason[c]}")
    return notes
