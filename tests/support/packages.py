"""Packages that only some tests need: these are skipped without, or must run."""

import os
from importlib.util import find_spec

import pytest


def needs(kind: str, *packages: str) -> pytest.MarkDecorator:
    """Skip a test where a package is missing, unless EDS_XR_REQUIRE names the kind of test."""
    missing = [name for name in packages if find_spec(name) is None]
    required = kind in os.environ.get("EDS_XR_REQUIRE", "").split(",")
    reason = f"not installed: {', '.join(missing)}"
    return pytest.mark.skipif(bool(missing) and not required, reason=reason)
