"""Tests of eds_xr.features and of the kernels behind it, against scipy and brute force."""

from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.ndimage import gaussian_filter

from eds_xr.schema import EdsError
from eds_xr.segmentation.features.kinds import KINDS
from eds_xr.segmentation.features.stack import (
    ALL_KINDS,
    DEFAULT_KINDS,
    feature_names,
    groups,
    pixel_features,
)

OPTIONAL_KINDS = tuple(kind for kind in ALL_KINDS if kind not in DEFAULT_KINDS)


def score_maps(shape: tuple[int, int] = (45, 61), n: int = 2) -> xr.DataArray:
    values = np.random.default_rng(1).poisson(50, (*shape, n)).astype(np.float32)
    coords = {"y": 2.0 * np.arange(shape[0]), "component": ["Brg", "Fp", "Ca-Pv"][:n]}
    return xr.DataArray(values, dims=("y", "x", "component"), coords=coords, name="scores")


def never(block: np.ndarray) -> np.ndarray:
    raise AssertionError("computed before it was asked for")


def test_pixel_features__names_and_grid() -> None:
    features = pixel_features(score_maps(), scales=(1, 4), kinds=("gaussian", "hessian"))
    assert features.dims == ("feature", "y", "x")
    assert features.dtype == np.float32
    assert list(features.feature.values[:3]) == [
        "Brg:gaussian_1",
        "Brg:gaussian_4",
        "Brg:hessian_module_0",
    ]
    assert "Fp:hessian_eig1_4" in features.feature.values
    np.testing.assert_array_equal(features.y, score_maps().y)


def test_pixel_features__gaussian_has_wekas_width() -> None:
    found = pixel_features(score_maps(), scales=(4,), kinds=("gaussian",))
    expected = gaussian_filter(score_maps().sel(component="Fp").values, 0.4 * 4)
    np.testing.assert_allclose(found.sel(feature="Fp:gaussian_4"), expected, rtol=1e-5)


def test_pixel_features__paraboloid_has_its_curvature() -> None:
    y, x = np.mgrid[:31, :31] - 15.0
    image = xr.DataArray(y**2 - 2 * x**2, dims=("y", "x"), name="p")
    found = pixel_features(image, scales=(), kinds=("hessian", "sobel")).isel(y=15, x=15)
    # Sobel's kernel is 8 times the derivative, applied twice: second derivatives 2 and -4
    assert found.sel(feature="p:hessian_eig1_0") == pytest.approx(64 * 2)
    assert found.sel(feature="p:hessian_eig2_0") == pytest.approx(64 * -4)
    assert found.sel(feature="p:hessian_trace_0") == pytest.approx(64 * -2)
    assert found.sel(feature="p:sobel_0") == pytest.approx(0)


def test_pixel_features__difference_of_gaussians_is_one() -> None:
    found = pixel_features(
        score_maps(), scales=(1, 2, 8), kinds=("gaussian", "difference_of_gaussians")
    )
    difference = found.sel(feature="Fp:gaussian_8") - found.sel(feature="Fp:gaussian_2")
    np.testing.assert_allclose(found.sel(feature="Fp:dog_2_8"), difference, atol=1e-5)


def real_maps(shape: tuple[int, int] = (45, 61)) -> xr.DataArray:
    """Scores as they are: no whole numbers, few zeros, two channels of very different size."""
    rng = np.random.default_rng(2)
    values = gaussian_filter(rng.normal(size=(2, *shape)), (0, 1, 1)) + rng.normal(size=shape) / 5
    values *= np.array([1, 1e4])[:, None, None]
    return xr.DataArray(values, dims=("component", "y", "x"), coords={"component": ["Fp", "HAADF"]})


@pytest.mark.slow
@settings(max_examples=25)
@given(
    chunk_y=st.integers(1, 45),
    chunk_x=st.integers(1, 61),
    tile=st.integers(1, 70),
    scale=st.sampled_from([0.7, 1, 4, 8, 16]),
    real=st.booleans(),
)
def test_pixel_features__no_seams(
    chunk_y: int, chunk_x: int, tile: int, scale: float, real: bool
) -> None:
    maps = real_maps() if real else score_maps()
    whole = pixel_features(maps, scales=(2, scale), tile_pixels=100)
    tiled = pixel_features(maps.chunk(y=chunk_y, x=chunk_x), scales=(2, scale), tile_pixels=tile)
    np.testing.assert_array_equal(tiled, whole)


@pytest.mark.slow
@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("kind", OPTIONAL_KINDS)
def test_pixel_features__optional_kinds_have_no_seams(kind: str, real: bool) -> None:
    maps = real_maps((90, 132)) if real else score_maps((90, 132))
    whole = pixel_features(maps, scales=(1, 3), kinds=(kind,), tile_pixels=200).compute()
    tiled = pixel_features(maps.chunk(y=7, x=50), scales=(1, 3), kinds=(kind,), tile_pixels=30)
    assert len(tiled.chunksizes["x"]) > 1
    tiled = tiled.compute()
    for name in whole.feature.values:
        one = whole.sel(feature=name)
        np.testing.assert_allclose(
            tiled.sel(feature=name), one, rtol=1e-5, atol=2e-6 * float(abs(one).max())
        )


def test_pixel_features__tiles_are_used() -> None:
    features = pixel_features(score_maps(), scales=(1, 2), tile_pixels=20)
    assert features.chunksizes["y"] == (15, 15, 15)
    assert len(features.chunksizes["feature"]) == 1


@pytest.mark.parametrize("kinds", [DEFAULT_KINDS, OPTIONAL_KINDS])
def test_pixel_features__computes_nothing_until_asked(kinds: tuple[str, ...]) -> None:
    maps = score_maps().chunk(y=10)
    lazy = maps.copy(data=maps.data.map_blocks(never, dtype=np.float32, meta=maps.data._meta))
    features = pixel_features(lazy, kinds=kinds)
    with pytest.raises(AssertionError, match="before it was asked"):
        features.compute()


def test_pixel_features__line_scan_is_an_image_of_one_row() -> None:
    line = score_maps().isel(y=0, drop=True)
    row = score_maps().isel(y=[0])
    found = pixel_features(line, tile_pixels=30)
    assert found.dims == ("feature", "x")
    np.testing.assert_allclose(found, pixel_features(row).isel(y=0), rtol=1e-5, atol=1e-3)


def test_pixel_features__frames_one_by_one() -> None:
    frames = xr.concat([score_maps(), score_maps() * 2], "frame")
    found = pixel_features(frames, scales=(2,))
    np.testing.assert_allclose(
        found.isel(frame=1), pixel_features(score_maps() * 2, scales=(2,)), rtol=1e-6
    )


def test_pixel_features__only_chosen_filters_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def never_blurred(*_: object) -> np.ndarray:
        raise AssertionError("blurred")

    monkeypatch.setattr("eds_xr.segmentation.features.convolve.separable", never_blurred)
    found = pixel_features(score_maps(), kinds=("intensity",)).compute()
    assert found.sizes["feature"] == 2
    with pytest.raises(AssertionError, match="blurred"):
        pixel_features(score_maps(), kinds=("gaussian",)).compute()


def test_pixel_features__blurs_once_a_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    from eds_xr.segmentation.features import convolve

    blurs, plain = [], convolve.separable

    def counted(*arguments: np.ndarray) -> np.ndarray:
        blurs.append(arguments[1].size)
        return plain(*arguments)

    monkeypatch.setattr(convolve, "separable", counted)
    pixel_features(score_maps(n=1)).compute()
    assert sorted(blurs) == [5, 7, 13, 27, 53]


def test_pixel_features__by_name_are_the_same() -> None:
    maps = score_maps()
    every = pixel_features(maps, kinds=ALL_KINDS, scales=(1, 2, 2.5)).compute()
    chosen = ["Fp:hessian_eig2_2.5", "Brg:dog_1_2", "Fp:hessian_trace_0", "Brg:entropy_2_32"]
    chosen += ["Fp:gabor_min_2_1_90_3", "Fp:membrane_std", "Brg:structure_largest_2_3"]
    found = pixel_features(maps, names=chosen)
    assert list(found.feature.values) == chosen
    np.testing.assert_array_equal(found, every.sel(feature=chosen))


def test_pixel_features__integer_counts_are_taken_as_they_are() -> None:
    counts = score_maps().astype(np.uint8)
    found = pixel_features(counts)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, pixel_features(score_maps()))


def test_pixel_features__image_smaller_than_the_filters() -> None:
    found = pixel_features(score_maps((3, 2), n=1), kinds=ALL_KINDS).compute()
    assert np.isfinite(found).all()


def test_pixel_features__constant_image_has_no_structure() -> None:
    image = xr.DataArray(np.full((30, 30), 7.0), dims=("y", "x"), name="c")
    found = pixel_features(image, kinds=ALL_KINDS, scales=(1, 2)).compute()
    assert np.isfinite(found).all()
    for name in found.feature.values:
        kind = str(name).removeprefix("c:").split("_")[0]
        if kind in ("gaussian", "mean", "minimum", "median", "diffusion", "bilateral", "kuwahara"):
            np.testing.assert_allclose(found.sel(feature=name), 7, rtol=1e-5)
        if kind in ("sobel", "hessian", "dog", "variance", "lipschitz", "laplacian", "entropy"):
            np.testing.assert_allclose(found.sel(feature=name), 0, atol=1e-3)


def test_feature_names__as_many_as_weka_has() -> None:
    assert len(feature_names()) == 76
    assert len(set(feature_names(ALL_KINDS))) == len(feature_names(ALL_KINDS)) == 272


@pytest.mark.parametrize(
    ("kind", "count"),
    [("gaussian", 5), ("sobel", 6), ("hessian", 48), ("difference_of_gaussians", 10),
     ("membrane", 6), ("gabor", 44), ("bilateral", 4), ("derivatives", 20), ("entropy", 20),
     ("structure_tensor", 20), ("neighbours", 40)],
)  # fmt: skip
def test_feature_names__of_one_kind(kind: str, count: int) -> None:
    assert len(feature_names((kind,))) == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ("wavelet",)}, "a kind of feature must be one of 'intensity'"),
        ({"kinds": ()}, "no kinds of features chosen"),
        ({"kinds": ("sobel", "sobel")}, "must differ"),
        ({"scales": (0, 1)}, "scales must be above 0"),
        ({"scales": (1,), "kinds": ("difference_of_gaussians",)}, "at least two scales"),
        ({"tile_pixels": 0}, "tile_pixels must be 1 or more"),
        ({"names": ()}, "no names of features given"),
        ({"names": ("Fp:gaussian_1", "Fp:gaussian_1")}, "names of features must differ"),
        ({"names": ("Fp:wavelet_1",)}, "no feature 'Fp:wavelet_1' of channels Brg, Fp"),
        ({"names": ("gaussian_1",)}, "names are channel:feature"),
    ],
)
def test_pixel_features__refuses_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(EdsError, match=message):
        pixel_features(score_maps(), **options)


def test_pixel_features__refuses_a_dataset_and_a_spectrum_image() -> None:
    with pytest.raises(EdsError, match="take one variable out of a Dataset"):
        pixel_features(score_maps().to_dataset())  # type: ignore[arg-type]
    image = xr.DataArray(np.zeros((3, 3, 4)), dims=("y", "x", "energy"))
    with pytest.raises(EdsError, match="reduce energy first"):
        pixel_features(image)


def test_pixel_features__refuses_nan_when_computed() -> None:
    maps = score_maps()
    maps[3, 3, 0] = np.nan
    for kinds in (DEFAULT_KINDS, ("lipschitz",)):
        features = pixel_features(maps, kinds=kinds)
        with pytest.raises(EdsError, match="NaN or infinite values; use da.fillna"):
            features.compute()


def test_pixel_features__refuses_channels_of_one_name() -> None:
    maps = score_maps().assign_coords(component=["Fp", "Fp"])
    with pytest.raises(EdsError, match="must be unique"):
        pixel_features(maps)


def test_pixel_features__same_on_any_scheduler() -> None:
    features = pixel_features(score_maps(), tile_pixels=20)
    with dask.config.set(scheduler="synchronous"):
        alone = features.compute()
    np.testing.assert_array_equal(features.compute(), alone)


# -- each filter against another way to compute it ------------------------------------------------


def filtered(name: str, image: np.ndarray) -> np.ndarray:
    channel = xr.DataArray(image, dims=("y", "x"), name="c")
    return pixel_features(channel, names=[f"c:{name}"], tile_pixels=25).values[0]


def noise(shape: tuple[int, int] = (64, 71)) -> np.ndarray:
    smooth = gaussian_filter(np.random.default_rng(3).normal(size=shape), 2)
    return 100 * smooth + np.random.default_rng(4).normal(size=shape)


def edge(left: float, right: float) -> np.ndarray:
    step = np.where(np.arange(80) < 40, left, right)
    return step + np.random.default_rng(0).normal(size=(60, 80))


def disc(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(y**2 + x**2 <= radius**2 + 1)


@pytest.mark.parametrize("radius", [1, 2, 5])
@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(
    ("name", "filter_"),
    [
        ("minimum", ndimage.minimum_filter),
        ("maximum", ndimage.maximum_filter),
        ("median", ndimage.median_filter),
        ("mean", lambda i, footprint: ndimage.correlate(i, footprint / footprint.sum())),
        ("variance", lambda i, footprint: ndimage.generic_filter(i, np.var, footprint=footprint)),
    ],
)
def test_discs__are_scipys(
    name: str, filter_: Callable[..., np.ndarray], radius: int, rounded: bool
) -> None:
    image = np.round(noise() / 10) if rounded else noise()
    expected = filter_(image, footprint=disc(radius))
    np.testing.assert_allclose(filtered(f"{name}_{radius}", image), expected, rtol=2e-5, atol=2e-5)


def test_entropy__is_that_of_the_histogram_in_the_disc() -> None:
    image = noise((40, 41))
    grey = (image - image.min()) / np.ptp(image) * 255
    levels = (grey.astype(np.float32) / np.float32(8)).astype(int)

    def entropy(values: np.ndarray) -> float:
        p = np.bincount(values.astype(int)) / values.size
        return -float((p[p > 0] * np.log2(p[p > 0])).sum())

    expected = ndimage.generic_filter(levels.astype(float), entropy, footprint=disc(4))
    close = np.isclose(filtered("entropy_4_32", image), expected, atol=1e-4)
    assert close.mean() > 0.97  # a level on the edge of a bin may fall into either


@pytest.mark.parametrize("order", [2, 3, 5])
def test_derivatives__are_scipys(order: int) -> None:
    expected = gaussian_filter(noise(), 2.0, order=order, truncate=5)
    found = filtered(f"derivative_{order}_2", noise())
    np.testing.assert_allclose(found, expected, atol=1e-4 * abs(expected).max())


def test_laplacian__is_scipys() -> None:
    expected = ndimage.gaussian_laplace(noise(), 4.0, truncate=5)
    np.testing.assert_allclose(filtered("laplacian_4", noise()), expected, atol=1e-4)


def test_structure_tensor__has_its_eigenvalues() -> None:
    dy, dx = (gaussian_filter(noise(), 2, order=o, truncate=5) for o in ((1, 0), (0, 1)))
    tensor = [[gaussian_filter(a * b, 3) for b in (dy, dx)] for a in (dy, dx)]
    expected = np.linalg.eigvalsh(np.moveaxis(np.array(tensor), (0, 1), (-2, -1)))
    inner = (slice(16, -16), slice(16, -16))  # scipy mirrors derivatives, not the image
    for i, name in enumerate(("smallest", "largest")):
        found = filtered(f"structure_{name}_2_3", noise())
        np.testing.assert_allclose(found[inner], expected[..., i][inner], rtol=1e-3, atol=1e-3)


def test_hessian__measures_agree_with_linear_algebra() -> None:
    def sobel(image: np.ndarray, axis: int) -> np.ndarray:
        return ndimage.sobel(image, axis)

    blurred = gaussian_filter(noise(), 0.8)
    yy, xy, xx = (sobel(sobel(blurred, i), j)[4:-4, 4:-4] for i, j in ((0, 0), (0, 1), (1, 1)))
    matrix = np.moveaxis(np.array([[yy, xy], [xy, xx]]), (0, 1), (-2, -1))
    small, large = np.moveaxis(np.linalg.eigvalsh(matrix), -1, 0)
    angle = 0.5 * np.arctan2(2 * xy, yy - xx)
    expected = {
        "module": np.sqrt(yy**2 + xy**2 + xx**2), "trace": small + large,
        "determinant": small * large, "eig1": large, "eig2": small, "orientation": angle,
        "square_difference": (small + large) ** 2 * (large - small) ** 2,
        "normalized_difference": (large - small) ** 2,
    }  # fmt: skip
    for name, value in expected.items():
        found = filtered(f"hessian_{name}_2", noise())[4:-4, 4:-4]
        np.testing.assert_allclose(found, value, rtol=2e-3, atol=1e-4 * abs(value).max())


def test_membrane__finds_a_line_in_any_direction() -> None:
    y, x = np.mgrid[:61, :61] - 30.0
    for angle in np.deg2rad([0, 36, 90, 126]):
        line = (abs(x * np.cos(angle) + y * np.sin(angle) - 0.5) <= 1).astype(float)
        assert filtered("membrane_max", line)[30, 30] == pytest.approx(1, abs=0.15)
        assert filtered("membrane_min", line)[30, 30] < 0.25


def test_membrane__projections_are_numpys() -> None:
    from eds_xr.segmentation.features import line_filters

    planes = np.random.default_rng(0).normal(size=(10, 5, 37)).astype(np.float32)
    found = line_filters.projections(planes.copy())
    expected = [
        planes.mean(0), planes.max(0), planes.min(0), planes.sum(0), planes.std(0, ddof=1),
        np.median(planes, 0),
    ]  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["1_0.25_0_2", "2_2_90_3", "4_1_0_2"])
def test_gabor__is_the_extreme_over_directions(name: str) -> None:
    from eds_xr.segmentation.features import gabor

    sigma, gamma, degrees, frequency = (float(part) for part in name.split("_"))
    kernels = gabor.kernels(sigma, gamma, degrees, frequency)
    planes = np.stack([ndimage.correlate(noise(), kernel) for kernel in kernels])
    atol = 1e-3 * abs(planes).max()
    np.testing.assert_allclose(filtered(f"gabor_max_{name}", noise()), planes.max(0), atol=atol)
    np.testing.assert_allclose(filtered(f"gabor_min_{name}", noise()), planes.min(0), atol=atol)


@pytest.mark.parametrize("width", [50, 100])
def test_bilateral__is_near_the_exact_one(width: int) -> None:
    image = gaussian_filter(np.random.default_rng(0).normal(size=(48, 50)), 3) > 0
    image = image * 3.0 + 0.2 * np.random.default_rng(1).normal(size=image.shape)
    grey = (image - image.min()) / np.ptp(image) * 255
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(grey, 15, "symmetric"), (31, 31))
    y, x = np.mgrid[-15:16, -15:16]
    weight = np.exp(-((windows - grey[..., None, None]) ** 2) / (2 * width**2))
    weight *= np.exp(-(y**2 + x**2) / (2 * 5**2))
    expected = (weight * windows).sum((2, 3)) / weight.sum((2, 3))
    found = (filtered(f"bilateral_5_{width}", image) - image.min()) / np.ptp(image) * 255
    assert abs(found - expected).max() < 0.01 * 255


def test_lipschitz__is_the_height_below_the_cover() -> None:
    image = np.zeros((41, 43))
    image[20, 21] = 255.0
    y, x = np.mgrid[:41, :43]
    dy, dx = abs(y - 20), abs(x - 21)
    distance = np.maximum(dy, dx) + (np.sqrt(2) - 1) * np.minimum(dy, dx)
    cover = np.maximum(255 - 10 * distance, 0)
    np.testing.assert_allclose(filtered("lipschitz_10", image), image - cover, atol=1e-3)


@pytest.mark.parametrize("name", ["variance", "variance_by_mean", "variance_by_square"])
def test_kuwahara__smooths_but_keeps_an_edge(name: str) -> None:
    image = np.where(np.arange(80) < 40, 20.0, 80.0) + np.random.default_rng(0).normal(
        size=(60, 80)
    )
    found = filtered(f"kuwahara_{name}", image)
    assert np.minimum(abs(found - 20), abs(found - 80)).max() < 6  # nothing in between
    assert abs(found[:, [5, 30, 50, 75]] - [20, 20, 80, 80]).max() < 3
    assert found[:, 45:75].std() < 0.7 * image[:, 45:75].std()


def test_anisotropic_diffusion__smooths_but_keeps_an_edge() -> None:
    image = np.where(np.arange(80) < 40, 0.0, 200.0) + np.random.default_rng(0).normal(
        size=(60, 80)
    )
    found = filtered("diffusion_4_0.1", image)
    assert found[:, 40].mean() - found[:, 39].mean() > 150
    assert found[:, 50:70].std() < 0.7 * image[:, 50:70].std()


def test_neighbours__are_the_pixels_around() -> None:
    image = noise()
    image.flat[::7] += 1
    padded = np.pad(image, 4, mode="symmetric")
    for name, (i, j) in {"nw": (-4, -4), "e": (0, 4), "s": (4, 0)}.items():
        expected = padded[4 + i :, 4 + j :][: image.shape[0], : image.shape[1]]
        np.testing.assert_array_equal(filtered(f"neighbour_{name}_4", image), np.float32(expected))


def test_groups__every_kind_has_names_of_its_own() -> None:
    assert [kind.name for kind in KINDS.values()] == list(KINDS)
    for group in groups(ALL_KINDS, (1.0, 2.0)):
        assert group.names
        assert group.reach >= 0
