"""Tests of compiled forests, against scikit-learn."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.ensemble import (
    ExtraTreesClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from eds_xr.segmentation.classify.forest import compiled
from eds_xr.segmentation.classify.trees import is_forest


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(20, random_state=0),
        RandomForestClassifier(20, max_leaf_nodes=7, random_state=0),
        ExtraTreesClassifier(20, random_state=1, min_samples_leaf=3),
        DecisionTreeClassifier(random_state=2),
        ExtraTreeClassifier(random_state=2),
    ],
    ids=lambda m: type(m).__name__,
)
@pytest.mark.parametrize("n_pixels", [1, 63, 64, 1000])
def test_compiled__equals_scikit_learn(model: Any, n_pixels: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 9)).astype(np.float32)
    label = np.digitize(values[:, 0] + 0.5 * rng.normal(size=300), [-0.5, 0.5]) + 1
    model = clone(model).fit(values, label)
    assert is_forest(model)
    pixels = rng.normal(size=(n_pixels, 9)).astype(np.float32)
    found = compiled(model).predict_proba(pixels)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, model.predict_proba(pixels).astype(np.float32))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_compiled__equals_scikit_learn_at_thresholds(seed: int) -> None:
    """Few distinct values: thresholds halfway between float32 neighbours, pixels upon them."""
    rng = np.random.default_rng(seed)
    near = np.float32(10.0 ** rng.integers(-30, 30))
    grid = near * (1 + np.arange(6, dtype=np.float32) * np.finfo(np.float32).eps)
    values = rng.choice(grid, (80, 3))
    model = RandomForestClassifier(5, random_state=0).fit(values, rng.integers(1, 4, 80))
    pixels = rng.choice(np.append(grid, [0, -near]).astype(np.float32), (200, 3))
    expected = model.predict_proba(pixels).astype(np.float32)
    np.testing.assert_array_equal(compiled(model).predict_proba(pixels), expected)


def test_compiled__smooth_images_take_the_short_way() -> None:
    """Blocks whose pixels all go one way, and trees of a single leaf."""
    x = np.linspace(0, 1, 500, dtype=np.float32)[:, None] * np.ones(4, np.float32)
    for label in (1 + (x[:, 0] > 0.5), 1 + (np.arange(500) == 3)):
        model = RandomForestClassifier(10, random_state=0, min_samples_leaf=40).fit(x, label)
        expected = model.predict_proba(x).astype(np.float32)
        np.testing.assert_array_equal(compiled(model).predict_proba(x), expected)


def test_is_forest__not_what_predicts_in_another_way() -> None:
    class Contrary(RandomForestClassifier):
        def predict_proba(self, X: Any) -> Any:
            return 1 - super().predict_proba(X)

    values = np.arange(20, dtype=np.float32)[:, None]
    assert not is_forest(Contrary(3).fit(values, values[:, 0] > 9))
    assert not is_forest(LogisticRegression().fit(values, values[:, 0] > 9))
    two = np.stack([values[:, 0] > 9, values[:, 0] > 4], axis=1)
    assert not is_forest(RandomForestClassifier(3).fit(values, two))
