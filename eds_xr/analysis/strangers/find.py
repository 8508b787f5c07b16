"""Strangers: regions whose counts no mixture of the known phases explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.analysis.strangers import windows
from eds_xr.analysis.strangers.known import Known, Result, known_phases
from eds_xr.analysis.strangers.lazy_maps import region_map, residual_maps
from eds_xr.analysis.strangers.regions import Region, regions_of, without_doubles
from eds_xr.analysis.strangers.responses import Responses, responses_of
from eds_xr.analysis.strangers.search import maps_of, windows_of
from eds_xr.analysis.strangers.table import ROW, table_of
from eds_xr.arguments import number, with_beam_assumed
from eds_xr.cluster.supervision import computes
from eds_xr.image.blocks import check_channels
from eds_xr.image.stored_sums import total_spectrum
from eds_xr.progress import progress
from eds_xr.schema import (
    ENERGY,
    LINE,
    STRANGER,
    EdsError,
    check_energy_in_kev,
    check_spectrum_image,
    spatial_dims,
)
from eds_xr.spectra.identification.identify import identify
from eds_xr.xray.elements import element_names

#: Share of what is found that chance may have made, where nobody says.
FDR = 0.05


@computes
def find_strangers(
    image: xr.DataArray,
    result: Result,
    *,
    fdr: float = FDR,
    elements: Sequence[str] | None = None,
) -> xr.Dataset:
    """Find regions, down to a pixel, whose counts no mixture of the known phases explains.

    Computes: reads `image` once, and once more for its total spectrum where there are no stored
    sums of pixels; the maps stay lazy.

    Parameters
    ----------
    image : DataArray [y, x, energy; counts]
        Or a line scan [x, energy].
    result : DataTree, Dataset or DataArray
        Of :func:`analyse` or :func:`nmf`, or spectra [phase, energy].
    fdr : float
        Share of what is found that chance may have made, on average.
    elements : sequence of str, optional
        What the phases hold, stray elements too. They vary within phases without being strangers.
        Default is what `result` says, else what is identified in the sum of all pixels.

    Returns
    -------
    Dataset over ``stranger``, the most significant first
        ``middle_y``, ``middle_x``, ``extent_y``, ``extent_x``, in units of the image; ``n_pixels``;
        ``size``, diameter of a disc of as many pixels, in these units; ``elements``, those in
        excess (``Ti or Ba`` where they cannot be told apart) and, as ``less Mg``, those missing;
        ``significance`` [standard deviations] and ``log_chance`` of its strongest window;
        ``q_value``, the false discovery rate of all down to this one; ``excess`` and
        ``excess_variance`` [stranger, line; counts], zero for lines that are not named;
        ``host``, the phase most counts around are of; ``text``. Lazy, on the grid of the image:
        ``region`` [y, x], 0 or the stranger's number from 1, and ``residual`` [line, y, x; standard
        deviations] of sums over discs of 5 pixels, for the lines of strangers and phases.

    Raises
    ------
    EdsError
        For a result without spectra, or on other energies; an image of more than two
        spatial dimensions, or energies not in keV.

    Notes
    -----
    Of every line family (K, L, M of all natural elements) a sum of weighted counts is made that is
    zero, on average, for every mixture of the phases and any smooth background; of families that
    no phase holds also for any amounts of the lines of the phases' elements, so that phases may
    vary in composition and thickness. It is summed over windows about each pixel (discs of 1 to 177
    pixels, bars of 15 x 3 in eight directions), less what as many counts have in the surroundings,
    a square of 49 pixels, and compared with its scatter: that of counts, of the composition in the
    window or around it, whichever scatters more; times what sums of the same family and window
    scatter more than that over a tile of the image. The chance of a sum is that of compound
    Poisson counts, by the saddlepoint. Elements that the phases hold may be missing, too, and no
    phase may be less than nothing. Windows are taken one after the other, the most significant
    first; pixels taken before do not count again. The false discovery rate is that of Benjamini and
    Hochberg (1995) with all pixels, windows and families as tests: as these overlap, fewer are
    false than it says. What is as wide as the surroundings, and many strangers of one kind, which
    the phases' spectra then hold, are not found; nor is what deviates everywhere by as much.

    Examples
    --------
    >>> from eds_xr import nmf, simulate
    >>> image = simulate.spectrum_image((48, 48, 1024), 200.0)           # doctest: +SKIP
    >>> found = find_strangers(image, nmf(image, 3))                      # doctest: +SKIP
    >>> found.text.values                                                 # doctest: +SKIP
    >>> image.eds.sum_spectra(found.region == 1)                          # doctest: +SKIP
    """
    check_spectrum_image(image)
    check_energy_in_kev(image)
    check_channels(image.sizes[ENERGY])
    if not 0 < number(fdr, "fdr") < 1:
        raise EdsError(f"fdr must be between 0 and 1, found {fdr!r}")
    known = known_phases(_as_plane(image), result)
    with progress("strangers: the sum of all pixels"):
        total = total_spectrum(known.image)
    if not total.any():
        raise EdsError("the spectrum image holds no counts; look at eds_xr.info")
    return strangers_of(image, known, total, fdr=fdr, elements=elements)


def strangers_of(
    image: xr.DataArray, known: Known, total: np.ndarray, *, fdr: float,
    elements: Sequence[str] | None,
) -> xr.Dataset:  # fmt: skip
    """Return what :func:`find_strangers` finds, where the sum of all pixels [channel] is known."""
    responses = responses_of(
        known.image, total, known.spectra, held_elements(known, total, elements)
    )
    maps = maps_of(known.image, responses)
    with progress("strangers"):
        found = without_doubles(windows_of(maps, responses))
    looked_for = float((responses.upper.astype(int) + responses.lower).sum())
    tests = maps[0].size * len(windows.shapes()) * looked_for
    regions = regions_of(found, responses, maps.shape[1:], tests, fdr)
    lines = _lines_told(responses, regions)
    made = table_of(known, responses, regions, lines)
    made["region"] = region_map(known.image, found, [r.windows for r in regions])
    made["residual"] = residual_maps(known.image, responses, lines)
    made = made.isel({d: 0 for d in made.dims if d not in {*image.dims, LINE, STRANGER}})
    attrs = provenance.with_step(image.attrs, "find_strangers", fdr=fdr, phases=known.names)
    return made.assign_attrs(provenance.of_the_recording(with_beam_assumed(attrs)))


def _as_plane(image: xr.DataArray) -> xr.DataArray:
    """Return an image of two spatial dimensions: of a line scan, one of a single row."""
    dims = spatial_dims(image)
    if len(dims) > 2:
        raise EdsError(
            f"expected an image [y, x, energy] or a line scan, found {image.dims}; of a series "
            "choose one, image.isel(...)"
        )
    return image if len(dims) == 2 else image.expand_dims(ROW)


def held_elements(known: Known, total: np.ndarray, elements: Sequence[str] | None) -> list[str]:
    """Return the elements that the phases hold: given, of the result, or identified."""
    if elements is not None:
        return element_names(elements)
    if known.elements is not None:
        return known.elements
    spectrum = xr.DataArray(total, {ENERGY: known.image[ENERGY]}, (ENERGY,))
    told = identify(xr.Dataset({"counts": spectrum, "variance": spectrum}, attrs=known.image.attrs))
    return [str(e) for e in told.element.values[told.found.values]]


def _lines_told(responses: Responses, regions: Sequence[Region]) -> list[int]:
    """Return the families of strangers and of the phases that have counts, or may be told."""
    shown = set(responses.chosen[responses.of_phases[responses.chosen]].tolist())
    named = [one for region in regions for one in region.elements]
    return sorted(shown | {f for one in named for f, n in one.counts.items() if n != 0})
