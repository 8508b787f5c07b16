"""The spectrum of each phase: as its pixels have it, or what a subtraction leaves."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr

from eds_xr.analysis.any_sample.regions import ENOUGH_PURE, LEAST_OVERLAP, Source
from eds_xr.provenance import with_step
from eds_xr.schema import LINE, PHASE, EdsError
from eds_xr.spectra.subtraction import SubtractionWarning, subtract_phase

#: A line that may pin a scale stands so many deviations out of the reference.
LEAST_SIGMA = 10.0
#: With more of the reference than this, what is left is a small difference of large numbers.
MOST_SHARE = 0.98
#: A film of which lines hold less than this is background, with a trace of what lies on it.
LEAST_IN_LINES = 0.02
#: Elements that hold this share of a phase's net counts make it up.
MAKES_UP = 0.02
#: A subtraction that leaves this relative error of its counts tells nothing.
MOST_ERROR = 0.1
#: A pure spectrum with more noise than this, as an angle, is not worth its name [deg].
NOISE_ANGLE_DEG = 8.0
#: Why a subtraction that nothing tests is not to be believed.
ONE_LINE = "nothing but one line tells how much of another phase was taken out"
_NOTHING = {"scale": 0.0, "scale_variance": 0.0, "pinned": "", "pinned_in_part": ""}


def pinned_line(mixture: xr.Dataset, reference: xr.Dataset) -> str:
    """Return the line of the reference that a phase lacks, as far as the mixture tells.

    Every line of the reference bounds its share in the mixture: the phase only adds counts. Of the
    lines that the lowest bound (ratio of net counts to all counts, plus two deviations) leaves
    possible, the best known pins the scale; that the phase lacks its element is assumed.

    Parameters
    ----------
    mixture, reference : Dataset [line]
        ``net`` counts of the elements of the sample in a count of the spectrum, ``variance`` by
        counting.

    Raises
    ------
    EdsError
        When no line of the reference stands out, or none is weaker in the mixture.
    """
    ratio, deviation, possible = _possible_lines(mixture, reference)
    if not bool(possible.any()):
        raise EdsError("no line of what is to be subtracted stands out of its spectrum")
    best = int(np.argmin(deviation.where(possible, np.inf).values))
    if float(ratio[best]) > MOST_SHARE:
        raise EdsError(
            "no line is weaker than in what is to be subtracted: the phase holds all its elements, "
            "and no share can be taken out"
        )
    return str(ratio[LINE].values[best])


def lines_of_an_overlap(mixture: xr.Dataset, host: xr.Dataset) -> tuple[str, ...]:
    """Return the lines that show a host lying over its phase; none where it is not shown.

    A phase that is nowhere without its host, as a core in its shell, holds all elements of the
    host, in the host's own proportions. Where two lines or more of the host, each known to a tenth,
    bound its share in the phase's pixels alike, and no other line bounds it lower, that is no
    chance: they pin the scale together.
    """
    ratio, deviation, possible = _possible_lines(mixture, host)
    known = possible & (ratio > LEAST_OVERLAP) & (deviation < 0.1 * ratio)
    agree = bool((known == possible).all()) and int(known.sum()) >= 2
    best = ratio.where(known).fillna(np.inf).min()
    return tuple(ratio[LINE].values[known.values].tolist()) if agree and best < MOST_SHARE else ()


def shows_nothing_of(mixture: xr.Dataset, other: xr.Dataset, most: float) -> bool:
    """Return whether a line of another phase bounds its share of the counts below `most`.

    Both are net counts as for :func:`pinned_line`.
    """
    ratio, deviation, possible = _possible_lines(mixture, other)
    return bool(possible.any()) and float((ratio + 2 * deviation).where(possible).min()) < most


def _possible_lines(
    mixture: xr.Dataset, reference: xr.Dataset
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Return ratios of lines, their deviations, and which may be absent in a phase [line].

    None may where no line of the reference stands out.
    """
    clear = reference.net > LEAST_SIGMA * reference.variance**0.5
    ratio = mixture.net / reference.net
    deviation = (mixture.variance + ratio**2 * reference.variance) ** 0.5 / abs(reference.net)
    lowest = (ratio + 2 * deviation).where(clear).min()
    return ratio, deviation, clear & (ratio - 2 * deviation <= lowest)


def nets_of_a_count(spectrum: xr.Dataset, lines: xr.Dataset) -> xr.Dataset:
    """Return net counts in a count of the spectrum, and their variance by counting."""
    counts = float(spectrum.counts.sum())
    # what no table knows is the same in both spectra, and cancels in their ratio
    counting = lines.effect_covariance.sel(effect="counting")
    variance = (counting.where(counting[LINE] == counting["line_other"], 0)).sum("line_other")
    return xr.Dataset({"net": lines.net / counts, "variance": variance / counts**2})


class PureSpectra:
    """Makes the spectra of the phases, references before what needs them.

    Parameters
    ----------
    spectra : Dataset [phase, energy]
        Sums over the regions.
    lines : Dataset [phase, line]
        Their net counts.
    fit : callable
        Net counts of a phase's spectrum.
    pinned : mapping
        Lines by phase; others are chosen by the data.
    hosts : mapping
        The phase that each is embedded in, "" for none.
    over : mapping
        Of these, the hosts that may lie over all pixels of their phase.
    elements : sequence of str
        All that is fitted, stray elements too.
    held : mapping
        By region, the counts of each phase.

    Attributes
    ----------
    made : dict of Dataset [energy]
        By phase; ``way`` tells the region, and what was subtracted.
    pinned : dict
        Lines that pinned each subtraction.
    sources : list of Source
        The subtractions.
    doubts : dict
        By phase, why its composition is not to be believed.
    notes : list of str
    """

    def __init__(
        self,
        spectra: xr.Dataset,
        lines: xr.Dataset,
        fit: Callable[[xr.Dataset], xr.Dataset],
        pinned: Mapping[str, Sequence[str]],
        hosts: Mapping[str, str],
        over: Mapping[str, str],
        elements: Sequence[str],
        held: Mapping[str, Mapping[str, float]],
    ) -> None:
        self.spectra, self.lines, self.fit = spectra, lines, fit
        self.told, self.hosts, self.over = pinned, hosts, over
        self.elements, self.held = elements, held
        self.made: dict[str, xr.Dataset] = {}
        self._nets_made: dict[str, xr.Dataset] = {}  # a fit takes half a second
        self.pinned: dict[str, tuple[str, ...]] = {}
        self.sources: list[Source] = []
        self.doubts: dict[str, str] = {}
        self.notes: list[str] = []

    def make(self, sources: Sequence[Source]) -> xr.Dataset | None:
        """Return the spectra ``[phase, energy]`` of all phases that have one; None for none."""
        pure = [s for s in sources if not s.reference]
        mixed = [s for s in sources if s.reference]
        for source in [*sorted(pure, key=lambda s: self._depth(s.phase)), *mixed]:
            try:
                self.made[source.phase] = self._one(source)
            except EdsError as error:
                self.notes.append(f"{source.phase}: no spectrum of its own, {error}")
            else:
                self.notes += too_noisy(source.phase, self.made[source.phase])
        if not self.made:
            return None
        names = xr.DataArray(list(self.made), dims=PHASE, name=PHASE)
        attrs = with_step(self.spectra.attrs, "pure_spectra", pinned=self.pinned)
        joined = xr.concat(self.made.values(), dim=names, combine_attrs="drop", join="exact")
        return joined.assign_attrs(attrs)

    def _depth(self, name: str) -> int:
        """Return how many hosts lie around a phase."""
        return 1 + self._depth(self.hosts[name]) if self.hosts.get(name) else 0

    def _one(self, source: Source) -> xr.Dataset:
        region = self.spectra.sel({PHASE: source.region}, drop=True)
        if not source.reference:
            return self._without_host(source, region)
        lines = tuple(self.told.get(source.phase, ()))
        reference = self._reference(source.reference)
        if not lines and not self._has_lines(source.reference):
            return self._without_film(source, region, reference)
        told = bool(lines)
        few = None if told or source.region == source.phase else self._few_pure(source)
        try:
            if not lines:
                lines = (pinned_line(*map(self._nets, (source.region, source.reference))),)
            rest = _less(region, reference, lines, self.elements)
        except EdsError:
            if few is None:
                raise
            return self._without_host(source, few)
        error = _relative_error(rest)
        # pure pixels assume nothing, and may know a little less
        if few is not None and _relative_error(few) < error / ENOUGH_PURE**0.5:
            return self._without_host(source, few)
        if error > MOST_ERROR and not told:
            raise EdsError(
                f"{', '.join(lines)} tells how much {source.reference} is to be taken out only "
                f"within {100 * error:.0f} % of what is left"
            )
        return self._subtracted(source, rest, lines)

    def _without_film(self, source: Source, region: xr.Dataset, film: xr.Dataset) -> xr.Dataset:
        """Return a region less a film without lines: counts of both tell how much it is.

        No line depends on it, but that which the film has a trace of.
        """
        held = self.held.get(source.region, {})
        share = held.get(source.reference, 0.0) / max(sum(held.values()), 1.0)
        if not 0 < share < 1:
            return region.assign(_NOTHING | {"way": source.region})
        rest = _less(region, film, share, self.elements)
        way = f"{source.region} less {source.reference}"
        return rest.assign(way=way)

    def _few_pure(self, source: Source) -> xr.Dataset | None:
        """Return the sum of a phase's pure pixels, although a mixture holds much more of it.

        None where what is to be taken out of the mixture lies over these pixels, too.
        """
        name = source.phase
        lies_over = self.over.get(name, "") in source.reference.split("+")
        if lies_over or name not in self.spectra[PHASE].values:
            return None
        return self.spectra.sel({PHASE: name}, drop=True)

    def _without_host(self, source: Source, region: xr.Dataset) -> xr.Dataset:
        """Return the spectrum of pure pixels, less a host that lies over all of them."""
        host = self.hosts.get(source.phase, "")
        if host in self.made:
            lines = lines_of_an_overlap(self._nets_of_sum(source.phase), self._nets(host))
            if lines:
                below = Source(source.phase, source.phase, host)
                rest = _less(region, self._reference(host), lines, self.elements)
                return self._subtracted(below, rest, lines)
        return region.assign(_NOTHING | {"way": "pure pixels"})

    def _subtracted(self, source: Source, rest: xr.Dataset, lines: tuple[str, ...]) -> xr.Dataset:
        self.notes += [f"{source.phase}: {text}" for text in rest.attrs["warnings"]]
        self.pinned[source.phase] = lines
        self.sources.append(source)
        if self._is_unproven(rest, source):
            self.doubts[source.phase] = ONE_LINE
            self.notes.append(
                f"{source.phase}: all its elements are {source.reference}'s, and only {lines[0]} "
                "tells how much of that was taken out; do not report its composition"
            )
        told = rest.drop_vars(["line_scale", "line_pull", "scale_p", LINE], errors="ignore")
        return told.assign(way=f"{source.region} less {source.reference}")

    def _is_unproven(self, rest: xr.Dataset, source: Source) -> bool:
        """Return whether one line alone decides a subtraction that leaves no element of its own."""
        mixture, reference = map(self._nets, (source.region, source.reference))
        _, _, possible = _possible_lines(mixture, reference)
        if int(possible.sum()) > 1:
            return False
        left, had = (
            n.net.clip(min=0) / n.net.clip(min=0).sum() for n in (self.fit(rest), reference)
        )
        return bool(((left < MAKES_UP) | (had >= MAKES_UP)).all())

    def _reference(self, name: str) -> xr.Dataset:
        if name in self.made:
            return self.made[name][["counts", "variance", "n_pixels"]]
        if name in self.spectra[PHASE].values:
            return self.spectra.sel({PHASE: name}, drop=True)
        raise EdsError(f"its mixture holds {name}, which has none either")

    def _has_lines(self, name: str) -> bool:
        nets = self._nets(name)
        return float(nets.net.where(nets.net > LEAST_SIGMA * nets.variance**0.5, 0.0).sum()) > (
            LEAST_IN_LINES
        )

    def _nets(self, name: str) -> xr.Dataset:
        """Return net counts of a region or a phase, in one of its counts, with their variance."""
        if name not in self.made:
            return self._nets_of_sum(name)
        if name not in self._nets_made:
            spectrum = self.made[name]
            self._nets_made[name] = nets_of_a_count(spectrum, self.fit(spectrum))
        return self._nets_made[name]

    def _nets_of_sum(self, name: str) -> xr.Dataset:
        return nets_of_a_count(
            *(s.sel({PHASE: name}, drop=True) for s in (self.spectra, self.lines))
        )


def _relative_error(spectrum: xr.Dataset) -> float:
    """Return the relative error of all counts of a spectrum, that of a subtraction's scale too."""
    variance = float(spectrum.variance.sum())
    if "scale_slope" in spectrum:
        variance += float(spectrum.scale_slope.sum()) ** 2 * float(spectrum.scale_variance)
    return variance**0.5 / max(float(spectrum.counts.sum()), 1.0)


def _less(
    region: xr.Dataset,
    reference: xr.Dataset,
    scale: tuple[str, ...] | float,
    elements: Sequence[str],
) -> xr.Dataset:
    """Return a region less as much of a reference as its lines tell, or that share of its counts.

    A reference may be thicker there than where it is pure, as a shell about its core: the scale is
    sought as its share of the region's counts, and given for a pixel.
    """
    thicker = float(region.counts.sum() / region.n_pixels * reference.n_pixels)
    thicker /= float(reference.counts.sum())
    as_thick = reference.assign(n_pixels=reference.n_pixels / thicker)
    with warnings.catch_warnings():  # the attribute `warnings` has them
        warnings.simplefilter("ignore", SubtractionWarning)
        one = scale[0] if isinstance(scale, tuple) and len(scale) == 1 else scale
        rest = subtract_phase(region, as_thick, scale=one, elements=elements)
    of_a_pixel = {n: rest[n] * thicker for n in ("scale", "scale_by_counts")}
    of_a_pixel |= {"scale_variance": rest.scale_variance * thicker**2}
    of_a_pixel |= {"scale_slope": rest.scale_slope / thicker}
    return rest.assign({n: v.assign_attrs(rest[n].attrs) for n, v in of_a_pixel.items()})


def too_noisy(phase: str, spectrum: xr.Dataset) -> list[str]:
    """Say so when noise turns the spectrum away from itself by more than a few degrees."""
    noise = float(spectrum.variance.sum()) ** 0.5
    signal = max(float((spectrum.counts**2 - spectrum.variance).sum()), 1e-9) ** 0.5
    angle = float(np.degrees(np.arctan2(noise, signal)))
    if angle <= NOISE_ANGLE_DEG:
        return []
    return [
        f"{phase}: too few counts, noise turns its spectrum by {angle:.0f} degrees; do not report "
        "its composition"
    ]
