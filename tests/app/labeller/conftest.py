"""A simulated assemblage, its truth, and strokes that a person would paint on it."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

pytest.importorskip("panel", reason="the extra 'label' is not installed")

from eds_xr import simulate  # noqa: E402

RECIPE = {"shape": (96, 96, 1024), "dose": 400.0, "seed": 5}


@pytest.fixture(scope="session")
def scene():
    """Return a spectrum image in memory, the names of its phases, and their label [y, x]."""
    image = simulate.spectrum_image(**RECIPE).drop_vars("haadf").compute()
    truth = simulate.truth(**RECIPE)
    names = [str(name) for name in truth.phase.values]
    return image, names, truth.label.values


@pytest.fixture(scope="session")
def hand(scene):
    """Return short strokes inside each phase, by name: from and to, [pixels]."""
    _, names, label = scene
    random = np.random.default_rng(2)
    found = {}
    for value, name in enumerate(names, 1):
        inside = np.argwhere(binary_erosion(label == value, iterations=2))
        chosen = []
        for place in inside[random.permutation(len(inside))]:  # strokes that do not touch
            if len(chosen) < 6 and all(abs(place - other).max() > 6 for other in chosen):
                chosen.append(place)
        found[name] = [((y + 0.5, x - 0.5), (y + 0.5, x + 1.5)) for y, x in chosen]
    return found
