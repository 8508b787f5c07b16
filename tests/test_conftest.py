"""What the tests themselves rely on."""

import os
import subprocess
import sys
from pathlib import Path

import distributed
import pytest
from conftest import close_client_left
from hypothesis import HealthCheck, settings
from support import draw


def test_close_client_left__tells_and_closes(workers):
    assert not close_client_left()
    left = distributed.Client(workers)
    assert close_client_left()
    assert left.status == "closed"
    with pytest.raises(ValueError, match="No clients found"):
        distributed.default_client()
    assert workers.status.name == "running"  # it goes on for the next test


def test_settings__no_time_limits_of_single_examples():
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check


def test_timeout__is_on(request):
    assert request.config.getini("timeout") == "600"


NAMES = [f"tests/test_some.py::test_{i}" for i in range(400)]


def test_drawn__one_in_some_and_others_for_each_commit(monkeypatch):
    seen = []
    for commit in ("a1", "b2"):
        monkeypatch.setenv("EDS_XR_DRAW", commit)
        seen.append({name for name in NAMES if draw.drawn(name)})
        assert seen[-1] == {name for name in NAMES if draw.drawn(name)}
        assert 40 < len(seen[-1]) < 95
        assert len([name for name in NAMES if draw.drawn(name, 12)]) < 55
    assert len(seen[0] & seen[1]) < 30


def test_drawn__each_test_within_a_few_commits(monkeypatch):
    left = set(NAMES)
    for commit in range(60):
        monkeypatch.setenv("EDS_XR_DRAW", str(commit))
        left -= {name for name in left if draw.drawn(name)}
    assert not left


FILE = """
import pytest

@pytest.mark.slow
@pytest.mark.parametrize("i", range(40))
def test_slow(i): ...

def test_quick(): ...
"""


@pytest.mark.parametrize(
    ("given", "required", "all_run"),
    [(".", "", False), (".", "slow", True), ("test_some.py", "", True), (".", "network", False)],
)
def test_leave_out__slow_tests_that_are_not_drawn(tmp_path, given, required, all_run):
    tests = Path(__file__).parent
    (tmp_path / "test_some.py").write_text(FILE)
    (tmp_path / "conftest.py").write_text(
        "from support.draw import leave_out\n"
        "def pytest_collection_modifyitems(config, items): leave_out(config, items)\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    environment = os.environ | {"PYTHONPATH": str(tests), "EDS_XR_REQUIRE": required}
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", given]
    said = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True
    ).stdout
    assert "test_quick" in said
    assert ("deselected" not in said) == all_run
    assert (said.count("test_slow[") == 40) == all_run
    assert said.count("test_slow[") > 0
