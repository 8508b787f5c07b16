"""Thickness of blocks of pixels."""

import numpy as np
import pytest
import xarray as xr
from support.makers.lines import lines_of

import eds_xr
from eds_xr.composition.film.thickness_map import thickness_map
from eds_xr.schema import EdsError
from eds_xr.xray.absorption import attenuation_m2_kg, correction
from eds_xr.xray.elements import atomic_mass

NAMES = ["Mg_Ka", "Si_Ka", "O_Ka"]
K = dict(zip(NAMES, [1.0, 1.05, 1.2], strict=True))
ANGLE = {"take_off_angle_deg": 22.0}


def counts(thickness):
    """Return the counts of enstatite at thicknesses [..., line]."""
    elements = ["Mg", "Si", "O"]
    mass = np.array([1.0, 1.0, 3.0]) * [atomic_mass(e) for e in elements]
    depth = attenuation_m2_kg(NAMES, elements) @ (mass / mass.sum()) / np.sin(np.radians(22.0))
    made = mass / list(K.values()) / correction(np.multiply.outer(thickness, depth))[0]
    return made * np.asarray(thickness)[..., None]


def wedge(scale=3e7, shape=(17, 24), seed=None):
    thickness = np.broadcast_to(np.linspace(1e-4, 6e-4, shape[1]), shape)
    net = scale * counts(thickness)
    if seed is not None:
        net = np.random.default_rng(seed).poisson(net).astype(float)
    coords = {"line": NAMES, "y": 2.0 * np.arange(shape[0]), "x": 2.0 * np.arange(shape[1])}
    dims = ("y", "x", "line")
    attrs = {"beam_energy_kev": 200.0, "elevation_angle_deg": 22.0}
    lines = xr.Dataset({"net": (dims, net), "variance": (dims, net + 1)}, coords, attrs)
    return lines.transpose("line", "y", "x"), thickness


def test_thickness_map__is_that_of_its_blocks():
    lines, _ = wedge()
    found = thickness_map(lines, K, pixels=6, density_g_cm3=4.0)
    assert found.mass_thickness.dims == ("y", "x")
    assert found.sizes["y"] == 17
    np.testing.assert_array_equal(found.x, lines.x)
    block = lines.isel(y=slice(12, 17), x=slice(18, 24)).sum(
        ["y", "x"]
    )  # a smaller one, at an edge
    made = lines_of(block.net.values, np.diag(block.variance.values), NAMES)
    expected = eds_xr.quantify(made, K, thickness="charge_balance", **ANGLE)
    for y, x in ((12, 18), (16, 23)):
        one = found.isel(y=y, x=x)
        for name in ("mass_thickness", "mass_thickness_variance"):
            assert float(one[name]) == pytest.approx(float(expected[name]), rel=1e-9)
        assert float(one.thickness_nm) == pytest.approx(2.5e5 * float(expected.mass_thickness))
    assert found.attrs["pixels_of_blocks"] == 6


def test_thickness_map__of_a_noisy_wedge():
    """Blocks are near the truth; single pixels scatter, and some have no thickness."""
    lines, true = wedge(scale=1e4, seed=2)
    assert 200 < float(lines.net.sum("line").mean()) < 400
    blocks, single = (thickness_map(lines, K, pixels=n) for n in (12, 1))
    middle = (blocks.mass_thickness / true).isel(x=[6, 18], y=[4])
    np.testing.assert_allclose(middle, 1, atol=0.3)
    assert not blocks.mass_thickness.isnull().any()
    assert single.mass_thickness.isnull().any()
    one, twelve = (float((f.mass_thickness / true - 1).std()) for f in (single, blocks))
    assert one > 2 * twelve


def test_thickness_map__corrects_every_pixel():
    lines, true = wedge()
    found = thickness_map(lines, K, pixels=1)
    np.testing.assert_allclose(found.mass_thickness, true, rtol=1e-6)
    whole = eds_xr.quantify(lines, K, mass_thickness_kg_m2=found.mass_thickness.clip(min=0))
    assert np.abs(whole.atomic_fraction.sel(element="O") - 0.6).max() < 1e-6


@pytest.mark.parametrize("chunks", [{"y": 5, "x": 24}, {"line": 1, "y": 17, "x": 7}])
def test_thickness_map__lazy_is_eager_whatever_the_chunks(chunks):
    lines, _ = wedge(seed=1)
    lazy = thickness_map(lines.chunk(chunks), K, pixels=4)
    assert lazy.mass_thickness.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), thickness_map(lines, K, pixels=4), rtol=1e-9)


@pytest.mark.parametrize(
    ("lines", "pixels", "message"),
    [
        (lines_of([1.0, 1.0, 1.0], names=NAMES), 4, "the lines are of spectra, not of pixels"),
        (wedge()[0], 0, "pixels must be a whole number of pixels, 1 or more, found 0"),
        (wedge()[0], 2.5, "pixels must be a whole number of pixels, 1 or more, found 2.5"),
        (wedge()[0], "many", "pixels must be a number"),
        (wedge()[0].net, 4, "expected maps of net counts, from eds_xr.fitted_maps"),
        (wedge()[0].sel(line=["Mg_Ka", "Si_Ka"]), 4, "needs an anion, and none was measured"),
    ],
)
def test_thickness_map__errors(lines, pixels, message):
    with pytest.raises(EdsError, match=message):
        thickness_map(lines, K, pixels=pixels, **ANGLE)
