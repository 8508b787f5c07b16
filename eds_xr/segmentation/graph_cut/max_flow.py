"""Compiled: minimum cuts of graphs whose nodes are pixels. Imports numba, so import it late.

The algorithm is that of Boykov & Kolmogorov (IEEE Trans. Pattern Anal. Mach. Intell. 26 (2004)
1124, doi:10.1109/TPAMI.2004.60): a tree grows from the source, another from the sink; where they
touch, flow is pushed, and what that cuts off the trees looks for a new parent. Neighbours are
not stored: edge ``k`` of node ``i`` leads to ``i + offsets[k]``, and back by edge ``K - 1 - k``.
So a pixel takes ``4 K + 18`` bytes, and neighbours lie near each other in memory.

A range of nodes can be solved on its own, while others solve theirs, as long as no edge with
capacity leaves it; then edges between two ranges are given their capacity and both are solved
together, from where they were (Liu & Sun, "Parallel graph-cuts by adaptive bottom-up merging",
CVPR 2010). Which nodes can reach the sink in the end depends neither on the ranges nor on their
order: it is the smallest of the minimum cuts.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

FREE, SOURCE, SINK = 0, 1, 2
#: Instead of the direction of a parent.
TERMINAL, ORPHAN, NOBODY = 100, 101, 102
_FAR = 2**60
_compiled = numba.njit(nogil=True, cache=True)
_Int = int | np.integer


class Flow(NamedTuple):
    """The state of a maximum flow; the first and the last `reach` nodes are no pixels.

    Attributes
    ----------
    capacity : ndarray of int32 [node, direction]
        What an edge can still take.
    terminal : ndarray of int32 [node]
        What the edge from the source can still take, or, negative, that to the sink.
    tree, parent : ndarray of int8 [node]
        The tree a node is in, and the direction of its parent there.
    stamp, distance : ndarray of int32 [node]
        Distance to the terminal, and when it was known to be right.
    following : ndarray of int32 [node]
        The next in the queue of nodes that may grow; itself for the last, -1 for those outside.
    offsets : ndarray of int64 [direction]
        To the neighbours; ``offsets[K - 1 - k] == -offsets[k]``.
    """

    capacity: np.ndarray
    terminal: np.ndarray
    tree: np.ndarray
    parent: np.ndarray
    stamp: np.ndarray
    distance: np.ndarray
    following: np.ndarray
    offsets: np.ndarray


def new_flow(pixels: int, offsets: np.ndarray) -> tuple[Flow, int]:
    """Return a flow without capacities, and its reach: node ``i + reach`` is pixel ``i``."""
    reach = int(np.abs(offsets).max(initial=0))
    nodes = pixels + 2 * reach
    capacity = np.zeros((nodes, offsets.size), np.int32)
    tree, parent = np.zeros((2, nodes), np.int8)
    terminal, stamp, distance, following = np.zeros((4, nodes), np.int32)
    return Flow(capacity, terminal, tree, parent, stamp, distance, following, offsets), reach


@_compiled
def solve(flow: Flow, first: int, last: int) -> int:
    """Find the maximum flow within a range of nodes; return the time of the last push.

    Nodes that others may be solving at the same time must be free, or in their trees already.
    """
    _push_to_neighbours(flow, first, last)
    for i in range(first, last):
        value = flow.terminal[i]
        flow.tree[i] = FREE if value == 0 else (SOURCE if value > 0 else SINK)
        flow.parent[i] = NOBODY if value == 0 else TERMINAL
        flow.stamp[i], flow.distance[i], flow.following[i] = 0, 1, -1
    return solve_on(flow, first, last, first, last, 0)


@_compiled
def solve_on(flow: Flow, first: int, last: int, begin: int, end: int, time: int) -> int:
    """Go on in a range after edges at nodes `begin` to `end` were given capacity."""
    queue = np.full(2, -1, np.int64)
    orphans = np.empty(last - first + 1, np.int32)  # a ring; each node is in it at most once
    for node in range(begin, end):
        if _can_grow(flow, node):
            _enqueue(flow, queue, node)
    i: _Int = _dequeue(flow, queue)
    while i >= 0:
        k: _Int = _grow(flow, queue, i) if flow.tree[i] != FREE else -1
        if k < 0:
            i = _dequeue(flow, queue)
            continue
        time += 1
        from_source = flow.tree[i] == SOURCE
        start: _Int = i if from_source else i + flow.offsets[k]
        found = _push(flow, orphans, start, k if from_source else flow.offsets.size - 1 - k)
        _adopt(flow, queue, orphans, found, time)
    return time


@_compiled
def _push_to_neighbours(flow: Flow, first: int, last: int) -> None:
    """Push what goes from source to sink by one edge: cheap, and most of the flow."""
    directions = flow.offsets.size
    for i in range(first, last):
        if flow.terminal[i] > 0:
            for k in range(directions):
                j = i + flow.offsets[k]
                if flow.capacity[i, k] > 0 and flow.terminal[j] < 0:
                    amount = min(flow.terminal[i], flow.capacity[i, k], -flow.terminal[j])
                    flow.capacity[i, k] -= amount
                    flow.capacity[j, directions - 1 - k] += amount
                    flow.terminal[i] -= amount
                    flow.terminal[j] += amount


@_compiled
def _residual(flow: Flow, tree: _Int, i: _Int, k: _Int) -> _Int:
    """Return what can flow from `i` along `k` in the source's tree, to `i` in the sink's."""
    if tree == SOURCE:
        return flow.capacity[i, k]
    return flow.capacity[i + flow.offsets[k], flow.offsets.size - 1 - k]


@_compiled
def _can_grow(flow: Flow, i: _Int) -> bool:
    """Return whether a node of a tree has a neighbour outside its tree, and a way to it."""
    tree = flow.tree[i]
    if tree != FREE:
        for k in range(flow.offsets.size):
            if _residual(flow, tree, i, k) > 0 and flow.tree[i + flow.offsets[k]] != tree:
                return True
    return False


@_compiled
def _enqueue(flow: Flow, queue: np.ndarray, i: _Int) -> None:
    if flow.following[i] < 0:
        if queue[1] < 0:
            queue[0] = i
        else:
            flow.following[queue[1]] = i
        queue[1] = i
        flow.following[i] = i


@_compiled
def _dequeue(flow: Flow, queue: np.ndarray) -> _Int:
    i = queue[0]
    if i >= 0:
        if flow.following[i] == i:
            queue[0] = queue[1] = -1
        else:
            queue[0] = flow.following[i]
        flow.following[i] = -1
    return i


@_compiled
def _grow(flow: Flow, queue: np.ndarray, i: _Int) -> _Int:
    """Take free neighbours into the tree of `i`; return the direction of the other tree or -1."""
    mine, directions = flow.tree[i], flow.offsets.size
    for k in range(directions):
        if _residual(flow, mine, i, k) <= 0:
            continue
        j = i + flow.offsets[k]
        if flow.tree[j] == FREE:
            flow.tree[j] = mine
            _enqueue(flow, queue, j)
        elif flow.tree[j] != mine:
            return k
        elif flow.stamp[j] > flow.stamp[i] or flow.distance[j] <= flow.distance[i]:
            continue
        flow.parent[j] = directions - 1 - k
        flow.stamp[j] = flow.stamp[i]
        flow.distance[j] = flow.distance[i] + 1
    return -1


@_compiled
def _push(flow: Flow, orphans: np.ndarray, start: _Int, k: _Int) -> int:
    """Push all that fits along the path over edge `k` of `start`; return the number of orphans."""
    directions = flow.offsets.size
    end = start + flow.offsets[k]
    amount = min(flow.capacity[start, k], _narrowest(flow, start), _narrowest(flow, end))
    flow.capacity[start, k] -= amount
    flow.capacity[end, directions - 1 - k] += amount
    found = _push_through_tree(flow, orphans, 0, start, amount)
    return _push_through_tree(flow, orphans, found, end, amount)


@_compiled
def _narrowest(flow: Flow, i: _Int) -> _Int:
    """Return what fits between a node and its terminal."""
    tree = flow.tree[i]
    least: _Int = np.int64(_FAR)
    while flow.parent[i] != TERMINAL:
        k = flow.parent[i]
        i += flow.offsets[k]
        least = min(least, _residual(flow, tree, i, flow.offsets.size - 1 - k))
    return min(least, abs(flow.terminal[i]))


@_compiled
def _push_through_tree(flow: Flow, orphans: np.ndarray, found: int, i: _Int, amount: _Int) -> int:
    """Push between a node and its terminal; nodes whose edge to the parent is full are orphans."""
    sign = amount if flow.tree[i] == SOURCE else -amount
    directions = flow.offsets.size
    while flow.parent[i] != TERMINAL:
        k = flow.parent[i]
        j = i + flow.offsets[k]
        flow.capacity[i, k] += sign
        flow.capacity[j, directions - 1 - k] -= sign
        if _residual(flow, flow.tree[i], j, directions - 1 - k) == 0:
            flow.parent[i] = ORPHAN
            orphans[found] = i
            found += 1
        i = j
    flow.terminal[i] -= sign
    if flow.terminal[i] == 0:
        flow.parent[i] = ORPHAN
        orphans[found] = i
        found += 1
    return found


@_compiled
def _adopt(flow: Flow, queue: np.ndarray, orphans: np.ndarray, waiting: int, time: int) -> None:
    """Give every orphan a parent in its tree, or set it free."""
    at = 0
    while waiting > 0:
        i = np.int64(orphans[at])
        k, distance = _nearest_parent(flow, i, time)
        if k >= 0:
            flow.parent[i], flow.stamp[i], flow.distance[i] = k, time, distance + 1
        else:
            waiting = _set_free(flow, queue, orphans, at, waiting, i)
        at = at + 1 if at + 1 < orphans.size else 0
        waiting -= 1


@_compiled
def _nearest_parent(flow: Flow, i: _Int, time: int) -> tuple[_Int, _Int]:
    """Return the direction of the neighbour of the tree nearest to the terminal, or -1."""
    tree, directions = flow.tree[i], flow.offsets.size
    best: _Int = -1
    nearest: _Int = np.int64(_FAR)
    for k in range(directions):
        j = i + flow.offsets[k]
        if flow.tree[j] == tree and _residual(flow, tree, j, directions - 1 - k) > 0:
            distance = _distance(flow, j, time)
            if distance < nearest:
                best, nearest = k, distance
    return best, nearest


@_compiled
def _distance(flow: Flow, i: _Int, time: int) -> _Int:
    """Return the number of edges to the terminal, and note it on the way; _FAR without a way."""
    at, steps = i, np.int64(0)
    while flow.stamp[at] != time:
        k = flow.parent[at]
        if k == ORPHAN or k == NOBODY:
            return np.int64(_FAR)
        if k == TERMINAL:
            flow.stamp[at], flow.distance[at] = time, 1
            break
        at += flow.offsets[k]
        steps += 1
    total = steps + flow.distance[at]
    distance = total
    while flow.stamp[i] != time:
        flow.stamp[i], flow.distance[i] = time, distance
        distance -= 1
        i += flow.offsets[flow.parent[i]]
    return total


@_compiled
def _set_free(
    flow: Flow, queue: np.ndarray, orphans: np.ndarray, at: int, waiting: int, i: _Int
) -> int:
    """Take an orphan out of its tree: its children are orphans, neighbours may grow to it."""
    tree, directions = flow.tree[i], flow.offsets.size
    for k in range(directions):
        j = i + flow.offsets[k]
        if flow.tree[j] == tree:
            if _residual(flow, tree, j, directions - 1 - k) > 0:
                _enqueue(flow, queue, j)
            if flow.parent[j] == directions - 1 - k:
                flow.parent[j] = ORPHAN
                place = at + waiting
                orphans[place if place < orphans.size else place - orphans.size] = j
                waiting += 1
    flow.tree[i], flow.parent[i] = FREE, NOBODY
    return waiting
