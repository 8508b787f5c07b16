"""Composition from net counts: the Cliff-Lorimer ratio method, with covariance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.schema import ELEMENT, LINE, EdsError
from eds_xr.xray_lines import (
    EMISSION_UNCERTAINTY,
    check_element,
    detector_efficiency,
    emission_per_atom,
    line_energy_kev,
)


def quantify(
    lines: xr.Dataset,
    k_factors: Mapping[str, float] | xr.DataArray | None = None,
    *,
    exclude: tuple[str, ...] = (),
) -> xr.Dataset:
    """Turn net counts into a composition.

    Computes: small arrays only.

    Cliff and Lorimer (J. Microsc. 103 (1975) 203) for a thin film, without absorption:
    weight fractions are proportional to ``k_i net_i``, and atoms to ``k_i net_i / A_i``, brought
    to sum 1 over the elements given.

    Parameters
    ----------
    lines : Dataset over ``line``
        From ``fit_lines``: ``net`` and ``covariance``, one line an element.
    k_factors : mapping or DataArray [line], optional
        Weight k-factor of each line by name, ``{"Si_Ka": 1.0, "Fe_Ka": 1.3}``, on any common
        scale. Default: :func:`standardless_k_factors`, and the result says so.
    exclude : tuple of str
        Elements to leave out (of the sum, too).

    Returns
    -------
    Dataset over ``element``
        ``atomic_fraction``, ``weight_fraction`` [..., element] with ``*_variance`` and
        ``atomic_fraction_covariance`` [..., element, element_other]: statistical, carried from
        the counts through the normalisation. ``k_factor`` and ``systematic`` (relative standard
        uncertainty of the k-factor, not in the variance) [element]. Attribute ``standardless``
        is 1 when the k-factors are computed. Negative net counts stay negative.

    Raises
    ------
    EdsError
        For two lines of one element, a missing or non-positive k-factor, or counts that sum to
        nothing in one of the spectra.
    """
    chosen = _one_line_an_element(lines, exclude)
    names = [str(n) for n in chosen[LINE].values]
    standardless = k_factors is None
    table = standardless_k_factors(names, **_beam(lines)) if k_factors is None else k_factors
    k = _k_factors(names, table)
    elements = [n.split("_")[0] for n in names]
    weight, weight_covariance = _fractions(chosen, k)
    atoms, atoms_covariance = _fractions(chosen, k / np.array([atomic_mass(e) for e in elements]))
    systematic = [EMISSION_UNCERTAINTY[n.split("_")[1][0]] if standardless else 0.0 for n in names]
    lead = [d for d in chosen.net.dims if d != LINE]
    one, two = (*lead, ELEMENT), (*lead, ELEMENT, "element_other")
    return xr.Dataset(
        {
            "atomic_fraction": (one, atoms, {"long_name": "atomic fraction", "units": "1"}),
            "atomic_fraction_variance": (one, _diagonal(atoms_covariance)),
            "atomic_fraction_covariance": (two, atoms_covariance),
            "weight_fraction": (one, weight, {"long_name": "weight fraction", "units": "1"}),
            "weight_fraction_variance": (one, _diagonal(weight_covariance)),
            "weight_fraction_covariance": (two, weight_covariance),
            "k_factor": (ELEMENT, k, {"long_name": "weight k-factor"}),
            "systematic": (
                ELEMENT,
                np.array(systematic),
                {"long_name": "relative uncertainty of k"},
            ),
        },
        coords={
            **{d: chosen[d] for d in lead if d in chosen.coords},
            ELEMENT: elements,
            "element_other": elements,
            "line": (ELEMENT, names),
        },
        attrs=provenance.with_step(lines.attrs, "quantify", standardless=standardless)
        | {"standardless": int(standardless)},
    )


def standardless_k_factors(lines: list[str], *, beam_energy_kev: float = 200.0) -> dict[str, float]:
    """Compute weight k-factors: atomic mass over photons counted per atom, relative to the first.

    From ionisation cross-sections, fluorescence yields and branching ratios
    (:func:`eds_xr.xray_lines.emission_per_atom`) and the efficiency of a windowless silicon
    detector. Systematic uncertainty: 10 % for K, 20 % for L, 30 % for M lines.

    Examples
    --------
    >>> standardless_k_factors(["Si_Ka", "Fe_Ka"])
    {'Si_Ka': 1.0, 'Fe_Ka': 1...}
    """
    photons = {
        name: emission_per_atom(name, beam_energy_kev)
        * float(detector_efficiency(line_energy_kev(name)))
        for name in lines
    }
    for name, value in photons.items():
        if value <= 0:
            raise EdsError(f"{name} is not emitted at a beam energy of {beam_energy_kev:g} keV")
    k = {name: atomic_mass(name.split("_")[0]) / value for name, value in photons.items()}
    return {name: value / k[lines[0]] for name, value in k.items()}


def atomic_mass(element: str) -> float:
    """Return the atomic mass of an element [g/mol].

    Examples
    --------
    >>> round(atomic_mass("Fe"), 2)
    55.84
    """
    import xraydb

    check_element(element)
    return float(xraydb.atomic_mass(element))


def ratio(composition: xr.Dataset, element: str, other: str) -> xr.Dataset:
    """Return the ratio of the atoms of two elements, with its variance.

    Computes: small arrays only.

    Parameters
    ----------
    composition : Dataset over ``element``
        From :func:`quantify`.
    element, other : str

    Returns
    -------
    Dataset
        ``ratio`` and ``variance`` [...], the covariance of the two taken into account; NaN where
        there is none of `other`. First order: good where `other` is far above its error.

    Raises
    ------
    EdsError
        For an element that the composition lacks.
    """
    for name in (element, other):
        if name not in composition[ELEMENT].values:
            raise EdsError(f"{name} is not in the composition: {list(composition[ELEMENT].values)}")
    a, b = (composition.atomic_fraction.sel({ELEMENT: n}, drop=True) for n in (element, other))
    table = composition.atomic_fraction_covariance

    def covariance(x: str, y: str) -> xr.DataArray:
        return table.sel({ELEMENT: x, "element_other": y}, drop=True)

    b = b.where(b != 0)
    value = a / b
    spread = (
        covariance(element, element) - 2 * value * covariance(element, other)
        + value**2 * covariance(other, other)
    ) / b**2  # fmt: skip
    name = f"{element} / {other}, atoms"
    return xr.Dataset(
        {"ratio": value.assign_attrs(long_name=name, units="1"), "variance": spread},
        attrs=composition.attrs,
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
        As `lines`, with the addition in ``variance`` and ``covariance``, and on its own as
        ``model_variance``.

    Raises
    ------
    EdsError
        When there are no refits, or they lack a line.
    """
    if not refits:
        raise EdsError("the variation of the model needs at least one other fit")
    for other in refits:
        missing = set(lines[LINE].values.tolist()) - set(other[LINE].values.tolist())
        if missing:
            raise EdsError(f"a refit lacks {', '.join(sorted(missing))}")
    squares = [(other.net.sel({LINE: lines[LINE]}) - lines.net) ** 2 for other in refits]
    added = sum(squares[1:], squares[0]) / len(squares)
    attrs = {"long_name": "variance due to the model of the spectrum", "units": "counts^2"}
    return add_variance(lines, added).assign(model_variance=added.assign_attrs(attrs))


def add_variance(lines: xr.Dataset, added: xr.DataArray) -> xr.Dataset:
    """Return lines with a variance [..., line] added, independent from line to line."""
    names = lines[LINE].values
    same = xr.DataArray(
        np.eye(names.size), {LINE: names, "line_other": names}, (LINE, "line_other")
    )
    return lines.assign(
        variance=(lines.variance + added).assign_attrs(lines.variance.attrs),
        covariance=(lines.covariance + added * same).assign_attrs(lines.covariance.attrs),
    )


def _one_line_an_element(lines: xr.Dataset, exclude: tuple[str, ...]) -> xr.Dataset:
    missing = {"net", "covariance"} - set(lines.data_vars)
    if missing or LINE not in lines.dims:
        raise EdsError(f"expected lines from fit_lines, missing {sorted(missing) or 'line'}")
    elements = [str(n).split("_")[0] for n in lines[LINE].values]
    keep = [n for n, e in zip(lines[LINE].values, elements, strict=True) if e not in exclude]
    double = sorted({e for e in elements if elements.count(e) > 1} - set(exclude))
    if double:
        raise EdsError(
            f"more than one line of {', '.join(double)}: choose one, lines.sel(line=[...])"
        )
    if not keep:
        raise EdsError("no element is left to quantify")
    # by name: the caller may have chosen lines, which leaves line_other as it was
    return lines[["net", "covariance"]].sel({LINE: keep, "line_other": keep})


def _beam(lines: xr.Dataset) -> dict[str, float]:
    return {"beam_energy_kev": float(lines.attrs.get("beam_energy_kev", 200.0))}


def _k_factors(names: list[str], table: Mapping[str, float] | xr.DataArray) -> np.ndarray:
    if isinstance(table, xr.DataArray):
        table = dict(zip(map(str, table[LINE].values), table.values.tolist(), strict=True))
    missing = [n for n in names if n not in table]
    if missing:
        raise EdsError(
            f"no k-factor for {', '.join(missing)}; the table has {', '.join(table)}. "
            "k-factors are matched by line, never by position"
        )
    k = np.array([float(table[n]) for n in names])
    if not (np.isfinite(k) & (k > 0)).all():
        raise EdsError(f"k-factors must be positive, found {dict(zip(names, k, strict=True))}")
    return k


def _fractions(chosen: xr.Dataset, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``x_i = f_i net_i / sum_j f_j net_j`` and its covariance (first order)."""
    amount = chosen.net.transpose(..., LINE).values * factors
    covariance = chosen.covariance.transpose(..., LINE, "line_other").values * np.outer(
        factors, factors
    )
    total = amount.sum(-1, keepdims=True)
    if not (total > 0).all():
        raise EdsError("the net counts sum to nothing: there is no composition to give")
    x = amount / total
    # dx_i/da_j = (delta_ij - x_i) / total
    slope = (np.eye(x.shape[-1]) - x[..., :, None]) / total[..., None]
    return x, slope @ covariance @ np.swapaxes(slope, -1, -2)


def _diagonal(covariance: np.ndarray) -> np.ndarray:
    return np.diagonal(covariance, axis1=-2, axis2=-1).copy()
