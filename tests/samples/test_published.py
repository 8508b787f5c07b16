"""The published spectrum images: verified, cached, never substituted."""

import io
import subprocess
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from eds_xr.samples import published
from eds_xr.schema import EdsError

CONTENT = {"71GPa": b"seventy-one", "88GPa": b"eighty-eight"}
REAL_71GPA = published._SAMPLES["71GPa"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDS_XR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small archive in the place of the published one."""
    small = {
        name: published._Sample(f"{name}.hspy", sha256(content).hexdigest())
        for name, content in CONTENT.items()
    }
    path = tmp_path / "small.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, sample in small.items():
            member = tarfile.TarInfo(sample.member)
            member.size = len(CONTENT[name])
            tar.addfile(member, io.BytesIO(CONTENT[name]))
        tar.addfile(tarfile.TarInfo("../escape"))
    monkeypatch.setattr(published, "_SAMPLES", small)
    monkeypatch.setattr(published, "_ARCHIVE_SHA256", sha256(path.read_bytes()).hexdigest())
    return path


def pip_that_brings(archive: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("--dest") + 1])
        wanted = Path(command[command.index("--requirement") + 1]).read_text()
        assert f"--hash=sha256:{published._ARCHIVE_SHA256}" in wanted
        (folder / "espm-1.1.3.tar.gz").write_bytes(archive.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


def no_network(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found")


def test_fetch__unknown_name() -> None:
    with pytest.raises(EdsError, match="name must be one of '71GPa', '88GPa', found '46GPa'"):
        published.fetch("46GPa")


def test_fetch__then_offline(
    cache: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "run", pip_that_brings(archive))
    path = published.fetch("71GPa")
    assert path.read_bytes() == CONTENT["71GPa"]
    assert "fetching the source archive" in capsys.readouterr().err
    monkeypatch.setattr(subprocess, "run", no_network)
    assert published.fetch("71GPa") == path
    assert published.fetch("88GPa").read_bytes() == CONTENT["88GPa"]  # came in the same archive
    assert capsys.readouterr().err == ""
    assert sorted(p.name for p in cache.iterdir()) == ["71GPa.hspy", "88GPa.hspy"]
    assert not (cache.parent / "escape").exists()


def test_fetch__damaged_cache_is_fetched_again(
    cache: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = published.fetch("71GPa", archive=archive)
    path.write_bytes(b"seventy-two")
    monkeypatch.setattr(subprocess, "run", pip_that_brings(archive))
    assert published.fetch("71GPa").read_bytes() == CONTENT["71GPa"]
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.usefixtures("cache")
def test_fetch__no_network_names_the_cures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", no_network)
    with pytest.raises(EdsError, match=r"No matching distribution.*archive=PATH.*file=PATH"):
        published.fetch("71GPa")


@pytest.mark.usefixtures("cache")
def test_fetch__pip_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], *, timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired("pip", timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(EdsError, match=r"timed out after 600 seconds; with the archive at hand"):
        published.fetch("71GPa")


@pytest.mark.usefixtures("cache")
def test_fetch__python_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(published.sys, "executable", str(python))
    with pytest.raises(EdsError, match="No module named pip; with the archive at hand"):
        published.fetch("71GPa")


def test_fetch__wrong_archive_is_not_used(cache: Path, archive: Path) -> None:
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(EdsError, match=r"small\.tar\.gz is not the published archive .*not used"):
        published.fetch("71GPa", archive=archive)
    assert not cache.exists()


def test_fetch__wrong_member_is_not_used(
    cache: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = published._Sample("71GPa.hspy", "0" * 64)
    monkeypatch.setitem(published._SAMPLES, "71GPa", wrong)
    with pytest.raises(EdsError, match=r"is not the published 71GPa\.hspy"):
        published.fetch("71GPa", archive=archive)
    assert list(cache.iterdir()) == []


def test_fetch__file_at_hand(cache: Path, archive: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.hspy"
    file.write_bytes(CONTENT["88GPa"])
    assert published.fetch("88GPa", file=file) == cache / "88GPa.hspy"
    assert published.fetch("88GPa", file=cache / "88GPa.hspy").read_bytes() == CONTENT["88GPa"]
    with pytest.raises(EdsError, match=r"mine\.hspy is not the published 71GPa\.hspy"):
        published.fetch("71GPa", file=file)
    with pytest.raises(EdsError, match="no such file"):
        published.fetch("71GPa", file=tmp_path / "none.hspy")


@pytest.mark.usefixtures("archive")
def test_fetch__cache_that_cannot_be_written(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDS_XR_CACHE", str(archive / "below_a_file"))
    with pytest.raises(EdsError, match="set EDS_XR_CACHE to a folder that can be written"):
        published.fetch("71GPa", archive=archive)


@pytest.mark.network
def test_fetch__published_file(sample: Callable[[str], Path]) -> None:
    assert sha256(sample("71GPa").read_bytes()).hexdigest() == REAL_71GPA.sha256
