"""What the study says of results that are too noisy, or not there."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.analysis.deep_mantle.notes import NOISE_ANGLE_DEG, not_detected, too_noisy


def spectrum(counts, channels=100):
    values = np.full(channels, float(counts))
    return xr.Dataset({"counts": ("energy", values), "variance": ("energy", values)})


@pytest.mark.parametrize(("counts", "noisy"), [(1000.0, False), (60.0, False), (40.0, True)])
def test_too_noisy__by_the_angle_of_the_noise(counts, noisy):
    """Noise of ``sqrt(n)`` a channel turns ``n`` a channel by ``atan(1 / sqrt(n - 1))``."""
    notes = too_noisy("Fp", spectrum(counts))
    angle = np.degrees(np.arctan(1 / np.sqrt(counts - 1)))
    assert bool(notes) == noisy == (angle > NOISE_ANGLE_DEG)
    if notes:
        assert f"noise turns the spectrum by {angle:.0f} degrees" in notes[0]
        assert notes[0].startswith("pure Fp: too few counts")


def test_not_detected__names_line_phase_and_limit_but_not_what_is_pinned():
    lines = xr.Dataset(
        {
            "net": (("phase", "line"), [[500.0, 10.0], [3.0, 400.0]]),
            "variance": (("phase", "line"), [[600.0, 400.0], [100.0, 500.0]]),
        },
        {"phase": ["Brg", "Fp"], "line": ["Si_Ka", "Nd_La"]},
    )
    notes = not_detected(lines, {"Fp": "Si_Ka"})
    # 10 +- 20, not negative: 1 - Phi(z) = 0.05 Phi(0.5) gives z = 1.817, 10 + 20 z = 46.3
    assert notes == ["Nd is not detected in Brg: at most 46 counts (95 %)"]
    both = not_detected(lines, {})
    assert [n.split(":")[0] for n in both] == [
        "Nd is not detected in Brg", "Si is not detected in Fp",
    ]  # fmt: skip
