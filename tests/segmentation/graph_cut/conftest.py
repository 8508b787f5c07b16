"""Small bands and tiles, and PyMaxflow out of the way."""

import sys

import pytest

from eds_xr.segmentation.graph_cut import expansion, pymaxflow, tiles


@pytest.fixture
def no_pymaxflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where PyMaxflow is not installed."""
    monkeypatch.setitem(sys.modules, "maxflow", None)


@pytest.fixture
def narrow_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have our own solver join many bands."""
    monkeypatch.setattr(pymaxflow, "MOST_PIXELS", 0)
    monkeypatch.setattr(expansion, "BAND_PIXELS", 60)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "PLANE_TILE", (1, 32, 32))
    monkeypatch.setattr(tiles, "PLANE_HALO", (0, 12, 12))
    monkeypatch.setattr(tiles, "VOLUME_TILE", (8, 16, 16))
    monkeypatch.setattr(tiles, "VOLUME_HALO", (3, 6, 6))
