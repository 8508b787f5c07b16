"""Tests of eds_xr.features."""

from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from eds_xr.features import pixel_features
from eds_xr.schema import EdsError


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


@settings(max_examples=15, deadline=None)
@given(
    chunk_y=st.integers(1, 45),
    chunk_x=st.integers(1, 61),
    tile=st.integers(1, 70),
    scale=st.sampled_from([1, 8]),
)
def test_pixel_features__no_seams(chunk_y: int, chunk_x: int, tile: int, scale: int) -> None:
    maps = score_maps()
    whole = pixel_features(maps, scales=(2, scale), tile_pixels=100)
    tiled = pixel_features(maps.chunk(y=chunk_y, x=chunk_x), scales=(2, scale), tile_pixels=tile)
    np.testing.assert_allclose(tiled, whole, rtol=1e-5, atol=1e-3)


def test_pixel_features__tiles_are_used() -> None:
    features = pixel_features(score_maps(), scales=(1, 2), tile_pixels=20)
    assert features.chunksizes["y"] == (15, 15, 15)
    assert len(features.chunksizes["feature"]) == 1


def test_pixel_features__computes_nothing_until_asked() -> None:
    maps = score_maps().chunk(y=10)
    lazy = maps.copy(data=maps.data.map_blocks(never, dtype=np.float32, meta=maps.data._meta))
    features = pixel_features(lazy)
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
    def fail(*_: object) -> np.ndarray:
        raise AssertionError("blurred")

    monkeypatch.setattr("eds_xr.features._gaussian_block", fail)
    found = pixel_features(score_maps(), kinds=("intensity",)).compute()
    assert found.sizes["feature"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ("gabor",)}, "a kind of feature must be one of 'intensity'"),
        ({"kinds": ()}, "no kinds of features chosen"),
        ({"kinds": ("sobel", "sobel")}, "must differ"),
        ({"scales": (0, 1)}, "scales must be above 0"),
        ({"scales": (1,), "kinds": ("difference_of_gaussians",)}, "at least two scales"),
        ({"tile_pixels": 0}, "tile_pixels must be 1 or more"),
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
    features = pixel_features(maps)
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
