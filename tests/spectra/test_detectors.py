"""Four detectors of the second simulator: equal ones agree, one in a shadow is found."""

import warnings

import numpy as np
import pytest
import xarray as xr
from support.independent.detector import attenuation_m2_kg
from support.independent.foil import Foil
from support.independent.spectra import truth
from support.line_spectra import only_amounts

import eds_xr
from eds_xr import EdsError
from eds_xr.spectra.detectors import DetectorWarning, compare_detectors
from eds_xr.xray.lines import line_energy_kev

pytestmark = pytest.mark.filterwarnings("ignore::eds_xr.MissingLineWarning")

OLIVINE = {"Mg": 1.8, "Fe": 0.2, "Si": 1.0, "O": 4.0}
HOW = {"elements": ["O", "Mg", "Si", "Fe"], "range_kev": (0.3, 9.0)}
ATTRS = {"beam_energy_kev": 200.0, "energy_resolution_mnka_ev": 132.0, "signal_type": "EDS_TEM"}
TRUTH = truth(OLIVINE, 6e4, foil=Foil(thickness_nm=60.0, density_g_cm3=3.3), strays={}).isel(
    energy=slice(0, 1024)
)
EXPECTED = TRUTH.expected


def film(nm, density_g_cm3=2.2, element="C"):
    """Return what a layer lets through of photons [keV]."""

    def through(energy):
        mu = attenuation_m2_kg({element: 1.0}, np.clip(energy, 0.1, None))
        return np.exp(-mu * density_g_cm3 * 1e3 * nm * 1e-9)

    return through


def through(nm):
    """Return the counts behind a film over those without it, channel by channel."""
    layer = film(nm)
    names, peaks = TRUTH.line.values.tolist(), TRUTH.energy.values[TRUTH.peaks.argmax("energy")]
    lines = np.array([
        peak if "rest" in name else line_energy_kev(name)
        for name, peak in zip(names, peaks, strict=True)
    ])  # fmt: skip
    peaks = (TRUTH.peaks * layer(lines)[:, None]).sum("line")
    behind = TRUTH.background * layer(TRUTH.energy.values) + peaks
    return (behind / EXPECTED).values


def drawn(seed, factors=(1.0, 1.0, 1.0, 1.0)):
    """Return the spectra of detectors, each with its factor (a number or by energy)."""
    rng = np.random.default_rng(seed)
    counts = np.array([rng.poisson(EXPECTED.values * f) for f in factors])
    names = [f"SDD {c}" for c in "ABCD"[: len(factors)]]
    made = xr.DataArray(
        counts, {"detector": names, "energy": EXPECTED.energy}, ("detector", "energy")
    )
    return xr.Dataset({"counts": made, "variance": made.astype(float)}, attrs=ATTRS)


def compared(spectra):
    with warnings.catch_warnings(), only_amounts():
        warnings.simplefilter("ignore", DetectorWarning)
        return compare_detectors(spectra, **HOW)


@pytest.mark.slow
def test_compare_detectors__equal_ones_agree():
    found = [compared(drawn(seed, (1.0, 1.02, 0.97, 1.0))) for seed in range(25)]
    assert sum(bool(f.shadowed.any()) for f in found) == 0
    chances = np.concatenate([f.p_ratios.values for f in found])
    assert (chances < 0.01).mean() < 0.04
    # errors are those of Poisson's counts
    pulls = np.concatenate(
        [((f.relative - f["size"]) / f.relative_sd).values.ravel() for f in found]
    )
    assert 0.75 < pulls.std() < 1.2


def test_compare_detectors__one_behind_a_film_is_found_and_how_much_it_lacks():
    behind = through(400.0)
    oxygen = 1 - float(film(400.0)(np.array([0.525]))[0])
    for seed in range(3):
        spectra = drawn(seed, (1.0, 1.0, behind, 1.0))
        with pytest.warns(DetectorWarning, match=r"SDD C counts less .* of O_Ka are missing"):
            found = compare_detectors(spectra, **HOW)
        assert found.shadowed.values.tolist() == [False, False, True, False]
        assert found.line.values[0] == "O_Ka"
        off = float(found.lost.sel(detector="SDD C")) - oxygen
        assert abs(off) < 4 * float(found.relative_sd.sel(detector="SDD C", line="O_Ka"))
        assert float(found.significance.sel(detector="SDD C")) > 5
        assert "SDD C" in found.attrs["warnings"][0]


def test_compare_detectors__one_half_covered_has_the_ratios_but_not_the_counts():
    found = compared(drawn(1, (1.0, 0.5, 1.0, 1.0)))
    assert found.shadowed.values.tolist() == [False, True, False, False]
    assert float(found.p_ratios.sel(detector="SDD B")) > 1e-3
    assert float(found["size"].sel(detector="SDD B")) == pytest.approx(0.5, abs=0.02)


def test_compare_detectors__of_two_that_disagree_the_one_with_less_is_in_the_shadow():
    found = compared(drawn(1, (through(600.0), 1.0)))
    assert found.shadowed.values.tolist() == [True, False]
    found = compared(drawn(1, (1.0, 1.0)))
    assert not found.shadowed.any()


def test_compare_detectors__two_of_four():
    behind = through(500.0)
    found = compared(drawn(2, (behind, 1.0, 1.0, behind)))
    assert found.shadowed.values.tolist() == [True, False, False, True]


def image_of(factors):
    rng = np.random.default_rng(0)
    counts = np.array([rng.poisson(EXPECTED.values * f / 30, (5, 6, 1024)) for f in factors])
    return xr.DataArray(
        counts.astype(np.uint8),
        {
            "detector": list("ABCD"), "energy": EXPECTED.energy,
            "azimuth_angle_deg": ("detector", [45.0, 135.0, 225.0, 315.0]),
            "elevation_angle_deg": ("detector", [18.0, 18.0, 18.0, 22.0]),
        },
        ("detector", "y", "x", "energy"), name="counts",
        attrs=ATTRS | {"elements": ["O", "Mg", "Si", "Fe"], "tilt_deg": 15.0},
    )  # fmt: skip


def test_compare_detectors__of_an_image_with_and_without_a_mask():
    image = image_of((1.0, 1.0, 1.0, through(500.0)))
    with pytest.warns(DetectorWarning, match="detector D"):
        found = image.eds.compare_detectors(range_kev=(0.3, 9.0))
    mask = xr.DataArray(np.arange(30).reshape(5, 6) % 2 == 0, dims=("y", "x"))
    with pytest.warns(DetectorWarning):
        half = image.eds.compare_detectors(mask=mask, range_kev=(0.3, 9.0))
    assert (half.relative_sd > found.relative_sd).all()


@pytest.mark.parametrize("chunks", [None, {"detector": 1, "y": 2, "x": 4}])
def test_sums__of_detectors_are_exact(chunks):
    image = image_of((1.0, 1.0, 1.0, 1.0))
    lazy = image if chunks is None else image.chunk(chunks)
    total = eds_xr.sum_detectors(lazy)
    np.testing.assert_array_equal(total, image.values.astype(int).sum(0))
    assert total.dtype.kind == "u"
    assert "azimuth_angle_deg" not in total.attrs
    assert "elevation_angle_deg" not in total.attrs  # they differ
    masks = xr.DataArray(np.arange(60).reshape(2, 5, 6) % 3 == 0, dims=("phase", "y", "x"))
    spectra = eds_xr.sum_spectra(lazy, masks).compute()
    assert spectra.counts.dims == ("phase", "detector", "energy")
    assert spectra.azimuth_angle_deg.dims == ("detector",)
    together = eds_xr.sum_detectors(spectra)
    np.testing.assert_array_equal(together.counts, eds_xr.sum_spectra(total, masks).counts)
    np.testing.assert_array_equal(together.n_pixels, spectra.n_pixels)


def test_operations__work_for_several_detectors_or_refuse(tmp_path):
    image = image_of((1.0, 1.0, 1.0, 1.0))
    for work in (
        lambda i: i.eds.rebin(y=2, energy=2),
        lambda i: i.eds.split_counts()[0],
        lambda i: i.eds.element_maps(["Mg", "Fe"], background=False),
        lambda i: i.eds.hold_out(["Fe"])[0],
    ):
        apart = work(image.chunk({"detector": 1}))
        one = work(image.isel(detector=1))
        if "split" not in eds_xr.history(apart)[-1]["step"] if eds_xr.history(apart) else True:
            np.testing.assert_array_equal(apart.isel(detector=1), one)
    eds_xr.save(image, tmp_path / "a.zarr")
    again = eds_xr.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(again, image)
    assert again.detector.values.tolist() == list("ABCD")
    refused = {
        "nmf": (2,), "segment": (), "analyse": (), "fitted_maps": (), "suggest_rank": (),
        "label": (), "explore": (), "nmf_spread": (2,),
    }  # fmt: skip
    for name, given in refused.items():
        with pytest.raises(EdsError, match="4 detectors apart"):
            getattr(image.eds, name)(*given)


def test_quantify__absorption_at_each_detectors_own_angle():
    """The film leans towards some quadrants: what they absorb differs, what is found does not."""
    from eds_xr.xray.absorption import attenuation_m2_kg as mu_of
    from eds_xr.xray.absorption import correction, take_off_angle_deg

    image = image_of((1.0, 1.0, 1.0, 1.0))
    names, elements = ["O_Ka", "Mg_Ka", "Fe_Ka"], ["O", "Mg", "Fe"]
    weight, thick = np.array([0.4, 0.4, 0.2]), 5e-4
    net = []
    for i in range(4):
        attrs = {n: float(image[n][i]) for n in ("azimuth_angle_deg", "elevation_angle_deg")}
        angle = take_off_angle_deg(attrs | {"tilt_deg": 15.0})
        depth = mu_of(names, elements) @ weight * thick / np.sin(np.radians(angle))
        net.append(1e5 * weight / correction(depth)[0])
    own = {n: image[n] for n in ("azimuth_angle_deg", "elevation_angle_deg")}
    lines = xr.Dataset(
        {"net": (("detector", "line"), np.array(net)), "variance": (("detector", "line"), net)},
        {"detector": image.detector, "line": names, **own}, image.attrs,
    )  # fmt: skip
    found = eds_xr.quantify(lines, dict.fromkeys(names, 1.0), mass_thickness_kg_m2=thick)
    assert found.detector.values.tolist() == list("ABCD")
    for i in range(4):
        np.testing.assert_allclose(found.weight_fraction.isel(detector=i), weight, rtol=1e-6)
    one = eds_xr.quantify(
        lines.sel(detector="B"), dict.fromkeys(names, 1.0), mass_thickness_kg_m2=thick
    )
    np.testing.assert_allclose(one.weight_fraction, weight, rtol=1e-6)


def test_compare_detectors__refuses():
    spectra = drawn(0)
    for data, message in [
        (spectra.isel(detector=0), "several detectors"),
        (spectra.isel(detector=[0]), "several detectors"),
        (spectra.expand_dims("phase"), "several detectors"),
    ]:
        with pytest.raises(EdsError, match=message):
            compare_detectors(data, **HOW)
    with pytest.raises(EdsError, match="nothing|no detectors"):
        eds_xr.sum_detectors(spectra.isel(detector=0))
    with pytest.raises(EdsError, match="less than two lines"):
        compare_detectors(spectra, ["Si"], range_kev=(0.3, 9.0))
