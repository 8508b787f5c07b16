"""Regions of which spectra are summed: pure ones, mixtures by which phases are present."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.schema import PHASE, spatial_dims
from eds_xr.segmentation.presence.purity import only_pixels

#: A spectrum is worth fitting from so many counts and pixels on.
LEAST_COUNTS, LEAST_PIXELS = 500.0, 5
#: A mixture is taken where nothing of a third phase is, if that leaves this share of its pixels.
LEAST_ONLY = 0.1
#: Pure pixels are enough when they hold this share of what the best mixture holds of the phase:
#: they assume nothing, a subtraction assumes that the phase lacks an element.
ENOUGH_PURE = 0.1
#: Less of another phase than this, over pixels that are pure otherwise, is left to the errors.
LEAST_OVERLAP = 0.05


class Region(NamedTuple):
    """Pixels in which exactly these phases are present; of a single one, in which it is pure."""

    phases: tuple[str, ...]
    mask: xr.DataArray
    counts: dict[str, float]  # what the pixels hold of each phase

    @property
    def name(self) -> str:
        """Names of the phases, joined: ``"core+shell"``."""
        return "+".join(self.phases)

    @property
    def all_counts(self) -> float:
        """Return the counts of all phases."""
        return sum(self.counts.values())

    def others(self, name: str, over: str = "") -> list[str]:
        """Return the phases beside one, those too whose counts are over all of the pixels.

        As a core has that is nowhere without its shell. Of the phase that may lie `over` all of
        it, less is enough: what chance leaves open.
        """
        chance = self.all_counts / max(self.all_counts, 1.0) ** 0.5
        beside = {p for p in self.phases if p != name}
        for p, held in self.counts.items():
            least = 2 * chance if p == over else LEAST_OVERLAP * self.all_counts + 3 * chance
            if p != name and held > least:
                beside.add(p)
        return [p for p in self.counts if p in beside]


class Source(NamedTuple):
    """Where a phase's spectrum comes from: a region, and what is subtracted from it."""

    phase: str
    region: str
    reference: str = ""  # a phase, or a region of several; "" when the region is pure


def regions_of(segmentation: xr.Dataset, amounts: xr.DataArray) -> dict[str, Region]:
    """Return all regions that are large enough, by name.

    Computes: the amounts.

    Parameters
    ----------
    segmentation : Dataset
        ``present`` and ``pure`` [phase, *spatial; bool].
    amounts : DataArray [*spatial, phase; counts]
        Of the phases, without bias.
    """
    names = segmentation[PHASE].values.tolist()
    held = amounts.sel({PHASE: names}).compute()
    table = held.transpose(PHASE, *spatial_dims(held)).values
    found = {}
    for phases in _combinations(segmentation["present"]):
        mask = region_mask(segmentation, held, phases).transpose(*spatial_dims(held))
        inside = table[:, mask.values].sum(axis=1, dtype=float)
        counts = dict(zip(names, inside.tolist(), strict=True))
        region = Region(phases, mask, counts)
        if region.all_counts >= LEAST_COUNTS and int(mask.sum()) >= LEAST_PIXELS:
            found[region.name] = region
    return found


def region_masks(
    segmentation: xr.Dataset, amounts: xr.DataArray, chosen: Mapping[str, tuple[str, ...]]
) -> xr.DataArray:
    """Return masks ``[phase, *spatial; bool]`` of regions, each told by its phases."""
    held = amounts.compute()
    masks = [region_mask(segmentation, held, phases) for phases in chosen.values()]
    return xr.concat(masks, dim=xr.DataArray(list(chosen), dims=PHASE, name=PHASE)).rename("mask")


def region_mask(
    segmentation: xr.Dataset, amounts: xr.DataArray, phases: tuple[str, ...]
) -> xr.DataArray:
    """Return where a phase is pure, or where just these are present and nothing of others."""
    names = segmentation[PHASE]
    if not set(phases) <= set(names.values.tolist()):
        return xr.zeros_like(segmentation["present"].isel({PHASE: 0}, drop=True))
    if len(phases) == 1:
        return segmentation["pure"].sel({PHASE: phases[0]}, drop=True)
    present, held = segmentation["present"], amounts.sel({PHASE: names.values})
    mean = float(held.sum(PHASE).mean())
    exactly = (present == names.isin(list(phases))).all(PHASE)
    only = only_pixels(held, present, phases, mean, segmentation.attrs["pure_share"])
    return only if int(only.sum()) >= LEAST_ONLY * int(exactly.sum()) else exactly


def _combinations(present: xr.DataArray) -> list[tuple[str, ...]]:
    """Return each phase alone, then every combination of several that occurs."""
    names = present[PHASE].values
    table = present.transpose(PHASE, ...).values.reshape(names.size, -1)
    occurring, size = np.unique(table.T, axis=0, return_counts=True)
    common = size >= LEAST_PIXELS
    several = [tuple(names[there].tolist()) for there in occurring[common] if there.sum() > 1]
    return [(str(n),) for n in names] + several


def sources_of(
    regions: Mapping[str, Region],
    names: list[str],
    host_of: Mapping[str, str],
    over: Mapping[str, str] = MappingProxyType({}),
) -> list[Source]:
    """Return where each phase's spectrum comes from, references before what needs them.

    Pure pixels where there are enough. Otherwise the mixture that holds most of the phase, one
    with its host first, less a reference: the other phase, or of several others the region in
    which just these are present. A phase that is in no region left out. `over` names the hosts
    that may lie over all pixels of their phase, as nothing shows it to be anywhere without.
    """
    found: dict[str, Source] = {}
    for name in names:
        if _pure_is_enough(name, regions, over.get(name, "")):
            found[name] = Source(name, name)
    while waiting := [n for n in names if n not in found]:
        first = [n for n in waiting if host_of.get(n, "") not in waiting]  # hosts first
        for tried in (first, waiting):
            made = (_by_subtraction(n, regions, found, host_of, over) for n in tried)
            if chosen := [source for source in made if source is not None]:
                break
        else:
            break
        found |= {s.phase: s for s in chosen}
    few = [n for n in names if n not in found and n in regions]
    return [*found.values(), *(Source(n, n) for n in few)]


def _pure_is_enough(name: str, regions: Mapping[str, Region], over: str) -> bool:
    if name in regions and regions[name].others(name, over):
        return False
    pure = regions[name].counts[name] if name in regions else 0.0
    mixed = [r.counts[name] for r in regions.values() if name in r.phases and len(r.phases) > 1]
    return pure > 0 and pure >= ENOUGH_PURE * max(mixed, default=0.0)


def _by_subtraction(
    name: str,
    regions: Mapping[str, Region],
    known: Mapping[str, Source],
    host_of: Mapping[str, str],
    over: Mapping[str, str],
) -> Source | None:
    """Return the best mixture of which the rest is known."""
    best, most = None, 0.0
    for region in regions.values():
        others = region.others(name, over.get(name, ""))
        if name not in region.phases or not others:
            continue
        reference = "+".join(others)
        if reference not in known and not (len(others) > 1 and reference in regions):
            continue
        # of several others one scale is right only where they are mixed as in their own region
        sure = 10.0 if others == [host_of.get(name)] else 1.0 if len(others) == 1 else 0.2
        worth = region.counts[name] * sure
        if worth > most:
            best, most = Source(name, region.name, reference), worth
    return best
