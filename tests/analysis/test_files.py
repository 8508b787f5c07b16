"""Files analysed, written, compared and replayed, around an analysis that takes no time."""

import dataclasses
import shutil
import sys
import warnings
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from typer.testing import CliRunner

import eds_xr
from eds_xr import cli, simulate
from eds_xr.analysis import files
from eds_xr.analysis.recipe import Recipe, read_recipe
from eds_xr.analysis.replay import difference, replay
from eds_xr.provenance import with_step
from eds_xr.schema import EdsError

pytestmark = pytest.mark.filterwarnings("ignore:.*a peak at.*")
runner = CliRunner()
LINES: dict[int, xr.Dataset] = {}
MADE = {"shape": (24, 20, 1300), "dose": 400.0}


def halves_as_phases(image, recipe=None, say=lambda message: None):
    """Return the tree of an analysis that takes the two halves of a map for its phases."""
    recipe = recipe or Recipe()
    say("halves")
    if int(image.sum()) == 0:
        raise EdsError("no counts")
    plane = image.isel(energy=0, drop=True).drop_vars("haadf")
    upper = xr.ones_like(plane, dtype=bool).compute() & (plane.y < plane.y.mean())
    masks = xr.concat([upper, ~upper], dim=pd.Index(["upper", "lower"], name="phase"))
    spectra = eds_xr.sum_spectra(image, masks.rename("mask")).compute()
    lines = LINES.get(total := int(spectra.counts.sum()))  # the fit takes most of the time
    if lines is None:
        lines = eds_xr.fit_lines(spectra, ["Mg", "Al", "Si", "Ca", "Fe"], stray=["Cu", "Ga"])
        LINES[total] = lines
    groups = {
        "/segmentation": xr.Dataset({"present": masks, "pure": masks}),
        "/spectra": spectra,
        "/lines": lines,
        "/composition": eds_xr.quantify(lines),
    }
    tree = xr.DataTree.from_dict(groups)
    completed = dataclasses.replace(recipe, matrix="upper", number=2)
    step = with_step(image.attrs, "analyse", recipe=recipe.to_toml())
    tree.attrs = {"recipe": completed.to_toml(), "warnings": ["halves"], "source": "", **step}
    return tree


@pytest.fixture(autouse=True, scope="module")
def _quick():
    module = ModuleType("eds_xr.analysis.analyse")
    module.analyse = halves_as_phases
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "eds_xr.analysis.analyse", module)
        yield


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Two small stores, and one without a count."""
    folder = tmp_path_factory.mktemp("maps")
    for seed, name in enumerate(("a", "b")):
        eds_xr.save(simulate.spectrum_image(**MADE, seed=seed), folder / f"{name}.zarr")
    eds_xr.save(simulate.spectrum_image(**MADE) * np.uint8(0), folder / "empty.zarr")
    return folder


def run(*arguments):
    return runner.invoke(cli.app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def done(maps, tmp_path_factory):
    """What the command says of one map, and its folder."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "k.csv").write_text("# units: weight\nelement,line,k,standard_deviation\n")
    (folder / "r.toml").write_text('seed = 2\n[quantification]\nk_factors = "k.csv"\n')
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*a peak at")
        done = run("analyse", maps / "a.zarr", "--recipe", folder / "r.toml", "--out", folder / "o")
    assert done.exit_code == 0, done.output
    return done, folder / "o" / "a"


@pytest.fixture
def result(done, tmp_path):
    """A copy of that folder, elsewhere."""
    return shutil.copytree(done[1], tmp_path / "moved" / "a")


@pytest.mark.slow
def test_analyse__one_map(maps, done, result):
    done, _ = done
    assert "upper: in 50 % of the pixels, pure in 50 %" in done.output
    assert "warning: halves" in done.output
    assert " Si " in done.output
    assert {p.name for p in result.iterdir()} == {
        "analysis.zarr", "recipe.toml", "tables", "k_factors.csv", "report.html",
    }  # fmt: skip
    assert {p.name for p in (result / "tables").iterdir()} == {"lines.csv", "composition.csv"}
    page = (result / "report.html").read_text(encoding="utf-8")
    assert "halves" in page
    assert page.count("<img") >= 2
    # the folder can move: its recipe finds the table beside it
    recipe = read_recipe(result / "recipe.toml")
    assert (recipe.seed, recipe.matrix) == (2, "upper")
    assert recipe.quantification.k_factors == str(result / "k_factors.csv")
    tree = files.open_analysis(result)
    assert tree["segmentation"].present.chunks is not None
    assert tree.attrs["source"] == str(maps / "a.zarr")


@pytest.mark.slow
def test_analyse__many_maps_and_one_that_fails(maps, tmp_path):
    given = [maps / f"{name}.zarr" for name in ("a", "empty", "b")]
    done = run("analyse", *given, "--out", tmp_path)
    assert done.exit_code == 1
    assert "no counts" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"a", "b", "comparison.csv"}
    table = pd.read_csv(tmp_path / "comparison.csv").set_index(["phase", "element"])
    for name in ("a", "b"):
        found = files.open_analysis(tmp_path / name)["composition"].to_dataset()
        value = found.atomic_fraction.sel(phase="lower", element="Si")
        assert table.loc[("lower", "Si"), f"{name} atomic_fraction"] == pytest.approx(float(value))
    assert [c for c in table.columns if c.startswith("a ")] == [
        f"a {column}" for column in files.COMPARED if column != "assumed"
    ]


@pytest.mark.slow
def test_analyse__what_is_there_is_replaced_only_when_asked_and_ours(maps, result):
    arguments = ["analyse", maps / "a.zarr", "--out", result.parent]
    assert "exists; use overwrite=True" in str(run(*arguments).exception)
    (result / "notes.txt").touch()
    theirs = run(*arguments, "--overwrite")
    assert "a holds notes.txt, so it is never replaced" in str(theirs.exception)
    (result / "notes.txt").unlink()
    assert run(*arguments, "--overwrite", "--seed", "7").exit_code == 0
    assert read_recipe(result / "recipe.toml").seed == 7
    twice = run("analyse", maps / "a.zarr", maps / "a.zarr", "--out", result / "twice")
    assert "two files are called a" in str(twice.exception)


def test_analyse__a_failure_leaves_nothing(maps, tmp_path):
    done = run("analyse", maps / "empty.zarr", "--out", tmp_path)
    assert str(done.exception) == "no counts"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_replay__says_which_step_first_differs(maps, result):
    steps = ["segmentation", "spectra", "lines", "composition", "warnings"]
    same = run("replay", result)
    assert same.exit_code == 0, same.exception
    assert same.output.splitlines() == [f"{name}: the same" for name in steps]
    other = run("replay", result, "--source", maps / "b.zarr")
    assert "has another history than the result" in str(other.exception)
    counts = zarr.open_group(result / "analysis.zarr")["spectra/counts"]
    counts[1, 300] += 1
    changed = run("replay", result)
    assert changed.exit_code == 1
    assert "spectra is the first step that differs" in str(changed.exception)
    assert "spectra: counts: 1 of 2600 differ, first at phase lower, energy" in changed.output


@pytest.mark.slow
def test_replay__of_an_image_from_its_steps(tmp_path):
    image = simulate.spectrum_image(**MADE, seed=3)
    binned = image.eds.rebin(y=2, energy=5)
    _, half = eds_xr.split_counts(binned, seed=4)
    eds_xr.save(half.drop_vars("haadf"), tmp_path / "half.zarr")
    (done,) = replay(tmp_path / "half.zarr")
    assert "haadf" in done.difference  # what was taken away stands in no history
    eds_xr.save(half, tmp_path / "half.zarr", overwrite=True)
    (done,) = replay(tmp_path / "half.zarr")
    assert done.difference == ""
    one_more = half.copy(data=half.data + (half.y > 30).data[:, None, None])
    eds_xr.save(one_more, tmp_path / "more.zarr")
    (done,) = replay(tmp_path / "more.zarr")
    assert done.difference.startswith("counts: ")
    told = half.eds.with_detector({"window_nm": 300})
    eds_xr.save(told, tmp_path / "told.zarr")
    (done,) = replay(tmp_path / "told.zarr")
    assert done.difference == ""


def test_replay__of_a_converted_file(tmp_path, write_hspy):
    counts = np.random.default_rng(0).poisson(0.4, (3, 8, 6, 16)).astype("u1")
    axis = {"scale": 1.0, "offset": 0.0, "units": "nm", "navigate": True}
    names = [("t", "s"), ("y", "nm"), ("x", "nm"), ("Energy", "keV")]
    axes = [{**axis, "name": name, "units": units} for name, units in names]
    source = write_hspy(tmp_path / "map.hspy", {"EDX": (counts, axes)})
    store = eds_xr.convert(source, frames=slice(1, 3))
    assert [one.difference for one in replay(store)] == [""]
    source.rename(tmp_path / "elsewhere.hspy")
    with pytest.raises(EdsError, match="is not where it was; say where it is: --source FILE"):
        list(replay(store))
    assert [one.difference for one in replay(store, source=tmp_path / "elsewhere.hspy")] == [""]
    unknown = eds_xr.open(store).assign_attrs(with_step(eds_xr.open(store).attrs, "by_hand"))
    eds_xr.save(unknown, tmp_path / "by_hand.zarr")
    with pytest.raises(EdsError, match="the step 'by_hand' of the history cannot be repeated"):
        list(replay(tmp_path / "by_hand.zarr", source=tmp_path / "elsewhere.hspy"))


def test_difference__rounding_is_none_and_the_rest_has_its_place():
    then = xr.Dataset({"net": ("line", [1.0, np.nan, 100.0])}, {"line": ["Mg", "Al", "Si"]})
    assert difference(then, then + 1e-5) == ""
    assert difference(then, then + 1e-3).startswith(
        "net: 2 of 3 differ, first at line Mg: 1.001, w"
    )
    assert "first at line Al: 0.0, was nan" in difference(then, then.fillna(0.0))
    assert difference(then, then.assign(other=1)) == "only one has other"
    assert difference(then, then.isel(line=slice(2))) == "line: {'line': 2}, was {'line': 3}"
    renamed = then.assign_coords(line=["Mg", "Al", "P"])
    assert difference(then, renamed) == "line: 1 of 3 differ, first at line Si: P, was Si"
    assert difference(then.fillna(0).astype(int), then.fillna(0).astype(int) + 1) != ""


def test_in_even_chunks__tiles_of_a_cluster_can_be_written(tmp_path):
    lazy = xr.DataArray(np.arange(20).reshape(2, 10), dims=("phase", "y"), attrs={"units": "1"})
    tiles = lazy.chunk(y=(3, 3, 2, 2)).to_dataset(name="present").assign_attrs(history=["a"])
    with pytest.raises(ValueError, match="chunk"):
        tiles.to_zarr(tmp_path / "tiles.zarr", consolidated=False)
    even = files._in_even_chunks(tiles)
    even.to_zarr(tmp_path / "even.zarr", consolidated=False)
    xr.testing.assert_identical(even.compute(), tiles.compute())
    assert even.present.chunks is not None
