"""Tests of eds_xr.graph_cut."""

from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.potts import (
    defined_energy,
    least_energy,
    neighbour_pairs,
    noisy,
    picture,
    probabilities,
)

from eds_xr.provenance import history
from eds_xr.schema import EdsError, phase_names
from eds_xr.segmentation.graph_cut.expansion import COST_STEP
from eds_xr.segmentation.graph_cut.potts import edge_image, potts_energy, smooth

# -- neighbours and energy -----------------------------------------------------------------------


@settings(max_examples=15)
@given(
    seed=st.integers(0, 99),
    case=st.sampled_from([((5, 4), 4), ((5, 4), 8), ((6,), 8), ((3, 4, 3), 6), ((3, 4, 3), 26)]),
    smoothness=st.floats(0, 3),
    weight=st.floats(0, 3),
)
def test_energy__is_its_definition(
    seed: int, case: tuple[tuple[int, ...], int], smoothness: float, weight: float
) -> None:
    shape, neighbours = case
    p = probabilities(shape, 3, seed)
    edges = picture(p)
    label = xr.DataArray(np.random.default_rng(seed).integers(1, 4, shape), dims=p.dims[1:])
    found = potts_energy(
        label, p, smoothness=smoothness, neighbours=neighbours,
        edge_image=edges, edge_weight=weight, edge_variance=2.0,
    )  # fmt: skip
    wanted = defined_energy(
        label.values - 1, p.values, smoothness, neighbours, edges.values, weight, 2.0
    )
    # costs are whole numbers inside, weights of pairs even ones
    rounded = COST_STEP * (len(neighbour_pairs(shape, neighbours)) + label.size)
    assert found == pytest.approx(wanted, rel=1e-6, abs=rounded)


def test_energy__of_frames_is_the_sum_of_theirs() -> None:
    p = probabilities((3, 4, 5), 3)
    label = smooth(p, smoothness=0.3)
    parts = [potts_energy(label[k], p[:, k], smoothness=0.3) for k in range(3)]
    assert potts_energy(label, p, smoothness=0.3) == pytest.approx(sum(parts), abs=1e-9)


def test_energy__of_the_result_is_its_attribute() -> None:
    p = noisy((40, 50))
    options: dict[str, Any] = {"smoothness": 0.6, "edge_image": picture(p)}
    label = smooth(p, **options)
    assert label.attrs["energy"] == pytest.approx(potts_energy(label, p, **options), abs=1e-9)
    argmax = (p.argmax("phase") + 1).astype(np.uint8)
    assert label.attrs["energy"] < 0.8 * potts_energy(argmax, p, **options)


def test_energy__refuses_other_labels() -> None:
    p = probabilities((3, 4))
    label = smooth(p)
    with pytest.raises(EdsError, match="labels must be 1 to 2, found 0 to"):
        potts_energy(label - label, p)
    with pytest.raises(EdsError, match="expected labels"):
        potts_energy(label.astype(float), p)
    with pytest.raises(EdsError, match="the label image has 2 pixels along 'y'"):
        potts_energy(label[:2], p)
    with pytest.raises(EdsError, match="no dimensions but the spatial ones"):
        potts_energy(label.expand_dims("z"), p)


# -- two labels: the minimum ---------------------------------------------------------------------


@settings(max_examples=12)
@given(seed=st.integers(0, 999), smoothness=st.floats(0, 3), neighbours=st.sampled_from([4, 8]))
def test_smooth__two_phases_are_exact(seed: int, smoothness: float, neighbours: int) -> None:
    p = probabilities((3, 3), seed=seed)
    label = smooth(p, smoothness=smoothness, neighbours=neighbours)
    found = defined_energy(label.values.astype(int) - 1, p.values, smoothness, neighbours)
    assert found == pytest.approx(least_energy(p.values, smoothness, neighbours), abs=1e-3)
    assert label.attrs["energy"] == pytest.approx(found, abs=1e-3)


@settings(max_examples=8)
@given(seed=st.integers(0, 999), weight=st.floats(0, 3), neighbours=st.sampled_from([6, 26]))
def test_smooth__two_phases_with_edges_in_a_volume_are_exact(
    seed: int, weight: float, neighbours: int
) -> None:
    p = probabilities((2, 2, 2), seed=seed)
    edges = picture(p, seed=seed)
    label = smooth(
        p, smoothness=0.2, neighbours=neighbours,
        edge_image=edges, edge_weight=weight, edge_variance=0.5,
    )  # fmt: skip
    least = least_energy(p.values, 0.2, neighbours, edges.values, weight, 0.5)
    assert label.attrs["energy"] == pytest.approx(least, abs=1e-3)


# -- more labels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_smooth__three_phases_near_the_minimum(seed: int) -> None:
    p = probabilities((2, 3), n=3, seed=seed)
    found = smooth(p, smoothness=0.7).attrs["energy"]
    assert found <= 1.02 * least_energy(p.values, 0.7, 8)


def test_smooth__unused_third_phase_changes_nothing() -> None:
    p = probabilities((12, 12))
    with_none = xr.concat(
        [p, xr.zeros_like(p.isel(phase=[0])).assign_coords(phase=["none"])], "phase"
    )
    two, three = smooth(p), smooth(with_none)
    assert three.attrs["energy"] == pytest.approx(two.attrs["energy"], rel=2e-3)
    assert int(three.max()) == 2


def test_smooth__zero_smoothness_is_the_most_probable() -> None:
    p = probabilities((7, 9), n=3)
    p[:, 0, 0] = [0.3, 0.349999, 0.350001]  # nearer than costs are rounded
    label = smooth(p, smoothness=0)
    np.testing.assert_array_equal(label, p.argmax("phase") + 1)
    assert label.attrs["energy"] == pytest.approx(-np.log(p.values.max(0)).sum(), abs=1e-3)


@pytest.mark.parametrize("n", [2, 3])
def test_smooth__great_smoothness_leaves_one_phase(n: int) -> None:
    label = smooth(probabilities((9, 9), n), smoothness=999)
    assert len(np.unique(label)) == 1


@pytest.mark.parametrize("n", [2, 3])
def test_smooth__certain_pixels_are_harmless(n: int) -> None:
    p = xr.zeros_like(probabilities((6, 6), n))
    p[0] = 1.0
    p[:2, 3, 3] = [0.0, 1.0]  # one certain pixel among certain others: -ln 1e-6 = 13.8
    assert int((smooth(p, smoothness=1.0) == 2).sum()) == 1  # its border costs 4 + 4 / 1.41
    assert int((smooth(p, smoothness=2.5) == 2).sum()) == 0


# -- edges ---------------------------------------------------------------------------------------


def test_smooth__edge_image_draws_the_border() -> None:
    p = xr.full_like(probabilities((9, 12)), 0.5)  # only the first and last column know
    p[:, :, 0] = np.array([0.99, 0.01])[:, None]
    p[:, :, -1] = np.array([0.01, 0.99])[:, None]
    edges = xr.DataArray(np.tile(np.arange(12) > 6, (9, 1)).astype(float), dims=("y", "x"))
    label = smooth(p, smoothness=0.05, edge_image=edges, edge_weight=0.5)
    np.testing.assert_array_equal(label, 1 + edges)


def test_smooth__edge_image_without_edges_is_more_smoothness() -> None:
    p = noisy((20, 20))
    flat = xr.full_like(p[0], 3.0).drop_vars("phase")
    both = smooth(p, smoothness=0.4, edge_image=flat, edge_weight=0.5)
    np.testing.assert_array_equal(both, smooth(p, smoothness=0.9))
    assert both.attrs["energy"] == smooth(p, smoothness=0.9).attrs["energy"]


def test_smooth__edge_variance_is_the_mean_by_default() -> None:
    p = noisy((15, 16))
    edges = picture(p, 1)[0]
    e = edges.values
    apart = [(e[i] - e[j]) ** 2 for i, j, _ in neighbour_pairs(e.shape, 8)]
    label = smooth(p, edge_image=edges)
    step = history(label)[-1]
    assert step["edge_variance"] == pytest.approx(np.mean(apart), rel=1e-5)
    assert step["edge_image"] == "picture"
    np.testing.assert_array_equal(label, smooth(p, edge_image=edges, edge_variance=np.mean(apart)))


def test_composition__does_not_see_thickness() -> None:
    scores = xr.DataArray([[[3.0, 1.0], [30.0, 10.0], [0.0, 0.0]]], dims=("y", "x", "component"))
    found = edge_image(scores)
    np.testing.assert_allclose(found[0, 0], np.sqrt([0.75, 0.25]), rtol=1e-6)
    np.testing.assert_allclose(found[0, 1], found[0, 0], rtol=1e-6)
    np.testing.assert_allclose((found**2).sum("component"), 1, rtol=1e-6)
    assert found.dtype == np.float32


def test_composition__noise_is_the_same_for_all() -> None:
    counts = np.random.default_rng(0).poisson([400.0, 80.0, 20.0], (200, 100, 3))
    found = edge_image(xr.DataArray(counts, dims=("y", "x", "channel")))
    weight = 1 - np.array([0.8, 0.16, 0.04])  # shares add up to 1
    np.testing.assert_allclose(found.var(("y", "x")), weight / (4 * 500), rtol=0.15)


def test_composition__is_lazy_and_an_edge_image() -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    scores = xr.DataArray(
        da.ones((8, 9, 3), chunks=4).map_blocks(fail, meta=np.empty((0, 0, 0))),
        dims=("y", "x", "component"),
    )
    assert edge_image(scores).chunks is not None
    p = noisy((8, 9), 3)
    scores = xr.DataArray(np.moveaxis(p.values, 0, -1) * 50, dims=("y", "x", "component"))
    np.testing.assert_array_equal(
        smooth(p, edge_image=edge_image(scores.chunk(x=4))),
        smooth(p, edge_image=edge_image(scores)),
    )


def test_composition__needs_channels() -> None:
    with pytest.raises(EdsError, match="one dimension that is not spatial, found"):
        edge_image(xr.DataArray(np.ones((3, 3)), dims=("y", "x")))


# -- forms, chunks, tiles ------------------------------------------------------------------------


def test_smooth__form_of_the_result() -> None:
    p = probabilities((5, 6)).assign_coords(y=np.arange(5) * 2.0)
    label = smooth(p.transpose("y", "x", "phase"))
    assert label.dims == ("y", "x")
    assert label.dtype == np.uint8
    assert phase_names(label) == ["Brg", "Fp"]
    np.testing.assert_array_equal(label, smooth(p))
    np.testing.assert_array_equal(label.y, p.y)


@pytest.mark.parametrize("neighbours", [6, 26])
@pytest.mark.usefixtures("small_tiles")
def test_smooth__volume(neighbours: int) -> None:
    p = noisy((13, 30, 35), 3)
    options: dict[str, Any] = {"neighbours": neighbours, "smoothness": 0.4}
    whole, tiled = smooth(p, **options), smooth(p, memory_bytes=0, **options)
    assert whole.attrs["energy"] == pytest.approx(potts_energy(whole, p, **options), abs=1e-9)
    assert tiled.attrs["energy"] <= 1.002 * whole.attrs["energy"]
    turned = smooth(p.transpose("phase", "x", "frame", "y"), **options)  # no axis is special
    assert turned.attrs["energy"] == pytest.approx(whole.attrs["energy"], rel=1e-3)


def test_smooth__line_scan_and_frames() -> None:
    p = probabilities((3, 4, 30))
    label = smooth(p)
    np.testing.assert_array_equal(label.isel(frame=1), smooth(p.isel(frame=1)))
    line = p.isel(frame=0, y=0)
    np.testing.assert_array_equal(smooth(line), smooth(p.isel(frame=0, y=[0])).isel(y=0, drop=True))


# -- refusals ------------------------------------------------------------------------------------

EDGES = picture(probabilities((3, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothness": -1.0}, "smoothness must be 0 to 1000"),
        ({"smoothness": float("nan")}, "smoothness must be 0 to 1000"),
        ({"neighbours": 5}, "neighbours must be 4, 8, 6 or 26, found 5"),
        ({"neighbours": 6}, "6 neighbours need three spatial dimensions"),
        ({"edge_image": EDGES, "edge_weight": -1.0}, "edge_weight must be 0 to 1000"),
        (
            {"edge_image": EDGES, "smoothness": 600.0, "edge_weight": 600.0},
            "0 to 1000 less smoothness, found 600",
        ),
        ({"edge_variance": 0.0}, "edge_variance must be above 0"),
        ({"edge_image": np.ones((3, 3))}, "expected an edge image"),
        ({"edge_image": picture(probabilities((3, 4)))}, "the edge image has 4 pixels along 'x'"),
        ({"edge_image": EDGES.where(EDGES > 0)}, "holds NaN or infinite"),
        ({"edge_image": EDGES.expand_dims("z")}, "one dimension of channels"),
    ],
)
def test_smooth__refuses_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(EdsError, match=message):
        smooth(probabilities((3, 3)), **options)


@pytest.mark.parametrize("memory_bytes", [1e9, 0])
def test_smooth__refuses_what_is_no_probability(memory_bytes: float) -> None:
    p = probabilities((3, 3))
    with pytest.raises(EdsError, match="sum to 1 over 'phase', found sums of 2"):
        smooth(2 * p, memory_bytes=memory_bytes)
    with pytest.raises(EdsError, match="NaN"):
        smooth(p.where(p < 0.5), memory_bytes=memory_bytes)
    with pytest.raises(EdsError, match="with a dimension 'phase'"):
        smooth(p.rename(phase="class"))
    with pytest.raises(EdsError, match="expected 2 to 255 phases, found 1"):
        smooth(p.isel(phase=[0]))
