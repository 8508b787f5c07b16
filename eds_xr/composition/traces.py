"""Trace elements: what can be said of little, and how much more a larger region says."""

from __future__ import annotations

import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import check_confidence
from eds_xr.chunks import computed
from eds_xr.cluster.supervision import computes
from eds_xr.composition.uncertainty import marks
from eds_xr.composition.uncertainty.limits import as_text, limits_of
from eds_xr.composition.uncertainty.quantities import chosen_quantity, deviation, units_of
from eds_xr.schema import ASSUMED, DOUBT, LINE, PHASE, EdsError, spatial_dims


@computes
def upper_limits(
    data: xr.Dataset, quantity: str | None = None, *, confidence: float = 0.95
) -> xr.Dataset:
    """Say of every value whether it is detected, and how large it can be at most.

    Computes: the Dataset.

    What is measured cannot be negative, its estimate can. The limit is that of a normal estimate
    with a flat prior at and above zero (ISO 11929:2010; K. Weise et al., Radiat. Prot. Dosim. 121
    (2006) 52), of few counts that of Poisson's law with the same prior: never negative, and at or
    above the truth at least as often as `confidence` says, whatever the truth is.

    Parameters
    ----------
    data : Dataset
        Lines, a composition, oxides or a formula, with variance.
    quantity : str, optional
        Which of its variables; the first that has a variance by default (``net``,
        ``atomic_fraction``).
    confidence : float
        One-sided, of the upper limit; between 0.5 and 1.

    Returns
    -------
    Dataset
        ``value``, ``sd`` (statistical), ``detected`` (above Currie's critical level: false in 95 of
        100 blanks, and of few counts by Poisson's law), ``upper_limit``, and as ``text``
        ``0.34(5)`` where detected, else ``< 0.12``; dimensions of the quantity; ``doubt`` and
        ``assumed`` where the Dataset has them. Systematic uncertainty is not in it.

    Raises
    ------
    EdsError
        For a quantity without variance, or a confidence that is none.

    Examples
    --------
    >>> net = xr.DataArray([340.0, 10.0], {"line": ["Fe_Ka", "Nd_La"]})
    >>> found = upper_limits(xr.Dataset({"net": net, "variance": net * 0 + 2500}))
    >>> found.text.values.tolist()
    ['340(50)', '< 110']
    """
    check_confidence(confidence)
    name = chosen_quantity(data, quantity)
    data = computed(data)
    value, sd = data[name], deviation(data, name)
    what = str(value.attrs.get("long_name", name))
    limits = limits_of(data, name, confidence)
    text = as_text(data, name, confidence, 1.0).assign_attrs(long_name=what, units=units_of(value))
    attrs = provenance.with_step(data.attrs, "upper_limits", quantity=name, confidence=confidence)
    sd = sd.assign_attrs(long_name=f"standard deviation of the {what}")
    found = {"value": value, "sd": sd, "detected": limits.detected}
    found |= {"upper_limit": limits.upper_limit, "text": text}
    return xr.Dataset(found | _marks(data), attrs=attrs)


@computes
def compare_regions(
    spectra: xr.Dataset,
    lines: xr.Dataset,
    *,
    reference: str,
    masks: xr.DataArray | None = None,
) -> xr.Dataset:
    """Compare regions of one phase: what a mask gains over a rectangle, signal and noise apart.

    Computes: small arrays only.

    A larger region lowers the noise per pixel, by the root of the number of pixels. It should not
    change the signal per pixel: a higher one is no better measurement, but another phase in the
    region.

    Parameters
    ----------
    spectra : Dataset [phase, energy]
        Sums over the regions, from ``sum_spectra``: gives ``n_pixels``.
    lines : Dataset [phase, line]
        Their net counts, from ``fit_lines``. Their noise is what counting leaves: what is known of
        peaks only within limits is the same in all regions, and no larger one lowers it.
    reference : str
        The region (along ``phase``) that the others are compared with.
    masks : DataArray of bool [phase, *spatial], optional
        The regions. Counts of pixels in common have the same noise: with the masks, the errors of
        the gains allow for that; without, regions are taken as apart.

    Returns
    -------
    Dataset [phase, line]
        ``n_pixels`` [phase]; per pixel, ``signal`` and its standard deviation ``noise`` [counts];
        ``snr``, their ratio. Against the reference: ``signal_gain``, ``noise_gain`` (how many
        times lower the noise is) and ``snr_gain``, the product, each with ``_variance``;
        ``expected_noise_gain`` [phase], the root of the ratio of the numbers of pixels.
        ``doubt`` [phase, line] as the lines have it. What is assumed has no signal: NaN.

    Raises
    ------
    EdsError
        For a region without pixels, or that is not in both Datasets.

    Notes
    -----
    The variance of net counts is itself known to about ``1 / sqrt(variance)``, as that of a count.
    """
    pixels = _pixels(spectra, lines, reference)
    measured = ~marks.mark_of(lines, ASSUMED, lines.net)
    noise = {"net": lines.net, "variance": _of_counting(lines)}
    lines = lines.assign({n: values.where(measured) for n, values in noise.items()})
    size = pixels.sel({PHASE: reference}, drop=True)
    found = _gains(lines, pixels, reference, _common_share(pixels, masks, reference))
    found |= {
        "n_pixels": pixels,
        "signal": lines.net / pixels,
        "noise": lines.variance**0.5 / pixels,
        "snr": lines.net / lines.variance**0.5,
        "expected_noise_gain": (pixels / size) ** 0.5,
    }
    attrs = provenance.with_step(lines.attrs, "compare_regions", reference=reference)
    described = {
        name: found[name].assign_attrs(long_name=text, units=units)
        for name, (text, units) in _COMPARED.items()
    }
    return xr.Dataset(described | _marks(lines), attrs=attrs | {"reference": reference})


def _of_counting(lines: xr.Dataset) -> xr.DataArray:
    """Return the variance of net counts due to counting; the whole where lines don't tell."""
    if "effect_covariance" not in lines:
        return lines.variance
    counting = lines.effect_covariance.sel(effect="counting", drop=True)
    return counting.sel(line_other=lines[LINE]).drop_vars("line_other")


def _marks(data: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return what is in doubt, and what is assumed, where a Dataset says so."""
    return {name: data[name] for name in (DOUBT, ASSUMED) if name in data}


_COMPARED = {
    "n_pixels": ("pixels of the region", "1"),
    "signal": ("net counts per pixel", "counts"),
    "noise": ("standard deviation of the net counts per pixel", "counts"),
    "snr": ("signal to noise", "1"),
    "signal_gain": ("signal against the reference's", "1"),
    "signal_gain_variance": ("variance of the signal gain", "1"),
    "noise_gain": ("the reference's noise against this noise", "1"),
    "noise_gain_variance": ("variance of the noise gain", "1"),
    "expected_noise_gain": ("root of the ratio of the numbers of pixels", "1"),
    "snr_gain": ("signal to noise against the reference's", "1"),
    "snr_gain_variance": ("variance of the gain in signal to noise", "1"),
}


def _gains(
    lines: xr.Dataset, pixels: xr.DataArray, reference: str, common: xr.DataArray
) -> dict[str, xr.DataArray]:
    """Return the gains and their variances, first order; a part of the counts is in common."""
    net, variance = lines.net, lines.variance
    base, spread = (a.sel({PHASE: reference}, drop=True) for a in (net, variance))
    shared = common * spread  # covariance of the net counts with those of the reference
    size = pixels.sel({PHASE: reference}, drop=True)
    signal = (net / pixels) / (base / size)
    noise = (spread / variance) ** 0.5 * pixels / size
    # relative variances; that of a variance v is 1 / v
    of_signal = variance / net**2 + spread / base**2 - 2 * shared / (net * base)
    of_noise = (1 / variance + 1 / spread - 2 * shared / (variance * spread)) / 4
    return {
        "signal_gain": signal,
        "signal_gain_variance": signal**2 * of_signal,
        "noise_gain": noise,
        "noise_gain_variance": noise**2 * of_noise,
        "snr_gain": signal * noise,
        "snr_gain_variance": (signal * noise) ** 2 * (of_signal + of_noise),
    }


def _pixels(spectra: xr.Dataset, lines: xr.Dataset, reference: str) -> xr.DataArray:
    """Return the numbers of pixels [phase] of the regions that were fitted."""
    for what, data, name in (("spectra", spectra, "n_pixels"), ("lines", lines, "net")):
        if name not in data or PHASE not in data[name].dims or PHASE not in data.coords:
            raise EdsError(f"expected the {what} of several regions, {name} over 'phase'")
    known = [str(p) for p in lines[PHASE].values]
    if reference not in known:
        raise EdsError(f"the reference {reference!r} is none of the regions: {', '.join(known)}")
    missing = [p for p in known if p not in spectra[PHASE].values]
    if missing:
        raise EdsError(f"the spectra lack {', '.join(missing)}, whose lines were fitted")
    pixels = spectra.n_pixels.sel({PHASE: lines[PHASE]}).compute()
    if not (pixels > 0).all():
        raise EdsError(f"a region has no pixels: {dict(zip(known, pixels.values, strict=True))}")
    return pixels.drop_attrs()


def _common_share(pixels: xr.DataArray, masks: xr.DataArray | None, reference: str) -> xr.DataArray:
    """Return the share of the reference's pixels that each region holds [phase]."""
    if masks is None:
        return (pixels[PHASE] == reference).astype(float)
    named = isinstance(masks, xr.DataArray) and {PHASE} <= set(masks.dims) & set(masks.coords)
    if not named or masks.dtype != bool:
        raise EdsError("expected boolean masks [phase, y, x] of the regions, named along 'phase'")
    missing = set(pixels[PHASE].values.tolist()) - set(masks[PHASE].values.tolist())
    if missing:
        raise EdsError(
            f"the masks lack {', '.join(map(str, sorted(missing)))}, whose lines were fitted"
        )
    chosen = masks.sel({PHASE: pixels[PHASE]})
    both = (chosen & chosen.sel({PHASE: reference}, drop=True)).sum(spatial_dims(masks))
    return (both / pixels.sel({PHASE: reference}, drop=True)).compute()
