"""An image whose blocks take long, on a cluster that says when the first has begun."""

import time

import numpy as np
import xarray as xr
from distributed import Variable, get_client


def slowly(image: xr.DataArray) -> xr.DataArray:
    """Return an image in small chunks; each sets the cluster's variable "begun" and takes 1 s."""
    lazy = image.chunk(y=4, x=16)
    return lazy.copy(data=lazy.data.map_blocks(_slow, dtype=image.dtype, meta=np.empty((0, 0, 0))))


def _slow(block: np.ndarray) -> np.ndarray:
    Variable("begun", get_client()).set(True)
    time.sleep(1.0)
    return block
