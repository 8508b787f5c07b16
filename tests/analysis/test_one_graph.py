"""Lazy scores, classes, masks and sums make one graph, in which each chunk is read once."""

import dask
import numpy as np
import pytest
import xarray as xr
from dask.base import compute
from support.counted_reads import CountedReads

import eds_xr
from eds_xr import classify, features, masks
from eds_xr.schema import PHASE, label_array

SIDE = 12


@pytest.fixture
def image() -> xr.DataArray:
    made = eds_xr.simulate.spectrum_image((48, 60, 512), 300.0, seed=4)
    return made.drop_vars("haadf").compute()


def _classes(scores: xr.DataArray, classifier: classify.PixelClassifier) -> xr.DataArray:
    made = features.pixel_features(scores, kinds=("gaussian",), scales=(2.0,))
    probability = classify.predict(classifier, made)
    best = (probability.argmax(PHASE) + 1).astype(np.uint8)
    return label_array(best.data, best, classifier.phases)


def test_masks_of_predicted_scores__are_summed_over_in_one_read(image):
    factors = eds_xr.nmf(image, 3, max_iter=10, seed=0).compute()
    few = xr.DataArray(np.arange(60) % 6 == 0, dims="x")
    painted = label_array(
        (factors.scores.argmax("component") + 1).where(few, 0).astype(np.uint8).data,
        image, ["a", "b", "c"],
    )  # fmt: skip
    known = features.pixel_features(factors.scores, kinds=("gaussian",), scales=(2.0,))
    classifier = classify.train(known, painted, seed=0)
    store = CountedReads(image, SIDE)
    with dask.config.set(scheduler="threads", num_workers=2):
        scores = eds_xr.project(store.image, factors.loadings)
        label = _classes(scores, classifier)
        inside = masks.from_labels(label)
        spectra = eds_xr.sum_spectra(store.image, inside)
        whole = eds_xr.sum_spectra(store.image, masks.erode(inside, pixels=1))
        assert not store.reads
        found = compute(scores, label, spectra, whole)
    assert len(store.reads) == (48 // SIDE) * (60 // SIDE)
    assert set(store.reads.values()) == {1}
    wanted = eds_xr.sum_spectra(image, masks.from_labels(found[1]))
    xr.testing.assert_equal(found[2].counts, wanted.counts)
    assert int(found[3].counts.sum()) < int(found[2].counts.sum())
