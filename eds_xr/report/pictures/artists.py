"""Artists of our own. Imported only where something is drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import IdentityTransform

from eds_xr.report.pictures.line_labels import Label, fits_lying, spread


class Picture(Figure):
    """A figure that a notebook shows by itself; pyplot knows nothing of it."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()


class LineLabels(Artist):
    """Names of lines along the upper edge of axes, which never overlap, with leaders to the lines.

    They are placed whenever they are drawn, for only then the size of the axes is known.
    """

    #: Between names, of a leader's two ends, and from the edge [points].
    GAP, FOOT, LEADER, EDGE = 4.0, 3.0, 9.0, 2.5

    def __init__(self, labels: Sequence[Label], size: float) -> None:
        super().__init__()
        self.set_zorder(4)
        self.labels, self.size = sorted(labels, key=lambda label: label.energy), size
        self.texts = [
            Text(0, 0, label.text, color=label.color, fontsize=size, style=label.style)
            for label in self.labels
        ]
        self.leaders = [
            Line2D([], [], color=label.color, linewidth=0.5, alpha=0.6) for label in self.labels
        ]

    @property
    def points_high(self) -> float:
        """How much room the names take where they stand upright, with their leaders [points]."""
        letters = max([0, *(len(label.text) for label in self.labels)])
        return 0.62 * self.size * letters + self.EDGE + self.LEADER + 2 * self.FOOT

    def draw(self, renderer: RendererBase) -> None:
        """Place and draw all of them."""
        if not self.get_visible() or self.axes is None:
            return
        self._place(self.axes, renderer)
        for artist in (*self.leaders, *self.texts):
            if artist.get_visible():
                artist.draw(renderer)

    def _place(self, axes: Any, renderer: RendererBase) -> None:
        figure = axes.get_figure(root=True)
        point = figure.dpi / 72
        box, y_of = axes.bbox, axes.transData
        for artist in (*self.leaders, *self.texts):
            artist.set_figure(figure)
            artist.set_transform(IdentityTransform())
        places = np.array([y_of.transform((label.energy, 1))[0] for label in self.labels])
        shown = (places >= box.x0) & (places <= box.x1)
        left, right = box.x0 + self.EDGE * point, box.x1 - 0.4 * self.EDGE * point
        for artist, on in zip(self.texts, shown, strict=True):
            artist.set(rotation=0, visible=bool(on))
        sizes = [text.get_window_extent(renderer) for text in self.texts]
        widths = np.array([s.width for s in sizes]) + self.GAP * point
        heights = np.array([s.height for s in sizes])
        lying = fits_lying(places[shown], widths[shown], left, right)
        across = widths if lying else heights + 0.3 * self.GAP * point
        kept = shown.copy()
        while across[kept].sum() > right - left:  # the weakest go, where there is no room for all
            weakest = min(np.flatnonzero(kept), key=lambda i: self.labels[i].strength)
            kept[weakest] = False
        middles = places.copy()
        middles[kept] = spread(places[kept], across[kept], left, right)
        tall = max([0.0, *(heights if lying else widths)[kept]])
        foot = box.y1 - self.EDGE * point - tall
        for i, (text, leader) in enumerate(zip(self.texts, self.leaders, strict=True)):
            style: dict[str, Any] = {"visible": bool(kept[i]), "position": (middles[i], foot)}
            style |= {"rotation": 0 if lying else 90, "ha": "center", "va": "bottom"}
            text.set(**style)
            knee = foot - self.LEADER * point
            tip = self._tip(axes, i, knee)
            leader.set_data(
                [middles[i], places[i], places[i]], [foot - 0.1 * self.FOOT * point, knee, tip]
            )
            leader.set_visible(bool(kept[i]))

    def _tip(self, axes: Any, i: int, knee: float) -> float:
        """Return how far down the leader goes: to just above the spectrum."""
        label = self.labels[i]
        if not np.isfinite(label.strength):
            return knee
        top = float(axes.transData.transform((label.energy, label.strength))[1])
        # what a subtraction leaves may be below zero, and below the axes
        low = axes.bbox.y0 if not np.isfinite(top) else max(top, axes.bbox.y0)
        return float(min(knee, low + self.FOOT * axes.get_figure(root=True).dpi / 72))
