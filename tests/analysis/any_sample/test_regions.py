"""Regions by which phases are present, and where each phase's spectrum comes from."""

import numpy as np
import xarray as xr

from eds_xr.analysis.any_sample.regions import (
    RIM_PIXELS,
    Region,
    Source,
    region_mask,
    regions_of,
    sources_of,
)


def _region(counts: dict[str, float], *phases: str) -> Region:
    mask = xr.DataArray(np.ones((4, 4), bool), dims=("y", "x"))
    return Region(phases, mask, counts)


def _by_name(*regions: Region) -> dict[str, Region]:
    return {r.name: r for r in regions}


MATRIX = _region({"matrix": 1e6, "grain": 1e3, "other": 1e3}, "matrix")
MIXED = _region({"matrix": 3e5, "grain": 2e5, "other": 1e3}, "matrix", "grain")


def test_sources_of__pure_pixels_where_there_are_enough() -> None:
    pure = _region({"matrix": 100.0, "grain": 3e4}, "grain")
    found = sources_of(_by_name(MATRIX, MIXED, pure), ["matrix", "grain"], {"grain": "matrix"})
    assert found == [Source("matrix", "matrix"), Source("grain", "grain")]


def test_sources_of__a_mixture_less_its_host_where_there_are_not() -> None:
    pure = _region({"matrix": 10.0, "grain": 3e3}, "grain")
    found = sources_of(_by_name(MATRIX, MIXED, pure), ["matrix", "grain"], {"grain": "matrix"})
    assert found[1] == Source("grain", "matrix+grain", "matrix")


def test_sources_of__the_host_before_a_larger_mixture() -> None:
    beside = _region({"matrix": 1e3, "grain": 9e5, "other": 5e5}, "grain", "other")
    other = _region({"other": 1e6, "grain": 10.0, "matrix": 10.0}, "other")
    regions = _by_name(MATRIX, MIXED, beside, other)
    found = {
        s.phase: s for s in sources_of(regions, ["matrix", "grain", "other"], {"grain": "matrix"})
    }
    assert found["grain"].reference == "matrix"


def test_sources_of__several_others_are_one_region() -> None:
    both = _region({"support": 1e5, "shell": 2e5, "core": 100.0}, "support", "shell")
    all_three = _region({"support": 1e5, "shell": 1e5, "core": 2e5}, "support", "shell", "core")
    support = _region({"support": 1e6, "shell": 10.0, "core": 10.0}, "support")
    names = ["support", "shell", "core"]
    found = sources_of(_by_name(support, both, all_three), names, {"core": "shell"})
    assert found[1] == Source("shell", "support+shell", "support")
    assert found[2] == Source("core", "support+shell+core", "support+shell")


def test_sources_of__a_phase_that_is_nowhere_known_has_none() -> None:
    found = sources_of(_by_name(MIXED), ["matrix", "grain"], {})
    assert found == []


def test_regions_of__combinations_are_exact_and_small_ones_left_out() -> None:
    present = np.zeros((2, 20, 20), bool)
    present[0] = True
    present[1, 5:15, 5:15] = True
    pure = present & ~present[::-1]
    dims = ("phase", "y", "x")
    segmentation = xr.Dataset(
        {"present": (dims, present), "pure": (dims, pure)}, {"phase": ["matrix", "grain"]}
    )
    scores = xr.DataArray(
        np.where(present, 50.0, 0.0), {"component": ["matrix", "grain"]}, ("component", "y", "x")
    ).transpose("y", "x", "component")
    found = regions_of(segmentation, scores)
    assert list(found) == ["matrix", "matrix+grain"]  # the grain has no pure pixel
    assert int(found["matrix+grain"].mask.sum()) == 100
    assert found["matrix+grain"].counts == {"matrix": 5000.0, "grain": 5000.0}
    assert found["matrix"].counts == {"matrix": 15000.0, "grain": 0.0}


def _segmentation(*present: np.ndarray) -> xr.Dataset:
    names = ["matrix", "grain", "other"]
    array = xr.DataArray(np.array(present), {"phase": names}, ("phase", "y", "x"))
    return xr.Dataset({"present": array, "pure": array})


def test_region_mask__a_mixture_keeps_away_from_other_grains() -> None:
    grain, other = np.zeros((2, 30, 30), bool)
    grain[5:25, 5:25] = True
    other[5:25, 20:] = True
    mask = region_mask(_segmentation(np.ones((30, 30), bool), grain, other), ("matrix", "grain"))
    expected = grain.copy()
    expected[:, 20 - RIM_PIXELS :] = False
    np.testing.assert_array_equal(mask, expected)


def test_region_mask__crowded_grains_are_not_lost() -> None:
    grain, other = np.zeros((2, 30, 30), bool)
    grain[5:25, 5:9] = True
    other[5:25, 9:] = True
    mask = region_mask(_segmentation(np.ones((30, 30), bool), grain, other), ("matrix", "grain"))
    np.testing.assert_array_equal(mask, grain)
