"""The whole road on samples that are not the study's, made by the second simulator."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from support.independent.scenes import scene

import eds_xr
from eds_xr import EdsError, Recipe, simulate
from eds_xr.analysis.analyse import analysed, with_counts
from eds_xr.analysis.recipe import ElementChoice, InstrumentChoice, PixelChoice


@pytest.fixture(scope="module")
def alloy() -> tuple[xr.DataTree, xr.Dataset]:
    """Precipitates in a matrix, one of them nowhere pure."""
    image, truth = scene("precipitates", 400.0, seed=1, shape=(80, 80))
    return eds_xr.analyse(image), truth


def _named(tree: xr.DataTree, truth: xr.Dataset) -> dict[str, str]:
    """Return the phase found that is most where each true one is."""
    present = tree["segmentation"].present
    both = (present & truth.present.rename(phase="true")).sum(("y", "x"))
    either = (present | truth.present.rename(phase="true")).sum(("y", "x"))
    best = (both / either).argmax("phase")
    return {str(t): str(present.phase[int(best.sel(true=t))].item()) for t in best.true.values}


def test_analyse__finds_phases_matrix_and_compositions(
    alloy: tuple[xr.DataTree, xr.Dataset],
) -> None:
    tree, truth = alloy
    names = _named(tree, truth)
    assert len(set(names.values())) == truth.sizes["phase"] == tree["segmentation"].sizes["phase"]
    matrix = names[next(str(p.item()) for p in truth.phase if truth.host.sel(phase=p) == "")]
    assert tree.attrs["matrix"] == matrix
    for true, found in names.items():
        host = str(truth.host.sel(phase=true).item())
        one = tree["composition"].sel(phase=found)
        for element in one.element.values:
            atoms = float(truth.atoms.sel(phase=true, element=element))
            sd = (
                float(
                    one.atomic_fraction_variance.sel(element=element)
                    + one.atomic_fraction_systematic_covariance.sel(
                        element=element, element_other=element
                    )
                )
                ** 0.5
            )
            off = abs(float(one.atomic_fraction.sel(element=element)) - atoms)
            assert off < 4 * sd + 0.02, (true, element)
        assert (host == "") == (found == matrix)


def test_analyse__each_group_stands_alone_and_the_tree_can_be_written(
    alloy: tuple[xr.DataTree, xr.Dataset], tmp_path_factory: pytest.TempPathFactory
) -> None:
    tree, _ = alloy
    assert tree["factors"].scores.chunks is not None  # image-sized parts stay lazy
    assert {"kinds", "masks", "lines", "refined_composition", "comparison"} <= set(tree.children)
    assert bool(tree["comparison"].agree.all())
    spectra = tree["spectra"].to_dataset()
    for name in ("present", "pure", "label"):  # pictures have a scale bar in them
        assert tree["segmentation"][name].x.attrs["units"] == "nm"
    pixels = tree["masks"].mask.sum(("y", "x"))
    np.testing.assert_array_equal(spectra.n_pixels, pixels)
    store = tmp_path_factory.mktemp("tree") / "a.zarr"
    tree.to_zarr(store, consolidated=False)
    with xr.open_datatree(store, engine="zarr", consolidated=False) as back:
        assert back.attrs["recipe"] == tree.attrs["recipe"]
        for name in ("composition", "segmentation"):
            xr.testing.assert_equal(back[name].to_dataset().load(), tree[name].to_dataset())


def test_analyse__its_recipe_says_what_it_chose(alloy: tuple[xr.DataTree, xr.Dataset]) -> None:
    tree, truth = alloy
    recipe = Recipe.from_toml(tree.attrs["recipe"])
    assert set(recipe.elements.sample or ()) == set(truth.element.values)
    assert "Cu" in (recipe.elements.stray or ())
    assert {p.name for p in recipe.phases} == set(tree["segmentation"].phase.values)
    assert all(p.like for p in recipe.phases)


def test_analyse__one_phase_of_few_counts_by_halves_is_said() -> None:
    image, truth = scene("wedge", 60.0, seed=1, shape=(40, 40))
    elements = tuple(str(e) for e in truth.element.values)
    recipe = Recipe(
        elements=ElementChoice(sample=elements, stray=("Cu",)), choice=PixelChoice(by="halves")
    )
    tree = analysed(image, recipe)
    assert tree["segmentation"].sizes["phase"] == 1
    assert any("one phase" in said for said in tree.attrs["warnings"])
    assert int(tree["spectra"].counts.sum()) == int(image.sum())  # both halves, each count once


@pytest.mark.slow
def test_analyse__what_is_recorded_in_an_sem_has_net_counts_and_no_composition() -> None:
    image = simulate.spectrum_image((24, 24, 1024), 400.0, seed=0)
    recipe = Recipe(elements=ElementChoice(sample=("Mg", "Si", "Ca", "Fe"), stray=()), number=2)
    tree = analysed(image.assign_attrs(signal_type="EDS_SEM"), recipe)
    assert "lines" in tree.children
    assert "composition" not in tree.children
    assert any("no composition: it was recorded in an SEM" in w for w in tree.attrs["warnings"])


@pytest.mark.slow
def test_analyse__without_a_beam_asks_for_it_and_the_recipe_may_tell() -> None:
    image = simulate.spectrum_image((24, 24, 1024), 400.0, seed=0)
    del image.attrs["beam_energy_kev"]
    image.attrs["signal_type"] = ""
    recipe = Recipe(elements=ElementChoice(sample=("Mg", "Si", "Ca", "Fe"), stray=()), number=2)
    tree = analysed(image, recipe)
    assert "lines" in tree.children
    assert "composition" not in tree.children
    said = [w for w in tree.attrs["warnings"] if "no composition" in w and "[instrument]" in w]
    assert len(said) == 1
    assert "a beam of 200 keV" in tree["lines"].attrs["assumptions"][0]
    told = replace(recipe, instrument=InstrumentChoice(beam_energy_kev=200.0))
    tree = analysed(image, told)
    assert tree["composition"].attrs["assumptions"] == ["a beam of 200 keV, as given by hand"]
    assert Recipe.from_toml(tree.attrs["recipe"]).instrument == told.instrument


def test_with_counts__a_trace_on_a_film_is_no_composition() -> None:
    names = {"phase": ["film", "iron"], "line": ["Fe_Ka"]}
    dims = ("phase", "line")
    lines = xr.Dataset(
        {"net": (dims, [[900.0], [9000.0]]), "variance": (dims, [[900.0], [9000.0]])}
    )
    counts = np.array([[1e5, 0.0], [1e4, 1e4]])
    spectra = xr.Dataset({"counts": (("phase", "energy"), counts)}, {"phase": names["phase"]})
    notes: list[str] = []
    assert with_counts(lines.assign_coords(names), spectra, notes).phase.values.tolist() == ["iron"]
    assert "film: no composition" in notes[0]
    with pytest.raises(EdsError, match="no phase has a line"):
        with_counts(lines.assign_coords(names).isel(phase=[0]), spectra.isel(phase=[0]), notes)
    assert len(notes) == 1


def test_analyse__refuses() -> None:
    empty = xr.zeros_like(simulate.spectrum_image((4, 4, 256), 1.0, seed=0))
    with pytest.raises(EdsError, match="holds no counts: nothing to analyse"):
        eds_xr.analyse(empty)
    with pytest.raises(EdsError, match="EELS image"):
        eds_xr.analyse(empty.assign_attrs(signal_type="EELS"))
