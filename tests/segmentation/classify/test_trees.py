"""Tests of forests as plain arrays."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from eds_xr.schema import EdsError
from eds_xr.segmentation.classify import trees as module
from eds_xr.segmentation.classify.forest import compiled
from eds_xr.segmentation.classify.trees import Trees, level_order, trees_of


def two_stumps() -> Trees:
    return Trees(
        root=np.array([0, 3], np.int32),
        left=np.array([1, -1, -1, 4, -1, -1], np.int32),
        right=np.array([2, -1, -1, 5, -1, -1], np.int32),
        feature=np.array([0, 0, 0, 1, 0, 0], np.int32),
        threshold=np.array([0.5, 0, 0, -1.0, 0, 0]),
        votes=np.array([[0.5, 0.5], [1, 0], [0, 1], [0.5, 0.5], [0.25, 0.75], [1, 0]]),
        classes_=np.array([1, 3]),
        feature_importances_=np.array([0.5, 0.5]),
    )


def test_predict_proba__means_the_votes_of_the_leaves() -> None:
    pixels = np.array([[0.5, -1.0], [0.5, 0.0], [0.6, -2.0], [0.6, 9.0]], np.float32)
    expected = [[0.625, 0.375], [1.0, 0.0], [0.125, 0.875], [0.5, 0.5]]
    np.testing.assert_array_equal(two_stumps().predict_proba(pixels), expected)
    np.testing.assert_array_equal(compiled(two_stumps()).predict_proba(pixels), expected)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 6]))
@settings(max_examples=25, deadline=None)
def test_trees_of__has_scikit_learns_votes(seed: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice(np.linspace(-1, 1, 9), (60, 4)).astype(np.float32)
    label = rng.choice([2, 3, 7], 60)
    pixels = rng.choice(np.linspace(-1.2, 1.2, 13), (150, 4)).astype(np.float32)
    for model in (
        RandomForestClassifier(4, min_samples_leaf=least, random_state=0),
        ExtraTreesClassifier(4, min_samples_leaf=least, random_state=0),
        DecisionTreeClassifier(min_samples_leaf=least, random_state=0),
    ):
        model.fit(values, label)
        trees = trees_of(model)
        assert (trees.kind, trees.n_features_in_) == (type(model).__name__, 4)
        expected = model.predict_proba(pixels)
        np.testing.assert_array_equal(trees.predict_proba(pixels), expected)
        np.testing.assert_array_equal(
            compiled(trees).predict_proba(pixels), expected.astype(np.float32)
        )


def test_level_order__puts_children_side_by_side() -> None:
    trees = two_stumps()
    deep = replace(
        trees,
        root=np.array([0], np.int32),
        left=np.array([1, 3, -1, -1, 5, -1, -1], np.int32)[:7],
        right=np.array([2, 4, -1, -1, 6, -1, -1], np.int32),
        feature=np.zeros(7, np.int32), threshold=np.zeros(7), votes=np.ones((7, 2)),
    )  # fmt: skip
    order, depth = level_order(deep)
    assert (order.tolist(), depth) == ([0, 1, 2, 3, 4, 5, 6], 3)
    assert level_order(trees)[0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("left", 0, 3), ("left", 0, 0), ("left", 3, 1), ("right", 0, 1), ("right", 1, 2),
        ("left", 0, 99), ("right", 0, -2), ("feature", 0, 2), ("feature", 3, -1),
        ("root", 0, 1), ("root", 1, 6), ("root", 1, 0), ("classes_", 0, 3), ("classes_", 0, 0),
    ],
)  # fmt: skip
def test_trees__refuse_indices_that_lead_astray(name: str, at: int, value: int) -> None:
    array = getattr(two_stumps(), name).copy()
    array[at] = value
    with pytest.raises(EdsError, match="a tree of the classifier is damaged"):
        replace(two_stumps(), **{name: array})


@pytest.mark.parametrize("name", [f.name for f in fields(Trees) if f.name != "kind"])
@pytest.mark.parametrize(
    "change",
    [lambda a: a[:0], lambda a: a[:-1], lambda a: a[None], lambda a: a.astype(complex)],
    ids=["empty", "shorter", "deeper", "complex"],
)
def test_trees__refuse_arrays_that_do_not_fit(name: str, change: Any) -> None:
    with pytest.raises(EdsError, match="a tree of the classifier is damaged"):
        replace(two_stumps(), **{name: change(getattr(two_stumps(), name))})


def test_trees__refuse_nan_and_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    trees = two_stumps()
    for changed in (
        {"threshold": np.full(6, np.nan)},
        {"votes": np.full((6, 2), np.inf)},
        {"feature_importances_": np.ones(1)},
        {"root": np.array([0], np.int32)},
    ):
        with pytest.raises(EdsError, match="is damaged"):
            replace(trees, **changed)
    monkeypatch.setattr(module, "MAX_FEATURES", 1)
    with pytest.raises(EdsError, match="it has 2 features"):
        two_stumps()
    monkeypatch.undo()
    monkeypatch.setattr(module, "MAX_DEPTH", 0)
    with pytest.raises(EdsError, match="over 0 levels"):
        level_order(trees)
