"""A classifier's probabilities, block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from eds_xr.schema import EdsError
from eds_xr.segmentation.classify.forest import Forest, compiled, is_forest


def probabilities(model: Any, features: Any, n_phases: int) -> Any:
    """Return probabilities [phase, y, x; float32] of features [feature, y, x] as a Dask array.

    Lazy: each block of pixels becomes samples of :class:`dask_ml.wrappers.ParallelPostFit`; no
    pixel leaves its block.
    """
    import dask.array as da
    from dask_ml.wrappers import ParallelPostFit

    array = da.asarray(features).rechunk({0: -1})
    samples = array
    if array.ndim > 2:
        n_pixels = math.prod(array.shape[1:])
        samples = da.reshape_blockwise(array, (array.shape[0], n_pixels))
    wrapped = ParallelPostFit(
        _Predictor(compiled(model) if is_forest(model) else model, n_phases),
        predict_proba_meta=np.empty((0, 0), np.float32),
    )
    found = wrapped.predict_proba(samples.T).T
    if array.ndim == 2:
        return found
    chunks = ((n_phases,), *array.chunks[1:])
    return da.reshape_blockwise(found, (n_phases, *array.shape[1:]), chunks=chunks)


@dataclass(frozen=True)
class _Predictor:
    """What dask-ml needs of an estimator: probabilities of all phases, painted or not."""

    model: Any
    n_phases: int

    @property
    def classes_(self) -> np.ndarray:
        return np.arange(1, self.n_phases + 1)

    def predict_proba(self, pixels: np.ndarray) -> np.ndarray:
        """Return probabilities ``(pixel, phase)`` of features ``(pixel, feature)``."""
        if not np.isfinite(pixels).all():
            raise EdsError(
                "the features hold NaN or infinite values; use da.fillna(0) on the channels"
            )
        if isinstance(self.model, Forest):
            found = self.model.predict_proba(pixels)
        else:
            found = self.model.predict_proba(np.ascontiguousarray(pixels))
        result = np.zeros((self.n_phases, len(pixels)), np.float32)
        result[np.asarray(self.model.classes_, int) - 1] = found.T
        return result.T
