"""Tests of the score by stroke and of the importance of features."""

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import label as connected
from sklearn.linear_model import LogisticRegression

from eds_xr.provenance import history
from eds_xr.schema import EdsError, label_array
from eds_xr.segmentation.classify.quality import feature_importance, score_by_stroke
from eds_xr.segmentation.classify.training import train

SHAPE = (24, 30)


def strokes(features: xr.DataArray, *, on_matrix: int = 4, on_grain: int = 3) -> xr.DataArray:
    values = np.zeros(SHAPE, np.uint8)
    for i in range(on_matrix):
        values[1 + 5 * i : 3 + 5 * i, 2:9] = 1
    for i in range(on_grain):
        values[2 + 6 * i : 4 + 6 * i, 18 + i : 27] = 2
    return label_array(values, features, ["matrix", "grain", "never"])


def test_score_by_stroke__form(features: xr.DataArray) -> None:
    score = score_by_stroke(features, strokes(features))
    assert list(score.phase.values) == list(score.predicted.values) == ["matrix", "grain"]
    np.testing.assert_array_equal(score.n_strokes, [4, 3])
    np.testing.assert_array_equal(score.confusion.sum("predicted"), [56, 48])
    assert score.attrs["accuracy"] == pytest.approx(float(score.recall.mean()))
    assert score.attrs["accuracy"] > 0.95
    assert history(score)[-1]["folds"] == 3


def test_score_by_stroke__is_not_flattered(features: xr.DataArray) -> None:
    """Strokes differ, but say nothing of their phase: only their own pixels remember it."""
    painted = strokes(features)
    number, _ = connected(painted.values)
    own = np.random.default_rng(1).normal(size=number.max() + 1)[number]
    alone = features.isel(feature=[0]).copy(data=own[None].astype(np.float32))
    inside = train(alone, painted).out_of_bag_accuracy
    assert score_by_stroke(alone, painted).attrs["accuracy"] < 0.7 < 0.99 < inside


def test_score_by_stroke__same_for_any_chunks(features: xr.DataArray) -> None:
    eager = score_by_stroke(features, strokes(features), seed=2)
    lazy = score_by_stroke(features.chunk(y=7), strokes(features).chunk(x=11), seed=2)
    xr.testing.assert_identical(lazy, eager)


def test_score_by_stroke__any_classifier(features: xr.DataArray) -> None:
    score = score_by_stroke(features, strokes(features), classifier=LogisticRegression(), folds=2)
    assert score.attrs["accuracy"] > 0.95


def test_score_by_stroke__needs_strokes(features: xr.DataArray) -> None:
    with pytest.raises(EdsError, match="grain has a single stroke.*paint at least two"):
        score_by_stroke(features, strokes(features, on_grain=1))
    with pytest.raises(EdsError, match="folds must be 2 or more, found 1"):
        score_by_stroke(features, strokes(features), folds=1)


def test_feature_importance__most_important_first(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    importance = feature_importance(train(features, scribbles))
    assert importance.dims == ("feature",)
    assert float(importance.sum()) == pytest.approx(1)
    assert importance.feature.values[-1] == "Fp:noise"
    assert (importance.diff("feature") <= 0).all()
    with pytest.raises(EdsError, match="LogisticRegression measures no importance"):
        feature_importance(train(features, scribbles, classifier=LogisticRegression()))
