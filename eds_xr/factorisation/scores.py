"""Scores of every pixel for known loadings, block by block and lazily."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.factorisation.solver.descent import project_block
from eds_xr.factorisation.solver.loadings import as_table
from eds_xr.image.blocks import by_spectrum, compress_block
from eds_xr.schema import COMPONENT
from eds_xr.workers import task_name


def lazy_scores(image: xr.DataArray, loadings: xr.DataArray, loss: str) -> xr.DataArray:
    """Return the scores ``[*spatial, component; counts]`` on Dask."""
    scores = by_spectrum(image, _project_block, COMPONENT, as_table(loadings), loss=loss)
    return named_scores(scores, loadings)


def named_scores(scores: xr.DataArray, loadings: xr.DataArray) -> xr.DataArray:
    """Return scores under their names, with units."""
    scores = scores.assign_coords({COMPONENT: loadings[COMPONENT]})
    scores.attrs = {"long_name": "NMF score", "units": "counts"}
    return scores.rename("scores")


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("NMF scores")
def _project_block(block: np.ndarray, loadings: np.ndarray, *, loss: str) -> np.ndarray:
    scores = project_block(compress_block(block), loadings, loss)
    return scores.reshape(*block.shape[:-1], loadings.shape[1])
