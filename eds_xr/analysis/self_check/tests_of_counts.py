"""What counts tell place by place: thickness that varies, counts that are not Poisson's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eds_xr.analysis.self_check.tests_of_spectra import Finding, not_tested
from eds_xr.composition.uncertainty.number_text import value_text

#: A variation of a phase's counts from place to place that quantification hardly feels, relative.
THICKNESS_TOLERANCE = 0.05
#: Variance over Poisson's that hardly widens an error.
DISPERSION_TOLERANCE = 0.05
#: Fewer places, or pairs of pixels, tell nothing.
LEAST_PLACES = 8
_OF_PLACES = ("places", "pixels", "pixels2", "counts", "counts2", "place_counts2")


def thickness(places: Mapping[str, np.ndarray], phases: Sequence[str]) -> Finding:
    """Test whether a phase's counts vary between places of several pixels a side.

    An analysis of variance: the scatter of pixels within places is what chance gives, whatever law
    it follows. The phase that varies most clearly is told; its chance is that of one among all.
    """
    from scipy.stats import f

    test, units = "thickness", "%"
    best: tuple[float, float, float, str] | None = None
    tested = 0
    for i, phase in enumerate(phases):
        k, n, n2, counts, squares, between = (places[q][i] for q in _OF_PLACES)
        if k < LEAST_PLACES or counts <= 0:
            continue
        tested += 1
        mean, each = counts / n, (n - n2 / n) / (k - 1)
        outside = max((between - counts**2 / n) / (k - 1), 0.0)
        inside = max((squares - between) / max(n - k, 1), 1e-9)
        own = max(outside - inside, 0.0) / each / mean**2
        loose = inside + each * (THICKNESS_TOLERANCE * mean) ** 2
        chance = float(f.sf(outside / loose, k - 1, max(n - k, 1)))
        sd = (2 / (k - 1)) ** 0.5 * outside / each / mean**2 / (2 * max(own, 1e-6) ** 0.5)
        if best is None or chance < best[0]:
            best = chance, 100 * own**0.5, 100 * sd, phase
    if best is None:
        return not_tested(test, units, "no phase has enough pure pixels")
    chance, size, sd, phase = best
    text = (
        f"counts of {phase} vary by {value_text(size, sd)} % from place to place beyond chance: "
        "the foil's thickness, or what the detector sees"
    )
    return Finding(test, size, sd, units, min(1.0, tested * chance), text)


def dispersion(places: Mapping[str, np.ndarray]) -> list[Finding]:
    """Test whether counts scatter as Poisson's law has it, by neighbours within pure phases.

    Of totals, second differences of three in a row, which a slope of the thickness leaves alone;
    of the channels, shares of neighbours, which the thickness leaves alone. Totals that vary less
    are those of a detector with dead time, and no misfit: what it does not count says nothing of
    the channels.
    """
    sums = {name: float(np.sum(v)) for name, v in places.items()}
    totals = "difference2", "expected", "expected_variance"
    shares = "chi2", "chance", "chance_variance"
    return [
        _dispersed(sums, "variance of totals", totals, "totals of pixels vary", upwards=True),
        _dispersed(sums, "variance of channels", shares, "counts of channels vary", upwards=False),
    ]


def _dispersed(
    sums: Mapping[str, float], test: str, names: tuple[str, str, str], what: str, *, upwards: bool
) -> Finding:
    """Return how large a sum is against what Poisson's law expects, by the names of both."""
    from scipy.stats import norm

    found, expected, variance = names
    units = "times Poisson's"
    if sums[expected] <= 0 or sums[variance] <= 0 or sums["places"] < LEAST_PLACES:
        return not_tested(test, units, "no phase has enough pure pixels")
    size, plain = sums[found] / sums[expected], sums[variance] ** 0.5 / sums[expected]
    off = size - 1 if upwards else abs(size - 1)
    chance = (1 if upwards else 2) * float(norm.sf((off - DISPERSION_TOLERANCE) / plain))
    text = f"{what} {value_text(size, size * plain)} times as much as Poisson's law has it"
    return Finding(test, size, size * plain, units, min(1.0, chance), text)
