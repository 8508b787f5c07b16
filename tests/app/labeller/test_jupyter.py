"""The labeller in a real JupyterLab, and in a notebook that was run and stands still."""

import base64

import nbclient
import pytest
from support.jupyter import jupyter_lab, notebook_of, run_cell, run_first_cell

from eds_xr.segmentation.labelling import read_session

CELL = """
import eds_xr
from eds_xr import simulate
image = simulate.spectrum_image(shape=(48, 48, 256), dose=100.0, seed=3).compute()
shown = image.eds.label()
shown
"""
SAVE = "path = eds_xr.labelling.write_session(shown.session, {path!r}, overwrite=True)"


@pytest.mark.slow
def test_run_notebook__keeps_a_picture():
    notebook = notebook_of(CELL)
    nbclient.NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
    (shown,) = (
        output.data for output in notebook.cells[0].outputs if "image/png" in output.get("data", {})
    )
    assert base64.b64decode(shown["image/png"]).startswith(b"\x89PNG")
    assert any(kind.startswith("application/vnd.holoviews") for kind in shown)


@pytest.fixture
def lab(tmp_path):
    """Return the address of a notebook with a labeller, in a JupyterLab."""
    with jupyter_lab(tmp_path, CELL, SAVE.format(path=str(tmp_path / "s.edsx"))) as address:
        yield address


@pytest.mark.browser
@pytest.mark.slow
def test_jupyterlab__a_stroke_on_a_cell_comes_to_the_kernel(screen, lab, tmp_path):
    screen.expects_errors = True  # JupyterLab says some of its own
    page = screen.page
    run_first_cell(page, lab)
    screen.wait_for_surface()
    screen.until_surface("s => s.classes.length === 2 && s.layers.size")
    page.locator(".eds-surface").scroll_into_view_if_needed()
    screen.hover(20, 20)
    screen.key("2")
    screen.stroke((20, 10), (20, 40))
    screen.until_surface("s => s.strokes.length === 1 && s.pending.size === 0")
    run_cell(page, 1)
    screen.until(lambda: (tmp_path / "s.edsx").exists())
    (stroke,) = read_session(tmp_path / "s.edsx").strokes
    assert stroke.roi.phase == "class_2"
    assert stroke.roi.paths[0][0].tolist() == pytest.approx([20, 10], abs=0.2)
    screen.close()
