"""What a result adds to the maps: scores, presence, and what its spectra leave unexplained."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from eds_xr.app.pictures import channel as channels
from eds_xr.app.pictures.channel import Channel
from eds_xr.factorisation.known_spectra.unexplained import unexplained
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    PHASE,
    EdsError,
    check_same_grid,
    phase_colors,
    phase_names,
    spatial_dims,
)
from eds_xr.spectra.sums import sum_spectra

Result = xr.Dataset | xr.DataTree | None


@dataclass
class Found:
    """The parts of a result that an explorer shows.

    Attributes
    ----------
    channels : list of Channel
    label : DataArray, optional
        Which phase a pixel has most of.
    spectra : callable, optional
        Gives the spectra [phase, energy] that explain the image; computed when asked for.
    code : str
        The Python of these spectra.
    """

    channels: list[Channel] = field(default_factory=list)
    label: xr.DataArray | None = None
    spectra: Callable[[], xr.DataArray] | None = None
    code: str = ""

    @property
    def colors(self) -> dict[str, str]:
        """The colours of the phases."""
        if self.label is None:
            return {}
        return dict(zip(phase_names(self.label), phase_colors(self.label), strict=True))


def parts_of(image: xr.DataArray, result: Result) -> Found:
    """Return what a segmentation, a factorisation or a whole analysis adds.

    Raises
    ------
    EdsError
        If it is none of these, or lies on another grid.
    """
    found = Found()
    if result is None:
        return found
    groups = _groups(result)
    if not groups:
        raise EdsError(
            "expected the result of segment, nmf or analyse, found "
            f"{type(result).__name__} with {', '.join(map(str, result)) or 'nothing'}"
        )
    factors, phases = groups.get("factors"), groups.get("segmentation")
    if phases is not None:
        _add_segmentation(found, image, phases[1], phases[0])
    if factors is not None:
        _add_factors(found, image, factors[1], factors[0])
    _add_unexplained(found, image)
    return found


def _groups(result: xr.Dataset | xr.DataTree) -> dict[str, tuple[str, xr.Dataset]]:
    """Return factors and segmentation, each with the Python that takes it out of the result."""
    if isinstance(result, xr.DataTree):
        return {
            name: (f'result["{name}"].to_dataset()', result[name].to_dataset())
            for name in ("factors", "segmentation")
            if name in result.children
        }
    if not isinstance(result, xr.Dataset):
        return {}
    kinds = {"factors": {"scores", "loadings"}, "segmentation": {"present", "label"}}
    return {n: ("result", result) for n, needs in kinds.items() if needs <= set(result.data_vars)}


def _add_segmentation(found: Found, image: xr.DataArray, one: xr.Dataset, code: str) -> None:
    check_same_grid(image, one["label"], "the result")
    found.label = one["label"]
    for name in one[PHASE].values.tolist():
        for what in ("present", "probability"):
            if what in one:
                _add_array(found, f"{what}: {name}", one[what], code, what, {PHASE: name})
    if "uncertainty" in one:
        _add_array(found, "uncertainty", one["uncertainty"], code, "uncertainty", {})
    dims = spatial_dims(image)
    pure = one["pure"] if "pure" in one else one["present"]
    # a phase that is pure nowhere is taken where it is present
    masks = pure | (one["present"] & ~pure.any(dims))
    found.spectra = _once(lambda: sum_spectra(image, masks).counts.compute())
    said = f"{code}.{pure.name} | ({code}.present & ~{code}.{pure.name}.any({dims!r}))"
    found.code = f"image.eds.sum_spectra({said}).counts.compute()"


def _add_factors(found: Found, image: xr.DataArray, one: xr.Dataset, code: str) -> None:
    check_same_grid(image, one["scores"], "the result")
    names = one[COMPONENT].values.tolist() if COMPONENT in one.coords else None
    for i in range(one.sizes[COMPONENT]):
        name = str(i if names is None else names[i])
        array = one["scores"].isel({COMPONENT: i}, drop=True)
        where = f"isel(component={i})" if names is None else f"sel(component={names[i]!r})"
        found.channels.append(
            channels.of_array(f"score: {name}", array, code=f"{code}.scores.{where}")
        )
    table = one["loadings"].rename({COMPONENT: PHASE})
    if names is None:
        table = table.assign_coords({PHASE: [str(i) for i in range(table.sizes[PHASE])]})
    found.spectra = _once(lambda: table.clip(min=0).compute())
    found.code = f'{code}.loadings.rename(component="phase").clip(min=0)'


def _add_array(
    found: Found, name: str, array: xr.DataArray, code: str, variable: str, where: dict[str, Any]
) -> None:
    one = array.sel(where, drop=True)
    chosen = "".join(f".sel({dim}={value!r})" for dim, value in where.items())
    shown = one if one.dtype.kind == "f" else one.astype("float32")
    found.channels.append(channels.of_array(name, shown, code=f"{code}.{variable}{chosen}"))


def _add_unexplained(found: Found, image: xr.DataArray) -> None:
    """Add the maps of what the result's spectra do not explain."""
    spectra = found.spectra
    if spectra is None:
        return
    for name, variable in (("residual", "excess"), ("strangers", "significance")):

        def make(part: xr.DataArray, variable: str = variable) -> xr.DataArray:
            table = spectra()
            return unexplained(on_energies(part, table), table)[variable]

        found.channels.append(
            channels.of_image(
                name, image, make, sums=False,
                code=f"image.eds.unexplained({found.code}).{variable}",
            )
        )  # fmt: skip


def on_energies(image: xr.DataArray, table: xr.DataArray) -> xr.DataArray:
    """Return the part of an image on the energies of spectra."""
    if image.sizes[ENERGY] == table.sizes[ENERGY]:
        return image
    low, high = (float(e) for e in table[ENERGY].values[[0, -1]])
    return image.sel({ENERGY: slice(low - 1e-6, high + 1e-6)})


def _once(make: Callable[[], xr.DataArray]) -> Callable[[], xr.DataArray]:
    """Return what `make` gives; it is called once, by whoever asks first."""
    made: list[xr.DataArray] = []
    lock = threading.Lock()

    def given() -> xr.DataArray:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return given
