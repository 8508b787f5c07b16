import numpy as np
import pytest
import xarray as xr

from eds_xr import axes, schema
from eds_xr.schema import EdsError


def image_with_energy(energy):
    energy = np.asarray(energy, float)
    values = np.zeros((2, 2, energy.size), np.uint8)
    return xr.DataArray(values, {"energy": energy}, ("y", "x", "energy"))


def test_spatial_dims__are_what_is_left(eager_image):
    assert schema.spatial_dims(eager_image) == ("y", "x")
    assert schema.spatial_dims(eager_image.expand_dims(["frame", "phase"])) == ("frame", "y", "x")
    assert schema.spatial_dims(eager_image.isel(y=0, x=0)) == ()


def test_energy_step__of_one_and_many_channels(eager_image):
    assert axes.energy_step(eager_image) == pytest.approx(0.1)
    assert axes.energy_step(eager_image.isel(energy=[3])) == 0


def test_check_spectrum_image__accepts(spectrum_image):
    schema.check_spectrum_image(spectrum_image)
    schema.check_spectrum_image(spectrum_image.isel(y=0))
    schema.check_spectrum_image(spectrum_image.astype(float))


def test_check_spectrum_image__says_what_is_wrong(eager_image):
    for wrong, message in [
        (eager_image.values, "expected a spectrum image .xarray.DataArray., found ndarray"),
        (eager_image.to_dataset(), "found Dataset"),
        (eager_image.rename(energy="Energy"), "no dimension 'energy', found .'y', 'x', 'Energy'."),
        (eager_image.drop_vars("energy"), "has no coordinate; add the calibrated channel centres"),
        (eager_image.transpose("energy", "y", "x"), "use da.transpose"),
        (eager_image.isel(y=0, x=0), "at least one spatial dimension, found none"),
        (eager_image > 0, "expected counts .unsigned integers., found dtype bool"),
        (eager_image.isel(x=[]), "the spectrum image is empty: {'y': 12, 'x': 0, 'energy': 64}"),
        (eager_image.chunk(energy=16), r"energy has 4 chunks, expected 1; use da.chunk\(energy=-1"),
    ]:
        with pytest.raises(EdsError, match=message):
            schema.check_spectrum_image(wrong)


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        ([2.0, 1.0], "must rise and be finite"),
        ([1.0, 1.0], "must rise and be finite"),
        ([1.0, np.nan], "must rise and be finite"),
        ([1.0, 2.0, 4.0], "must be linear, found channel widths of 1 to 2"),
    ],
)
def test_check_energy__says_what_is_wrong(energy, message):
    with pytest.raises(EdsError, match=message):
        schema.check_energy(image_with_energy(energy))


def test_check_energy__of_one_channel():
    schema.check_energy(image_with_energy([1.0]))


def test_check_energy_in_kev__looks_at_units(eager_image):
    schema.check_energy_in_kev(eager_image)
    eager_image.energy.attrs["units"] = "eV"
    with pytest.raises(EdsError, match="keV, found 'eV'"):
        schema.check_energy_in_kev(eager_image)


@pytest.mark.parametrize("dtype", ["u1", "u8", "i4", "f4", "f8"])
def test_check_counts_block__accepts_counts(dtype):
    schema.check_counts_block(np.arange(6).astype(dtype))
    schema.check_counts_block(np.empty(0, dtype))


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN or inf"), (np.inf, "NaN or inf"), (-2, r"down to -2")]
)
def test_check_counts_block__says_what_is_wrong(value, message):
    with pytest.raises(EdsError, match=message):
        schema.check_counts_block(np.array([1.0, value, 3.0]))


def test_check_same_grid__allows_a_thousandth_of_a_pixel(eager_image):
    mask = eager_image.isel(energy=0, drop=True)
    schema.check_same_grid(eager_image, mask.assign_coords(x=mask.x + 1e-4))
    schema.check_same_grid(eager_image, mask.drop_vars("x"))
    with pytest.raises(EdsError, match="the map lies elsewhere along 'x': it starts at 0.75"):
        schema.check_same_grid(eager_image, mask.assign_coords(x=mask.x + 0.75), "the map")


def test_check_spectra__says_what_is_wrong(eager_image):
    data = xr.Dataset({"counts": eager_image.isel(y=0, x=0, drop=True)})
    with pytest.raises(EdsError, match=r"the spectra lack \['variance'\]"):
        schema.check_spectra(data)
    with pytest.raises(EdsError, match="found DataArray; make them with"):
        schema.check_spectra(eager_image)
    schema.check_spectra(data.assign(variance=data.counts))


def test_check_one_of__names_the_choice():
    schema.check_one_of("a", ["a", "b"], "loss")
    with pytest.raises(EdsError, match="loss must be one of 'a', 'b', found 'c'"):
        schema.check_one_of("c", ("a", "b"), "loss")


def test_label_array__carries_cf_flags(eager_image):
    values = np.zeros((12, 15), np.uint8)
    label = schema.label_array(values, eager_image, ["Brg", "Ca Pv"], ["red"])
    assert label.attrs["flag_meanings"] == "none Brg Ca_Pv"
    assert label.attrs["flag_values"] == [0, 1, 2]
    assert schema.phase_names(label) == ["Brg", "Ca_Pv"]
    assert schema.phase_colors(label) == ["red", "red"]
    xr.testing.assert_identical(label.x, eager_image.x)


def test_phase_names__of_labels_without_flags(eager_image):
    label = xr.DataArray(np.array([[0, 2], [1, 0]], np.uint8), dims=("y", "x"))
    assert schema.phase_names(label) == ["phase_1", "phase_2"]
    assert schema.phase_colors(label) == list(schema.COLORS[:2])
