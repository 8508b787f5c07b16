"""A classifier's probabilities, block by block."""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from eds_xr.schema import EdsError
from eds_xr.segmentation.classify.trees import Trees, is_forest
from eds_xr.workers import shared, task_name

#: What tasks are called on the dashboard of a cluster.
MADE = "probabilities of the classes"


def probabilities(model: Any, features: Any, n_phases: int) -> Any:
    """Return probabilities [phase, y, x; float32] of features [feature, y, x] as a Dask array.

    Lazy: each block of pixels by itself; no pixel leaves its block.
    """
    import dask.array as da

    array = da.asarray(features).rechunk({0: -1})
    predictor = _Predictor(_compiled(model), n_phases)
    if not predictor.is_own:
        return _by_estimator(predictor, array)
    chunks = ((n_phases,), *array.chunks[1:])
    meta = np.empty((0,) * array.ndim, np.float32)
    return array.map_blocks(
        _probabilities_block, shared(predictor, "forest"), chunks=chunks, dtype=np.float32,
        meta=meta,
    )  # fmt: skip


def _by_estimator(predictor: _Predictor, array: Any) -> Any:
    """Return probabilities by an estimator: blocks are :class:`dask_ml.wrappers` samples."""
    import dask.array as da
    from dask_ml.wrappers import ParallelPostFit

    samples = array
    if array.ndim > 2:
        n_pixels = math.prod(array.shape[1:])
        samples = da.reshape_blockwise(array, (array.shape[0], n_pixels))
    meta = np.empty((0, 0), np.float32)
    found = ParallelPostFit(predictor, predict_proba_meta=meta).predict_proba(samples.T).T
    if array.ndim == 2:
        return found
    chunks = ((predictor.n_phases,), *array.chunks[1:])
    return da.reshape_blockwise(found, (predictor.n_phases, *array.shape[1:]), chunks=chunks)


def _compiled(model: Any) -> Any:
    """Return a forest in compiled form where that works, anything else as it is."""
    if not _forests_compile():
        return model
    from eds_xr.segmentation.classify.forest import compiled

    return compiled(model) if isinstance(model, Trees) or is_forest(model) else model


@functools.cache
def _forests_compile() -> bool:
    """Return whether a tree of one leaf predicts; if not, say so once.

    The compiled forest uses llvmlite's own interface, which may change with any version.
    """
    try:
        from eds_xr.segmentation.classify.forest import one_leaf

        return bool(one_leaf().predict_proba(np.zeros((1, 1), np.float32)) == 1)
    except Exception as error:  # whatever another numba or llvmlite makes of it
        warnings.warn(
            "forests cannot be compiled with the numba and llvmlite installed, so scikit-learn "
            "predicts (NumPy, where a forest comes from a file), with the same probabilities but "
            f"several times as slowly: {error!r}",
            stacklevel=2,
        )
        return False


@dataclass(frozen=True)
class _Predictor:
    """Probabilities of all phases, painted or not; what dask-ml needs of an estimator."""

    model: Any
    n_phases: int

    @property
    def classes_(self) -> np.ndarray:
        return np.arange(1, self.n_phases + 1)

    @property
    def is_own(self) -> bool:
        """Whether it is the package's own forest, which needs no scikit-learn."""
        return hasattr(self.model, "votes")

    def predict_proba(self, pixels: np.ndarray) -> np.ndarray:
        """Return probabilities ``(pixel, phase)`` of features ``(pixel, feature)``."""
        if not np.isfinite(pixels).all():
            raise EdsError(
                "the features hold NaN or infinite values; use da.fillna(0) on the channels"
            )
        # a forest of our own takes pixels in any order of memory
        found = self.model.predict_proba(pixels if self.is_own else np.ascontiguousarray(pixels))
        result = np.zeros((self.n_phases, len(pixels)), np.float32)
        result[np.asarray(self.model.classes_, int) - 1] = found.T
        return result.T


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name(MADE)
def _probabilities_block(block: np.ndarray, predictor: _Predictor) -> np.ndarray:
    """Return probabilities ``(phase, ...)`` of features ``(feature, ...)``."""
    pixels = block.reshape(len(block), -1).T
    return predictor.predict_proba(pixels).T.reshape(predictor.n_phases, *block.shape[1:])
