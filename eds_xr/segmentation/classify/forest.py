"""A forest's probabilities, compiled; equal to scikit-learn's to the last bit of float32.

Pixels are taken in blocks of 64 neighbours, one bit each. A tree is walked once for the whole
block: at a node one comparison of 64 values tells which pixels go on to the right; a branch that
none of them takes is never entered. As neighbours are alike, these are most.

scikit-learn compares float32 features with float64 thresholds: ``x <= t`` holds for the same x when
t is rounded down to float32. Votes are added up in float64, in the order of the trees, as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from eds_xr.segmentation.classify.trees import NO_CHILD, Trees, level_order, trees_of

#: Pixels of a block: as many as a word has bits.
LANES = 64
#: Votes are padded to a multiple of this many classes: what is added at once.
CLASSES_AT_ONCE = 4
ALL, NONE, ONE = np.uint64(2**64 - 1), np.uint64(0), np.uint64(1)


@dataclass(frozen=True)
class Forest:
    """Trees as arrays, a node an entry; the children of a node lie side by side.

    Attributes
    ----------
    first : ndarray of uint32 [node]
        The child for values up to the threshold, the other follows it; of a leaf, itself.
    column : ndarray of uint32 [node]
        Where the node's feature begins in a block of pixels: feature times `LANES`.
    threshold : ndarray of float32 [node]
    votes : ndarray of float64 [node, class]
        What a leaf gives to every class; padded with classes that get nothing.
    root : ndarray of uint32 [tree]
    depth : int
        Of the deepest tree.
    classes_ : ndarray [class]
        As scikit-learn's.
    """

    first: np.ndarray
    column: np.ndarray
    threshold: np.ndarray
    votes: np.ndarray
    root: np.ndarray
    depth: int
    classes_: np.ndarray

    def predict_proba(self, pixels: np.ndarray) -> np.ndarray:
        """Return probabilities ``(pixel, class)``, float32, of features ``(pixel, feature)``."""
        features = np.ascontiguousarray(pixels.T, np.float32)
        found = np.empty((self.classes_.size, len(pixels)), np.float32)
        nodes = (self.first, self.column, self.threshold, self.votes)
        _votes_block(features, *nodes, self.root, self.depth, found)
        return found.T


def compiled(model: Any) -> Forest:
    """Return a forest, or one tree, in compiled form: arrays, or of scikit-learn."""
    trees = model if isinstance(model, Trees) else trees_of(model)
    order, depth = level_order(trees)
    place = np.empty(order.size, int)
    place[order] = np.arange(order.size)
    leaf = trees.left[order] == NO_CHILD
    votes = trees.votes[order]
    padded = np.zeros((len(votes), -(-votes.shape[1] // CLASSES_AT_ONCE) * CLASSES_AT_ONCE))
    padded[:, : votes.shape[1]] = votes
    return Forest(
        first=np.where(leaf, np.arange(order.size), place[trees.left[order]]).astype(np.uint32),
        column=np.where(leaf, 0, trees.feature[order] * LANES).astype(np.uint32),
        threshold=np.where(leaf, np.float32(np.inf), _rounded_down(trees.threshold[order])),
        votes=padded,
        root=trees.root.astype(np.uint32),
        depth=depth,
        classes_=trees.classes_,
    )


def one_leaf() -> Forest:
    """Return the smallest forest: one class, whatever the pixel."""
    none, votes = np.zeros(1, np.uint32), np.eye(1, CLASSES_AT_ONCE)
    return Forest(none, none, np.full(1, np.inf, np.float32), votes, none, 0, np.ones(1, int))


def _rounded_down(threshold: np.ndarray) -> np.ndarray:
    """Return the largest float32 that is not above each float64."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)


@intrinsic
def _above(_: Any, values: Any, start: Any, limit: Any) -> Any:
    """Return, bit by bit, which of the 64 values from `start` on are above a limit."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = ir.VectorType(ir.FloatType(), LANES)
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), lanes.as_pointer())
        undefined = ir.Constant(lanes, ir.Undefined)
        single = builder.insert_element(undefined, args[2], ir.Constant(ir.IntType(32), 0))
        first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        limits = builder.shuffle_vector(single, undefined, first)
        above = builder.fcmp_ordered(">", builder.load(place, align=4), limits)
        return builder.bitcast(above, ir.IntType(LANES))

    return types.uint64(values, types.uint64, types.float32), generate


@intrinsic
def _lowest(_: Any, bits: Any) -> Any:
    """Return the place of the lowest bit that is set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@numba.njit(cache=True, nogil=True)
def _votes_block(
    features: np.ndarray,
    first: np.ndarray,
    column: np.ndarray,
    threshold: np.ndarray,
    votes: np.ndarray,
    root: np.ndarray,
    depth: int,
    out: np.ndarray,
) -> None:
    """Fill `out` ``(class, pixel)`` with the mean votes of the trees."""
    n_pixels = features.shape[1]
    block = np.zeros(features.shape[0] * LANES, np.float32)
    total = np.empty((LANES, votes.shape[1]), np.float64)
    # branches still to be entered: at most one a level
    nodes, masks = np.empty(depth + 2, np.uint32), np.empty(depth + 2, np.uint64)
    for start in range(0, n_pixels, LANES):
        count = min(LANES, n_pixels - start)
        for f in range(features.shape[0]):
            for i in range(count):
                block[f * LANES + i] = features[f, start + i]
        total[:] = 0
        for tree in range(root.size):
            mask = ALL >> np.uint64(LANES - count)
            _add_votes(
                root[tree], mask, block, first, column, threshold, votes, nodes, masks, total
            )
        for k in range(out.shape[0]):
            for i in range(count):
                out[k, start + i] = total[i, k] / root.size


@numba.njit(cache=True, nogil=True)
def _add_votes(
    node: int,
    mask: int,
    block: np.ndarray,
    first: np.ndarray,
    column: np.ndarray,
    threshold: np.ndarray,
    votes: np.ndarray,
    nodes: np.ndarray,
    masks: np.ndarray,
    total: np.ndarray,
) -> None:
    """Walk one tree with the pixels of a mask, and add to each what its leaf gives.

    All indices are unsigned: numba makes signed ones ready to count from the end, which took
    three times as long.
    """
    waiting = np.uint32(0)
    while True:
        child = first[node]
        while child != node:
            right = mask & _above(block, np.uint64(column[node]), threshold[node])
            mask &= ~right
            nodes[waiting], masks[waiting] = child + np.uint32(1), right
            waiting += np.uint32(right != NONE)
            if mask != NONE:
                node = child
            else:
                waiting -= np.uint32(1)
                node, mask = nodes[waiting], masks[waiting]
            child = first[node]
        while mask != NONE:
            pixel = _lowest(mask)
            mask &= mask - ONE
            for k in range(0, votes.shape[1], CLASSES_AT_ONCE):
                for c in range(CLASSES_AT_ONCE):  # unrolled
                    total[pixel, k + c] += votes[node, k + c]
        if waiting == 0:
            return
        waiting -= np.uint32(1)
        node, mask = nodes[waiting], masks[waiting]
