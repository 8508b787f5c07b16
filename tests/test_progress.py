"""Progress is shown where someone looks: on a terminal, or in Jupyter."""

import signal
import sys
import threading
import time
from types import SimpleNamespace

import dask
import dask.array as da
import distributed
import numpy as np
import pytest
import xarray as xr

import eds_xr
from eds_xr.progress import counting, progress, say_where_watched, track


@pytest.fixture
def at_once(monkeypatch):
    """Lines of what takes no second, too."""
    monkeypatch.setattr("eds_xr.progress.LEAST_SECONDS", 0.0)
    monkeypatch.setattr("eds_xr.progress.EVERY_SECONDS", 0.01)


@pytest.fixture
def in_jupyter(monkeypatch):
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def slow_sum(blocks: int) -> None:
    da.ones(blocks, chunks=1).map_blocks(lambda x: (time.sleep(0.03), x)[1]).sum().compute()


@pytest.mark.parametrize("enabled", [None, False])
def test_progress__silent_where_nobody_looks(
    at_once: None, enabled: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("adding up", enabled=enabled):
        assert da.ones(10).sum().compute() == 10
    assert list(track(range(3), "counting", total=3, enabled=enabled)) == [0, 1, 2]
    with counting("NMF", enabled=enabled) as on_step:
        assert on_step is None
    say_where_watched("elements")
    assert capsys.readouterr() == ("", "")


def test_progress__silent_of_what_takes_no_second(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("adding up", enabled=True):
        da.ones(10).sum().compute()
    assert capsys.readouterr() == ("", "")


def test_progress__bar(at_once: None, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("adding up", enabled=True):
        slow_sum(10)
    out, err = capsys.readouterr()
    shown = err.split("\r")
    assert out == ""
    assert any("adding up [####" in line for line in shown)
    assert shown[-1].startswith("adding up, ")
    assert shown[-1].endswith("\n")


def test_progress__bar_in_jupyter(
    at_once: None, in_jupyter: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("adding up"):
        slow_sum(10)
    say_where_watched("elements of the whole map")
    out, err = capsys.readouterr()
    assert "adding up [####" in out
    assert out.endswith("\nelements of the whole map\n")
    assert err == ""


def test_progress__one_line_for_what_is_within(
    at_once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("finding phases", enabled=True):
        with counting("NMF", enabled=True) as on_step:
            on_step(3, 1234.0)
            time.sleep(0.1)
        for _ in track(range(4), "cutting", total=4, enabled=True):
            time.sleep(0.05)
    err = capsys.readouterr().err
    assert "finding phases: NMF step 3, deviance 1234" in err
    assert "finding phases: cutting [" in err
    assert err.count("\n") == 1


def test_progress__has_something_to_tell_from_its_begin_to_its_end(
    at_once: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The thread that writes ended with an error where it looked before, or after."""
    monkeypatch.setattr("eds_xr.progress.EVERY_SECONDS", 0.0)
    for _ in range(100):
        with counting("NMF", enabled=True):
            pass
    assert "NMF" in capsys.readouterr().err


def test_progress__interrupted_leaves_nothing_running(
    at_once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []

    @dask.delayed
    def work(i: int) -> None:
        ran.append(i)
        if len(ran) == 5:  # whichever that is: Dask has an order of its own
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.02)

    with pytest.raises(KeyboardInterrupt), progress("working", enabled=True):
        dask.compute([work(i) for i in range(2000)], scheduler="threads", num_workers=2)
    time.sleep(0.1)
    done = len(ran)
    assert done < 100
    time.sleep(0.2)
    assert len(ran) == done
    assert "eds_xr progress" not in [thread.name for thread in threading.enumerate()]


def test_progress__dashboard_of_a_cluster(
    client: distributed.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("adding up", enabled=True):
        da.ones(10).sum().compute()
    assert f"adding up: follow it at {client.dashboard_link}" in capsys.readouterr().err


def test_track__bar(at_once: None, capsys: pytest.CaptureFixture[str]) -> None:
    seen = [(time.sleep(0.05), c)[1] for c in track("abc", "counting", total=3, enabled=True)]
    out, err = capsys.readouterr()
    assert seen == ["a", "b", "c"]
    assert out == ""
    assert "counting [########                ] 33%" in err


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
