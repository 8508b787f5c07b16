"""The command line, in this process; one run as a command of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from eds_xr import cli

runner = CliRunner()

KEYS = {
    "sample": {"name", "sha256", "shape", "counts"},
    "rank": {"suggested", "eigenvalues"},
    "nmf": {
        "loss", "seed", "map_correlation", "rotation_residual",
        "brg_loading_mg_si", "brg_mask_mg_si",
    },
    "masks": {"Brg", "Fp", "Ca-Pv", "intersection", "Fp+Brg", "Ca-Pv+Brg"},
    "snr": {"Nd_La", "Sm_La"},
    "subtraction": {"Fp", "Ca-Pv"},
    "net_counts": {"Brg", "Fp", "Ca-Pv"},
    "atoms": {"Brg", "Fp", "Ca-Pv"},
}  # fmt: skip
LINES = "Mg_Ka Al_Ka Si_Ka Ca_Ka Fe_Ka Nd_La Sm_La Lu_La Hf_La U_Ma".split()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    done = runner.invoke(cli.app, ["reproduce", "--sample", "simulated", "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out, done.output


def test_reproduce__results_have_the_promised_keys(simulated):
    out, _ = simulated
    numbers = json.loads((out / "results.json").read_text())
    for key, names in KEYS.items():
        assert names <= set(numbers[key]), key
    for phase in KEYS["net_counts"]:
        assert list(numbers["net_counts"][phase]) == LINES
        assert all(len(pair) == 2 for pair in numbers["atoms"][phase].values())
    assert numbers["masks"]["Brg"]["fraction"] == pytest.approx(
        numbers["masks"]["Brg"]["n_pixels"] / 160**2
    )
    assert numbers["snr"]["Nd_La"]["mask"]["snr"] > 0
    assert isinstance(numbers["warnings"], list)


def test_reproduce__prints_every_step(simulated):
    _, output = simulated
    steps = [line for line in output.splitlines() if line.startswith("[")]
    assert len(steps) == 9
    assert steps[-1].startswith("[ 9/9]")


def test_reproduce__arrays_open_with_plain_xarray(simulated):
    out, _ = simulated
    with xr.open_datatree(out / "spectra.nc", engine="h5netcdf") as tree:
        assert set(tree["pure"].phase.values) == {"Brg", "Fp", "Ca-Pv"}
        assert tree["masks"]["mask"].shape[1:] == (160, 160)
        assert np.isfinite(tree["composition"]["atomic_fraction"]).all()


def test_reproduce__figures_are_there(simulated):
    out, _ = simulated
    for name in ("figure1.png", "figure2.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert not list(out.glob(".*partial*"))


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
