"""A composition as labelled xarray: which lines make it, the calculation, what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.composition.amounts import QuantificationModel, composition_block
from eds_xr.composition.film.charge_balance import COVERAGES
from eds_xr.composition.uncertainty.effects import (
    ERROR,
    ERROR_EFFECT,
    FACTOR_LINE,
    as_counting,
    with_systematic,
)
from eds_xr.composition.uncertainty.errors import (
    SystematicError,
    changes_of_factors,
    deviations_of_factors,
)
from eds_xr.composition.valences import OXYGEN, Charges, charges_of
from eds_xr.image.block_by_block import block_by_block
from eds_xr.schema import (
    ASSUMED,
    ELEMENT,
    LINE,
    EdsError,
    check_one_of,
    spatial_dims,
    zero_where_assumed,
)
from eds_xr.xray.absorption import attenuation_m2_kg
from eds_xr.xray.elements import atomic_mass, element_names
from eds_xr.xray.lines import split_line

OTHER, MEASURED = "element_other", "measured_line"
#: What lines may bring of their errors beside the total: by effect, and what spectra share.
PARTS = ("effect_covariance", "shared_error")
#: Counts that lines from ``fit_lines`` may bring, and compositions then show as fractions.
LIMITS = ("critical_level", "detection_limit", "quantification_limit")
#: The ``line`` of oxygen that balances charges.
BY_STOICHIOMETRY = "stoichiometry"
_LONG_NAMES = {
    "atomic_fraction": ("atomic fraction", "1"),
    "weight_fraction": ("weight fraction", "1"),
    "atoms_per_area": ("atoms per area", "m-2"),
    "mass_thickness": ("mass thickness", "kg m-2"),
    "fluorescence": ("what other lines of the film add to the counts, relative", "1"),
    "absorption_correction": ("factor that makes up for absorption", "1"),
    "charge_ratio": ("charge of the anions over that of the cations, before absorption", "1"),
}


@dataclass(frozen=True)
class Elements:
    """Elements, the lines that stand for them, and what of each comes with each line's.

    Attributes
    ----------
    lines, symbols : list of str
        As long as each other; the line of oxygen by stoichiometry is `BY_STOICHIOMETRY`.
    mass_per_line_mass : ndarray [element, line]
        Mass of each element that comes with a unit mass of the line's own.
    masses : ndarray [element; g/mol]
    charges : Charges or None
        Of `symbols`, where oxygen or the film's thickness balances them.
    """

    lines: list[str]
    symbols: list[str]
    mass_per_line_mass: np.ndarray
    masses: np.ndarray
    charges: Charges | None = None

    @property
    def valences(self) -> dict[str, float]:
        """The charges that are balanced, but oxygen's."""
        if self.charges is None:
            return {}
        named = zip(self.symbols, self.charges.values.tolist(), strict=True)
        return {e: c for e, c in named if e != "O"}


def elements_of_lines(
    names: list[str],
    oxygen: str,
    valences: Mapping[str, float] | None,
    uncertainty: Mapping[str, float] | None = None,
    *,
    balance: bool = False,
) -> Elements:
    """Return the elements of lines, with oxygen as it is asked for.

    Their charges are known where oxygen, or in a `balance` the film's thickness, rests on them.
    """
    elements = [n.split("_")[0] for n in names]
    more = ["O"] if oxygen == BY_STOICHIOMETRY else []
    masses = np.array([atomic_mass(e) for e in [*elements, *more]])
    mass_per_line_mass, charges = np.eye(len(names)), None
    if more or balance:
        charges = charges_of([*elements, *more], valences, uncertainty)
    elif valences or uncertainty:
        raise EdsError(
            "valences are for oxygen='stoichiometry' or thickness='charge_balance', which balance "
            "them"
        )
    if more and charges is not None:
        brought = charges.values[:-1] / -OXYGEN * masses[-1] / masses[:-1]
        mass_per_line_mass = np.vstack([mass_per_line_mass, brought])
    lines = [*names, *([BY_STOICHIOMETRY] if more else [])]
    return Elements(lines, [*elements, *more], mass_per_line_mass, masses, charges)


def chosen_lines(lines: xr.Dataset, exclude: Sequence[str], oxygen: str) -> xr.Dataset:
    """Return net counts, covariance and limits of one line an element, the excluded left out."""
    check_one_of(oxygen, ("measured", BY_STOICHIOMETRY), "oxygen")
    _check_lines(lines)
    out = set(element_names(exclude, "exclude"))
    out |= {"O"} if oxygen == BY_STOICHIOMETRY else set()
    elements = [n.split("_")[0] for n in line_names(lines)]
    keep = [n for n, e in zip(line_names(lines), elements, strict=True) if e not in out]
    double = sorted({e for e in elements if elements.count(e) > 1} - out)
    if double:
        raise EdsError(
            f"more than one line of {', '.join(double)}: choose one, lines.sel(line=[...])"
        )
    if not keep:
        raise EdsError("no element is left to quantify: fit more, or exclude fewer")
    lines = zero_where_assumed(lines)
    part = lines[["net", *(n for n in (*LIMITS, "shared_error") if n in lines)]].sel({LINE: keep})
    part.attrs = {}
    if "covariance" in lines:
        # by name: the caller may have chosen lines, which leaves line_other as it was
        both = [n for n in ("covariance", "effect_covariance") if n in lines]
        return part.assign(lines[both].sel({LINE: keep, "line_other": keep}).data_vars)
    same = xr.DataArray(np.eye(len(keep)), {LINE: keep, "line_other": keep}, (LINE, "line_other"))
    part = part.assign(covariance=lines.variance.sel({LINE: keep}) * same)
    return part.assign_attrs(covariance_assumed_diagonal=1)


def composed(
    compose: Callable[..., xr.Dataset], lines: xr.Dataset, exclude: Sequence[str], oxygen: str,
    **maps: Any,
) -> xr.Dataset:  # fmt: skip
    """Return ``compose(chosen, **maps)`` of the lines of :func:`chosen_lines`.

    Lazy where the lines are maps that are: a task a chunk makes all that there is.
    """
    used = ("net", "variance", "covariance", ASSUMED, *LIMITS, *PARTS)
    part = lines[[n for n in used if n in lines and (n != "variance" or "covariance" not in lines)]]
    of_block = partial(_compose, compose, exclude=exclude, oxygen=oxygen)
    return block_by_block(of_block, part, spatial_dims(lines.net), "compositions", **maps)


def _compose(
    compose: Callable[..., xr.Dataset], lines: xr.Dataset, *, exclude: Sequence[str], oxygen: str,
    **maps: Any,
) -> xr.Dataset:  # fmt: skip
    return compose(chosen_lines(lines, exclude, oxygen), **maps)


def line_names(lines: xr.Dataset) -> list[str]:
    """Return the names of the lines."""
    return [str(n) for n in lines[LINE].values]


def attenuation_to_detector(
    names: list[str], elements: Elements, angle_deg: float | None
) -> np.ndarray | None:
    """Return attenuation over the sine of the take-off angle [line, element]; None without one."""
    if angle_deg is None:
        return None
    return attenuation_m2_kg(names, elements.symbols) / np.sin(np.radians(angle_deg))


def counts_per_electron(lines: xr.Dataset, dose: xr.DataArray) -> xr.Dataset:
    """Return lines with counts divided by the electrons that made them."""
    counts = {n: lines[n] / dose for n in ("net", *LIMITS, "shared_error") if n in lines}
    squares = {n: lines[n] / dose**2 for n in ("covariance", "effect_covariance") if n in lines}
    return lines.assign(counts | squares)


def composition_of(
    lines: xr.Dataset,
    elements: Elements,
    model: QuantificationModel,
    thickness: xr.DataArray | None,
) -> xr.Dataset:
    """Return the composition; lazy where the lines are."""
    limits = tuple(n for n in LIMITS if n in lines)
    parts = any(n in lines for n in PARTS)
    outputs = _outputs(model, limits, parts, bool(spatial_dims(lines.net)))
    given = [lines.net, lines.covariance, xr.DataArray(0.0) if thickness is None else thickness]
    given = [_one_chunk(values.astype(float)) for values in [*given, *(lines[n] for n in limits)]]
    found = xr.apply_ufunc(
        composition_block,
        *given,
        kwargs={"model": model, "names": tuple(outputs), "limit_names": limits},
        input_core_dims=[[LINE], [LINE, "line_other"], [], *([LINE] for _ in limits)],
        output_core_dims=list(outputs.values()),
        dask="parallelized",
        output_dtypes=[float] * len(outputs),
        dask_gufunc_kwargs={
            "output_sizes": {
                **dict.fromkeys([ELEMENT, OTHER], len(elements.symbols)),
                ERROR: len(model.errors),
                **({"coverage": len(COVERAGES)} if "charge_ratio" in outputs else {}),
                **({MEASURED: lines.sizes[LINE]} if parts else {}),
            }
        },
    )
    named = {
        n: v.drop_vars([LINE, "line_other"], errors="ignore").assign_attrs(_described(n))
        for n, v in zip(outputs, found, strict=True)
    }
    labels = _labels(elements, model)
    if "charge_ratio" in outputs:
        labels["coverage"] = np.array(COVERAGES)
    result = _with_parts(xr.Dataset(named).assign_coords(labels), lines)
    _check_found(result, lines, model)
    text = "relative uncertainty of the factor"
    own = of_lines(deviations_of_factors(model.errors, lines.sizes[LINE]), elements, text, "1")
    return result.assign(
        systematic=own.fillna(0.0), factor_error=_factor_error(lines, result, model)
    )


def _labels(elements: Elements, model: QuantificationModel) -> dict[str, Any]:
    """Return the coordinates of a composition: elements with their lines, names of errors."""
    return {
        ELEMENT: elements.symbols,
        OTHER: elements.symbols,
        LINE: (ELEMENT, elements.lines),
        ERROR: [e.name for e in model.errors],
        ERROR_EFFECT: (ERROR, [e.effect for e in model.errors]),
    }


def of_lines(values: np.ndarray, elements: Elements, long_name: str, units: str) -> xr.DataArray:
    """Return values of lines over ``element``; NaN for oxygen that no line stands for."""
    more = len(elements.symbols) - values.size
    padded = np.pad(values, (0, more), constant_values=np.nan)
    attrs = {"long_name": long_name, "units": units}
    return xr.DataArray(padded, {ELEMENT: elements.symbols}, (ELEMENT,), attrs=attrs)


def _factor_error(lines: xr.Dataset, found: xr.Dataset, model: QuantificationModel) -> xr.DataArray:
    """Return what each error does to each line's factor: budgets tell from it what standards do."""
    of_factors = [e if e.effect == "k_factor" else SystematicError("", "") for e in model.errors]
    changes = changes_of_factors(of_factors, lines.sizes[LINE])
    about = {"long_name": "relative change of a line's factor by each error", "units": "1"}
    coords = {FACTOR_LINE: line_names(lines)} | {n: found[n] for n in (ERROR, ERROR_EFFECT)}
    return xr.DataArray(changes, coords, (FACTOR_LINE, ERROR), attrs=about)


def _check_lines(lines: xr.Dataset) -> None:
    if not isinstance(lines, xr.Dataset):
        raise EdsError(f"expected lines from fit_lines, found {type(lines).__name__}")
    missing = [] if "net" in lines else ["net"]
    if not {"covariance", "variance"} & set(lines.data_vars):
        missing += ["covariance (or at least variance)"]
    if missing or LINE not in lines.dims or LINE not in lines.coords:
        raise EdsError(f"expected lines from fit_lines, missing {', '.join(missing) or 'line'}")
    for name in line_names(lines):
        split_line(name)


def _with_parts(found: xr.Dataset, lines: xr.Dataset) -> xr.Dataset:
    """Return a composition with its errors by what they are due to, and what spectra share."""
    lines = lines.drop_vars([LINE, "line_other", ELEMENT], errors="ignore")
    for kind in [k for k in _LONG_NAMES if f"{k}_by_error" in found]:
        dim = ELEMENT if ELEMENT in found[kind].dims else None
        parts = _by_effect_of_lines(found, kind, lines, dim)
        if parts is not None:
            parts = with_systematic(parts, found[f"{kind}_by_error"], dim)
            what = f"{'co' if dim else ''}variance"
            about = found[f"{kind}_variance"].attrs | {
                "long_name": f"{what} of the {_LONG_NAMES[kind][0]} by what it is due to"
            }
            found[f"{kind}_effect_{what}"] = parts.assign_attrs(about)
        if "shared_error" in lines:
            made = xr.dot(_by_net(found, kind), lines.shared_error.fillna(0.0), dim=LINE)
            about = {"long_name": "errors that spectra share", "units": _LONG_NAMES[kind][1]}
            found[f"{kind}_shared_error"] = made.transpose("mode", ...).assign_attrs(about)
    return found.drop_vars([n for n in found if str(n).endswith("_by_net")])


def _by_effect_of_lines(
    found: xr.Dataset, kind: str, lines: xr.Dataset, dim: str | None
) -> xr.DataArray | None:
    """Return the statistical (co)variance of a kind by effect; None for maps that tell none."""
    if "effect_covariance" not in lines:
        if spatial_dims(lines.net):  # large, and can be had from what is there
            return None
        return as_counting(found[f"{kind}_{'co' if dim else ''}variance"])
    slope = _by_net(found, kind)
    other = slope.rename({LINE: "line_other"} | ({dim: f"{dim}_other"} if dim else {}))
    return xr.dot(slope, lines.effect_covariance, other, dim=[LINE, "line_other"])


def _by_net(found: xr.Dataset, kind: str) -> xr.DataArray:
    """Return what a net count of each line does to a kind [..., line]."""
    return found[f"{kind}_by_net"].drop_vars(LINE, errors="ignore").rename({MEASURED: LINE})


def _outputs(
    model: QuantificationModel, limits: tuple[str, ...], parts: bool, maps: bool
) -> dict[str, list[str]]:
    """Return the variables of the composition and their dimensions, beside those of spectra."""
    kinds = ["atomic_fraction", "weight_fraction"]
    kinds += ["atoms_per_area"] if model.own_thickness else []
    found: dict[str, list[str]] = {}
    for kind in kinds:
        found |= {kind: [ELEMENT], f"{kind}_variance": [ELEMENT]}
        found |= {f"{kind}_covariance": [ELEMENT, OTHER]}
        found |= {f"{kind}_systematic_covariance": [ELEMENT, OTHER]}
        found |= {f"{kind}_by_error": [ELEMENT, ERROR]}
        found |= {f"{kind}_by_net": [ELEMENT, MEASURED]} if parts else {}
        found |= {f"{kind}_{n}": [ELEMENT] for n in limits if kind != "atoms_per_area"}
    if model.own_thickness or model.charges is not None:
        mass = ("", "_variance", "_systematic_variance")
        found |= {f"mass_thickness{end}": [] for end in mass}
        found["mass_thickness_by_error"] = [ERROR]
        found |= {"mass_thickness_by_net": [MEASURED]} if parts else {}
    if model.charges is not None and not maps:
        found |= {f"mass_thickness_{end}": ["coverage"] for end in ("lower", "upper")}
        found["charge_ratio"] = []
    if model.attenuation is not None:
        found["absorption_correction"] = [ELEMENT]
    if model.fluorescence is not None:
        found["fluorescence"] = [ELEMENT]
    return found


def _described(name: str) -> dict[str, str]:
    kind = next(k for k in _LONG_NAMES if name.startswith(k))
    words, units = _LONG_NAMES[kind]
    rest = name.removeprefix(kind).strip("_").replace("_", " ")
    if rest == "by error":
        return {"long_name": f"what one standard deviation does to the {words}", "units": units}
    if rest in ("lower", "upper"):
        return {"long_name": f"{rest} end of the interval of the {words}", "units": units}
    if rest.endswith("variance"):
        statistical = "" if "systematic" in rest else "statistical "
        squared = {"1": "1", "m-2": "m-4", "kg m-2": "kg2 m-4"}[units]
        return {"long_name": f"{statistical}{rest} of the {words}", "units": squared}
    return {"long_name": f"{rest} as {words}" if rest else words, "units": units}


def _one_chunk(values: xr.DataArray) -> xr.DataArray:
    """Return values with lines, which are few, whole in every chunk."""
    if values.chunks is None:
        return values
    return values.chunk({d: -1 for d in (LINE, "line_other") if d in values.dims})


def _check_found(found: xr.Dataset, lines: xr.Dataset, model: QuantificationModel) -> None:
    """Raise where a spectrum has no composition; in maps, such pixels are NaN."""
    if (
        found.atomic_fraction.chunks
        or spatial_dims(lines.net)
        or bool(found.atomic_fraction.notnull().all())
    ):
        return
    if not bool((np.isfinite(lines.net) & np.isfinite(lines.covariance).all("line_other")).all()):
        raise EdsError(
            "the net counts or their covariance hold values that are not finite; leave out lines "
            "or spectra without counts, lines.dropna('line')"
        )
    if not bool(((lines.net * model.factors).sum(LINE) > 0).all()):
        raise EdsError("the net counts sum to nothing: there is no composition to give")
    raise EdsError(
        "the absorption correction does not converge: so many counts need a film thicker than "
        "X-rays get out of; check thickness, dose, take-off angle and factors"
    )
