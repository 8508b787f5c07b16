"""Mutated files through the readers, in worker processes that may die.

A seed is a small whole file, or the files that belong together; mutation `number` of it is always
the same. Every mutation must end in an EdsError, or in a recording that streams to its last row
(where it is converted: in a complete store), with nothing left behind, within time and memory.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

import numpy as np

#: What a conversion may need beyond the libraries themselves.
MEMORY_BYTES = 2**30
SECONDS = 10.0
_BATCH = 100
#: Imported once, before any worker is forked.
PRELOADED = [
    "support.fuzzing",
    "dask.array",
    "eds_xr.readers.formats.jeol.event_stream",
    "eds_xr.readers.formats.labelled",
    "eds_xr.readers.formats.velox.event_stream",
    "eds_xr.store.conversion",
    "h5netcdf",
    "rsciio.edax",
    "rsciio.hspy",
    "zarr",
]
_EXTREMES = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)


@dataclass(frozen=True)
class Seed:
    """Files by name, of which `main` is the one to convert; ``""`` stands for their folder."""

    format: str
    files: Mapping[str, bytes]
    main: str

    @classmethod
    def of(cls, format: str, write: Callable[[Path], Any], main: str) -> Seed:
        """Make a seed of what ``write(folder / main)`` writes."""
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / main)
            paths = [p for p in sorted(Path(folder).rglob("*")) if p.is_file()]
            files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}
        return cls(format, files, main)


@dataclass
class Report:
    """What became of the mutations of a seed."""

    stores: int = 0
    errors: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    longest: float = 0.0


def run(
    seed: Seed,
    numbers: range,
    *,
    whole_every: int = 0,
    workers: int = 2,
    attempt: type[Attempt] | None = None,
) -> Report:
    """Try the mutations `numbers` of a seed; convert one in `whole_every`, stream the others."""
    report, batches = Report(), _batches(numbers)
    begun = time.monotonic()
    pool = [_Worker(seed, whole_every, attempt or Attempt) for _ in range(workers)]
    try:
        while _keep_busy(pool, batches, report):
            connection.wait([w.pipe for w in pool if w.is_busy], timeout=0.2)
    finally:
        for worker in pool:
            worker.stop()
    report.seconds = time.monotonic() - begun
    return report


def mutated(seed: Seed, number: int) -> tuple[str, bytes]:
    """Return the file of a seed that mutation `number` changes, and its new content."""
    rng = np.random.default_rng([*seed.format.encode(), number])
    name = str(rng.choice(sorted(seed.files)))
    content = bytearray(seed.files[name])
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        mutate = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        if content:
            mutate(content, rng)
    return name, bytes(content)


# --- mutations ---------------------------------------------------------------------------------


def flip_bits(content: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(len(content), size=int(rng.integers(1, 9))):
        content[place] ^= 1 << int(rng.integers(8))


def zero_range(content: bytearray, rng: np.random.Generator) -> None:
    part = _range(content, rng)
    content[part] = bytes(part.stop - part.start)


def randomise_range(content: bytearray, rng: np.random.Generator) -> None:
    part = _range(content, rng)
    content[part] = rng.bytes(part.stop - part.start)


def truncate(content: bytearray, rng: np.random.Generator) -> None:
    del content[int(rng.integers(len(content))) :]


def insert(content: bytearray, rng: np.random.Generator) -> None:
    place = int(rng.integers(len(content) + 1))
    content[place:place] = rng.bytes(int(rng.integers(1, 64)))


def remove(content: bytearray, rng: np.random.Generator) -> None:
    del content[_range(content, rng)]


def duplicate(content: bytearray, rng: np.random.Generator) -> None:
    part = _range(content, rng)
    place = int(rng.integers(len(content) + 1))
    content[place:place] = content[part]


def replace_integer(content: bytearray, rng: np.random.Generator) -> None:
    """Write an extreme, or the like of the file's own length, where an integer may stand."""
    size = int(rng.choice([1, 2, 4, 8]))
    near = len(content) + int(rng.integers(-9, 10))
    value = int(rng.choice(_EXTREMES)) if rng.random() < 0.8 else max(0, near)
    place = int(rng.integers(len(content)))
    new = (value % 2 ** (8 * size)).to_bytes(size, "little" if rng.random() < 0.7 else "big")
    content[place : place + size] = new


def replace_digits(content: bytearray, rng: np.random.Generator) -> None:
    """Replace a number that stands as text, as in XML, JSON and headers."""
    start = np.frombuffer(bytes(content[:65536]), np.uint8)
    digits = np.flatnonzero((start >= ord("0")) & (start <= ord("9"))).tolist()
    if digits:
        place = digits[int(rng.integers(len(digits)))]
        texts = (b"0", b"-1", b"999999999", b"4294967295", b"1e999", b"nan", b"x", b"")
        content[place : place + 1] = texts[int(rng.integers(len(texts)))]


MUTATIONS = (
    flip_bits, flip_bits, zero_range, randomise_range, truncate, insert, remove, duplicate,
    replace_integer, replace_integer, replace_integer, replace_digits,
)  # fmt: skip


def _range(content: bytearray, rng: np.random.Generator) -> slice:
    start = int(rng.integers(len(content)))
    length = int(2 ** rng.uniform(0, np.log2(len(content) + 1)))
    return slice(start, min(len(content), start + length))


# --- workers -----------------------------------------------------------------------------------


class _Worker:
    """A process that tries batches of mutations; started again when it dies."""

    def __init__(self, seed: Seed, whole_every: int, attempt: type[Attempt]) -> None:
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)
        self.seed, self.task = seed, (seed, whole_every, attempt)
        self.left = range(0)
        self._start()

    def _start(self) -> None:
        self.current = self.context.Value("q", -1, lock=False)
        self.since = self.context.Value("d", 0.0, lock=False)
        longest = self.context.Value("d", 0.0, lock=False)
        self.tally = self.context.Array("q", 2, lock=False)  # of errors and of stores
        self.shared = (self.current, self.since, longest, self.tally)
        self.pipe, theirs = self.context.Pipe()
        self.process = self.context.Process(target=_work, args=(theirs, *self.task, *self.shared))
        self.process.start()
        theirs.close()

    @property
    def is_busy(self) -> bool:
        return len(self.left) > 0

    def give(self, numbers: range) -> None:
        self.left = numbers
        self.since.value = 0.0
        self.pipe.send(numbers)

    def look(self, report: Report) -> None:
        """Take in what the process has to say, or that it hangs or died."""
        try:
            while self.pipe.poll():
                said = self.pipe.recv()
                if said is None:
                    self.left = range(0)
                    self._count(report)
                    return
                report.failures.append(said)
        except (EOFError, ConnectionResetError):  # it died
            self.process.join()
        since = self.since.value
        hangs = since > 0 and time.monotonic() - since > SECONDS
        if hangs or not self.process.is_alive():
            self._restart_after(report, f"no end after {SECONDS:g} s" if hangs else None)

    def _count(self, report: Report) -> None:
        report.errors += self.tally[0]
        report.stores += self.tally[1]
        report.longest = max(report.longest, self.shared[2].value)
        self.tally[:] = [0, 0]

    def _restart_after(self, report: Report, reason: str | None) -> None:
        number, rest = self.current.value, self.left
        self._count(report)
        self.stop()
        reason = reason or f"the process died (exit code {self.process.exitcode})"
        report.failures.append(f"{self.seed.format} mutation {number}: {reason}")
        self._start()
        self.left = range(0)
        assert number >= 0, f"the seed {self.seed.format} itself cannot be read and converted"
        if number < rest.stop - 1:
            self.give(range(number + 1, rest.stop))

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _keep_busy(pool: list[_Worker], batches: Iterator[range], report: Report) -> bool:
    for worker in pool:
        if worker.is_busy:
            worker.look(report)
        if not worker.is_busy:
            batch = next(batches, None)
            if batch is not None:
                worker.give(batch)
    return any(worker.is_busy for worker in pool)


def _batches(numbers: range) -> Iterator[range]:
    for start in range(numbers.start, numbers.stop, _BATCH):
        yield range(start, min(start + _BATCH, numbers.stop))


def _work(
    pipe: Any,
    seed: Seed,
    whole_every: int,
    kind: type[Attempt],
    current: Any,
    since: Any,
    longest: Any,
    tally: Any,
) -> None:
    import logging
    import warnings

    from eds_xr.readers.guards import hdf5 as hdf5_guard

    logging.disable()
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries below tell of damage there, too
    in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=in_memory) as folder:
        attempt = kind(seed, Path(folder), whole=whole_every > 0)
        end = attempt.try_file(seed.main, None)  # loads, and compiles, what comes late
        assert end == "store", f"the seed {seed.format} itself cannot be read"
        hdf5_guard._SILENCE_S = 1.0  # the files are tiny
        _limit_memory()
        while True:
            for number in pipe.recv():
                current.value, since.value = number, time.monotonic()
                attempt.whole = whole_every > 0 and number % whole_every == 0
                try:
                    tally[attempt.try_file(*mutated(seed, number)) == "store"] += 1
                except BaseException:
                    pipe.send(f"{seed.format} mutation {number}: {traceback.format_exc()}")
                longest.value = max(longest.value, time.monotonic() - since.value)
            since.value = 0.0
            pipe.send(None)  # the end of the batch


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


class Attempt:
    """Files in a folder of their own, converted again and again."""

    def __init__(self, seed: Seed, folder: Path, *, whole: bool) -> None:
        self.seed, self.whole = seed, whole
        self.source, self.out, self.temporary = (
            folder / name for name in ("source", "out", "temporary")
        )
        for part in (self.out, self.temporary):
            part.mkdir()
        for name, content in seed.files.items():
            (self.source / name).parent.mkdir(parents=True, exist_ok=True)
            (self.source / name).write_bytes(content)
        tempfile.tempdir = str(self.temporary)

    def try_file(self, name: str, content: bytes | None) -> str:
        """Return how it ends with a file changed: "store" or "error"; raise if it ends badly."""
        if content is not None:
            (self.source / name).write_bytes(content)
        try:
            return self._end()
        finally:
            if content is not None:
                (self.source / name).write_bytes(self.seed.files[name])

    def _end(self) -> str:
        from eds_xr.schema import EdsError

        try:
            if self.whole:
                self._convert()
            else:
                self._stream()
            end = "store"
        except EdsError as error:
            _check_cause(error)
            end = "error"
        left = sorted(p.name for p in [*self.out.iterdir(), *self.temporary.iterdir()])
        for name in left:
            shutil.rmtree(self.out / name, ignore_errors=True)
        expected = ["x.zarr"] if self.whole and end == "store" else []
        assert left == expected, f"left behind: {left}, expected {expected}"
        return end

    def _stream(self) -> None:
        from eds_xr import readers

        for recording in readers.read(self.source / self.seed.main):
            blocks = recording.row_blocks(3)
            for region in readers.row_regions(recording.shape, 3):
                shape = tuple(part.stop - part.start for part in region)
                block = next(blocks)
                assert (block.shape, block.dtype) == (shape, recording.dtype)
            assert next(blocks, None) is None

    def _convert(self) -> None:
        from eds_xr import readers, store

        recordings = readers.read(self.source / self.seed.main)
        signal = recordings[0].name if len(recordings) > 1 else None
        path = store.convert(self.source / self.seed.main, self.out / "x.zarr", signal=signal)
        image = store.open(path)
        assert image.sizes == dict(zip(image.dims, image.shape, strict=True))
        image[..., -1].compute()  # each chunk is whole along energy, so each is read


def try_hostile(make: Callable[[Path, np.random.Generator], Path], number: int) -> str:
    """Return how reading hostile file `number` ends, "refused" if it ends well.

    It is opened by every way in; a pickle would run, as with the numcodecs of others.
    """
    import numcodecs

    from eds_xr import store
    from eds_xr.schema import EdsError

    def stream(path: Path) -> None:
        store.convert(path, path.parent / "out.zarr")

    def open_store(path: Path) -> None:
        store.open(path).compute()

    numcodecs.pickles.ALLOW_UNSAFE_PICKLE_DECODE = True
    try:
        with tempfile.TemporaryDirectory() as top:
            folder = Path(top) / "folder"
            folder.mkdir()
            path = make(folder, np.random.default_rng(number))
            for way in (stream, open_store):
                try:
                    way(path)
                    return f"{way.__name__} reads {path.name}"
                except EdsError as error:
                    _check_cause(error)
                if (Path(top) / "harm").exists():
                    return f"{way.__name__} runs what is in {path.name}"
            left = {p.name for p in folder.iterdir()} - {path.name}
            return f"left behind: {left}" if left else "refused"
    finally:
        numcodecs.pickles.ALLOW_UNSAFE_PICKLE_DECODE = False


def _check_cause(error: BaseException | None) -> None:
    while error is not None:
        assert not isinstance(error, MemoryError), f"more than {MEMORY_BYTES} bytes asked for"
        error = error.__cause__
