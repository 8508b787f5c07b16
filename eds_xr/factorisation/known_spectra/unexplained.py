"""Counts that known spectra leave unexplained, pixel by pixel: strangers among known phases."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import resolution_of
from eds_xr.axes import energy_step
from eds_xr.chunks import as_chunked
from eds_xr.cluster.supervision import computes
from eds_xr.factorisation.known_spectra.unmix import phase_table
from eds_xr.factorisation.scores import lazy_scores
from eds_xr.factorisation.solver.loadings import as_table
from eds_xr.image.blocks import check_channels, compress_block
from eds_xr.image.weighted_sums import counts_times_table
from eds_xr.schema import COMPONENT, ENERGY, check_spectrum_image
from eds_xr.workers import task_name
from eds_xr.xray.detector import FWHM_PER_SIGMA, peak_sigma_kev

#: Channels of a band where the energy axis is not in keV.
BAND_CHANNELS = 8
#: Beyond so many standard deviations a probability is no number any more.
MOST_SIGMA = 37.0
_FOUND = {
    "significance": ("significance of what is unexplained", "standard deviations"),
    "excess": ("counts that are unexplained", "counts"),
    "excess_energy": ("energy of what is unexplained", "keV"),
}


@computes
def unexplained(image: xr.DataArray, spectra: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """Find counts of each pixel that no mixture of known spectra explains.

    Lazy: every block of pixels is solved on its own.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
        Sums of neighbours (:func:`eds_xr.rebin`) show weaker strangers.
    spectra : DataArray or Dataset [phase, energy]
        As of :func:`unmix`.

    Returns
    -------
    Dataset
        Of the band of energies, one peak wide, in which a pixel has most beyond its best mixture:
        ``significance`` [*spatial], in standard deviations of a normal distribution, at least 0;
        ``excess`` [*spatial; counts] and ``excess_energy`` [*spatial], the middle of the band.

    Raises
    ------
    EdsError
        As of :func:`unmix`.

    Notes
    -----
    The chance of as many counts or more in a band is that of Poisson's distribution about the
    mixture that is likeliest in the pixel; it is multiplied for the number of bands, which overlap
    by half. As the mixture gives way to what it is compared with, fewer pixels than that are above
    a significance by chance. Spectra that are themselves uncertain, or vary from place to place,
    leave something unexplained where a pixel has many counts.
    """
    check_spectrum_image(image)
    check_channels(image.sizes[ENERGY])
    table = phase_table(spectra, image)
    image = as_chunked(image)
    bands, middles = _bands(image)
    amounts = lazy_scores(image, table, "poisson").drop_vars(COMPONENT).drop_attrs()
    found = xr.apply_ufunc(
        _unexplained_block,
        image.drop_vars(ENERGY),
        amounts,
        xr.Variable((ENERGY, "band"), bands),  # as keyword it would travel with every task
        kwargs={"spectra": as_table(table).T @ bands, "middles": middles},
        input_core_dims=[[ENERGY], [COMPONENT], [ENERGY, "band"]],
        output_core_dims=[["quantity"]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"quantity": len(_FOUND)}},
    ).drop_attrs()
    units = str(image[ENERGY].attrs.get("units", "keV"))
    parts = {}
    for i, (name, (text, unit)) in enumerate(_FOUND.items()):
        part = found.isel(quantity=i)
        parts[name] = part.assign_attrs(long_name=text, units=unit.replace("keV", units))
    attrs = provenance.of_the_recording(
        provenance.with_step(image.attrs, "unexplained", phases=[str(p) for p in _names(table)])
    )
    return xr.Dataset(parts, attrs=attrs)


def _names(table: xr.DataArray) -> list[str]:
    return [str(n) for n in table[COMPONENT].values]


def _bands(image: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Return which channels are in each band [channel, band], and the bands' middles.

    Bands are a peak's full width at half maximum wide, and begin at every half of it.
    """
    energy = image[ENERGY].values.astype(float)
    step = energy_step(image) or 1.0
    width: np.ndarray = np.full(energy.size, BAND_CHANNELS)
    if image[ENERGY].attrs.get("units", "keV") == "keV":
        sigma = peak_sigma_kev(energy.clip(min=0), resolution_of(image.attrs))
        width = np.maximum(1, np.rint(FWHM_PER_SIGMA * sigma / step)).astype(int)
    starts = [0]
    while starts[-1] + width[starts[-1]] < energy.size:
        starts.append(starts[-1] + max(1, int(width[starts[-1]]) // 2))
    channel = np.arange(energy.size)[:, None]
    inside = (channel >= starts) & (channel < starts + width[starts])
    return inside.astype(float), (energy[:, None] * inside).sum(0) / inside.sum(0)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("what is unexplained")
def _unexplained_block(
    block: np.ndarray,
    amounts: np.ndarray,
    bands: np.ndarray,
    *,
    spectra: np.ndarray,
    middles: np.ndarray,
) -> np.ndarray:
    """Return significance, excess and its energy ``[*spatial, quantity]``."""
    from scipy.special import gammainc, ndtri

    counts = counts_times_table(compress_block(block), bands)
    model = amounts.reshape(len(counts), -1).astype(float) @ spectra
    # P(at least n counts); of none it is 1
    chance = np.where(counts > 0, gammainc(np.maximum(counts, 1e-9), np.maximum(model, 1e-9)), 1.0)
    most = chance.argmin(axis=1)
    pixel = np.arange(len(counts))
    least = np.maximum(chance[pixel, most], 1e-300)
    # one of several: 1 - (1 - p)^n, as precise as p
    of_all = -np.expm1(len(middles) * np.log1p(-np.minimum(least, 1 - 1e-16)))
    sigma = np.clip(-ndtri(np.clip(of_all, 1e-300, 1.0)), 0.0, MOST_SIGMA)
    excess = counts[pixel, most] - model[pixel, most]
    found = np.stack([sigma, excess, middles[most]], axis=1).astype(np.float32)
    return found.reshape(*block.shape[:-1], 3)
