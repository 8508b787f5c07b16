"""What several readers share: chunks decoded once, limits, damage, the guard before HDF5."""

import os
import queue
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
import xraydb
from hypothesis import given
from hypothesis import strategies as st
from support.reading import COUNTS

from eds_xr import readers
from eds_xr.readers import chunked_blocks
from eds_xr.readers.guards import hdf5 as hdf5_guard
from eds_xr.readers.guards import sizes
from eds_xr.readers.guards.damage import damage_named
from eds_xr.schema import EdsError
from eds_xr.xray.elements import NATURAL_ELEMENTS, SYMBOLS, symbols

# --- chunks ------------------------------------------------------------------------------------

SHAPES = st.lists(st.integers(1, 9), min_size=2, max_size=4).map(tuple)


@given(SHAPES, st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_row_blocks__of_any_chunks(
    shape: tuple[int, ...], height: int, rows: int, small_bands: bool
) -> None:
    values = np.random.default_rng(0).integers(0, 9, shape, dtype=np.uint16)
    chunks = tuple(min(n, height) for n in shape)
    with pytest.MonkeyPatch.context() as patch:
        if small_bands:
            patch.setattr(chunked_blocks, "_BAND_BYTES", 16)
        blocks = chunked_blocks.row_blocks(values.__getitem__, shape, values.dtype, chunks, rows)
        for region, block in zip(readers.row_regions(shape, rows), blocks, strict=True):
            np.testing.assert_array_equal(block, values[region])


@pytest.mark.parametrize("band_bytes", [16, 2**30])
def test_row_blocks__each_high_chunk_is_read_once(
    monkeypatch: pytest.MonkeyPatch, band_bytes: int
) -> None:
    monkeypatch.setattr(chunked_blocks, "_BAND_BYTES", band_bytes)
    values, reads = np.ones((64, 4, 8), "u1"), np.zeros((64, 4, 8), int)

    def read(region: readers.protocol.Region) -> np.ndarray:
        reads[region] += 1
        return values[region]

    list(chunked_blocks.row_blocks(read, values.shape, values.dtype, (32, 4, 8), 4))
    assert (reads == 1).all()


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 4, 8), (4, 4, 0), (4, -4, 8), (2**16, 2**16, 8), (4, 2**16)])
def test_check_shape__refuses(shape: tuple[int, ...]) -> None:
    with pytest.raises(EdsError, match="its header is damaged"):
        sizes.check_shape("a.raw", shape)


def test_check_shape__largest() -> None:
    sizes.check_shape("a.raw", (2**15, 2**16, 65_535))


def test_check_compression__sparse_is_fine_absurd_is_not() -> None:
    sizes.check_compression("a.zspy", (1024, 1024, 4096), np.dtype("u2"), 10 * 2**20)
    with pytest.raises(EdsError, match=r"34\.4 GB, but has 1,000 bytes"):
        sizes.check_compression("a.zspy", (2048, 2048, 4096), np.dtype("u2"), 1000)


def test_check_fits_memory__tells_both_figures() -> None:
    with pytest.raises(EdsError, match=r"a\.dm4: all of it needs 1,000,000\.0 GB .* GB are free"):
        sizes.check_fits_memory("a.dm4", 10**15, "all of it")


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [KeyError("x"), OSError("y"), RecursionError(), ZeroDivisionError()]
)
def test_damage_named__every_error_becomes_ours(error: Exception) -> None:
    with pytest.raises(EdsError, match=f"cannot read a.x: {type(error).__name__}") as raised:
        with damage_named(Path("a.x")):
            raise error
    assert raised.value.__cause__ is error


def test_damage_named__interrupts_pass() -> None:
    with pytest.raises(KeyboardInterrupt), damage_named(Path("a.x")):
        raise KeyboardInterrupt


def test_symbols__in_order() -> None:
    assert symbols([98, 1, 26, 0, 99, 26]) == ["H", "Fe", "Cf"]
    assert list(SYMBOLS) == [xraydb.atomic_symbol(z) for z in range(1, 99)]
    assert (NATURAL_ELEMENTS[0], NATURAL_ELEMENTS[-1]) == ("Li", "U")


# --- the guard before HDF5 ---------------------------------------------------------------------


@pytest.fixture
def hdf5(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("counts", data=COUNTS, chunks=True)
        file["names"] = ["Mg", "Fe"]
    return tmp_path / "a.h5"


def test_check_hdf5__sound_file(hdf5: Path) -> None:
    hdf5_guard.check_hdf5(hdf5)


def test_check_hdf5__one_process_for_many_files(hdf5: Path) -> None:
    hdf5_guard.check_hdf5(hdf5)
    first = hdf5_guard._Probe.running().process.pid
    hdf5.with_name("b.h5").write_bytes(hdf5.read_bytes()[:3000])
    with pytest.raises(EdsError, match=r"cannot read b\.h5: .*cut short or damaged"):
        hdf5_guard.check_hdf5(hdf5.with_name("b.h5"))
    hdf5_guard.check_hdf5(hdf5)
    assert hdf5_guard._Probe.running().process.pid == first


def test_check_hdf5__crash_of_the_library(hdf5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = hdf5_guard._Probe.running()
    os.kill(probe.process.pid, signal.SIGSTOP)  # it crashes when it has been asked, not before

    class Answers(queue.SimpleQueue[bytes]):
        def get(self, block: bool = True, timeout: float | None = None) -> bytes:
            os.kill(probe.process.pid, signal.SIGSEGV)
            os.kill(probe.process.pid, signal.SIGCONT)
            return super().get(block, timeout)

    monkeypatch.setattr(probe, "said", Answers())
    with pytest.raises(EdsError, match=r"cannot read a\.h5: the HDF5 library crashes on it"):
        hdf5_guard.check_hdf5(hdf5)
    hdf5_guard.check_hdf5(hdf5)


def test_check_hdf5__process_that_died_unasked_is_no_fault_of_the_file(
    hdf5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = hdf5_guard._Probe.running()
    probe.process.kill()
    probe.process.wait()
    monkeypatch.setattr(probe.process, "poll", lambda: None)  # as long as the system is late
    with pytest.raises(BrokenPipeError):
        probe.ask(hdf5, everything=True)
    hdf5_guard.check_hdf5(hdf5)


def test_check_hdf5__library_that_hangs(hdf5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hdf5_guard.check_hdf5(hdf5)
    probe = hdf5_guard._Probe.running()
    monkeypatch.setattr(probe, "silence_s", 0.2)
    os.kill(probe.process.pid, signal.SIGSTOP)
    with pytest.raises(EdsError, match="a.h5: the HDF5 library does not come to an end with it"):
        hdf5_guard.check_hdf5(hdf5)
    assert probe.process.poll() == -signal.SIGKILL
    hdf5_guard.check_hdf5(hdf5)
