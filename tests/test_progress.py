"""Progress goes to standard error, where someone looks."""

import dask.array as da
import distributed
import pytest

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
