"""A HyperSpy file that the tests of stores share."""

from pathlib import Path

import numpy as np
import pytest
from support.reading import WriteHspy
from support.recordings import COUNTS, E, X, Y


@pytest.fixture
def hspy(write_hspy: WriteHspy, tmp_path: Path) -> Path:
    haadf = np.arange(35, dtype=np.float32).reshape(7, 5)
    flat = [{**Y, "navigate": False}, {**X, "navigate": False}]
    return write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS, [Y, X, E]), "HAADF": (haadf, flat)})
