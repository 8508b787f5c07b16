"""What adds to the errors of net counts beyond counting: the matrix, and the model of the spectrum.

All of it is added to variance and covariance of lines, where it is carried on like the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.schema import LINE, EdsError, zero_where_assumed
from eds_xr.spectra.line_fits.fitted_lines import (
    check_lines,
    check_net,
    check_same_spectra,
    with_error,
)


def variation(lines: xr.Dataset, *, per: str) -> xr.Dataset:
    """Return how much line ratios vary between regions of one phase, beyond chance.

    Computes: small arrays only.

    A matrix is never quite the same everywhere. The variance between regions less what counting
    explains (the moment estimator of DerSimonian and Laird, Control. Clin. Trials 7 (1986) 177).

    Parameters
    ----------
    lines : Dataset [phase, line]
        From ``fit_lines`` on the spectra of several regions.
    per : str
        The line that the others are divided by.

    Returns
    -------
    Dataset over ``line``
        ``ratio``, the weighted mean of ``net / net[per]``, and its ``variance`` between regions;
        0 where chance explains the scatter.

    Raises
    ------
    EdsError
        For fewer than two regions, or a line that was not fitted.
    """
    check_lines(lines)
    if "phase" not in lines.net.dims or lines.sizes["phase"] < 2:
        raise EdsError("the variation needs the lines of at least two regions, along 'phase'")
    if per not in lines[LINE].values:
        raise EdsError(f"{per} was not fitted: {list(lines[LINE].values)}")
    base = lines.net.sel({LINE: per}, drop=True)
    ratio = lines.net / base
    own = lines.variance.sel({LINE: per}, drop=True)
    shared = lines.covariance.sel({"line_other": per}, drop=True)
    chance = (lines.variance + ratio**2 * own - 2 * ratio * shared) / base**2
    weight = 1 / chance.where(chance > 0)
    total = weight.sum("phase")
    mean = (weight * ratio).sum("phase") / total
    excess = (weight * (ratio - mean) ** 2).sum("phase") - (weight.count("phase") - 1)
    between = excess / (total - (weight**2).sum("phase") / total)
    return xr.Dataset({"ratio": mean, "variance": between.clip(min=0).fillna(0.0)})


def with_model_variation(lines: xr.Dataset, refits: Sequence[xr.Dataset]) -> xr.Dataset:
    """Add to the errors of net counts what depends on how the spectra were fitted.

    Computes: small arrays only.

    Background and peaks are models: fits over other ranges of energy, or with other elements, are
    as good and give other net counts. The mean square of their differences is a variance that
    counting does not see. (Where the model is right they differ by chance, by little.)

    Parameters
    ----------
    lines : Dataset [..., line]
        From ``fit_lines``.
    refits : sequence of Dataset
        The same lines from other fits of the same spectra.

    Returns
    -------
    Dataset
        As `lines`, with the addition in ``variance`` and ``covariance`` (its effect is
        ``background``), and on its own as ``model_variance``.

    Raises
    ------
    EdsError
        When there are no refits, or they lack a line.
    """
    check_lines(lines)
    refits = [refits] if isinstance(refits, xr.Dataset) else list(refits)
    if not refits:
        raise EdsError("the variation of the model needs at least one other fit")
    for other in refits:
        check_net(other)
        check_same_spectra(lines, other)
        missing = set(lines[LINE].values.tolist()) - set(other[LINE].values.tolist())
        if missing:
            raise EdsError(f"a refit lacks {', '.join(sorted(missing))}")
    squares = [(other.net.sel({LINE: lines[LINE]}) - lines.net) ** 2 for other in refits]
    added = sum(squares[1:], squares[0]) / len(squares)
    attrs = {"long_name": "variance due to the model of the spectrum", "units": "counts^2"}
    found = add_variance(lines, added, "background")
    return zero_where_assumed(found.assign(model_variance=added.assign_attrs(attrs)))


def add_variance(lines: xr.Dataset, added: xr.DataArray, effect: str) -> xr.Dataset:
    """Return lines with a variance [..., line] added, independent from line to line."""
    names = lines[LINE].values
    same = xr.DataArray(
        np.eye(names.size), {LINE: names, "line_other": names}, (LINE, "line_other")
    )
    return zero_where_assumed(with_error(lines, added * same, effect))
