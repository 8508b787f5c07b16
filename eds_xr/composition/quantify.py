"""Composition from net counts with k-factors, with covariance.

Statistical errors come from the counts; systematic ones from factors and attenuation are the same
in every spectrum, and are never added to the statistical ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import xarray as xr

from eds_xr.arguments import check_fits, relative_uncertainty
from eds_xr.cluster.supervision import computes
from eds_xr.composition.amounts import QuantificationModel
from eds_xr.composition.attributes import history_parameters, labelled
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
from eds_xr.composition.k_factors.table import Table, looked_up
from eds_xr.composition.recording.detectors import of_each_detector
from eds_xr.composition.recording.dose import number_or_varies
from eds_xr.composition.recording.thin_film import beam_and_assumptions, needed_beam_kev
from eds_xr.composition.results import (
    attenuation_to_detector,
    chosen_lines,
    composed,
    composition_of,
    elements_of_lines,
    line_names,
    of_lines,
)
from eds_xr.composition.uncertainty.errors import common_errors, errors_of_factors, one_each
from eds_xr.schema import spatial_dims
from eds_xr.xray.absorption import mass_thickness_of
from eds_xr.xray.absorption import take_off_angle_deg as angle_of
from eds_xr.xray.own_detector import described


@computes
@of_each_detector
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
        From ``fit_lines``, one line an element (along ``detector``, each with its own elevation
        and azimuth): ``net`` and ``covariance``, or ``variance``
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
    common = errors_of_attenuation(names, absorption) if balance else common_errors(0.0, absorption)
    more = (*errors_of_valences(elements), *fluorescence_error(excited, correct=fluorescence))
    model = QuantificationModel(
        factors.values, elements.mass_per_line_mass, elements.masses,
        attenuation_to_detector(names, elements, angle),
        errors=one_each((*errors_of_factors(factors), *common, *more)),
        charges=charges_per_mass(elements) if balance else None,
        fluorescence=excited, corrects_fluorescence=fluorescence,
    )  # fmt: skip
    compose = partial(composition_of, elements=elements, model=model)
    found = composed(compose, lines, exclude, oxygen, thickness=film)
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
