"""Spectra of a foil with their truth.

`truth` expects, `draw` draws Poisson counts from it, `spectrum` does both. What is drawn has the
form in which `eds_xr` takes spectra: a Dataset of `counts` and `variance` over `energy` [keV].
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from support.independent.detector import (
    Detector,
    efficiency,
    escape_peak,
    escape_share,
    peak,
    recorded,
    sigma_kev,
)
from support.independent.foil import Foil, atom_fractions, atoms_per_m2, bremsstrahlung, transmitted
from support.independent.lines import Line, lines


@dataclass(frozen=True)
class Microscope:
    """Beam, detector and the axis as the file states it; ``background``: share of all counts."""

    beam_kev: float = 200.0
    detector: Detector = Detector()
    background: float = 0.3
    first_kev: float = -0.2
    channel_kev: float = 0.01
    channels: int = 2048

    def energy_kev(self) -> np.ndarray:
        """Return the centres of the channels, as the axis reads."""
        return self.first_kev + self.channel_kev * np.arange(self.channels)

    def attrs(self, foil: Foil) -> dict[str, object]:
        """Return the attributes of what is recorded."""
        return {
            "signal_type": "EDS_TEM",
            "beam_energy_kev": self.beam_kev,
            "energy_resolution_mnka_ev": self.detector.resolution_mnka_ev,
            "elevation_angle_deg": foil.take_off_deg,
            "source": "independent simulator",
        }


MICROSCOPE, FOIL = Microscope(), Foil()
#: Lines from elsewhere, as shares of the counts in the sample's lines.
STRAYS = {"Cu": 0.06, "C": 0.03}


def spectrum(
    atoms: Mapping[str, float],
    counts: float,
    *,
    seed: int,
    microscope: Microscope = MICROSCOPE,
    foil: Foil = FOIL,
    strays: Mapping[str, float] = STRAYS,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return a spectrum with Poisson noise, and its :func:`truth`."""
    known = truth(atoms, counts, microscope=microscope, foil=foil, strays=strays)
    return draw(known, seed), known


def truth(
    atoms: Mapping[str, float],
    counts: float,
    *,
    microscope: Microscope = MICROSCOPE,
    foil: Foil = FOIL,
    strays: Mapping[str, float] = STRAYS,
) -> xr.Dataset:
    """Return what a spectrum of `counts` in all channels expects.

    Returns
    -------
    Dataset
        ``expected``, ``background`` [energy]; ``peaks`` [line, energy], each group of lines
        ("Fe_Ka") with its tail, shelf and escape peak; ``net`` [line], its counts without those in
        the escape peak; ``family`` and ``element`` [line]; ``atoms`` [element], fractions.
    """
    shapes = unit_shapes(atoms, microscope=microscope, foil=foil, strays=strays)
    lines_share, background = 1 - microscope.background, microscope.background
    to_lines = counts * lines_share / float(shapes.peaks.sum())
    made = xr.Dataset(
        {
            "background": shapes.background * (counts * background / shapes.background.sum()),
            "peaks": shapes.peaks * to_lines,
            "net": shapes.net * to_lines,
            "atoms": shapes.atoms,
        },
        attrs=shapes.attrs,
    )
    return made.assign(expected=made.background + made.peaks.sum("line"))


def draw(known: xr.Dataset, seed: int) -> xr.Dataset:
    """Return counts drawn from a truth, with their variance."""
    counts = known.expected.copy(data=np.random.default_rng(seed).poisson(known.expected.values))
    attrs = {k: v for k, v in known.attrs.items() if k not in ("gain", "offset_ev")}
    named = counts.assign_attrs(units="counts", long_name="counts")
    return xr.Dataset({"counts": named, "variance": counts.astype(float)}, attrs=attrs)


def unit_shapes(
    atoms: Mapping[str, float],
    *,
    microscope: Microscope,
    foil: Foil,
    strays: Mapping[str, float],
) -> xr.Dataset:
    """Return peaks and background of a foil, each in units of its own, that of another foil too.

    Both grow with the thickness.
    """
    photons = _sample_photons(atoms, foil, microscope)
    of_sample = sum(n for _, n in photons)
    for element, share in strays.items():
        photons += _stray_photons(element, share * of_sample, microscope)
    energy = microscope.energy_kev()
    groups: dict[str, _Group] = {}
    for line, counted in photons:
        groups.setdefault(line.group, _Group(line, energy)).add(line, counted, microscope)
    true = (energy - microscope.detector.offset_ev / 1000) / microscope.detector.gain
    photons_kev = bremsstrahlung(atoms, foil, true, microscope.beam_kev)
    background = np.where(true > 0.1, photons_kev * efficiency(microscope.detector, true), 0.0)
    axis = {"units": "keV", "long_name": "energy"}
    fractions = atom_fractions(atoms)
    return xr.Dataset(
        {
            "background": ("energy", background),
            "peaks": (("line", "energy"), np.stack([g.peaks for g in groups.values()])),
            "net": ("line", np.array([g.net for g in groups.values()])),
            "atoms": ("element_of_sample", list(fractions.values())),
        },
        coords={
            "energy": ("energy", energy, axis),
            "line": list(groups),
            "element": ("line", [g.line.element for g in groups.values()]),
            "family": ("line", [g.line.family for g in groups.values()]),
            "element_of_sample": list(fractions),
        },
        attrs=microscope.attrs(foil)
        | {"gain": microscope.detector.gain, "offset_ev": microscope.detector.offset_ev},
    )


def significance(known: xr.Dataset, range_kev: tuple[float, float] = (0.2, 20.0)) -> xr.DataArray:
    """Return how far each element's strongest line stands out [element; standard deviations].

    Its counts within one full width at half maximum of its place, over the root of all counts
    there; of the lines in the range.
    """
    detector = Detector(resolution_mnka_ev=known.attrs["energy_resolution_mnka_ev"])
    energy, expected = known.energy.values, known.expected.values
    best: dict[str, float] = {}
    for element, own in zip(known.element.values, known.peaks.values, strict=True):
        place = float(energy[own.argmax()])
        if not range_kev[0] <= place <= range_kev[1]:
            continue
        inside = np.abs(energy - place) < 2.355 * float(sigma_kev(detector, place))
        found = own[inside].sum() / max(expected[inside].sum(), 1.0) ** 0.5
        best[str(element)] = max(best.get(str(element), 0.0), float(found))
    return xr.DataArray(list(best.values()), {"element": list(best)}, "element")


def perfect(microscope: Microscope = MICROSCOPE) -> Microscope:
    """Return a microscope whose axis is right and whose peaks are normal, without escape peaks."""
    ideal = replace(microscope.detector, tail=0.0, shelf=0.0, escape=False, offset_ev=0.0, gain=1.0)
    return replace(microscope, detector=ideal)


class _Group:
    """Lines that share a name, as they are recorded."""

    def __init__(self, line: Line, energy: np.ndarray) -> None:
        step = energy[1] - energy[0]
        self.line, self.net = line, 0.0
        self.edges = np.append(energy - step / 2, energy[-1] + step / 2)
        self.peaks = np.zeros(energy.size)

    def add(self, line: Line, counted: float, microscope: Microscope) -> None:
        detector = microscope.detector
        kept = 1 - (escape_share(line.energy_kev) if detector.escape else 0.0)
        self.net += counted * kept
        self.peaks += counted * kept * peak(detector, line.energy_kev, self.edges)
        self.peaks += counted * escape_peak(detector, line.energy_kev, self.edges)


def _sample_photons(
    atoms: Mapping[str, float], foil: Foil, microscope: Microscope
) -> list[tuple[Line, float]]:
    """Return the lines on the axis with the photons that the detector counts."""
    found = [
        (line, area * line.photons_m2)
        for element, area in atoms_per_m2(atoms, foil).items()
        for line in _seen(element, microscope)
    ]
    leaves = transmitted(atoms, foil, [line.energy_kev for line, _ in found])
    return _counted(found, leaves, microscope)


def _stray_photons(element: str, counts: float, microscope: Microscope) -> list[tuple[Line, float]]:
    found = [(line, line.photons_m2) for line in _seen(element, microscope)]
    counted = _counted(found, np.ones(len(found)), microscope)
    total = sum(n for _, n in counted)
    return [(line, n * counts / total) for line, n in counted]


def _counted(
    found: list[tuple[Line, float]], leaves: np.ndarray, microscope: Microscope
) -> list[tuple[Line, float]]:
    seen = efficiency(microscope.detector, [line.energy_kev for line, _ in found]) * leaves
    return [(line, n * float(e)) for (line, n), e in zip(found, seen, strict=True)]


def _seen(element: str, microscope: Microscope) -> list[Line]:
    """Return the lines on the axis, without those weaker than a millionth of the strongest."""
    last = microscope.energy_kev()[-1]
    on_axis = [
        line
        for line in lines(element, microscope.beam_kev)
        if recorded(microscope.detector, line.energy_kev) < last
    ]
    return [x for x in on_axis if x.photons_m2 > 1e-6 * on_axis[0].photons_m2]
