"""The detector that recorded: its layers, or a table of its efficiency, noted in attributes.

What computes with an efficiency takes it from the attributes of the image, spectra or lines:
``detector_window_nm``, ``detector_dead_layer_nm``, ``detector_contact_nm``,
``detector_thickness_mm``, or ``detector_energy_kev`` and ``detector_efficiency``, two lists.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from eds_xr import provenance
from eds_xr.arguments import number
from eds_xr.schema import ENERGY, EdsError
from eds_xr.xray.detector import detector_efficiency

Data = TypeVar("Data", xr.DataArray, xr.Dataset)
#: What is not known of a detector that nobody describes [nm]: layers of silicon and aluminium, and
#: of ice or dirt, as so much polymer. Of what is described, a share.
UNKNOWN_LAYERS_NM = {"window_nm": 40.0, "dead_layer_nm": 25.0, "contact_nm": 15.0}
LAYER_UNCERTAINTY, CRYSTAL_UNCERTAINTY = 0.2, 0.1
#: Relative, of a table.
TABLE_UNCERTAINTY = 0.05
_PREFIX = "detector_"
_LAYERS = ("window_nm", "dead_layer_nm", "contact_nm", "thickness_mm")
_TABLE = ("energy_kev", "efficiency")
#: More is no layer that photons get through, and no crystal.
_MOST = {"window_nm": 1e5, "dead_layer_nm": 1e5, "contact_nm": 1e5, "thickness_mm": 100.0}


@dataclass(frozen=True)
class OwnDetector:
    """A silicon drift detector: layers before its crystal, or a table of its efficiency.

    Attributes
    ----------
    window_nm, dead_layer_nm, contact_nm : float
        Polymer window, silicon dead layer, aluminium contact; the defaults are those of a
        windowless detector.
    thickness_mm : float
        Of the active silicon.
    table : tuple of (float, float)
        Energy [keV] and efficiency; with one, layers do not count.
    described : tuple of str
        Which layers someone described; the others are typical.
    """

    window_nm: float = 0.0
    dead_layer_nm: float = 10.0
    contact_nm: float = 30.0
    thickness_mm: float = 0.45
    table: tuple[tuple[float, float], ...] = ()
    described: tuple[str, ...] = ()

    def efficiency(self, energy_kev: ArrayLike) -> np.ndarray:
        """Return the share of photons that is counted; a table is held beyond its ends."""
        if self.table:
            energy, seen = self._columns
            return np.interp(np.asarray(energy_kev, float), energy, seen)
        return self._layered(energy_kev)

    def _layered(self, energy_kev: ArrayLike, **other: float) -> np.ndarray:
        """Return the efficiency of the layers, some of them another's."""
        layers: dict[str, float] = {n: getattr(self, n) for n in _LAYERS}
        return detector_efficiency(energy_kev, **{**layers, **other})

    def uncertainty(self, energy_kev: ArrayLike) -> np.ndarray:
        """Return the relative standard uncertainty of the efficiency.

        Of a table 5 %. Else each layer by itself: what is described is known to 20 % (the crystal
        to 10 %); a layer that nobody describes is uncertain by 25 nm of silicon, 15 nm of aluminium
        and 40 nm of polymer, as much as ice and dirt absorb.
        """
        seen = self.efficiency(energy_kev)
        if self.table:
            return np.full(seen.shape, TABLE_UNCERTAINTY)
        safe, squares = np.where(seen > 0, seen, 1.0), np.zeros(seen.shape)
        for name in _LAYERS:
            value = float(getattr(self, name))
            if name == "thickness_mm":
                other = value * (1 - CRYSTAL_UNCERTAINTY)
            elif name in self.described:
                other = value * (1 + LAYER_UNCERTAINTY)
            else:
                other = value + UNKNOWN_LAYERS_NM[name]
            changed = self._layered(energy_kev, **{name: other})
            squares += (np.where(seen > 0, changed, 1.0) / safe - 1) ** 2
        return np.asarray(np.sqrt(squares))

    def check_covers(self, low_kev: float, high_kev: float) -> None:
        """Raise unless a table has an efficiency at all these energies."""
        if not self.table:
            return
        first, last = float(self._columns[0][0]), float(self._columns[0][-1])
        if low_kev < first or high_kev > last:
            raise EdsError(
                f"the table of the detector's efficiency goes from {first:g} to {last:g} keV, "
                f"asked for is {low_kev:.4g} to {high_kev:.4g} keV: extend the table, or narrow "
                "the range of energies (range_kev)"
            )

    def held(self) -> OwnDetector:
        """Return the same detector, whose table is held from 0 to any energy."""
        if not self.table:
            return self
        (first, low), (last, high) = self.table[0], self.table[-1]
        before = ((0.0, low),) if first > 0 else ()
        return replace(self, table=(*before, *self.table, (max(2 * last, 1000.0), high)))

    @cached_property
    def _columns(self) -> tuple[np.ndarray, np.ndarray]:
        energy, seen = np.array(self.table).T
        return energy, seen


#: Where nothing is known.
TYPICAL = OwnDetector()


def with_detector(
    data: Data, detector: Mapping[str, Any] | xr.DataArray | str | Path | None
) -> Data:
    """Return an image, spectra or lines with a detector noted in the attributes.

    Lazy: only attributes change. Line fits, identification and computed k-factors then use it:
    weights of lines in their family, the background, what an atom's photons count.

    Parameters
    ----------
    data : DataArray or Dataset
    detector : mapping, DataArray over ``energy``, path or None
        Layers, ``{"window_nm": 300, "dead_layer_nm": 50, "contact_nm": 30, "thickness_mm": 0.5}``
        (those left out are a windowless detector's); or the efficiency at some energies [keV]:
        ``{"energy_kev": [0.1, ...], "efficiency": [0.2, ...]}``, a DataArray over ``energy``, or
        a CSV file with columns of these names. Efficiencies lie in (0, 1]; a table is linear
        between its energies. None: nothing is known.

    Returns
    -------
    the same
        With the attributes ``detector_window_nm`` and so on, those of another detector removed,
        and a step of the history.

    Raises
    ------
    EdsError
        For a layer that does not exist or is negative, energies that do not rise, efficiencies
        outside (0, 1].

    Examples
    --------
    >>> import xarray as xr
    >>> image = xr.DataArray([1, 2], dims="energy", attrs={"beam_energy_kev": 200.0})
    >>> with_detector(image, {"window_nm": 300}).attrs["detector_window_nm"]
    300.0
    """
    every = [f"{_PREFIX}{n}" for n in (*_LAYERS, *_TABLE)]
    kept = {k: v for k, v in data.attrs.items() if k not in every}
    attrs = detector_attrs(detector)
    found = data.copy(deep=False)
    found.attrs = provenance.with_step(
        kept | attrs, "with_detector", detector=described(attrs) or None
    )
    return found


def detector_attrs(
    detector: Mapping[str, Any] | xr.DataArray | str | Path | None,
) -> dict[str, Any]:
    """Return a detector as attributes; raise for one that cannot be."""
    if detector is None:
        return {}
    if isinstance(detector, xr.DataArray):
        detector = _of_array(detector)
    elif isinstance(detector, str | Path):
        detector = _read(Path(detector))
    if not isinstance(detector, Mapping):
        raise EdsError(
            "expected a detector, {'window_nm': 300} or a table of its efficiency over energy, "
            f"found {detector!r}"
        )
    attrs = {f"{_PREFIX}{name}": value for name, value in detector.items()}
    unknown = set(detector) - {*_LAYERS, *_TABLE}
    if unknown:
        raise EdsError(
            f"no property {', '.join(sorted(map(str, unknown)))} of a detector; there are "
            f"{', '.join((*_LAYERS, *_TABLE))}"
        )
    return {f"{_PREFIX}{name}": value for name, value in described(attrs).items()}


def detector_from_text(text: str) -> dict[str, float] | str:
    """Return what a command line says of a detector: ``window_nm=300,...``, or a file's name."""
    if "=" not in text:
        return text
    parts = [part.split("=", 1) for part in text.split(",")]
    if any(len(part) != 2 for part in parts):
        raise EdsError(
            f"a detector is described by 'window_nm=300,dead_layer_nm=50', or a CSV file with "
            f"energy_kev and efficiency; found {text!r}"
        )
    return {name.strip(): number(value, name.strip()) for name, value in parts}


def described(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the detector that attributes describe as :func:`with_detector` takes it."""
    own = detector_of(attrs)
    if own.table:
        energy, seen = zip(*own.table, strict=True)
        return {"energy_kev": list(energy), "efficiency": list(seen)}
    return {name: getattr(own, name) for name in own.described}


def detector_of(attrs: Mapping[Any, Any]) -> OwnDetector:
    """Return the detector that attributes describe; a windowless one where they do not."""
    given = {n: attrs.get(f"{_PREFIX}{n}") for n in (*_LAYERS, *_TABLE)}
    layers: dict[str, Any] = {n: _layer(n, given[n]) for n in _LAYERS if given[n] is not None}
    some = [n for n in _TABLE if given[n] is not None]
    if some and layers:
        raise EdsError(
            f"the detector is described by {', '.join(layers)} and by a table of its efficiency; "
            "keep one of them"
        )
    if not some:
        return OwnDetector(**layers, described=tuple(layers))
    if len(some) == 1:
        raise EdsError(
            f"a table of a detector's efficiency needs energy_kev and efficiency, found {some[0]}"
        )
    return OwnDetector(table=_checked_table(given["energy_kev"], given["efficiency"]))


def _layer(name: str, value: Any) -> float:
    found = number(value, f"{name} of the detector")
    least = 0.0 if name != "thickness_mm" else 1e-3
    if not least <= found <= _MOST[name]:
        raise EdsError(
            f"{name} of the detector must lie between {least:g} and {_MOST[name]:g}, "
            f"found {value!r}"
        )
    return found


def _checked_table(energy: Any, seen: Any) -> tuple[tuple[float, float], ...]:
    columns = []
    for name, values in (("energy_kev", energy), ("efficiency", seen)):
        try:
            columns.append(np.atleast_1d(np.asarray(values, float)))
        except (TypeError, ValueError):
            raise EdsError(f"{name} of the detector must be numbers, found {values!r}") from None
    kev, share = columns
    if kev.ndim != 1 or kev.shape != share.shape or kev.size < 2:
        raise EdsError(
            "a table of a detector's efficiency needs as many energies as efficiencies, two or "
            f"more, found {kev.shape} and {share.shape}"
        )
    if not (np.isfinite(kev).all() and kev[0] >= 0 and (np.diff(kev) > 0).all()):
        raise EdsError(f"the energies of a detector's table [keV] must rise, found {kev.tolist()}")
    bad = share[~((share > 0) & (share <= 1))]
    if bad.size:
        percent = " (these are percent: divide by 100)" if 1 < bad.max() <= 100 else ""
        raise EdsError(
            f"efficiencies of a detector lie above 0 and up to 1, found {bad[0]:g}{percent}"
        )
    return tuple(zip(kev.tolist(), share.tolist(), strict=True))


def _of_array(table: xr.DataArray) -> dict[str, Any]:
    if table.dims != (ENERGY,) or ENERGY not in table.coords:
        raise EdsError(
            f"a detector's efficiency must lie over 'energy' [keV], with its coordinate; found "
            f"{table.dims}"
        )
    units = table[ENERGY].attrs.get("units", "keV")
    if units not in ("keV", "eV"):
        raise EdsError(f"energies of a detector's table must be in keV, found {units!r}")
    scale = 1.0 if units == "keV" else 1e-3
    return {"energy_kev": table[ENERGY].values * scale, "efficiency": table.values}


def _read(path: Path) -> dict[str, Any]:
    """Return the columns of a CSV file, energy_kev and efficiency; ``#`` begins comments."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise EdsError(f"{path.name} is not UTF-8 text; save it as 'CSV UTF-8'") from None
    except OSError as error:
        raise EdsError(f"cannot read {path}: {error.strerror}") from None
    rows = [r for r in csv.reader(text.splitlines()) if r and not r[0].lstrip().startswith("#")]
    names = [name.strip().lower() for name in rows[0]] if rows else []
    if not set(_TABLE) <= set(names):
        raise EdsError(
            f"{path.name}: expected a header 'energy_kev,efficiency', found {','.join(names)!r}"
        )
    columns: dict[str, Sequence[float]] = {}
    for name in _TABLE:
        at = names.index(name)
        columns[name] = [_cell(path, name, r[at] if at < len(r) else "") for r in rows[1:]]
    return columns


def _cell(path: Path, name: str, text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise EdsError(f"{path.name}: {name} is {text!r}; expected a number, with a decimal point")
    return found
