"""The explorer in a real JupyterLab."""

import numpy as np
import pytest
from support.jupyter import jupyter_lab, run_cell, run_first_cell

CELL = """
import numpy as np
import eds_xr
from eds_xr import simulate
image = simulate.spectrum_image(shape=(48, 48, 256), dose=100.0, seed=3).compute()
shown = image.eds.explore()
shown
"""
SAVE = "np.save({path!r}, shown.regions.values)"


@pytest.mark.browser
@pytest.mark.slow
def test_jupyterlab__a_box_on_a_cell_comes_to_the_kernel(screen, tmp_path):
    screen.expects_errors = True  # JupyterLab says some of its own
    saved = tmp_path / "regions.npy"
    with jupyter_lab(tmp_path, CELL, SAVE.format(path=str(saved))) as address:
        run_first_cell(screen.page, address)
        screen.wait_for_surface()
        screen.page.locator(".eds-surface").scroll_into_view_if_needed()
        screen.page.get_by_text("Box", exact=True).click()
        screen.until_surface("s => s.layers.size > 0")
        screen.stroke((10, 10), (20, 40))
        screen.until_surface("s => s.outlines.length === 1")
        run_cell(screen.page, 1)
        screen.until(saved.exists)
        screen.until(lambda: saved.stat().st_size > 128)
        (mask,) = np.load(saved)
        rows, columns = np.nonzero(mask)
        assert abs(rows.min() - 10) <= 1
        assert abs(rows.max() - 19) <= 1
        assert abs(columns.max() - 39) <= 1
        screen.close()
