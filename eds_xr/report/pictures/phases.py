"""Maps of phases: a label image, masks, or which phases are present, with overlaps striped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from eds_xr.report.pictures.canvas import (
    NOTHING,
    Colors,
    colors_of,
    dress,
    figure_of,
    legend,
    new_axes,
    plain,
)
from eds_xr.report.pictures.images import image_dims, panel_width, scale_bar, show, shown
from eds_xr.schema import PHASE, EdsError, checked_labels, checked_mask, phase_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Overlaps are drawn in stripes, on so many points a side, of so many stripes across.
POINTS, STRIPES = 900, 60
#: Height of the map [inches].
HEIGHT = 2.8


def plot_phases(
    data: xr.Dataset | xr.DataArray, *, colors: Colors = None, axes: Axes | None = None
) -> Figure:
    """Draw a map of phases, in their own colours, with legend and scale bar; y points down.

    Computes: the map, of which at most 1500 pixels a side are drawn. Where several phases are
    present along the beam, pixels are striped in the colours of all of them.

    Parameters
    ----------
    data : Dataset or DataArray [*spatial] or [phase, *spatial]
        A segmentation, of which ``present`` is drawn; a label image; one mask, or several.
    colors : mapping of str to str, or label image, optional
        By phase; default is what the flags of the label image say.
    axes : Axes, optional
        Where to draw; default is a new figure.

    Returns
    -------
    Figure
        In the legend, each phase with its share of the pixels.

    Raises
    ------
    EdsError
        For what holds neither labels nor masks, or has not two spatial dimensions.
    """
    present, own = _presence(data)
    image_dims(present, "a map of phases")
    shares = present.mean([d for d in present.dims if d != PHASE]).values
    few = shown(present).transpose(PHASE, ...)
    names = [str(n) for n in few[PHASE].values]
    chosen = colors_of(names, own if colors is None else colors)
    new = axes is None
    axes = new_axes(axes, panel_width(few, HEIGHT) + 1.5, HEIGHT)
    phase_panel(axes, few, [chosen[n] for n in names])
    entries = _entries(few, [chosen[n] for n in names], shares)
    beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    inside = {"loc": "upper right"}
    legend(axes, entries, **(beside if new else inside))
    dress(axes)
    return figure_of(axes)


def phase_panel(axes: Axes, present: xr.DataArray, colors: Sequence[str]) -> None:
    """Draw masks [phase, y, x; bool] with stripes where several are true, and a scale bar."""
    from matplotlib.colors import to_rgb

    table = np.array([to_rgb(c) for c in [*colors, NOTHING]])
    fine = max(1, -(-POINTS // max(present.shape[-2:])))
    show(axes, table[_striped(present.values, fine)], present)
    scale_bar(axes, present)


def _presence(data: xr.Dataset | xr.DataArray) -> tuple[xr.DataArray, Colors]:
    """Return masks [phase, y, x; bool], and the colours that the data bring."""
    if isinstance(data, xr.Dataset):
        if "present" not in data and "mask" not in data:
            raise EdsError(
                "a map of phases needs a segmentation, with 'present', found "
                f"{', '.join(map(str, data.data_vars)) or 'nothing'}"
            )
        label = data["label"] if "label" in data else None
        return _presence(data["present" if "present" in data else "mask"])[0], label
    if data.dtype.kind in "iu":
        label = checked_labels(data)
        names = phase_names(label)
        if not names:
            raise EdsError("no pixel of the label image belongs to a phase")
        masks = [label == i + 1 for i in range(len(names))]
        return xr.concat(masks, xr.DataArray(names, dims=PHASE, name=PHASE)), label
    mask = checked_mask(data)
    return (mask if PHASE in mask.dims else mask.expand_dims({PHASE: [str(mask.name)]})), None


def _entries(present: xr.DataArray, colors: Sequence[str], shares: np.ndarray) -> list[Any]:
    from matplotlib.patches import Patch

    texts = [
        f"{plain(n)}, {_percent(s)}" for n, s in zip(present[PHASE].values, shares, strict=True)
    ]
    found = [Patch(color=c, label=t) for c, t in zip(colors, texts, strict=True)]
    number = present.sum(PHASE)
    if bool((number > 1).any()):
        rank = np.argsort(-present.values.sum((1, 2)), kind="stable")[:2]
        found.append(
            Patch(
                facecolor=colors[rank[0]], edgecolor=colors[rank[1]], hatch="/" * 6, linewidth=0,
                label="striped: several",
            )
        )  # fmt: skip
    if bool((number == 0).any()):
        found.append(Patch(color=NOTHING, label="none"))
    return found


def _percent(share: float) -> str:
    """Return a share as text.

    Examples
    --------
    >>> _percent(0.123), _percent(0.0012), _percent(0.0)
    ('12 %', '0.12 %', '0 %')
    """
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def _striped(present: np.ndarray, fine: int) -> np.ndarray:
    """Return which phase each point shows, ``len(present)`` for none: `fine` points a pixel.

    Of several phases each has every n-th diagonal stripe.
    """
    order = np.argsort(~present, axis=0, kind="stable")
    number = present.sum(0)
    order[0] = np.where(number == 0, len(present), order[0])
    rows, columns = (np.arange(n * fine) for n in present.shape[1:])
    width = max(1, round(max(rows.size, columns.size) / STRIPES))
    stripe = (rows[:, None] + columns) // width
    pixel = np.ix_(rows // fine, columns // fine)
    which = stripe % np.maximum(number, 1)[pixel]
    return np.take_along_axis(np.stack([row[pixel] for row in order]), which[None], 0)[0]
