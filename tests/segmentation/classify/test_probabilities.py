"""Tests of probabilities block by block, and of scikit-learn's where forests do not compile."""

import warnings
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import pytest
from numba import types
from numba.extending import intrinsic
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from eds_xr.schema import EdsError
from eds_xr.segmentation.classify import forest
from eds_xr.segmentation.classify import probabilities as module
from eds_xr.segmentation.classify.probabilities import probabilities


@intrinsic
def _of_another_llvmlite(_: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.no_such_instruction()

    return types.uint64(), generate


@numba.njit
def never_compiled(*_: Any) -> int:
    return _of_another_llvmlite()


@pytest.fixture
def _forgotten() -> Iterator[None]:
    """Have it found out anew whether forests compile."""
    module._forests_compile.cache_clear()
    yield
    module._forests_compile.cache_clear()


def trained() -> tuple[RandomForestClassifier, np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4, 12, 15)).astype(np.float32)
    pixels = features.reshape(4, -1).T
    label = 1 + (pixels[:, 0] > 0) + 2 * (pixels[:, 1] > 0.5)  # 1 to 4
    return RandomForestClassifier(8, random_state=0).fit(pixels, label), features


def by_scikit_learn(model: Any, features: np.ndarray) -> np.ndarray:
    found = model.predict_proba(features.reshape(len(features), -1).T).T.astype(np.float32)
    return found.reshape(-1, *features.shape[1:])


def test_probabilities__of_a_forest_and_of_another_model() -> None:
    model, features = trained()
    found = probabilities(model, features, 4)
    assert isinstance(module._compiled(model), forest.Forest)
    np.testing.assert_array_equal(found, by_scikit_learn(model, features))
    label = model.predict(features.reshape(4, -1).T)
    other = LogisticRegression().fit(features.reshape(4, -1).T, label)
    np.testing.assert_allclose(
        probabilities(other, features, 4), by_scikit_learn(other, features), atol=1e-6
    )


def test_probabilities__unpainted_phases_get_nothing() -> None:
    model, features = trained()
    found = probabilities(model, features, 6).compute()
    assert found.shape == (6, 12, 15)
    np.testing.assert_array_equal(found[4:], 0)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)


def test_probabilities__refuses_nan_when_computed() -> None:
    model, features = trained()
    features[2, 3, 4] = np.nan
    lazy = probabilities(model, features, 4)
    with pytest.raises(EdsError, match="features hold NaN or infinite values"):
        lazy.compute()


@pytest.mark.usefixtures("_forgotten")
def test_probabilities__by_scikit_learn_where_forests_do_not_compile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, features = trained()
    monkeypatch.setattr(forest, "_votes_block", never_compiled)
    with pytest.warns(UserWarning, match="scikit-learn predicts.*no_such_instruction"):
        found = probabilities(model, features, 4)
    np.testing.assert_array_equal(found, by_scikit_learn(model, features))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        again = probabilities(model, features, 4)
    np.testing.assert_array_equal(again, found)


def test_one_leaf__gives_every_pixel_its_class() -> None:
    found = forest.one_leaf().predict_proba(np.zeros((70, 1), np.float32))
    np.testing.assert_array_equal(found, np.ones((70, 1)))
