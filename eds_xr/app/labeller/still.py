"""A labeller's picture for pages that stand still: map, what lies over it, strokes, classes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from eds_xr.app.labeller.controller import Labeller
from eds_xr.app.labeller.files import painted
from eds_xr.app.labeller.overlays import Layer
from eds_xr.report.pictures.canvas import SMALL, new_figure

#: How strokes cover what lies under them.
STROKES_OPACITY = 0.8


def still_picture(labeller: Labeller) -> bytes:
    """Return what a labeller shows of the whole image, as PNG. Computes the picture of the map."""
    labeller.wait_for_picture()
    figure = new_figure(5.2, 4.0)
    axes = figure.add_subplot()
    picture = labeller.picture
    if picture is not None:
        _draw(axes, labeller.greys(), picture.place, cmap="gray", vmin=0, vmax=255)
    layer = labeller.overlay_layer() if labeller.overlay_shown else None
    if layer is not None:
        _draw(axes, in_colors(layer), layer.place, alpha=labeller.opacity)
    strokes = painted(labeller).values
    if strokes.any():
        palette = ["#000000", *(c.color for c in labeller.session.classes)]
        layer = Layer(strokes, "labels", palette, (0, 0, *labeller.shape))
        _draw(axes, in_colors(layer), layer.place, alpha=STROKES_OPACITY)
    axes.set(xlim=(0, labeller.shape[1]), ylim=(labeller.shape[0], 0), xticks=[], yticks=[])
    for one in labeller.session.classes:
        axes.plot([], [], "s", color=one.color, label=one.name)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=SMALL)
    axes.set_title(labeller.channel, fontsize=SMALL, loc="left")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def in_colors(layer: Layer) -> np.ndarray:
    """Return a layer's pixels [row, column, rgba; uint8]."""
    if layer.kind == "rgba":
        return layer.values
    table = np.zeros((256, 4), np.uint8)
    for value, color in enumerate(layer.palette):
        table[value] = list(bytes.fromhex(f"{color[1:]}ff"[:8]))
    table[0, 3] = 0
    return table[layer.values]


def _draw(axes: Any, values: np.ndarray, place: Any, **style: Any) -> None:
    y0, x0, high, wide = place
    extent = (x0, x0 + wide, y0 + high, y0)
    axes.imshow(values, extent=extent, interpolation="nearest", aspect="equal", **style)
