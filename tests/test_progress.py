"""Progress goes to standard error, where someone looks."""

import sys
from types import SimpleNamespace

import dask.array as da
import distributed
import numpy as np
import pytest
import xarray as xr

import eds_xr
from eds_xr.progress import progress, track


@pytest.mark.parametrize("enabled", [None, False])
def test_progress__silent_where_nobody_looks(
    enabled: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("adding up", enabled=enabled):
        assert da.ones(10).sum().compute() == 10
    assert list(track(range(3), "counting", total=3, enabled=enabled)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_progress__bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("adding up", enabled=True):
        da.ones(10).sum().compute()
    out, err = capsys.readouterr()
    assert out == ""
    assert "adding up" in err
    assert "100% Completed" in err


def test_progress__bar_in_a_notebook_unasked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    with progress("adding up"):
        da.ones(10).sum().compute()
    assert "100% Completed" in capsys.readouterr().err


def test_progress__dashboard_of_a_cluster(
    client: distributed.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("adding up", enabled=True):
        da.ones(10).sum().compute()
    assert f"adding up: follow it at {client.dashboard_link}" in capsys.readouterr().err


def test_track__bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), "counting", total=3, enabled=True)) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "counting" in err


# --- warnings point at the user's line ------------------------------------------------------------


@pytest.fixture
def negative_rest() -> tuple[xr.Dataset, xr.Dataset]:
    """A mixture and a reference whose difference, pinned by Si, is far below zero at Fe."""
    energy = 0.005 + 0.01 * np.arange(1000)
    silicon, iron = (np.exp(-0.5 * ((energy - line) / 0.06) ** 2) for line in (1.74, 6.4))
    parts = {"mixture": 900 * silicon + 20, "reference": 1000 * silicon + 900 * iron + 20}
    axis = ("energy", energy, {"units": "keV"})
    mixture, reference = (
        xr.Dataset(
            {"counts": ("energy", values), "variance": ("energy", values), "n_pixels": 100},
            {"energy": axis},
        )
        for values in parts.values()
    )
    return mixture, reference


def test_warn__names_the_line_that_called_a_function(
    negative_rest: tuple[xr.Dataset, xr.Dataset],
) -> None:
    with pytest.warns(eds_xr.SubtractionWarning) as caught:
        eds_xr.subtract_phase(*negative_rest, scale="Si_Ka")
    assert {warning.filename for warning in caught} == {__file__}


def test_warn__names_the_line_that_called_a_method(
    negative_rest: tuple[xr.Dataset, xr.Dataset],
) -> None:
    mixture, reference = negative_rest
    with pytest.warns(eds_xr.SubtractionWarning) as caught:
        mixture.eds.subtract_phase(reference, scale="Si_Ka")
    assert {warning.filename for warning in caught} == {__file__}
