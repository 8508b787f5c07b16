"""Commands that serve an app, each run as a command of its own."""

import http.client
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

pytest.importorskip("panel", reason="the extra 'label' is not installed")

from typer.testing import CliRunner  # noqa: E402

from eds_xr import cli, save, simulate  # noqa: E402
from eds_xr.schema import EdsError  # noqa: E402


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "scan.zarr"
    save(simulate.spectrum_image((32, 32, 256), 100.0, seed=1), path)
    return path


def address_of(errors: IO[str]) -> tuple[int, str]:
    """Return port and token that the command prints."""
    for line in errors:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line)
        if found:
            return int(found[1]), found[2]
    raise AssertionError("the command printed no address")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "end"),
    [("explore", signal.SIGINT), ("label", signal.SIGTERM)],  # both end by one server's code
)
def test_commands__serve_until_they_are_interrupted(
    store: Path, command: str, end: signal.Signals
) -> None:
    code = "from eds_xr.cli import main; main()"
    arguments = [sys.executable, "-c", code, command, str(store), "--no-browser"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        port, token = address_of(running.stderr)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("GET", "/", headers={"Cookie": f"eds_xr_{port}={token}"})
        answer = connection.getresponse()
        assert answer.status == 200
        assert "scan.zarr" in answer.read().decode()
        connection.close()
        running.send_signal(end)
        told = running.stderr.read()
        assert running.wait() == (0 if end is signal.SIGINT else 128 + end)
    assert "Traceback" not in told


def test_explore__of_no_store(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["explore", str(tmp_path / "none.zarr"), "--no-browser"])
    assert isinstance(done.exception, EdsError)
    assert "no such store" in str(done.exception)


def test_explore__without_the_extra(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eds_xr.app.serving.extra.find_spec", lambda _: None)
    done = CliRunner().invoke(cli.app, ["explore", str(store), "--no-browser"])
    assert isinstance(done.exception, EdsError)
    assert "pip install 'eds-xr[label]'" in str(done.exception)


def test_explore__another_address_warns(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        "eds_xr.app.serving.server.serve", lambda view, **options: asked.update(options)
    )
    arguments = ["explore", str(store), "--address", "0.0.0.0", "--port", "7777"]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    assert (asked["address"], asked["port"], asked["show"]) == ("0.0.0.0", 7777, True)
