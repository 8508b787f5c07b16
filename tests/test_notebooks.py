"""The notebook runs from top to bottom, and unchanged with a cluster."""

from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "deep_mantle_study.ipynb"
CLIENT = """
from distributed import Client, LocalCluster
client = Client(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None))
"""


@pytest.mark.slow
@pytest.mark.parametrize("first_cell", ["", CLIENT], ids=["threads", "cluster"])
def test_deep_mantle_study__runs_on_the_simulated_sample(first_cell, tmp_path, monkeypatch):
    monkeypatch.setenv("EDS_XR_SAMPLE", "simulated")
    monkeypatch.setenv("EDS_XR_CACHE", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if first_cell:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(first_cell))
    done = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    printed = "".join(o.get("text", "") for c in done.cells for o in c.get("outputs", []))
    assert "Ca / Si in Ca-Pv" in printed
    assert "Fp: " in printed


def test_deep_mantle_study__is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(c.get("outputs") for c in notebook.cells)
