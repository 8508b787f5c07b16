"""Composition from net counts: k-factors, zeta-factors or cross-sections, with covariance.

Three methods, one calculation. Statistical errors come from the counts; systematic ones from
factors, attenuation and dose, are the same in every spectrum, and are never added to the
statistical ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import xarray as xr

from eds_xr.arguments import check_fits, relative_uncertainty
from eds_xr.composition.amounts import QuantificationModel
from eds_xr.composition.film.fluorescence import fluorescence_error, fluorescence_in
from eds_xr.composition.film.given_charges import (
    assumed_of,
    balances,
    charges_per_mass,
    errors_of_attenuation,
    errors_of_valences,
    with_thickness,
)
from eds_xr.composition.k_factors.conditions import check_conditions
from eds_xr.composition.k_factors.standardless import standardless_k_factors
from eds_xr.composition.k_factors.table import AVOGADRO, BARN_M2, Table, looked_up
from eds_xr.composition.labelled import labelled
from eds_xr.composition.recording.dose import dose_of, number_or_varies
from eds_xr.composition.recording.thin_film import beam_and_assumptions, needed_beam_kev
from eds_xr.composition.results import (
    attenuation_to_detector,
    chosen_lines,
    composition_of,
    counts_per_electron,
    elements_of_lines,
    history_parameters,
    line_names,
    of_lines,
)
from eds_xr.composition.uncertainty.errors import common_errors, errors_of_factors, one_each
from eds_xr.schema import spatial_dims
from eds_xr.xray.absorption import mass_thickness_of, way_through_film
from eds_xr.xray.absorption import take_off_angle_deg as angle_of
from eds_xr.xray.own_detector import described


def quantify(
    lines: xr.Dataset,
    k_factors: Table | None = None,
    *,
    exclude: Sequence[str] = (),
    oxygen: str = "measured",
    valences: Mapping[str, float] | None = None,
    valence_uncertainty: Mapping[str, float] | None = None,
    thickness: str | None = None,
    thickness_nm: float | xr.DataArray | None = None,
    density_g_cm3: float | xr.DataArray | None = None,
    mass_thickness_kg_m2: float | xr.DataArray | None = None,
    take_off_angle_deg: float | None = None,
    absorption_uncertainty: float = 0.1,
    beam_energy_kev: float | None = None,
    fluorescence: bool = False,
    assume_thin_film: bool = False,
) -> xr.Dataset:
    """Turn net counts into a composition with k-factors.

    Computes: spectra, which are small. Lazy where the lines are, as those of fitted maps.

    Cliff and Lorimer (J. Microsc. 103 (1975) 203): weight fractions are proportional to
    ``k_i net_i``, atoms to ``k_i net_i / A_i``, brought to sum 1 over the elements. Given the
    film's thickness, absorption is corrected (homogeneous film, Goldstein et al., SEM/1977 I,
    315): counts times ``y / (1 - exp(-y))``, ``y = mu rho t / sin(take-off angle)``, with the
    attenuation ``mu`` of the composition itself, iterated.

    Parameters
    ----------
    lines : Dataset over ``line``
        From ``fit_lines``, one line an element: ``net`` and ``covariance``, or ``variance``
        alone; then lines are taken as independent and the attribute
        ``covariance_assumed_diagonal`` is 1.
    k_factors : table, mapping or DataArray [line], optional
        From :func:`eds_xr.k_factors.read_k_factors`, or weight k-factors by line without errors,
        ``{"Si_Ka": 1.0, "Fe_Ka": 1.3}``. Default: :func:`standardless_k_factors`.
    exclude : sequence of str
        Elements to leave out (of the sum, too).
    oxygen : {"measured", "stoichiometry"}
        As any other line, or as much as balances the charges of the others; a line of oxygen is
        then left out. It counts for sums and for absorption.
    valences : mapping, optional
        Charges other than the usual (:data:`eds_xr.composition.valences.CHARGES`),
        ``{"Fe": 3}``; fractions are means. They are taken to be known.
    valence_uncertainty : mapping, optional
        Standard uncertainties of charges, ``{"Fe": 0.2}``; without, that of an element's usual
        range (:data:`~eds_xr.composition.valences.USUAL_RANGES`; iron 2 to 3) or none.
    thickness : {"charge_balance"}, optional
        The film is as thick as makes the charges of all measured ions sum to nothing (Van
        Cappellen and Doukhan, Ultramicroscopy 53 (1994) 343), for oxides, fluorides, and with
        ``valences={"S": -2}`` sulphides; the anion must be absorbed otherwise than the cations.
    thickness_nm, density_g_cm3 : float or DataArray, optional
        Of the film, for the absorption correction: numbers, or a value a spectrum or pixel. The
        density with `thickness`, too, for a thickness in nm.
    mass_thickness_kg_m2 : float or DataArray, optional
        Instead of both; 100 nm of 5 g/cm3 are 5e-4 kg/m2. Thickness is along the film's normal,
        however the film is tilted.
    take_off_angle_deg : float, optional
        Between film and detector; default from ``elevation_angle_deg`` and ``tilt_deg``.
    absorption_uncertainty : float
        Relative standard uncertainty of attenuation times thickness; with `thickness`, of the
        attenuation of each line.
    beam_energy_kev : float, optional
        Where the recording does not tell it (attribute ``beam_energy_kev``).
    fluorescence : bool
        Take off what harder lines of the film excite, to first order
        (:mod:`eds_xr.composition.film.fluorescence`): Cr by Fe 2 % in 100 nm. Needs the
        thickness. Without, it is a systematic error of spectra whose thickness is given.
    assume_thin_film : bool
        Take the sample for a film thin for its beam although it was recorded in an SEM, or below
        40 keV; the attribute ``assumptions`` then says so.

    Returns
    -------
    Dataset over ``element``
        ``atomic_fraction``, ``weight_fraction`` [..., element]; ``*_variance``, ``*_covariance``
        [..., element, element_other]: statistical; ``*_systematic_covariance``: of k-factors
        (the same in all spectra; independent from line to line unless the table has
        ``relative_error`` [error, line]) and absorption; ``*_by_error`` [..., element, error]:
        what one standard deviation of each of these does, so that what spectra share cancels in
        comparisons; ``error_effect`` [error], what it is due to. ``*_effect_covariance`` [effect,
        ..., element, element_other]: the errors of the net counts (counting, ...) and those of
        ``error_effect``, which sum to both covariances; maps have it where lines do.
        ``*_critical_level``, ``*_detection_limit``, ``*_quantification_limit`` where the lines
        bring them: the fraction if the line had just those counts, the others as found.
        ``k_factor`` (by weight) and ``systematic`` (its relative standard uncertainty; 0 for
        oxygen by stoichiometry, which has none of its own) [element];
        ``absorption_correction`` where there is one, ``fluorescence`` with a thickness. Negative
        net counts stay negative. A pixel of a map whose counts sum to nothing is NaN. Attribute
        ``standardless`` is 1 when the k-factors are computed. With `thickness`, ``mass_thickness``
        [...; kg/m2] with its variances, ``_by_error`` and, of spectra, ``_lower`` and ``_upper``
        [..., coverage]: below zero within errors where more anions were measured than the charges
        ask for; where none fits, NaN, and spectra are not corrected and in ``doubt``, pixels NaN.
        ``doubt`` and ``assumed`` [..., element] as the lines have them; what is assumed is zero,
        without error or limit.

    Raises
    ------
    EdsError
        For a recording in an SEM, with a beam below 40 keV, or one that tells neither beam nor
        microscope; for two lines of one element; a missing or non-positive k-factor, or one for
        another beam; a film of unknown density or take-off angle; an element without a usual
        charge; in spectra (not maps), counts that sum to nothing, or a correction that does not
        converge.
    """
    chosen = chosen_lines(lines, exclude, oxygen)
    names, table = line_names(chosen), k_factors
    beam, assumed = beam_and_assumptions(
        lines.attrs, table, given_kev=beam_energy_kev, assume_thin_film=assume_thin_film
    )
    if table is None:
        table = standardless_k_factors(
            names, beam_energy_kev=needed_beam_kev(beam), **described(lines.attrs)
        )
    factors = looked_up(table, names, "k", beam)
    check_conditions(table, lines, "k")
    given = (thickness_nm, mass_thickness_kg_m2)
    balance = balances(thickness, oxygen, any(v is not None for v in given))
    film = None if balance else mass_thickness_of(given[0], density_g_cm3, given[1])
    if film is not None:
        check_fits(film, chosen.net, "the film's thickness")
    absorbs = balance or film is not None
    angle = angle_of(lines.attrs, take_off_angle_deg) if absorbs else None
    elements = elements_of_lines(names, oxygen, valences, valence_uncertainty, balance=balance)
    absorption = relative_uncertainty(absorption_uncertainty, "absorption_uncertainty")
    excited = fluorescence_in(
        names, elements.symbols, beam, film=film is not None or (balance and fluorescence),
        correct=fluorescence, maps=bool(spatial_dims(chosen.net)),
    )  # fmt: skip
    of_depths = errors_of_attenuation(names, absorption) if balance else None
    common = common_errors(0.0, absorption) if of_depths is None else of_depths
    more = (*errors_of_valences(elements), *fluorescence_error(excited, correct=fluorescence))
    model = QuantificationModel(
        factors.values, elements.mass_per_line_mass, elements.masses,
        attenuation_to_detector(names, elements, angle),
        errors=one_each((*errors_of_factors(factors), *common, *more)),
        charges=charges_per_mass(elements) if balance else None,
        fluorescence=excited, corrects_fluorescence=fluorescence,
    )  # fmt: skip
    found = composition_of(chosen, elements, model, film)
    parameters = history_parameters(table, elements, angle)
    parameters |= {"thickness": thickness} if balance else {}
    if film is not None:
        parameters["mass_thickness_kg_m2"] = number_or_varies(film)
        parameters["fluorescence"] = fluorescence
    assumed = [*assumed, *assumed_of(elements, density_g_cm3 if balance else None)]
    found = labelled(found, lines, chosen, "cliff_lorimer", parameters, assumed).assign(
        k_factor=of_lines(factors.values, elements, "k-factor by weight", "1")
    )
    return with_thickness(found, density_g_cm3) if balance else found


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
        values if zeta else atom_kg[: len(names)] / (values * BARN_M2),
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
    found = composition_of(counts_per_electron(chosen, how.dose * way), elements, model, None)
    parameters = history_parameters(table, elements, angle)
    parameters["dose_electrons"] = number_or_varies(how.dose)
    parameters |= {"way_through_film": way} if way != 1 else {}
    assumed = [*assumed, *assumed_of(elements)]
    found = labelled(found, lines, chosen, kind, parameters, assumed)
    if zeta:
        return found.assign(zeta_factor=of_lines(values, elements, "zeta-factor", "kg m-2"))
    return found.assign(cross_section=of_lines(values, elements, "cross-section", "barn"))
