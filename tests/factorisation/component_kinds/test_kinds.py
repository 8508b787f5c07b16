"""What components are, on counts of the second simulator."""

import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.independent.grains import Grain
from support.independent.images import MICROSCOPE, image
from support.independent.materials import Material
from support.independent.spectra import truth
from support.known import largest_change, product

from eds_xr.factorisation.component_kinds.few_pixels import in_few
from eds_xr.factorisation.component_kinds.kinds import component_kinds, kinds_of, merge_kinds
from eds_xr.factorisation.nmf import nmf
from eds_xr.factorisation.rank import suggest_rank
from eds_xr.schema import EdsError

SILICATE = Material("Brg", "oxide", {"Mg": 0.9, "Fe": 0.1, "Si": 0.95, "Al": 0.08, "O": 3}, 4.3)
CALCIUM = Material("CaPv", "oxide", {"Ca": 1, "Si": 1, "O": 3}, 4.5)
SEEN = slice(0.2, None)


def foil(grains=(), dose=200.0, **options) -> xr.DataArray:
    options = {"wedge": 0.0, "drift": 0.0, **options}
    return image(SILICATE, grains, (64, 64), dose, seed=3, **options)[0].sel(energy=SEEN)


@pytest.mark.parametrize(
    ("options", "kind"), [({"wedge": 1.4}, "modulation"), ({"drift": 0.5}, "background")]
)
def test_component_kinds__thickness_and_background_are_no_phases(options, kind):
    counts = foil(**options)
    found = component_kinds(nmf(counts, 2))
    assert found.kind.values.tolist() == ["phase", kind]
    assert found.parent.values.tolist() == [0, 0]
    assert "one phase" in found.attrs["notes"][0]
    rank = suggest_rank(counts).attrs
    assert (rank["suggested"], rank["phases"], rank["possible"]) == (1, 1, 2)


@pytest.mark.parametrize("dose", [20.0, 200.0])
def test_component_kinds__a_small_phase_on_a_wedge_is_one(dose):
    grains = [Grain(CALCIUM, (0.3, 0.4), (0.06, 0.05)), Grain(CALCIUM, (0.7, 0.6), (0.05, 0.05))]
    rank = suggest_rank(foil(grains, dose, wedge=0.4)).attrs  # 2 % of the pixels
    assert rank["suggested"] == rank["phases"] == 2


def test_component_kinds__odd_pixels():
    counts = foil().copy()
    counts[20, 30, 700:705] += 2000
    found = component_kinds(nmf(counts, 2))
    assert found.kind.values.tolist() == ["phase", "odd pixels"]
    dead = foil(dead=5)
    assert suggest_rank(dead).attrs["suggested"] == 1


def test_component_kinds__a_gradient_is_a_continuum_and_boundaries_are_not():
    ends = [{"Cs": 1, "Pb": 1, "I": 3}, {"Cs": 1, "Pb": 1, "Br": 3}]
    spectra = [truth(atoms, 1.0, microscope=MICROSCOPE).expected for atoms in ends]
    table = np.stack([s.sel(energy=SEEN) / s.sel(energy=SEEN).sum() for s in spectra])
    across = np.linspace(0, 1, 48)
    for share, continuum in ((across, True), (across > 0.5, False)):
        amounts = np.stack([1.0 - share, share], -1)[:, None].repeat(48, 1)
        counts = np.random.default_rng(0).poisson(150 * amounts @ table).astype(np.uint16)
        energy = spectra[0].sel(energy=SEEN).energy
        found = component_kinds(nmf(xr.DataArray(counts, {"energy": energy}, ("y", "x", "energy"))))
        assert sorted(found.kind.values) == (["continuum end"] if continuum else ["phase"]) + [
            "phase"
        ]
        assert len(set(found.parent.values)) == 2 - continuum  # one phase, or two
        assert bool(found.attrs["continuum"]) == continuum


# -- kinds_of, of made-up spectra and maps ---------------------------------------------------------

ENERGY = np.linspace(0.1, 8, 800)
RANDOM = np.random.default_rng(5)


def spectrum(*lines: tuple[float, float]) -> np.ndarray:
    """Return lines (energy, height) on a background, sum 1."""
    made = 0.3 / ENERGY
    for energy, height in lines:
        made = made + height * np.exp(-0.5 * ((ENERGY - energy) / 0.05) ** 2)
    return made / made.sum()


def kinds(maps: np.ndarray, loadings: list[np.ndarray]) -> list[str]:
    table = np.stack(loadings)
    table = table.clip(1e-9) / table.clip(1e-9).sum(1, keepdims=True)
    return kinds_of(
        maps, table, ENERGY, lambda spread: in_few(maps.reshape(-1, len(table)), spread)
    ).kind


SUPPORT = spectrum((0.28, 30))
OXIDE = spectrum((0.52, 20), (1.5, 20), (4.5, 20))
METAL = spectrum((2.1, 20), (6.4, 8))
SULPHUR = spectrum((2.5, 20), (3.3, 8))
LUMPS = np.zeros((30, 30))
LUMPS[3:12, 4:16] = 3000 * RANDOM.uniform(0.5, 2, (9, 12))
LUMPS[18:27, 12:26] = 3000 * RANDOM.uniform(0.5, 2, (9, 14))


def test_kinds_of__a_thick_lump_with_sharp_edges_is_no_phase():
    absorbed = np.exp(-0.6 * ENERGY**-2.8 / 0.5**-2.8)
    share = (LUMPS / 6000) ** 2 * 0.4  # of what absorption takes, the more the thicker
    maps = np.stack([0 * LUMPS + 2000, LUMPS * (1 - share), LUMPS * share], -1)
    assert kinds(maps, [SUPPORT, OXIDE, OXIDE * absorbed]) == ["phase", "phase", "modulation"]


def test_kinds_of__a_phase_that_lies_in_thick_places_is_one():
    share = (LUMPS / 6000) ** 2 * 0.4
    maps = np.stack([0 * LUMPS + 2000, LUMPS * (1 - share), LUMPS * share], -1)
    assert kinds(maps, [SUPPORT, OXIDE, 0.8 * OXIDE + 0.2 * METAL]) == ["phase"] * 3


def test_kinds_of__a_difference_of_others_is_none():
    maps = np.stack([0 * LUMPS + 2000, LUMPS, LUMPS[::-1] / 3, LUMPS.T], -1)
    corners = [SUPPORT, OXIDE, METAL, SULPHUR]  # mixtures of neighbours: each sum of two is one
    square = [0.5 * (one + next_) for one, next_ in itertools.pairwise([*corners, SUPPORT])]
    assert kinds(maps, square).count("noise") == 1
    assert kinds(maps, corners) == ["phase"] * 4


def test_kinds_of__what_scatters_as_noise_is_none():
    other = 0.8 * OXIDE + 0.2 * METAL
    scattered = RANDOM.normal(200, 40, (30, 30))
    assert kinds(np.stack([2000 - scattered, scattered], -1), [OXIDE, other]) == ["phase", "noise"]
    grain = np.where(LUMPS > 0, 260.0, 140.0) + RANDOM.normal(0, 20, (30, 30))
    assert kinds(np.stack([2000 - grain, grain], -1), [OXIDE, other]) == ["phase", "phase"]


# -- merge_kinds ---------------------------------------------------------------------------------


def factors(seed: int) -> xr.Dataset:
    random = np.random.default_rng(seed)
    loadings = random.gamma(0.5, size=(4, 30))
    return xr.Dataset(
        {
            "scores": (("y", "x", "component"), random.gamma(1.0, 100, (6, 5, 4))),
            "loadings": (("component", "energy"), loadings / loadings.sum(1)[:, None]),
        },
        {"component": range(4), "energy": np.arange(30.0)},
        attrs={"ends_at": ["pixels", "spectrum", "pixels", "spectrum"]},
    )


@settings(max_examples=10)
@given(seed=st.integers(0, 99), into=st.lists(st.sampled_from([0, 2]), min_size=2, max_size=2))
def test_merge_kinds__keeps_the_counts_of_each_pixel_and_channel(seed, into):
    whole = factors(seed)
    kinds = xr.Dataset({"parent": ("component", [0, into[0], 2, into[1]])}, {"component": range(4)})
    merged = merge_kinds(whole.chunk(y=2, component=1), kinds)
    assert merged.scores.chunks is not None
    assert merged.component.values.tolist() == [0, 2]
    assert merged.attrs["ends_at"] == ["pixels", "pixels"]
    np.testing.assert_allclose(merged.loadings.sum("energy"), 1)
    before, after = product(whole), product(merged.compute())
    assert largest_change(after.sum("energy"), before.sum("energy")) < 1e-6
    assert largest_change(after.sum(("y", "x")), before.sum(("y", "x"))) < 1e-6


def test_component_kinds_and_merge_kinds__refuse_other_things():
    with pytest.raises(EdsError, match="scores and loadings"):
        component_kinds(factors(0).drop_vars("scores"))
    kinds = xr.Dataset({"parent": ("component", [0, 0])}, {"component": [0, 1]})
    with pytest.raises(EdsError, match=r"kinds of components \[0, 1, 2, 3\], found \[0, 1\]"):
        merge_kinds(factors(0), kinds)
