"""Regions by which phases are present, and where each phase's spectrum comes from."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.analysis.any_sample.regions import Region, Source, region_masks, regions_of, sources_of
from eds_xr.segmentation import tiled_filters


def _region(counts: dict[str, float], *phases: str) -> Region:
    return Region(phases, counts, 16.0)


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


def test_sources_of__pure_pixels_that_a_shell_lies_over_are_a_mixture() -> None:
    shell = _region({"shell": 5e4, "core": 10.0}, "shell")
    for held, reference in ((1.5e4, "shell"), (2e3, "")):
        core = _region({"core": 1e5, "shell": held}, "core")
        found = sources_of(_by_name(core, shell), ["core", "shell"], {})
        assert {s.phase: s for s in found}["core"] == Source("core", "core", reference)


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
    amounts = xr.DataArray(
        np.where(present, 50.0, 0.0), {"phase": ["matrix", "grain"]}, dims
    ).transpose("y", "x", "phase")
    found = regions_of(segmentation.assign_attrs(pure_share=0.02), amounts)
    assert list(found) == ["matrix", "matrix+grain"]  # the grain has no pure pixel
    assert found["matrix+grain"].n_pixels == 100
    assert found["matrix+grain"].counts == {"matrix": 5000.0, "grain": 5000.0}
    assert found["matrix"].counts == {"matrix": 15000.0, "grain": 0.0}


def test_regions_of__a_mixture_holds_nothing_of_a_third() -> None:
    """Below what counts as present, but enough to spoil a subtraction."""
    present = np.ones((3, 40, 40), bool)
    present[2] = False
    amounts = np.where(present, 500.0, 0.0)
    amounts[2, :20] = 60.0
    dims = ("phase", "y", "x")
    names = {"phase": ["matrix", "grain", "third"]}
    segmentation = xr.Dataset(
        {"present": (dims, present), "pure": (dims, present & False)}, names, {"pure_share": 0.02}
    )
    held = xr.DataArray(amounts, names, dims).transpose("y", "x", "phase")
    chosen = {"both": ("matrix", "grain"), "elsewhere": ("matrix", "lost")}
    mask, elsewhere = region_masks(segmentation, held, chosen)
    assert not elsewhere.any()
    assert not mask[:20].any()
    assert mask[30:].all()


@pytest.mark.parametrize("tile", [384, 16])
def test_region_masks__depend_on_no_chunks_and_stay_lazy(tile: int, monkeypatch) -> None:
    monkeypatch.setattr(tiled_filters, "TILE_PIXELS", tile)
    random = np.random.default_rng(0)
    dims, names = ("phase", "y", "x"), {"phase": ["matrix", "grain", "third"]}
    present = np.zeros((3, 40, 45), bool)
    present[0], present[1, 10:30, 8:40], present[2, :, 30:] = True, True, True
    held = xr.DataArray(random.poisson(np.where(present, 200.0, 8.0)), names, dims).astype("f4")
    pure = present & (present.sum(0) == 1)
    segmentation = xr.Dataset({"present": (dims, present), "pure": (dims, pure)}, names)
    segmentation.attrs["pure_share"] = 0.02
    wanted = regions_of(segmentation, held)
    assert len(wanted) > 3
    lazy = segmentation.chunk(y=11, x=45), held.chunk(y=40, x=7)
    assert regions_of(*lazy) == wanted
    chosen = {name: region.phases for name, region in wanted.items()}
    eager, masks = (region_masks(*one, chosen) for one in ((segmentation, held), lazy))
    assert masks.chunks is not None
    xr.testing.assert_identical(masks.compute(), eager.compute())
    assert masks.sum(("y", "x")).values.tolist() == [r.n_pixels for r in wanted.values()]


def test_sources_of__a_host_that_may_lie_over_counts_with_little() -> None:
    shell = _region({"shell": 5e4, "core": 10.0}, "shell")
    core = _region({"core": 1e5, "shell": 2e3}, "core")  # 2 % of the counts, beyond chance
    regions, names = _by_name(core, shell), ["core", "shell"]
    sure = sources_of(regions, names, {"core": "shell"})
    assert {s.phase: s.reference for s in sure}["core"] == ""
    over = sources_of(regions, names, {"core": "shell"}, {"core": "shell"})
    assert {s.phase: s.reference for s in over}["core"] == "shell"
