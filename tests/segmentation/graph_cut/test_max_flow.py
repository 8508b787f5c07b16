"""Tests of our parallel solver of minimum cuts, against PyMaxflow and by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr.segmentation.graph_cut import expansion, max_flow


def minimum_by_pymaxflow(costs: np.ndarray, pairs: expansion.Pairs) -> int:
    """Return the least energy of two labels, from PyMaxflow's minimum cut."""
    maxflow = pytest.importorskip("maxflow")
    nodes = np.arange(costs[0].size).reshape(pairs.shape)
    graph = maxflow.GraphInt()
    graph.add_grid_nodes(costs[0].size)
    for k, step in enumerate(pairs.steps):
        here, there = expansion._slices(step)
        first = nodes[here].ravel()
        weight = pairs.weights[first if len(pairs.weights) > 1 else np.zeros_like(first), k]
        graph.add_edges(first, nodes[there].ravel(), weight, weight)
    graph.add_grid_tedges(nodes.ravel(), costs[1].ravel(), costs[0].ravel())
    return int(graph.maxflow())


@pytest.mark.usefixtures("narrow_bands")
@settings(max_examples=25)
@given(
    seed=st.integers(0, 9999),
    shape=st.sampled_from([(1, 30, 20), (1, 65, 9), (6, 7, 8), (1, 1, 400), (1, 400, 1)]),
    neighbours=st.sampled_from([4, 8, 6, 26]),
    scale=st.sampled_from([1, 30, 10_000]),
    varied=st.booleans(),
)
def test_minimise__two_labels_equal_another_solver(
    seed: int, shape: Any, neighbours: int, scale: int, varied: bool
) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, scale + 1, (2, *shape)).astype(np.int32)
    pairs = expansion.uniform_pairs(shape, neighbours, 0.0)
    number = len(costs[0].ravel()) if varied else 1
    weights = 2 * rng.integers(0, scale // 4 + 2, (number, len(pairs.steps)))
    pairs = pairs._replace(weights=weights.astype(np.int32))
    label = expansion.minimise(costs, pairs)
    found = expansion.energy_steps(costs, pairs, label, [slice(None)] * 3)
    assert found == minimum_by_pymaxflow(costs, pairs)


def line_of(capacities: list[int], terminal: list[int]) -> max_flow.Flow:
    """Return a flow on a line of pixels, its neighbours one step away."""
    flow, reach = max_flow.new_flow(len(terminal), np.array([1, -1]))
    flow.terminal[reach:-reach] = terminal
    for i, capacity in enumerate(capacities):
        flow.capacity[reach + i, 0] = flow.capacity[reach + i + 1, 1] = capacity
    return flow


@pytest.mark.parametrize(
    ("capacities", "terminal", "to_sink"),
    [
        ([5, 2, 5], [9, 0, 0, -9], [False, False, True, True]),  # cut at the narrowest edge
        ([5, 5, 5], [3, 0, 0, -9], [True, True, True, True]),  # the source runs dry
        ([5, 5, 5], [9, 0, 0, -3], [False, False, False, False]),  # the sink is full
        ([0, 1, 0], [1, 0, 0, -1], [False, False, False, True]),  # nothing can flow
    ],
)
def test_solve__cuts_a_line_where_it_is_cheapest(
    capacities: list[int], terminal: list[int], to_sink: list[bool]
) -> None:
    flow = line_of(capacities, terminal)
    max_flow.solve(flow, 1, 5)
    assert (flow.tree[1:-1] == max_flow.SINK).tolist() == to_sink
