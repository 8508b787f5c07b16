"""Images on axes: y down, pixels of their true shape, a scale bar, few enough pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from eds_xr.axes import mean_step
from eds_xr.report.pictures.canvas import COLUMN, LARGE, SMALL, plain
from eds_xr.schema import EdsError, spatial_dims

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

#: No picture shows more pixels a side.
MOST_PIXELS = 1500
#: Of the pixels of a map, these parts [%] are darker and brighter than its range.
SATURATED = (0.5, 99.5)


def image_dims(data: xr.DataArray | xr.Dataset, what: str) -> tuple[str, str]:
    """Return the names of rows and columns."""
    dims = spatial_dims(data)
    if len(dims) != 2:
        named = ", ".join(dims) or "none"
        cure = f"choose one, data.isel({dims[0]}=0)" if len(dims) > 2 else "use plot_profile"
        raise EdsError(f"{what} needs two spatial dimensions, found {named}; {cure}")
    return dims[0], dims[1]


def over_dim(data: xr.DataArray) -> str | None:
    """Return the dimension along which there are several maps; None for a single one."""
    over = [str(d) for d in data.dims if d not in spatial_dims(data)]
    if len(over) > 1:
        raise EdsError(f"maps have one more dimension than y and x, found {over}; choose of one")
    return over[0] if over else None


def shown(data: xr.DataArray) -> xr.DataArray:
    """Return values of at most `MOST_PIXELS` a side, last the rows and columns, y and x rising.

    Computes: blockwise means of numbers; of labels and masks every so many pixels.
    """
    dims = image_dims(data, "a picture")
    step = {d: math.ceil(data.sizes[d] / MOST_PIXELS) for d in dims}
    bare = data.drop_vars([n for n, c in data.coords.items() if n not in c.dims and c.ndim > 0])
    if data.dtype.kind == "b" or "flag_meanings" in data.attrs:
        few = bare.isel({d: slice(None, None, n) for d, n in step.items()})
    elif max(step.values()) > 1:
        few = bare.coarsen(step, boundary="pad").mean()
    else:
        few = bare
    few = few.transpose(..., *dims).compute()
    falls = [d for d in dims if d in few.coords and few.sizes[d] > 1 and few[d][0] > few[d][-1]]
    return few.isel({d: slice(None, None, -1) for d in falls})


def show(axes: Axes, values: np.ndarray, image: xr.DataArray, **style: Any) -> AxesImage:
    """Show pixels, which may be finer than those of `image`, in the frame of `image`."""
    rows, columns = image.shape[-2:]
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    height, width = (step_of(image, d) for d in image.dims[-2:])
    options: dict[str, Any] = {
        "interpolation": "nearest",
        "aspect": height / width,
    }
    drawn = axes.imshow(values, extent=extent, **(options | style))
    axes.set(xticks=[], yticks=[])
    return drawn


def scale_bar(axes: Axes, image: xr.DataArray) -> None:
    """Draw a bar of a round length, about a quarter of the image, white in a dark rim."""
    from matplotlib.patheffects import Normal, Stroke

    name = image.dims[-1]
    if name not in image.coords or image.sizes[name] < 2:
        return
    step = step_of(image, name)
    length = _round_length(step * image.shape[-1] / 4)
    units = str(image[name].attrs.get("units", "pixels"))
    text = f"{length / 1000:g} µm" if units == "nm" and length >= 1000 else f"{length:g} {units}"
    left = 0.05 * image.shape[-1] - 0.5
    place = axes.get_xaxis_transform()
    ends = [left, left + length / step]
    for width, color in ((3.4, "black"), (2.2, "white")):
        axes.plot(
            ends, [0.055, 0.055], color=color, linewidth=width, transform=place,
            solid_capstyle="butt", scalex=False, scaley=False, gid="scale bar",
        )  # fmt: skip
    axes.text(
        left, 0.075, plain(text), transform=place, ha="left", va="bottom",
        fontsize=SMALL, color="white", gid="scale bar",
        path_effects=[Stroke(linewidth=1.4, foreground="black"), Normal()],
    )  # fmt: skip


def range_of(values: np.ndarray) -> tuple[float, float]:
    """Return the range of a map: what few pixels exceed; no less than zero, as amounts are."""
    finite = values[np.isfinite(values)].astype(float)
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, SATURATED)
    if high > 0 > low:
        low = 0.0
    if low == high:  # sparse: few pixels hold anything
        low, high = float(finite.min()), float(finite.max())
    return float(low), float(high if high > low else low + 1)


def map_panel(
    axes: Axes,
    image: xr.DataArray,
    *,
    title: str = "",
    limits: tuple[float, float] | None = None,
    cmap: str = "viridis",
    bar: str = "below",
    label: str | None = None,
) -> AxesImage:
    """Draw one map, with a colour bar ("below", "beside" or "") as :func:`color_bar` has it."""
    low, high = range_of(image.values) if limits is None else limits
    drawn = show(axes, image.values, image, cmap=cmap, vmin=low, vmax=high)
    axes.set_title(title, fontsize=LARGE, pad=3)
    for spine in axes.spines.values():
        spine.set_linewidth(0.6)
    if bar:
        color_bar([axes], drawn, image, bar, label)
    return drawn


def color_bar(
    axes: Sequence[Axes],
    drawn: AxesImage,
    image: xr.DataArray,
    place: str,
    label: str | None = None,
) -> None:
    """Add the colour bar of a map, whose ends are pointed where pixels lie beyond."""
    from matplotlib.ticker import MaxNLocator

    low, high = drawn.get_clim()
    below, above = bool((image < low).any()), bool((image > high).any())
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max"}.get((below, above), "both")
    where: dict[str, Any] = (
        {"orientation": "horizontal", "fraction": 0.05, "pad": 0.03, "aspect": 24}
        if place == "below"
        else {"orientation": "vertical", "fraction": 0.04, "pad": 0.02, "aspect": 30}
    )
    bar = axes[0].figure.colorbar(drawn, ax=list(axes), extend=extend, **where)
    bar.locator = MaxNLocator(4)
    bar.update_ticks()
    text = str(image.attrs.get("units", "counts")) if label is None else label
    bar.set_label(plain(text), fontsize=SMALL, labelpad=1)
    bar.ax.tick_params(labelsize=SMALL, width=0.5, length=2)
    bar.outline.set_linewidth(0.5)


def panel_width(image: xr.DataArray, height: float) -> float:
    """Return the width of an image of this height."""
    steps = [step_of(image, d) * image.sizes[d] for d in image.dims[-2:]]
    return float(min(COLUMN * 2, height * steps[1] / steps[0]))


def step_of(image: xr.DataArray, dim: Any) -> float:
    """Return the side of a pixel along a dimension."""
    if dim not in image.coords or image.sizes[dim] < 2:
        return 1.0
    return abs(mean_step(image[dim].values))


def _round_length(most: float) -> float:
    power = 10 ** math.floor(math.log10(most))
    return float(max(m * power for m in (1, 2, 5) if m * power <= most))
