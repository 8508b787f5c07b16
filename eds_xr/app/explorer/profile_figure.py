"""A map's profile along a line, with one standard deviation each way."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from eds_xr.app.spectrum.panel import dress


class ProfileFigure:
    """A small figure that shows one profile."""

    def __init__(self) -> None:
        self.data = ColumnDataSource({n: [] for n in ("x", "y", "low", "high")})
        self.figure: Any = figure(
            tools="", toolbar_location=None, sizing_mode="stretch_width", height=210,
            x_axis_label="distance", name="profile",
        )  # fmt: skip
        dress(self.figure)
        self.band = self.figure.varea("x", "low", "high", source=self.data, fill_alpha=0.2)
        self.line = self.figure.line("x", "y", source=self.data, line_width=1.2)

    def show(self, found: xr.Dataset, color: str, name: str) -> None:
        """Show the first map of a profile."""
        mean = found["mean"].values[0].astype(float)
        sd = np.nan_to_num(found["standard_deviation"].values[0].astype(float))
        self.data.data = {
            "x": found["distance"].values.astype(float), "y": mean, "low": mean - sd,
            "high": mean + sd,
        }  # fmt: skip
        self.line.glyph.line_color = self.band.glyph.fill_color = color
        units = found["distance"].attrs.get("units", "pixels")
        self.figure.xaxis[0].axis_label = f"distance ({units})"
        self.figure.yaxis[0].axis_label = f"{name} per pixel"
