"""Damaged files of every format: an error or all of the counts, soon, in bounded memory.

Two hundred mutations a format, fewer of those that open slowly; all are read to the last row, one
in fifty is converted. ``tests/benchmarks/fuzz_readers.py`` converts some hundred times as many.
"""

import ctypes
import time
from pathlib import Path

import numpy as np
import pytest
from support import fuzzing
from support.fuzz_seeds import HOSTILE, SEEDS

from eds_xr.schema import EdsError

#: By way of HDF5, with a process that looks first; and of xarray and netCDF's library besides.
FEW = {"emd": 100, "hspy": 100, "netcdf": 60, "pts": 100, "zspy": 100}


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEDS)
def test_convert__mutated(name: str) -> None:
    count = FEW.get(name, 200)
    report = fuzzing.run(SEEDS[name](), range(count), whole_every=50)
    assert not report.failures, "\n".join(report.failures[:5])
    assert report.stores + report.errors == count
    assert report.stores > 0
    assert report.errors > 0


@pytest.mark.parametrize("name", HOSTILE)
def test_convert_and_open__hostile(name: str) -> None:
    ends = {n: fuzzing.try_hostile(HOSTILE[name], n) for n in range(30)}
    assert {n: end for n, end in ends.items() if end != "refused"} == {}


# --- the harness itself finds what it shall find -----------------------------------------------


class Misbehaving(fuzzing.Attempt):
    """Ends badly, each time in another way, after the seed itself was read."""

    tried = -1

    def _stream(self) -> None:
        self.tried += 1
        number = self.tried
        if number == 1:
            raise ValueError("no error of ours")
        if number == 2:
            (self.temporary / "forgotten").touch()
            raise EdsError("of ours")
        if number == 3:
            try:
                np.ones(2 * fuzzing.MEMORY_BYTES, "u1")
            except MemoryError as error:
                raise EdsError("too large") from error
        if number == 4:
            ctypes.string_at(0)
        super()._stream()


class Hanging(fuzzing.Attempt):
    tried = -1

    def _stream(self) -> None:
        self.tried += 1
        if self.tried == 2:
            time.sleep(60)


def test_run__reports_every_bad_end_and_goes_on() -> None:
    report = fuzzing.run(SEEDS["npy"](), range(30), workers=1, attempt=Misbehaving)
    texts = ["no error of ours", "left behind", "bytes asked for", "process died (exit code -11)"]
    assert len(report.failures) > len(texts)
    for text, failure in zip(texts, report.failures, strict=False):
        assert text in failure
    assert report.stores + report.errors + len(report.failures) == 30


@pytest.mark.slow
def test_run__reports_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "SECONDS", 3.0)
    report = fuzzing.run(SEEDS["npy"](), range(2), workers=1, attempt=Hanging)
    assert report.failures == ["npy mutation 1: no end after 3 s"]


def test_mutated__is_the_same_each_time_and_differs_from_the_seed() -> None:
    seed = SEEDS["npy"]()
    made = [fuzzing.mutated(seed, number) for number in range(200)]
    assert made == [fuzzing.mutated(seed, number) for number in range(200)]
    assert sum(content != seed.files[name] for name, content in made) > 190


def test_seed__holds_all_files_of_a_format(tmp_path: Path) -> None:
    assert set(SEEDS["spd"]().files) == {"map.spd", "map.spc", "image.ipr"}
