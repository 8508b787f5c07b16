import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.line_spectra import ENERGY, TRUE_AXIS

from eds_xr.spectra.shapes.families import families_seen
from eds_xr.spectra.shapes.peaks import TAILS_KEV, Calibration, peak_counts
from eds_xr.spectra.shapes.weak_knowledge import COMMON, EFFECTS, WeakKnowledge

WIDE = np.arange(-1.0, 14.0, 0.01)
AXIS = ENERGY[(ENERGY > 0.7) & (ENERGY < 12)]


def weak(elements=("Na", "Zn", "W"), escape=False):
    families = families_seen(elements, AXIS, 200.0)
    return WeakKnowledge(AXIS, families, TRUE_AXIS, 200.0, escape=escape)


@pytest.mark.parametrize("escape", [False, True])
def test_weak_knowledge__slopes_are_those_of_the_counts(escape):
    made = weak(escape=escape)
    rng = np.random.default_rng(0)
    x, amounts = rng.normal(0, 0.5, made.effects.size), rng.uniform(1, 2, len(made.families))
    background = np.exp(-AXIS)[:, None]

    def counts(x):
        return made.at(x).design(background) @ np.append(amounts, 3.0)

    slopes = made.at(x).slopes(amounts, 3 * background[:, 0] * made.at(x).factor)
    for j in range(x.size):
        step = np.zeros_like(x)
        step[j] = 1e-3
        change = (counts(x + step) - counts(x - step)) / 2e-3
        off = np.abs(change - slopes[:, j]).max()
        assert off < 0.06 * np.abs(change).max() + 1e-9  # tails do not move in the slopes


def test_weak_knowledge__at_zero_peaks_are_as_tabulated():
    made = weak()
    families = families_seen(("Na", "Zn", "W"), AXIS, 200.0)
    peaks = peak_counts(AXIS, [(f.energies_kev, f.photons) for f in families], TRUE_AXIS)
    np.testing.assert_allclose(made.at(np.zeros(made.effects.size)).peaks, peaks, atol=1e-12)


def test_weak_knowledge__net_slopes_hold_the_familys_amount():
    made, names = weak(), ["Na_Ka", "Zn_La", "W_Ma"]
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.5, made.effects.size)
    found = made.net_slopes(x, names)

    def shares(x):
        groups = {n: s for f in made.families_at(x) for n, s in f.groups.items()}
        return np.array([groups[n] for n in names])

    for j in range(x.size):
        step = np.zeros_like(x)
        step[j] = 1e-4
        change = np.log(shares(x + step) / shares(x - step)) / 2e-4
        np.testing.assert_allclose(found[:, j], change, atol=1e-6)


def test_weak_knowledge__every_parameter_has_an_effect():
    made = weak()
    assert set(made.effects) < set(EFFECTS)
    assert len(made.of_lines) == made.effects.size - COMMON
    few = made.only(np.arange(made.effects.size) < COMMON + 3)
    assert few.of_lines == made.of_lines[:3]
    x = np.random.default_rng(0).normal(size=few.effects.size)
    np.testing.assert_allclose(
        few.at(x).peaks, made.at(np.append(x, np.zeros(made.effects.size - x.size))).peaks
    )


@given(share=st.floats(0, 0.2), other=st.floats(0, 0.2), energy=st.floats(1.0, 10.0))
def test_peaks__tails_move_counts_down_and_keep_them(share, other, energy):
    tailed = peak_counts(WIDE, [([energy], [1.0])], Calibration(tails=(share, other)))[:, 0]
    assert tailed.sum() == pytest.approx(1, abs=0.01 * (share + other) + 1e-6)
    lost = share * TAILS_KEV[0] + other * TAILS_KEV[1]
    assert WIDE @ tailed == pytest.approx(energy - lost, abs=0.05 * lost + 1e-4)
    assert tailed.min() > -1e-12


def test_peaks__without_lines():
    assert peak_counts(WIDE, [], Calibration()).shape == (WIDE.size, 0)
