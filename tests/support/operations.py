"""Operations that a slow test over all of them tries: some drawn by a seed, or all."""

import os
import zlib
from collections.abc import Iterable

#: ``EDS_XR_REQUIRE=operations`` asks for all.
EVERY = "operations"
#: One in so many is drawn.
PARTS = 8
#: Those that take more than two seconds of a small image; all others take half of one on average.
COSTLY = {
    "analyse", "extend_loadings", "find_strangers", "identify", "label", "mixing_intervals",
    "pixel_features", "quantify_zeta", "segment", "segment_painted", "suggest_rank",
    "thickness_map",
}  # fmt: skip


def drawn(names: Iterable[str], *, seed: int, always: Iterable[str] = ()) -> list[str]:
    """Return `always` and one in `PARTS` of the others; each seed draws others."""
    if EVERY in os.environ.get("EDS_XR_REQUIRE", ""):
        return sorted(names)
    kept = set(always)
    return sorted(n for n in names if n in kept or zlib.crc32(f"{seed} {n}".encode()) % PARTS == 0)


def drawn_of_costly(names: Iterable[str], *, seed: int, always: Iterable[str] = ()) -> list[str]:
    """Return all that are not `COSTLY`, `always`, and one in `PARTS` of the others."""
    every = set(names)
    return drawn(every, seed=seed, always=(every - COSTLY) | set(always))
