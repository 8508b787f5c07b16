"""Slow tests: one in some of them is drawn, and all where they are asked for.

The suite has to end within the time that people wait for it. Which tests run follows from their
names and from ``EDS_XR_DRAW``: each text there draws others, the same text always the same.
``EDS_XR_REQUIRE=slow`` asks for all, as does naming a file of tests on the command line.
"""

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

#: One in so many slow tests is drawn.
PARTS = 6


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow tests that are not drawn; pytest's summary counts them as deselected."""
    named = any("::" in each or Path(each).is_file() for each in config.args)
    if named or "slow" in os.environ.get("EDS_XR_REQUIRE", "").split(","):
        return
    kept, left = [], []
    for item in items:
        mark = item.get_closest_marker("slow")
        (kept if mark is None or drawn(item.nodeid, *mark.args) else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


def drawn(name: str, parts: int = PARTS) -> bool:
    """Return whether the slow test of this name runs, one in `parts`."""
    seed = os.environ.get("EDS_XR_DRAW", "")
    return zlib.crc32(f"{seed} {name}".encode()) % parts == 0


def slow_but(names: Iterable[str], always: Iterable[str], parts: int = PARTS) -> list[Any]:
    """Return parameters of a test that is slow for all `names` but those that run `always`."""
    kept, slow = set(always), pytest.mark.slow(parts)
    return [n if n in kept else pytest.param(n, marks=slow) for n in sorted(names)]
