"""Tests of training and prediction."""

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eds_xr.schema import EdsError, label_array
from eds_xr.segmentation.classify.training import predict, train

SHAPE = (24, 30)


def test_train__learns_and_says_how_well(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    classifier = train(features, scribbles)
    assert classifier.phases == ("matrix", "grain")
    assert classifier.n_painted == (18, 21)
    assert classifier.out_of_bag_accuracy == 1.0
    probability = predict(classifier, features)
    truth = np.where(np.arange(30) < 15, 1, 2) * np.ones(SHAPE, int)
    assert ((probability.argmax("phase") + 1) == truth).mean() > 0.99


def test_predict__form(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    probability = predict(train(features, scribbles), features)
    assert probability.dims == ("phase", "y", "x")
    assert probability.dtype == np.float32
    assert list(probability.phase.values) == ["matrix", "grain"]
    np.testing.assert_array_equal(probability.x, features.x)
    np.testing.assert_allclose(probability.sum("phase"), 1, rtol=1e-6)


def test_train__same_for_any_chunks_and_workers(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    eager = predict(train(features, scribbles, seed=3), features)
    chunked = features.chunk(feature=2, y=7, x=11)
    lazy = predict(train(chunked, scribbles.chunk(y=5), seed=3), chunked)
    np.testing.assert_array_equal(lazy, eager)
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), eager)


def test_train__seed_matters(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    first, second = (predict(train(features, scribbles, seed=s), features) for s in (0, 1))
    assert not np.array_equal(first, second)


def test_train__computes_only_painted_tiles(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    def only_painted(block: np.ndarray, block_info: dict) -> np.ndarray:
        row = block_info[0]["array-location"][1][0]
        assert 4 <= row < 16, f"rows from {row} on are not painted"
        return block

    chunked = features.chunk(y=4)
    watched = chunked.copy(
        data=chunked.data.map_blocks(only_painted, meta=np.empty((0, 0, 0), np.float32))
    )
    assert train(watched, scribbles).n_painted == (18, 21)
    predict(train(features, scribbles), watched)  # and nothing here


def test_train__bounded_draw_is_seeded(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    classifier = train(features, scribbles, max_pixels_per_phase=10)
    assert classifier.n_painted == (10, 10)
    again = train(features.chunk(y=5), scribbles, max_pixels_per_phase=10)
    np.testing.assert_array_equal(predict(classifier, features), predict(again, features))


def test_train__unpainted_phase_has_probability_zero(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    named = label_array(2 * (scribbles == 2) + (scribbles == 1), features, ["m", "g", "h"])
    probability = predict(train(features, named), features)
    assert float(probability.sel(phase="h").max()) == 0
    np.testing.assert_allclose(probability.sum("phase"), 1, rtol=1e-6)


def test_train__takes_any_classifier(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    given = LogisticRegression()
    classifier = train(features, scribbles, classifier=given)
    assert not hasattr(given, "coef_")  # a clone was fitted
    assert np.isnan(classifier.out_of_bag_accuracy)
    assert predict(classifier, features).shape == (2, *SHAPE)


def test_predict__matches_features_by_name(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    classifier = train(features, scribbles)
    more = xr.concat(
        [features.isel(feature=[0]).assign_coords(feature=["new"]), features], "feature"
    )
    shuffled = more.isel(feature=[2, 0, 3, 1])
    np.testing.assert_array_equal(predict(classifier, shuffled), predict(classifier, features))
    with pytest.raises(EdsError, match="1 of the classifier's 3 features are missing.*'Fp:a'"):
        predict(classifier, features.isel(feature=[1, 2]))


def test_predict__line_scan(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    classifier = train(features, scribbles)
    line = predict(classifier, features.isel(y=3, drop=True))
    np.testing.assert_array_equal(line, predict(classifier, features).isel(y=3))


def test_train__refuses_wrong_scribbles(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    with pytest.raises(EdsError, match="only matrix is painted"):
        train(features, scribbles.where(scribbles == 1, 0))
    with pytest.raises(EdsError, match="nothing is painted in the scribbles"):
        train(features, 0 * scribbles)
    with pytest.raises(EdsError, match="the scribble image has 20 pixels along 'x'"):
        train(features, scribbles.isel(x=slice(20)))
    with pytest.raises(EdsError, match="the scribble image lies elsewhere along 'x'"):
        train(features, scribbles.assign_coords(x=scribbles.x + 5))
    with pytest.raises(EdsError, match="integer labels"):
        train(features, scribbles.astype(float))
    with pytest.raises(EdsError, match="hold labels 0 to 4, their flag_meanings name 2"):
        train(features, 2 * scribbles.assign_attrs(scribbles.attrs), seed=0)


def test_train__refuses_nan_and_odd_classifiers(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    with pytest.raises(EdsError, match=r"painted pixels have NaN or infinite features \(Fp:b"):
        train(features.where(features.feature != "Fp:b"), scribbles)
    with pytest.raises(EdsError, match="RidgeClassifier gives no probabilities"):
        train(features, scribbles, classifier=RidgeClassifier())
    with pytest.raises(EdsError, match="with a dimension 'feature'"):
        train(features.rename(feature="channel"), scribbles)
    with pytest.raises(EdsError, match="no names"):
        train(features.drop_vars("feature"), scribbles)


def test_predict__refuses_nan_when_computed(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    probability = predict(train(features, scribbles), features.where(features.x > 2))
    with pytest.raises(EdsError, match="features hold NaN"):
        probability.compute()


def test_train__balances_phases(features: xr.DataArray) -> None:
    rare = label_array(np.zeros(SHAPE, np.uint8), features, ["matrix", "grain"])
    rare[:, :12] = 1
    rare[3:7, 14:24] = 2
    blurred = features.isel(feature=[2])  # noise: only the shares of the phases decide
    plain = predict(train(blurred, rare, balanced=False), blurred).sel(phase="grain").mean()
    equal = predict(train(blurred, rare), blurred).sel(phase="grain").mean()
    assert float(equal) > float(plain) + 0.1


def test_train__pipeline_without_weights(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    probability = predict(train(features, scribbles, classifier=pipeline), features)
    model = train(features, scribbles, classifier=pipeline).model
    expected = model.predict_proba(features.stack(pixel=("y", "x")).values.T)[:, 1]
    np.testing.assert_allclose(
        probability.sel(phase="grain").values.ravel(), expected.astype(np.float32), rtol=1e-6
    )


def test_predict__is_lazy_and_float32(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    classifier = train(features, scribbles)
    seen: list[int] = []

    def watched(block: np.ndarray) -> np.ndarray:
        seen.append(block.size)
        return block

    data = features.chunk(y=10).data.map_blocks(watched, meta=np.empty((0, 0, 0), np.float32))
    probability = predict(classifier, features.copy(data=data))
    assert not seen
    assert probability.chunks == ((2,), (10, 10, 4), (30,))
    probability.isel(y=slice(10)).compute()
    assert seen == [3 * 10 * 30]
