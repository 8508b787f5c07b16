"""Composition and atoms per area from net counts and the dose: zeta-factors, cross-sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import xarray as xr

from eds_xr.arguments import check_fits, relative_uncertainty
from eds_xr.cluster.supervision import computes
from eds_xr.composition.amounts import QuantificationModel
from eds_xr.composition.attributes import history_parameters, labelled
from eds_xr.composition.film.given_charges import (
    assumed_of,
    errors_of_valences,
)
from eds_xr.composition.k_factors.conditions import check_conditions
from eds_xr.composition.k_factors.table import (
    AVOGADRO,
    Table,
    looked_up,
    zeta_or_cross_sections,
)
from eds_xr.composition.recording.detectors import of_each_detector
from eds_xr.composition.recording.dose import dose_of, number_or_varies
from eds_xr.composition.recording.thin_film import beam_and_assumptions
from eds_xr.composition.results import (
    Elements,
    attenuation_to_detector,
    chosen_lines,
    composed,
    composition_of,
    counts_per_electron,
    elements_of_lines,
    line_names,
    of_lines,
)
from eds_xr.composition.uncertainty.errors import common_errors, errors_of_factors, one_each
from eds_xr.xray.absorption import take_off_angle_deg as angle_of
from eds_xr.xray.absorption import way_through_film


@computes
@of_each_detector
def quantify_zeta(
    lines: xr.Dataset,
    zeta_factors: Table,
    *,
    dose_electrons: float | xr.DataArray | None = None,
    probe_current_na: float | xr.DataArray | None = None,
    live_time_s: float | xr.DataArray | None = None,
    exclude: Sequence[str] = (),
    oxygen: str = "measured",
    valences: Mapping[str, float] | None = None,
    valence_uncertainty: Mapping[str, float] | None = None,
    absorption: bool = True,
    take_off_angle_deg: float | None = None,
    absorption_uncertainty: float = 0.05,
    dose_uncertainty: float = 0.0,
    tilt_deg: float | None = None,
    beam_energy_kev: float | None = None,
    assume_thin_film: bool = False,
) -> xr.Dataset:
    """Turn net counts into a composition and a mass thickness with zeta-factors.

    Computes: spectra, which are small. Lazy where the lines are, as those of fitted maps.

    Watanabe and Williams (J. Microsc. 221 (2006) 89): an element's mass an area is
    ``zeta_i net_i / dose``, in electrons. Their sum is the mass thickness, with which
    absorption is corrected, iterated.

    Parameters
    ----------
    lines, exclude, oxygen, valences, valence_uncertainty, take_off_angle_deg, beam_energy_kev
        As in :func:`quantify`; ``assume_thin_film``, too.
    zeta_factors : table, mapping or DataArray [line; kg electron / (m^2 photon)]
        From :func:`eds_xr.k_factors.read_zeta_factors`, or numbers by line.
    dose_electrons : float or DataArray, optional
        Electrons that made the counts: of one pixel for a map, of all its pixels for a sum.
    probe_current_na, live_time_s : float or DataArray, optional
        Instead; the time, too, of all that was summed. Left out where the recording tells them:
        spectra of masks know the live time of their pixels.
    absorption : bool
        Whether to correct for it; without, no take-off angle is needed.
    absorption_uncertainty : float
        Relative standard uncertainty of the attenuation.
    dose_uncertainty : float
        Relative standard uncertainty of the dose; moves the thickness, hardly the fractions.
    tilt_deg : float, optional
        Of the film, around any axis; default from the attribute ``tilt_deg``, 0 without one. The
        beam's way through a tilted film is longer, by 1 over its cosine.

    Returns
    -------
    Dataset over ``element``
        As :func:`quantify`, and ``mass_thickness`` [...; kg/m2], along the film's normal
        however it is tilted, with ``mass_thickness_variance`` (statistical) and
        ``mass_thickness_systematic_variance``, ``atoms_per_area`` [..., element; 1/m2] with its
        variance and covariances, ``zeta_factor``.

    Raises
    ------
    EdsError
        As :func:`quantify`; for a dose that is missing, given twice or not positive.
    """
    dose = dose_of(lines, dose_electrons, probe_current_na, live_time_s)
    how = _Absolute(
        dose, exclude, oxygen, valences, valence_uncertainty, absorption, take_off_angle_deg,
        tilt_deg, absorption_uncertainty, dose_uncertainty, beam_energy_kev, assume_thin_film,
    )  # fmt: skip
    return _quantify_absolute(lines, zeta_factors, "zeta", how)


@computes
@of_each_detector
def quantify_cross_sections(
    lines: xr.Dataset,
    cross_sections: Table,
    *,
    dose_electrons: float | xr.DataArray | None = None,
    probe_current_na: float | xr.DataArray | None = None,
    live_time_s: float | xr.DataArray | None = None,
    exclude: Sequence[str] = (),
    oxygen: str = "measured",
    valences: Mapping[str, float] | None = None,
    valence_uncertainty: Mapping[str, float] | None = None,
    absorption: bool = True,
    take_off_angle_deg: float | None = None,
    absorption_uncertainty: float = 0.05,
    dose_uncertainty: float = 0.0,
    tilt_deg: float | None = None,
    beam_energy_kev: float | None = None,
    assume_thin_film: bool = False,
) -> xr.Dataset:
    """Turn net counts into atoms per area and a composition with partial cross-sections.

    Computes: spectra, which are small. Lazy where the lines are, as those of fitted maps.

    MacArthur et al. (Microsc. Microanal. 22 (2016) 71): ``net_i / (sigma_i dose)`` atoms an
    area, where the cross-section sigma counts the photons that the detector counts.

    Parameters
    ----------
    cross_sections : table, mapping or DataArray [line; barn]
        From :func:`eds_xr.k_factors.read_cross_sections`, or numbers by line.
    lines, dose_electrons, probe_current_na, live_time_s, exclude, oxygen, absorption
        As in :func:`quantify_zeta`; ``valences``, ``valence_uncertainty``, too.
    take_off_angle_deg, absorption_uncertainty, dose_uncertainty, tilt_deg, beam_energy_kev
        As in :func:`quantify_zeta`.
    assume_thin_film : bool
        As in :func:`quantify`.

    Returns
    -------
    Dataset over ``element``
        As :func:`quantify_zeta`, with ``cross_section``.

    Raises
    ------
    EdsError
        As :func:`quantify_zeta`.
    """
    dose = dose_of(lines, dose_electrons, probe_current_na, live_time_s)
    how = _Absolute(
        dose, exclude, oxygen, valences, valence_uncertainty, absorption, take_off_angle_deg,
        tilt_deg, absorption_uncertainty, dose_uncertainty, beam_energy_kev, assume_thin_film,
    )  # fmt: skip
    return _quantify_absolute(lines, cross_sections, "cross_section", how)


# -- helpers -------------------------------------------------------------------------------------


class _Absolute(NamedTuple):
    """How counts become masses an area: the arguments that both methods share."""

    dose: xr.DataArray
    exclude: Sequence[str]
    oxygen: str
    valences: Mapping[str, float] | None
    valence_uncertainty: Mapping[str, float] | None
    absorption: bool
    angle_deg: float | None
    tilt_deg: float | None
    absorption_uncertainty: float
    dose_uncertainty: float
    beam_energy_kev: float | None
    assume_thin_film: bool


def _quantify_absolute(lines: xr.Dataset, table: Table, kind: str, how: _Absolute) -> xr.Dataset:
    """Quantify with zeta-factors, or with cross-sections as the zeta-factors that they imply."""
    chosen = chosen_lines(lines, how.exclude, how.oxygen)
    names = line_names(chosen)
    beam, assumed = beam_and_assumptions(
        lines.attrs, table, given_kev=how.beam_energy_kev, assume_thin_film=how.assume_thin_film
    )
    factors = looked_up(table, names, kind, beam)
    check_conditions(table, lines, kind)
    values, zeta = factors.values, kind == "zeta"
    check_fits(how.dose, chosen.net, "the dose")
    elements = elements_of_lines(names, how.oxygen, how.valences, how.valence_uncertainty)
    atom_kg = elements.masses / 1000 / AVOGADRO
    angle = angle_of(lines.attrs, how.angle_deg) if how.absorption else None
    way = way_through_film(lines.attrs, how.tilt_deg)
    common = common_errors(
        relative_uncertainty(how.dose_uncertainty, "dose_uncertainty"),
        relative_uncertainty(how.absorption_uncertainty, "absorption_uncertainty"),
    )
    model = QuantificationModel(
        values if zeta else zeta_or_cross_sections(names, values),
        elements.mass_per_line_mass, atom_kg, attenuation_to_detector(names, elements, angle),
        own_thickness=True,
        errors=one_each(
            (
                *errors_of_factors(factors, power=1 if zeta else -1),
                *common,
                *errors_of_valences(elements),
            )
        ),
    )  # fmt: skip
    # a tilted film lies along the beam's way for 1 / cos(tilt) of its thickness
    compose = partial(_per_electron, elements=elements, model=model, way=way)
    found = composed(compose, lines, how.exclude, how.oxygen, dose=how.dose)
    parameters = history_parameters(table, elements, angle)
    parameters["dose_electrons"] = number_or_varies(how.dose)
    parameters |= {"way_through_film": way} if way != 1 else {}
    assumed = [*assumed, *assumed_of(elements)]
    found = labelled(found, lines, chosen, kind, parameters, assumed)
    if zeta:
        return found.assign(zeta_factor=of_lines(values, elements, "zeta-factor", "kg m-2"))
    return found.assign(cross_section=of_lines(values, elements, "cross-section", "barn"))


def _per_electron(
    lines: xr.Dataset, elements: Elements, model: QuantificationModel, way: float,
    dose: xr.DataArray,
) -> xr.Dataset:  # fmt: skip
    return composition_of(counts_per_electron(lines, dose * way), elements, model, None)
