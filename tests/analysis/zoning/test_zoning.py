"""Zoning within phases: found where composition changes with position, not where chance does."""

import dask
import numpy as np
import pytest
import xarray as xr
from support.counted_reads import CountedReads
from support.independent.images import image_of_lengths
from support.independent.inclusions import field
from support.independent.layouts import gradient
from support.independent.materials import Material

import eds_xr
from eds_xr import EdsError
from eds_xr.schema import PHASE

ENDS = (
    Material("poor", "silicate", {"Mg": 1.9, "Fe": 0.1, "Si": 1, "O": 4}, 3.3),
    Material("rich", "silicate", {"Mg": 1.7, "Fe": 0.3, "Si": 1, "O": 4}, 3.4),
)
ELEMENTS = ["Mg", "Al", "Si", "Fe", "Cu"]
SHAPE = (96, 80)


def whole(image: xr.DataArray) -> xr.DataArray:
    """Return the mask of all pixels, as a phase."""
    return xr.ones_like(image.isel(energy=0, drop=True), dtype=bool).expand_dims(phase=["olivine"])


@pytest.fixture(scope="module")
def zoned() -> tuple[xr.DataArray, xr.Dataset]:
    """Olivine whose iron doubles from the top down, and what is found of it."""
    length = 80.0 * gradient(SHAPE, (0.0, 1.0), axis=0)
    image, _ = image_of_lengths(ENDS, length, 200.0, seed=1, drift=0.0)
    return image, eds_xr.zoning(image, image, masks=whole(image), elements=ELEMENTS)


def test_zoning__finds_the_gradient_with_its_direction(zoned):
    """Fe of the whole goes from 0.1 to 0.3: relative to the mean, by 1 over the field."""
    image, found = zoned
    iron = found.sel(phase="olivine", line="Fe_Ka")
    expected = 1 / float(np.ptp(image.y.values))
    error = float(iron.gradient_y_variance) ** 0.5
    assert abs(float(iron.gradient_y) - expected) < 4 * error + 0.1 * expected
    assert error < 0.1 * expected
    assert abs(float(iron.gradient_x)) < 4 * float(iron.gradient_x_variance) ** 0.5
    assert float(iron.direction) == pytest.approx(90, abs=10)
    assert float(iron.variation) == pytest.approx(1 / np.sqrt(12), rel=0.2)
    assert bool(iron.zoned)
    assert "olivine: Fe_Ka varies by" in iron.text.item()
    assert "rises" in iron.text.item()
    assert not bool(found.sel(phase="olivine", line="Cu_Ka").zoned)


@pytest.mark.slow
def test_zoning__of_phases_without__is_found_as_often_as_asked_for():
    """Of 8 images, each with several lines of three phases, where these lie nearly alone."""
    called = []
    for seed in range(8):
        image, _ = field((96, 96), seed=seed, composition=0.0, thickness=0.0, dose=60.0)
        factors = eds_xr.nmf(image, 3, seed=0)
        found = eds_xr.zoning(image, factors, elements=ELEMENTS, fdr=0.05)
        called.append(bool(found.zoned.any()))
    assert sum(called) <= 2, called


def test_zoning__inwards_from_another_phase():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    far = np.hypot(y - 48, x - 40)
    core = np.clip((30 - far) / 20, 0, 1)  # rich in the middle of a disc, poor at its rim
    length = 80.0 * np.stack([1 - core, core])
    image, _ = image_of_lengths(ENDS, length, 200.0, seed=2, drift=0.0)
    mask = whole(image) & xr.DataArray(far < 32, dims=("y", "x"))
    found = eds_xr.zoning(image, image, masks=mask, elements=ELEMENTS)
    iron = found.sel(phase="olivine", line="Fe_Ka")
    assert bool(iron.zoned)
    assert float(iron.inwards) > 5 * float(iron.inwards_variance) ** 0.5
    assert float(found.sel(phase="olivine", line="Mg_Ka").inwards) < 0


def test_zoning__shares_add_up_and_small_ones_have_no_number(zoned):
    found = zoned[1]
    assert float(found.share.sum()) == pytest.approx(1)
    aluminium = found.sel(phase="olivine", line="Al_Ka")
    assert np.isnan(aluminium.p_value)
    assert not bool(aluminium.zoned)
    assert aluminium.text.item() == ""


@pytest.mark.parametrize("chunks", [{"y": 17, "x": 40}, {"y": (50, 46), "x": 7}])
def test_zoning__does_not_depend_on_chunks(zoned, chunks):
    image, found = zoned
    other = eds_xr.zoning(image.chunk(chunks), image, masks=whole(image), elements=ELEMENTS)
    xr.testing.assert_allclose(other.drop_vars("text"), found.drop_vars("text"), rtol=1e-6)


def test_zoning__reads_the_image_twice(zoned):
    store = CountedReads(zoned[0].isel(y=slice(0, 80)), side=20)
    with dask.config.set(scheduler="threads", num_workers=2):
        eds_xr.zoning(store.image, store.image, masks=whole(store.image), elements=ELEMENTS)
    assert set(store.reads.values()) == {2}


def test_zoning__takes_the_pure_pixels_of_a_result(zoned):
    image, found = zoned
    mask = whole(image)
    segmentation = xr.Dataset({"pure": mask, "present": mask | True})
    tree = xr.DataTree.from_dict({"segmentation": segmentation})
    for result in (segmentation, tree):
        told = eds_xr.zoning(image, result, elements=ELEMENTS)
        xr.testing.assert_identical(told, found)
    assert told[PHASE].values.tolist() == ["olivine"]


def test_zoning__bad_input(zoned):
    image, _ = zoned
    with pytest.raises(EdsError, match="no pixels of phases"):
        image.eds.zoning(image, elements=ELEMENTS)
    with pytest.raises(EdsError, match="fdr must be"):
        image.eds.zoning(image, masks=whole(image), elements=ELEMENTS, fdr=2)
    with pytest.raises(EdsError, match="expected an image"):
        image.isel(y=0).eds.zoning(image, masks=whole(image).isel(y=0), elements=ELEMENTS)
    with pytest.raises(EdsError, match="no elements to fit"):
        image.eds.zoning(image, masks=whole(image))
