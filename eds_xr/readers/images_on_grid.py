"""Images that lie on the grid of a spectrum image, for the readers whose files hold several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from eds_xr.readers import metadata

Axes = Sequence[Mapping[str, Any]]
#: Title, axes in RosettaSciIO's form, and what gives the values ``[y, x]``.
Image = tuple[str, Axes, Callable[[], np.ndarray]]

#: Names of the data model, which no image may take.
_TAKEN = frozenset({"counts", "energy", "frame", "tilt", "x", "y", "z"})


def images_on_grid(axes: Axes, images: Iterable[Image]) -> dict[str, np.ndarray]:
    """Return, by name, the images of the size and pixel size of a spectrum image with `axes`."""
    energy = metadata.energy_index(axes)
    grid = [axis for i, axis in enumerate(axes) if i != energy][-2:]
    found: dict[str, np.ndarray] = {}
    for title, its_axes, load in images:
        if len(grid) == len(its_axes) == 2 and _same_grid(grid, its_axes):
            name = metadata.variable_name(title)
            while name in _TAKEN or name in found:
                name = f"image_{name}"
            found[name] = load()
    return found


def is_flat(axes: Axes) -> bool:
    """Return whether axes are those of an image."""
    return len(axes) == 2 and metadata.energy_index(axes) is None


def nothing_found(name: str, signals: Iterable[tuple[str, Axes]], cure: str) -> str:
    """Return the message about a file that holds `signals`, but no spectrum image."""
    signals = list(signals)
    for title, axes in signals:
        if metadata.is_single_spectrum(axes):
            return (
                f"{name} holds a single spectrum ({title!r}, {axes[0]['size']:,} channels), which "
                "has no positions: expected a spectrum image, at least a line of pixels; convert "
                "the map that it was taken from, or open the spectrum in HyperSpy"
            )
    found = "; ".join(
        f"{title!r} with axes "
        + ", ".join(f"{_title(a)} ({a['size']}, {a.get('units') or 'no unit'})" for a in axes)
        for title, axes in signals
    )
    return (
        f"{name} holds no spectrum image: expected an axis in eV or keV besides at least one of "
        f"positions, found {found or 'no signal'}; {cure}"
    )


def _title(axis: Mapping[str, Any]) -> str:
    return str(axis.get("name") or "an axis")


def _same_grid(one: Axes, other: Axes) -> bool:
    return all(
        int(a["size"]) == int(b["size"])
        and np.isclose(metadata.position_step(a), metadata.position_step(b), rtol=1e-2)
        for a, b in zip(one, other, strict=True)
    )
