"""Whether a recording is of a film that is thin for its beam, and which beam that was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import xarray as xr

from eds_xr.arguments import number, with_assumptions
from eds_xr.schema import EdsError

Data = TypeVar("Data", xr.DataArray, xr.Dataset)

#: Below this beam energy a sample is thick for its beam [keV].
LEAST_BEAM_KEV = 40.0
#: What is written on a composition whose recording looks like that of a bulk sample.
OVERRIDDEN = "the sample is a film thin for its beam (assume_thin_film), although {why}"
_CURE = (
    "k-factors, zeta-factors and cross-sections hold for films that lose nothing of the beam's "
    "energy; bulk samples need a ZAF or phi-rho-z correction, which eds_xr has not. If it is a "
    "thin film all the same, say assume_thin_film=True"
)


def beam_and_assumptions(
    attrs: Mapping[Any, Any], table: object = None, *, given_kev: float | None = None,
    assume_thin_film: bool = False,
) -> tuple[float | None, list[str]]:  # fmt: skip
    """Return the beam energy of a thin film's recording [keV], and what is assumed of it.

    Parameters
    ----------
    attrs : mapping
        Of the recording: ``beam_energy_kev``, ``signal_type``.
    table : table of factors, optional
        Its attribute ``beam_energy_kev`` is taken where the recording has none.
    given_kev : float, optional
        The user's, where the recording has none.
    assume_thin_film : bool
        Whether what looks like a bulk sample is taken for a film.

    Returns
    -------
    beam : float or None
        None only where a transmission microscope recorded, and nobody tells at which energy.
    assumptions : list of str

    Raises
    ------
    EdsError
        For a scanning microscope's recording, a beam below `LEAST_BEAM_KEV`, or nothing that tells
        which of both it was; for two beam energies.
    """
    beam, told = _beam(attrs, table, given_kev)
    why = no_thin_film(attrs, beam)
    if why and not assume_thin_film:
        raise EdsError(f"no composition: {why}; {_CURE}")
    if beam is None and attrs.get("signal_type") != "EDS_TEM" and not assume_thin_film:
        raise EdsError(
            "no composition: neither beam_energy_kev nor signal_type tells whether the sample was "
            "thin for its beam; give beam_energy_kev=200 (as it was), or set it on the image: "
            "image.attrs['beam_energy_kev'] = 200"
        )
    if why:
        told.append(OVERRIDDEN.format(why=why))
    elif assume_thin_film and beam is None and attrs.get("signal_type") != "EDS_TEM":
        told.append(OVERRIDDEN.format(why="the recording tells neither beam nor microscope"))
    return beam, told


def no_thin_film(attrs: Mapping[Any, Any], beam_kev: float | None = None) -> str:
    """Return why a recording is not of a film thin for its beam, "" where nothing speaks against.

    Examples
    --------
    >>> no_thin_film({"signal_type": "EDS_SEM"})
    'it was recorded in an SEM'
    >>> no_thin_film({"beam_energy_kev": 200})
    ''
    """
    beam = own_beam_kev(attrs) if beam_kev is None else beam_kev
    if attrs.get("signal_type") == "EDS_SEM":
        return "it was recorded in an SEM" + ("" if beam is None else f" at {beam:g} keV")
    if beam is not None and beam < LEAST_BEAM_KEV:
        return f"a beam of {beam:g} keV (below {LEAST_BEAM_KEV:g}) stops in most samples"
    return ""


def with_beam(data: Data, given_kev: float | None) -> Data:
    """Return an image or spectra with the beam energy that was given by hand, if it was."""
    if given_kev is None:
        return data
    beam, told = _beam(data.attrs, None, given_kev)
    return data.assign_attrs(with_assumptions({**data.attrs, "beam_energy_kev": beam}, *told))


def needed_beam_kev(beam_kev: float | None) -> float:
    """Return the beam energy where factors are computed from it; raise where nobody knows it."""
    if beam_kev is None:
        raise EdsError(
            "k-factors from tables need the beam energy, and the recording has none; give "
            "beam_energy_kev=200 (as it was), set it on the image: "
            "image.attrs['beam_energy_kev'] = 200, or give k_factors of your own"
        )
    return beam_kev


def own_beam_kev(attrs: Mapping[Any, Any]) -> float | None:
    """Return the beam energy that the recording tells, if it does [keV]."""
    found = attrs.get("beam_energy_kev")
    return None if found is None else number(found, "the attribute beam_energy_kev")


def _beam(
    attrs: Mapping[Any, Any], table: object, given_kev: float | None
) -> tuple[float | None, list[str]]:
    own = own_beam_kev(attrs)
    if given_kev is not None:
        given = number(given_kev, "beam_energy_kev")
        if not given > 0:
            raise EdsError(f"beam_energy_kev must be positive, in keV, found {given:g}")
        if own is not None and abs(own - given) > 1e-3 * own:
            raise EdsError(
                f"the spectra were recorded at {own:g} keV, beam_energy_kev says {given:g}; leave "
                "it out, or correct the image's attribute"
            )
        return given, [] if own is not None else [f"a beam of {given:g} keV, as given by hand"]
    if own is not None:
        return own, []
    of_table = own_beam_kev(getattr(table, "attrs", {}))
    if of_table is None:
        return None, []
    return of_table, [
        f"the beam of {of_table:g} keV of the table of factors: the recording does not tell its own"
    ]
