"""The second simulator: that it is independent, and that its physics holds."""

import ast
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from support.independent import materials
from support.independent.cross_sections import ionisation_barn
from support.independent.detector import (
    PERFECT,
    Detector,
    attenuation_m2_kg,
    efficiency,
    escape_peak,
    escape_share,
    peak,
)
from support.independent.foil import Foil, bremsstrahlung, transmitted
from support.independent.grains import Grain, scatter
from support.independent.images import image
from support.independent.layouts import lamellae, layers, mosaic
from support.independent.lines import family_photons_m2, line_energy_kev, lines
from support.independent.materials import MATERIALS, OVERLAPS, by_name
from support.independent.scene_layouts import LAYOUTS
from support.independent.scenes import NAMES
from support.independent.scenes import scene as made_scene
from support.independent.spectra import Microscope, draw, perfect, significance, spectrum, truth

import eds_xr
from eds_xr.schema import check_spectra, check_spectrum_image

FOLDER = Path(__file__).parent / "support" / "independent"
ALLOWED = {"collections", "dataclasses", "functools", "re", "numpy", "scipy", "xarray", "xraylib"}
EDGES = -0.2 + 0.01 * np.arange(2049)
GARNET = by_name("almandine-pyrope")


# -- independence --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.stem)
def test_imports__nothing_of_the_package(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        named = [x.name for x in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            named = [node.module]
        for name in named:
            own = name.startswith("support.independent.")
            assert own or name.split(".")[0] in ALLOWED, name
        hidden = isinstance(node, ast.Name) and node.id in {"__import__", "eval", "exec"}
        assert not hidden


# -- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kev"),
    [
        ("C_Ka", 0.277), ("N_Ka", 0.392), ("O_Ka", 0.525), ("Mg_Ka", 1.254), ("Si_Ka", 1.740),
        ("Fe_Ka", 6.40), ("Fe_Kb", 7.06), ("Zn_La", 1.012), ("Ba_La", 4.466), ("Pt_La", 9.44),
        ("Ta_Ma", 1.710), ("Pb_Ma", 2.345), ("U_Ma", 3.170),
    ],
)  # fmt: skip
def test_line_energy__textbook(line, kev):
    assert line_energy_kev(line) == pytest.approx(kev, abs=0.008)


@pytest.mark.parametrize(
    ("family", "edge", "barn"),  # Bote and Salvat at 200 kV: Fe K, Mg K, Pt L3, U M5
    [("K", 7.08348, 318.5), ("K", 1.29451, 2672), ("L3", 11.5665, 348.0), ("M5", 3.5541, 2805)],
)
def test_ionisation__bote_salvat(family, edge, barn):
    assert ionisation_barn(family, edge, 200.0) == pytest.approx(barn, rel=0.04)


def test_ionisation__falls_with_beam_and_edge():
    beams = [ionisation_barn("K", 5.0, beam) for beam in (60, 100, 200, 300)]
    edges = [ionisation_barn("K", edge, 200) for edge in (0.3, 1, 5, 20, 60)]
    assert sorted(beams, reverse=True) == beams
    assert sorted(edges, reverse=True) == edges
    assert ionisation_barn("K", 70.0, 200.0) == 0
    with pytest.raises(ValueError, match="60 to 300 keV"):
        ionisation_barn("K", 5.0, 15.0)


@pytest.mark.parametrize("element", ["C", "Si", "Fe", "Mo", "Nd", "Pt", "U"])
def test_lines__families_sum_to_all_photons(element):
    every = sum(line.photons_m2 for line in lines(element))
    families = sum(family_photons_m2(element, family) for family in "KLM")
    assert families == pytest.approx(every)
    assert {line.group.split("_")[0] for line in lines(element)} == {element}


def test_lines__known_ratios():
    """Scofield's Kb / Ka of Fe; La2 / La1 is 1 / 9 of a filled d shell."""
    photons = {line.name: line.photons_m2 for line in lines("Fe")}
    beta = photons["KM2"] + photons["KM3"]
    assert beta / (photons["KL2"] + photons["KL3"]) == pytest.approx(0.134, abs=0.004)
    gold = {line.name: line.photons_m2 for line in lines("Au")}
    assert gold["L3M4"] / gold["L3M5"] == pytest.approx(1 / 9, rel=0.05)


# -- detector ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kev", [0.277, 1.254, 6.40, 12.0])
def test_peak__keeps_its_events_and_loses_charge(kev):
    centres = EDGES[:-1] + 0.005
    ideal, real = peak(PERFECT, kev, EDGES), peak(Detector(offset_ev=0, gain=1), kev, EDGES)
    assert ideal.sum() == pytest.approx(1)
    assert real.sum() == pytest.approx(1, abs=1e-4)  # the tail of C reaches below the axis
    assert ideal @ centres == pytest.approx(kev, abs=1e-4)
    lost = 0.015 * 0.08 + 0.003 * kev / 2  # tail and shelf
    assert real @ centres == pytest.approx(kev - lost, abs=2e-4)


def test_peak__stands_where_the_axis_reads():
    shifted = peak(Detector(tail=0, shelf=0, offset_ev=12, gain=1.003), 6.4, EDGES)
    assert shifted @ (EDGES[:-1] + 0.005) == pytest.approx(1.003 * 6.4 + 0.012, abs=1e-4)


def test_peak__has_its_resolution():
    shape = peak(PERFECT, 5.8951, EDGES)
    centres = EDGES[:-1] + 0.005
    sigma = np.sqrt(shape @ (centres - shape @ centres) ** 2)
    assert 2355 * sigma == pytest.approx(130, abs=0.3)


def test_escape__closed_form_and_place():
    """Reed and Ware's formula, with xraylib's own numbers, is the integral over depth."""
    inside, out = attenuation_m2_kg({"Si": 1.0}, [5.9, 1.74])
    closed = (1 - out / inside * np.log1p(inside / out)) / 2
    ratio = escape_share(5.9) / escape_share(3.7)
    inside2 = attenuation_m2_kg({"Si": 1.0}, [3.7])[0]
    assert ratio == pytest.approx(
        closed / ((1 - out / inside2 * np.log1p(inside2 / out)) / 2), rel=1e-3
    )
    assert escape_share(1.8) == 0
    assert escape_peak(PERFECT, 6.4, EDGES).sum() == 0
    found = escape_peak(Detector(offset_ev=0, gain=1), 6.4, EDGES)
    assert EDGES[found.argmax()] == pytest.approx(6.4 - 1.74, abs=0.011)
    assert found.sum() == pytest.approx(escape_share(6.4))


def test_efficiency__falls_to_both_sides():
    seen = efficiency(Detector(), [0.28, 0.52, 1.25, 5.0, 15.0, 30.0])
    assert (np.diff(seen[:4]) > 0).all()
    assert (np.diff(seen[3:]) < 0).all()
    assert ((seen > 0) & (seen < 1)).all()


# -- foil ----------------------------------------------------------------------------------------


def test_transmitted__limits():
    thin, thick = Foil(1e-3, 3.6), Foil(1e5, 3.6, 30.0)
    assert transmitted({"Mg": 1, "O": 1}, thin, 0.52) == pytest.approx(1, abs=1e-5)
    deep = transmitted({"Mg": 1, "O": 1}, Foil(8000, 3.6, 30.0), [0.52, 1.25])
    way = 3600 * 8e-6 / 0.5 * attenuation_m2_kg({"Mg": 0.603, "O": 0.397}, [0.52, 1.25])
    np.testing.assert_allclose(deep, -np.expm1(-way) / way, rtol=2e-3)
    assert transmitted({"Mg": 1, "O": 1}, thick, 20.0) < 1


def test_transmitted__is_the_integral_over_depth():
    foil = Foil(200.0, 7.9, 18.0)
    per_nm = float(attenuation_m2_kg({"Fe": 1.0}, 0.705)) * 7900e-9 / np.sin(np.radians(18))
    integral = quad(lambda nm: np.exp(-per_nm * nm), 0, 200)[0] / 200
    assert transmitted({"Fe": 1}, foil, 0.705) == pytest.approx(integral, rel=1e-6)


def test_bremsstrahlung__grows_with_mass_and_falls_with_energy():
    soft = bremsstrahlung({"Si": 1}, Foil(), [0.5, 2.0, 8.0])
    assert (np.diff(soft) < 0).all()
    thicker = bremsstrahlung({"Si": 1}, Foil(160.0), [8.0])[0]
    assert thicker == pytest.approx(2 * soft[2], rel=0.01)


# -- spectra -------------------------------------------------------------------------------------


def test_spectrum__poisson_by_seed():
    known = truth(GARNET.atoms, 1e5)
    assert float(known.expected.sum()) == pytest.approx(1e5)
    assert draw(known, 3).identical(draw(known, 3))
    assert not draw(known, 3).counts.equals(draw(known, 4).counts)
    drawn = np.stack([draw(known, seed).counts.values for seed in range(60)])
    z = (drawn.mean(0) - known.expected.values) / np.sqrt(known.expected.values / 60 + 1e-9)
    filled = known.expected.values > 5
    assert abs(z[filled].mean()) < 4 / np.sqrt(filled.sum())
    assert z[filled].std() == pytest.approx(1, abs=0.1)


def test_spectrum__truth_adds_up():
    drawn, known = spectrum(GARNET.atoms, 1e5, seed=1)
    check_spectra(drawn)
    np.testing.assert_allclose(known.expected, known.background + known.peaks.sum("line"))
    assert float(known.background.sum()) == pytest.approx(0.3e5)
    assert float(known.atoms.sum()) == pytest.approx(1)
    own = known.net.groupby("element").sum()
    stray = {e: float(own.sel(element=e)) for e in ("Cu", "C")}
    assert stray["Cu"] / stray["C"] == pytest.approx(2, rel=0.01)
    low = known.net.sel(line="Mg_Ka") / known.peaks.sel(line="Mg_Ka").sum()
    assert float(low) == pytest.approx(1)  # below silicon's edge there is no escape
    assert 0 < 1 - float(known.net.sel(line="Ca_Ka") / known.peaks.sel(line="Ca_Ka").sum()) < 0.012


def test_spectrum__ratio_of_lines_is_that_of_atoms():
    """Counts per atom do not depend on the composition where nothing is absorbed."""
    thin, ideal = Foil(0.01), perfect()
    rates = []
    for manganese in (1, 4):
        known = truth({"Fe": 1, "Mn": manganese}, 1e5, foil=thin, microscope=ideal, strays={})
        rates.append(float(known.net.sel(line="Mn_Ka") / known.net.sel(line="Fe_Ka")))
    assert rates[1] == pytest.approx(4 * rates[0], rel=1e-4)


def test_significance__grows_as_the_root_of_counts():
    few, many = (significance(truth(GARNET.atoms, n)) for n in (1e4, 1e6))
    np.testing.assert_allclose(many.sel(element=few.element), 10 * few, rtol=1e-6)
    assert float(few.sel(element="O")) > 20


def test_identified_by_the_package():
    """With an ideal detector and 1e5 counts the package finds what is there."""
    drawn, known = spectrum(by_name("spinel").atoms, 1e5, seed=1, microscope=perfect())
    found = eds_xr.fit_lines(drawn, ["Mg", "Al"], stray=["Cu"]).net
    for line in ("Mg_Ka", "Al_Ka"):
        expected = float(known.net.sel(line=line))
        assert float(found.sel(line=line)) == pytest.approx(expected, rel=0.05)


# -- materials -----------------------------------------------------------------------------------


def test_materials__catalogue():
    kinds = {m.kind for m in MATERIALS}
    wanted = "steel superalloy oxide nitride sulphide III-V perovskite catalyst phosphate garnet"
    assert set(wanted.split()) | {"actinide"} <= kinds
    assert len({m.name for m in MATERIALS}) == len(MATERIALS) >= 33
    assert len(OVERLAPS) == 9
    assert materials.by_name("rutile").atoms == {"Ti": 1, "O": 2}


# -- images --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene():
    grains = scatter([by_name("rutile"), by_name("apatite")], 14, seed=3, radii=(0.15, 0.3))
    return image(GARNET, grains, (24, 20), 200.0, seed=5, dead=6)


def test_image__opens_in_the_package(scene):
    counts, known = scene
    check_spectrum_image(counts)
    assert counts.dtype == np.uint16
    assert eds_xr.element_map(counts, "Si_Ka").shape == (24, 20)
    assert known.attrs["beam_energy_kev"] == 200.0


def test_image__amounts_and_counts_add_up(scene):
    counts, known = scene
    np.testing.assert_allclose(known.amounts.sum("phase"), 1)
    assert ((known.amounts > 0.02).sum("phase") > 2).any()  # grains overlap along the beam
    assert float(known.amounts.min()) >= -1e-12
    np.testing.assert_allclose(known.expected.sum(), known.spectra.sum())
    assert int(known.dead.sum()) == 6
    assert int(counts.where(known.dead).sum()) == 0
    total, expected = counts.sum(["y", "x"]).values, known.spectra.sum("phase").values
    filled = expected > 20
    z = (total - expected)[filled] / np.sqrt(expected[filled])
    assert z.std() == pytest.approx(1, abs=0.15)


def test_image__wedge_and_drift():
    plain = image(GARNET, [], (4, 16), 400.0, seed=1, drift=0.0)[1]
    drifting = image(GARNET, [], (4, 16), 400.0, seed=1, drift=0.5)[1]
    thin = image(GARNET, [], (4, 16), 400.0, seed=1, drift=0.0, foil=Foil(0.1))[1]
    assert float(thin.expected[0, -1] / thin.expected[0, 0]) == pytest.approx(1.5, rel=2e-3)
    assert 1.35 < float(plain.expected[0, -1] / plain.expected[0, 0]) < 1.49  # O is absorbed
    more = drifting.expected / plain.expected
    assert float(more[0, 0]) == pytest.approx(1 - 0.25 * 0.3, abs=0.01)
    assert float(more[0, -1]) == pytest.approx(1 + 0.25 * 0.3, abs=0.01)


def test_image__core_shell_on_film():
    film, core = materials.Material("film", "film", {"C": 1}, 1.8), by_name("haematite")
    shell = materials.Material("FePt", "alloy", {"Fe": 1, "Pt": 1}, 15.0)
    grain = Grain(shell, (0.5, 0.5), (0.4, 0.4), depth=2.0, core=0.6, core_material=core)
    known = image(film, [grain], (21, 21), seed=1, foil=Foil(10.0), on_film=True, wedge=0.0)[1]
    nm = known.amounts * known.thickness_nm
    assert nm.sel(phase="film").values == pytest.approx(10.0)
    middle = nm.isel(y=10, x=10)
    assert middle.sel(phase="haematite") == pytest.approx(12, rel=1e-2)
    assert middle.sel(phase="FePt") == pytest.approx(8, rel=1e-2)
    ring = nm.isel(y=10, x=16)
    assert float(ring.sel(phase="haematite")) == 0
    assert float(ring.sel(phase="FePt")) > 0


def test_image__same_seed_same_counts():
    small = Microscope(channels=300)
    one, two, other = (image(GARNET, [], (3, 4), seed=s, microscope=small)[0] for s in (1, 1, 2))
    assert one.identical(two)
    assert not one.equals(other)


# -- scenes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["core-shell", "perovskite film", "wedge", "line scan"])
def test_scene__shares_are_those_of_the_counts(name):
    counts, known = made_scene(name, 40.0, 3, (24, 32))
    check_spectrum_image(counts)
    np.testing.assert_allclose(known.share.sum("phase"), 1)
    assert float(known.share.min()) >= 0
    assert float(known.expected.where(~known.dead).mean()) == pytest.approx(40, rel=0.02)
    of_phases = (known.share * known.expected).sum([d for d in known.share.dims if d != "phase"])
    np.testing.assert_allclose(of_phases, known.spectra.sum("energy"), rtol=1e-6)
    assert abs(float(counts.sum()) - float(known.expected.sum())) < 5 * float(counts.sum()) ** 0.5
    np.testing.assert_allclose(known.atoms.sum("element"), 1)


@pytest.mark.parametrize("name", NAMES)
def test_scene__every_pixel_holds_something(name):
    shape = (1, 30) if name == "line scan" else (20, 30)
    for seed in range(8):
        layout = LAYOUTS[name](np.random.default_rng(seed), shape)
        assert layout.length_nm.min() >= 0
        assert layout.length_nm.sum(0).min() > 0
        names = [phase.name for phase in layout.phases]
        assert len(set(names)) == len(names) == len(layout.length_nm)
        assert {*layout.hosts, *layout.hosts.values()} <= set(names)


@pytest.mark.slow
def test_scene__seeds_differ():
    few = [made_scene("five phases", 5.0, seed, (16, 16)) for seed in (1, 1, 2)]
    assert few[0][0].identical(few[1][0])
    assert not few[0][1].share.equals(few[2][1].share)


def test_layouts__add_up_and_boundaries_are_inclined():
    rng = np.random.default_rng(2)
    made = (
        layers((30, 20), [8, 1, 9, 12], rng, slant_px=4, roughness_px=2),
        lamellae((30, 20), 9, 0.4, rng),
        mosaic((30, 20), 12, (1, 2, 1), rng),
    )
    for shares in made:
        np.testing.assert_allclose(shares.sum(0), 1)
        assert shares.min() >= -1e-12
        assert ((shares > 0.2) & (shares < 0.8)).any()
    assert made[1][1].mean() == pytest.approx(0.4, abs=0.05)
