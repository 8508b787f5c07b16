"""Components that still hold some of another one, in which they lie everywhere.

Rays are seen from the matrix. Where a phase lies in or on another one everywhere (a core within
its shell, metal on an oxide that lies on a film), no ray leads to it: the component holds some of
its host as well, as much as its pixels hold on average.
"""

from __future__ import annotations

import numpy as np

#: Pixels hold some of a component from here to here [of its share in the richest].
SOME, MUCH = 0.15, 0.6
#: The richest pixels: this quantile of those that hold any.
RICHEST = 0.95
#: A host lies in this part of the pixels that hold some of what it holds, that is, has this share
#: of their counts; and its mean share there is so many times what it is elsewhere.
NEARLY_ALL, HELD, MORE_THAN_ELSEWHERE = 0.7, 0.1, 2.0
#: Or the richest pixels hold so much less than nothing of it: the component holds too much.
LESS_THAN_NOTHING = -0.1
#: Of fewer pixels than this nothing is said.
FEWEST = 8


def hosts_of(
    share: np.ndarray, sigma: np.ndarray, c: int, others: list[int], *, piled: bool
) -> list[int]:
    """Return those of the other components that component `c` lies in everywhere, and holds.

    Parameters
    ----------
    share, sigma : ndarray [pixel, component]
        Of a pixel's counts, and its standard deviation.
    c : int
    others : list of int
        Components that may be hosts: not the matrix.
    piled : bool
        Its pixels pile up where the component ends, as those of a layer between two others do, too:
        then only what the richest pixels hold less than nothing of is a host.
    """
    held = share[:, c] > np.maximum(HELD, 4 * sigma[:, c])
    if np.count_nonzero(held) < FEWEST:
        return []
    most = np.quantile(share[held, c], RICHEST)
    some = held & (share[:, c] > SOME * most) & (share[:, c] < MUCH * most)
    rich, none = share[:, c] > MUCH * most, share[:, c] < 0.05 * most
    if min(np.count_nonzero(some), np.count_nonzero(none)) < FEWEST:
        return []
    return [
        h
        for h in others
        if share[rich, h].mean() < LESS_THAN_NOTHING
        or (
            not piled
            and (share[some, h] > HELD).mean() > NEARLY_ALL
            and share[some, h].mean() > MORE_THAN_ELSEWHERE * share[none, h].mean()
        )
    ]
