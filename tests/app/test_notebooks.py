"""The apps in a real JupyterLab, and in a notebook that was run and stands still.

One JupyterLab, one kernel and one run notebook for both: to start them takes most of the time.
"""

import base64

import nbclient
import numpy as np
import pytest
from support.browser import Screen
from support.jupyter import jupyter_lab, notebook_of, run_cell, run_first_cell

from eds_xr.segmentation.labelling import read_session

pytestmark = pytest.mark.slow

IMAGE = """
import numpy as np
import eds_xr
from eds_xr import simulate
image = simulate.spectrum_image(shape=(48, 48, 256), dose=100.0, seed=3).compute()
"""
EXPLORE = "explored = image.eds.explore()\nexplored"
LABEL = "labelled = image.eds.label()\nlabelled"
SAVE_REGIONS = "np.save({!r}, explored.regions.values)"
SAVE_STROKES = "path = eds_xr.labelling.write_session(labelled.session, {!r}, overwrite=True)"


def test_run_notebook__keeps_a_picture_of_each_app():
    notebook = notebook_of(IMAGE, EXPLORE, LABEL)
    nbclient.NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
    for cell in notebook.cells[1:]:
        outputs = [output.get("data", {}) for output in cell.outputs]
        (shown,) = (output for output in outputs if "image/png" in output)
        assert base64.b64decode(shown["image/png"]).startswith(b"\x89PNG")
        assert "text/html" in shown
        assert any(kind.startswith("application/vnd.holoviews") for kind in shown)
        for one in outputs:  # the browser's code lies in the notebook
            assert "<script src=" not in str(one.get("text/html", ""))


@pytest.fixture(scope="module")
def lab(chromium, tmp_path_factory):
    """Return the page of a notebook in a JupyterLab, its image there, and the notebook's folder."""
    folder = tmp_path_factory.mktemp("lab")
    cells = [IMAGE, EXPLORE, SAVE_REGIONS.format(str(folder / "regions.npy"))]
    cells += [LABEL, SAVE_STROKES.format(str(folder / "s.edsx"))]
    with jupyter_lab(folder, *cells) as address, Screen(chromium) as screen:
        run_first_cell(screen.page, address)
        screen.expects_errors = True  # JupyterLab says some of its own
        yield screen, folder
        screen.check()


def show_app(screen, number):
    """Run the cell of an app, and scroll to its canvas; it is that of which `screen` speaks."""
    screen.canvas = f".jp-CodeCell >> nth={number} >> .eds-surface"
    run_cell(screen.page, number)
    screen.wait_for_surface()
    # JupyterLab scrolls to the next cell once this one is done: not under the hand that draws
    screen.page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()
    screen.page.locator(screen.canvas).scroll_into_view_if_needed()


@pytest.mark.browser
def test_jupyterlab__a_box_on_a_cell_comes_to_the_kernel(lab):
    screen, folder = lab
    saved = folder / "regions.npy"
    show_app(screen, 1)
    screen.until_surface("s => s.layers.size > 0")
    screen.page.get_by_text("Box", exact=True).click()
    screen.until_surface("s => s.tool === 'rectangle'")
    screen.stroke((10, 10), (20, 40))
    screen.until_surface("s => s.outlines.length === 1")
    run_cell(screen.page, 2)
    screen.until(saved.exists)
    screen.until(lambda: saved.stat().st_size > 128)
    (mask,) = np.load(saved)
    rows, columns = np.nonzero(mask)
    assert abs(rows.min() - 10) <= 1
    assert abs(rows.max() - 19) <= 1
    assert abs(columns.max() - 39) <= 1


@pytest.mark.browser
def test_jupyterlab__a_stroke_on_a_cell_comes_to_the_kernel(lab):
    screen, folder = lab
    show_app(screen, 3)
    screen.until_surface("s => s.classes.length === 2 && s.layers.size")
    screen.hover(20, 20)
    screen.key("2")
    screen.stroke((20, 10), (20, 40))
    screen.until_surface("s => s.strokes.length === 1 && s.pending.size === 0")
    run_cell(screen.page, 4)
    screen.until((folder / "s.edsx").exists)
    (stroke,) = read_session(folder / "s.edsx").strokes
    assert stroke.roi.phase == "class_2"
    assert stroke.roi.paths[0][0].tolist() == pytest.approx([20, 10], abs=0.2)
