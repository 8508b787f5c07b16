"""What lies over the image: classes, the probability of one, uncertainty, as layers of a canvas."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.app.labeller.steps import Part
from eds_xr.schema import PHASE

#: What can be laid over the image.
OVERLAYS = ("classes", "probability", "uncertainty", "presence", "none")
#: A layer has at most so many rows, and columns.
MOST_SIDE = 2048
#: Of what is least certain.
UNSURE = "#ffd92f"


class Layer(NamedTuple):
    """Bytes, their colours and their place, as a canvas takes them."""

    values: np.ndarray
    kind: str
    palette: list[str]
    place: tuple[float, float, float, float]

    def as_arguments(self) -> dict[str, Any]:
        """Return the arguments of ``Canvas.set_layer``."""
        return {"values": self.values, "kind": self.kind, "palette": self.palette,
                "place": self.place}  # fmt: skip


def overlay_of(part: Part, kind: str, colors: dict[str, str], phase: str | None) -> Layer | None:
    """Return the layer of a kind of overlay; None when there is none.

    Parameters
    ----------
    part : Part
    kind : str
        One of `OVERLAYS`.
    colors : dict of str
        Of the classes, by name.
    phase : str, optional
        The class whose probability is shown.
    """
    names = [str(name) for name in part.probability[PHASE].values]
    if kind == "classes":
        palette = ["#000000", *(colors.get(name, "#bbbbbb") for name in names)]
        return _layer(part, part.label, "labels", palette)
    if kind == "uncertainty":
        return _layer(part, as_bytes(part.uncertainty), "labels", faded(UNSURE))
    if kind == "probability" and phase in names:
        shares = part.probability.sel({PHASE: phase})
        return _layer(part, as_bytes(shares), "labels", faded(colors.get(phase, "#bbbbbb")))
    return None


def presence_layer(segmented: xr.Dataset, colors: dict[str, str]) -> Layer:
    """Return the final phases: in each pixel the mean colour of those that are present."""
    present = segmented["present"].values
    step = -(-max(present.shape[1:]) // MOST_SIDE)
    seen = present[:, ::step, ::step].astype(np.float32)
    table = [bytes.fromhex(colors.get(str(n), "#bbbbbb")[1:7]) for n in segmented[PHASE].values]
    number = seen.sum(0)
    rgb = np.einsum("pyx,pc->yxc", seen, np.array([list(c) for c in table], np.float32))
    values = np.zeros((*number.shape, 4), np.uint8)
    values[..., :3] = (rgb / np.maximum(number, 1)[..., None] + 0.5).astype(np.uint8)
    values[..., 3] = 255 * (number > 0)
    rows, columns = number.shape
    return Layer(values, "rgba", [], (0, 0, rows * step, columns * step))


def as_bytes(shares: xr.DataArray) -> xr.DataArray:
    """Return values of 0 to 1 as 0 to 255."""
    return (shares * 255 + 0.5).clip(0, 255).astype(np.uint8)


def faded(color: str) -> list[str]:
    """Return a colour from clear to full, for each of 256 values."""
    return [f"{color}{value:02x}" for value in range(256)]


def _layer(part: Part, values: xr.DataArray, kind: str, palette: list[str]) -> Layer:
    """Return a layer; of an image that is too large, every second, third ... pixel."""
    y0, x0, y1, x1 = part.place
    step = -(-max(y1 - y0, x1 - x0) // MOST_SIDE)
    seen = np.asarray(values.values[::step, ::step], np.uint8)
    rows, columns = seen.shape
    return Layer(seen, kind, palette, (y0, x0, rows * step, columns * step))
