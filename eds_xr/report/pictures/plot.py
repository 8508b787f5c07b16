"""The picture of whatever one has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import xarray as xr

from eds_xr.report.pictures.components import plot_components, plot_rank
from eds_xr.report.pictures.errors import plot_budget, plot_partition
from eds_xr.report.pictures.maps import plot_maps, plot_strangers
from eds_xr.report.pictures.phases import plot_phases
from eds_xr.report.pictures.profiles import plot_profile
from eds_xr.report.pictures.spectra import plot_spectra
from eds_xr.schema import KINDS, EdsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES: dict[str, Callable[..., Any]] = {
    "plot_phases": plot_phases,
    "plot_maps": plot_maps,
    "plot_spectra": plot_spectra,
    "plot_components": plot_components,
    "plot_rank": plot_rank,
    "plot_budget": plot_budget,
    "plot_partition": plot_partition,
    "plot_profile": plot_profile,
    "plot_strangers": plot_strangers,
}


def plot(data: xr.DataArray | xr.Dataset, **options: Any) -> Figure:
    """Draw the picture that shows this kind of data, as :data:`eds_xr.schema.KINDS` has them.

    Computes: what is drawn. Phases and masks become :func:`plot_phases`, maps
    :func:`plot_maps`, spectra, and the sum of a spectrum image, :func:`plot_spectra`, a
    factorisation :func:`plot_components`, lines and compositions :func:`plot_budget`, and so on.

    Parameters
    ----------
    data : DataArray or Dataset
    **options
        Of that picture.

    Returns
    -------
    Figure

    Raises
    ------
    EdsError
        For data of no such kind; as that picture.
    """
    for kind in KINDS:
        if kind.fits(data):
            return PICTURES[kind.picture](data, **options)
    kinds = ", ".join(kind.name for kind in KINDS)
    raise EdsError(f"no picture of such data, {dict(data.sizes)}; there are pictures of {kinds}")
