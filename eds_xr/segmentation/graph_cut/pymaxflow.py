"""Minimum cuts by PyMaxflow, Boykov and Kolmogorov's own code: the solver of small images."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eds_xr.segmentation.graph_cut.max_flow import Flow

#: Measured on two busy cores, blobs under noise, 8 neighbours, PyMaxflow / our parallel solver, in
#: seconds: two labels 0.005 / 0.023 (64 x 64), 0.23 / 0.33 (256 x 256), 0.75 / 1.5 (512 x 512);
#: four labels 0.08 / 0.15, 1.6 / 1.3, 9.2 / 9.5. Ours gains with every core, and PyMaxflow's graph
#: takes some 300 bytes a pixel (26 neighbours: 900), ours 50 (120).
MOST_PIXELS = 512 * 512


def solves(pixels: int) -> bool:
    """Return whether PyMaxflow cuts an image of so many pixels: it is there, and as fast."""
    return pixels <= MOST_PIXELS and find_spec("maxflow") is not None


def solve(flow: Flow, reach: int) -> None:
    """Find the minimum cut of a flow's capacities; what can reach the sink is in its tree.

    It is the same cut as that of :func:`eds_xr.segmentation.graph_cut.max_flow.solve`.
    """
    import maxflow

    from eds_xr.segmentation.graph_cut.max_flow import FREE, SINK

    pixels, directions = flow.terminal.size - 2 * reach, flow.offsets.size
    inner = slice(reach, reach + pixels)
    graph = maxflow.GraphInt(pixels, pixels * directions // 2)
    nodes = graph.add_grid_nodes(pixels)
    for k in range(directions // 2, directions):  # the other half leads back
        step = int(flow.offsets[k])
        there = flow.capacity[inner, k]
        back = flow.capacity[reach + step : reach + step + pixels, directions - 1 - k]
        first = np.flatnonzero(there | back)
        graph.add_edges(first, first + step, there[first], back[first])
    terminal = flow.terminal[inner]
    graph.add_grid_tedges(nodes, np.maximum(terminal, 0), np.maximum(-terminal, 0))
    graph.maxflow()
    flow.tree[inner] = np.where(graph.get_grid_segments(nodes), SINK, FREE)
