"""Regions of which spectra are summed: pure ones, mixtures by which phases are present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.schema import PHASE, spatial_dims
from eds_xr.segmentation.presence.purity import only_pixels
from eds_xr.segmentation.tiled_filters import in_tiles, tiles_of
from eds_xr.workers import task_name

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
    counts: dict[str, float]  # what the pixels hold of each phase
    n_pixels: float

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

    Computes: counts and pixels of the regions; what is as large as the image stays where it is.

    Parameters
    ----------
    segmentation : Dataset
        ``present`` and ``pure`` [phase, *spatial; bool].
    amounts : DataArray [phase, *spatial; counts]
        Of the phases, without bias.
    """
    names = segmentation[PHASE].values.tolist()
    phases = [(n,) for n in names] + _combinations(segmentation["present"])
    _, pixels, held = _masks_of(segmentation, amounts, phases)
    regions = [
        Region(one, dict(zip(names, counts, strict=True)), size)
        for one, counts, size in zip(phases, held.tolist(), pixels.tolist(), strict=True)
    ]
    return {
        r.name: r for r in regions if r.all_counts >= LEAST_COUNTS and r.n_pixels >= LEAST_PIXELS
    }


def region_masks(
    segmentation: xr.Dataset, amounts: xr.DataArray, chosen: Mapping[str, tuple[str, ...]]
) -> xr.DataArray:
    """Return masks ``[phase, *spatial; bool]`` of regions, each told by its phases.

    Where a phase is pure, or where just several are present and nothing of others. Empty where
    one of them is none of the segmentation's.

    Lazy: but for the sizes of the masks, which decide how strictly others are kept out.
    """
    present = segmentation["present"]
    dims = spatial_dims(present)
    masks, _, _ = _masks_of(segmentation, amounts, list(chosen.values()))
    coords = {d: present[d] for d in dims if d in present.coords}
    about = {"long_name": "pixels of the region"}
    return xr.DataArray(masks, {PHASE: list(chosen), **coords}, (PHASE, *dims), "mask", about)


def _masks_of(
    segmentation: xr.Dataset, amounts: xr.DataArray, phases: Sequence[tuple[str, ...]]
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return lazy masks of regions, their pixels, and what they hold of each phase.

    All are looked at in one pass, in tiles that depend on the shape of the image alone.
    """
    import dask.array as da

    names, present = segmentation[PHASE], segmentation["present"]
    dims = spatial_dims(present)
    held = in_tiles(amounts.transpose(PHASE, *dims))
    there, pure = (
        in_tiles(segmentation[n].transpose(PHASE, *dims)).data for n in ("present", "pure")
    )
    asked = np.array([names.isin(list(p)).values for p in phases if _are_several(p, names)])
    looked_at = [pure, da.zeros_like(there[:1])]
    if len(asked):
        mean = float(held.sum(PHASE).mean(dtype=float))
        share = segmentation.attrs["pure_share"]
        exactly = da.map_blocks(
            _exactly_block, there, asked, dtype=bool, chunks=((len(asked),), *there.chunks[1:])
        )
        looked_at += [only_pixels(held, present, asked, mean, share).data, exactly]
    masks = da.concatenate(looked_at).rechunk({0: -1})
    sums = _sums_in(masks, held.data)
    which = _places(phases, names, sums[:, 0])
    return masks[which], sums[which, 0], sums[which, 1:]


def _places(
    phases: Sequence[tuple[str, ...]], names: xr.DataArray, pixels: np.ndarray
) -> list[int]:
    """Return which of the masks that were looked at belongs to each region.

    First where each phase is pure, then an empty one, then, of several phases, where nothing of a
    third is, and where they are just present.
    """
    order = names.values.tolist()
    nowhere = len(order)
    several = (pixels.size - nowhere - 1) // 2
    only = iter(range(nowhere + 1, nowhere + 1 + several))
    found = []
    for one in phases:
        if _are_several(one, names):
            place = next(only)
            strict = pixels[place] >= LEAST_ONLY * pixels[place + several]
            found.append(place if strict else place + several)
        else:
            found.append(order.index(one[0]) if {*one} <= {*order} else nowhere)
    return found


def _are_several(phases: tuple[str, ...], names: xr.DataArray) -> bool:
    return len(phases) > 1 and set(phases) <= set(names.values.tolist())


def _sums_in(masks: Any, held: Any) -> np.ndarray:
    """Return the pixels of each mask, then its counts of each phase ``[mask, 1 + phase]``."""
    import dask.array as da

    axes = tuple(range(2, masks.ndim + 1))
    meta: np.ndarray = np.empty((0,) * (masks.ndim + 1))
    sums = da.blockwise(
        _sums_block, (0, 1, *axes), masks, (0, *axes), held, (1, *axes), dtype=float, meta=meta,
        adjust_chunks={1: len(held) + 1, **dict.fromkeys(axes, 1)},
    ).sum(axes)  # fmt: skip
    found: np.ndarray = sums.compute()
    return found


def _combinations(present: xr.DataArray) -> list[tuple[str, ...]]:
    """Return every combination of several phases that occurs in enough pixels."""
    names = present[PHASE].values
    tiles = tiles_of(present.transpose(PHASE, *spatial_dims(present)))
    parts = [tiles.call(_combinations_block)(block) for block in tiles.blocks]
    occurring, size = tiles.result(tiles.call(_joined_combinations)(parts))
    common = occurring[size >= LEAST_PIXELS]
    return [tuple(names[there].tolist()) for there in common if there.sum() > 1]


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


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("combinations of phases")
def _combinations_block(present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the combinations ``[combination, phase; bool]`` of a tile, and their pixels."""
    return np.unique(present.reshape(len(present), -1).T, axis=0, return_counts=True)


@task_name("combinations of phases of all tiles")
def _joined_combinations(
    tiles: list[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the combinations of all tiles, in the order of their phases, and their pixels."""
    rows, sizes = (np.concatenate(part) for part in zip(*tiles, strict=True))
    found, number = np.unique(rows, axis=0, return_inverse=True)
    size: np.ndarray = np.zeros(len(found), int)
    np.add.at(size, number.reshape(-1), sizes)
    return found, size


@task_name("pixels of a combination")
def _exactly_block(present: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return where just these phases are present ``[asked, *spatial]``."""
    return np.stack([(present.T == phases).all(-1).T for phases in asked])


@task_name("counts of the phases in regions")
def _sums_block(masks: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the pixels of masks in a tile, then their counts ``[mask, 1 + phase, 1, ...]``."""
    counts = [held[:, mask].sum(axis=1, dtype=float) for mask in masks]
    found = np.column_stack([masks.reshape(len(masks), -1).sum(axis=1), np.stack(counts)])
    return found.reshape(*found.shape, *(1,) * (masks.ndim - 1))
