"""A kernel that was just compiled and one that comes from numba's cache give the same numbers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIT = """
import hashlib
import numpy as np
import eds_xr
image = eds_xr.simulate.spectrum_image((24, 24, 512), dose=150, seed=3)
found = eds_xr.nmf(image, 3, mixing="free", seed=0)
print(hashlib.sha256(found.loadings.values.tobytes() + found.scores.values.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_nmf__first_run_of_an_installation_equals_the_next(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", FIT]
    compiled, cached = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert compiled == cached
