"""The study's way from a file to a folder of results, on a simulation with a known truth."""

import html
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from eds_xr import cli, simulate
from eds_xr.analysis.deep_mantle.reproduce import (
    SIMULATED_DOSE,
    SIMULATED_SHAPE,
    number_of_steps,
    reproduce,
)
from eds_xr.schema import EdsError

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
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
    "formula": {"Brg", "Fp", "Ca-Pv"},
    "partition": {"Fp", "Ca-Pv"},
}  # fmt: skip
LINES = "Mg_Ka Al_Ka Si_Ka Ca_Ka Fe_Ka Nd_La Sm_La Lu_La Hf_La U_Ma".split()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    done = CliRunner().invoke(cli.app, ["reproduce", "--sample", "simulated", "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out, done.output


@pytest.mark.slow
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
    assert len(steps) == 11
    assert steps[-1].startswith("[11/11]")


@pytest.fixture(scope="module")
def found(simulated):
    with xr.open_datatree(simulated[0] / "spectra.nc", engine="h5netcdf") as tree:
        yield tree.load()


def test_reproduce__arrays_open_with_plain_xarray(found):
    assert set(found["pure"].phase.values) == {"Brg", "Fp", "Ca-Pv"}
    assert found["masks"]["mask"].shape[1:] == (160, 160)
    assert np.isfinite(found["composition"]["atomic_fraction"]).all()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium")
def test_reproduce__three_phases_print_on_three_pages(simulated, tmp_path):
    paper = tmp_path / "report.pdf"
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={paper}",
            (simulated[0] / "report.html").absolute().as_uri(),
        ],
        capture_output=True, text=True, timeout=120, env={**os.environ, "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = paper.read_bytes()
    assert re.search(rb"/Type\s*/Pages\s", written)
    assert len(re.findall(rb"/Type\s*/Page\s", written)) == 3


def test_reproduce__the_page_says_what_repeats_it(simulated, monkeypatch, tmp_path):
    """Both what it types on the terminal and its Python do what was done, in another folder."""
    made = html.unescape((simulated[0] / "report.html").read_text())
    shell, python = made.rsplit("<pre>", 1)[1].split("</pre>")[0].split("# or, in Python:")
    asked = []
    module = sys.modules[reproduce.__module__]
    monkeypatch.setattr(module, "reproduce", lambda out, **options: asked.append((out, options)))
    monkeypatch.setattr(module, "number_of_steps", lambda *_: 1)
    program, *words = shlex.split(shell)
    assert program == "eds-xr"
    CliRunner().invoke(cli.app, words)
    exec(python, {})
    given = {"sample": "simulated", "seed": 0}
    assert [out for out, _ in asked] == [Path("again")] * 2
    for _, options in asked:
        options.pop("say", None)
        assert {n: v for n, v in options.items() if v is not None} == given


def test_reproduce__what_repeats_a_file_names_it_wherever_one_is(tmp_path, monkeypatch):
    module = sys.modules[reproduce.__module__]
    monkeypatch.chdir(tmp_path)
    said = module._repeat(
        {"sample": "71GPa", "file": Path("a 'b'.emd"), "archive": None, "seed": 3}
    )
    words = shlex.split(said.splitlines()[0])
    assert words[2:] == ["--file", str(tmp_path / "a 'b'.emd"), "--seed", "3", "--out", "again"]
    assert compile(said.split("# or, in Python:")[1], "page", "exec")


def test_reproduce__figures_are_there(simulated):
    out, _ = simulated
    for name in ("figure1.png", "figure2.png", "table1.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert not list(out.glob(".*partial*"))


def test_reproduce__tables_are_there(simulated):
    out, _ = simulated
    tables = {p.stem: pd.read_csv(p, comment="#") for p in (out / "tables").iterdir()}
    assert set(tables) == {
        "net_counts", "composition", "composition_unmixed", "oxides", "formulae", "partition",
        "regions",
    }  # fmt: skip
    numbers = json.loads((out / "results.json").read_text())
    partition = tables["partition"].set_index(["phase", "element"])
    for (grain, element), row in partition.iterrows():
        found = numbers["partition"][grain][element]
        if row["assumed"]:
            assert found == [0, None]
        elif row["partition_coefficient_detected"]:
            assert found == pytest.approx(
                [row["partition_coefficient"], row["partition_coefficient_sd"]]
            )
        else:
            assert found["upper_limit"] == pytest.approx(row["partition_coefficient_upper_limit"])
    assert numbers["formula"]["Fp"].startswith("(Mg0.8")


def test_reproduce__formulae_and_coefficients_near_the_truth(simulated):
    out, _ = simulated
    table = pd.read_csv(out / "tables" / "formulae.csv", comment="#").set_index(
        ["phase", "element"]
    )
    truth = {p.name: p.atoms for p in simulate.PYROLITE_71GPA}
    for (phase, element), row in table.iterrows():
        # the truth's charges do not balance to the last per cent
        true = truth[phase].get(element, 0)
        sd = 0 if row["assumed"] else row["cations_sd"]  # not measured, but what the truth has
        assert abs(row["cations"] - true) <= 4 * sd + 0.03 * true, (phase, element)


# -- against the truth ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def truth():
    return simulate.truth(SIMULATED_SHAPE, SIMULATED_DOSE, seed=0)


def angle(found, true):
    """Return the angle between two spectra in degrees."""
    cosine = np.dot(found, true) / np.linalg.norm(found) / np.linalg.norm(true)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


@pytest.mark.parametrize("way", ["pure", "refined"])
def test_reproduce__spectra_near_the_truth(found, truth, way):
    limits = {"Brg": 0.5, "Fp": 1.5, "Ca-Pv": 8.0}
    for phase, limit in limits.items():
        true = truth.loadings.sel(phase=phase).values
        assert angle(found[way].counts.sel(phase=phase).values, true) < limit, phase


def test_reproduce__matrix_mask_is_pure(found, truth):
    mask = found["masks"].mask.sel(phase="Brg").values
    pure = (truth.amounts.sel(phase="Brg") > 0.99).values
    assert pure[mask].mean() > 0.95
    assert mask.sum() > 0.3 * pure.sum()


def test_reproduce__scale_factor_near_the_truth(found, truth):
    """A pixel of the mixture holds, on average, this share of the matrix of a pure pixel."""
    amounts, masks = truth.amounts.sel(phase="Brg", drop=True), found["masks"].mask
    pure = float(amounts.where(masks.sel(phase="Brg").values).mean())
    for grain in ("Fp", "Ca-Pv"):
        true = float(amounts.where(masks.sel(phase=f"{grain}+Brg").values).mean()) / pure
        assert float(found["pure"].scale.sel(phase=grain)) == pytest.approx(true, abs=0.01)


def test_reproduce__masks_are_disjoint(found):
    masks = {str(m.phase.values): m.values for m in found["masks"].mask}
    np.testing.assert_array_equal(masks["intersection"], masks["Fp"] & masks["Ca-Pv"])
    for mixture in ("Fp+Brg", "Ca-Pv+Brg"):
        assert masks[mixture].any()
        assert not (masks["intersection"] & masks[mixture]).any()
        assert not (masks["Brg"] & masks[mixture]).any()


# -- files ---------------------------------------------------------------------------------------


def test_number_of_steps__fetching_and_converting_are_steps(tmp_path):
    file = tmp_path / "map.hspy"
    file.touch()
    assert number_of_steps("71GPa", None) == number_of_steps("71GPa", file) + 1
    assert number_of_steps("71GPa", file) == number_of_steps("71GPa", tmp_path) + 1
    assert number_of_steps("simulated", None) == number_of_steps("71GPa", file)


def test_reproduce__never_replaces_what_is_not_its_own(tmp_path):
    (tmp_path / "results.json").write_text("mine")
    with pytest.raises(EdsError, match="holds results.json, which no earlier run is known to have"):
        reproduce(tmp_path, sample="simulated")
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_reproduce__a_file_that_is_not_there_leaves_a_folder_that_is_taken_again(tmp_path):
    out, told = tmp_path / "out", []
    for _ in range(2):
        with pytest.raises(EdsError, match="does not exist; give the path of a spectrum image"):
            reproduce(out, file=tmp_path / "nothing.hspy", say=told.append)
    assert told == []
