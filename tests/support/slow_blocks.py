"""An image whose blocks take long, on a cluster that says when the first has begun."""

import time

import numpy as np
import xarray as xr
from distributed import Variable, get_client


def slowly(image: xr.DataArray, begun: str = "begun", y: int = 4, x: int = 16) -> xr.DataArray:
    """Return an image in small chunks; each sets a variable of the cluster and takes 1 s."""
    lazy = image.chunk(y=y, x=x)
    meta = np.empty((0, 0, 0), image.dtype)
    return lazy.copy(data=lazy.data.map_blocks(_slow, begun, dtype=image.dtype, meta=meta))


def _slow(block: np.ndarray, begun: str) -> np.ndarray:
    Variable(begun, get_client()).set(True)
    time.sleep(1.0)
    return block
