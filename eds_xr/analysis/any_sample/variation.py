"""Errors that come from a phase's variation from place to place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from eds_xr.analysis.any_sample.regions import Source
from eds_xr.schema import ENERGY, LINE, PHASE, spatial_dims
from eds_xr.segmentation import masks as mk
from eds_xr.spectra.common_errors import add_common_errors
from eds_xr.spectra.line_fits.model_errors import add_variance, variation


def with_place_variation(
    lines: xr.Dataset,
    pure: xr.Dataset,
    sources: Sequence[Source],
    pinned: Mapping[str, Sequence[str]],
    tiles: Mapping[str, xr.Dataset],
    masks: xr.DataArray,
) -> xr.Dataset:
    """Add to the errors what phases vary from place to place.

    Ratios to a line vary between tiles of a phase's pure pixels beyond chance, by a variance ``t``
    a tile; the mean over a mask that spans ``k`` tiles by ``t / k``. That is an error of the phase:
    pure pixels are not all of it. Likewise what lies above and below a grain is not the average of
    its host (ratios to the pinned line): what was subtracted carries it, for mixture and host.

    Parameters
    ----------
    tiles : mapping
        By phase, fitted lines of the tiles of its pure pixels.

    Returns
    -------
    Dataset
        As `lines`, ``variance`` and ``covariance`` with the addition, which ``matrix_variance``
        [phase, line] shows on its own; ``selection_variance``, what of it is due to the choice of a
        phase's own pixels (its effect is ``selection``, of the rest ``matrix``);
        ``place_variance``, that of a tile, on the scale of `lines`.
    """
    added, chosen, of_tiles = (xr.zeros_like(lines.variance) for _ in range(3))
    known = lines[PHASE].values.tolist()
    for name in tiles.keys() & known:
        net = lines.net.sel({PHASE: name}, drop=True)
        base = str(net[LINE].values[int(net.argmax(LINE))])
        between = variation(tiles[name], per=base).variance
        of_tiles.loc[{PHASE: name}] = own = float(net.max()) ** 2 * between
        chosen.loc[{PHASE: name}] = own / _tiles_spanned(masks.sel({PHASE: name}))
    for source in sources:
        if source.reference not in tiles or not {source.phase, source.reference} <= {*known}:
            continue
        base = pinned[source.phase][0]
        between = variation(tiles[source.reference], per=base).variance
        spans = {
            n: _tiles_spanned(masks.sel({PHASE: n})) for n in (source.region, source.reference)
        }
        net = float(lines.net.sel({PHASE: source.reference, LINE: base}))
        pixels = pure.n_pixels.sel({PHASE: [source.phase, source.reference]}).values
        taken = net * float(pure.scale.sel({PHASE: source.phase})) * pixels[0] / pixels[1]
        added.loc[{PHASE: source.phase}] = taken**2 * between * sum(1 / k for k in spans.values())
        chosen.loc[{PHASE: source.phase}] = 0.0
        own = net**2 * between / spans[source.reference]
        before = chosen.sel({PHASE: source.reference})
        chosen.loc[{PHASE: source.reference}] = own.where(own > before, before)
    texts = {
        "matrix_variance": "due to the matrix and to the choice of pixels",
        "selection_variance": "due to the choice of pixels",
        "place_variance": "between tiles",
    }
    shown = {
        name: one.assign_attrs(long_name=f"variance {texts[name]}", units="counts^2")
        for name, one in zip(texts, (added + chosen, chosen, of_tiles), strict=True)
    }
    return add_variance(add_variance(lines, added, "matrix"), chosen, "selection").assign(shown)


def overlaps(segmentation: xr.Dataset, amounts: xr.DataArray) -> xr.DataArray:
    """Return the counts of each phase where another is present ``[phase, phase_other; counts]``.

    Computes: the amounts.
    """
    present, other = segmentation["present"], f"{PHASE}_other"
    held = amounts.rename({PHASE: other})
    counts = xr.dot(present.astype(float), held, dim=spatial_dims(present)).compute()
    return counts.where(counts[PHASE] != counts[other], 0.0).clip(min=0.0)


def lines_of_all_pixels(
    refined: xr.Dataset,
    fitted: xr.Dataset,
    pure: xr.Dataset,
    lines: xr.Dataset,
    overlap: xr.DataArray,
) -> xr.Dataset:
    """Add to the errors of the lines of refined spectra what is beyond counting.

    What the phases share, and, relative to their counts, what matrix and model add to the errors
    of the pure spectra's `lines`. (The whole map spans more of a host than the masks do.) What of
    another phase lies in a phase's pixels is taken out as it is on average: where it varies from
    place to place, the phase carries that of one place.
    """
    size = refined.counts.sum(ENERGY) / pure.counts.sum(ENERGY)
    chosen = lines.get("selection_variance", xr.zeros_like(lines.matrix_variance))
    other = f"{PHASE}_other"
    varied = (lines.place_variance / pure.counts.sum(ENERGY) ** 2).rename({PHASE: other})
    taken = overlap.sel({PHASE: lines[PHASE].values, other: lines[PHASE].values})
    matrix = (lines.matrix_variance - chosen) * size**2 + xr.dot(taken**2, varied, dim=other)
    found = add_common_errors(fitted, refined)
    for effect, added in (
        ("matrix", matrix), ("selection", chosen * size**2),
        ("background", lines.model_variance * size**2),
    ):  # fmt: skip
        found = add_variance(found, added, effect)
    return found


def _tiles_spanned(mask: xr.DataArray) -> float:
    """Return over how many tiles a mask is spread, evenly filled ones counting fully."""
    sizes = mk.pixels_of_tiles(mask).values.astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())
