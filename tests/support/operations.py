"""Operations that a slow test over all of them tries: some drawn by a seed, or all."""

import os
import zlib
from collections.abc import Iterable

#: ``EDS_XR_REQUIRE=operations`` asks for all.
EVERY = "operations"
#: One in so many is drawn.
PARTS = 8


def drawn(names: Iterable[str], *, seed: int, always: Iterable[str] = ()) -> list[str]:
    """Return `always` and one in `PARTS` of the others; each seed draws others."""
    if EVERY in os.environ.get("EDS_XR_REQUIRE", ""):
        return sorted(names)
    kept = set(always)
    return sorted(n for n in names if n in kept or zlib.crc32(f"{seed} {n}".encode()) % PARTS == 0)
