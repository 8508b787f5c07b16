"""Upper limits that hold; gains of a mask, signal and noise apart."""

import numpy as np
import pytest
import xarray as xr

from eds_xr import provenance
from eds_xr.composition.quantify import quantify
from eds_xr.composition.traces import compare_regions, upper_limits
from eds_xr.schema import EdsError
from eds_xr.spectra.sums import sum_spectra

NAMES = ["Mg_Ka", "Si_Ka", "Nd_La"]


def lines_of(net, variance, names=NAMES, **more):
    net, variance = np.asarray(net, float), np.asarray(variance, float)
    dims = ("phase", "line")[-net.ndim :]
    coords = {"line": names} | ({"phase": ["mask", "rectangle"]} if net.ndim > 1 else {})
    data = {"net": (dims, net, {"units": "counts"}), "variance": (dims, variance)}
    data |= {k: (dims, np.asarray(v, float)) for k, v in more.items()}
    return xr.Dataset(data, coords, {"beam_energy_kev": 200.0})


# -- upper limits --------------------------------------------------------------------------------


def test_upper_limits__tells_what_is_detected():
    lines = lines_of([900.0, 30.0, -12.0], [900.0, 400, 400], critical_level=[20, 33, 33])
    found = upper_limits(lines)
    assert found.detected.values.tolist() == [True, False, False]
    assert found.text.values.tolist() == ["900(30)", "< 64", "< 33"]
    np.testing.assert_array_equal(found.value, lines.net)
    np.testing.assert_allclose(found.sd, [30, 20, 20])
    assert (found.upper_limit > found.value).all()
    assert found.upper_limit.attrs["units"] == "counts"
    assert provenance.history(found)[-1]["step"] == "upper_limits"


def test_upper_limits__few_counts_by_chance_do_not_lower_the_noise():
    """Where counts happen to be few, so is their variance: the blank's is taken."""
    few = upper_limits(lines_of([0.0] * 3, [1.0] * 3, critical_level=[16.45] * 3))
    np.testing.assert_allclose(few.upper_limit, 10 * 1.96, rtol=1e-3)


def test_upper_limits__critical_level_from_the_detection_limit():
    limit = 2.71 + 3.29 * 10
    lines = lines_of([16.0, 17.0, 40.0], [100.0] * 3, detection_limit=[limit] * 3)
    assert upper_limits(lines).detected.values.tolist() == [False, True, True]


def test_upper_limits__of_a_composition():
    lines = lines_of([3e4, 3e4, 8.0], [3e4, 3e4, 400.0], critical_level=[90, 90, 33])
    made = quantify(lines)
    found = upper_limits(made)
    np.testing.assert_array_equal(found.value, made.atomic_fraction)
    assert found.detected.values.tolist() == [True, True, False]
    weight = upper_limits(made, "weight_fraction", confidence=0.9)
    np.testing.assert_array_equal(weight.value, made.weight_fraction)
    assert (weight.upper_limit < upper_limits(made, "weight_fraction").upper_limit).all()


def test_upper_limits__oxygen_without_a_line_has_one():
    lines = lines_of([3e4, 3e4, 8.0], [3e4, 3e4, 400.0], critical_level=[90, 90, 33])
    found = upper_limits(quantify(lines, oxygen="stoichiometry"))
    assert bool(found.detected.sel(element="O"))
    assert np.isfinite(found.upper_limit).all()


def test_upper_limits__what_is_sure_is_its_own_limit():
    found = upper_limits(lines_of([5.0, 0.0, 3.0], [0.0, 0.0, 1.0]))
    assert found.upper_limit.values[:2].tolist() == [5, 0]


def test_upper_limits__errors():
    lines = lines_of([1.0, 2.0, 3.0], [1.0, 1, 1])
    for call, message in [
        (lambda: upper_limits(lines, confidence=0.3), "confidence must be between 0.5 and 1"),
        (
            lambda: upper_limits(lines, "gross"),
            "no quantity 'gross' with a variance; the Dataset h",
        ),
        (lambda: upper_limits(lines[["net"]]), "no quantity with a variance; the Dataset has none"),
        (lambda: upper_limits(lines.net), "expected a Dataset with errors, found DataArray"),
    ]:
        with pytest.raises(EdsError, match=message):
            call()


# -- regions -------------------------------------------------------------------------------------


def spectra_of(n_pixels):
    return xr.Dataset({"n_pixels": ("phase", n_pixels)}, {"phase": ["mask", "rectangle"]})


def test_compare_regions__signal_and_noise_apart():
    net = np.array([[16000.0, 8000, 400], [1000.0, 500, 25]])
    found = compare_regions(
        spectra_of([1600, 100]), lines_of(net, 2 * net + 900), reference="rectangle"
    )
    mask = found.sel(phase="mask")
    np.testing.assert_allclose(mask.signal, [10, 5, 0.25])
    np.testing.assert_allclose(mask.signal_gain, 1)
    np.testing.assert_allclose(mask.noise, (2 * net[0] + 900) ** 0.5 / 1600)
    np.testing.assert_allclose(mask.snr_gain, mask.signal_gain * mask.noise_gain)
    np.testing.assert_allclose(mask.snr, mask.snr_gain * found.snr.sel(phase="rectangle"))
    assert float(mask.expected_noise_gain) == 4
    itself = found.sel(phase="rectangle")
    for name in ("signal_gain", "noise_gain", "snr_gain"):
        np.testing.assert_allclose(itself[name], 1)
        np.testing.assert_allclose(itself[f"{name}_variance"], 0, atol=1e-12)
    assert found.attrs["reference"] == "rectangle"
    assert all("long_name" in v.attrs and "units" in v.attrs for v in found.data_vars.values())


def test_compare_regions__what_regions_share_is_no_noise():
    """A table's error grows with the counts; a gain over a small region would never pass it."""
    net = np.array([[16000.0, 8000, 400], [1000.0, 500, 25]])
    counting, table = net + 900 * np.array([[16], [1]]), (0.03 * net) ** 2
    parts = [[np.diag(v) for v in part] for part in (counting, table)]
    lines = lines_of(net, counting + table).assign_coords(effect=["counting", "line_weights"])
    dims = ("effect", "phase", "line", "line_other")
    lines = lines.assign_coords(line_other=NAMES).assign(effect_covariance=(dims, np.array(parts)))
    found = compare_regions(spectra_of([1600, 100]), lines, reference="rectangle")
    bare = compare_regions(spectra_of([1600, 100]), lines_of(net, counting), reference="rectangle")
    xr.testing.assert_allclose(found, bare)
    np.testing.assert_allclose(found.noise_gain.sel(phase="mask"), 4)


@pytest.mark.parametrize("nested", [True, False])
def test_compare_regions__errors_meet_monte_carlo(nested):
    """A rectangle within the mask shares its counts: the gain scatters less than if apart."""
    rng, draws = np.random.default_rng(7), 4000
    small = rng.normal(400, 30, draws)
    rest = rng.normal(1200, 52, draws)
    large = rest + small if nested else rest + rng.normal(400, 30, draws)
    masks = np.zeros((2, 4, 4), bool)
    masks[0] = True
    masks[1, 0] = True
    if not nested:  # the same sizes; apart
        masks = np.zeros((2, 5, 4), bool)
        masks[0, :4] = True
        masks[1, 4] = True
    regions = xr.DataArray(masks, {"phase": ["mask", "rectangle"]}, ("phase", "y", "x"))
    lines = lines_of([[1600.0], [400.0]], [[52**2 + 30**2], [30**2]], NAMES[:1])
    found = compare_regions(spectra_of([16, 4]), lines, reference="rectangle", masks=regions)
    sd = float(found.signal_gain_variance.sel(phase="mask")[0]) ** 0.5
    assert sd == pytest.approx(np.std(large / small / 4), rel=0.06)
    if nested:
        apart = compare_regions(spectra_of([16, 4]), lines, reference="rectangle")
        assert float(apart.signal_gain_variance[0, 0]) > 1.1 * sd**2


def test_compare_regions__noise_falls_as_the_root_of_the_pixels(assemblage):
    image, truth = assemblage
    pure = truth.amounts.sel(phase="Brg", drop=True) > 0.99
    few = pure & (pure.cumsum("y").cumsum("x") < int(pure.sum()) // 8)
    names = xr.DataArray(["mask", "rectangle"], dims="phase", name="phase")
    masks = xr.concat([pure, few], dim=names)
    spectra = sum_spectra(image, masks).compute()
    window = spectra.sel(energy=slice(1.60, 1.88)).sum("energy")
    lines = lines_of(window.counts.values[:, None], window.variance.values[:, None], ["Si_Ka"])
    found = compare_regions(spectra, lines, reference="rectangle", masks=masks).sel(phase="mask")
    gain, sd = float(found.noise_gain[0]), float(found.noise_gain_variance[0]) ** 0.5
    assert abs(gain - float(found.expected_noise_gain)) < 4 * sd
    assert abs(float(found.signal_gain[0]) - 1) < 4 * float(found.signal_gain_variance[0]) ** 0.5


def test_compare_regions__errors():
    lines, spectra = lines_of(np.ones((2, 3)), np.ones((2, 3))), spectra_of([5, 4])
    for call, message in [
        (lambda: compare_regions(spectra, lines, reference="square"), "'square' is none of the re"),
        (lambda: compare_regions(spectra_of([5, 0]), lines, reference="mask"), "has no pixels: {'"),
        (
            lambda: compare_regions(lines, lines, reference="mask"),
            "expected the spectra of several",
        ),
        (
            lambda: compare_regions(spectra, lines.isel(phase=0), reference="mask"),
            "expected the lines of several regions",
        ),
        (
            lambda: compare_regions(spectra.isel(phase=[0]), lines, reference="mask"),
            "the spectra lack rectangle",
        ),
        (
            lambda: compare_regions(spectra, lines, reference="mask", masks=spectra.n_pixels),
            r"expected boolean masks \[phase, y, x\]",
        ),
    ]:
        with pytest.raises(EdsError, match=message):
            call()


def test_upper_limits__of_lazy_maps():
    net = xr.DataArray([[5.0, 90.0]], {"line": ["Fe_Ka"]}, ("line", "x"))
    maps = xr.Dataset({"net": net, "variance": net})
    xr.testing.assert_identical(upper_limits(maps.chunk()), upper_limits(maps))
