"""Scores of every pixel for known loadings, block by block and lazily."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.chunks import as_chunked
from eds_xr.factorisation.solver.descent import project_block
from eds_xr.factorisation.solver.loadings import as_table
from eds_xr.image.blocks import compress_block
from eds_xr.schema import COMPONENT, ENERGY
from eds_xr.workers import task_name


def lazy_scores(image: xr.DataArray, loadings: xr.DataArray, loss: str) -> xr.DataArray:
    """Return the scores ``[*spatial, component; counts]`` on Dask."""
    table = as_table(loadings)
    scores = xr.apply_ufunc(
        _project_block,
        as_chunked(image).drop_vars(ENERGY),
        kwargs={"loadings": table, "loss": loss},
        input_core_dims=[[ENERGY]],
        output_core_dims=[[COMPONENT]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {COMPONENT: table.shape[1]}},
    )
    return named_scores(scores, loadings)


def named_scores(scores: xr.DataArray, loadings: xr.DataArray) -> xr.DataArray:
    """Return scores under their names, with units."""
    scores = scores.assign_coords({COMPONENT: loadings[COMPONENT]})
    scores.attrs = {"long_name": "NMF score", "units": "counts"}
    return scores.rename("scores")


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("NMF scores")
def _project_block(block: np.ndarray, *, loadings: np.ndarray, loss: str) -> np.ndarray:
    scores = project_block(compress_block(block), loadings, loss)
    return scores.reshape(*block.shape[:-1], loadings.shape[1])
