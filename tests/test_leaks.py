"""Nothing of the user's is lost, nothing half made is left, nothing outside of a store is read."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.fuzz_seeds import COUNTS, _store, add_user_file, write_netcdf
from typer.testing import CliRunner

from eds_xr import (
    atomic_write,
    classify,
    cli,
    k_factors,
    masks,
    readers,
    scribbles,
    simulate,
    store,
)
from eds_xr.composition.uncertainty.number_text import value_text
from eds_xr.csv_text import plain_text
from eds_xr.report import tables
from eds_xr.schema import EdsError, label_array

# --- what lies elsewhere -----------------------------------------------------------------------


def test_open__a_pickle_behind_a_url(tmp_path: Path) -> None:
    path = _store(tmp_path, np.random.default_rng(0), 2)
    document = path / "y" / ".zarray"
    filters = '"filters": [{"id": "vlen-utf8"}, {"id": "pickle"}]'
    document.write_text(document.read_text().replace('"filters": null', filters))
    (path / ".zmetadata").unlink(missing_ok=True)
    files = fsspec.filesystem("memory")
    files.put(str(path), "/pickled.zarr", recursive=True)
    try:
        with pytest.raises(EdsError, match="names the codec pickle, expected one of numbers"):
            store.open("memory://pickled.zarr")
    finally:
        files.rm("/pickled.zarr", recursive=True)


def test_open__a_pickle_in_a_shard(tmp_path: Path) -> None:
    path = _store(tmp_path, np.random.default_rng(0), 3)
    array = zarr.create_array(
        path, name="sharded", shape=(4,), chunks=(2,), shards=(4,), dtype="u1", overwrite=True
    )
    array[:] = 1
    store.open(path).compute()
    document = path / "sharded" / "zarr.json"
    document.write_text(document.read_text().replace('"zstd"', '"numcodecs.pickle"'))
    whole_store = json.loads((path / "zarr.json").read_text()) | {"consolidated_metadata": None}
    (path / "zarr.json").write_text(json.dumps(whole_store))
    with pytest.raises(EdsError, match="names the codec pickle"):
        store.open(path)


def test_open__a_store_behind_a_link_is_fine(tmp_path: Path) -> None:
    path = _store(tmp_path, np.random.default_rng(0), 3)
    (tmp_path / "link.zarr").symlink_to(path)
    inner = path / "counts" / "c"
    os.rename(inner, path / "counts" / "d")
    inner.symlink_to("d")
    np.testing.assert_array_equal(store.open(tmp_path / "link.zarr"), COUNTS)


@pytest.mark.parametrize("url", [False, True])
def test_open__a_chunk_that_leads_out_is_named(tmp_path: Path, url: bool) -> None:
    path = _store(tmp_path, np.random.default_rng(0), 3)
    (path / "counts/c/0/0/0").rename(tmp_path / "secret")
    (path / "counts/c/0/0/0").symlink_to(tmp_path / "secret")
    with pytest.raises(EdsError, match=r"counts/c/0/0/0 in .* is a link to .*secret, outside"):
        store.open(f"file://{path}" if url else path).compute()


def test_read__a_chunk_that_is_a_pipe(tmp_path: Path) -> None:
    path = _store(tmp_path, np.random.default_rng(0), 3)
    (path / "counts/c/0/0/0").unlink()
    os.mkfifo(path / "counts/c/0/0/0")
    with pytest.raises(EdsError, match="is no plain file"):
        store.open(path).compute()


def test_read__a_virtual_dataset_of_the_file_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_netcdf(path)
    with h5py.File(path, "r+") as file:
        layout = h5py.VirtualLayout((8,), "u1")
        layout[:] = h5py.VirtualSource(file["counts"])[0, 0, :8]
        file.create_virtual_dataset("same", layout)
        file["soft"] = h5py.SoftLink("/counts")
    assert readers.read(path)[0].shape == COUNTS.shape


def test_scribbles_read__labels_that_lead_out(tmp_path: Path) -> None:
    image = xr.DataArray(np.zeros((4, 6, 2)), dims=("y", "x", "energy"))
    label = label_array(np.ones((4, 6), np.uint8), image, ["Brg"])
    path = scribbles.write(label, tmp_path / "labels.zarr")
    (path / "label/c/0/0").rename(tmp_path / "secret")
    (path / "label/c/0/0").symlink_to(tmp_path / "secret")
    with pytest.raises(EdsError, match="outside of the store"):
        scribbles.read(path, image).compute()


# --- overwriting -------------------------------------------------------------------------------


def image_of(counts: np.ndarray) -> xr.DataArray:
    return xr.DataArray(counts, {"energy": np.arange(counts.shape[-1])}, ("y", "x", "energy"))


def content(folder: Path) -> dict[str, bytes | str]:
    found = [p for p in folder.rglob("*") if p.is_file() or p.is_symlink()]
    return {str(p): os.readlink(p) if p.is_symlink() else p.read_bytes() for p in found}


@pytest.mark.parametrize("number", range(40))
def test_save__what_is_the_users_own_is_never_lost(tmp_path: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    if number % 2:
        path = store.save(image_of(COUNTS), tmp_path / "map.zarr")
    else:
        path = _store(tmp_path, rng, 2 + number // 2 % 2)
    assert isinstance(path, Path)
    store.save(store.open(path), path, overwrite=True)  # nothing but a store
    add_user_file(path, rng)
    before = content(path)
    for write in (
        lambda: store.save(image_of(COUNTS), path, overwrite=True),
        lambda: store.save(image_of(COUNTS), f"file://{path}", overwrite=True),
    ):
        with pytest.raises(EdsError, match="holds more than the store: .*which would be lost"):
            write()
    assert content(path) == before
    assert os.listdir(tmp_path) == ["map.zarr"]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_save__litter_of_systems_and_of_killed_runs_is_replaced(
    tmp_path: Path, zarr_format: int
) -> None:
    path = _store(tmp_path, np.random.default_rng(0), zarr_format)
    (path / ".DS_Store").touch()
    (path / "counts" / f"0.{'ab' * 16}.partial").touch()
    store.save(image_of(COUNTS), path, overwrite=True)
    assert not (path / ".DS_Store").exists()


def test_save__a_file_that_appears_while_it_is_written(tmp_path: Path) -> None:
    path = store.save(image_of(COUNTS), tmp_path / "map.zarr")

    def block(values: np.ndarray) -> np.ndarray:
        (tmp_path / "map.zarr" / "notes.txt").write_text("years of work")
        return values

    image = image_of(COUNTS).chunk()
    image = image.copy(data=image.data.map_blocks(block, dtype=COUNTS.dtype))
    (tmp_path / "map.zarr" / "notes.txt").unlink(missing_ok=True)
    with pytest.raises(EdsError, match=r"notes.txt, which would be lost"):
        store.save(image, path, overwrite=True)
    assert (tmp_path / "map.zarr" / "notes.txt").exists()


def test_save__a_url_with_more_than_the_store() -> None:
    files, url = fsspec.filesystem("memory"), "memory://more.zarr"
    try:
        store.save(image_of(COUNTS), url)
        files.pipe_file("/more.zarr/notes.txt", b"years of work")
        with pytest.raises(EdsError, match="holds more than the store: notes.txt"):
            store.save(image_of(COUNTS), url, overwrite=True)
        assert files.exists("/more.zarr/notes.txt")
        files.rm_file("/more.zarr/notes.txt")
        store.save(image_of(COUNTS), url, overwrite=True)
    finally:
        files.rm("/more.zarr", recursive=True)


def test_scribbles_write__replaces_label_images_only(tmp_path: Path) -> None:
    path = store.save(image_of(COUNTS), tmp_path / "map.zarr")
    label = label_array(np.ones((4, 6), np.uint8), xr.DataArray(np.zeros((4, 6))), ["Brg"])
    with pytest.raises(EdsError, match="is not a label image store, so it is never replaced"):
        scribbles.write(label, path, overwrite=True)
    other = scribbles.write(label, tmp_path / "labels.zarr")
    (other / "notes.txt").touch()
    with pytest.raises(EdsError, match="holds more than the store: notes.txt"):
        scribbles.write(label, other, overwrite=True)
    (other / "notes.txt").unlink()
    scribbles.write(label, other, overwrite=True)


def test_reproduce__never_replaces_files_that_are_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "figure1.png").write_bytes(b"years of work")
    arguments = ["reproduce", "--sample", "simulated", "--out", str(tmp_path)]
    done = CliRunner().invoke(cli.app, arguments)
    assert isinstance(done.exception, EdsError)
    assert "figure1.png, which no earlier run is known to have made" in str(done.exception)
    assert [p.name for p in tmp_path.iterdir()] == ["figure1.png"]


def test_written_file__what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    left = tmp_path / f".a.csv.partial-{atomic_write._HOST}-{process.pid}-0badcafe.csv"
    left.touch()
    others = tmp_path / f".a.csv.partial-elsewhere-{process.pid}-0badcafe.csv"
    others.touch()
    made = k_factors.standardless_k_factors(["Mg_Ka", "Si_Ka"], beam_energy_kev=200)
    k_factors.write_k_factors(made, tmp_path / "a.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([others.name, "a.csv"])


# --- signals -----------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from eds_xr.cli import main; main()", *arguments]


def stopped(arguments: list[str], target: Path, number: int, chance: random.Random) -> int:
    """Return the exit code of a command that is sent a signal some time after it began to write."""
    with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        until = time.monotonic() + 60
        while not target.parent.is_dir() or not list(target.parent.glob(f".{target.name}.p*")):
            assert p.poll() is None, p.stderr
            assert time.monotonic() < until
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.8))
        p.send_signal(number)
        _, said = p.communicate(timeout=60)
    assert b"Traceback" not in said, said.decode()
    return p.returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("simulate", signal.SIGHUP), ("convert", signal.SIGTERM), ("reproduce", signal.SIGTERM),
    ],
)  # fmt: skip
def test_main__a_signal_leaves_nothing(tmp_path: Path, name: str, number: int) -> None:
    chance, out = random.Random(f"{name} {number}"), tmp_path / "out"
    source = tmp_path / "source.npy"
    if name == "convert":
        np.save(source, np.random.default_rng(0).poisson(0.3, (1200, 400, 256)).astype(np.uint8))
        source.with_suffix(".json").write_text('{"energy_step_kev": 0.01}')
    arguments, target = {
        "simulate": (["simulate", str(out / "a.zarr"), "--shape", "600", "600", "1024"], "a.zarr"),
        "convert": (["convert", str(source), str(out / "a.zarr")], "a.zarr"),
        "reproduce": (["reproduce", "--sample", "simulated", "--out", str(out)], "simulated.zarr"),
    }[name]
    code = stopped(arguments, out / target, number, chance)
    left = {p.name for p in out.iterdir()} - {".eds_xr_reproduce"}
    if code == 128 + number or left == set():
        assert code == 128 + number
        assert left <= {target}  # reproduce may have gone on to its study
    else:
        assert (code, left) == (0, {target})  # it was faster
    if (out / target).exists():
        store.open(out / target).compute()


@pytest.mark.slow
def test_main__after_a_kill_the_next_run_succeeds(tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    arguments = ["simulate", str(target), "--shape", "600", "600", "1024"]
    assert stopped(arguments, target, signal.SIGKILL, random.Random(0)) == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] != []
    simulated = simulate.spectrum_image((8, 8, 64), 50.0, seed=0)
    store.save(simulated, target, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


SLOW = """
import os, sys, time, signal, numpy as np, xarray as xr, dask.array as da
from eds_xr import store, cli
cli._end_on_signals()
def slow(block):
    os.write(1, b"started\\n")  # print writes the end of line apart, and two threads are at it
    time.sleep(1.5)
    return block
data = da.ones((40, 4, 8), chunks=(1, 4, 8), dtype="u1")
data = data.map_blocks(slow, dtype="u1", meta=np.empty((0, 0, 0), "u1"))
store.save(xr.DataArray(data, {"energy": range(8)}, ("y", "x", "energy")), sys.argv[1])
"""


@pytest.mark.slow
def test_save__threads_that_still_compute_write_nothing_afterwards(tmp_path: Path) -> None:
    """A block that is being computed when the signal comes was written after the removal."""
    target = tmp_path / "a.zarr"
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, str(target)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"started"
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)  # an impatient scheduler
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert list(tmp_path.iterdir()) == []


SWALLOWED = """
import os, signal, sys, time, weakref
from eds_xr import cli
cli._end_on_signals()
class Thing: pass
def callback(_):
    os.kill(os.getpid(), signal.SIGTERM)  # Python loses what is raised in here
    time.sleep(0.01)
thing = Thing()
kept = weakref.ref(thing, callback)
del thing
try:
    time.sleep(30)
finally:
    print("cleaned")
"""


def test_end_on_signals__a_signal_within_a_callback_of_the_garbage_collector() -> None:
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, timeout=60)
    assert done.returncode == 143
    assert done.stdout.strip() == b"cleaned"
    assert done.stderr.strip() == b"eds-xr: stopped by SIGTERM"


# --- labels ------------------------------------------------------------------------------------

GRID = xr.DataArray(np.zeros((3, 4)), dims=("y", "x"))


def labels(values: Any, names: int = 2) -> xr.DataArray:
    return label_array(np.asarray(values), GRID, [f"p{i}" for i in range(names)])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-128, 127), min_size=12, max_size=12),
    st.sampled_from(["i1", "i2", "i8"]),
    st.booleans(),
)
def test_from_labels__every_pixel_is_in_a_phase_or_said_to_be_in_none(
    values: list[int], dtype: str, lazy: bool
) -> None:
    label = labels(np.reshape(np.array(values, dtype), (3, 4)), 100)
    label = label.chunk(y=1) if lazy else label
    if min(values) < 0 or max(values) > 100:
        with pytest.raises(EdsError, match="hold labels .* name 100 phases; set what is no phase"):
            masks.from_labels(label).compute()
    else:
        found = masks.from_labels(label).sum("phase")
        np.testing.assert_array_equal(found == 1, label > 0)


@pytest.mark.parametrize("value", [-1, 3])
def test_labels__negative_or_unnamed_are_refused_wherever_they_enter(
    tmp_path: Path, value: int
) -> None:
    label = labels(np.array([[0, 1, 2, value]] * 3, np.int16))
    channels = xr.DataArray(
        np.zeros((1, 3, 4)), dims=("feature", "y", "x"), coords={"feature": ["a"]}
    )
    ways = {
        "from_labels": lambda: masks.from_labels(label),
        "outlines": lambda: scribbles.outlines(label),
        "write": lambda: scribbles.write(label, tmp_path / "a.tif"),
        "train": lambda: classify.train(channels, label),
        "score": lambda: classify.score_by_stroke(channels, label),
    }
    for way in ways.values():
        with pytest.raises(EdsError, match="hold labels .* name 2 phases"):
            way()


def test_from_labels__negative_without_names() -> None:
    plain = xr.DataArray(np.full((3, 4), -1), dims=("y", "x"))
    with pytest.raises(EdsError, match="hold labels -1 to -1"):
        masks.from_labels(plain)


# --- formulas of spreadsheets ------------------------------------------------------------------

ODD = st.text(st.sampled_from("=+-@\t\r\n ,;\"'#aZ1.(＝"), min_size=1, max_size=12)


def cells(text: str) -> list[str]:
    """Return what a spreadsheet may take for cells, however it splits the text."""
    parts = [text]
    for separator in ",;\t\r\n":
        parts = [piece for part in parts for piece in part.split(separator)]
    return parts


def is_formula(cell: str) -> bool:
    bare = cell.lstrip()
    try:
        float(bare)
    except ValueError:
        return bare[:1] in tuple("=+-@＝＋－＠") and bare.strip() != "-" and "(" not in bare[1:]
    return False


@settings(max_examples=500, deadline=None)
@example('=HYPERLINK("http://a.b", "c")')
@example("a;=1+1")
@example("\t=1")
@given(ODD)
def test_plain_text__no_part_of_it_is_a_formula(text: str) -> None:
    found = plain_text(text)
    assert not [cell for cell in cells(found) if is_formula(cell)]
    assert not found.startswith(("=", "@", "\t", "\r"))
    assert found.replace("'", "") == text.replace("'", "")
    assert plain_text(found) == found


@settings(max_examples=300, deadline=None)
@given(st.floats(-1e12, 1e12), st.floats(1e-12, 1e12))
def test_plain_text__numbers_stay(value: float, sd: float) -> None:
    for text in (value_text(value, sd), value_text(-value, sd), repr(value), f"{value:+g}", "-"):
        assert plain_text(text) == text


@settings(max_examples=15, deadline=None)
@given(names=st.lists(ODD, min_size=2, max_size=2, unique=True))
def test_write_csv__names_are_no_formulas(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = ("phase", [-1.5, 2.0], {"units": "1", "long_name": "net, =1+1"})
    made = xr.Dataset(
        {"net": values, "net_variance": ("phase", [0.1, 0.2])},
        {"phase": names},
        {"history": ["a,=2+2; @b"]},
    )
    path = tables.write_csv(made, tmp_path_factory.mktemp("csv") / "a.csv")
    found = pd.read_csv(path, comment="#", keep_default_na=False, skip_blank_lines=False)
    text = path.read_text(encoding="utf-8")
    assert "' =1+1" in text
    assert "'=2+2" in text
    assert "' @b" in text
    assert found["net"].tolist() == [-1.5, 2.0]


def test_write_csv__a_region_of_imagej(tmp_path: Path) -> None:
    link = '=HYPERLINK("http://a.b")'
    drawn = [scribbles.rectangle(link, (0, 2), (0, 4)), scribbles.rectangle("Fp", (2, 3), (0, 4))]
    painted = scribbles.paint(drawn, GRID)
    sizes = masks.describe(masks.from_labels(painted)).n_pixels.astype(float)
    made = xr.Dataset({"net": sizes, "net_variance": sizes})
    path = tables.write_csv(made, tmp_path / "a.csv")
    assert pd.read_csv(path, comment="#")["phase"].tolist() == [f"'{link}", "Fp"]


def test_write_k_factors__a_source_that_is_a_formula(tmp_path: Path) -> None:
    made = k_factors.standardless_k_factors(["Mg_Ka", "Si_Ka"], beam_energy_kev=200)
    made.attrs["source"] = "a.csv, =1+1"
    path = k_factors.write_k_factors(made, tmp_path / "k.csv")
    assert "# source: a.csv,' =1+1" in path.read_text()
    np.testing.assert_array_equal(k_factors.read_k_factors(path).k, made.k)
