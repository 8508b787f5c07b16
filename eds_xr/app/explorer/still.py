"""A picture of an image and its spectrum that a run notebook keeps."""

from __future__ import annotations

import io
import time
from contextlib import suppress
from typing import Any

from eds_xr.app.explorer.explorer import Explorer
from eds_xr.app.pictures.drawing import Picture, Window
from eds_xr.app.pictures.greys import as_greys, limits
from eds_xr.app.pictures.worker import CancelledError, Job

#: Of a large image without stored sums, what is read in this time is shown [s].
MOST_SECONDS = 5.0
SIDE = 400


class _Hurried(Job):
    """Work that ends by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._until = time.monotonic() + MOST_SECONDS

    @property
    def cancelled(self) -> bool:
        """Whether the time is up."""
        return super().cancelled or time.monotonic() > self._until


def still_picture(explorer: Explorer) -> bytes:
    """Return counts and the mean spectrum as PNG; of what is slow to read, what there is."""
    from eds_xr.report.pictures.canvas import new_figure
    from eds_xr.report.pictures.spectra import plot_spectra

    pictures: list[Picture] = []
    spectra: list[Any] = []
    window = Window(0, 0, *explorer.shape, SIDE, SIDE)
    with suppress(CancelledError):
        pictures.append(explorer.draw("counts", window, _Hurried(), pictures.append))
    with suppress(CancelledError):
        spectra.append(explorer.whole_spectrum(_Hurried(), lambda one, done: spectra.append(one)))
    figure = new_figure(6.9, 2.4)
    left, right = figure.subplots(1, 2, width_ratios=[1, 2])
    left.axis("off")
    if pictures:
        values = pictures[-1].values
        left.imshow(as_greys(values, *limits(values)), cmap="gray", vmin=0, vmax=255)
    if spectra:
        one = spectra[-1].isel(phase=0, missing_dims="ignore")
        plot_spectra(one, axes=right, lines=explorer.elements and None)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
