import numpy as np
import pytest
import xarray as xr

from eds_xr.analysis.mixing_intervals.stated_errors import wider_than_stated
from eds_xr.schema import EdsError


def intervals(low: float, high: float, value: float = 2.0) -> xr.Dataset:
    dims = ("component", "ratio")
    found = {"low": low, "high": high, "value": value}
    made = {n: (dims, np.full((2, 2), v)) for n, v in found.items()}
    texts = {
        n: (dims, np.full((2, 2), t, object)) for n, t in (("low_by", "a bound"), ("high_by", ""))
    }
    return xr.Dataset(
        {**made, **texts}, {"component": ["one", "other"], "ratio": ["Mg/Si", "Ti/Si"]}
    )


def composition(sigma: float) -> xr.Dataset:
    dims = ("phase", "element", "element_other")
    return xr.Dataset(
        {
            "atomic_fraction": (("phase", "element"), [[0.3, 0.2, 0.5]]),
            "atomic_fraction_variance": (("phase", "element"), np.full((1, 3), sigma**2)),
            "atomic_fraction_covariance": (dims, sigma**2 * np.eye(3)[None]),
        },
        {"phase": ["one"], "element": ["Mg", "Si", "O"], "element_other": ["Mg", "Si", "O"]},
    )


def test_wider_than_stated__speaks_of_ratios_that_are():
    told = wider_than_stated(intervals(1.6, 2.8), composition(0.002))
    assert len(told) == 1
    assert told[0].startswith("one: Mg/Si is stated as 1.5 +- 0.018")
    assert "from 1.2 to 2.1 (bounds: a bound)" in told[0]


@pytest.mark.parametrize(
    ("span", "sigma"),
    [(intervals(1.95, 2.05), 0.002), (intervals(1.6, 2.8), 0.03), (intervals(0, np.inf), 0.1)],
)
def test_wider_than_stated__is_silent_otherwise(span, sigma):
    assert wider_than_stated(span, composition(sigma)) == []


def test_wider_than_stated__knows_ratios_without_end():
    assert "to inf" in wider_than_stated(intervals(1.6, np.inf), composition(0.002))[0]


def test_wider_than_stated__refuses():
    with pytest.raises(EdsError, match="mixing_intervals"):
        wider_than_stated(composition(0.1), composition(0.1))
    with pytest.raises(EdsError, match="composition of phases"):
        wider_than_stated(intervals(1, 3), composition(0.1).isel(phase=0))
