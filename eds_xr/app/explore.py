"""Explore a spectrum image in the browser or in a notebook's cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from eds_xr.cluster.supervision import computes

if TYPE_CHECKING:
    from eds_xr.app.explorer.explorer import Explorer

#: Of the page in a notebook's cell [pixels].
CELL_HEIGHT = 660


def explore(
    image: xr.DataArray,
    result: xr.Dataset | xr.DataTree | None = None,
    *,
    elements: Sequence[str] | None = None,
    name: str = "",
) -> Any:
    """Look at a spectrum image: map and spectrum side by side, in a notebook's cell.

    Computes: what is looked at, off the kernel's thread: parts of maps as fine as the screen, from
    stored sums of pixels where the store has them (``convert(..., pyramid=True)``), spectra of
    pixels and regions.

    The spectrum under the pointer is shown; a click on a peak gives its map, an element typed its
    lines and its map freed of overlaps; regions are drawn, one subtracted from another, maps
    followed along a line. All of it stands as Python beside, to be copied.
    ``eds-xr explore scan.zarr`` shows the same in a browser's tab.

    Parameters
    ----------
    image : DataArray [y, x, energy; counts]
        From a store or in memory, of any size.
    result : Dataset or DataTree, optional
        Of ``segment``, ``nmf`` or ``analyse``: scores and presence are offered as maps, and what
        its spectra do not explain, ``residual`` and ``strangers`` (:func:`eds_xr.unexplained`).
    elements : sequence of str, optional
        That are known to be there; default are those that the file names.
    name : str
        Of the page.

    Returns
    -------
    object
        Shown by notebooks; of the explorer behind it, ``explorer``, ``regions``, ``spectra()`` and
        ``script`` can be asked. ``show()`` opens it in a tab of its own. A notebook that was run
        keeps a picture of it.

    Raises
    ------
    EdsError
        If it is no image (y, x), the result is none of these, or Panel is not installed.
    """
    from eds_xr.app.explorer.explorer import Explorer
    from eds_xr.app.notebook import in_notebook, load_panel
    from eds_xr.app.serving.extra import need_panel

    need_panel()
    if in_notebook():
        load_panel()
    explorer = Explorer(image, result, elements=elements)
    return Exploration(explorer, name or _name_of(image))


class Exploration:
    """What :func:`explore` returns."""

    def __init__(self, explorer: Explorer, name: str) -> None:
        self.explorer, self.name = explorer, name
        self._cell: Any = None

    @property
    def regions(self) -> xr.DataArray:
        """The masks of the regions that were drawn, ``[phase, y, x; bool]``."""
        from eds_xr.segmentation.roi_masks import from_rois

        return from_rois(self.explorer.image, [r.roi for r in self.explorer.regions.values()])

    @computes
    def spectra(self) -> xr.Dataset:
        """Return the spectra of the regions, ``[phase, energy]``."""
        from eds_xr.spectra.sums import sum_spectra

        return sum_spectra(self.explorer.image, self.regions).compute()

    @property
    def script(self) -> str:
        """The Python of what was done."""
        return self.explorer.script.text()

    def view(self) -> Any:
        """Return a new page of this exploration: it has ``panel()`` and ``close()``."""
        from eds_xr.app.explorer.view import ExplorerView

        return ExplorerView(self.explorer, self.name)

    def show(self, **options: Any) -> Any:
        """Serve it from this process, and open it in a tab; ``.stop()`` ends it.

        Parameters
        ----------
        **options
            ``port``, ``address``, ``show`` and ``block`` of the server.
        """
        from eds_xr.app.serving.server import serve

        chosen: dict[str, Any] = {"block": False, "title": f"{self.name} · explore"}
        return serve(self.view, **(chosen | options))

    def close(self) -> None:
        """End the work of the cell that shows it."""
        if self._cell is not None:
            self._cell.close()
            self._cell = None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        from eds_xr.app.explorer.still import still_picture
        from eds_xr.app.notebook import load_panel, shown_in_cell

        load_panel()
        self.close()
        self._cell = self.view()
        page = self._cell.panel()
        page.param.update(height=CELL_HEIGHT, sizing_mode="stretch_width")
        return shown_in_cell(page, still_picture(self.explorer))


def _name_of(image: xr.DataArray) -> str:
    from pathlib import PurePath

    from eds_xr.app.explorer.script import store_of

    source = store_of(image) or str(image.attrs.get("source", ""))
    return PurePath(source).name or str(image.name or "image")
