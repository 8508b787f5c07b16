"""Tests of alpha expansion: neighbours, bands, blocks that are held."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from support.potts import neighbour_pairs, noisy

from eds_xr.segmentation.graph_cut import expansion, tiles
from eds_xr.segmentation.graph_cut.potts import potts_energy, smooth


@pytest.mark.parametrize("neighbours", [4, 8, 6, 26])
@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 3), (1, 1, 6), (2, 5, 1), (1, 1, 1)])
def test_neighbours__each_pair_once_on_all_axes(shape: Any, neighbours: int) -> None:
    pairs = expansion.uniform_pairs(shape, neighbours, 1.0)
    found = []
    for i in np.ndindex(shape):
        for step in pairs.steps:
            j = tuple(int(a + b) for a, b in zip(i, step, strict=True))
            if all(0 <= a < n for a, n in zip(j, shape, strict=True)):
                found.append((*sorted([i, j]), float(np.hypot.reduce(step))))
    wanted = neighbour_pairs(shape, neighbours)
    if neighbours in (4, 8):
        wanted = [pair for pair in wanted if pair[0][0] == pair[1][0]]
    assert sorted(found) == sorted(wanted)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pymaxflow")
def test_minimise__bands_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = tiles.costs_of(noisy((60, 47)).values[:, None])
    pairs = expansion.uniform_pairs((1, 60, 47), 8, 0.8)
    found = []
    for pixels in (10**6, 1000, 200, 47):
        monkeypatch.setattr(expansion, "BAND_PIXELS", pixels)
        found += [expansion.minimise(costs, pairs), expansion.minimise(costs, pairs, None, map)]
    for label in found[1:]:
        np.testing.assert_array_equal(label, found[0])


def test_minimise__holding_settled_blocks_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = tiles.costs_of(noisy((120, 130)).values[:, None])
    pairs = expansion.uniform_pairs((1, 120, 130), 8, 1.0)
    held = expansion.minimise(costs, pairs)
    monkeypatch.setattr(expansion, "_with_neighbours", np.ones_like)
    full = expansion.minimise(costs, pairs)
    least, all_free = (
        expansion.energy_steps(costs, pairs, label, [slice(None)] * 3) for label in (held, full)
    )
    assert least <= 1.00001 * all_free


@pytest.mark.parametrize("smoothness", [0.3, 1.0, 2.0])
@pytest.mark.usefixtures("narrow_bands")
def test_smooth__no_worse_than_another_expansion(smoothness: float) -> None:
    p = noisy((60, 70))
    unary = np.ascontiguousarray(np.moveaxis(-np.log(p.values), 0, -1))
    fastmin = pytest.importorskip("maxflow.fastmin")
    other = fastmin.aexpansion_grid(unary, smoothness * (1 - np.eye(4)))
    other = xr.DataArray(other.astype(np.uint8) + np.uint8(1), dims=("y", "x"))
    options: dict[str, Any] = {"smoothness": smoothness, "neighbours": 4}
    assert smooth(p, **options).attrs["energy"] <= 1.001 * potts_energy(other, p, **options)


def test_smooth__no_expansion_lowers_the_energy() -> None:
    p = noisy((40, 40))
    label = smooth(p, neighbours=4)
    unary = np.ascontiguousarray(np.moveaxis(-np.log(p.values), 0, -1))
    fastmin = pytest.importorskip("maxflow.fastmin")
    for alpha in range(4):
        changed = label.values.astype(np.int8) - np.int8(1)
        found, _ = fastmin.aexpansion_grid_step(alpha, unary, 1 - np.eye(4), changed)
        assert found >= label.attrs["energy"] - 0.02  # 1600 costs rounded to 2e-5
