"""Tests of eds_xr.graph_cut."""

import itertools
from typing import Any

import dask
import dask.array as da
import maxflow
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from maxflow.fastmin import aexpansion_grid, aexpansion_grid_step

from eds_xr.provenance import history
from eds_xr.schema import EdsError, phase_names
from eds_xr.segmentation.graph_cut import expansion, tiles
from eds_xr.segmentation.graph_cut.potts import edge_image, potts_energy, smooth

PHASES = ["Brg", "Fp", "Ca-Pv", "metal"]
REACH = {4: 1.0, 8: 1.5, 6: 1.0, 26: 1.8}  # distance of the farthest neighbour


def probabilities(shape: tuple[int, ...], n: int = 2, seed: int = 0) -> xr.DataArray:
    values = np.random.default_rng(seed).dirichlet(np.full(n, 0.5), shape)
    dims = ("phase", *("frame", "y", "x")[-len(shape) :])
    return xr.DataArray(np.moveaxis(values, -1, 0), {"phase": PHASES[:n]}, dims)


def noisy(shape: tuple[int, ...], n: int = 4, seed: int = 0) -> xr.DataArray:
    """Return probabilities of blobs under noise: the cut has much to do."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    blobs = np.stack([gaussian_filter(rng.normal(size=shape), 4) for _ in range(n)])
    found = blobs.argmax(0) == np.arange(n).reshape(-1, *(1,) * len(shape))
    p = np.exp(1.5 * found + rng.normal(size=blobs.shape))
    return probabilities(shape, n).copy(data=p / p.sum(0))


def picture(like: xr.DataArray, channels: int = 2, seed: int = 5) -> xr.DataArray:
    shape = (channels, *like.shape[1:])
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return xr.DataArray(values, dims=("channel", *like.dims[1:]), name="picture")


def neighbour_pairs(shape: tuple[int, ...], neighbours: int) -> list[tuple[Any, Any, float]]:
    """Return all pairs of neighbours and their distances, by comparing all pixels."""
    every = itertools.combinations(list(np.ndindex(shape)), 2)
    apart = [(i, j, float(np.hypot.reduce(np.subtract(i, j)))) for i, j in every]
    return [pair for pair in apart if pair[2] <= REACH[neighbours]]


def defined_energy(
    label: np.ndarray, p: np.ndarray, smoothness: float, neighbours: int,
    edges: np.ndarray | None = None, weight: float = 0.0, variance: float = 1.0,
) -> float:  # fmt: skip
    """E by its definition, pixel by pixel; labels from 0."""
    total = 0.0
    for i, j, distance in neighbour_pairs(label.shape, neighbours):
        if label[i] != label[j]:
            total += smoothness / distance
            if edges is not None:
                apart = sum((e[i] - e[j]) ** 2 for e in edges)
                total += weight * np.exp(-apart / (2 * variance)) / distance
    return total - sum(np.log(max(p[(label[i], *i)], 1e-6)) for i in np.ndindex(label.shape))


def least_energy(p: np.ndarray, *args: Any) -> float:
    shape = p.shape[1:]
    labelings = itertools.product(range(p.shape[0]), repeat=int(np.prod(shape)))
    return min(defined_energy(np.reshape(c, shape), p, *args) for c in labelings)


@pytest.fixture
def narrow_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "BAND_PIXELS", 60)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "PLANE_TILE", (1, 32, 32))
    monkeypatch.setattr(tiles, "PLANE_HALO", (0, 12, 12))
    monkeypatch.setattr(tiles, "VOLUME_TILE", (8, 16, 16))
    monkeypatch.setattr(tiles, "VOLUME_HALO", (3, 6, 6))


# -- neighbours and energy -----------------------------------------------------------------------


@pytest.mark.parametrize("neighbours", [4, 8, 6, 26])
@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 3), (1, 1, 6), (2, 5, 1), (1, 1, 1)])
def test_neighbours__each_pair_once_on_all_axes(shape: Any, neighbours: int) -> None:
    pairs = expansion.uniform_pairs(shape, neighbours, 1.0)
    found = []
    for i in np.ndindex(shape):
        for step in pairs.steps:
            j = tuple(int(a + b) for a, b in zip(i, step, strict=True))
            if all(0 <= a < n for a, n in zip(j, shape, strict=True)):
                found.append((*sorted([i, j]), float(np.hypot.reduce(step))))
    wanted = neighbour_pairs(shape, neighbours)
    if neighbours in (4, 8):
        wanted = [pair for pair in wanted if pair[0][0] == pair[1][0]]
    assert sorted(found) == sorted(wanted)


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
    assert found == pytest.approx(wanted, rel=1e-5, abs=1e-3)  # costs are whole numbers inside


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


@pytest.mark.usefixtures("small_tiles")
def test_energy__does_not_depend_on_tiles_and_chunks() -> None:
    p = noisy((70, 65))
    label = (p.argmax("phase") + 1).astype(np.uint8)
    apart = defined_energy(label.values[:8].astype(int) - 1, p.values[:, :8], 1.0, 8)
    assert potts_energy(label[:8], p[:, :8]) == pytest.approx(apart, abs=1e-2)
    assert potts_energy(label, p) == potts_energy(label.chunk(x=9), p.chunk(y=17, phase=1))


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


def minimum_by_pymaxflow(costs: np.ndarray, pairs: expansion.Pairs) -> int:
    """Return the least energy of two labels, from PyMaxflow's minimum cut."""
    nodes = np.arange(costs[0].size).reshape(pairs.shape)
    graph = maxflow.GraphInt()
    graph.add_grid_nodes(costs[0].size)
    for k, step in enumerate(pairs.steps):
        here, there = expansion._slices(step)
        first = nodes[here].ravel()
        weight = pairs.weights[first if len(pairs.weights) > 1 else np.zeros_like(first), k]
        graph.add_edges(first, nodes[there].ravel(), weight, weight)
    graph.add_grid_tedges(nodes.ravel(), costs[1].ravel(), costs[0].ravel())
    return int(graph.maxflow())


@pytest.mark.usefixtures("narrow_bands")
@settings(max_examples=25)
@given(
    seed=st.integers(0, 9999),
    shape=st.sampled_from([(1, 30, 20), (1, 65, 9), (6, 7, 8), (1, 1, 400), (1, 400, 1)]),
    neighbours=st.sampled_from([4, 8, 6, 26]),
    scale=st.sampled_from([1, 30, 10_000]),
    varied=st.booleans(),
)
def test_minimise__two_labels_equal_another_solver(
    seed: int, shape: Any, neighbours: int, scale: int, varied: bool
) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, scale + 1, (2, *shape)).astype(np.int32)
    pairs = expansion.uniform_pairs(shape, neighbours, 0.0)
    number = len(costs[0].ravel()) if varied else 1
    weights = 2 * rng.integers(0, scale // 4 + 2, (number, len(pairs.steps)))
    pairs = pairs._replace(weights=weights.astype(np.int32))
    label = expansion.minimise(costs, pairs)
    found = expansion.energy_steps(costs, pairs, label, [slice(None)] * 3)
    assert found == minimum_by_pymaxflow(costs, pairs)


def test_minimise__bands_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = tiles._costs_block(noisy((60, 47)).values[:, None])
    pairs = expansion.uniform_pairs((1, 60, 47), 8, 0.8)
    found = []
    for pixels in (10**6, 1000, 200, 47):
        monkeypatch.setattr(expansion, "BAND_PIXELS", pixels)
        found += [expansion.minimise(costs, pairs), expansion.minimise(costs, pairs, None, map)]
    for label in found[1:]:
        np.testing.assert_array_equal(label, found[0])


# -- more labels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_smooth__three_phases_near_the_minimum(seed: int) -> None:
    p = probabilities((2, 3), n=3, seed=seed)
    found = smooth(p, smoothness=0.7).attrs["energy"]
    assert found <= 1.02 * least_energy(p.values, 0.7, 8)


@pytest.mark.parametrize("smoothness", [0.3, 1.0, 2.0])
@pytest.mark.usefixtures("narrow_bands")
def test_smooth__no_worse_than_another_expansion(smoothness: float) -> None:
    p = noisy((60, 70))
    unary = np.ascontiguousarray(np.moveaxis(-np.log(p.values), 0, -1))
    other = aexpansion_grid(unary, smoothness * (1 - np.eye(4)))
    other = xr.DataArray(other.astype(np.uint8) + np.uint8(1), dims=("y", "x"))
    options: dict[str, Any] = {"smoothness": smoothness, "neighbours": 4}
    assert smooth(p, **options).attrs["energy"] <= 1.001 * potts_energy(other, p, **options)


def test_smooth__no_expansion_lowers_the_energy() -> None:
    p = noisy((40, 40))
    label = smooth(p, neighbours=4)
    unary = np.ascontiguousarray(np.moveaxis(-np.log(p.values), 0, -1))
    for alpha in range(4):
        changed = label.values.astype(np.int8) - np.int8(1)
        found, _ = aexpansion_grid_step(alpha, unary, 1 - np.eye(4), changed)
        assert found >= label.attrs["energy"] - 0.02  # 1600 costs rounded to 2e-5


def test_minimise__holding_settled_blocks_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = tiles._costs_block(noisy((120, 130)).values[:, None])
    pairs = expansion.uniform_pairs((1, 120, 130), 8, 1.0)
    held = expansion.minimise(costs, pairs)
    monkeypatch.setattr(expansion, "_with_neighbours", np.ones_like)
    full = expansion.minimise(costs, pairs)
    least, all_free = (
        expansion.energy_steps(costs, pairs, label, [slice(None)] * 3) for label in (held, full)
    )
    assert least <= 1.00001 * all_free


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


@pytest.mark.parametrize("memory_bytes", [1e9, 0])
@pytest.mark.usefixtures("small_tiles")
def test_smooth__depends_on_neither_chunks_nor_workers(memory_bytes: float) -> None:
    p = noisy((70, 45), 3)
    edges = picture(p)
    wanted = smooth(p, edge_image=edges, memory_bytes=memory_bytes)
    for chunks, workers in (({"y": 4, "x": 5}, 1), ({"phase": 1, "y": 33}, 3)):
        with dask.config.set(num_workers=workers):
            found = smooth(p.chunk(chunks), edge_image=edges.chunk(x=7), memory_bytes=memory_bytes)
        np.testing.assert_array_equal(found, wanted)
        assert found.attrs == wanted.attrs


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.usefixtures("small_tiles")
def test_smooth__tiles_are_near_the_whole(n: int) -> None:
    p = noisy((150, 131), n)
    whole, tiled = smooth(p), smooth(p, memory_bytes=0)
    assert tiled.attrs["energy"] == pytest.approx(potts_energy(tiled, p), abs=1e-9)
    assert tiled.attrs["energy"] <= 1.001 * whole.attrs["energy"]
    if n == 2:
        assert tiled.attrs["energy"] >= whole.attrs["energy"]


@pytest.mark.usefixtures("small_tiles")
def test_smooth__repair_of_seams_lowers_the_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "PLANE_HALO", (0, 0, 0))
    p = noisy((100, 100))
    model = tiles.PottsModel(1.0, 8)
    image = da.from_array(p.values[:, None])
    repaired, least = tiles.label_tiled(image, None, model)
    apart = np.empty_like(repaired)
    for box in tiles._boxes(image.shape[1:], model.tile, 0):
        apart[box] = tiles._label_block(
            p.values[:, None][(slice(None), *box)], None, model, (slice(None),) * 3
        )
    assert least < tiles.energy_of(apart, image, None, model)
    assert least == pytest.approx(tiles.energy_of(repaired, image, None, model), abs=1e-9)


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
