"""A forest as plain arrays: what it needs to predict, without the library that has grown it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eds_xr.schema import EdsError

#: No forest of painted pixels is deeper.
MAX_DEPTH = 10_000
#: And none has learnt from more features.
MAX_FEATURES = 2**20
#: What stands for a child where there is none.
NO_CHILD = -1


@dataclass(frozen=True)
class Trees:
    """Decision trees, node by node, one tree after the other; checked where they are made.

    A pixel starts at a tree's root and goes left where ``x[feature] <= threshold``, x in float32.
    A forest's probabilities are the mean of the votes of the leaves that it ends in.

    Attributes
    ----------
    root : ndarray of int32 [tree]
        Where each tree's nodes start; the first is its root.
    left, right : ndarray of int32 [node]
        Children, as positions among all nodes; -1 at leaves.
    feature : ndarray of int32 [node]
    threshold : ndarray of float64 [node]
    votes : ndarray of float64 [node, class]
        Shares of the classes in the node.
    classes_ : ndarray of int [class]
        Label values, as scikit-learn's.
    feature_importances_ : ndarray of float64 [feature]
    kind : str
        What has grown them, such as ``RandomForestClassifier``.

    Raises
    ------
    EdsError
        When an index leads out of a tree, or shapes do not fit each other.
    """

    root: np.ndarray = field(repr=False)
    left: np.ndarray = field(repr=False)
    right: np.ndarray = field(repr=False)
    feature: np.ndarray = field(repr=False)
    threshold: np.ndarray = field(repr=False)
    votes: np.ndarray = field(repr=False)
    classes_: np.ndarray
    feature_importances_: np.ndarray = field(repr=False)
    kind: str = "forest"

    def __post_init__(self) -> None:
        if fault := _shapes_fault(self) or _links_fault(self):
            raise EdsError(f"a tree of the classifier is damaged: {fault}")

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return int(self.root.size)

    @property
    def n_features_in_(self) -> int:
        """Number of features that the trees were grown on."""
        return int(self.feature_importances_.size)

    def predict_proba(self, pixels: np.ndarray) -> np.ndarray:
        """Return probabilities ``(pixel, class)`` of features ``(pixel, feature)``, float64.

        By NumPy alone: :func:`eds_xr.segmentation.classify.forest.compiled` is several times as
        fast and gives the same.
        """
        values, rows = np.asarray(pixels, np.float32), np.arange(len(pixels))
        total = np.zeros((len(pixels), self.classes_.size))
        for root in self.root.tolist():
            node = np.full(len(pixels), root)
            while (ahead := rows[self.left[node] != NO_CHILD]).size:
                at = node[ahead]
                left = values[ahead, self.feature[at]] <= self.threshold[at]
                node[ahead] = np.where(left, self.left[at], self.right[at])
            total += self.votes[node]
        return total / self.n_trees


def is_forest(model: Any) -> bool:
    """Return whether a classifier is a fitted forest, or one tree, of scikit-learn."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

    # not a class derived from one of them: it may predict in a way of its own
    kinds = (
        ExtraTreesClassifier,
        RandomForestClassifier,
        DecisionTreeClassifier,
        ExtraTreeClassifier,
    )
    return type(model) in kinds and getattr(model, "n_outputs_", 0) == 1


def trees_of(model: Any) -> Trees:
    """Return a fitted forest, or one tree, of scikit-learn as arrays."""
    grown = [estimator.tree_ for estimator in getattr(model, "estimators_", [model])]
    sizes = [tree.node_count for tree in grown]
    root = np.cumsum([0, *sizes])[:-1]
    shift = np.repeat(root, sizes)
    left, right, feature, threshold, votes = (
        np.concatenate(parts)
        for parts in zip(
            *(
                (t.children_left, t.children_right, t.feature, t.threshold, t.value[:, 0, :])
                for t in grown
            ),
            strict=True,
        )
    )
    leaf = left == NO_CHILD
    return Trees(
        root=root.astype(np.int32),
        left=np.where(leaf, NO_CHILD, left + shift).astype(np.int32),
        right=np.where(leaf, NO_CHILD, right + shift).astype(np.int32),
        feature=np.where(leaf, 0, feature).astype(np.int32),
        threshold=np.where(leaf, 0.0, threshold),
        votes=np.ascontiguousarray(votes, float),
        classes_=np.asarray(model.classes_, int),
        feature_importances_=np.asarray(model.feature_importances_, float),
        kind=type(model).__name__,
    )


def level_order(trees: Trees) -> tuple[np.ndarray, int]:
    """Return the nodes level by level, tree by tree, and the depth of the deepest tree.

    The two children of a node lie side by side in that order.
    """
    level = trees.root.astype(np.int64)
    levels: list[np.ndarray] = []
    while level.size:
        if len(levels) > MAX_DEPTH:
            raise EdsError(f"a tree of the classifier is damaged: it has over {MAX_DEPTH} levels")
        levels.append(level)
        inner = level[trees.left[level] != NO_CHILD]
        level = np.stack([trees.left[inner], trees.right[inner]], axis=1).ravel().astype(np.int64)
    order = np.concatenate(levels)
    # of one tree after the other; within each, levels stay in order
    tree = np.searchsorted(trees.root, order, side="right")
    return order[np.argsort(tree, kind="stable")], len(levels) - 1


def _shapes_fault(trees: Trees) -> str:
    """Return what is wrong with the shapes and values of the arrays; empty if nothing is."""
    nodes, classes = trees.left.shape, trees.classes_.size
    per_node = (trees.left, trees.right, trees.feature, trees.threshold)
    whole = (trees.root, trees.left, trees.right, trees.feature, trees.classes_)
    if not nodes[:1] > (0,) or any(a.shape != nodes or a.ndim != 1 for a in per_node):
        return "its nodes have no children, features or thresholds"
    if any(a.dtype.kind != "i" for a in whole):
        return "its indices are no integers"
    if classes == 0 or trees.classes_.ndim != 1 or trees.votes.shape != (*nodes, classes):
        return "its votes are not those of its classes"
    if np.unique(trees.classes_).size < classes or trees.classes_.min() < 1:
        return "its classes are no labels"
    if trees.feature_importances_.ndim != 1 or not 0 < trees.n_features_in_ <= MAX_FEATURES:
        return f"it has {trees.n_features_in_} features"
    floats = (trees.threshold, trees.votes, trees.feature_importances_)
    if any(a.dtype.kind != "f" or not np.isfinite(a).all() for a in floats):
        return "it holds no numbers where numbers belong"
    return ""


def _links_fault(trees: Trees) -> str:
    """Return what is wrong with the indices: each leads to one node, within its own tree."""
    left, right, root = trees.left, trees.right, trees.root.astype(np.int64)
    nodes, astray = left.size, "its indices lead out of it"
    if root.ndim != 1 or not root.size or root[0] != 0 or root[-1] >= nodes:
        return astray
    if (np.diff(root) <= 0).any():
        return astray
    node, leaf = np.arange(nodes), left == NO_CHILD
    if (leaf != (right == NO_CHILD)).any():
        return astray
    last = np.append(root[1:], nodes)[np.searchsorted(root, node, side="right") - 1]
    inner = ~leaf
    for child in (left, right):
        if ((child <= node) | (child >= last))[inner].any():
            return astray
    if ((trees.feature < 0) | (trees.feature >= trees.n_features_in_))[inner].any():
        return astray
    # a node of two parents would be walked twice: few nodes could stand for endless ones
    parents = np.bincount(np.concatenate([left[inner], right[inner]]), minlength=nodes)
    expected = np.ones(nodes, int)
    expected[root] = 0
    return "" if (parents == expected).all() else astray
