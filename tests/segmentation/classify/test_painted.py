"""Tests of what is learnt from, of one image and of several."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.schema import EdsError, label_array, phase_names
from eds_xr.segmentation.classify.painted import painted_of
from eds_xr.segmentation.classify.quality import score_by_stroke
from eds_xr.segmentation.classify.training import predict, train

SHAPE = (24, 30)


@pytest.fixture
def halves(
    features: xr.DataArray, scribbles: xr.DataArray
) -> tuple[list[xr.DataArray], list[xr.DataArray]]:
    """Return an image cut in two between its strokes: upper and lower rows."""
    parts = [slice(0, 10), slice(10, None)]
    return [features.isel(y=p) for p in parts], [scribbles.isel(y=p) for p in parts]


def named(values: np.ndarray, like: xr.DataArray, *phases: str) -> xr.DataArray:
    return label_array(np.asarray(values, np.uint8), like, phases)


def test_train__on_two_images_is_as_on_both_in_one(
    features: xr.DataArray,
    scribbles: xr.DataArray,
    halves: tuple[list[xr.DataArray], list[xr.DataArray]],
) -> None:
    whole, both = train(features, scribbles, seed=3), train(*halves, seed=3)
    assert (both.phases, both.n_painted) == (whole.phases, whole.n_painted)
    np.testing.assert_array_equal(predict(both, features), predict(whole, features))
    assert both.out_of_bag_accuracy == whole.out_of_bag_accuracy
    for one, expected in zip(both.scribbles, halves[1], strict=True):
        xr.testing.assert_identical(one, expected)
    lazy = ([f.chunk(y=4, x=11) for f in halves[0]], [s.chunk(y=3) for s in halves[1]])
    np.testing.assert_array_equal(predict(train(*lazy, seed=3), features), predict(both, features))


def test_train__matches_phases_and_features_by_name(
    features: xr.DataArray,
    scribbles: xr.DataArray,
    halves: tuple[list[xr.DataArray], list[xr.DataArray]],
) -> None:
    (upper, lower), (above, below) = halves
    turned = named(3 * (below == 2), lower, "void", "matrix", "grain")
    shuffled = lower.isel(feature=[2, 0, 1])
    both = train([upper, shuffled], [named(above == 1, upper, "matrix"), turned])
    assert both.phases == ("matrix", "void", "grain")
    assert both.features == tuple(features.feature.values)
    assert both.n_painted == (18, 0, 21)
    whole = predict(train(features, scribbles), features)
    np.testing.assert_array_equal(
        predict(both, features).sel(phase=["matrix", "grain"]), whole.values
    )


def test_painted_of__draws_as_many_of_a_phase_from_all_images(features: xr.DataArray) -> None:
    strokes = np.zeros((2, *SHAPE), int)
    strokes[0, :4], strokes[1, :8], strokes[:, 20:22] = 1, 1, 2
    images = [named(s, features, "a", "b") for s in strokes]
    found = painted_of([features, features], images, 60, 0)
    assert [(found.label == i).sum() for i in (1, 2)] == [60, 60]
    again = painted_of([features, features], images, 60, 0)
    np.testing.assert_array_equal(found.values, again.values)
    assert not np.array_equal(found.values, painted_of([features, features], images, 60, 1).values)
    assert [np.unique(found.stroke[found.label == i]).tolist() for i in (1, 2)] == [[0, 1]] * 2


def test_score_by_stroke__strokes_of_all_images(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    """A phase with one stroke in each of two images has two, to be tested on each other."""
    with pytest.raises(EdsError, match="matrix, grain has a single stroke"):
        score_by_stroke(features, scribbles)
    score = score_by_stroke([features, features], [scribbles, scribbles])
    assert score.n_strokes.values.tolist() == [2, 2]
    assert float(score.accuracy) == 1.0
    assert int(score.confusion.sum()) == 2 * 39


def test_train__refuses_lists_that_do_not_fit(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    for one, other in (
        ([features], [scribbles, scribbles]), ([], []), (features, [scribbles]),
        ([features], scribbles),
    ):  # fmt: skip
        with pytest.raises(EdsError, match="give one of each, or two lists"):
            train(one, other)
    with pytest.raises(EdsError, match="the scribble image of image 2 has 20 pixels along 'x'"):
        train([features] * 2, [scribbles, scribbles.isel(x=slice(20))])
    with pytest.raises(EdsError, match="expected scribbles of image 1 as a DataArray, found list"):
        train([features], [[1]])
    fewer = features.isel(feature=[0])
    with pytest.raises(EdsError, match="2 of the classifier's 3 features are missing"):
        train([features, fewer], [scribbles, scribbles])
    nothing = named(0 * scribbles, features, *phase_names(scribbles))
    with pytest.raises(EdsError, match="only grain is painted"):
        train([features] * 2, [nothing, scribbles.where(scribbles == 2, 0)])


def test_train__of_an_image_that_is_not_painted_computes_nothing(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise AssertionError("nothing is painted here")

    data = features.chunk().data.map_blocks(fail, meta=np.empty((0, 0, 0), np.float32))
    unread = features.copy(data=data)
    both = train([features, unread], [scribbles, 0 * scribbles.assign_attrs(scribbles.attrs)])
    np.testing.assert_array_equal(
        predict(both, features), predict(train(features, scribbles), features)
    )
