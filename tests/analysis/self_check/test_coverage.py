"""What intervals hold over draws; intervals that fail are widened until they hold."""

import numpy as np
import pytest
import xarray as xr
from support.drawn import composition

from eds_xr.analysis.self_check.coverage import WAYS, Drawn, coverage, matched, widened

PHASES, ELEMENTS = ["a", "b"], ["Mg", "Si", "Fe"]


def _draws(
    number: int, too_small: float = 1.0, bias: float = 0.0
) -> tuple[list[Drawn], xr.Dataset]:
    """Return draws whose Mg of `a` scatters more than stated, or is off, and the truth."""
    random = np.random.default_rng(1)
    grid = {"phase": PHASES, "element": ELEMENTS}
    truth = xr.DataArray(np.full((2, 3), 0.3), grid, ("phase", "element"))
    one = xr.full_like(truth, 0.01**2)
    factor = xr.where((truth.phase == "a") & (truth.element == "Mg"), too_small, 1.0)
    moved = xr.where((truth.phase == "a") & (truth.element == "Mg"), bias, 0.0)
    ways = xr.DataArray(list(WAYS), dims="way", name="way")
    made = []
    for _ in range(number):
        noise = 0.01 * random.normal(size=truth.shape)
        found = truth + noise * factor + moved
        made.append(Drawn(*(xr.concat([v, v], dim=ways) for v in (found, one))))
    return made, xr.Dataset({"atomic_fraction": truth})


def test_coverage__of_right_intervals_is_95_percent() -> None:
    found = coverage(*_draws(200))
    assert abs(found.covered - 0.95).max() < 0.06
    assert abs(found.spread - 1).max() < 0.2
    assert not found.failed.any()
    assert (found.widening == 1).all()


def test_coverage__of_intervals_that_are_too_small() -> None:
    found = coverage(*_draws(60, too_small=3.0)).sel(way="composition")
    one = found.sel(phase="a", element="Mg")
    assert bool(one.failed)
    assert int(found.failed.sum()) == 1
    assert float(one.covered) == pytest.approx(0.49, abs=0.2)
    assert float(one.widening) == pytest.approx(3.0, rel=0.3)


def test_coverage__tells_a_bias() -> None:
    one = coverage(*_draws(40, bias=0.05)).sel(way="composition", phase="a", element="Mg")
    assert float(one.bias) == pytest.approx(0.05, abs=4 * float(one.bias_sd))
    assert bool(one.failed)
    assert float(one.widening) > 5 / 1.96


def test_coverage__of_numbers_that_no_draw_gives_is_nan() -> None:
    draws, truth = _draws(6)
    for one in draws:
        one.fraction.loc[{"phase": "b"}] = np.nan
    with np.errstate(all="raise"):
        found = coverage(draws, truth)
    assert (found.draws.sel(phase="b") == 0).all()
    assert not found.failed.any()
    assert np.isnan(found.covered.sel(phase="b")).all()


def test_widened__errors_are_larger_and_say_why() -> None:
    own = composition()
    names = {"phase": own.phase.values, "element": own.element.values}
    like = xr.ones_like(own.atomic_fraction).drop_attrs()
    place = {"phase": names["phase"][0], "element": names["element"][0]}
    factor = like.copy()
    factor.loc[place] = 1.8
    found = xr.Dataset({"widening": factor, "covered": 0.7 * like, "draws": 20 * like})
    made = widened(own, found)
    ratio = made.atomic_fraction_variance / own.atomic_fraction_variance
    assert float(ratio.sel(place)) == pytest.approx(1.8**2)
    assert int((abs(ratio - 1) > 1e-12).sum()) == 1
    told = "interval widened 1.8 times: in 20 simulations of this image it held the truth in 70 %"
    assert told in str(made.doubt.sel(place).item())
    total = made.atomic_fraction_covariance.sel(place).sel(element_other=place["element"])
    assert float(total) == pytest.approx(float(made.atomic_fraction_variance.sel(place)))
    assert widened(own, found.assign(widening=like)) is own


def test_matched__phases_are_those_that_lie_there() -> None:
    left = np.zeros((8, 8), bool)
    left[:, :4] = True
    model = xr.DataArray(np.stack([left, ~left]), {"phase": ["l", "r"]}, ("phase", "y", "x"))
    found = xr.DataArray(
        np.stack([~left, left, np.eye(8, dtype=bool)]),
        {"phase": ["1", "2", "3"]}, ("phase", "y", "x"),
    )  # fmt: skip
    assert matched(found, model) == {"l": "2", "r": "1"}
