"""The notebook runs from top to bottom, and unchanged with a cluster."""

from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "deep_mantle_study.ipynb"
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
    return nbformat.read(NOTEBOOK, as_version=4)


def check_run(notebook):
    # no time limit here: the test has one
    done = nbclient.NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
    printed = "".join(o.get("text", "") for c in done.cells for o in c.get("outputs", []))
    assert "Ca / Si in Ca-Pv" in printed
    assert "Fp: " in printed


@pytest.mark.slow
def test_deep_mantle_study__runs_on_the_simulated_sample(notebook):
    check_run(notebook)


@pytest.mark.slow
def test_deep_mantle_study__runs_unchanged_on_a_cluster(notebook, workers):
    (simulation,) = (c for c in notebook.cells if "(160, 160, 1300)" in c.source)
    simulation.source = simulation.source.replace("160, 160", "96, 96")  # for speed
    first = ON_A_CLUSTER.format(address=workers.scheduler_address)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    notebook.cells.append(nbformat.v4.new_code_cell(ALL_WORKED))
    check_run(notebook)


def test_deep_mantle_study__is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(c.get("outputs") for c in notebook.cells)
