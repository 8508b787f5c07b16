"""Errors of net counts by where they come from, and what spectra of one call share of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from eds_xr.spectra.line_fits.doubts import lines_off_tables
from eds_xr.spectra.shapes.learning import Learned, response
from eds_xr.spectra.shapes.weak_knowledge import COMMON, EFFECTS


@dataclass(frozen=True)
class ByParameter:
    """How net counts of lines answer to what is known of peaks only within limits."""

    learned: Learned
    names: tuple[str, ...]
    columns: np.ndarray
    shares: np.ndarray

    @cached_property
    def off_tables(self) -> list[str]:
        """Lines whose weight or place had to leave what the tables allow."""
        return lines_off_tables(self.learned.x[COMMON:], self.learned.weak.of_lines)

    def slopes(
        self, design: np.ndarray, amounts: np.ndarray, covariance: np.ndarray, variance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the changes of amounts [family, parameter] and of net counts [line, parameter].

        For the fit of a spectrum.
        """
        families = self.learned.shapes.peaks.shape[1]
        smooth = design[:, families:] @ amounts[families:]
        slopes = self.learned.shapes.slopes(amounts[:families], smooth)
        by_amount = response(design, slopes, variance, covariance)[:families]
        own = self.learned.weak.net_slopes(self.learned.x, self.names)
        net = amounts[self.columns] * self.shares
        return by_amount, by_amount[self.columns] * self.shares[:, None] + own * net[:, None]

    def correlation(self, counting: np.ndarray, by_amount: np.ndarray) -> np.ndarray:
        """Return the correlation of amounts, all errors together [family, family]."""
        errors = [by_amount @ mode for mode in self.learned.modes.values()]
        total = counting + sum((e @ e.T for e in errors), np.zeros_like(counting))
        sd = np.sqrt(np.diagonal(total))
        return total / np.outer(sd, sd)

    def blank_variance(
        self, line: int, design: np.ndarray, amounts: np.ndarray, covariance: np.ndarray,
        variance: np.ndarray,
    ) -> float:  # fmt: skip
        """Return the variance of a line's net counts due to the peaks of other families."""
        families, column = self.learned.shapes.peaks.shape[1], int(self.columns[line])
        others = amounts[:families].copy()
        others[column] = 0.0
        row = covariance[column] @ (design / variance[:, None]).T
        smooth = design[:, families:] @ amounts[families:]
        slopes = row @ self.learned.shapes.slopes(others, smooth) * self.shares[line]
        return float(sum(((slopes @ mode) ** 2).sum() for mode in self.learned.modes.values()))


def by_effect(
    counting: np.ndarray, slopes: np.ndarray, learned: Learned, misfit: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the covariances by effect, the errors that spectra share, and their effects.

    Parameters
    ----------
    counting : ndarray [spectrum, line, line]
        Covariance of each spectrum's own errors.
    slopes : ndarray [spectrum, line, parameter]
    misfit : ndarray [spectrum, line]
        How many times the expected variance is found at each line: what is beyond is of the shape.

    Returns
    -------
    ndarray [effect, spectrum, line, line], ndarray [mode, spectrum, line], list of str [mode]
    """
    covariance = np.zeros((len(EFFECTS), *counting.shape))
    covariance[EFFECTS.index("counting")] = counting
    wider = np.sqrt(np.maximum(misfit - 1, 0))
    covariance[EFFECTS.index("shape")] = counting * wider[..., :, None] * wider[..., None, :]
    shared, effects = [], []
    for i, effect in enumerate(EFFECTS):
        errors = slopes @ learned.modes[effect]  # [spectrum, line, mode]
        covariance[i] += errors @ np.swapaxes(errors, -1, -2)
        few = _fewest(errors.reshape(slopes.shape[0] * slopes.shape[1], errors.shape[2]))
        shared.append(few.T.reshape(-1, *errors.shape[:-1]))
        effects += [effect] * few.shape[1]
    return covariance, np.concatenate(shared), effects


def mode_coords(learned: Learned, effects: Sequence[str]) -> dict[str, Any]:
    """Return the coordinates of shared errors; modes of different fits have different names."""
    digest = hashlib.sha256(learned.x.round(3).tobytes()).hexdigest()[:8]
    names = [f"{effect} {i} of {digest}" for i, effect in enumerate(effects)]
    return {"mode": names, "mode_effect": ("mode", np.array(effects, dtype=str))}


def _fewest(errors: np.ndarray) -> np.ndarray:
    """Return as few columns as have the same products with one another [number, mode]."""
    numbers, modes = errors.shape
    if not modes or not numbers:
        return errors[:, :0]
    left, size, _ = np.linalg.svd(errors, full_matrices=False)
    kept = size > 1e-7 * max(float(size[0]), 1e-300)
    return left[:, kept] * size[kept]
