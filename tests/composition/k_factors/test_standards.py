"""Factors from standards: equal to the truth, with the error that repeated measurements have."""

from functools import lru_cache

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.independent.detector import efficiency
from support.independent.foil import Foil, atoms_per_m2
from support.independent.lines import lines as independent_lines
from support.independent.lines import mass_kg
from support.independent.spectra import MICROSCOPE, truth

from eds_xr import k_factors as kf
from eds_xr.schema import EdsError
from eds_xr.xray.absorption import attenuation_m2_kg
from eds_xr.xray.elements import atomic_mass

NAMES = ["O_Ka", "Mg_Ka", "Si_Ka", "Fe_Ka"]
ATOMS = {"Mg": 1.8, "Fe": 0.2, "Si": 1.0, "O": 4.0}
#: What a unit of mass per area of each line's element gives in counts: the truth.
COUNTS_PER_MASS = np.array([0.9, 1.1, 1.3, 0.8])
FILM, ANGLE = 4e-4, 20.0


@lru_cache
def attenuation_of(elements):
    return attenuation_m2_kg(NAMES, list(elements))


def film_counts(atoms, film, *, attenuation=1.0, scale=1e12):
    """Return the counts of a film, its depth integrated in steps."""
    mass = {e: a * atomic_mass(e) for e, a in atoms.items()}
    total = sum(mass.values())
    fractions = np.array([m / total for m in mass.values()])
    mu = attenuation * attenuation_of(tuple(mass)) @ fractions
    place = (np.arange(400) + 0.5) / 400 * film / np.sin(np.radians(ANGLE))
    leaves = np.exp(-np.outer(mu, place)).mean(axis=1)
    own = np.array([mass[n.split("_")[0]] / total for n in NAMES])
    return scale * own * film * COUNTS_PER_MASS * leaves


def as_lines(net, covariance=None, **attrs):
    covariance = np.diag(net) if covariance is None else covariance
    return xr.Dataset(
        {"net": ("line", net), "covariance": (("line", "line_other"), covariance)},
        {"line": NAMES, "line_other": NAMES},
        {"beam_energy_kev": 200.0, "elevation_angle_deg": ANGLE, **attrs},
    )


# -- the truth -----------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0.05, 5), min_size=4, max_size=4),
    st.floats(1e-6, 2e-3),
    st.sampled_from(NAMES),
)
@settings(max_examples=30)
def test_from_standard__equals_the_truth(amounts, film, reference):
    atoms = dict(zip(("Mg", "Fe", "Si", "O"), amounts, strict=True))
    table = kf.from_standard(
        as_lines(film_counts(atoms, film)), atoms, mass_thickness_kg_m2=film, reference=reference
    )
    expected = COUNTS_PER_MASS[NAMES.index(reference)] / COUNTS_PER_MASS
    np.testing.assert_allclose(table.k, expected, rtol=1e-5)
    assert table.k.sel(line=reference) == 1
    assert table.standard_deviation.sel(line=reference) == 0


@given(st.floats(1e-5, 2e-3), st.floats(1e10, 1e14))
@settings(max_examples=30)
def test_zeta_from_standard__equals_the_truth(film, dose):
    """Cross-sections too: an atom's mass over zeta, and back again."""
    lines = as_lines(film_counts(ATOMS, film, scale=dose))
    table = kf.zeta_from_standard(
        lines, ATOMS, mass_thickness_kg_m2=film, dose_electrons=dose,
        thickness_uncertainty=0.03, dose_uncertainty=0.02,
    )  # fmt: skip
    np.testing.assert_allclose(table.zeta, 1 / COUNTS_PER_MASS, rtol=1e-5)
    back = kf.zeta_from_cross_sections(kf.cross_sections_from_zeta(table))
    xr.testing.assert_allclose(back, table, rtol=1e-12)
    assert back.error.equals(table.error)


def test_from_standard__of_the_second_simulator():
    """Photons of xraylib, its attenuation, another detector: what an atom gives is known there."""
    foil = Foil(thickness_nm=60, density_g_cm3=3.4)
    known = truth(ATOMS, 1e6, foil=foil, strays={})
    net = known.net.sel(line=NAMES).values
    energies, photons = {}, {}
    for name in NAMES:
        of_group = [x for x in independent_lines(name[:2].rstrip("_")) if x.group == name]
        photons[name] = sum(x.photons_m2 for x in of_group)
        energies[name] = sum(x.energy_kev * x.photons_m2 for x in of_group) / photons[name]
    seen = efficiency(MICROSCOPE.detector, list(energies.values()))
    k = np.array([mass_kg(n.split("_")[0]) / photons[n] for n in NAMES]) / seen
    table = kf.from_standard(
        as_lines(net), ATOMS, thickness_nm=60, density_g_cm3=3.4, reference="Si_Ka"
    )
    np.testing.assert_allclose(table.k, k / k[2], rtol=0.01)  # escape: 1 % of Fe Ka's counts
    assert set(atoms_per_m2(ATOMS, foil)) == set(ATOMS)


def test_from_standard__takes_formulas_weights_and_lines_twice():
    net = np.array([4e4, 5e4, 6e4])
    names = ["Fe_Ka", "Fe_La", "S_Ka"]
    lines = xr.Dataset({"net": ("line", net), "variance": ("line", net)}, {"line": names})
    one = kf.from_standard(lines, "FeS2", reference="S_Ka")
    two = kf.from_standard(lines, {"Fe": 1, "S": 2}, reference="S_Ka")
    mass = {"Fe": atomic_mass("Fe"), "S": 2 * atomic_mass("S")}
    three = kf.from_standard(lines, mass, units="weight", reference="S_Ka")
    xr.testing.assert_allclose(one, two)
    xr.testing.assert_allclose(one, three)
    assert one.k.sel(line="Fe_La") == pytest.approx(0.8 * float(one.k.sel(line="Fe_Ka")))


# -- errors --------------------------------------------------------------------------------------

UNCERTAINTY = {"Fe": 0.01, "O": 0.1}
RELATIVE = {"thickness_uncertainty": 0.10, "absorption_uncertainty": 0.05}


#: What is uncertain, in units of its own standard deviation: atoms, thickness, absorption, dose,
#: and what the counts of the lines have in common.
UNCERTAIN = [*UNCERTAINTY, "thickness", "absorption", "dose", *range(len(NAMES))]
DOSE_UNCERTAINTY = 0.02
ROOT = 0.01 * np.array([[1, 0, 0, 0], [0.3, 1, 0, 0], [0, -0.5, 1, 0], [0, 0, 0, 2.0]])


def measured(**off):
    """Return counts of a film that is not quite what it is said to be."""
    atoms = {e: a + UNCERTAINTY.get(e, 0.0) * off.get(e, 0) for e, a in ATOMS.items()}
    film = FILM * (1 + RELATIVE["thickness_uncertainty"] * off.get("thickness", 0))
    mu = 1 + RELATIVE["absorption_uncertainty"] * off.get("absorption", 0)
    dose = 1 + DOSE_UNCERTAINTY * off.get("dose", 0)
    net = film_counts(atoms, film, attenuation=mu, scale=dose)
    net = net / film_counts(ATOMS, FILM, scale=1.0)[1] * 3e4
    return net * (1 + ROOT @ [off.get(str(n), 0.0) for n in range(len(NAMES))])


def moved_logarithms(factors_of):
    """Return what one standard deviation of each uncertain thing moves [thing, line; log]."""
    known = measured()
    covariance = ROOT @ ROOT.T * np.outer(known, known)
    ends = [
        [np.log(factors_of(as_lines(measured(**{str(n): sign}), covariance))) for sign in (1, -1)]
        for n in UNCERTAIN
    ]
    up, down = np.moveaxis(np.array(ends), 1, 0)
    return (up - down) / 2, as_lines(known, covariance)


def deviation(moved):
    return (moved**2).sum(axis=0) ** 0.5


def test_from_standard__errors_are_those_of_what_is_uncertain():
    def table_of(lines):
        return kf.from_standard(
            lines, ATOMS, mass_thickness_kg_m2=FILM, uncertainty=UNCERTAINTY, reference="Si_Ka",
            name="olivine", **RELATIVE,
        )  # fmt: skip

    moved, known = moved_logarithms(lambda x: table_of(x).k.values)
    table = table_of(known)
    relative = (table.standard_deviation / table.k).values
    np.testing.assert_allclose(deviation(moved), relative, rtol=0.01, atol=1e-12)
    # a ratio of two factors, neither of them the reference
    apart = table.relative_error.sel(line="O_Ka") - table.relative_error.sel(line="Fe_Ka")
    ratio = float((apart**2).sum() ** 0.5)
    assert deviation(moved[:, 0] - moved[:, 3]) == pytest.approx(ratio, rel=0.01)


def test_zeta_from_standard__errors_are_those_of_what_is_uncertain():
    def table_of(lines):
        return kf.zeta_from_standard(
            lines, ATOMS, mass_thickness_kg_m2=FILM, uncertainty=UNCERTAINTY, name="olivine",
            dose_electrons=1e9, dose_uncertainty=DOSE_UNCERTAINTY, **RELATIVE,
        )  # fmt: skip

    moved, known = moved_logarithms(lambda x: table_of(x).zeta.values)
    table = table_of(known)
    relative = (table.standard_deviation / table.zeta).values
    np.testing.assert_allclose(deviation(moved), relative, rtol=0.01)
    k = kf.k_factors_from_zeta(table, "Si_Ka")  # thickness and dose cancel
    ratios = moved - moved[:, [2]]
    np.testing.assert_allclose(
        deviation(ratios), (k.standard_deviation / k.k).values, rtol=0.01, atol=1e-12
    )


def test_from_standard__modes_are_named_and_make_the_deviation():
    table = kf.from_standard(
        as_lines(np.full(4, 1e5)), ATOMS, name="olivine", uncertainty={"Fe": 0.01},
        mass_thickness_kg_m2=FILM,
    )  # fmt: skip
    errors = table.error.values.tolist()
    assert {"Fe of olivine", "thickness of olivine", "absorption"} < set(errors)
    assert "Mg of olivine" not in errors
    np.testing.assert_allclose(
        (table.relative_error**2).sum("error") ** 0.5 * table.k, table.standard_deviation
    )


# -- maps ----------------------------------------------------------------------------------------


def a_map(seed, gradient=0.0, shape=(12, 15)):
    random = np.random.default_rng(seed)
    thickness = np.linspace(0.5, 1.5, shape[1])
    expected = np.array([50.0, 80, 60, 20])[:, None, None] * thickness * np.ones(shape)
    expected[3] *= 1 + gradient * np.linspace(-1, 1, shape[0])[:, None]
    net = random.poisson(expected).astype(float)
    return xr.Dataset(
        {"net": (("line", "y", "x"), net), "variance": (("line", "y", "x"), expected)},
        {"line": NAMES},
        {"beam_energy_kev": 200.0},
    )


def test_from_standard__of_a_map_is_that_of_its_sum():
    maps = a_map(3)
    table = kf.from_standard(maps, ATOMS)
    total = maps[["net", "variance"]].sum(["y", "x"]).assign_attrs(maps.attrs)
    of_sum = kf.from_standard(total, ATOMS)
    np.testing.assert_allclose(table.k, of_sum.k)
    wider = max(1.0, table.attrs["scatter_chi_square"] / table.attrs["scatter_degrees_of_freedom"])
    np.testing.assert_allclose(
        table.standard_deviation, of_sum.standard_deviation * wider**0.5, rtol=1e-9
    )
    assert table.attrs["scatter_degrees_of_freedom"] == (4 * 5 - 1) * 3
    lazy = kf.from_standard(maps.chunk(y=5, x=4), ATOMS)
    xr.testing.assert_allclose(lazy, table)


def test_from_standard__of_a_map_that_is_not_homogeneous_is_wider_and_warns():
    with pytest.warns(kf.StandardWarning, match="scatter by"):
        table = kf.from_standard(a_map(4, gradient=0.5), ATOMS)
    even = kf.from_standard(a_map(4), ATOMS)
    assert (table.standard_deviation[1:] > 1.3 * even.standard_deviation[1:]).all()


@pytest.mark.filterwarnings("ignore::eds_xr.composition.k_factors.counts.StandardWarning")
def test_from_standard__chi_square_of_even_maps_is_that_of_chance():
    found = [kf.from_standard(a_map(seed), ATOMS).attrs for seed in range(30)]
    mean = np.mean([a["scatter_chi_square"] / a["scatter_degrees_of_freedom"] for a in found])
    assert mean == pytest.approx(1, abs=4 * (2 / 57 / 30) ** 0.5)


def test_from_standard__sums_what_spectra_share_as_it_is():
    """Two spectra with one error in common: it does not average out."""
    net = np.array([[1e5, 2e5, 1e5, 1e5], [2e5, 4e5, 2e5, 2e5]])
    shared = 0.02 * net[:, None, :] * [1, 0, 0, 0]  # [phase, mode, line]
    own = np.stack([np.diag(n) for n in net])
    covariance = own + np.einsum("pmi,pmj->pij", shared, shared)
    lines = xr.Dataset(
        {
            "net": (("phase", "line"), net),
            "covariance": (("phase", "line", "line_other"), covariance),
            "shared_error": (("phase", "mode", "line"), shared),
        },
        {"line": NAMES, "line_other": NAMES, "phase": ["a", "b"]},
    )
    table = kf.from_standard(lines, ATOMS, reference="Si_Ka")
    expected = 1 / 3e5 + 0.02**2 + 1 / 3e5
    assert float(table.standard_deviation[0] / table.k[0]) ** 2 == pytest.approx(expected)


# -- what makes no factors -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"composition": {}}, "expected amounts by element"),
        ({"composition": {"Si": 0.0, "O": 1}}, "the amount of Si must be positive"),
        ({"composition": "Si(O"}, "no formula"),
        ({"composition": {"Xx": 1}}, "Xx"),
        ({"composition": {"Au": 1}}, "none of the lines"),
        ({"units": "mol"}, "units"),
        ({"uncertainty": {"Al": 0.1}}, "no amount of Al"),
        ({"uncertainty": {"Si": -0.1}}, "the uncertainty of Si must be finite and not negative"),
        ({"thickness_nm": 100}, "thickness_nm and density_g_cm3"),
        ({"mass_thickness_kg_m2": FILM, "thickness_uncertainty": -1}, "thickness_uncertainty must"),
        ({"reference": "Ca_Ka"}, "the reference 'Ca_Ka' is not among the lines"),
    ],
)
def test_from_standard__says_what_is_wrong(change, message):
    given_all = {"composition": ATOMS} | change
    with pytest.raises(EdsError, match=message):
        kf.from_standard(as_lines(np.full(4, 1e4)), **given_all)


def test_from_standard__needs_counts():
    with pytest.raises(EdsError, match="no counts of Mg_Ka"):
        kf.from_standard(as_lines(np.array([1e4, -3, 1e4, 1e4])), ATOMS)
    with pytest.warns(kf.StandardWarning, match="Mg_Ka of the standard: net counts below 5"):
        kf.from_standard(as_lines(np.array([1e4, 9.0, 1e4, 1e4])), ATOMS)
    with pytest.raises(EdsError, match="expected lines from fit_lines"):
        kf.from_standard(xr.Dataset({"counts": 1.0}), ATOMS)


def test_zeta_from_standard__needs_thickness_and_dose():
    known = {"thickness_uncertainty": 0.05, "dose_uncertainty": 0.02}
    lines = as_lines(np.full(4, 1e4))
    with pytest.raises(EdsError, match="zeta-factors need the film's mass thickness"):
        kf.zeta_from_standard(lines, ATOMS, dose_electrons=1e9, **known)
    with pytest.raises(EdsError, match="the method needs the dose"):
        kf.zeta_from_standard(lines, ATOMS, mass_thickness_kg_m2=FILM, **known)
