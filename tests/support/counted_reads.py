"""An image that counts how often each of its chunks is read."""

import threading
from collections import Counter

import dask.array as da
import numpy as np
import xarray as xr


class CountedReads:
    """An image [y, x, energy] in square chunks, and how often each was read, by its place."""

    def __init__(self, image: xr.DataArray, side: int) -> None:
        self.reads: Counter[tuple[int, ...]] = Counter()
        self.values, self.lock = image.values, threading.Lock()
        sides = [(side,) * (n // side) for n in image.shape[:-1]]
        data = da.map_blocks(
            self.read, chunks=(*sides, image.shape[-1:]), dtype=image.dtype, name="read",
            meta=np.empty((0, 0, 0), image.dtype),
        )  # fmt: skip
        self.image = image.copy(data=data)

    def read(self, block_info=None) -> np.ndarray:
        """Return the values of a chunk."""
        with self.lock:
            self.reads[block_info[None]["chunk-location"]] += 1
        return self.values[tuple(slice(*ends) for ends in block_info[None]["array-location"])]
