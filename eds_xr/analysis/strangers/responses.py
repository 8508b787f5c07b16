"""For each line family a sum of weighted counts that is zero, on average, for every mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr
from scipy.ndimage import uniform_filter1d

from eds_xr.arguments import beam_energy_of, resolution_of
from eds_xr.image.weighted_sums import linear_weights
from eds_xr.schema import ENERGY
from eds_xr.spectra.identification.channels import detector_start_kev
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV, find_calibration
from eds_xr.spectra.shapes.families import Calibration, Family, Shapes, families_seen
from eds_xr.xray.detector import FWHM_PER_SIGMA, peak_sigma_kev
from eds_xr.xray.elements import NATURAL_ELEMENTS, SELDOM
from eds_xr.xray.lines import emission_per_atom, family
from eds_xr.xray.own_detector import OwnDetector, detector_of

#: Lines below this energy are not looked for [keV]: noise and threshold of the detector.
LOWEST_KEV = 0.2
#: A family is looked for where this share of its information is its own, beside the phases'.
LEAST_OWN = 0.1
#: Of a family that the phases hold, as their spectra resemble it, this is enough.
LEAST_OWN_HELD = 0.01
#: Another family of an element is looked for, too, where its response is at most so many times as
#: noisy as that of the best.
MOST_NOISE = 2.0
#: Families whose weights are more alike than this (cosine) are one hypothesis.
MOST_ALIKE = 0.9
#: Spectra of phases are known no better than from so many counts more of the average one.
DOUBTED_COUNTS = 3000.0
#: No channel is expected to hold less than this share of the mean one.
LEAST_RATE = 1e-4


@dataclass(frozen=True)
class Responses:
    """What turns counts into responses of line families, and what is expected of these.

    Attributes
    ----------
    families : list of Family
        All that there may be.
    templates : ndarray [channel, family; sum 1]
        Their counts.
    of_phases : ndarray of bool [family]
        Which are of elements that the phases hold: they may be missing, too.
    emitted : ndarray [family]
        Photons that the detector counts of an atom, in units of their own.
    every : ndarray [channel, family]
        Weights: a count of the family gives one, on average; mixtures of the phases give zero.
    chosen : ndarray of int [response]
        The families whose responses are looked at: of those that look alike, one.
    amounts : ndarray [channel, phase]
        What turns counts into amounts of the phases, without bias.
    spectra : ndarray [phase, channel; sum 1]
        What is expected of each count of a phase; with doubt, so that no channel is impossible.
    """

    families: list[Family]
    templates: np.ndarray
    of_phases: np.ndarray
    emitted: np.ndarray
    every: np.ndarray
    chosen: np.ndarray
    amounts: np.ndarray
    spectra: np.ndarray

    @cached_property
    def weights(self) -> np.ndarray:
        """Weights of the responses, of families and then of phases [channel, response]."""
        return np.hstack([self.every[:, self.chosen], self.amounts])

    @property
    def upper(self) -> np.ndarray:
        """Which responses may be too large [response]: of families."""
        return np.arange(self.weights.shape[1]) < self.chosen.size

    @property
    def lower(self) -> np.ndarray:
        """Which may be too small: of lines that phases hold; no phase can be less than nothing."""
        return np.append(self.of_phases[self.chosen], np.ones(self.amounts.shape[1], bool))

    @cached_property
    def cross(self) -> np.ndarray:
        """What a count of each family, then of each phase, is in the responses [response, kind]."""
        phases = np.eye(self.amounts.shape[1])
        phases = np.vstack([np.zeros((self.chosen.size, len(phases))), phases])
        return np.hstack([self.weights.T @ self.templates, phases])

    @cached_property
    def line_names(self) -> list[str]:
        """The strongest line of each family."""
        return [max(f.groups, key=lambda name: f.groups[name]) for f in self.families]

    @cached_property
    def of_element(self) -> dict[str, list[int]]:
        """The numbers of each element's families."""
        found: dict[str, list[int]] = {}
        for i, one in enumerate(self.families):
            found.setdefault(one.element, []).append(i)
        return found

    def only(self, families: Sequence[int]) -> Responses:
        """Return the responses of these families."""
        return replace(self, chosen=np.array(families, int))

    def moment(self, power: int) -> np.ndarray:
        """Return the cumulant of a count of each phase [response, phase]."""
        return np.ascontiguousarray((self.spectra @ self.weights**power).T)

    def covariance(self, counts: np.ndarray) -> np.ndarray:
        """Return the covariance of the responses of expected counts [response, response]."""
        return (self.weights * counts[:, None]).T @ self.weights


def responses_of(
    image: xr.DataArray, total: np.ndarray, spectra: np.ndarray, elements: Sequence[str]
) -> Responses:
    """Return the responses for an image whose phases hold some elements.

    Parameters
    ----------
    total : ndarray [channel; counts]
        Sum of all pixels.
    spectra : ndarray [phase, channel; sum 1]
    """
    axis = image[ENERGY].values.astype(float)
    used = axis >= max(LOWEST_KEV, detector_start_kev(axis, total))
    energy, beam = axis[used], beam_energy_of(image.attrs)
    detector = detector_of(image.attrs)
    calibration = _calibration(image, axis, total, elements)
    seen = families_seen(NATURAL_ELEMENTS, energy, beam, detector=detector)
    # what phases hold has escape peaks, too, that are not taken for other lines
    held = families_seen(elements, energy, beam, escape=True, detector=detector)
    shapes = Shapes(energy, held, calibration, beam, detector=detector)
    known = spectra[:, used] / spectra[:, used].sum(axis=1, keepdims=True)
    rate = _rate(known, total[used], energy, resolution_of(image.attrs))
    weights = linear_weights(known, rate)
    model = _Model(
        rate, known.T, shapes.design[:, : len(held)], shapes.design[:, len(held) :], shapes
    )
    families = sorted((f for f in seen if _shown(f, energy)), key=_likely_first)
    made = [model.one(f, i, f.element in elements) for i, f in enumerate(families)]
    whole = np.zeros((axis.size, 2 * len(made) + len(known)))
    whole[used] = np.column_stack(
        [one.template for one in made] + [one.weights for one in made] + [*weights]
    )
    templates, every, amounts = np.split(whole, [len(made), 2 * len(made)], axis=1)
    doubted = np.zeros_like(spectra)
    doubted[:, used] = _doubted(known, rate, total[used])
    return Responses(
        families, templates, np.array([one.held for one in made]),
        _emitted(families, beam, detector), every,
        np.array([one.number for one in _apart(_telling(made))]), amounts, doubted,
    )  # fmt: skip


def _calibration(
    image: xr.DataArray, energy: np.ndarray, total: np.ndarray, elements: Sequence[str]
) -> Calibration:
    """Return the calibration of the axis, by the lines of the elements that are there."""
    resolution, beam = resolution_of(image.attrs), beam_energy_of(image.attrs)
    inside = (energy >= FIT_RANGE_KEV[0]) & (energy <= FIT_RANGE_KEV[1])
    families = families_seen(elements, energy[inside], beam) if inside.any() else []
    if not families:
        return Calibration(noise_kev2=float(peak_sigma_kev(0.0, resolution) ** 2))
    return find_calibration(
        energy[inside], total[inside], total[inside], families, beam, resolution,
        detector_of(image.attrs),
    )  # fmt: skip


def _rate(known: np.ndarray, total: np.ndarray, energy: np.ndarray, mnka_ev: float) -> np.ndarray:
    """Return the smooth mean spectrum [channel; sum 1]: a mixture of the phases, never zero."""
    step = float(energy[-1] - energy[0]) / (energy.size - 1)
    mean = total / max(float(total.sum()), 1.0)
    mixture = (linear_weights(known, mean) @ mean).clip(0) @ known
    third = FWHM_PER_SIGMA * float(peak_sigma_kev(1.0, mnka_ev)) / 3 / step
    smooth = uniform_filter1d(mixture + LEAST_RATE * mixture.mean(), max(1, round(third)))
    return np.asarray(smooth / smooth.sum())


def _doubted(known: np.ndarray, rate: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return spectra of phases, with as much of the average one as few counts leave in doubt."""
    counts = (linear_weights(known, rate) @ total).clip(1.0)[:, None]
    return np.asarray((counts * known + DOUBTED_COUNTS * rate) / (counts + DOUBTED_COUNTS))


def _shown(family: Family, energy: np.ndarray) -> bool:
    """Return whether most of a family lies where lines are looked for."""
    place = np.array(family.energies_kev)
    inside = (place > max(LOWEST_KEV, energy[0])) & (place < energy[-1])
    return float(np.array(family.photons)[inside].sum()) > 0.5


def _likely_first(family: Family) -> tuple[bool, str]:
    return family.element in SELDOM, family.shell


def _emitted(families: Sequence[Family], beam_kev: float, detector: OwnDetector) -> np.ndarray:
    """Return the photons of families that are counted of an atom, in units of their own."""
    lines = [{x.name: x for x in family(f.element, f.shell, beam_kev)} for f in families]
    # of all lines at once: the tables of attenuation are slow to ask
    seen = iter(detector.efficiency([x.energy_kev for of in lines for x in of.values()]))
    return np.array(
        [sum(emission_per_atom(n, beam_kev) * float(next(seen)) for n in of) for of in lines]
    )


@dataclass(frozen=True)
class _One:
    """A family's weights, the same in standard deviations, its template, what is its own."""

    family: Family
    number: int
    held: bool
    weights: np.ndarray
    unit: np.ndarray
    template: np.ndarray
    information: float  # of a count: one over the variance of the response to a mixture's count
    own: float  # share of the information that is left beside all that is free


class _Model:
    """What families are told from: the phases' spectra, background, and lines that phases hold."""

    def __init__(
        self, rate: np.ndarray, known: np.ndarray, held: np.ndarray, smooth: np.ndarray,
        shapes: Shapes,
    ) -> None:  # fmt: skip
        self.weight, self.shapes = 1 / np.sqrt(rate), shapes
        mixtures = np.hstack([known, smooth])
        # the amounts of lines of elements that phases hold may vary: they are no strangers
        self.free = {
            True: _base(mixtures * self.weight[:, None]),
            False: _base(np.hstack([mixtures, held]) * self.weight[:, None]),
        }

    def one(self, of: Family, number: int, held: bool) -> _One:
        """Return the weights of least variance that see nothing of what is free."""
        template = self.shapes.peaks([of])[:, 0]
        template = template / template.sum()
        peak = template * self.weight
        length = float(peak @ peak)
        peak = peak - self.free[held] @ (self.free[held].T @ peak)
        own = float(peak @ peak)
        unit = peak / np.sqrt(own)
        return _One(of, number, held, peak * self.weight / own, unit, template, own, own / length)


def _base(columns: np.ndarray) -> np.ndarray:
    """Return an orthonormal base of columns, those left out that add nothing."""
    length = np.linalg.norm(columns, axis=0)
    left, size, _ = np.linalg.svd(columns[:, length > 0] / length[length > 0], full_matrices=False)
    return np.asarray(left[:, size > 1e-6 * size[0]])


def _telling(made: Sequence[_One]) -> list[_One]:
    """Return the families that can be told; of an element looked for, those that tell most."""
    told = [one for one in made if one.own > (LEAST_OWN_HELD if one.held else LEAST_OWN)]
    best: dict[str, float] = {}
    for one in told:
        best[one.family.element] = max(best.get(one.family.element, 0.0), one.information)
    return [
        one
        for one in told
        if one.held or one.information > best[one.family.element] / MOST_NOISE**2
    ]


def _apart(made: Sequence[_One]) -> list[_One]:
    """Return the families that are told apart: of those that look alike, the first."""
    found: list[_One] = []
    for one in made:
        alike = [not one.held and not f.held and f.unit @ one.unit > MOST_ALIKE for f in found]
        if not any(alike):
            found.append(one)
    return found
