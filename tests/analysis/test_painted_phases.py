"""Painted phases as the recipe of an analysis: from strokes in a file to compositions and back."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from support.independent.scenes import scene

import eds_xr
from eds_xr import EdsError, Recipe, labelling, scribbles
from eds_xr.analysis import files
from eds_xr.analysis.painted_phases import as_phases, factors_of, painted_of
from eds_xr.analysis.recipe import SegmentationChoice, read_recipe
from eds_xr.analysis.replay import replay
from eds_xr.schema import phase_names
from eds_xr.segmentation.presence.of_strokes import PhasesOfStrokes

SHAPE = (64, 64)
#: What they are called by hand; the names of the truth are others.
CALLED = ("bulk", "first kind", "second kind")


def session_on(truth: xr.Dataset, image: xr.DataArray, name: str) -> labelling.Session:
    """Return four short strokes in each combination of phases that is seen often enough."""
    present = truth.present.transpose("phase", "y", "x").values
    sets, code = np.unique(present.reshape(len(present), -1).T, axis=0, return_inverse=True)
    code = code.reshape(present.shape[1:])
    session = labelling.add_image(labelling.Session(), name, image)
    for one in CALLED[: len(present)]:
        session = labelling.add_class(session, one)
    random = np.random.default_rng(0)
    for k, held in enumerate(sets):
        places = np.argwhere(code == k)
        if len(places) < 60 or not held.any():
            continue
        called = "+".join(np.array(CALLED)[: len(held)][held])
        if held.sum() > 1:
            session = labelling.add_class(session, called)
        for y, x in random.choice(places, 4, replace=False):
            inside = [(y + 0.5, x + d + 0.5) for d in range(6)
                      if x + d < SHAPE[1] and code[y, x + d] == k]  # fmt: skip
            stroke = scribbles.points(called.replace(" ", "_"), inside)
            session = labelling.add_stroke(session, stroke, name)
    return session


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, xr.Dataset]:
    """Return the folder of an analysis by a recipe with strokes, and the truth."""
    folder = tmp_path_factory.mktemp("painted")
    image, truth = scene("precipitates", 400.0, seed=1, shape=SHAPE)
    store = eds_xr.save(image, folder / "map.zarr")
    labelling.write_session(session_on(truth, image, "map.zarr"), folder / "drawn.edsx")
    (folder / "r.toml").write_text('[segmentation]\nscribbles = "drawn.edsx"\n')
    recipe = read_recipe(folder / "r.toml")
    assert recipe.segmentation.scribbles == str(folder / "drawn.edsx")
    result = files.analyse_file(store, folder / "out", recipe=recipe)
    shutil.move(folder / "drawn.edsx", folder / "elsewhere.edsx")
    return result, truth


@pytest.mark.slow
def test_analyse__takes_the_painted_phases(done: tuple[Path, xr.Dataset]) -> None:
    result, truth = done
    tree = files.open_analysis(result)
    names = [name.replace(" ", "_") for name in CALLED[: truth.sizes["phase"]]]
    present = tree["segmentation"].present.load()
    assert present.phase.values.tolist() == names
    for i in range(len(names)):
        found, true = present.values[i], truth.present.values[i]
        assert (found & true).sum() / (found | true).sum() > 0.8, names[i]
    assert set(phase_names(tree["scribbles"].label)) >= set(names)
    for i, name in enumerate(tree["composition"].phase.values.tolist()):
        one = tree["composition"].sel(phase=name)
        true = truth.atoms.isel(phase=names.index(name))
        for element in one.element.values:
            off = abs(float(one.atomic_fraction.sel(element=element)) - true.sel(element=element))
            assert float(off) < 0.12, (i, name, element)


@pytest.mark.slow
def test_replay__with_the_strokes_that_lie_beside_the_result(
    done: tuple[Path, xr.Dataset],
) -> None:
    result, _ = done
    assert (result / "strokes.edsx").is_file()
    assert read_recipe(result / "recipe.toml").segmentation.scribbles == str(
        result / "strokes.edsx"
    )
    steps = {one.step: one.difference for one in replay(result)}
    assert "scribbles" in steps
    assert not any(steps.values()), steps


def test_painted_of__any_kind_of_file(tmp_path: Path) -> None:
    image, truth = scene("precipitates", 50.0, seed=1, shape=SHAPE)
    session = session_on(truth, image, "map.zarr")
    drawn = labelling.scribbles_of(session)
    labelling.write_session(session, tmp_path / "a.edsx")
    scribbles.write(drawn, tmp_path / "a.zip")
    scribbles.write(drawn, tmp_path / "a.tif")
    scribbles.write(drawn, tmp_path / "a.zarr")
    for name in ("a.edsx", "a.zip", "a.tif", "a.zarr"):
        recipe = Recipe(segmentation=SegmentationChoice(scribbles=str(tmp_path / name)))
        found = painted_of(recipe, image)
        assert found is not None
        # an archive of regions names classes in the order of their parts
        names, expected = (
            np.array(["", *("+".join(sorted(n.split("+"))) for n in phase_names(one))])
            for one in (found, drawn)
        )
        np.testing.assert_array_equal(names[found.values], expected[drawn.values])
    assert painted_of(Recipe(), image) is None


def test_painted_of__chooses_the_image_of_the_session(tmp_path: Path) -> None:
    image, truth = scene("precipitates", 50.0, seed=1, shape=SHAPE)
    session = session_on(truth, image, "one.zarr")
    path = tmp_path / "a.edsx"
    recipe = Recipe(segmentation=SegmentationChoice(scribbles=str(path)))
    two = labelling.add_image(session, "small.zarr", image.isel(y=slice(20)))
    labelling.write_session(two, path)
    assert int((painted_of(recipe, image) > 0).sum()) == int(
        (labelling.scribbles_of(session) > 0).sum()
    )
    two = labelling.add_image(session, "folder/two.emd", image)
    labelling.write_session(two, path, overwrite=True)
    of_two = painted_of(recipe, image.assign_attrs(source="/data/two.zarr"))
    assert of_two is not None
    assert int(of_two.sum()) == 0
    with pytest.raises(EdsError, match="'one.zarr', 'folder/two.emd' of the session lie on"):
        painted_of(recipe, image.assign_attrs(source=""))
    with pytest.raises(EdsError, match="no image of the session lies on the grid of this one: th"):
        painted_of(recipe, image.isel(x=slice(30)))
    missing = Recipe(segmentation=SegmentationChoice(scribbles=str(tmp_path / "none.edsx")))
    with pytest.raises(EdsError, match=r"\[segmentation\] scribbles: no session can be read"):
        painted_of(missing, image)


def test_factors_of__refuses_phases_that_components_do_not_tell_apart() -> None:
    image, _ = scene("precipitates", 50.0, seed=1, shape=SHAPE)
    values = np.zeros(SHAPE, np.uint8)
    values[5, 5:15], values[7, 5:15] = 1, 2
    same = eds_xr.schema.label_array(values, image.isel(energy=0, drop=True), ["up", "down"])
    with pytest.raises(EdsError, match="2 components do not tell the painted phases apart"):
        factors_of(image, Recipe(number=2), same)


def test_as_phases__sums_or_mixtures_of_components() -> None:
    energy = xr.DataArray(np.arange(4) * 0.1, dims="energy", attrs={"units": "keV"})
    loadings = np.array([[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1.0]])
    scores = np.random.default_rng(0).random((2, 3, 3)).astype(np.float32)
    coords = {"energy": energy, "component": [0, 1, 2]}
    factors = xr.Dataset(
        {"scores": (("y", "x", "component"), scores),
         "loadings": (("component", "energy"), loadings)},
        coords,
    )  # fmt: skip
    image = xr.DataArray(scores @ loadings, coords={"energy": energy}, dims=("y", "x", "energy"))
    own = np.array([[True, False], [False, True], [False, True]])
    summed = as_phases(
        image, factors, PhasesOfStrokes(["a", "b"], own, np.array([[1, 0, 0], [0, 0.25, 0.75]]))
    )
    np.testing.assert_allclose(summed.scores[..., 1], scores[..., 1] + scores[..., 2], rtol=1e-6)
    np.testing.assert_allclose(summed.loadings[1], [0, 0.125, 0.125, 0.75])
    mixed = as_phases(
        image, factors, PhasesOfStrokes(["a", "b"], own, np.array([[0.5, 0.5, 0], [0, 0, 1]]))
    )
    assert mixed.component.values.tolist() == ["a", "b"]
    np.testing.assert_allclose(mixed.loadings.sum("energy"), 1)
    assert mixed.scores.dims == ("y", "x", "component")
