"""Shapes of the bremsstrahlung background: columns of a design matrix [channel, term]."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from eds_xr.schema import EdsError, check_one_of
from eds_xr.xray.absorption import correction, take_off_angle_deg
from eds_xr.xray.elements import check_element
from eds_xr.xray.own_detector import TYPICAL, OwnDetector, detector_of

#: Distance of the background's knots, on the root of the energy [keV^0.5]: as many peak widths
#: everywhere (6 or more), too far to follow a peak.
KNOT_DISTANCE = 0.3


class Background(Protocol):
    """A background that ``fit_lines(background=...)`` takes.

    A package adds one by name with an entry point to an object with the method ``shapes``::

        [project.entry-points."eds_xr.backgrounds"]
        straight = "my_package:straight"
    """

    def shapes(self, energy: np.ndarray, beam_kev: float, attrs: Mapping[Any, Any]) -> np.ndarray:
        """Return the terms [channel, term] whose amounts are fitted, at energies in keV.

        Each is finite and above zero somewhere; `attrs` are the attributes of the spectra.
        """


class Flexible:
    """Kramers' law as the detector counts it, times cubic B-splines."""

    def shapes(self, energy: np.ndarray, beam_kev: float, attrs: Mapping[Any, Any]) -> np.ndarray:
        """Return the terms [channel, term]."""
        return flexible_background(tuple(energy.tolist()), beam_kev, detector_of(attrs))


@dataclass(frozen=True)
class Bremsstrahlung:
    """A physical background, as the foil absorbs it and the detector counts it.

    Two amounts are free, those of Lifshin's formula for the photons that are generated
    (E. Lifshin, Proc. 9th Ann. Conf. Microbeam Anal. Soc. (1974) 53)::

        N(E) = a (E0 - E)/E + b (E0 - E)^2/E

    Kramers' law is the first term. Of a foil's depth the share ``(1 - exp(-x))/x`` leaves, with
    ``x`` the attenuation times mass thickness over the sine of the take-off angle.

    Attributes
    ----------
    atoms : mapping of str to float
        Composition of the foil, in atoms; any total. Empty: no self-absorption.
    mass_thickness_kg_m2 : float
        Density times thickness: 4e-4 is 100 nm of 4 g/cm^3.
    take_off_angle_deg : float, optional
        Between the foil and the way to the detector; default follows from the attributes.
    """

    atoms: Mapping[str, float] = field(default_factory=dict)
    mass_thickness_kg_m2: float = 0.0
    take_off_angle_deg: float | None = None

    def shapes(self, energy: np.ndarray, beam_kev: float, attrs: Mapping[Any, Any]) -> np.ndarray:
        """Return the two terms as they are counted [channel, term]; each has sum 1."""
        positive = np.clip(energy, 0.05, None)
        below_beam = np.clip(beam_kev - positive, 0.01 * beam_kev, None)
        # (E0 - E)^2/E = E0 (E0 - E)/E - (E0 - E): the same two terms, less alike
        terms = np.stack([below_beam / positive, below_beam], axis=1)
        terms *= (detector_of(attrs).efficiency(positive) * self._leaves(positive, attrs))[:, None]
        return terms / terms.sum(axis=0)

    def _leaves(self, energy: np.ndarray, attrs: Mapping[Any, Any]) -> np.ndarray:
        """Return the share of the photons that leaves the foil [channel]."""
        if not (0 <= self.mass_thickness_kg_m2 < math.inf):
            raise EdsError(
                f"mass_thickness_kg_m2 must be 0 or more, found {self.mass_thickness_kg_m2!r}"
            )
        if self.mass_thickness_kg_m2 == 0:
            return np.ones_like(energy)
        angle = math.radians(take_off_angle_deg(attrs, self.take_off_angle_deg))
        depth = _attenuation_m2_kg(self.atoms, energy) * self.mass_thickness_kg_m2
        return 1 / correction(depth / math.sin(angle))[0]


#: Backgrounds by name; those of other packages come by entry points of the group.
BACKGROUNDS: Mapping[str, Background] = {"flexible": Flexible(), "physical": Bremsstrahlung()}
ENTRY_POINTS = "eds_xr.backgrounds"


def background_shapes(
    wanted: str | Background, energy: np.ndarray, beam_kev: float, attrs: Mapping[Any, Any]
) -> np.ndarray:
    """Return the terms [channel, term] of a background, given as itself or by name."""
    chosen = wanted if hasattr(wanted, "shapes") else _named(wanted)
    terms = np.asarray(chosen.shapes(energy, beam_kev, attrs), float)
    good = terms.ndim == 2 and len(terms) == energy.size and np.isfinite(terms).all()
    if not (good and (terms.max(axis=0) > 0).all()):
        raise EdsError(
            f"the background {wanted!r} gives no terms to fit: expected finite values [channel, "
            f"term] for {energy.size} channels, each above zero somewhere, found {terms.shape}; "
            "choose another, or mend its method shapes"
        )
    return terms


def _named(name: Any) -> Background:
    from importlib.metadata import entry_points

    if isinstance(name, str) and name in BACKGROUNDS:
        return BACKGROUNDS[name]
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    check_one_of(name, (*BACKGROUNDS, *found), "background")
    try:
        loaded: Background = found[name].load()
    except Exception as error:  # whatever the other package does
        raise EdsError(
            f"the background {name!r} cannot be loaded from {found[name].value}: {error}; mend or "
            "update the package that brings it"
        ) from error
    return loaded


@lru_cache(maxsize=16)
def flexible_background(
    energies: tuple[float, ...], beam_kev: float, detector: OwnDetector = TYPICAL
) -> np.ndarray:
    """Return bremsstrahlung as the detector sees it, times smooth bumps [channel, term].

    Kramers' law for a thin film, ``1 / E``, times the efficiency: it carries the absorption edges
    of the detector; cubic B-splines over the root of the energy allow for what it lacks.
    """
    positive = np.clip(energies, 0.05, None)
    kept = detector.efficiency(positive) * np.clip(1 - positive / beam_kev, 0.01, None)
    place = np.sqrt(positive)
    intervals = max(1, round((place[-1] - place[0]) / KNOT_DISTANCE))
    return (kept / positive)[:, None] * smooth_bumps(place, intervals)


def smooth_bumps(place: np.ndarray, intervals: int) -> np.ndarray:
    """Return cubic B-splines [channel, bump] over places that rise; they add up to 1."""
    from scipy.interpolate import BSpline

    inner = np.linspace(place[0], place[-1], intervals + 1)
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    return BSpline.design_matrix(np.clip(place, inner[0], inner[-1]), knots, 3).toarray()


def _attenuation_m2_kg(atoms: Mapping[str, float], energy_kev: np.ndarray) -> np.ndarray:
    """Return the mass attenuation coefficient of a compound [channel]."""
    import xraydb

    for element in atoms:
        check_element(element)
    amounts = np.array(list(atoms.values()), float)
    if not (amounts.size and np.isfinite(amounts).all() and (amounts >= 0).all() and amounts.any()):
        raise EdsError(
            f"self-absorption needs the composition of the foil, found atoms = {dict(atoms)}; give "
            "amounts of atoms that are not negative, {'Mg': 1, 'O': 1}"
        )
    grams = amounts * [float(xraydb.atomic_mass(e)) for e in atoms]
    ev = 1000 * np.clip(energy_kev, 0.1, None)  # the tables begin there
    each = np.stack([np.asarray(xraydb.mu_elam(e, ev)) for e in atoms])  # cm^2/g
    return 0.1 * (grams / grams.sum()) @ each
