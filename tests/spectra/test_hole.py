"""Counts without the sample, drawn by the second simulator: subtracted, and their errors true."""

from functools import cache

import numpy as np
import pytest
import xarray as xr
from support.independent.foil import Foil
from support.independent.spectra import draw, truth
from support.line_spectra import only_amounts

import eds_xr
from eds_xr import EdsError
from eds_xr.spectra.hole import subtract_hole

pytestmark = pytest.mark.filterwarnings(
    "ignore::eds_xr.MissingLineWarning",
    "ignore::eds_xr.LeftOutWarning",  # O, below the range
)

#: A sulphide with copper of its own; and an oxide without, on a grid in a holder of iron.
CHALCOPYRITE, HAEMATITE = {"Cu": 1.0, "Fe": 1.0, "S": 2.0}, {"Fe": 2.0, "O": 3.0}
GRID = {"Cu": 12.0, "Fe": 1.0}
ELEMENTS = {"Cu": ["S", "Fe", "Cu"], "Fe": ["O", "Fe"]}
FOIL = Foil(thickness_nm=80.0, density_g_cm3=4.5)
#: Seconds on the sample and in the hole; counts a second from the grid.
TIME_S, HOLE_TIME_S, STRAY_RATE = 100.0, 60.0, 120.0


@cache
def true(atoms, counts):
    """Return what a film of these atoms gives: of many draws, the same."""
    return truth(dict(atoms), counts, foil=FOIL, strays={})


def expected(atoms=CHALCOPYRITE, counts=1e5, factor=1.0):
    """Return what sample with grid, hole and sample alone expect."""
    sample, grid = true(tuple(atoms.items()), counts), true(tuple(GRID.items()), 1.0).expected
    both = sample.expected + TIME_S * STRAY_RATE * factor * grid
    return both, HOLE_TIME_S * STRAY_RATE * grid, sample


def drawn(mean, time_s, rng, **attrs):
    counts = mean.copy(data=rng.poisson(mean.values))
    made = xr.Dataset({"counts": counts, "variance": counts.astype(float)})
    told = {"beam_energy_kev": 200.0, "energy_resolution_mnka_ev": 132.0, "signal_type": "EDS_TEM"}
    return made.assign(live_time_s=time_s, n_pixels=100).assign_attrs(told | attrs)


def pulls(number, subtract, atoms, element, names, spread=0.0):
    """Return net counts less the true ones, over their errors, of many draws."""
    rng, found = np.random.default_rng(7), []
    with only_amounts():
        for _ in range(number):
            both, alone, sample = expected(atoms, factor=1 + spread * rng.standard_normal())
            spectra, hole = drawn(both, TIME_S, rng), drawn(alone, HOLE_TIME_S, rng)
            rest = subtract(spectra, hole)
            lines = eds_xr.add_common_errors(eds_xr.fit_lines(rest, names), rest)
            line = lines.sel(line=f"{element}_Ka")
            true = float(sample.net.sel(line=f"{element}_Ka"))
            found.append((float(line.net) - true) / float(line.variance) ** 0.5)
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "spread"), [({}, 0.0), ({"scale_uncertainty": 0.1}, 0.1)], ids=["dose", "vague dose"]
)
def test_subtract_hole__copper_of_a_sample_on_a_copper_grid_is_right(how, spread):
    found = pulls(
        60, lambda s, h: subtract_hole(s, h, **how), CHALCOPYRITE, "Cu", ELEMENTS["Cu"], spread
    )
    assert abs(found.mean()) < 0.45
    assert 0.75 < found.std() < 1.25
    assert (abs(found) < 1.96).mean() >= 0.9


@pytest.mark.slow
def test_subtract_hole__iron_of_the_holder_scaled_by_copper():
    found = pulls(
        60,
        lambda s, h: subtract_hole(s, h, scale="Cu_Ka", elements=["O", "Fe", "Cu"]),
        HAEMATITE, "Fe", ["O", "Fe"],
    )  # fmt: skip
    assert abs(found.mean()) < 0.45
    assert 0.75 < found.std() < 1.25


def test_subtract_hole__composition_of_a_copper_mineral():
    """Without the hole there is too much Cu; with it, Cu/Fe is right within its error."""
    both, alone, sample = expected(counts=3e5)
    rng = np.random.default_rng(1)
    spectra, hole = (
        drawn(3 * both - 2 * sample.expected, TIME_S, rng),
        drawn(alone, HOLE_TIME_S, rng),
    )
    rest = subtract_hole(spectra.assign(live_time_s=3 * TIME_S), hole)
    factors = {}
    for name in ("S_Ka", "Fe_Ka", "Cu_Ka"):  # of a standard of the same thickness
        factors[name] = {"S": 64.13, "Fe": 55.845, "Cu": 63.546}[name[:-3]] / float(
            sample.net.sel(line=name)
        )
    found = []
    for one in (rest, spectra):
        lines = eds_xr.fit_lines(one, ELEMENTS["Cu"])
        if one is rest:
            lines = eds_xr.add_common_errors(lines, rest)
        ratio = eds_xr.ratio(eds_xr.quantify(lines, factors), "Cu", other="Fe")
        found.append((float(ratio.ratio), float(ratio.variance) ** 0.5))
    (with_hole, sd), (without, _) = found
    assert abs(with_hole - 1) < 2.5 * sd
    assert without - 1 > 5 * sd


def test_subtract_hole__counts_variance_and_scale():
    both, alone, _ = expected()
    rng = np.random.default_rng(0)
    spectra, hole = drawn(both, TIME_S, rng), drawn(alone, HOLE_TIME_S, rng)
    rest = subtract_hole(spectra, hole)
    scale = TIME_S / HOLE_TIME_S
    assert float(rest.hole_scale) == pytest.approx(scale)
    np.testing.assert_allclose(rest.counts, spectra.counts - scale * hole.counts)
    np.testing.assert_allclose(rest.variance, spectra.variance + scale**2 * hole.variance)
    assert rest.attrs["assumptions"] == [
        "the same probe current at the sample and in the hole: a recording tells none"
    ]
    assert float(rest.live_time_s) == TIME_S
    assert int(rest.n_pixels) == 100
    told = subtract_hole(
        spectra.assign_attrs(probe_current_na=1.0), hole.assign_attrs(probe_current_na=2.0)
    )
    assert float(told.hole_scale) == pytest.approx(scale / 2)
    assert "assumptions" not in told.attrs
    step = eds_xr.history(told)[-1]
    assert (step["step"], step["scale"]) == ("subtract_hole", "dose")
    same = subtract_hole(spectra, hole, scale=scale)
    np.testing.assert_allclose(same.counts, rest.counts)


def test_subtract_hole__of_phases_each_with_its_own_live_time():
    both, alone, _ = expected()
    rng = np.random.default_rng(0)
    one, two = drawn(both, TIME_S, rng), drawn(2 * both, 2 * TIME_S, rng)
    phases = xr.concat([one, two], dim=xr.Variable("phase", ["a", "b"]))
    hole = drawn(alone, HOLE_TIME_S, rng)
    rest = subtract_hole(phases, hole, scale_uncertainty=0.05)
    for name, alone_one in (("a", one), ("b", two)):
        expected_one = subtract_hole(alone_one, hole, scale_uncertainty=0.05)
        xr.testing.assert_allclose(rest.counts.sel(phase=name, drop=True), expected_one.counts)
    lines = eds_xr.add_common_errors(eds_xr.fit_lines(rest, ELEMENTS["Cu"]), rest)
    assert "hole" in lines.effect.values
    # all spectra share the error of the ratio of doses: it is the last of the modes, too
    assert lines.mode_effect.values[-1] == "hole"
    shared = lines.shared_error.isel(mode=-1)
    own = lines.effect_covariance.sel(effect="hole")
    for name in ("a", "b"):
        outer = np.outer(shared.sel(phase=name), shared.sel(phase=name))
        np.testing.assert_allclose(own.sel(phase=name), outer, atol=1e-6 * outer.max())
    total = lines.effect_covariance.sum("effect")
    np.testing.assert_allclose(total, lines.covariance, rtol=1e-9)


def test_subtract_hole__then_a_phase_keeps_both_errors():
    both, alone, _ = expected()
    other = truth({"Si": 1.0, "O": 2.0}, 1e5, foil=FOIL, strays={}).expected
    grid = alone / HOLE_TIME_S
    rng = np.random.default_rng(3)
    reference = drawn(2 * other + TIME_S * grid, TIME_S, rng)
    mixture = drawn(both + 0.5 * other, TIME_S, rng)
    hole = drawn(alone, HOLE_TIME_S, rng)
    less = [subtract_hole(s, hole, scale_uncertainty=0.1) for s in (mixture, reference)]
    rest = eds_xr.subtract_phase(*less, scale="Si_Ka", elements=["Si", "O", "S", "Fe", "Cu"])
    # a quarter of the reference's grid is taken away with it, the same error in both
    np.testing.assert_allclose(
        rest.hole_error, less[0].hole_error - float(rest.scale) * less[1].hole_error
    )
    lines = eds_xr.add_common_errors(eds_xr.fit_lines(rest, ["O", "Si", *ELEMENTS["Cu"]]), rest)
    assert {"matrix", "hole"} <= set(lines.effect.values)
    assert float(lines.effect_covariance.sel(effect="hole", line="Cu_Ka", line_other="Cu_Ka")) > 0


def test_subtract_hole__of_an_image_all_its_pixels():
    both, alone, _ = expected()
    rng = np.random.default_rng(0)
    image = xr.DataArray(
        rng.poisson(alone.values / 6, (2, 3, alone.size)).astype(np.uint16),
        {"energy": alone.energy}, ("y", "x", "energy"),
        attrs={"beam_energy_kev": 200.0, "pixel_live_time_s": HOLE_TIME_S / 6},
    )  # fmt: skip
    rest = subtract_hole(drawn(both, TIME_S, rng), image.chunk({"y": 1}))
    assert float(rest.hole_scale) == pytest.approx(TIME_S / HOLE_TIME_S)
    whole = image.sum(("y", "x")).astype(float)
    spectra = drawn(both, TIME_S, np.random.default_rng(0))
    expected_rest = subtract_hole(
        spectra, xr.Dataset({"counts": whole, "variance": whole}), scale=TIME_S / HOLE_TIME_S
    )
    rest = subtract_hole(spectra, image)
    np.testing.assert_allclose(rest.counts, expected_rest.counts)


def test_subtract_hole__too_much_is_said():
    both, alone, _ = expected(factor=0.2)
    rng = np.random.default_rng(0)
    with pytest.warns(eds_xr.SubtractionWarning, match="too much of the hole is subtracted"):
        rest = subtract_hole(
            drawn(TIME_S * STRAY_RATE * 0.2 * alone / alone.sum(), TIME_S, rng),
            drawn(alone, HOLE_TIME_S, rng),
        )
    assert "negative counts" in rest.attrs["warnings"][0]
    assert float(both.sum()) > 0


def test_subtract_hole__refuses():
    both, alone, _ = expected()
    rng = np.random.default_rng(0)
    spectra, hole = drawn(both, TIME_S, rng), drawn(alone, HOLE_TIME_S, rng)
    rest = subtract_hole(spectra, hole)
    two = xr.concat([hole, hole], dim="phase")
    moved = hole.assign_coords(energy=hole.energy + 0.1)
    for one, other, how, message in [
        (spectra, hole.assign_attrs(beam_energy_kev=80.0), {}, "at 200 keV, the hole at 80 keV"),
        (spectra, moved, {}, "spectra and hole have different energy axes"),
        (spectra, hole.drop_vars("live_time_s"), {}, "no live time is known of the hole"),
        (spectra.drop_vars("live_time_s"), hole, {}, "no live time is known of the spectra"),
        (spectra, two, {}, "the hole must be one spectrum"),
        (spectra, hole, {"scale": -1.0}, "must be 0 or more"),
        (spectra, hole, {"scale": "copper"}, "copper"),
        (spectra, hole, {"scale": "Cu_Ka", "scale_uncertainty": 0.1}, "leave scale_uncertainty"),
        (rest, hole, {}, "subtracted from these spectra already"),
        (spectra, hole, {"scale": "Si_Ka"}, "no significant Si_Ka"),
    ]:
        with pytest.raises(EdsError, match=message):
            subtract_hole(one, other, **how)


def test_draw__is_used_as_the_simulator_gives_it():
    """The hole may be a spectrum of the simulator as it is, its live time among the attributes."""
    both, alone, sample = expected()
    hole = draw(xr.Dataset({"expected": alone}, attrs=sample.attrs), 1)
    hole.attrs["live_time_s"] = HOLE_TIME_S
    rest = subtract_hole(drawn(both, TIME_S, np.random.default_rng(0)), hole)
    assert float(rest.hole_scale) == pytest.approx(TIME_S / HOLE_TIME_S)
