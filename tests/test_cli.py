"""The command line, in this process; one run as a command of its own."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from eds_xr import cli, scribbles, simulate, store
from eds_xr.schema import EdsError, label_array

runner = CliRunner()


def test_help__lists_every_command_in_full_and_needs_no_rich():
    program = "import sys; from eds_xr.cli import main\ntry: main()\nfinally: print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True
    )
    *shown, modules = done.stdout.splitlines()
    summaries = [" ".join(shown).count(name) for name in "reproduce convert info quantify".split()]
    assert min(summaries) == 1
    assert "..." not in "".join(shown[2:])
    assert {"rich.console", "dask", "email.headerregistry"}.isdisjoint(modules.split())


def test_simulate__writes_a_store(tmp_path):
    target = tmp_path / "made.zarr"
    arguments = [
        "simulate",
        str(target),
        "--shape",
        "24",
        "20",
        "512",
        "--dose",
        "50",
        "--seed",
        "3",
    ]
    assert runner.invoke(cli.app, arguments).exit_code == 0
    assert xr.open_zarr(target).counts.shape == (24, 20, 512)


def test_info__names_what_is_inside(tmp_path):
    target = tmp_path / "made.zarr"
    runner.invoke(cli.app, ["simulate", str(target), "--shape", "8", "8", "256"])
    done = runner.invoke(cli.app, ["info", str(target), "--json"])
    (found,) = json.loads(done.output)["spectrum_images"]
    assert found["sizes"] == {"y": 8, "x": 8, "energy": 256}
    assert found["counts"] > 0
    shown = runner.invoke(cli.app, ["info", str(target), "--no-counts"]).output
    assert "8 y x 8 x x 256 energy" in shown
    assert "a pixel" not in shown


@pytest.mark.parametrize(
    ("text", "meant"),
    [("2:9", slice(2, 9)), (":9:2", slice(None, 9, 2)), ("7", [7]), ("1,4", [1, 4])],
)
def test_frames__as_on_the_command_line(text, meant):
    assert cli._frames(text) == meant


def test_convert__options_reach_the_store(write_hspy, tmp_path):
    counts = np.random.default_rng(0).poisson(0.4, (3, 8, 6, 16)).astype("u1")
    axis = {"scale": 1.0, "offset": 0.0, "units": "nm", "navigate": True}
    names = [("t", "s"), ("y", "nm"), ("x", "nm"), ("Energy", "keV")]
    axes = [{**axis, "name": name, "units": units} for name, units in names]
    source = write_hspy(tmp_path / "a.hspy", {"EDX": (counts, axes)})
    done = runner.invoke(cli.app, ["convert", str(source), "--frames", "0:2", "--pyramid"])
    assert done.exit_code == 0, done.output
    level = xr.open_zarr(tmp_path / "a.zarr", group="pyramid/2").counts
    assert int(level.sum()) == counts[:2].sum()


# -- quantify ------------------------------------------------------------------------------------

STRAY = "Cu,Ga"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A store, its phases as painted labels, and as a saved segmentation."""
    folder = tmp_path_factory.mktemp("labelled")
    recipe = {"shape": (48, 48, 1300), "dose": 400.0, "seed": 2}
    image = simulate.spectrum_image(**recipe)
    store.save(image, folder / "map.zarr")
    amounts = simulate.truth(**recipe).amounts.compute()
    values = np.where((amounts > 0.99).sel(phase="Brg"), 1, 2).astype("u1")
    label = label_array(values, image, ["Brg", "rest", "nothing"])
    scribbles.write(label, folder / "labels.png")
    segmentation = xr.Dataset({"label": label, "uncertainty": label * 0.5})
    segmentation.to_zarr(folder / "seg.zarr", consolidated=False)
    (folder / "k.csv").write_text(
        "# units: weight\nelement,line,k,standard_deviation\n"
        "Mg,Ka,1.0,0.02\nSi,Ka,1.0,0\nFe,Ka,1.4,0.1\n"
    )
    return folder


def quantified(folder, *options, elements="Mg,Al,Si,Ca,Fe"):
    arguments = ["quantify", str(folder / "map.zarr"), "--elements", elements, "--stray", STRAY]
    return runner.invoke(cli.app, [*arguments, *map(str, options)])


def test_quantify__table_and_csv(labelled, tmp_path):
    path = tmp_path / "composition.csv"
    done = quantified(labelled, "--labels", labelled / "labels.png", "--csv", path)
    assert done.exit_code == 0, done.output
    assert "warning: no pixel is labelled nothing" in done.output
    assert "not in brackets: computed k-factors" in done.output
    assert "warning: phase rest: a peak at" in done.output  # Nd, Sm and U are not asked for
    table = pd.read_csv(path, comment="#").set_index(["phase", "element"])
    assert set(table.index.get_level_values(0)) == {"Brg", "rest"}
    assert table.loc[("Brg", "Si"), "atomic_fraction"] == pytest.approx(0.46, abs=0.02)
    shown = next(line for line in done.output.splitlines() if " Si " in line)
    assert f"{100 * table.loc[('Brg', 'Si'), 'atomic_fraction']:.2f}(" in shown


def test_quantify__saved_segmentation_k_factors_and_oxygen(labelled, tmp_path):
    path = tmp_path / "composition.csv"
    options = ["--labels", labelled / "seg.zarr", "--k-factors", labelled / "k.csv", "--weight"]
    options += ["--oxygen", "stoichiometry", "--csv", path]
    done = quantified(labelled, *options, elements="Mg,Si,Fe")
    assert done.exit_code == 0, done.output
    assert "weight fraction (wt%)" in done.output
    assert "computed" not in done.output
    table = pd.read_csv(path, comment="#").set_index(["phase", "element"])
    assert table.loc[("Brg", "Fe"), "k_factor"] == 1.4
    assert table.loc[("Brg", "Fe"), "systematic"] == pytest.approx(0.1 / 1.4)
    assert 0.35 < table.loc[("Brg", "O"), "weight_fraction"] < 0.55


def test_quantify__with_a_detector(labelled, tmp_path):
    """Behind thick layers soft photons are lost: against magnesium, iron's weigh less."""
    (tmp_path / "seen.csv").write_text("energy_kev,efficiency\n0.05,0.2\n1.5,0.8\n20,1\n")
    relative = {}
    for detector in ("", "window_nm=900", tmp_path / "seen.csv"):
        path = tmp_path / f"{len(relative)}.csv"
        more = ["--detector", detector] if detector else []
        done = quantified(labelled, "--labels", labelled / "seg.zarr", "--csv", path, *more)
        assert done.exit_code == 0, done.output
        table = pd.read_csv(path, comment="#").set_index(["phase", "element"])
        factor = table.loc["Brg"].k_factor
        relative[str(detector)] = factor.Mg / factor.Fe
    assert relative["window_nm=900"] > 1.05 * relative[""]
    assert relative[str(tmp_path / "seen.csv")] > 1.05 * relative[""]
    done = quantified(labelled, "--detector", "window=900")
    assert done.exit_code != 0
    assert "no property window of a detector" in done.output + str(done.exception)


BALANCE = ["--thickness", "charge_balance"]


def test_quantify__thickness_by_the_charge_balance(labelled, tmp_path):
    path = tmp_path / "composition.csv"
    options = ["--labels", labelled / "labels.png", "--csv", path, "--range-kev", "0.4:12.5"]
    options += [
        "--take-off-angle-deg",
        "22",
        "--thickness",
        "charge_balance",
        "--density-g-cm3",
        "4.3",
        "--valences",
        "Fe=2",
    ]
    done = quantified(labelled, *options, elements="Mg,Al,Si,Ca,Fe,O")
    assert done.exit_code == 0, done.output
    shown = [line.split(":")[0] for line in done.output.splitlines() if "balance" in line]
    assert {"Brg", "rest"} <= set(shown)
    table = pd.read_csv(path, comment="#").set_index(["phase", "element"])
    assert "atomic_fraction" in table
    assert "charge_balance" in path.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--thickness", "charge_balance"], "have no elevation_angle_deg; give take_off_angle_deg"),
        ([*BALANCE, "--take-off-angle-deg", "22"], "needs an anion, and none was measured"),
        (["--thickness", "80"], "thickness is 'charge_balance' or left out, found '80'"),
        (["--valences", "Fe3", "--oxygen", "stoichiometry"], "valences must be charges, as Fe=3"),
        (["--range-kev", "0.4"], "--range-kev must be two energies, 0.4:12.5; found '0.4'"),
    ],
)
def test_quantify__what_the_charge_balance_lacks(labelled, options, message):
    done = quantified(labelled, "--labels", labelled / "labels.png", *options)
    assert done.exit_code != 0
    assert message in done.output + str(done.exception)


def test_quantify__measures_the_half_that_did_not_choose(labelled, tmp_path):
    tables = {}
    for half in ("all", "0"):
        path = tmp_path / f"{half}.csv"
        options = ["--labels", labelled / "labels.png", "--csv", path]
        done = quantified(labelled, *options, *(["--half", half] if half != "all" else []))
        assert done.exit_code == 0, done.output
        tables[half] = pd.read_csv(path, comment="#").set_index(["phase", "element"])
    errors = tables["0"].atomic_fraction_sd / tables["all"].atomic_fraction_sd
    # half the counts: counting's part grows by the root of two, that of the tables of lines stays
    assert 1.2 < errors[("Brg", "Ca")] < 2**0.5
    assert 1.2 < errors[("Brg", "Si")] < 2**0.5
    assert '"half": 2' in path.read_text().replace('""', '"')


def test_quantify__without_labels_is_of_the_whole_image(labelled):
    done = quantified(labelled, elements="")  # and of the elements that the store names
    assert done.exit_code == 0, done.output
    assert "whole" in done.output
    assert "Nd" in done.output


def test_quantify__labels_without_a_pixel(labelled, tmp_path):
    image = store.open(labelled / "map.zarr")
    empty = label_array(np.zeros((48, 48), "u1"), image, ["Brg"])
    path = scribbles.write(empty, tmp_path / "empty.png")
    done = quantified(labelled, "--labels", path)
    assert isinstance(done.exception, EdsError)
    assert "labels no pixel of the image" in str(done.exception)


def test_quantify__does_nothing_when_the_csv_is_there(labelled, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("mine")
    done = quantified(labelled, "--csv", path)
    assert isinstance(done.exception, EdsError)
    assert "exists; use overwrite=True" in str(done.exception)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "elements", "message"),
    [
        (["--labels", "nothing.png"], "Si", "nothing.png does not exist"),
        (["--k-factors", "nothing.csv"], "Si", "cannot read nothing.csv"),
        ([], "Si,Qq", "no chemical element 'Qq'"),
    ],
)
def test_quantify__errors_name_the_cure(labelled, options, elements, message):
    done = quantified(labelled, *options, elements=elements)
    assert isinstance(done.exception, EdsError)
    assert message in str(done.exception)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "nothing.hspy"], "nothing.hspy"),
        (["convert", "nothing.hspy", "--frames", "all"], "--frames must be start:stop"),
        (["reproduce", "--file", "nothing.hspy"], "does not exist"),
        (["reproduce", "--sample", "99GPa"], "99GPa"),
    ],
)
def test_main__errors_are_one_line(arguments, message, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "eds_xr.cli", *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_reproduce__a_file_that_is_no_spectrum_image(tmp_path):
    wrong = tmp_path / "notes.hspy"
    wrong.write_text("not HDF5")
    done = runner.invoke(cli.app, ["reproduce", "--file", str(wrong), "--out", str(tmp_path / "o")])
    assert done.exit_code == 1
    assert not (tmp_path / "o" / "results.json").exists()
