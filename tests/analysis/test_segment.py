"""Tests of eds_xr.segment."""

import dask
import numpy as np
import pytest
import xarray as xr
from distributed import Future

from eds_xr import simulate
from eds_xr.analysis.segment import phases_and_amounts, segment
from eds_xr.provenance import history
from eds_xr.schema import EdsError, label_array, phase_names
from eds_xr.segmentation.classify.quality import uncertainty
from eds_xr.segmentation.features.stack import pixel_features

ENERGY_KEV = np.arange(0.3, 4.4, 0.02)


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests short."""
    monkeypatch.setattr("eds_xr.segmentation.classify.training.N_TREES", 40)
    monkeypatch.setattr("eds_xr.segmentation.presence.forest.N_TREES", 30)
    monkeypatch.setattr("eds_xr.segmentation.presence.forest.LEARNT_PIXELS", 6000)


def spectrum(**weights: float) -> np.ndarray:
    lines = {"Mg": 1.254, "Al": 1.487, "Si": 1.740, "Ca": 3.691}
    peaks = [w * np.exp(-0.5 * ((ENERGY_KEV - lines[e]) / 0.04) ** 2) for e, w in weights.items()]
    total = np.sum(peaks, axis=0) + 0.01
    return total / total.sum()


ELEMENTS = ["Mg", "Al", "Si", "Ca"]
LOADINGS = xr.DataArray(
    np.stack([spectrum(Mg=0.5, Si=1), spectrum(Mg=1, Al=0.01), spectrum(Si=1, Ca=0.9)]),
    dims=("component", "energy"),
    coords={"energy": ("energy", ENERGY_KEV, {"units": "keV"})},
)


def amounts(size: int = 64) -> xr.DataArray:
    """Matrix with a grain of each of two kinds along the beam; in large images they overlap."""
    y, x = np.mgrid[:size, :size]
    first = 0.6 * np.clip((14 - np.hypot(y - 20, x - 20)) / 3, 0, 1)
    second = 0.4 * np.clip((11 - np.hypot(y - 44, x - 46)) / 3, 0, 1)
    if size > 64:
        second += 0.4 * np.clip((12 - np.hypot(y - 20, x - 40)) / 3, 0, 1)
        first += 0.6 * np.clip((9 - np.hypot(y - 76, x - 60)) / 3, 0, 1)
    values = np.stack([1 - first - second, first, second], axis=-1)
    return xr.DataArray(values, dims=("y", "x", "component"))


def spectrum_image(values: np.ndarray, **attrs: object) -> xr.DataArray:
    coords = {"energy": LOADINGS.energy}
    return xr.DataArray(
        values.astype(np.uint16), dims=("y", "x", "energy"), coords=coords, attrs=attrs
    )


def scores(counts: float = 150.0) -> xr.DataArray:
    values = np.random.default_rng(0).poisson(counts * amounts().values)
    return amounts().copy(data=values.astype(np.float32))


def with_spectra_of(drawn: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"scores": xr.zeros_like(amounts(len(drawn))), "loadings": LOADINGS})


def nmf_result() -> xr.Dataset:
    return xr.Dataset({"scores": scores(), "loadings": LOADINGS})


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / (found | true).sum())


@pytest.mark.parametrize("counts", [20.0, 100.0])
def test_segment__present_where_a_phase_gives_a_tenth(counts: float) -> None:
    """Drawn as counts, not as scores: an overlap, and no grain wider than it is."""
    true = amounts(96).values
    drawn = np.random.default_rng(2).poisson(counts * true @ LOADINGS.values)
    result = segment(spectrum_image(drawn), channels=with_spectra_of(drawn))
    least = 0.84 if counts == 20 else 0.93
    for i in (1, 2):
        present, pure = (result[v].isel(phase=i).values for v in ("present", "pure"))
        assert overlap(present, true[..., i] > 0.1) > least
        assert not pure.any()  # grains lie in the matrix everywhere
    pure = result.pure.isel(phase=0).values
    assert (true[..., 0] > 0.98)[pure].mean() > 0.99
    assert pure[true[..., 0] > 0.98].mean() > 0.4
    if counts == 20:
        return
    both = result.present.isel(phase=[1, 2]).all("phase").values
    assert overlap(both, (true[..., 1:] > 0.1).all(-1)) > 0.7


def test_segment__probability_is_calibrated() -> None:
    true = amounts(96).values
    drawn = np.random.default_rng(5).poisson(20 * true @ LOADINGS.values)
    result = segment(spectrum_image(drawn), channels=with_spectra_of(drawn))
    p = result.probability.isel(phase=[1, 2]).transpose("y", "x", "phase").values
    there = true[..., 1:] > 0.1
    for low, high, apart in ((0.0, 0.2, 0.02), (0.2, 0.8, 0.25), (0.8, 1.01, 0.03)):
        among = (p >= low) & (p < high)
        assert abs(there[among].mean() - p[among].mean()) < apart


def test_segment__a_grain_of_one_pixel_stays() -> None:
    true = np.zeros((48, 48, 3))
    true[..., 0] = 1
    true[10, 12], true[30:32, 20:22] = (0.2, 0, 0.8), (0.2, 0.8, 0)
    drawn = np.random.default_rng(0).poisson(150 * true @ LOADINGS.values)
    result = segment(spectrum_image(drawn), channels=with_spectra_of(drawn))
    np.testing.assert_array_equal(result.present.transpose("y", "x", "phase"), true > 0.1)


def test_segment__form() -> None:
    image = scores().assign_attrs(elements=ELEMENTS)
    result = segment(image, channels=nmf_result())
    assert result.label.dims == ("y", "x")
    assert result.label.dtype == np.uint8
    assert phase_names(result.label) == ["Si-Mg", "Mg", "Si-Ca"]
    assert result.probability.dims == ("phase", "y", "x")
    assert result.probability.dtype == np.float32
    assert result.present.dims == result.pure.dims == ("phase", "y", "x")
    assert result.present.dtype == result.pure.dtype == bool
    assert not {"flag_values", "flag_meanings"} & {*result.present.attrs, *result.pure.attrs}
    assert not (result.pure & ~result.present).any()
    assert (result.attrs["least_share"], result.attrs["pure_share"]) == (0.1, 0.02)
    assert min(result.attrs["n_painted"]) > 0
    assert result.attrs["phase_notes"] == []
    assert result.attrs["out_of_bag_accuracy"] > 0.95
    assert history(result)[-1]["step"] == "segment"
    assert [s["step"] for s in history(result.label)][-2:] == ["predict", "graph_cut"]


def test_segment__same_for_any_chunks() -> None:
    eager = segment(scores())
    lazy = segment(scores().chunk(y=20, x=33, component=1))
    xr.testing.assert_equal(eager.compute(), lazy.compute())


def _of_four_tiles() -> tuple[xr.DataArray, xr.Dataset]:
    values = np.tile(amounts(96).values, (2, 2, 1))[:160, :160]
    drawn = np.random.default_rng(2).poisson(60 * values @ LOADINGS.values)
    return spectrum_image(drawn).astype(np.uint8), with_spectra_of(drawn)


@pytest.mark.slow
def test_segment__on_a_cluster_is_as_here_and_stays_there(client, monkeypatch) -> None:
    """Also when it is called again: the fixture fails if the scheduler finds tasks at odds."""
    monkeypatch.setattr("eds_xr.segmentation.tiled_filters.TILE_PIXELS", 80)
    image, factors = _of_four_tiles()
    with dask.config.set(scheduler="threads"):
        here = segment(image.chunk(y=50, x=33), channels=factors).compute()
    kept = []
    for chunks in ({"y": 50, "x": 33}, {"y": 160, "x": 20}, {"y": 160, "x": 20}):
        found = segment(image.chunk(chunks), channels=factors)
        kept.append(found)
        for name, one in found.data_vars.items():
            assert one.chunks is not None, name
            assert set(map(type, one.__dask_graph__().values())) == {Future}, name
        xr.testing.assert_identical(found.compute(), here)


@pytest.mark.slow
def test_segment__painted_on_a_cluster_is_as_here_and_stays_there(client) -> None:
    image, factors = _of_four_tiles()
    values = np.zeros((160, 160), np.uint8)
    values[2:150:6, 58:62] = 1
    values[16:24, 16:24] = 2
    values[40:48, 42:50] = 3
    painted = label_array(values, image, ["matrix", "first", "second"])
    features = pixel_features(factors.scores + image.sum("energy"), kinds=("gaussian",))
    for given in ({"channels": factors}, {"features": features.chunk(y=70)}):
        with dask.config.set(scheduler="threads"):
            here = segment(image.chunk(y=50), painted, **given).compute()
        found = segment(image.chunk(y=50), painted, **given)
        assert all(one.chunks is not None for one in found.data_vars.values())
        xr.testing.assert_identical(found.compute(), here)


def test_segment__from_scribbles() -> None:
    values = np.zeros((64, 64), np.uint8)
    values[2:60:4, 58:62] = 1
    values[16:24, 16:24] = values[42:46, 43:49] = 2
    painted = label_array(values, scores(), ["matrix", "grain"])
    result = segment(scores(), painted)
    assert phase_names(result.label) == ["matrix", "grain"]
    truth = np.where(amounts().isel(component=0).values > 0.9, 1, 2)
    assert (result.label.values == truth).mean() > 0.95


def test_segment__labels_tell_the_whole_way() -> None:
    image = simulate.spectrum_image((32, 32, 512), 400.0)
    steps = [step["step"] for step in history(segment(image).label)]
    assert steps == [
        "simulate", "nmf", "merge_kinds", "pixel_features", "predict", "graph_cut",
    ]  # fmt: skip


def test_segment__shares_do_not_change_with_the_thickness() -> None:
    thick = xr.DataArray(np.where(np.arange(64) < 32, 1.0, 3.0), dims="y")
    wedge = scores(300.0) * thick
    result = segment(wedge, channels=wedge.assign_coords(component=["m", "a", "b"]))
    even = segment(scores(300.0), channels=scores(300.0).assign_coords(component=["m", "a", "b"]))
    assert float((result.present == even.present).mean()) > 0.98


def test_segment__from_features_needs_no_channels() -> None:
    features = pixel_features(scores(), kinds=("gaussian",))
    values = np.zeros((64, 64), np.uint8)
    values[2:6, 40:60] = 1
    values[16:24, 16:24] = 2
    painted = label_array(values, scores(), ["matrix", "grain"])
    image = xr.DataArray(np.zeros((64, 64, 5), np.uint8), dims=("y", "x", "energy"))
    result = segment(image, painted, features=features)
    assert int(result.label[20, 20]) == 2


def test_segment__smoothness_removes_specks() -> None:
    def borders(smoothness: float) -> int:
        present = segment(scores(10), smoothness=smoothness).present.astype(int)
        return int((present.diff("x") != 0).sum() + (present.diff("y") != 0).sum())

    assert borders(2.0) < borders(0.0)


def test_segment__of_a_spectrum_image_from_nothing() -> None:
    rng = np.random.default_rng(3)
    counts = rng.poisson(300 * amounts().values @ LOADINGS.values).astype(np.uint8)
    coords = {"energy": LOADINGS.energy}
    named = {"elements": ELEMENTS}
    image = xr.DataArray(counts, dims=("y", "x", "energy"), coords=coords, attrs=named)
    result = segment(image.chunk(y=32), n_components=3)
    assert set(phase_names(result.label)) == {"Si-Mg", "Mg", "Si-Ca"}
    pure = amounts().isel(component=0).values > 0.98
    matrix = result.pure.sel(phase="Si-Mg").values
    assert pure[matrix].mean() > 0.98


def test_segment__line_scan() -> None:
    values = np.random.default_rng(0).poisson(2000 * amounts().isel(y=20).values)
    line = amounts().isel(y=20).copy(data=values.astype(np.float32))
    label = segment(line).label
    assert label.dims == ("x",)
    assert int(label[20]) == 2
    assert int(label[55]) == 1


def test_segment__refuses_other_grids() -> None:
    with pytest.raises(EdsError, match="the channel image has 30 pixels along 'x'"):
        segment(scores(), channels=scores().isel(x=slice(30)))
    painted = label_array(np.zeros((64, 30), np.uint8), scores().isel(x=slice(30)), ["a", "b"])
    with pytest.raises(EdsError, match="the scribble image has 30 pixels"):
        segment(scores(), painted)
    with pytest.raises(EdsError, match="NMF result with 'scores'"):
        segment(scores(), channels=LOADINGS.to_dataset(name="loadings"))


@pytest.mark.parametrize("chunks", [None, {"phase": 1, "y": 1}])
def test_uncertainty__is_the_lead_of_the_most_probable(chunks) -> None:
    values = np.array([[0.9, 0.4, 1 / 3], [0.1, 0.35, 1 / 3], [0.0, 0.25, 1 / 3]], np.float32)
    probability = xr.DataArray(values[:, None], dims=("phase", "y", "x"))
    probability = probability if chunks is None else probability.chunk(chunks)
    found = uncertainty(probability)
    assert found.dims == ("y", "x")
    np.testing.assert_allclose(found, [[0.2, 0.95, 1]], rtol=1e-6)


def test_segment__is_unsure_at_edges() -> None:
    result = segment(scores(40)).compute()
    grain = result.present.isel(phase=1).astype(int)
    edge = grain.differentiate("x", edge_order=1) != 0
    assert float(result.uncertainty.where(edge).mean()) > 2 * float(result.uncertainty.mean())


def test_segment__leaves_out_a_phase_that_no_pixel_has() -> None:
    before = segment(scores())
    faint = scores().isel(component=[0]) * 0
    found = segment(xr.concat([scores(), faint], "component").assign_coords(component=list("abcd")))
    assert phase_names(found.label) == ["a", "b", "c"]
    assert found.attrs["phase_notes"] == ["d is nowhere at least 0.1 of the counts"]
    assert float((found.present.values == before.present.values).mean()) > 0.99
    assert found.present.any(("y", "x")).all()


def test_segment__takes_out_the_baseline_that_mixing_left() -> None:
    """A component that holds 0.3 of the matrix everywhere is not present everywhere."""
    mixed = scores(200).astype(float).copy()
    mixed[..., 1] += 0.3 * mixed[..., 0]
    mixed[..., 0] *= 0.7
    result = segment(mixed.assign_coords(component=list("abc")))
    assert result.attrs["phase_notes"][0].startswith("b held 0.4")
    true = amounts().values[..., 1] > 0.1
    assert overlap(result.present.sel(phase="b").values, true) > 0.9


def test_phases_and_amounts__without_the_baseline_that_mixing_left() -> None:
    mixed = scores(200).astype(float).copy()
    mixed[..., 1] += 0.3 * mixed[..., 0]
    mixed[..., 0] *= 0.7
    factors = mixed.assign_coords(component=list("abc")).rename("scores").to_dataset()
    choice = {"least_share": 0.1, "pure_share": 0.02, "smoothness": 1.0, "seed": 0}
    result, handed_on = phases_and_amounts(mixed, factors, **choice)
    xr.testing.assert_identical(result.present, segment(mixed, channels=factors).present)
    np.testing.assert_allclose(handed_on.sum("phase"), mixed.sum("component"), rtol=1e-5)
    absent = handed_on.sel(phase="b").where(amounts()[..., 1] == 0)
    assert float(mixed[..., 1].where(amounts()[..., 1] == 0).mean()) > 40
    assert abs(float(absent.mean())) < 2


def test_segment__pixels_without_counts_are_nothing() -> None:
    dead = scores()
    dead[30:33, 5] = 0
    result = segment(dead)
    assert (result.label == 0).sum() == 3
    assert not result.present[:, 30:33, 5].any()
    assert not result.probability[:, 30:33, 5].any()


def test_segment__a_painted_combination_is_both() -> None:
    values = np.zeros((96, 96), np.uint8)
    values[2:60:4, 70:76] = 1
    values[14:24, 12:20] = values[72:80, 56:64] = 2
    values[14:26, 45:48] = values[42:46, 43:49] = 3
    values[18:22, 30:33] = 4
    many = np.random.default_rng(0).poisson(300 * amounts(96).values).astype(np.float32)
    image = amounts(96).copy(data=many)
    painted = label_array(values, image, ["matrix", "matrix+a", "matrix+b", "matrix+a+b"])
    result = segment(image, painted)
    assert phase_names(result.label) == ["matrix", "a", "b"]
    assert bool(result.present.sel(phase="matrix").all())
    assert bool(result.present.sel(phase=["a", "b"])[:, 20, 31].all())
    assert not result.present.sel(phase="b")[76, 60]
    assert result.attrs["n_painted"][1] == 80 + 64 + 12


def test_segment__large_images_are_learnt_from_windows(monkeypatch) -> None:
    monkeypatch.setattr("eds_xr.segmentation.presence.sample.SAMPLE_PIXELS", 48 * 48)
    monkeypatch.setattr("eds_xr.segmentation.presence.sample.WINDOW", 24)
    wide = scores().assign_coords(component=list("abc"))
    result = segment(wide.chunk(y=17))
    for i in (1, 2):
        assert overlap(result.present[i].values, amounts().values[..., i] > 0.1) > 0.85
    xr.testing.assert_equal(result.compute(), segment(wide).compute())


def homogeneous() -> xr.DataArray:
    spectra = np.broadcast_to(300 * LOADINGS.values[0], (24, 24, ENERGY_KEV.size))
    return spectrum_image(np.random.default_rng(0).poisson(spectra))


def test_segment__one_phase_is_a_result() -> None:
    result = segment(homogeneous(), n_components=1).compute()
    assert result.present.all()
    assert result.pure.all()
    assert (result.label == 1).all()
    assert "one phase only" in result.attrs["phase_notes"][0]


def test_segment__scores_that_are_alike_everywhere_are_one_phase() -> None:
    result = segment(xr.full_like(scores(), 50))
    assert result.present.all()
    assert result.sizes["phase"] == 1
    assert "everywhere: taken out" in result.attrs["phase_notes"][0]


def test_segment__refuses_an_empty_map() -> None:
    with pytest.raises(EdsError, match="the spectrum image holds no counts"):
        segment(xr.zeros_like(homogeneous()))
    with pytest.raises(EdsError, match="scores must be counts"):
        segment(xr.zeros_like(scores()))


def test_segment__refuses_scribbles_of_one_phase() -> None:
    values = np.zeros((64, 64), np.uint8)
    with pytest.raises(EdsError, match="nothing is painted in the scribbles"):
        segment(scores(), label_array(values, scores(), ["matrix", "grain"]))
    values[2:6, 40:60] = 1
    with pytest.raises(EdsError, match="only matrix is painted in the scribbles.* two phases"):
        segment(scores(), label_array(values, scores(), ["matrix", "grain"]))


def test_segment__refuses_what_is_no_image_and_what_are_no_scores() -> None:
    with pytest.raises(EdsError, match="expected a spectrum image .*, found ndarray"):
        segment(scores().values)
    with pytest.raises(EdsError, match="scores along 'component', found .*'channel'.* paint"):
        segment(scores().rename(component="channel"))


def test_segment__without_a_line_in_range_numbers_the_phases() -> None:
    counts = np.random.default_rng(3).poisson(300 * amounts().values @ LOADINGS.values)
    result = segment(spectrum_image(counts, elements=["H", "He"]), n_components=3)
    assert set(phase_names(result.label)) == {"phase_1", "phase_2", "phase_3"}


def test_masks__of_counts_are_refused() -> None:
    with pytest.raises(EdsError, match="found a spectrum image; label its pixels first"):
        homogeneous().eds.masks()
    with pytest.raises(EdsError, match="found integers without; name labels with"):
        homogeneous().sum("energy").eds.masks()


@pytest.mark.parametrize("dose", [20.0, 100.0])
def test_segment__few_strokes_are_as_good_as_none(dose: float) -> None:
    """Four short strokes in each class; components are matched to phases by these alone."""
    truth = amounts(96)
    image = truth.copy(data=np.random.default_rng(1).poisson(dose * truth.values))
    image = image.astype(np.float32)
    share = (truth / truth.sum("component")).transpose("component", ...).values
    there = share >= 0.1
    values = np.zeros((96, 96), np.uint8)
    for y in (4, 34, 60, 90):
        values[y, 70:76] = 1
    for y, x in ((12, 14), (17, 14), (72, 56), (78, 57)):
        values[y, x : x + 6] = 2
    for y, x in ((16, 44), (21, 44), (42, 43), (46, 44)):
        values[y, x : x + 6] = 3
    painted = label_array(values, image, ["rock", "rock+ore", "rock+gem"])
    held = segment(image, painted).present
    assert held.phase.values.tolist() == ["rock", "ore", "gem"]
    plain = segment(image.assign_coords(component=["rock", "ore", "gem"])).present

    def overlap(found: xr.DataArray, i: int) -> float:
        both, either = (f(found.values[i], there[i]).sum() for f in (np.logical_and, np.logical_or))
        return float(both / either)

    for i in (1, 2):
        assert overlap(held, i) > overlap(plain, i) - 0.02


def test_segment__a_stroke_corrects_what_was_never_painted() -> None:
    """Ore is taken for gem until somebody paints it."""
    truth = amounts(96)
    image = truth.copy(data=np.random.default_rng(2).poisson(100 * truth.values))
    image = image.astype(np.float32)
    values = np.zeros((96, 96), np.uint8)
    values[60:64, 5:12] = 1
    values[40:48, 44:48] = 2
    before = segment(image, label_array(values, image, ["rock", "rock+gem"]))
    assert before.present.phase.values.tolist() == ["rock", "gem"]
    values[14:22, 14:20] = 3
    after = segment(image, label_array(values, image, ["rock", "rock+gem", "rock+ore"]))
    core = after.present.sel(phase="ore")[12:28, 12:24]
    assert float(core.mean()) > 0.98
    assert not after.present.sel(phase="gem")[14:26, 10:20].any()


def test_segment__phases_that_components_do_not_tell_are_learnt_from_strokes() -> None:
    """Coarse and fine-grained rock of one composition differ in their surroundings only."""
    random = np.random.default_rng(3)
    thick = np.where(np.arange(64) < 32, 400.0, 40.0)[:, None] * np.ones((64, 64))
    counts = random.poisson(thick[..., None] * [0.6, 0.4]).astype(np.float32)
    image = xr.DataArray(counts, dims=("y", "x", "component"))
    values = np.zeros((64, 64), np.uint8)
    values[10, 5:50], values[50, 5:50] = 1, 2
    found = segment(image, label_array(values, image, ["thick", "thin"]))
    assert float(found.present.sel(phase="thick")[:31].mean()) > 0.98
    assert float(found.present.sel(phase="thin")[33:].mean()) > 0.98
