"""Recipes: what is read is what was written, and mistakes are named with file and key."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eds_xr.analysis.recipe import (
    ElementChoice,
    FitChoice,
    InstrumentChoice,
    PhaseRecipe,
    PixelChoice,
    QuantificationChoice,
    Recipe,
    SegmentationChoice,
    read_recipe,
    write_recipe,
)
from eds_xr.analysis.recipe_choices import DetectorChoice
from eds_xr.schema import EdsError

FULL = """
seed = 3
[instrument]
beam_energy_kev = 300
assume_thin_film = true
hole = "hole.emd"
hole_scale = "Cu_Ka"
take_off_angle_deg = 22
[elements]
sample = ["Mg", "Si"]
stray = ["Cu"]
majors = ["Mg"]
[choice]
by = "halves"
range_kev = [0.3, 4]
[phases]
number = 3
matrix = "Brg"
[[phase]]
name = "Ca-Pv"
like = {Ca = 0.6, Si = 0.3}
host = "Brg"
pinned = ["Mg_Ka"]
oxygens = 3
sites = [["Ca", "Nd"], ["Si", "Al"]]
[[phase]]
name = "Brg"
[segmentation]
least_share = 0.2
pure_share = 0.01
smoothness = 0
scribbles = "strokes.edsx"
[fit]
range_kev = [0.7, 12.5]
other_ranges_kev = [[0.6, 12.5], [0.8, 12.5]]
[quantification]
k_factors = "k.csv"
oxygen = "stoichiometry"
thickness_nm = 100
density_g_cm3 = 4.5
thickness = "charge_balance"
valences = {Fe = 2.4}
[detector]
window_nm = 300
dead_layer_nm = 50
contact_nm = 30
thickness_mm = 0.5
"""


def test_from_toml__every_key():
    found = Recipe.from_toml(FULL)
    assert found == Recipe(
        seed=3,
        instrument=InstrumentChoice(300.0, True, "hole.emd", "Cu_Ka", 22.0),
        elements=ElementChoice(("Mg", "Si"), ("Cu",), ("Mg",)),
        choice=PixelChoice("halves", (0.3, 4.0)),
        number=3,
        matrix="Brg",
        phases=(
            PhaseRecipe(
                "Ca-Pv", {"Ca": 0.6, "Si": 0.3}, "Brg", ("Mg_Ka",), 3.0,
                (("Ca", "Nd"), ("Si", "Al")),
            ),
            PhaseRecipe("Brg"),
        ),
        segmentation=SegmentationChoice(0.2, 0.01, 0.0, "strokes.edsx"),
        fit=FitChoice((0.7, 12.5), ((0.6, 12.5), (0.8, 12.5))),
        quantification=QuantificationChoice(
            "k.csv", "stoichiometry", 100.0, 4.5, {"Fe": 2.4}, "charge_balance"
        ),
        detector=DetectorChoice(300.0, 50.0, 30.0, 0.5),
    )  # fmt: skip
    assert type(found.quantification.thickness_nm) is float


def test_from_toml__what_is_left_out_is_found_by_the_data():
    found = Recipe.from_toml("")
    assert found == Recipe()
    assert found.elements.sample is found.number is found.matrix is found.fit.range_kev is None
    assert found.choice.by == "majors"
    # an empty list, or name, is a choice
    chosen = Recipe.from_toml('[elements]\nstray = []\n[phases]\nmatrix = ""')
    assert (chosen.elements.stray, chosen.matrix) == ((), "")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
SYMBOLS = st.lists(st.sampled_from(["Mg", "Si", "Fe", "U"]), unique=True)
POSITIVE = st.floats(1e-6, 1e6)
PHASES = st.builds(
    PhaseRecipe,
    name=NAMES,
    like=st.none() | st.dictionaries(st.sampled_from(["Mg", "Ca"]), POSITIVE, min_size=1),
    host=st.sampled_from([None, ""]),
    pinned=st.none() | st.lists(st.sampled_from(["Mg_Ka", "U_Ma"]), unique=True),
    oxygens=st.none() | POSITIVE,
    sites=st.none() | SYMBOLS.map(lambda names: [[name] for name in names]),
)
RECIPES = st.builds(
    Recipe,
    seed=st.integers(0, 2**62),
    elements=st.builds(ElementChoice, sample=st.none() | SYMBOLS, stray=st.none() | SYMBOLS),
    number=st.sampled_from([None, 9]),
    matrix=st.sampled_from([None, ""]),
    phases=st.lists(PHASES, max_size=3, unique_by=lambda phase: phase.name),
    quantification=st.builds(
        QuantificationChoice,
        k_factors=NAMES,
        thickness_nm=POSITIVE,
        thickness=st.sampled_from([None, "charge_balance"]),
        valences=st.none() | st.dictionaries(st.sampled_from(["Fe", "S"]), st.floats(-4, 8)),
    ),
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("window_nm = -1", r"\[detector\] window_nm must be a number at least 0"),
        ("window_nm = 3\nenergy_kev = [0.1, 1]\nefficiency = [0.1, 1]", "keep one of them"),
        ("energy_kev = [0.1, 1]", r"\[detector\]: .*needs energy_kev and efficiency"),
        ("energy_kev = [0.1, 1]\nefficiency = [10, 90]", "divide by 100"),
        ("windows_nm = 3", "do you mean window_nm"),
    ],
)
def test_from_toml__of_a_detector_that_cannot_be(text, message):
    with pytest.raises(EdsError, match=message):
        Recipe.from_toml(f"[detector]\n{text}\n")


def test_detector_choice__is_what_with_detector_takes():
    text = "[detector]\nenergy_kev = [0.1, 1.0]\nefficiency = [0.1, 0.9]\n"
    found = Recipe.from_toml(text)
    assert found.detector.given() == {"energy_kev": (0.1, 1.0), "efficiency": (0.1, 0.9)}
    assert Recipe.from_toml(found.to_toml()) == found
    assert Recipe().detector.given() is None


@given(recipe=RECIPES)
def test_to_toml__is_read_as_the_same_recipe(recipe):
    assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_to_toml__names_every_choice_and_what_it_means():
    written = Recipe(phases=(PhaseRecipe("Fp"),)).to_toml()
    keys = {line.split(" =")[0].removeprefix("# ") for line in FULL.splitlines() if "=" in line}
    keys |= {"energy_kev", "efficiency"}  # a table, instead of the layers
    shown = [line for line in written.splitlines() if " =" in line]
    assert {line.removeprefix("# ").split(" =")[0] for line in shown} == keys
    assert tomllib.loads(written)["segmentation"]["least_share"] == 0.1
    assert "# number =  # of components; left out: suggested" in written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1", "sed is no key of a recipe; do you mean seed?"),
        ("[elements]\nSample = ['Mg']", "[elements] Sample is no key of a recipe; do you mean sam"),
        ("[fitt]", "fitt is no key of a recipe; do you mean fit?"),
        ("thickness_nm = 1", "thickness_nm is no key of a recipe; it belongs below [quantificatio"),
        ("[phases]\noxygens = 3", "oxygens is no key of a recipe; it belongs below [[phase]]"),
        ("[[phase]]\nname = 'Fp'\nhots = 'a'", "[[phase]] Fp: hots is no key of a recipe; do you"),
        ("seed = -1", "seed must be a whole number from 0 on, found -1"),
        ("seed = true", "seed must be a whole number from 0 on, found True"),
        ("[elements]\nsample = ['Mg', 'Qq']", "[elements] sample: no chemical element 'Qq'"),
        ("[elements]\nstray = 'Cu'", "[elements] stray must be a list of elements"),
        ("[elements]\nstray = ['Cu', 'Cu']", "[elements] stray names Cu twice"),
        ("[choice]\nby = 'chance'", "[choice] by must be one of 'majors', 'halves', 'all', found"),
        ("[choice]\nrange_kev = [4, 1]", "[choice] range_kev: range_kev must be two energies"),
        ("[choice]\nrange_kev = [4]", "[choice] range_kev must be two energies in keV"),
        ("[fit]\nrange_kev = [nan, 4]", "[fit] range_kev must be a number"),
        ("[phases]\nnumber = 0", "[phases] number must be a whole number from 1 to 100, found 0"),
        ("[segmentation]\nleast_share = 1.0", "least_share must be a number above 0 and below 1"),
        ("[segmentation]\nsmoothness = inf", "smoothness must be a number at least 0"),
        ("[quantification]\noxygen = 'no'", "[quantification] oxygen must be one of 'measured',"),
        ("[quantification]\nthickness = '9'", "thickness must be one of 'charge_balance'"),
        ("[quantification]\nvalences = 3", "valences must be charges by element: {Fe = 2.4"),
        ("[quantification]\nvalences = {Qq = 3}", "valences: no chemical element 'Qq'"),
        ("[quantification]\nvalences = {Fe = 'x'}", "valences.Fe must be a number"),
        ("[quantification]\nthickness_nm = '9'", "[quantification] thickness_nm must be a number"),
        ("[[phase]]", "[[phase]] without a name: name must not be empty"),
        ("[[phase]]\nname = 'a'\nlike = {Qq = 1}", "[[phase]] a: like: no chemical element 'Qq'"),
        ("[[phase]]\nname = 'a'\nlike = {Ca = 0}", "a: like must have a share above zero"),
        ("[[phase]]\nname = 'a'\npinned = ['Mg_Qa']", "a: pinned: Mg has no line 'Qa'"),
        ("[[phase]]\nname = 'a'\nsites = [['Ca'], ['Ca']]", "[[phase]] a: sites names Ca twice"),
        ("[[phase]]\nname = 'a'\n[[phase]]\nname = 'a'", "two phases are called 'a'"),
        ("[phase]\nname = 'a'", "phase must be a list of tables, each under [[phase]]"),
        ("[phases]\nmatrix = 'Brk'\n[[phase]]\nname = 'Brg'", "none of the phases; do you mean"),
        ("[[phase]]\nname = 'a'\nhost = 'a'", "[[phase]] a: host: the phases lie in one another"),
        ("[phases]\nnumber = 1\n[[phase]]\nname='a'\n[[phase]]\nname='b'", "2 phases are named"),
        ("fit = 3", "[fit] must be a table"),
        ("seed = ", "is no TOML file"),
    ],
)  # fmt: skip
def test_from_toml__mistakes_are_named_with_their_key(text, message):
    with pytest.raises(EdsError) as caught:
        Recipe.from_toml(text, source="study.toml")
    assert str(caught.value).startswith("study.toml")
    assert message in str(caught.value)


def test_recipe__made_in_python_is_checked_too():
    with pytest.raises(EdsError, match=r"\[segmentation\] pure_share must be a number above 0"):
        SegmentationChoice(pure_share=0)
    with pytest.raises(EdsError, match="seed must be a whole number"):
        Recipe(seed=None)


def test_read_recipe__finds_the_files_that_it_names_beside_it(tmp_path):
    path = write_recipe(Recipe.from_toml(FULL), tmp_path / "study.toml")
    assert read_recipe(path).quantification.k_factors == str(tmp_path / "k.csv")
    assert read_recipe(path).segmentation.scribbles == str(tmp_path / "strokes.edsx")
    path.write_bytes(b"\xef\xbb\xbfseed = 4\r\n")  # as an editor of Windows saves it
    assert read_recipe(path) == Recipe(seed=4)


def test_read_recipe__what_cannot_be_read(tmp_path):
    with pytest.raises(EdsError, match=r"cannot read the recipe .*nothing\.toml"):
        read_recipe(tmp_path / "nothing.toml")
    (tmp_path / "image.toml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(EdsError, match=r"cannot read the recipe .*image\.toml"):
        read_recipe(tmp_path / "image.toml")
    (tmp_path / "study.toml").touch()
    with pytest.raises(EdsError, match=r"study\.toml exists"):
        write_recipe(Recipe(), tmp_path / "study.toml")
