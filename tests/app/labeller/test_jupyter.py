"""The labeller in a real JupyterLab, and in a notebook that was run and stands still."""

import base64
import os
import re
import subprocess
import sys
import time

import nbclient
import nbformat
import pytest

from eds_xr.segmentation.labelling import read_session

CELL = """
import eds_xr
from eds_xr import simulate
image = simulate.spectrum_image(shape=(48, 48, 256), dose=100.0, seed=3).compute()
shown = image.eds.label()
shown
"""
SAVE = "path = eds_xr.labelling.write_session(shown.session, {path!r}, overwrite=True)"


def cells(*sources):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    return notebook


@pytest.mark.slow
def test_run_notebook__keeps_a_picture():
    notebook = cells(CELL)
    nbclient.NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
    (shown,) = (
        output.data for output in notebook.cells[0].outputs if "image/png" in output.get("data", {})
    )
    assert base64.b64decode(shown["image/png"]).startswith(b"\x89PNG")
    assert any(kind.startswith("application/vnd.holoviews") for kind in shown)


@pytest.fixture
def lab(tmp_path):
    """Return the address of a JupyterLab on a free port, in a folder of its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    nbformat.write(cells(CELL, SAVE.format(path=str(tmp_path / "s.edsx"))), folder / "a.ipynb")
    homes = {f"JUPYTER_{n}_DIR": str(tmp_path / n) for n in ("CONFIG", "DATA", "RUNTIME")}
    run = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--port=0", "--allow-root",
           "--ip=127.0.0.1", "--IdentityProvider.token=abc", "--LabApp.news_url=",
           "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
           "--LabApp.extension_manager=readonly", f"--ServerApp.root_dir={folder}"]  # fmt: skip
    log = tmp_path / "log.txt"
    with log.open("w") as said:
        process = subprocess.Popen(run, env=os.environ | homes, stderr=said, cwd=folder)
    try:
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{found[1]}/lab/tree/a.ipynb?token=abc"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.browser
@pytest.mark.slow
def test_jupyterlab__a_stroke_on_a_cell_comes_to_the_kernel(screen, lab, tmp_path):
    screen.expects_errors = True  # JupyterLab says some of its own
    page = screen.page
    page.goto(lab)
    page.locator(".jp-Notebook .jp-CodeCell").first.click()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()
    page.keyboard.press("Shift+Enter")
    screen.wait_for_surface()
    screen.until_surface("s => s.classes.length === 2 && s.layers.size")
    page.locator(".eds-surface").scroll_into_view_if_needed()
    screen.hover(20, 20)
    screen.key("2")
    screen.stroke((20, 10), (20, 40))
    screen.until_surface("s => s.strokes.length === 1 && s.pending.size === 0")
    page.locator(".jp-CodeCell").nth(1).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    screen.until(lambda: (tmp_path / "s.edsx").exists())
    (stroke,) = read_session(tmp_path / "s.edsx").strokes
    assert stroke.roi.phase == "class_2"
    assert stroke.roi.paths[0][0].tolist() == pytest.approx([20, 10], abs=0.2)
    screen.close()
