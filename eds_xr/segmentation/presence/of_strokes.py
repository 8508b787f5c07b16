"""Amounts of the phases that were painted, from those of components."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.schema import COMPONENT, label_array, phase_colors, phase_names, spatial_dims
from eds_xr.segmentation.classify.strokes import painted_pixels, stroke_numbers
from eds_xr.segmentation.presence.amounts import Amounts, covariance
from eds_xr.segmentation.presence.forest import AND

#: By so much a component's mean share must rise where its phase is painted, or it tells nothing.
LEAST_RISE = 0.05
#: Strokes of a phase that hold so much of its own components are of these alone: the rest is what
#: strokes hold of their surroundings, and chance.
MOSTLY_OWN = 0.8
#: Compositions of phases are told apart by components down to this singular value.
LEAST_SINGULAR = 0.1
#: So many pixels of a class are looked at.
MOST_PIXELS = 5000


class PhasesOfStrokes(NamedTuple):
    """Painted phases, and what they are made of.

    Attributes
    ----------
    names : list of str
    components : ndarray of bool [component, phase]
        Each component is of one phase.
    composition : ndarray [phase, component; sum 1]
        Shares of the components in the counts of each phase.
    """

    names: list[str]
    components: np.ndarray
    composition: np.ndarray

    @property
    def are_components(self) -> bool:
        """Whether phases are sums of components, and no mixtures of them."""
        return bool((self.composition[~self.components.T] == 0).all())


def canonical(scribbles: xr.DataArray) -> xr.DataArray:
    """Return scribbles whose combinations name their phases in one order. Lazy."""
    classes = phase_names(scribbles)
    order = phases_in(classes)
    names = [AND.join(p for p in order if p in name.split(AND)) for name in classes]
    dims = spatial_dims(scribbles)
    return label_array(scribbles.transpose(*dims).data, scribbles, names, phase_colors(scribbles))


def phases_in(classes: list[str]) -> list[str]:
    """Return the phases that classes hold, in the order in which they come."""
    return list(dict.fromkeys(part for name in classes for part in name.split(AND)))


def phases_of_strokes(counts: xr.DataArray, scribbles: xr.DataArray) -> PhasesOfStrokes | None:
    """Return the painted phases as mixtures of components; None where these do not tell them apart.

    A phase is the component whose share rises most from classes without the phase to those with
    it, and others that all classes with the phase hold more of than any without. If it was painted
    alone and its strokes hold much else, too, it is the mixture that they hold (their median).

    Computes: the scribbles, and the counts of painted pixels.

    Parameters
    ----------
    counts : DataArray [*spatial, component; counts]
    scribbles : DataArray [*spatial; integer label]

    Raises
    ------
    EdsError
        When fewer than two classes are painted.
    """
    classes = tuple(phase_names(scribbles))
    places, labels = painted_pixels([scribbles], classes, MOST_PIXELS, 0)
    stroke = stroke_numbers([scribbles], places, labels, classes)
    label = labels[0]
    indexers = {d: xr.DataArray(i, dims="pixel") for d, i in places[0].items()}
    values = counts.isel(indexers).transpose("pixel", COMPONENT).values.astype(float)
    painted = np.unique(label)
    held_by = set(phases_in([classes[i - 1] for i in painted]))
    names = [name for name in phases_in(list(classes)) if name in held_by]
    if len(names) > values.shape[1]:
        return None
    held = np.array([[n in classes[i - 1].split(AND) for n in names] for i in painted])
    of_class = np.stack([_share(values[label == i], stroke[label == i]) for i in painted])
    table = _components_of(of_class, held)
    if table is None:
        return None
    composition = np.stack(
        [_composition(of_class, held, p, table[:, p]) for p in range(len(names))]
    )
    unit = composition / np.linalg.norm(composition, axis=1, keepdims=True)
    if np.linalg.svd(unit, compute_uv=False).min() < LEAST_SINGULAR:
        return None
    return PhasesOfStrokes(names, table, composition)


def amounts_of_phases(amounts: Amounts, phases: PhasesOfStrokes) -> Amounts:
    """Return the amounts of phases that are sums or mixtures of components, without bias.

    Lazy: but for the mean composition, at which the linear fit of mixtures has least variance.
    """
    mixed, weights = phases.composition, phases.components.T.astype(float)  # [phase, component]
    if not phases.are_components:
        mean = amounts.counts.mean(spatial_dims(amounts.counts)).values.astype(float).clip(1e-9)
        inverse = np.linalg.pinv(covariance(mean, amounts.noise), hermitian=True)
        weights = np.linalg.solve(mixed @ inverse @ mixed.T, mixed @ inverse)
    table = xr.DataArray(weights.T.astype(np.float32), dims=(COMPONENT, "phase_of"))
    bare = amounts.counts.drop_vars(COMPONENT)
    counts = xr.dot(bare, table, dim=COMPONENT).rename(phase_of=COMPONENT)
    counts = counts.transpose(*spatial_dims(bare), COMPONENT).astype(np.float32)
    counts = counts.assign_coords({COMPONENT: phases.names}).assign_attrs(amounts.counts.attrs)
    noise = np.einsum("ak,kpq,bp,cq->abc", mixed, amounts.noise, weights, weights, optimize=True)
    return Amounts(counts, noise)


def _share(values: np.ndarray, stroke: np.ndarray) -> np.ndarray:
    """Return the shares of components in a class: the median of its strokes, if three or more."""
    sums = np.stack([values[stroke == s].sum(0).clip(0) for s in np.unique(stroke)])
    sums = sums[sums.sum(1) > 0]
    if len(sums) >= 3:
        found = np.median(sums / sums.sum(1, keepdims=True), axis=0)
    else:
        found = sums.sum(0)
    return np.asarray(found / max(float(found.sum()), 1e-9))


def _components_of(of_class: np.ndarray, held: np.ndarray) -> np.ndarray | None:
    """Return which components are each phase's ``[component, phase]``; each has one of its own."""
    from scipy.optimize import linear_sum_assignment

    rise = np.stack([_rise(of_class, held[:, p]) for p in range(held.shape[1])], axis=1)
    component, phase = linear_sum_assignment(-rise)
    if rise[component, phase].min() < LEAST_RISE:
        return None
    lead = np.stack([_lead(of_class, held[:, p]) for p in range(held.shape[1])], axis=1)
    table = np.zeros(rise.shape, bool)
    table[np.arange(len(rise)), lead.argmax(1)] = True
    table[component] = False
    table[component, phase] = True
    return table


def _rise(of_class: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return how much more of each component classes with a phase hold than those without."""
    without = of_class[~held].mean(0) if (~held).any() else 0.0
    return np.asarray(of_class[held].mean(0) - without)


def _lead(of_class: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return by how much classes with a phase hold at least more of each component than others.

    Where one without the phase holds much of it, the component cannot be the phase: less by one.
    (Of an interface it rises most with a phase that was painted at interfaces only.)
    """
    without = of_class[~held].max(0) if (~held).any() else np.zeros(of_class.shape[1])
    return np.asarray(of_class[held].min(0) - without - (without > LEAST_RISE))


def _composition(of_class: np.ndarray, held: np.ndarray, phase: int, own: np.ndarray) -> np.ndarray:
    """Return a phase's shares of components: its own, or a mixture where it was painted alone."""
    alone = held[:, phase] & (held.sum(1) == 1)
    found = own * of_class[alone if alone.any() else held[:, phase]].mean(0)
    if alone.any() and found.sum() < MOSTLY_OWN:
        found = of_class[alone][0]
    return np.asarray(found / max(float(found.sum()), 1e-9))
