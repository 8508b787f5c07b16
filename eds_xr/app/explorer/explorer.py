"""What an explorer does, without a screen: maps, regions, spectra, differences, and its Python."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.app.explorer import peaks, regions
from eds_xr.app.explorer.found import Found, Result, on_energies, parts_of
from eds_xr.app.explorer.script import Script, name_of, opening_of
from eds_xr.app.pictures import channel as channels
from eds_xr.app.pictures.channel import Channel, shape_of
from eds_xr.app.pictures.drawing import Cache, Picture, Window, draw
from eds_xr.app.pictures.worker import Job
from eds_xr.axes import mean_step
from eds_xr.chunks import as_chunked
from eds_xr.factorisation.known_spectra.unmix import project
from eds_xr.image.element_maps import element_map
from eds_xr.report.pictures.profiles import profile
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    LINE,
    PHASE,
    EdsError,
    check_spectrum_image,
    spatial_dims,
)
from eds_xr.spectra.common_errors import add_common_errors
from eds_xr.spectra.line_fits.chosen_lines import LeftOutWarning
from eds_xr.spectra.line_fits.fit_lines import fit_lines
from eds_xr.spectra.line_fits.fitted_maps import fitted_maps
from eds_xr.spectra.subtraction import subtract_phase
from eds_xr.xray.elements import element_names
from eds_xr.xray.lines import line_on_axis


class Difference(NamedTuple):
    """One region's spectrum less another's.

    Attributes
    ----------
    rest : Dataset [energy]
    lines : Dataset [line], optional
        Their net counts; None where no elements are known.
    warnings : tuple of str
    """

    rest: xr.Dataset
    lines: xr.Dataset | None
    warnings: tuple[str, ...]

    @property
    def signal_to_noise(self) -> xr.DataArray | None:
        """Net counts of each line over their standard deviation."""
        return None if self.lines is None else self.lines.net / self.lines.variance**0.5


class Explorer:
    """An image that is explored; every method may be called off the event loop.

    Parameters
    ----------
    image : DataArray [y, x, energy; counts]
    result : Dataset or DataTree, optional
        Of segment, nmf or analyse.
    elements : sequence of str, optional
        That are known to be there; default are those that the file names.
    opening : sequence of str
        Statements that make ``image`` and ``result``; by default for an image as opened.

    Attributes
    ----------
    channels : dict of str to Channel
        What can be shown.
    regions : dict of str to Region
    elements : list of str
    script : Script
    chosen : dict of str
        What was chosen on the page last: another page begins with it.
    """

    def __init__(
        self, image: xr.DataArray, result: Result = None, *,
        elements: Sequence[str] | None = None, opening: Sequence[str] = (),
    ) -> None:  # fmt: skip
        check_spectrum_image(image)
        self.image, self.shape = image, shape_of(image)
        given = image.attrs.get("elements", []) if elements is None else elements
        self.elements = element_names(given)
        self._named = list(self.elements)
        self.found: Found = parts_of(image, result)
        self.channels: dict[str, Channel] = {c.name: c for c in self._first_channels()}
        self.regions: dict[str, regions.Region] = {}
        self.script = Script(opening or _opening(image, result))
        self.chosen: dict[str, Any] = {}
        self._taken: set[str] = set()
        self._maps: dict[str, Callable[[], xr.DataArray]] = {}
        self._spectra: dict[str, xr.Dataset] = {}
        self._fitted: dict[Any, xr.Dataset] = {}
        self._cache, self._lock = Cache(), threading.Lock()

    def _first_channels(self) -> Iterator[Channel]:
        yield channels.counts(self.image)
        dims = spatial_dims(self.image)
        for name, riding in self.image.coords.items():
            if set(riding.dims) == set(dims) and riding.dtype.kind in "uif":
                yield channels.of_array(str(name), riding, code=f"image[{str(name)!r}]")
        yield from self.found.channels

    # -- maps ---------------------------------------------------------------------------------

    def draw(
        self, name: str, window: Window, job: Job, show: Callable[[Picture], Any] = lambda _: None
    ) -> Picture:
        """Return what is seen of a channel; see :func:`eds_xr.app.pictures.drawing.draw`."""
        return draw(self.channels[name], window, job, self._cache, show)

    def tell_channel(self, name: str) -> None:
        """Put a map that is there into the script: it is shown."""
        code = self.channels[name].code
        if name not in self._maps and code:
            self.script.put(f"map {name}", f"{name_of(name)} = {code}")

    def map_line(self, line: str) -> str:
        """Add the map of a line's window, less its background; return the channel's name."""
        name = line_on_axis(line, self.image[ENERGY].values)
        element_map(self.image.isel({d: slice(1) for d in spatial_dims(self.image)}), name)
        code = f"{name_of(name)} = image.eds.element_map({name!r})"
        return self._add(name, lambda part: element_map(part, name), code)

    def map_window(self, low: float, high: float) -> str:
        """Add the map of all counts between two energies; return the channel's name."""
        unit = self.image[ENERGY].attrs.get("units", "keV")
        low, high = round(low, 4), round(high, 4)
        name = f"{low:.4g} to {high:.4g} {unit}"
        code = f'{name_of(name)} = image.sel(energy=slice({low}, {high})).sum("energy")'
        return self._add(
            name, lambda part: channels.total_counts(part.sel({ENERGY: slice(low, high)})), code
        )

    def map_peak(self, spectrum: xr.DataArray, energy: float) -> tuple[str, peaks.Peak]:
        """Add the map of the peak that is clicked at; return the channel's name, and the peak.

        Of a line, if an element that is known to be there has one; else of its energies.
        """
        peak = peaks.peak_at(spectrum, energy, self.elements)
        if peak.line:
            try:
                return self.map_line(peak.line), peak
            except EdsError:  # the windows beside it reach outside the axis
                pass
        return self.map_window(peak.low, peak.high), peak

    def map_element(self, text: str) -> str:
        """Add an element's map, freed of overlaps with all known ones; return its name."""
        element = text.strip()
        element = element[:1].upper() + element[1:].lower()
        self.check_in_kev()
        line = line_on_axis(element, self.image[ENERGY].values)
        known = list(self.elements) if element in self.elements else [*self.elements, element]
        self.elements = element_names(known)
        given, name = tuple(self.elements), f"{line} fitted"
        code = (
            f"fitted = image.eds.fitted_maps({list(given)!r})\n"
            f'{name_of(name)} = fitted.net.sel(line="{line}")'
        )
        return self._add(name, lambda part: self._fitted_map(part, given, line), code)

    def check_in_kev(self) -> None:
        """Raise unless X-ray lines can be placed on the energy axis."""
        if not peaks.in_kev(self.image):
            raise EdsError("X-ray lines need an energy axis in keV; click at a peak to map it")

    def _fitted_map(self, part: xr.DataArray, elements: tuple[str, ...], line: str) -> xr.DataArray:
        key = (part.shape, elements)
        with self._lock:
            if key not in self._fitted:
                with _recorded():  # elements without a line in the range are no news here
                    self._fitted[key] = fitted_maps(part, list(elements))
            fitted = self._fitted[key]
        if line not in fitted[LINE].values:
            raise EdsError(f"{line} lies outside of the energies that are fitted")
        return fitted.net.sel({LINE: line}, drop=True)

    def _add(self, name: str, make: Callable[[xr.DataArray], xr.DataArray], code: str) -> str:
        if name not in self.channels or "fitted" in name:  # with more elements it is another map
            variable = code.rpartition("\n")[2].partition(" = ")[0]
            self.channels[name] = channels.of_image(name, self.image, make, code=variable)
            self._maps[name] = lambda: make(as_chunked(self.image))
        self.script.put(f"map {name}", code)
        return name

    # -- regions and spectra ------------------------------------------------------------------

    def add_region(
        self, kind: str, points: Sequence[Sequence[float]], width_pixels: float = 1.0
    ) -> regions.Region:
        """Add a region: a rectangle, a polygon or a line, drawn by points (y, x) [pixels]."""
        name, color = regions.free_name(list(self.regions), self.found.colors.values())
        one = regions.region(name, kind, points, color, self.shape, width_pixels)
        self.regions[name] = one
        self._tell_regions()
        return one

    def take_region(self, message: Mapping[str, Any]) -> regions.Region | None:
        """Add a region that a canvas sends; None for one that it has sent before."""
        if message["id"] in self._taken:
            return None
        self._taken.add(message["id"])
        width = message.get("width_pixels") or 1.0
        return self.add_region(message["kind"], message["points"], width)

    def take_outlines(self, outlines: Iterable[Mapping[str, Any]]) -> None:
        """Add regions that an explorer before this one had, from the outlines of its canvas."""
        for outline in outlines:
            name, color = regions.free_name(list(self.regions), self.found.colors.values())
            if outline["id"] not in self.regions:
                name, color = str(outline["id"]), str(outline["color"])
            one = regions.region(
                name, outline["kind"], outline["points"], color, self.shape, outline["width"]
            )
            if not any(one.covers_as(other) for other in self.regions.values()):
                self.regions[name] = one
        self._tell_regions()

    def remove_region(self, name: str) -> None:
        """Forget a region."""
        self.regions.pop(name, None)
        self._spectra.pop(name, None)
        for key in (f"profile {name}", "difference"):
            self.script.remove(key)
        self._tell_regions()

    def _tell_regions(self) -> None:
        if not self.regions:
            return self.script.remove("regions")
        drawn = "".join(f"    {one.code},\n" for one in self.regions.values())
        self.script.put(
            "regions",
            f"regions = [\n{drawn}]\n"
            "spectra = image.eds.sum_spectra(masks.from_rois(image, regions)).compute()",
        )

    def region_spectrum(self, name: str, job: Job) -> xr.Dataset:
        """Return the spectrum of a region, ``[energy]``."""
        if name not in self._spectra:
            self._spectra[name] = regions.region_spectrum(self.image, self.regions[name], job)
        return self._spectra[name].isel({PHASE: 0})

    def pixel_spectrum(self, y: float, x: float) -> xr.Dataset | None:
        """Return the spectrum of the pixel at a point; None outside of the image."""
        rows, columns = self.shape
        if not (0 <= y < rows and 0 <= x < columns):
            return None
        return regions.pixel_spectrum(self.image, int(y), int(x))

    def whole_spectrum(self, job: Job, show: Callable[..., Any] = lambda *_: None) -> xr.Dataset:
        """Return the spectrum of all pixels."""
        key = ""
        if key not in self._spectra:
            self._spectra[key] = regions.whole_spectrum(self.image, job, show)
        return self._spectra[key].isel({PHASE: 0}, missing_dims="ignore")

    def unexplained(self, spectrum: xr.Dataset) -> xr.DataArray:
        """Return what the result's spectra leave of a spectrum [energy], by its best mixture."""
        if self.found.spectra is None:
            raise EdsError("there are no spectra that explain the image: give a result to explore")
        table = self.found.spectra()
        counts = on_energies(spectrum.counts.drop_vars(PHASE, errors="ignore"), table)
        loadings = (table / table.sum(ENERGY)).rename({PHASE: COMPONENT})
        amounts = project(counts.expand_dims("y"), loadings).isel(y=0).compute()
        model = xr.dot(amounts, loadings, dim=COMPONENT)
        return counts - model.assign_coords({ENERGY: counts[ENERGY]})

    def profile(self, channel: str, name: str) -> xr.Dataset:
        """Return a channel's profile along a line region, with errors; see ``plot_profile``."""
        one = self.regions[name]
        (path,) = one.roi.paths
        if one.roi.kind != "line":
            raise EdsError(f"{name} is a {one.roi.kind}; a profile is along a line")
        start, end = self._position(path[0]), self._position(path[-1])
        steps = [abs(mean_step(a)) for a in self._axes()]
        width = one.roi.width_pixels * min(steps)
        shown = self._maps.get(channel)
        array = self.channels[channel].at(1)[0] if shown is None else shown()
        if shown is None:
            coords = {d: self.image[d] for d in spatial_dims(self.image) if d in self.image.coords}
            array = array.assign_coords(coords)
        ends = ", ".join(f"({a:.6g}, {b:.6g})" for a, b in (start, end))
        code = self.channels[channel].code or name_of(channel)
        self.script.put(
            f"profile {name}",
            f"figure_{name_of(name)} = {code}.eds.plot_profile({ends}, width={width:.6g})",
        )
        return profile(array, start, end, width=width)

    def _axes(self) -> list[np.ndarray]:
        return [
            self.image[d].values.astype(float) if d in self.image.coords else np.arange(n) * 1.0
            for d, n in zip(spatial_dims(self.image), self.shape, strict=True)
        ]

    def _position(self, point: np.ndarray) -> tuple[float, float]:
        """Return where a point of the image [pixels] lies, in the units of the coordinates."""
        found = []
        for value, axis in zip(point, self._axes(), strict=True):
            at = np.clip(value - 0.5, 0, axis.size - 1)
            found.append(float(f"{np.interp(at, np.arange(axis.size), axis):.6g}"))
        low_high = [(a.min(), a.max()) for a in self._axes()]
        y, x = (float(np.clip(v, *b)) for v, b in zip(found, low_high, strict=True))
        return y, x

    def subtract(
        self, mixture: str, reference: str, scale: str | float | Sequence[str], job: Job
    ) -> Difference:
        """Subtract one region from another; see :func:`eds_xr.subtract_phase`.

        Net counts of all known elements are fitted to what is left.
        """
        if mixture == reference:
            raise EdsError(f"both regions are {mixture}; choose two")
        both = [self.region_spectrum(name, job) for name in (mixture, reference)]
        job.check()
        elements = list(self.elements)
        with _recorded() as told:
            rest = subtract_phase(*both, scale=scale, elements=elements)
            job.check()
            lines = None
            if elements and peaks.in_kev(self.image):
                lines = add_common_errors(fit_lines(rest, elements), rest)
        self._tell_difference(mixture, reference, scale, lines is not None)
        # that an element has no line in the range is no news: it was asked for by default
        said = [str(w.message) for w in told if w.category is not LeftOutWarning]
        return Difference(rest, lines, tuple(dict.fromkeys(said)))

    def _tell_difference(self, mixture: str, reference: str, scale: Any, fitted: bool) -> None:
        one, other = (f"spectra.sel(phase={n!r})" for n in (mixture, reference))
        code = [
            f"elements = {self.elements!r}",
            f"rest = eds_xr.subtract_phase(\n    {one}, {other}, scale={scale!r}, "
            "elements=elements\n)",
        ]
        if fitted:
            code += [
                "lines = eds_xr.add_common_errors(eds_xr.fit_lines(rest, elements), rest)",
                "signal_to_noise = lines.net / lines.variance**0.5",
            ]
        self.script.put("difference", "\n".join(code))


def _opening(image: xr.DataArray, result: Result) -> list[str]:
    said = [opening_of(image)]
    if result is not None:
        said.append("# result: what was given to explore() with it")
    return said


_RECORDING = threading.RLock()


@contextmanager
def _recorded() -> Iterator[list[warnings.WarningMessage]]:
    """Keep warnings for the page; one thread at a time, as filters are the whole process's."""
    with _RECORDING, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
