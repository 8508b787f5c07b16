"""Line ratios of phases over all non-negative factorisations that explain the counts as well."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.analysis.mixing_intervals.net_functionals import net_functionals
from eds_xr.arguments import beam_energy_of
from eds_xr.chunks import as_chunked
from eds_xr.cluster.supervision import computes
from eds_xr.composition.k_factors.table import Table, looked_up
from eds_xr.factorisation.ambiguity.bins_of_counts import binned_counts
from eds_xr.factorisation.ambiguity.evidence import Evidence, gathered
from eds_xr.factorisation.ambiguity.intervals import Intervals, share_intervals
from eds_xr.factorisation.known_spectra.unmix import phase_table
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    LINE,
    PHASE,
    EdsError,
    check_energy_in_kev,
    check_spectrum_image,
)
from eds_xr.spectra.line_fits.chosen_lines import chosen_elements
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV
from eds_xr.workers import in_one_thread
from eds_xr.xray.elements import element_names, masses

RATIO = "ratio"


@computes
@in_one_thread
def mixing_intervals(
    image: xr.DataArray,
    result: xr.Dataset | xr.DataArray,
    ratios: Sequence[tuple[str, str]],
    elements: Sequence[str] | None = None,
    *,
    stray: Sequence[str] = (),
    absent: Mapping[Any, Sequence[str]] | None = None,
    k_factors: Table | None = None,
    range_kev: tuple[float, float] = FIT_RANGE_KEV,
) -> xr.Dataset:
    """Bound line ratios of components over all factorisations that explain the counts as well.

    Computes: reads `image` once, summed over bins of pixels (4096 at most).

    Spectra ``H`` and scores ``W`` can be mixed with one another, ``T H`` and ``W inv(T)``, and the
    counts are explained as well. All mixings of all components at once are searched for the least
    and the most of each ratio. What keeps them within bounds: no spectrum has negative counts, in
    groups of channels or in any line; no bin of pixels, nor sum over neighbouring ones, has
    negative scores; both within noise. The intervals hold what a choice among mixtures
    (:func:`eds_xr.purest`) takes for granted, counting, and what is not known of the peaks
    (calibration, weights of lines, tails: see :func:`eds_xr.fit_lines`), at 95 %; not k-factors and
    absorption.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    result : Dataset or DataArray
        From :func:`eds_xr.nmf` of this image, or all its spectra [phase, energy], as
        :func:`eds_xr.unmix` takes them. Intervals start from there: a phase that is missing in it
        is missing in all mixings.
    ratios : sequence of (str, str)
        Lines, ``[("Mg_Ka", "Si_Ka")]``, or elements, which stand for their principal lines.
    elements : sequence of str, optional
        Elements of the sample; default is the attribute ``elements``.
    stray : sequence of str
        Elements fitted for their overlaps, see :func:`eds_xr.fit_lines`.
    absent : mapping of component (or phase) to elements, optional
        What a phase cannot hold, ``{0: ["Al"]}``: narrows the intervals of all.
    k_factors : table or mapping, optional
        By line, as :func:`eds_xr.quantify` takes them; ratios are then of atoms, without the errors
        of the factors. Default: ratios of net counts.
    range_kev : (float, float)
        Energies in which lines are fitted.

    Returns
    -------
    Dataset
        Over ``component`` (or ``phase``) and ``ratio``: ``low`` and ``high`` of the interval,
        infinite where the second line may be missing; ``value`` of `result` and its ``error``
        without mixing, one standard deviation; ``low_by`` and ``high_by``, what bounds each end.

    Raises
    ------
    EdsError
        For spectra of other channels, no elements, an element without a line in the range, a
        component that does not exist, or an image without counts.

    Notes
    -----
    The corners of all simplices between pixels and non-negative spectra are the areas of feasible
    solutions of O. S. Borgen and B. R. Kowalski (Anal. Chim. Acta 174 (1985) 1) and R. Rajko and
    K. Istvan (J. Chemometrics 19 (2005) 448). Their extremes are sought by linear programmes in
    turn from several starts. For two and three components they are found as brute force finds
    them; for more, the search may end short of an extreme.

    Examples
    --------
    >>> result = image.eds.nmf(3)                                           # doctest: +SKIP
    >>> spans = image.eds.mixing_intervals(result, [("Mg", "Si")], ["Mg", "Si", "Fe"])
    ...                                                                     # doctest: +SKIP
    >>> spans.sel(component=0)[["low", "value", "high"]]                    # doctest: +SKIP
    """
    check_spectrum_image(image)
    pairs = _checked(ratios)
    table, dim = _spectra_of(result, image)
    image = as_chunked(image.sel({ENERGY: table[ENERGY]}))
    check_energy_in_kev(image)
    attrs = {**getattr(result, "attrs", {}), **image.attrs}
    names = chosen_elements(attrs, elements, "mixing_intervals(result, ratios, ['Mg', 'Si', ...])")
    every = [*names, *element_names(stray, "stray")]
    counts = binned_counts(image)
    total = xr.DataArray(counts.reshape(-1, counts.shape[-1]).sum(0), image[ENERGY].coords)
    asked = list(dict.fromkeys(name for pair in pairs for name in pair))
    nets = net_functionals(total.assign_attrs(attrs), asked, every, range_kev)
    none = _absent(absent or {}, nets.weights, table)
    evidence = gathered(counts, table.values, nets.weights.values, none, nets.errors(table.values))
    places = [(asked.index(first), asked.index(second)) for first, second in pairs]
    found = share_intervals(evidence, places)
    lines = [str(n) for n in nets.weights[LINE].values[: len(asked)]]
    scale = np.array([_atoms(lines[a], lines[b], k_factors, attrs) for a, b in places])
    made = _described(found, scale, _Told(evidence, table, nets.weights), dim)
    made = made.assign_coords({RATIO: ["/".join(pair) for pair in pairs]})
    return made.assign_attrs(
        provenance.with_step(
            image.attrs, "mixing_intervals", ratios=[list(pair) for pair in pairs], elements=names,
            stray=every[len(names) :], absent={str(k): list(v) for k, v in (absent or {}).items()},
            range_kev=list(range_kev),
        )
    )  # fmt: skip


def _checked(ratios: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    pairs = [] if isinstance(ratios, str) else [tuple(pair) for pair in ratios]
    if not pairs or any(
        len(p) != 2 or p[0] == p[1] or isinstance(r, str)
        for p, r in zip(pairs, ratios, strict=True)
    ):
        raise EdsError(f"expected pairs of two lines or elements, [('Mg', 'Si')], found {ratios!r}")
    return [(str(a), str(b)) for a, b in pairs]


def _spectra_of(result: xr.Dataset | xr.DataArray, image: xr.DataArray) -> tuple[xr.DataArray, str]:
    """Return spectra [component, energy; sum 1], and what they are to be called."""
    given = result
    if isinstance(result, xr.Dataset) and "loadings" in result:
        given = result["loadings"]
    dim = COMPONENT if COMPONENT in given.dims else PHASE
    if ENERGY in given.coords:
        image = image.sel({ENERGY: slice(*given[ENERGY].values[[0, -1]])})
    table = phase_table(given.rename({COMPONENT: PHASE}) if dim == COMPONENT else given, image)
    if table.sizes[COMPONENT] < 2:
        raise EdsError("expected two components or more, which could be mixed; found one")
    table = table.transpose(COMPONENT, ENERGY).assign_coords({ENERGY: image[ENERGY]})
    return table / table.sum(ENERGY), dim


def _absent(
    absent: Mapping[Any, Sequence[str]], nets: xr.DataArray, table: xr.DataArray
) -> np.ndarray:
    """Return which net counts are known to be zero [line, component]."""
    known = table[COMPONENT].values.tolist()
    of_line = [str(n).split("_")[0] for n in nets[LINE].values]
    none = np.zeros((len(of_line), len(known)), bool)
    for name, elements in absent.items():
        if name not in known:
            raise EdsError(f"absent: no component {name!r}, there are {known}")
        for element in element_names(elements, "absent elements"):
            if element not in of_line:
                raise EdsError(f"absent: {element} is not among the elements; add it to them")
            none[[e == element for e in of_line], known.index(name)] = True
    return none


def _atoms(first: str, second: str, k_factors: Table | None, attrs: Mapping[Any, Any]) -> float:
    """Return what makes a ratio of net counts one of atoms; 1 without k-factors."""
    if k_factors is None:
        return 1.0
    factors = looked_up(k_factors, [first, second], "k", beam_energy_of(attrs)).values
    of_atoms = factors / masses([first, second])
    return float(of_atoms[0] / of_atoms[1])


class _Told:
    """What the conditions of the evidence are called."""

    def __init__(self, evidence: Evidence, table: xr.DataArray, nets: xr.DataArray) -> None:
        self.labels = table[COMPONENT].values
        self.names = [f"component {n}" if isinstance(n, int) else n for n in self.labels.tolist()]
        self.bins = len(evidence.bins.rows) * len(self.names)
        lines = [str(n) for n in nets[LINE].values]
        energy = table[ENERGY].values
        ends = itertools.pairwise([*evidence.groups, len(energy)])
        groups = [f"{energy[first]:.2f} to {energy[end - 1]:.2f} keV" for first, end in ends]
        more = len(evidence.limits.rows) - len(groups) - len(lines)
        self.limits = [f"counts from {text} are" for text in groups] + [f"{n} is" for n in lines]
        self.limits += ["more of an absent line is"] * more

    def __call__(self, condition: int) -> str:
        """Return one condition in words."""
        if condition < 0:
            return ""
        if condition < self.bins:
            return f"pixels without {self.names[condition % len(self.names)]}"
        limit, own = divmod(condition - self.bins, len(self.names))
        return f"no {self.limits[limit]} left in {self.names[own]}"


def _described(found: Intervals, scale: np.ndarray, told: _Told, dim: str) -> xr.Dataset:
    """Return intervals of ratios."""
    dims = (dim, RATIO)

    def ratio(share: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.asarray(scale * share / (1 - share))

    with np.errstate(divide="ignore", invalid="ignore"):
        error = found.error * scale / (1 - found.value) ** 2
    words = {"low_by": found.low_by, "high_by": found.high_by}
    values = {
        "low": (ratio(found.low), "lower end of the interval, 95 %"),
        "high": (ratio(found.high), "upper end of the interval, 95 %"),
        "value": (ratio(found.value), "ratio of the given spectra"),
        "error": (error, "standard deviation of that without mixing"),
    }
    made = {n: (dims, v, {"long_name": text, "units": "1"}) for n, (v, text) in values.items()}
    texts = {n: (dims, np.vectorize(told, otypes=[object])(by)) for n, by in words.items()}
    return xr.Dataset({**made, **texts}, {dim: told.labels})
