"""What the tests of several readers share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr import readers

COUNTS = np.random.default_rng(1).poisson(0.3, (7, 5, 32)).astype(np.uint16)
HAADF = np.arange(35, dtype=np.float32).reshape(7, 5)


#: How the fixture `write_hspy` is called.
WriteHspy = Callable[..., Path]


def axis(name: str, scale: float, units: str | None, *, offset: float = 0.0) -> dict[str, Any]:
    """Return the attributes of an axis as HyperSpy writes them."""
    attrs = {"name": name, "scale": scale, "offset": offset, "navigate": name != "Energy"}
    return attrs if units is None else {**attrs, "units": units}


Y, X = axis("height", 0.002, "µm"), axis("width", 0.002, "µm")
E = axis("Energy", 0.01, "keV", offset=-0.1)


def streamed(recording: readers.Recording, rows: int = 3) -> np.ndarray:
    """Return all values of a recording, gathered from its row blocks."""
    whole = np.zeros(recording.shape, recording.dtype)
    regions = readers.row_regions(recording.shape, rows)
    for region, block in zip(regions, recording.row_blocks(rows), strict=True):
        assert block.dtype == recording.dtype
        assert block.shape == whole[region].shape
        whole[region] = block
    return whole
