"""Net counts of a standard: of one spectrum, or the sum of several, or of the pixels of a map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.progress import warn
from eds_xr.schema import LINE, EdsError, zero_where_assumed
from eds_xr.xray.lines import split_line

OTHER_LINE = "line_other"
#: A map is compared in as many blocks along each dimension: more would have few counts each.
MOST_BLOCKS = 5
#: Scatter that chance makes less often is warned of.
RARE = 0.01
#: Fewer standard deviations make a factor that first-order errors do not describe.
LEAST_SIGNIFICANT = 5.0


class StandardWarning(UserWarning):
    """A standard that is not as homogeneous, or not as well counted, as its factors ask for."""


@dataclass(frozen=True)
class Counts:
    """Net counts [line] with covariance, and attributes that tell of their scatter."""

    names: list[str]
    net: np.ndarray
    covariance: np.ndarray
    scatter: dict[str, Any]


def counts_of(lines: xr.Dataset, elements: list[str]) -> Counts:
    """Return the counts of the lines of these elements, summed over spectra or pixels.

    Errors that spectra share (``shared_error``) are summed as they are; those of a map
    (``shared_response``) follow from the sum.
    """
    chosen = _lines_of(lines, elements)
    names = [str(n) for n in chosen[LINE].values]
    net, own, shared = _blocks(chosen, names)
    total = net.sum(axis=0)
    _check_counts(names, total)
    scatter, widened = _scatter(net, own)
    covariance = own.sum(axis=0) * widened + shared
    if "shared_response" in chosen:
        response = chosen.shared_response.transpose("mode", LINE, OTHER_LINE).values
        by_mode = response @ total
        covariance = covariance + by_mode.T @ by_mode
    weak = [n for n, v, s in zip(names, total, np.diag(covariance), strict=True)
            if v < LEAST_SIGNIFICANT * math.sqrt(max(s, 0.0))]  # fmt: skip
    if weak:
        warn(
            f"{', '.join(weak)} of the standard: net counts below {LEAST_SIGNIFICANT:g} standard "
            "deviations make no factor to rely on; record longer, or leave the lines out",
            StandardWarning,
        )
    return Counts(names, total, covariance, scatter)


def _lines_of(lines: xr.Dataset, elements: list[str]) -> xr.Dataset:
    good = isinstance(lines, xr.Dataset) and "net" in lines and LINE in lines.coords
    if not good or not {"covariance", "variance"} & set(lines.data_vars):
        raise EdsError(
            "expected lines from fit_lines or fitted_maps, with 'net' and 'covariance' (or "
            f"'variance') over 'line', found {list(lines) if good else type(lines).__name__}"
        )
    every = [str(n) for n in lines[LINE].values]
    names = [n for n in every if split_line(n)[0] in elements]
    if not names:
        raise EdsError(
            f"none of the lines {', '.join(every)} is of an element of the standard, "
            f"{', '.join(elements)}"
        )
    # images that ride along as coordinates are large, and not needed
    lines = zero_where_assumed(lines.reset_coords(drop=True))
    both = [n for n in ("covariance", "shared_response") if n in lines]
    alone = [n for n in ("net", "variance", "shared_error") if n in lines]
    found = lines[alone].sel({LINE: names})
    return found.assign({n: lines[n].sel({LINE: names, OTHER_LINE: names}) for n in both})


def _blocks(chosen: xr.Dataset, names: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return counts [block, line] and own covariance of each, and the covariance that all share."""
    other = [str(d) for d in chosen.net.dims if d != LINE]
    size = {d: math.ceil(chosen.sizes[d] / MOST_BLOCKS) for d in other}
    covariance = chosen.covariance if "covariance" in chosen else None
    if covariance is None:
        same = xr.DataArray(np.eye(len(names)), {LINE: names, OTHER_LINE: names})
        covariance = chosen.variance * same
    covariance = covariance.astype(float)
    shared = np.zeros((len(names), len(names)))
    if "shared_error" in chosen:
        errors = chosen.shared_error.fillna(0.0).astype(float)
        covariance = covariance - xr.dot(errors, errors.rename({LINE: OTHER_LINE}), dim="mode")
        together = errors.sum(other).transpose("mode", LINE).values
        shared = together.T @ together
    good = chosen.net.notnull().all(LINE)
    parts = xr.Dataset(
        {"net": chosen.net.astype(float).where(good, 0.0), "own": covariance.where(good, 0.0)}
    ).drop_vars([LINE, OTHER_LINE, "element"], errors="ignore")
    if other:
        parts = parts.coarsen(size, boundary="pad", coord_func="min").sum().stack(block=other)
    else:
        parts = parts.expand_dims("block")
    parts = parts.transpose("block", LINE, OTHER_LINE).compute()
    return parts.net.values, parts.own.values, shared


def _check_counts(names: list[str], net: np.ndarray) -> None:
    without = [n for n, v in zip(names, net, strict=True) if not 0 < v < np.inf]
    if without:
        raise EdsError(
            f"the standard has no counts of {', '.join(without)}: leave the lines out, "
            "lines.drop_sel(line=[...]), or record longer"
        )


def _scatter(net: np.ndarray, own: np.ndarray) -> tuple[dict[str, Any], float]:
    """Return how ratios of lines scatter from block to block, and what widens the variance.

    Each block has an amount of its own (a film is not equally thick); its lines' ratios are those
    of the sum. Chi-square over its degrees of freedom is the square of Birge's ratio (Phys. Rev.
    40 (1932) 207).
    """
    from scipy.stats import chi2

    blocks = [(n, c) for n, c in zip(net, own, strict=True) if np.linalg.matrix_rank(c) == n.size]
    free = (len(blocks) - 1) * (net.shape[1] - 1)
    if free < 1:
        return {}, 1.0
    shape, square = net.sum(axis=0), 0.0
    for counts, covariance in blocks:
        weight = np.linalg.inv(covariance)
        amount = (shape @ weight @ counts) / (shape @ weight @ shape)
        left = counts - amount * shape
        square += float(left @ weight @ left)
    if chi2.sf(square, free) < RARE:
        warn(
            f"the lines of the standard scatter by {math.sqrt(square / free):.2g} times what "
            f"counting explains, over {len(blocks)} parts; errors are widened by as much. Choose "
            "a homogeneous area, or a thinner one",
            StandardWarning,
        )
    scatter = {"scatter_chi_square": square, "scatter_degrees_of_freedom": free}
    return scatter, max(1.0, square / free)
