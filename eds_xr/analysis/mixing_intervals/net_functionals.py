"""Net counts of lines as weighted sums over channels: the same weights for all spectra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.arguments import beam_energy_of, check_range_kev, resolution_of
from eds_xr.schema import ENERGY, LINE, EdsError
from eds_xr.spectra.line_fits.chosen_lines import reported_lines
from eds_xr.spectra.shapes.background import flexible_background
from eds_xr.spectra.shapes.calibration import learned_shapes
from eds_xr.spectra.shapes.families import Family, Shapes, families_seen
from eds_xr.spectra.shapes.learning import Learned
from eds_xr.spectra.shapes.linear_fit import amount_weights, smooth_variance
from eds_xr.xray.own_detector import detector_of


class NetFunctionals(NamedTuple):
    """Net counts of lines as weighted sums, and what is not known of the peaks they are of."""

    weights: xr.DataArray  # [line, energy]
    fitted: slice  # the channels that are fitted
    of_shapes: np.ndarray  # [shape, fitted channel]: weights of amounts of families and background
    design: np.ndarray  # [fitted channel, shape]
    columns: np.ndarray  # [line]: its family
    shares: np.ndarray  # [line]: its share of the family
    learned: Learned

    def errors(self, spectra: np.ndarray) -> np.ndarray:
        """Return what one standard deviation of each error of peaks does [line, error, spectrum].

        Errors of calibration, weights and places of lines, tails: those of
        :func:`eds_xr.fit_lines`, to the net counts of spectra [spectrum, channel].
        """
        shapes, families = self.learned.shapes, self.learned.shapes.peaks.shape[1]
        modes = np.hstack(list(self.learned.modes.values()))
        names = [str(n) for n in self.weights[LINE].values]
        own = self.learned.weak.net_slopes(self.learned.x, names)
        found = []
        for spectrum in spectra:
            amounts = self.of_shapes @ spectrum[self.fitted]
            smooth = self.design[:, families:] @ amounts[families:]
            by_amount = -self.of_shapes[:families] @ shapes.slopes(amounts[:families], smooth)
            net = amounts[self.columns] * self.shares
            slopes = by_amount[self.columns] * self.shares[:, None] + own * net[:, None]
            found.append(slopes @ modes)
        return np.stack(found, axis=-1)


def net_functionals(
    total: xr.DataArray,
    asked: Sequence[str],
    elements: Sequence[str],
    range_kev: tuple[float, float],
) -> NetFunctionals:
    """Return weights ``[line, energy]`` of the net counts of a line of each family.

    Those that least squares give to all families of lines and a flexible background, with peaks,
    calibration and the noise of channels as the `total` spectrum teaches them; so lines that
    overlap are told apart. Of each family the line that was `asked` for, or its strongest.

    Parameters
    ----------
    total : DataArray [energy; counts]
    asked : sequence of str
        Lines, or elements, which stand for their principal lines.
    elements : sequence of str
        All that is in the spectra, stray elements too.
    range_kev : (float, float)
        Energies that are fitted; weights are zero elsewhere.

    Returns
    -------
    NetFunctionals
        The lines of `asked` come first, in its order and as often.
    """
    check_range_kev(range_kev)
    part = total.sel({ENERGY: slice(*range_kev)})
    if part.sizes[ENERGY] < 20:
        raise EdsError(
            f"only {part.sizes[ENERGY]} channels between {range_kev[0]} and {range_kev[1]} "
            "keV: widen range_kev"
        )
    energy, counts = part[ENERGY].values.astype(float), part.values.astype(float)
    beam, detector = beam_energy_of(total.attrs), detector_of(total.attrs)
    families = families_seen(elements, energy, beam, detector=detector)
    smooth = flexible_background(tuple(energy.tolist()), beam, detector)
    learned = learned_shapes(
        energy, counts[None], counts[None], families, beam, resolution_of(total.attrs),
        background=smooth,
    )  # fmt: skip
    smooth = smooth * learned.background_factor[:, None]
    shapes = Shapes(
        energy, learned.families, learned.calibration, beam, background=smooth, detector=detector
    )
    chosen = _lines(asked, elements, energy, beam, learned.families)
    shapes.check_separable(column for column, _ in chosen)
    of_shapes = amount_weights(shapes.design, smooth_variance(counts))
    columns, shares = (np.array(v) for v in zip(*chosen, strict=True))
    names = [_name(asked, n, learned.families, chosen) for n in range(len(chosen))]
    weights = xr.DataArray(
        shares[:, None] * of_shapes[columns], {LINE: names, ENERGY: part[ENERGY]}, (LINE, ENERGY)
    )
    first = int(np.searchsorted(total[ENERGY].values, energy[0]))
    fitted = slice(first, first + energy.size)
    weights = weights.reindex({ENERGY: total[ENERGY]}, fill_value=0.0)
    return NetFunctionals(weights, fitted, of_shapes, shapes.design, columns, shares, learned)


def _lines(
    asked: Sequence[str], elements: Sequence[str], energy: np.ndarray, beam: float,
    families: Sequence[Family],
) -> list[tuple[int, float]]:  # fmt: skip
    """Return family and share of the lines asked for, then of a line of each other family."""
    principal = reported_lines(elements, None, energy, beam, families)
    by_element = {name.split("_")[0]: name for name in principal}
    lines = []
    for name in asked:
        line = name if "_" in name else by_element.get(name)
        if line is None:
            raise EdsError(
                f"{name} has no line to take the net counts of: it is not among the elements "
                f"{', '.join(elements)}, or has no strong line between {energy[0]:.2f} and "
                f"{energy[-1]:.2f} keV; add it, or widen range_kev"
            )
        lines.append(line)
    places = reported_lines(elements, lines, energy, beam, families)
    found = [places[line] for line in lines]
    others = set(range(len(families))) - {column for column, _ in found}
    return found + [(n, max(families[n].groups.values())) for n in sorted(others)]


def _name(
    asked: Sequence[str], number: int, families: Sequence[Family], chosen: list[tuple[int, float]]
) -> str:
    column, share = chosen[number]
    groups = families[column].groups
    if number < len(asked) and "_" in asked[number]:
        return asked[number]
    return min(groups, key=lambda name: abs(groups[name] - share))
