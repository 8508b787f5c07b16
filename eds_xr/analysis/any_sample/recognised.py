"""Components recognised by a recipe, from the shares of their lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from eds_xr.analysis.recipe import PhaseRecipe
from eds_xr.schema import ELEMENT, LINE, EdsError

#: A component whose shares point further than this from a phase's is not that phase [deg].
MOST_ANGLE_DEG = 45.0


def line_shares(lines: xr.Dataset, elements: Sequence[str]) -> list[dict[str, float]]:
    """Return each spectrum's shares of the net counts of these elements, a dictionary each."""
    names = lines[ELEMENT].values.tolist()
    own = [names.index(e) for e in elements if e in names]
    net = lines.net.isel({LINE: own}).clip(min=0).transpose(..., LINE)
    share = (net / net.sum(LINE)).fillna(0.0).values.reshape(-1, len(own))
    return [{names[i]: float(v) for i, v in zip(own, row, strict=True)} for row in share]


def recognised(shares: Sequence[Mapping[str, float]], phases: Sequence[PhaseRecipe]) -> list[str]:
    """Return the name of the phase that each component is, "" for those of no phase.

    One to one, by the least sum of angles between shares.

    Raises
    ------
    EdsError
        When a phase of the recipe is not like any component.
    """
    from scipy.optimize import linear_sum_assignment

    known = [phase for phase in phases if phase.like]
    names = [""] * len(shares)
    if not known:
        return names
    angles = np.array([[_angle(phase.like or {}, one) for one in shares] for phase in known])
    if len(known) > len(shares):
        raise EdsError(
            f"the recipe names {len(known)} phases, the map has {len(shares)}; leave some out, or "
            "raise [phases] number"
        )
    for row, column in zip(*linear_sum_assignment(angles), strict=True):
        phase = known[row]
        if angles[row, column] > MOST_ANGLE_DEG:
            nearest = shares[int(np.argmin(angles[row]))]
            told = ", ".join(f"{e} = {v:.2f}" for e, v in nearest.items() if v >= 0.01)
            raise EdsError(
                f"[[phase]] {phase.name}: no component is like it; the nearest has {{{told}}}. "
                "Leave the phase out, or change 'like'"
            )
        names[column] = phase.name
    return names


def _angle(like: Mapping[str, float], share: Mapping[str, float]) -> float:
    """Return the angle between two sets of shares [deg]; what one does not name is zero."""
    elements = sorted({*like, *share})
    a, b = (np.array([one.get(e, 0.0) for e in elements]) for one in (like, share))
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 90.0 if size == 0 else float(np.degrees(np.arccos(min(1.0, float(a @ b) / size))))
