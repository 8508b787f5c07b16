"""Which phase is embedded in which."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.segmentation.presence.hosts import enclosure, hosts, matrix_of

SIDE = 60


def _masks(**maps: np.ndarray) -> xr.DataArray:
    return xr.DataArray(np.stack(list(maps.values())), {"phase": list(maps)}, ("phase", "y", "x"))


def _disc(y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.hypot(rows - y, columns - x) <= radius


def test_hosts__grains_in_a_matrix_some_at_the_border() -> None:
    grains = _disc(15, 15, 6) | _disc(40, 40, 8) | _disc(0, 50, 5)
    host_of = hosts(_masks(grain=grains, matrix=np.ones_like(grains)))
    assert host_of == {"grain": "matrix", "matrix": ""}


@pytest.mark.parametrize("under", [True, False], ids=["on a support", "beside it"])
def test_hosts__core_in_shell_on_support(under: bool) -> None:
    core = _disc(30, 30, 5) | _disc(12, 45, 3)
    shell = _disc(30, 30, 10) | _disc(12, 45, 7)
    support = np.ones_like(core) if under else ~shell
    present = _masks(support=support, shell=shell, core=core)
    host_of = hosts(present)
    assert host_of == {"support": "", "shell": "support", "core": "shell"}
    assert matrix_of(host_of, present) == "support"


@pytest.mark.parametrize("slope", [0.0, 0.4])
def test_hosts__layers_and_lamellae_lie_in_none(slope: float) -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    first = (rows + slope * columns) // 8 % 2 == 0
    present = _masks(first=first, second=~first)
    assert hosts(present) == {"first": "", "second": ""}
    assert matrix_of(hosts(present), present) == ""


def test_hosts__grains_side_by_side_have_none() -> None:
    columns = np.mgrid[:SIDE, :SIDE][1]
    present = _masks(
        left=columns < 20, middle=(columns >= 20) & (columns < 40), right=columns >= 40
    )
    assert set(hosts(present).values()) == {""}


def test_hosts__boundaries_may_be_off_by_a_pixel() -> None:
    grain = _disc(30, 30, 8)
    present = _masks(grain=grain, matrix=~_disc(30, 30, 9))
    assert hosts(present)["grain"] == "matrix"


def test_hosts__a_line_shows_none() -> None:
    x = np.arange(60)
    inner = (x > 20) & (x < 30)
    present = xr.DataArray(np.stack([inner, ~inner]), {"phase": ["a", "b"]}, ("phase", "x"))
    assert hosts(present) == {"a": "", "b": ""}


def test_hosts__of_a_mosaic_there_is_none() -> None:
    """Each has all of its whole regions in the other."""
    left = np.mgrid[:SIDE, :SIDE][1] < 30
    first = (left & ~_disc(30, 15, 6)) | _disc(30, 45, 6)
    present = _masks(first=first, second=~first)
    within = enclosure(present)
    assert float(within.sel(phase="first", host="second")) == 1
    assert float(within.sel(phase="second", host="first")) == 1
    assert set(hosts(present).values()) == {""}


def test_enclosure__of_regions_at_the_border_is_nothing() -> None:
    grain = _disc(0, 30, 8)
    within = enclosure(_masks(grain=grain, matrix=~grain))
    assert float(within.sel(phase="grain", host="matrix")) == 0


def test_matrix_of__one_phase() -> None:
    present = _masks(only=np.ones((SIDE, SIDE), bool))
    assert matrix_of(hosts(present), present) == ""
