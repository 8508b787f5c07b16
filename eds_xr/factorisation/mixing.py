"""The mixing ambiguity of a factorisation: turning scores and loadings without changing ``W H``.

For any invertible ``T``, ``W inv(T)`` and ``T H`` fit the counts as well as ``W`` and ``H``. Bounds
come only from scores and loadings that cannot be negative, and leave a range
(:func:`mixing_uncertainty`) in which a fit ends by chance. :func:`purest` goes to the end that is
physical for grains in a matrix; :func:`remove_baseline` and :func:`move_shares` turn by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.cluster.supervision import computes
from eds_xr.factorisation.purest.continuum import line_channels
from eds_xr.factorisation.purest.least_volume import even_rows, purest_turn
from eds_xr.factorisation.purest.ray_ends import Grid
from eds_xr.factorisation.purest.shares import pixel_share, spectral_share
from eds_xr.factorisation.rotation import (
    binned_maps,
    binned_scores,
    check_component,
    check_factors,
    matrix_shares,
    pick,
    thinned,
    turn,
    turned_scores,
)
from eds_xr.schema import COMPONENT, ENERGY, EdsError, check_one_of, one_mask, spatial_dims

#: The baseline needs no more pixels than this of the core.
CORE_PIXELS = 2**20


@computes
def purest(result: xr.Dataset, *, reach: str = "auto") -> xr.Dataset:
    """Turn a factorisation to its purest components, without changing ``W H``.

    Lazy: the scores. Computes: once through the scores, summed over bins of pixels.

    The matrix is the composition that most pixels have. Seen from there, with scores in units of
    their noise, pixels in which one phase lies over the matrix form a ray; components become the
    matrix and the rays on which most pixels lie, each next one being that which lowers most

        sum over pixels of min(squared distance to the cone of the rays, 30).

    How far along its ray a component lies is known from pixels where the phase is somewhere
    without matrix: there its shares pile up, blurred by noise. A component ends at such a pile
    (particles, layers, precipitates as thick as the foil, whatever elements they share with the
    matrix). Without one the phase lies within the matrix, and the component goes on until its
    spectrum touches zero (in the lowest of 64 groups of channels, within half a standard
    deviation): right where the matrix holds an element which the grains do not. A phase that lies
    in or on another one everywhere (a core in its shell, metal on an oxide) gives that up, too,
    as far as its spectrum allows.
    :func:`mixing_uncertainty` tells how much is at stake.

    Parameters
    ----------
    result : Dataset
        From :func:`eds_xr.nmf`, of counts.
    reach : {"auto", "spectra", "pixels"}
        Where components end: as said; all where their spectra touch zero; all at their purest
        pixels, piled up or not, which leaves matrix in a phase that is nowhere without.

    Returns
    -------
    Dataset
        As `result`, components numbered anew, strongest first. Scores and loadings may be
        slightly negative (noise about zero); for scores that are not, solve again:
        ``project(image, loadings.clip(0))``. Attributes ``ends_at``, ``pixels`` or ``spectrum`` for
        each component, and ``rotation_residual``, the largest change of ``W H`` among the bins,
        relative to its largest value.

    Raises
    ------
    EdsError
        When `result` is no factorisation, or for another `reach`.
    """
    check_factors(result)
    check_one_of(reach, ("auto", "spectra", "pixels"), "reach")
    scores = result["scores"].transpose(*spatial_dims(result["scores"]), COMPONENT)
    loadings = result["loadings"].transpose(COMPONENT, ENERGY)
    bins = binned_maps(scores)
    sample = bins.reshape(-1, bins.shape[-1])
    grid = Grid(np.arange(len(sample)), bins.shape[:-1])
    change, ends_at = purest_turn(
        sample, loadings.values.astype(float), reach=reach, grid=grid,
        line_channels=line_channels(loadings),
    )  # fmt: skip
    numbers = np.arange(len(change))
    spectra = loadings.copy(data=change @ loadings.values).assign_coords({COMPONENT: numbers})
    turned = turned_scores(scores, np.linalg.inv(change)).assign_coords({COMPONENT: numbers})
    attrs = provenance.with_step(result.attrs, "purest", reach=reach, turn=change.tolist())
    attrs["ends_at"] = ends_at
    attrs["rotation_residual"] = _residual(sample, loadings.values, change, scores.dtype)
    return xr.Dataset({"scores": turned.rename("scores"), "loadings": spectra}, attrs=attrs)


@computes
def mixing_uncertainty(result: xr.Dataset) -> xr.Dataset:
    """Return how much of each component could be moved into each other one.

    Computes: once through the scores, summed over bins of pixels.

    With a share ``s`` of component ``b`` taken out of component ``c``, the loading
    ``H_c - s H_b`` and the score ``W_b + s W_c`` replace ``H_c`` and ``W_b``: the counts are fitted
    as well. The range of ``s`` in which both stay non-negative, within noise, is what the data do
    not decide. Other pairs held; elements that a phase cannot hold narrow it further. For all pairs
    at once, as intervals of line ratios, see :func:`eds_xr.mixing_intervals`.

    Parameters
    ----------
    result : Dataset
        From :func:`eds_xr.nmf` or :func:`purest`.

    Returns
    -------
    Dataset
        ``low`` and ``high`` [component, component_other; share of the counts of `component`]:
        most of `component_other` that can be given to the loading of `component` (zero or less),
        and most that can be taken from it (zero or more).

    Raises
    ------
    EdsError
        When `result` is no factorisation.
    """
    check_factors(result)
    scores, loadings = result["scores"], result["loadings"].transpose(COMPONENT, ENERGY)
    rows = even_rows(binned_scores(scores.transpose(*spatial_dims(scores), COMPONENT)))
    table = loadings.values.astype(float)
    low, high = np.zeros((2, len(table), len(table)))
    for one, other in np.argwhere(~np.eye(len(table), dtype=bool)):
        if len(rows):
            low[one, other] = min(0.0, pixel_share(rows, table, one, other))
            share = spectral_share(rows, table, one, other, line_channels(loadings))
            high[one, other] = max(0.0, share)
    names = loadings[COMPONENT].values
    dims, units = (COMPONENT, f"{COMPONENT}_other"), {"units": "1"}
    return xr.Dataset(
        {
            "low": (dims, low, {"long_name": "most that can be added", **units}),
            "high": (dims, high, {"long_name": "most that can be taken out", **units}),
        },
        {COMPONENT: names, f"{COMPONENT}_other": names},
        attrs=provenance.with_step(result.attrs, "mixing_uncertainty"),
    )


@computes
def remove_baseline(result: xr.Dataset, matrix: int | str, core: xr.DataArray) -> xr.Dataset:
    """Take the matrix phase's share out of the other scores, without changing ``W H``.

    Lazy: but for the ratios, from at most a million pixels evenly spread over the core.

    NMF is unique only up to mixing: other components may carry part of the matrix. Where the
    matrix is pure their scores must be zero, so with ``beta_f`` the median of ``W_f / W_b`` there,
    ``W_f - beta_f W_b`` replaces ``W_f``, and ``H_b + sum_f beta_f H_f`` replaces ``H_b``.

    Parameters
    ----------
    result : Dataset
        From :func:`nmf`.
    matrix : int
        The component of the matrix phase.
    core : DataArray of bool [*spatial]
        Pixels where the matrix is pure.

    Returns
    -------
    Dataset
        As `result`; scores may now be slightly negative (noise about zero), and loadings sum to 1
        again. Attribute ``rotation_residual`` is the largest change of ``W H`` in the core,
        relative to its largest value.

    Raises
    ------
    EdsError
        When `core` is not boolean, is empty or lies on another grid, or when `matrix` is not a
        component, or has no counts in the core.
    """
    scores = result["scores"]
    check_component(scores, matrix)
    pure = pick(scores, thinned(one_mask(scores, core, "the core").values, CORE_PIXELS))
    shares = matrix_shares(pure, matrix)
    return move_shares(result, matrix, shares, check=pure)


@computes
def move_shares(
    result: xr.Dataset, component: Any, shares: xr.DataArray, *, check: xr.DataArray | None = None
) -> xr.Dataset:
    """Move shares of other components into one, without changing ``W H``.

    Lazy: nothing of the image is computed.

    ``W_f - s_f W_b`` replaces every other score ``W_f``, and ``H_b + sum_f s_f H_f`` replaces
    ``H_b``; then loadings are brought to sum 1 again.

    Parameters
    ----------
    result : Dataset
        From :func:`nmf`.
    component : label of a component
        ``b`` above.
    shares : DataArray [component]
        ``s_f``; that of `component` itself must be zero.
    check : DataArray [pixel, component], optional
        Scores on which the change of ``W H`` is measured; by default one pixel of each component
        alone: all others are sums of these.

    Returns
    -------
    Dataset
        As `result`; attribute ``rotation_residual`` is the largest change of ``W H``, relative
        to its largest value.
    """
    scores, loadings = result["scores"], result["loadings"].compute()
    check_component(scores, component)
    if float(shares.sel({COMPONENT: component})) != 0:
        raise EdsError(f"the share of {component!r} in itself must be zero")
    kept = loadings.sel({COMPONENT: component}, drop=True) + (shares * loadings).sum(COMPONENT)
    turned = loadings.where(loadings[COMPONENT] != component, kept)
    total = turned.sum(ENERGY)
    spectra = (turned / total).assign_attrs(loadings.attrs)
    rotated = turn(scores, component, shares, total)
    if check is None:
        names = {COMPONENT: scores[COMPONENT].values}
        check = xr.DataArray(np.eye(scores.sizes[COMPONENT]), names, ("pixel", COMPONENT))
    sample = check[:: -(-len(check) // 4096)].astype(scores.dtype)  # rounding included
    change = abs(turn(sample, component, shares, total) @ spectra - sample @ loadings).max()
    attrs = provenance.with_step(
        result.attrs, "move_shares", component=str(component), shares=shares.values.tolist()
    )
    attrs["rotation_residual"] = float(change / (sample @ loadings).max())
    return xr.Dataset({"scores": rotated.rename("scores"), "loadings": spectra}, attrs=attrs)


def _residual(
    sample: np.ndarray, loadings: np.ndarray, change: np.ndarray, dtype: np.dtype
) -> float:
    """Return the largest relative change of ``W H``, rounding of the scores included."""
    few = sample[:: max(1, len(sample) // 2048)].astype(dtype).astype(float)
    if not few.any():
        return 0.0
    turned = (few @ np.linalg.inv(change)).astype(dtype).astype(float)
    before = few @ loadings
    return float(abs(turned @ (change @ loadings) - before).max() / before.max())
