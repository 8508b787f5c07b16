"""What a simulation is made of: phases, the instrument, and the spectrum of each phase."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from eds_xr.schema import EdsError
from eds_xr.xray import lines as xray_lines


@dataclass(frozen=True)
class Phase:
    """A phase to simulate: what it is made of and the grains it forms.

    Attributes
    ----------
    name : str
    atoms : mapping of str to float
        Composition, in atoms; any total.
    area_fraction : float
        Expected share of the pixels that its grains touch. Not used for the matrix.
    size_nm : (float, float)
        Smallest and largest semi-axis of a grain. At most a quarter of the image is used.
    depth : float
        Share of the thickness that the thickest grains replace.
    brightness : float
        Counts from a full thickness, in units of the dose.
    """

    name: str
    atoms: Mapping[str, float]
    area_fraction: float = 0.1
    size_nm: tuple[float, float] = (10.0, 30.0)
    depth: float = 0.6
    brightness: float = 1.0


@dataclass(frozen=True)
class Instrument:
    """Microscope, detector and energy axis of a simulation.

    Attributes
    ----------
    beam_energy_kev, pixel_size_nm : float
    channel_kev, energy_offset_kev : float
        Width of a channel; centre of the first one.
    resolution_mnka_ev : float
        Full width at half maximum at Mn Ka.
    background : float
        Share of the counts that is bremsstrahlung.
    stray : mapping of str to float
        Elements of grid and ion beam, and their share of the counts in peaks, in every phase
        alike: they belong to each phase's spectrum, but not to its composition.
    """

    beam_energy_kev: float = 200.0
    pixel_size_nm: float = 1.7165
    channel_kev: float = 0.01
    energy_offset_kev: float = -0.2
    resolution_mnka_ev: float = 130.0
    background: float = 0.17
    stray: Mapping[str, float] = field(default_factory=lambda: {"Cu": 0.04, "Ga": 0.008})


#: A pyrolite at 71 GPa with trace elements, as in the published study. Ca-Pv has no Mg and no
#: Hf; Fp nothing but Mg, Fe and O: what is left of others after subtraction is a mistake.
PYROLITE_71GPA = (
    Phase(
        "Brg",
        {"O": 3, "Mg": 0.87, "Fe": 0.1, "Al": 0.1, "Si": 0.93, "Ca": 0.012}
        | {"Nd": 0.0006, "Sm": 0.001, "Lu": 0.0022, "Hf": 0.0028, "U": 0.0003},
    ),
    Phase("Fp", {"O": 1, "Mg": 0.8, "Fe": 0.2}, 0.18, (20.0, 45.0), 0.8, 0.9),
    Phase(
        "Ca-Pv",
        {"O": 3, "Ca": 0.95, "Si": 0.96, "Al": 0.02, "Fe": 0.01}
        | {"Nd": 0.03, "Sm": 0.025, "Lu": 0.006, "U": 0.02},
        area_fraction=0.12,
        size_nm=(7.0, 20.0),
        depth=0.5,
        brightness=1.15,
    ),
)
TEM_200_KV = Instrument()


def without(phases: Sequence[Phase], *elements: str) -> tuple[Phase, ...]:
    """Return the phases with some elements left out of all of them.

    Examples
    --------
    >>> "Nd" in without(PYROLITE_71GPA, "Nd", "Sm")[0].atoms
    False
    """
    return tuple(
        dataclasses.replace(p, atoms={e: n for e, n in p.atoms.items() if e not in elements})
        for p in phases
    )


def check_phases(phases: Sequence[Phase]) -> None:
    """Raise unless the phases can be simulated."""
    if not phases:
        raise EdsError("expected at least one phase, the matrix; found none")
    names = [p.name for p in phases]
    if len(set(names)) < len(names):
        raise EdsError(f"phases need different names, found {names}")
    for phase in phases:
        _check_atoms(phase)
    for phase in phases[1:]:
        _check_grains(phase)


def check_instrument(instrument: Instrument) -> None:
    """Raise unless shares and channel width make sense (beam and resolution: where used)."""
    if not 0 < instrument.channel_kev < math.inf:
        raise EdsError(f"channel_kev must be positive, found {instrument.channel_kev!r}")
    if not 0 <= instrument.background < 1:
        raise EdsError(f"background must be in 0 <= share < 1, found {instrument.background!r}")
    shares = list(instrument.stray.values())
    if any(not 0 <= share < 1 for share in shares) or sum(shares) >= 1:
        raise EdsError(f"stray shares must add up to less than 1, found {dict(instrument.stray)}")
    for element in instrument.stray:
        xray_lines.check_element(element)


def _check_atoms(phase: Phase) -> None:
    for element in phase.atoms:
        xray_lines.check_element(element)
    values = list(phase.atoms.values())
    if not all(0 <= n < math.inf for n in values) or not sum(values) > 0:
        raise EdsError(
            f"phase {phase.name!r} needs amounts of atoms that are not negative and not all zero, "
            f"found {dict(phase.atoms)}"
        )
    if not 0 < phase.brightness < math.inf:
        raise EdsError(f"phase {phase.name!r}: brightness must be positive")


def _check_grains(phase: Phase) -> None:
    small, large = phase.size_nm
    if not 0 < small <= large < math.inf:
        raise EdsError(
            f"phase {phase.name!r}: size_nm must be (smallest, largest) semi-axis, both positive, "
            f"found {phase.size_nm}"
        )
    if not (0 < phase.area_fraction < 1 and 0 < phase.depth <= 1):
        raise EdsError(
            f"phase {phase.name!r}: area_fraction must lie between 0 and 1 and depth too, found "
            f"{phase.area_fraction!r} and {phase.depth!r}"
        )


def phase_spectrum(phase: Phase, energy: np.ndarray, instrument: Instrument) -> np.ndarray:
    """Return a phase's spectrum, sum 1, of sample, stray elements and background."""
    parts = [(1 - sum(instrument.stray.values()), phase.atoms)]
    parts += [(share, {element: 1.0}) for element, share in instrument.stray.items()]
    peaks = np.zeros_like(energy)
    for share, atoms in parts:
        found = sum(n * _element_peaks(e, energy, instrument) for e, n in atoms.items() if n > 0)
        total = np.sum(found)
        if total <= 0:
            raise EdsError(
                f"{' '.join(atoms)} (in phase {phase.name!r}) gives no X-rays between "
                f"{energy[0]:g} and {energy[-1]:g} keV; widen the energy axis"
            )
        peaks += share * found / total
    background = _bremsstrahlung(energy)
    spectrum = (1 - instrument.background) * peaks + instrument.background * background
    return spectrum / spectrum.sum()


def _element_peaks(element: str, energy: np.ndarray, instrument: Instrument) -> np.ndarray:
    """Return the counts per atom in each channel, peaks integrated over the channel's width."""
    from scipy.special import ndtr

    beam = instrument.beam_energy_kev
    step = (energy[-1] - energy[0]) / (energy.size - 1)
    edges = np.append(energy - step / 2, energy[-1] + step / 2)
    groups = [x for shell in xray_lines.FAMILIES for x in xray_lines.family(element, shell, beam)]
    lines = [
        (part.energy_kev, xray_lines.emission_per_atom(x.name, beam) * part.weight / x.weight)
        for x in groups
        for part in xray_lines.components(x.name, beam)
        if edges[0] - 1 < part.energy_kev < edges[-1] + 1  # tails reach in, 1 keV is ample
    ]
    centres, photons = np.array(lines).reshape(-1, 2).T
    seen = photons * xray_lines.detector_efficiency(centres)
    sigma = xray_lines.peak_sigma_kev(centres, instrument.resolution_mnka_ev)
    within = np.diff(ndtr((edges[:, None] - centres) / sigma), axis=0)
    return within @ seen


def _bremsstrahlung(energy: np.ndarray) -> np.ndarray:
    """Return the background of a thin foil, sum 1: 1/E, as the detector counts it.

    The slow channel's discriminator takes away what lies below about 0.3 keV.
    """
    positive = np.maximum(energy, 1e-3)
    kept = xray_lines.detector_efficiency(energy) * -np.expm1(-((positive / 0.3) ** 4))
    spectrum = np.where(energy > 0, kept / positive, 0)
    if spectrum.sum() <= 0:
        raise EdsError(
            f"no channel above 0.1 keV: the energy axis ends at {energy[-1]:g} keV; "
            "take more channels, or another offset"
        )
    return spectrum / spectrum.sum()
