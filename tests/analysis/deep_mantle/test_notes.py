"""What the study says of results that are too noisy, or not there."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.analysis.deep_mantle.notes import NOISE_ANGLE_DEG, contradicted, not_detected, too_noisy


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


def lines_of(net, variance):
    return xr.Dataset(
        {
            "net": (("phase", "line"), net),
            "variance": (("phase", "line"), variance),
            "assumed": (("phase", "line"), [[False, False], [True, False]]),
        },
        {"phase": ["Brg", "Fp"], "line": ["Si_Ka", "Nd_La"]},
    )


def test_not_detected__names_line_phase_and_limit_but_not_what_is_assumed():
    lines = lines_of([[500.0, 10.0], [3.0, 400.0]], [[600.0, 400.0], [100.0, 500.0]])
    # 10 +- 20, not negative: 1 - Phi(z) = 0.05 Phi(0.5) gives z = 1.817, 10 + 20 z = 46.3
    assert not_detected(lines) == ["Nd is not detected in Brg: at most 46 counts (95 %)"]
    free = lines.assign(assumed=~lines.assumed & lines.assumed)
    assert [n.split(":")[0] for n in not_detected(free)] == [
        "Nd is not detected in Brg", "Si is not detected in Fp",
    ]  # fmt: skip


@pytest.mark.parametrize(("net", "told"), [(25.0, False), (35.0, True), (-35.0, True)])
def test_contradicted__by_what_all_pixels_say(net, told):
    lines = lines_of([[500.0, 10.0], [net, 400.0]], [[600.0, 400.0], [100.0, 500.0]])
    notes = contradicted(lines, lines.assumed)
    assert bool(notes) == told
    if told:
        assert notes == [
            f"pure Fp: the subtraction takes Si_Ka for zero, all pixels give it {net:.0f} +- 10 "
            "counts"
        ]
