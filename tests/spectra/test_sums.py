import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from support.images import small_image

from eds_xr import provenance
from eds_xr.schema import EdsError
from eds_xr.spectra.sums import sum_spectra


def random_masks(image, n, seed=0):
    values = np.random.default_rng(seed).random((n, *image.shape[:-1])) < 0.4
    dims = ("phase", *image.dims[:-1])
    return xr.DataArray(values, {"phase": [f"m{i}" for i in range(n)]}, dims)


def plain_sums(image, masks):
    """Return masked sums the slow way, in Python's integers of any size."""
    flat = np.asarray(image).reshape(-1, image.shape[-1]).astype(object)
    return np.array([flat[m.ravel()].sum(axis=0) for m in masks.values]).astype(np.int64)


def test_sum_spectra__equals_numpy(spectrum_image):
    masks = random_masks(spectrum_image, 5)
    spectra = sum_spectra(spectrum_image, masks).compute()
    np.testing.assert_array_equal(spectra.counts, plain_sums(spectrum_image, masks))
    np.testing.assert_array_equal(spectra.variance, spectra.counts)
    np.testing.assert_array_equal(spectra.n_pixels, masks.sum(("y", "x")))
    assert spectra.counts.dims == ("phase", "energy")
    assert spectra.counts.dtype == np.int64
    assert list(spectra.phase.values) == ["m0", "m1", "m2", "m3", "m4"]


@given(
    values=st.lists(st.integers(0, 2**16 - 1), min_size=24, max_size=24),
    bits=st.lists(st.integers(0, 2**12 - 1), min_size=1, max_size=9),
    rows=st.integers(1, 3),
)
def test_sum_spectra__any_masks_and_chunks(values, bits, rows):
    image = xr.DataArray(
        np.array(values, np.uint16).reshape(3, 4, 2),
        {"energy": [1.0, 2.0]},
        ("y", "x", "energy"),
    )
    masks = np.array([[b >> i & 1 for i in range(12)] for b in bits], bool).reshape(-1, 3, 4)
    masks = xr.DataArray(masks, dims=("phase", "y", "x"))
    found = sum_spectra(image.chunk(y=rows, x=3), masks)
    np.testing.assert_array_equal(found.counts, plain_sums(image, masks))


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [("u2", 2**16 - 1), (">u2", 2**16 - 1), ("u4", 2**32 - 1), ("u8", 2**45), ("i4", 2**31 - 1)],
)
def test_sum_spectra__exact_where_float32_rounds(dtype, largest):
    image = xr.DataArray(
        np.full((300, 300, 2), largest, dtype), {"energy": [1.0, 2.0]}, ("y", "x", "energy")
    )
    mask = xr.DataArray(np.ones((300, 300), bool), dims=("y", "x"))
    spectrum = sum_spectra(image.chunk(y=300), mask)
    assert spectrum.counts.values.tolist() == [90_000 * largest] * 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sum_spectra__of_floats(eager_image, dtype):
    masks = random_masks(eager_image, 2)
    found = sum_spectra(eager_image.astype(dtype) / 2, masks)
    np.testing.assert_allclose(found.counts, plain_sums(eager_image, masks) / 2)
    assert found.counts.dtype == np.float64


def test_sum_spectra__overlapping_masks_count_pixels_twice(eager_image):
    everything = xr.ones_like(eager_image.isel(energy=0, drop=True), bool)
    masks = xr.concat([everything, everything, ~everything], "phase")
    spectra = sum_spectra(eager_image, masks)
    total = eager_image.sum(("y", "x"), dtype=int).values
    np.testing.assert_array_equal(spectra.counts, [total, total, 0 * total])
    assert spectra.n_pixels.values.tolist() == [180, 180, 0]


def test_sum_spectra__line_scan_and_stack():
    image = small_image()
    for part in (image.isel(y=0, drop=True), image.expand_dims(frame=2)):
        masks = random_masks(part, 3)
        found = sum_spectra(part.chunk(x=4), masks)
        np.testing.assert_array_equal(found.counts, plain_sums(part, masks))


def test_sum_spectra__one_mask_has_no_phase_dimension(spectrum_image):
    masks = random_masks(spectrum_image, 2)
    spectrum = sum_spectra(spectrum_image, masks.isel(phase=1))
    assert spectrum.counts.dims == ("energy",)
    assert spectrum.phase.item() == "m1"
    xr.testing.assert_equal(
        spectrum.counts.compute(), sum_spectra(spectrum_image, masks).counts.isel(phase=1)
    )


def test_sum_spectra__transposed_and_lazy_masks(spectrum_image):
    masks = random_masks(spectrum_image, 3)
    expected = plain_sums(spectrum_image, masks)
    found = sum_spectra(spectrum_image, masks.transpose("x", "phase", "y").chunk(x=2))
    np.testing.assert_array_equal(found.counts, expected)


def test_sum_spectra__computes_nothing_until_asked():
    def refuse(block):
        raise AssertionError("computed")

    lazy = da.zeros((4, 4, 8), chunks=(2, 2, 8), dtype=np.uint8)
    values = lazy.map_blocks(refuse, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))
    image = xr.DataArray(values, {"energy": 0.1 * np.arange(8)}, ("y", "x", "energy"))
    spectra = sum_spectra(image, xr.DataArray(np.ones((4, 4), bool), dims=("y", "x")))
    with pytest.raises(AssertionError, match="computed"):
        spectra.compute()


def test_sum_spectra__keeps_instrument_and_history(eager_image):
    spectra = sum_spectra(eager_image.assign_attrs(units="counts"), random_masks(eager_image, 1))
    assert spectra.attrs["beam_energy_kev"] == 200
    assert "units" not in spectra.attrs
    assert spectra.energy.attrs["units"] == "keV"
    assert [s["step"] for s in provenance.history(spectra)] == ["sum_spectra"]


def test_sum_spectra__refuses_wrong_masks(eager_image):
    masks = random_masks(eager_image, 2)
    for wrong, message in [
        (masks.astype(int), "masks must be boolean, found int64"),
        (masks.isel(x=slice(10)), "the mask has 10 pixels along 'x', the spectrum image 15"),
        (masks.assign_coords(y=eager_image.y + 99), "the mask lies elsewhere along 'y'"),
        (masks.rename(phase="component"), "masks may add only a dimension 'phase'"),
        (masks.isel(y=0), "the mask has no dimension 'y'"),
        (masks.isel(phase=[]), "expected at least one mask"),
        (masks.values, "expected masks as a DataArray, found ndarray"),
    ]:
        with pytest.raises(EdsError, match=message):
            sum_spectra(eager_image, wrong)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "NaN or infinite"), (-1, "negative")])
def test_sum_spectra__refuses_what_cannot_be_counts(eager_image, value, message):
    image = eager_image.astype(float)
    image[3, 3, 3] = value
    nothing = xr.zeros_like(eager_image.isel(energy=0, drop=True), bool)
    spectra = sum_spectra(image, nothing)  # looked at even outside the mask
    with pytest.raises(EdsError, match=message):
        spectra.compute()


# -- subtraction ---------------------------------------------------------------------------------


# -- the scale from several lines ----------------------------------------------------------------
