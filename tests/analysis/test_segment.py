"""Tests of eds_xr.segment."""

import sys

import numpy as np
import pytest
import xarray as xr

import eds_xr
from eds_xr import simulate
from eds_xr.analysis.phase_names import name_phases
from eds_xr.analysis.segment import segment
from eds_xr.provenance import history
from eds_xr.schema import EdsError, label_array, phase_names
from eds_xr.segmentation.classify.quality import uncertainty
from eds_xr.segmentation.features.stack import pixel_features

ENERGY_KEV = np.arange(0.3, 4.4, 0.02)


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests short."""
    monkeypatch.setattr("eds_xr.segmentation.classify.training.N_TREES", 40)


def spectrum(**weights: float) -> np.ndarray:
    lines = {"Mg": 1.254, "Al": 1.487, "Si": 1.740, "Ca": 3.691}
    peaks = [w * np.exp(-0.5 * ((ENERGY_KEV - lines[e]) / 0.04) ** 2) for e, w in weights.items()]
    total = np.sum(peaks, axis=0) + 0.01
    return total / total.sum()


LOADINGS = xr.DataArray(
    np.stack([spectrum(Mg=0.5, Si=1), spectrum(Mg=1, Al=0.01), spectrum(Si=1, Ca=0.9)]),
    dims=("component", "energy"),
    coords={"energy": ("energy", ENERGY_KEV, {"units": "keV"})},
)


def amounts(size: int = 64) -> xr.DataArray:
    """Matrix with a grain of each of two kinds along the beam."""
    y, x = np.mgrid[:size, :size]
    first = 0.7 * np.clip((14 - np.hypot(y - 20, x - 20)) / 3, 0, 1)
    second = 0.5 * np.clip((11 - np.hypot(y - 44, x - 46)) / 3, 0, 1)
    values = np.stack([1 - first - second, first, second], axis=-1)
    return xr.DataArray(values, dims=("y", "x", "component"))


def scores(counts: float = 150.0) -> xr.DataArray:
    values = np.random.default_rng(0).poisson(counts * amounts().values)
    return amounts().copy(data=values.astype(np.float32))


def nmf_result() -> xr.Dataset:
    return xr.Dataset({"scores": scores(), "loadings": LOADINGS})


@pytest.mark.parametrize("counts", [100.0, 400.0])
def test_segment__self_painted_matrix_is_pure(counts: float) -> None:
    result = segment(scores(counts))
    matrix = (result.label == 1).values
    pure = amounts().isel(component=0).values > 0.99
    assert pure[matrix].mean() > 0.95
    assert matrix[pure].mean() > 0.75  # smoothing widens the grains


def test_segment__form() -> None:
    result = segment(scores(), channels=nmf_result())
    assert result.label.dims == ("y", "x")
    assert result.label.dtype == np.uint8
    assert phase_names(result.label) == ["Si-Mg", "Mg", "Si-Ca"]
    assert result.probability.dims == ("phase", "y", "x")
    assert result.probability.dtype == np.float32
    assert result.attrs["out_of_bag_accuracy"] > 0.95
    assert history(result)[-1]["step"] == "segment"
    assert [s["step"] for s in history(result.label)][-2:] == ["predict", "graph_cut"]


def test_segment__same_for_any_chunks() -> None:
    eager = segment(scores())
    lazy = segment(scores().chunk(y=20, x=33, component=1))
    xr.testing.assert_equal(eager.compute(), lazy.compute())


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
    assert steps == ["simulate", "nmf", "pixel_features", "predict", "graph_cut"]


def test_segment__shares_do_not_change_with_the_thickness() -> None:
    thick = xr.DataArray(np.where(np.arange(64) < 32, 1.0, 3.0), dims="y")
    wedge = scores(300.0) * thick
    result = segment(wedge, channels=wedge.assign_coords(component=["m", "a", "b"]))
    even = segment(scores(300.0), channels=scores(300.0).assign_coords(component=["m", "a", "b"]))
    assert float((result.label == even.label).mean()) > 0.95


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
        label = segment(scores(40), smoothness=smoothness).label.astype(int)
        return int((label.diff("x") != 0).sum() + (label.diff("y") != 0).sum())

    assert borders(2.0) < borders(0.0)


def test_segment__of_a_spectrum_image_from_nothing() -> None:
    rng = np.random.default_rng(3)
    counts = rng.poisson(300 * amounts().values @ LOADINGS.values).astype(np.uint8)
    coords = {"energy": LOADINGS.energy}
    image = xr.DataArray(counts, dims=("y", "x", "energy"), coords=coords)
    result = segment(image.chunk(y=32), n_components=3)
    assert set(phase_names(result.label)) == {"Si-Mg", "Mg", "Si-Ca"}
    pure = amounts().isel(component=0).values > 0.99
    matrix = (result.label == 1 + phase_names(result.label).index("Si-Mg")).values
    assert pure[matrix].mean() > 0.95


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


def test_name_phases__strongest_lines_and_numbers() -> None:
    assert name_phases(LOADINGS) == ["Si-Mg", "Mg", "Si-Ca"]
    twice = LOADINGS.isel(component=[0, 0])
    assert name_phases(twice) == ["Si-Mg_1", "Si-Mg_2"]
    assert name_phases(LOADINGS, ["Fe"]) == ["phase_1", "phase_2", "phase_3"]


@pytest.mark.parametrize("chunks", [None, {"phase": 1, "y": 1}])
def test_uncertainty__is_the_lead_of_the_most_probable(chunks) -> None:
    values = np.array([[0.9, 0.4, 1 / 3], [0.1, 0.35, 1 / 3], [0.0, 0.25, 1 / 3]], np.float32)
    probability = xr.DataArray(values[:, None], dims=("phase", "y", "x"))
    probability = probability if chunks is None else probability.chunk(chunks)
    found = uncertainty(probability)
    assert found.dims == ("y", "x")
    np.testing.assert_allclose(found, [[0.2, 0.95, 1]], rtol=1e-6)


def test_segment__is_unsure_at_edges() -> None:
    result = segment(scores())
    edge = result.label.differentiate("x", edge_order=1) != 0
    assert float(result.uncertainty.where(edge).mean()) > 2 * float(result.uncertainty.mean())


def test_segment__leaves_out_a_phase_that_no_pixel_has_most_of(monkeypatch) -> None:
    before = segment(scores())
    predict = eds_xr.classify.predict

    def with_one_more(classifier, features):
        found = predict(classifier, features)
        none = (0 * found.isel(phase=[0])).assign_coords(phase=["faint"])
        return xr.concat([found.isel(phase=[0]), none, found.isel(phase=slice(1, None))], "phase")

    monkeypatch.setattr(sys.modules["eds_xr.analysis.segment"], "predict", with_one_more)
    after = segment(scores())
    assert phase_names(after.label) == phase_names(before.label)
    np.testing.assert_array_equal(after.label, before.label)
    xr.testing.assert_equal(after.probability, before.probability)
    assert after.label.eds.masks().any(("y", "x")).all()


def spectrum_image(values: np.ndarray, **attrs: object) -> xr.DataArray:
    coords = {"energy": LOADINGS.energy}
    return xr.DataArray(
        values.astype(np.uint16), dims=("y", "x", "energy"), coords=coords, attrs=attrs
    )


def homogeneous() -> xr.DataArray:
    spectra = np.broadcast_to(300 * LOADINGS.values[0], (24, 24, ENERGY_KEV.size))
    return spectrum_image(np.random.default_rng(0).poisson(spectra))


@pytest.mark.parametrize(
    ("n_components", "message"),
    [
        ("auto", "looks homogeneous: one component describes all its spectra.* paint them"),
        (1, "looks homogeneous: one component describes all its spectra"),
    ],
)
def test_segment__refuses_a_homogeneous_map(n_components, message: str) -> None:
    with pytest.raises(EdsError, match=message):
        segment(homogeneous(), n_components=n_components)


def test_segment__refuses_scores_that_are_alike_everywhere() -> None:
    with pytest.raises(EdsError, match="looks homogeneous: no pixels stand out .* paint them"):
        segment(xr.full_like(scores(), 50))


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
