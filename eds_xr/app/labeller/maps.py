"""The maps that a labeller shows and learns from: counts, recorded images, scores, others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import xarray as xr

from eds_xr.app.pictures.channel import Channel, counts, of_array, total_counts
from eds_xr.image.element_maps import element_maps
from eds_xr.schema import ENERGY, LINE, EdsError, check_same_grid, spatial_dims, texts_of
from eds_xr.segmentation.features.stack import CHANNEL, as_channels

Given = xr.DataArray | xr.Dataset | Mapping[str, xr.DataArray]


class Map(NamedTuple):
    """A map: how it is shown, its values, and whether it is learnt from unless chosen otherwise.

    Attributes
    ----------
    shown : Channel
    values : DataArray [y, x]
        Lazy where the image is.
    learnt : bool
    code : str
        The Python that makes the channels it comes from.
    """

    shown: Channel
    values: xr.DataArray
    learnt: bool
    code: str


def maps_of(image: xr.DataArray, given: Given | None) -> dict[str, Map]:
    """Return the maps of an image by name, those given first.

    Lazy.

    Parameters
    ----------
    image : DataArray [y, x, energy; counts], or channels [channel, y, x]
    given : DataArray, NMF Dataset or mapping of str to DataArray, optional
        What is learnt from; by default the maps of the elements that the file names, or counts and
        images recorded with it. Channels are learnt from themselves.
    """
    found: dict[str, Map] = {}
    spectral = ENERGY in image.dims
    if given is None and not spectral:
        given = image
    for name, values in channels_in(given):
        check_same_grid(image, values, f"the channel {name!r}")
        found[name] = Map(of_array(name, values), values, True, "channels")
    alone = not found
    if spectral:
        found |= {n: m for n, m in _of_spectra(image, alone).items() if n not in found}
    for name, values in _riding(image):
        if name not in found:
            shown = of_array(name, values, code=f"image.{name}")
            found[name] = Map(shown, values, alone, f"image.{name}")
    return found


def channels_in(given: Given | None) -> Iterable[tuple[str, xr.DataArray]]:
    """Yield the channels of what a user gives, by name."""
    if given is None:
        return
    if isinstance(given, xr.Dataset):
        if "scores" not in given:
            raise EdsError(f"expected an NMF result with 'scores', found {list(given)}")
        given = given["scores"]
    if isinstance(given, xr.DataArray):
        stack = as_channels(given)
        for name in stack[CHANNEL].values:
            yield str(name), stack.sel({CHANNEL: name}, drop=True).reset_coords(drop=True)
        return
    for name, values in given.items():
        yield str(name), values.reset_coords(drop=True)


def stacked(maps: Mapping[str, Map], names: Iterable[str]) -> xr.DataArray:
    """Return maps as the channels of features ``[channel, y, x]``. Lazy."""
    chosen = list(names) or [name for name, one in maps.items() if one.learnt]
    missing = [name for name in chosen if name not in maps]
    if missing:
        raise EdsError(f"there is no channel {missing[0]!r}; channels are {', '.join(maps)}")
    parts = [maps[name].values.astype("float32").drop_attrs() for name in chosen]
    stack = xr.concat(parts, dim=CHANNEL, coords="minimal", compat="override", join="override")
    stack = stack.assign_coords({CHANNEL: chosen})
    return stack if stack.chunks is None else stack.chunk({CHANNEL: -1})


def _of_spectra(image: xr.DataArray, learnt: bool) -> dict[str, Map]:
    """Return the map of all counts, and those of the elements that the file names."""
    values = total_counts(image).reset_coords(drop=True)
    found = {"counts": Map(counts(image), values, learnt, 'image.sum("energy")')}
    if not texts_of(image.attrs, "elements"):
        return found
    try:
        maps = element_maps(image)
    except EdsError:  # none of the elements has a line on the axis
        return found
    for line in maps[LINE].values:
        one = maps.sel({LINE: line}, drop=True).reset_coords(drop=True)
        code = f'image.eds.element_map("{line}")'
        found[str(line)] = Map(of_array(str(line), one, code=code), one, learnt, code)
    return found


def _riding(image: xr.DataArray) -> Iterable[tuple[str, xr.DataArray]]:
    dims = spatial_dims(image)
    for name, coord in image.coords.items():
        if set(coord.dims) == set(dims) and coord.dtype.kind in "uifb":
            yield str(name), coord.transpose(*dims).reset_coords(drop=True)
