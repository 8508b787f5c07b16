"""The notebooks run from top to bottom, and unchanged with a cluster."""

import re
from pathlib import Path

import nbclient
import nbformat
import pytest

import eds_xr

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NOTEBOOK = NOTEBOOKS / "deep_mantle_study.ipynb"
ON_A_CLUSTER = """
from distributed import Client
client = Client({address!r})
executed = lambda dask_worker: dask_worker.state.executed_count
before = client.run(executed)
"""
ALL_WORKED = "assert all(n > before[worker] for worker, n in client.run(executed).items())"


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("EDS_XR_SAMPLE", "simulated")
    monkeypatch.setenv("EDS_XR_CACHE", str(tmp_path))
    found = nbformat.read(NOTEBOOK, as_version=4)
    replaced(found, "(128, 128, 1300)", "(64, 64, 1300)")  # for speed
    return found


def replaced(notebook, text, by):
    """Replace what stands in one cell."""
    (cell,) = (c for c in notebook.cells if text in c.source)
    cell.source = cell.source.replace(text, by)


def printed_by(notebook):
    # no time limit here: the test has one
    done = nbclient.NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
    return "".join(o.get("text", "") for c in done.cells for o in c.get("outputs", []))


def check_run(notebook):
    printed = printed_by(notebook)
    assert "Ca / Si in Ca-Pv" in printed
    assert "Fp: " in printed


@pytest.mark.slow
def test_deep_mantle_study__runs_unchanged_on_a_cluster(notebook, workers):
    """And without one: a client at the top is all that differs."""
    first = ON_A_CLUSTER.format(address=workers.scheduler_address)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    notebook.cells.append(nbformat.v4.new_code_cell(ALL_WORKED))
    check_run(notebook)


@pytest.mark.slow
def test_any_sample__choosing_leads_to_the_truth():
    notebook = nbformat.read(NOTEBOOKS / "03_any_sample.ipynb", as_version=4)
    replaced(notebook, "(80, 80, 1024)", "(56, 56, 1024)")  # for speed
    printed = printed_by(notebook)
    assert "holds the others" in printed
    assert "Ta in precipitate" in printed
    assert float(printed.rsplit("largest: ", 1)[1].split()[0]) < 3.5


@pytest.mark.slow
def test_trace_elements__a_choice_that_makes_a_trace_and_one_that_does_not():
    notebook = nbformat.read(NOTEBOOKS / "06_trace_elements.ipynb", as_version=4)
    printed = printed_by(notebook)
    chosen = re.findall(r"Nd chosen on the .*, ([+-][\d.]+) standard deviations", printed)
    wrong, right = map(float, chosen)
    assert wrong > 4 > 3 > abs(right)
    with_grid, without = (float(n) for n in re.findall(r"Cu of the host, .*: (\d+) \+-", printed))
    assert without < 0.6 * with_grid
    assert re.search(r"Cu .* hole", printed)
    assert float(printed.rsplit("largest distance: ", 1)[1].split()[0]) < 3
    shown = [o.get("data", {}) for cell in notebook.cells for o in cell.get("outputs", [])]
    assert any("image/png" in one for one in shown)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks__are_committed_without_outputs(path):
    assert not any(c.get("outputs") for c in nbformat.read(path, as_version=4).cells)


@pytest.mark.slow
def test_first_map__ten_lines_from_file_to_page(tmp_path):
    notebook = nbformat.read(NOTEBOOKS / "01_first_map.ipynb", as_version=4)
    part = eds_xr.open(NOTEBOOKS.parent / "data" / "assemblage.zarr").isel(y=slice(40), x=slice(40))
    eds_xr.save(part, tmp_path / "assemblage.zarr")  # all of it is analysed by README's test
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(bool(line) for cell in cells for line in cell.source.split("\n")) <= 10
    page = tmp_path / "report.html"
    for name, there in (("../data", tmp_path), ("report.html", page)):
        replaced(notebook, name, str(there))
    printed_by(notebook)
    shown = [output.get("data", {}) for cell in cells for output in cell.outputs]
    assert sum("image/png" in one for one in shown) == 3
    assert "<html" in page.read_text()[:200]


@pytest.mark.slow
def test_label_by_hand__strokes_lead_to_the_truth(tmp_path):
    notebook = nbformat.read(NOTEBOOKS / "04_label_by_hand.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('"strokes.edsx"', repr(str(tmp_path / "strokes.edsx")))
    printed = printed_by(notebook)
    assert float(re.search(r"([\d.]+)% of the pixels", printed)[1]) > 90
    assert "train_session" in printed
    shown = [
        output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])
    ]
    assert sum("image/png" in one for one in shown) >= 3


@pytest.mark.slow
def test_cluster__a_store_larger_than_the_workers_memory(monkeypatch):
    monkeypatch.setenv("EDS_XR_SIDE", "184")
    monkeypatch.setenv("EDS_XR_WORKER_MEMORY", "512 MiB")
    notebook = nbformat.read(NOTEBOOKS / "05_cluster.ipynb", as_version=4)
    # as many bytes of an eighth of the pixels, of which each is drawn and fitted
    replaced(notebook, '"uint32"', '"uint64"')
    replaced(notebook, "(side, side, 1024)", "(side, side, 4096)")
    printed = printed_by(notebook)
    times = float(re.search(r"image ([\d.]+) times", printed)[1])
    assert times > 1
    assert float(re.search(r"peak of all workers ([\d.]+) of", printed)[1]) < 1
    assert "refused: sum_spectra would fill" in printed
    assert "counts missing from the sums: 0" in printed
    shown = [o.get("data", {}) for cell in notebook.cells for o in cell.get("outputs", [])]
    assert any("image/png" in one for one in shown)
