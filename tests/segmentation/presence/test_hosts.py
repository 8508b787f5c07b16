"""Which phase is embedded in which."""

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import binary_dilation, binary_fill_holes, gaussian_filter, label

from eds_xr.segmentation import tiled_filters
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


def _by_whole_maps(present: xr.DataArray) -> np.ndarray:
    """Return the same, region by region on whole maps."""
    maps, square = present.values, np.ones((3, 3), bool)
    found = np.zeros((len(maps), len(maps)))
    for i, own in enumerate(maps):
        regions, number = label(binary_fill_holes(own), structure=square)
        pixels = np.zeros(len(maps))
        whole = 0
        for region in (regions == n for n in range(1, number + 1)):
            if region[[0, -1]].any() or region[:, [0, -1]].any():
                continue
            whole += (region & own).sum()
            rim = binary_dilation(region, square, iterations=3) & ~region & ~own
            if rim.any():
                pixels += (region & own).sum() * (maps[:, rim].mean(axis=1) >= 0.75)
        found[i] = pixels / max(whole, 1)
    np.fill_diagonal(found, 0)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.8, 1.2, 1.6])
@pytest.mark.parametrize("tile", [384, 5, 17])
def test_enclosure__in_tiles_is_that_of_whole_maps(tile: int, sigma: float, monkeypatch) -> None:
    monkeypatch.setattr(tiled_filters, "TILE_PIXELS", tile)
    rough = np.random.default_rng(int(10 * sigma)).normal(size=(4, 47, 52))
    smooth = gaussian_filter(rough, sigma, axes=(1, 2))
    maps = smooth > np.quantile(smooth, 0.6)
    maps[0] |= ~maps[1:].any(axis=0)
    present = _masks(**dict(zip("abcd", maps, strict=True)))
    wanted = _by_whole_maps(present)
    assert wanted.any()
    np.testing.assert_array_equal(enclosure(present), wanted)
    lazy = present.chunk(y=20, x=13)
    np.testing.assert_array_equal(enclosure(lazy), wanted)
    assert hosts(lazy) == hosts(present)
