"""Whether shares of lines vary with position, from sums over tiles and depths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.schema import LINE, PHASE, spatial_dims

#: A phase has a line that stands so many standard deviations above zero.
LEAST_SIGMA = 5.0
#: A place has at least so many net counts, and there are so many places.
LEAST_COUNTS, LEAST_PLACES = 30.0, 4
#: Depth within a phase is measured up to so many pixels.
DEEPEST = 16
#: The number of places that are depths: the last ones.
DEPTHS = DEEPEST + 1


@dataclass(frozen=True)
class Sums:
    """Sums over places: tiles, then depths [phase, place, quantity].

    Quantities as of :func:`eds_xr.analysis.zoning.zoning._sums`.
    """

    values: np.ndarray
    lines: int

    def of(self, phase: int, *, depths: bool) -> Places:
        """Return the tiles, or the depths, of a phase that hold enough."""
        rows = self.values[phase, -DEPTHS:] if depths else self.values[phase, :-DEPTHS]
        net, variance, shared, rest = np.split(rows, np.arange(1, 4) * self.lines, axis=1)
        pixels = np.maximum(rest[:, 2:3], 1)
        enough = rest[:, 0] > LEAST_COUNTS
        whole, place = rest[:, :2], rest[:, 3:6] / pixels
        return Places(*(v[enough] for v in (net, variance, shared, whole, place)))


@dataclass(frozen=True)
class Places:
    """Net counts of lines in some places [place, line], and where these are.

    ``shared``: covariance with all net counts; ``whole`` [place, 2]: these, and their variance;
    ``place`` [place, (y, x, depth); pixels].
    """

    net: np.ndarray
    variance: np.ndarray
    shared: np.ndarray
    whole: np.ndarray
    place: np.ndarray

    def share(self, line: int) -> tuple[float, float]:
        """Return a line's share of all net counts, and its variance."""
        total = float(self.whole[:, 0].sum())
        share = float(self.net[:, line].sum()) / total
        return share, float(self._variance(line, share).sum()) / total**2

    def rest(self, line: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return counts beyond the mean share, their variance, and the counts expected [place]."""
        share, _ = self.share(line)
        expected = share * self.whole[:, 0]
        return self.net[:, line] - expected, self._variance(line, share), expected

    def _variance(self, line: int, share: float) -> np.ndarray:
        own, both = self.variance[:, line], self.shared[:, line]
        return np.maximum(own - 2 * share * both + share**2 * self.whole[:, 1], 1e-9)


def zoned(
    sums: Sums, image: xr.DataArray, phases: Sequence[Any], lines: Sequence[str], fdr: float
) -> xr.Dataset:
    """Return the tests of each phase and line, with what they find."""
    dims = spatial_dims(image)
    steps = [_step(image, d) for d in dims]
    cells = [[_cell(sums, p, f, steps) for f in range(len(lines))] for p in range(len(phases))]
    units = str(image[dims[0]].attrs.get("units", "")) if dims[0] in image.coords else "pixels"
    made = xr.Dataset(
        {
            name: (
                (PHASE, LINE),
                np.array([[cell[name] for cell in row] for row in cells]).reshape(
                    len(phases), len(lines)
                ),
                {"long_name": text, "units": unit.replace("length", units)},
            )
            for name, (text, unit) in _columns(dims).items()
        },
        coords={PHASE: [str(p) for p in phases], LINE: list(lines)},
    )
    made["q_value"] = made.p_value.copy(data=_corrected(made.p_value.values))
    made["q_value"].attrs = {"long_name": "chance, for all phases and lines", "units": "1"}
    made["zoned"] = made.q_value <= fdr
    texts = [[_text(made.isel({PHASE: p, LINE: f}), units) for f in range(len(lines))]
             for p in range(len(phases))]  # fmt: skip
    made["text"] = ((PHASE, LINE), np.array(texts, object).reshape(len(phases), len(lines)))
    return made


def _columns(dims: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the long name and units of each column."""
    found = {
        "share": ("share of all net counts", "1"),
        "share_variance": ("variance of the share", "1"),
        "variation": ("relative standard deviation between places, beyond chance", "1"),
        "gradient": ("size of the gradient, relative", "1/length"),
        "direction": ("whither the share rises, from x to y", "degrees"),
        "inwards": ("change away from other phases, relative", "1/length"),
        "inwards_variance": ("variance of the change", "1/length^2"),
        "p_value": ("chance of as much without zoning", "1"),
    }
    for dim in dims:
        found[f"gradient_{dim}"] = (f"gradient along {dim}, relative", "1/length")
        found[f"gradient_{dim}_variance"] = (f"variance of the gradient along {dim}", "1/length^2")
    return found


def _step(image: xr.DataArray, dim: str) -> float:
    if dim not in image.coords or image.sizes[dim] < 2:
        return 1.0
    place = image[dim].values.astype(float)
    return float(place[-1] - place[0]) / (place.size - 1)


def _cell(sums: Sums, phase: int, line: int, steps: Sequence[float]) -> dict[str, float]:
    """Return what is found of a line of a phase; NaN where it has too few counts."""
    from scipy.stats import chi2

    dims = ("y", "x")
    found = dict.fromkeys(
        (*_columns(dims), "gradient_y", "gradient_x", "gradient_y_variance"), float("nan")
    )
    tiles, depths = (sums.of(phase, depths=d) for d in (False, True))
    if len(tiles.net) < LEAST_PLACES:
        return found
    share, variance = tiles.share(line)
    found |= {"share": share, "share_variance": variance}
    if share < LEAST_SIGMA * variance**0.5:
        return found
    rest, noise, expected = tiles.rest(line)
    beyond = float((rest**2 - noise).sum()) / float((expected**2).sum())
    chances = [float(chi2.sf((rest**2 / noise).sum(), len(rest) - 1))]
    slope, covariance, chance = _slopes(rest, noise, expected, tiles.place[:, :2] * steps)
    chances.append(chance)
    found |= {
        "variation": max(beyond, 0.0) ** 0.5,
        "gradient_y": slope[0], "gradient_x": slope[1],
        "gradient_y_variance": covariance[0, 0], "gradient_x_variance": covariance[1, 1],
        "gradient": float(np.hypot(*slope)),
        "direction": float(np.degrees(np.arctan2(slope[0], slope[1]))),
    }  # fmt: skip
    if len(depths.net) >= LEAST_PLACES:
        step = abs(steps[0] * steps[1]) ** 0.5
        slope, covariance, chance = _slopes(*depths.rest(line), depths.place[:, 2:] * step)
        chances.append(chance)
        found |= {"inwards": slope[0], "inwards_variance": covariance[0, 0]}
    return found | {"p_value": min(1.0, len(chances) * min(chances))}


def _slopes(
    rest: np.ndarray, noise: np.ndarray, expected: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return relative changes a unit of length [direction], their covariance, and their chance.

    The chance is that of counts alone; the covariance has the scatter of places, where it is more.
    """
    from scipy.stats import chi2

    columns = expected[:, None] * np.column_stack([np.ones(len(rest)), place - place.mean(axis=0)])
    weighted = columns / noise[:, None]
    covariance = np.linalg.pinv(weighted.T @ columns)
    change = covariance @ (weighted.T @ rest)
    left = float(((rest - columns @ change) ** 2 / noise).sum())
    of, slope = covariance[1:, 1:], change[1:]
    chance = float(chi2.sf(slope @ np.linalg.pinv(of) @ slope, slope.size))
    scatter = max(1.0, left / max(len(rest) - columns.shape[1], 1))
    return slope, of * scatter, chance


def _corrected(p_values: np.ndarray) -> np.ndarray:
    """Return Benjamini and Hochberg's correction; NaN stays."""
    from scipy.stats import false_discovery_control

    found, known = np.full(p_values.shape, np.nan), ~np.isnan(p_values)
    found[known] = false_discovery_control(p_values[known])
    return found


def _text(one: xr.Dataset, units: str) -> str:
    """Return what is found of a line of a phase, in words."""
    if not bool(one.zoned):
        return ""
    name = f"{one[PHASE].item()}: {one[LINE].item()}"
    told = [f"varies by {100 * float(one.variation):.1f} % from place to place"]
    error = float(one.gradient_y_variance + one.gradient_x_variance) ** 0.5
    if float(one.gradient) > 3 * error:
        told.append(
            f"rises by {100 * float(one.gradient):.2g} % a {units} at {float(one.direction):.0f} "
            "degrees from x to y"
        )
    if abs(float(one.inwards)) > 3 * float(one.inwards_variance) ** 0.5:
        way = "rises" if float(one.inwards) > 0 else "falls"
        told.append(f"{way} by {100 * abs(float(one.inwards)):.2g} % a {units} inwards")
    return f"{name} {', '.join(told)} (chance {float(one.q_value):.1g})"
