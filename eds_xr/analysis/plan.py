"""What an operation will take, before it runs: reads, bytes, memory, tasks, time.

A model of few terms: a thread holds some copies of a chunk, a worker keeps what iterations need,
the client gets sums. `tests/benchmarks/bench_plan.py` holds it against measured peaks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.chunks import CHUNK_BYTES, as_chunked, chunk_shape
from eds_xr.cluster.supervision import computes
from eds_xr.schema import ENERGY, EdsError, check_one_of, check_spectrum_image
from eds_xr.workers import cluster, cluster_threads, memory, threads

#: What libraries that are loaded late, compiled loops, forests and messages of the scheduler take.
WORKER_BYTES, CLIENT_BYTES = 45e6, 40e6
#: Copies of what is kept of non-zero counts, as they are joined and summed over bins.
KEPT_COPIES = 1.5
#: What is kept of pixels while NMF keeps counts, as a share of what is kept of them later.
KEPT_DURING_NMF = 0.2
#: Of a pixel, what a thread holds of a tile in which strangers are looked for: some 120 responses
#: of line families, as they are read, put together, and less what is usual.
STRANGER_BYTES = 3 * 120 * 4
#: Of the descent of NMF, each of which reads what is not kept.
STEPS = 20
#: What lies between blocks of memory that are in use.
SLACK = 1.1
#: Chunks of which the share of counts above zero is found.
LOOKED_AT = 4


class Density(NamedTuple):
    """How full an image is."""

    filled: float  # share of counts above zero
    width: int  # bytes that hold the largest
    spectrum: np.ndarray  # mean of a pixel [channel; counts]

    def compressed(self, image: xr.DataArray) -> float:
        """Return the bytes of counts above zero and their channels, over those of the image."""
        return self.filled * (2 + self.width) / image.dtype.itemsize


class Cost(NamedTuple):
    """What an operation takes of an image."""

    reads: float  # of the whole image
    copies: float  # of a chunk in each thread: as it is decoded, and cut to some channels
    compressed: bool  # its counts above zero are found
    pixel_bytes: float  # for each pixel, kept with the workers
    keeps_counts: bool  # non-zero counts stay with the workers
    client_bytes: float  # that reach the client, whatever the image
    tasks: float  # a chunk
    rate: float  # bytes that a thread does in a second
    a_chunk: float  # seconds of a thread for each chunk, however small
    start: float  # seconds, however small the image


#: By operation. Copies, tasks and rates are measured, see the benchmark; rates on a core of 2020.
COSTS = {
    "sum_spectra": Cost(1, 2, False, 0, False, 20e6, 2, 100e6, 0.03, 0.3),
    "fitted_maps": Cost(2, 2, True, 0, False, 20e6, 4, 60e6, 0.05, 0.5),
    "nmf": Cost(1, 2, True, 0, True, 50e6, 3, 30e6, 0.015, 1.5),
    "segment": Cost(3, 2, True, 200, True, 100e6, 30, 15e6, 0.05, 3),
    "analyse": Cost(10, 2, True, 300, True, 200e6, 60, 5e6, 0.4, 20),
}
#: What :func:`eds_xr.convert` holds: the block of rows that is read and the one that is written, of
#: which Zarr compresses so many chunks at once; of each a copy, room for what becomes of it, and
#: that once more with its checksum.
ROW_BLOCKS, WRITTEN_AT_ONCE, WRITTEN_COPIES = 2, 10, 2.5
#: Bytes that it does in a second.
CONVERSION_RATE = 100e6
OPERATIONS = ("convert", *COSTS)


@dataclass(frozen=True)
class Plan:
    """What an operation will take.

    Attributes
    ----------
    operation : str
    reads : float
        Times that the image is read.
    read_bytes : float
        Decoded bytes that are read, all reads together.
    worker_bytes, client_bytes : float
        Peak of each worker and of this process, beyond what they hold before.
    memory_bytes : float
        What each worker may fill.
    workers, threads : int
        Worker processes, and the threads of each.
    tasks : int
        On the scheduler.
    seconds : float
        An estimate, good to a factor of three; the store's own speed is not in it.
    """

    operation: str
    reads: float
    read_bytes: float
    worker_bytes: float
    client_bytes: float
    memory_bytes: float
    workers: int
    threads: int
    tasks: int
    seconds: float

    def __str__(self) -> str:
        """Return lines to print."""
        return "\n".join(
            [
                f"{self.operation} on {self.workers} x {self.threads} threads",
                f"  reads the image {self.reads:g} times, {_size(self.read_bytes)}",
                f"  each worker {_size(self.worker_bytes)} of {_size(self.memory_bytes)}",
                f"  this process {_size(self.client_bytes)}",
                f"  {self.tasks} tasks, some {_time(self.seconds)}",
            ]
        )


@computes
def plan(
    image: xr.DataArray,
    operation: str = "analyse",
    *,
    memory: str | float | None = None,
    workers: int | None = None,
    threads: int | None = None,
) -> Plan:
    """Tell what an operation will take of an image, and refuse what would not fit.

    Computes: at most four chunks, in which counts above zero are counted.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
        In the chunks in which it will be read.
    operation : {"analyse", "segment", "nmf", "sum_spectra", "fitted_maps", "convert"}
        "convert" is that of a file that holds such an image, without sums of pixels (`pyramid`).
    memory : str or float, optional
        Of each worker, ``"3 GB"`` or bytes; by default what those of the cluster have free, or what
        is free here.
    workers, threads : int, optional
        Worker processes and threads of each; by default those of the cluster, or this process.

    Returns
    -------
    Plan
        Its ``print`` is five lines.

    Raises
    ------
    EdsError
        When a worker would need more than it may fill; says which chunks or how many workers do.

    Examples
    --------
    >>> from eds_xr import simulate
    >>> image = simulate.spectrum_image((256, 256, 1024), 200.0)
    >>> found = plan(image, "sum_spectra", memory="2 GB", workers=2, threads=1)
    >>> found.reads, found.worker_bytes < found.memory_bytes
    (1, True)
    """
    check_spectrum_image(image, detectors=True)
    check_one_of(operation, OPERATIONS, "an operation that is planned")
    number, each, limit = _workplace(memory, workers, threads)
    image = as_chunked(image)
    if operation == "convert":
        found, looked_at = _conversion(image, limit if memory is not None else _free()), None
    else:
        here = workers is None and cluster() is None  # then this process does the work
        # chunks that would not fit even if all counts were zero are not looked at
        looked_at = Density(0.0, 1, np.zeros(image.sizes[ENERGY]))
        found = _planned(operation, image, looked_at, number, each, limit, here)
        if found.worker_bytes <= limit:
            looked_at = _density(image)
            found = _planned(operation, image, looked_at, number, each, limit, here)
    if found.worker_bytes > found.memory_bytes:
        raise EdsError(_refusal(found, image, looked_at))
    return found


def _workplace(
    given: str | float | None, workers: int | None, each: int | None
) -> tuple[int, int, float]:
    """Return the number of workers, the threads of each, the bytes of each."""
    from dask.utils import parse_bytes

    client = cluster()
    there = 1 if client is None else max(1, len(client.ncores()))
    all_threads = threads() if client is None else cluster_threads(client)
    number, each = workers or there, each or max(1, all_threads // there)
    if number < 1 or each < 1:
        raise EdsError(f"expected one worker and thread or more, found {number} x {each}")
    try:
        limit = memory() / there if given is None else float(parse_bytes(given))
    except ValueError as error:
        raise EdsError(f"expected memory as '3 GB' or in bytes, found {given!r}") from error
    return number, each, limit


def _conversion(image: xr.DataArray, limit: float) -> Plan:
    """Return what converting a file of such an image takes, which this process does alone."""
    sides = chunk_shape(image.shape, image.dtype)
    chunk = math.prod(sides) * image.dtype.itemsize
    across = -(-image.shape[-2] // sides[-2]) if image.ndim > 2 else 1  # of a block of rows
    held = CLIENT_BYTES + min(ROW_BLOCKS * across * chunk, image.nbytes)
    held += min(WRITTEN_AT_ONCE, across) * WRITTEN_COPIES * chunk
    return Plan(
        "convert", 1, image.nbytes, held, held, limit, 1, 1, 0, image.nbytes / CONVERSION_RATE
    )


def _density(image: xr.DataArray) -> Density:
    """Return how full an image is, from a few of its chunks."""
    from dask.base import compute

    number = math.prod(image.data.numblocks)
    places = np.unravel_index(range(0, number, -(-number // LOOKED_AT)), image.data.numblocks)
    some = [image.data.blocks[place] for place in zip(*places, strict=True)]
    pixels = tuple(range(image.ndim - 1))
    found = compute(*[((b != 0).sum(), b.max(), b.sum(pixels, dtype=float)) for b in some])
    filled, most, sums = (list(each) for each in zip(*found, strict=True))
    size = sum(block.size for block in some)
    width = 4 if image.dtype.kind == "f" else np.min_scalar_type(max(most)).itemsize
    spectrum = sum(sums) * image.sizes[ENERGY] / size
    return Density(float(sum(filled) / size), min(width, 4), np.asarray(spectrum))


def _kept_bytes(image: xr.DataArray, density: Density, room: float) -> tuple[float, int]:
    """Return the bytes of non-zero counts that NMF keeps, and how often it reads them again.

    All that are above zero where they fit; else their sums over bins; else none.
    """
    from eds_xr.factorisation.bins import bin_size, sums_bytes
    from eds_xr.factorisation.one_read import MEMORY_SHARE

    kept = density.compressed(image) * image.nbytes
    if 1.2 * kept <= MEMORY_SHARE * room:
        return kept, 0
    shape = image.shape[:-1]
    size = bin_size(shape, float(density.spectrum.sum()) * math.prod(shape))
    sums = sums_bytes(shape, size, density.spectrum)
    # once for the sums, and once for scores in smaller bins
    return (sums, 2) if size > 1 and sums <= MEMORY_SHARE * room else (0.0, STEPS)


def _planned(
    operation: str, image: xr.DataArray, density: Density, number: int, each: int, limit: float,
    here: bool,
) -> Plan:  # fmt: skip
    cost, chunks = COSTS[operation], int(np.prod(image.data.numblocks))
    kept, again = 0.0, 0
    if cost.keeps_counts:
        kept, again = _kept_bytes(image, density, limit * number)
    pixels = image.size / image.sizes[ENERGY]
    worker = WORKER_BYTES + _in_flight(operation, image, density, number, each)
    # chunks are not dealt evenly: one worker may hold a quarter more than its share
    held = min(1.0, 1.25 / number) * _kept_at_once(kept, cost.pixel_bytes * pixels)
    worker += max(held, _tile_bytes(image, number, each) if operation == "analyse" else 0.0)
    client = CLIENT_BYTES + cost.client_bytes
    client += _bins_bytes(image) if cost.keeps_counts else 0
    if here:
        client = worker = worker + client
    times = (cost.reads + again) / cost.reads
    work = times * image.nbytes / cost.rate + cost.a_chunk * chunks
    return Plan(
        operation, cost.reads + again, (cost.reads + again) * image.nbytes, worker, client, limit,
        number, each, math.ceil(cost.tasks * chunks), cost.start + work / (number * each),
    )  # fmt: skip


def _kept_at_once(counts: float, pixels: float) -> float:
    """Return the bytes that are kept with all workers at the stage that keeps most.

    Counts are let go when NMF is done; most that is kept of pixels comes after it.
    """
    return max(counts * KEPT_COPIES, pixels) + KEPT_DURING_NMF * pixels


def _tile_bytes(image: xr.DataArray, number: int, each: int) -> float:
    """Return the bytes of the tiles in which the threads of a worker look for strangers."""
    from eds_xr.analysis.strangers.search import tiles_of
    from eds_xr.analysis.strangers.windows import MARGIN

    shape = [n for d, n in image.sizes.items() if d != ENERGY]
    sizes = tiles_of(shape)
    sides = [min(n, max(along) + 2 * MARGIN) for n, along in zip(shape, sizes, strict=True)]
    busy = min(each, -(-math.prod(map(len, sizes)) // number))
    return float(busy * STRANGER_BYTES * math.prod(sides))


def _free() -> float:
    import psutil

    return float(psutil.virtual_memory().available)


def _chunk_bytes(image: xr.DataArray) -> int:
    """Return the bytes of the largest chunk: of the image, or of the store where that has larger.

    Smaller chunks are cut from whole ones, which are read first.
    """
    own = math.prod(max(sizes) for sizes in image.data.chunks) * image.dtype.itemsize
    return max(own, _stored_chunk_bytes(image))


def _stored_chunk_bytes(image: xr.DataArray) -> int:
    """Return the bytes of the largest chunk of the store, whole along energy; 0 without one."""
    from eds_xr.store.opening import sources

    stored = [s for s in sources(image) if s.shape[-1:] == image.shape[-1:] and s.ndim > 1]
    return max(
        (math.prod(s.chunks[:-1]) * s.shape[-1] * s.dtype.itemsize for s in stored), default=0
    )


def _bins_bytes(image: xr.DataArray) -> float:
    """Return the bytes of two tables of the sums over bins that NMF starts from."""
    from eds_xr.factorisation.one_read import BINNED_PIXELS

    channels = image.sizes[ENERGY]
    bins = min(BINNED_PIXELS[1], image.size // channels)
    return 2.0 * bins * channels * (4 if image.dtype.itemsize < 4 else 8)


def _in_flight(
    operation: str, image: xr.DataArray, density: Density, number: int, each: int
) -> float:
    """Return the bytes of chunks that the threads of a worker are at."""
    busy = min(each, -(-int(np.prod(image.data.numblocks)) // number))
    return busy * _copies(operation, image, density) * _chunk_bytes(image)


def _copies(operation: str, image: xr.DataArray, density: Density) -> float:
    """Return what a thread holds at once, in chunks."""
    cost = COSTS[operation]
    # counts above zero first lie in the image's own type, then in the smallest that holds them
    found = density.compressed(image) + density.filled if cost.compressed else 0.0
    return SLACK * (cost.copies + found)


def _refusal(found: Plan, image: xr.DataArray, density: Density | None) -> str:
    """Say what would fit: smaller chunks, or more workers."""
    said = (
        f"{found.operation} would fill {_size(found.worker_bytes)} of each worker, which may fill "
        f"{_size(found.memory_bytes)}"
    )
    if density is None:
        return f"{said}; convert it where more memory is free"
    # of chunks that were not looked at those are told that fit even if no count is zero
    fullest = density if density.filled else density._replace(filled=1.0, width=4)
    copies = _copies(found.operation, image, fullest) * found.threads
    busy = _in_flight(found.operation, image, density, found.workers, found.threads)
    room = found.memory_bytes - found.worker_bytes + busy
    stored_large = _stored_chunk_bytes(image) * copies > room
    if stored_large and room >= copies * CHUNK_BYTES:
        return (
            f"{said}; the chunks of its store are large: where more memory is free, "
            "image.eds.save('smaller.zarr') writes smaller ones; opened from there it fits"
        )
    if stored_large or room <= copies * image.sizes[ENERGY] * image.dtype.itemsize:
        return f"{said}; take more workers, or workers of more memory"
    spectra = room / copies / (image.sizes[ENERGY] * image.dtype.itemsize)
    side = max(1, math.isqrt(int(spectra)))
    return f"{said}; with image.chunk(y={side}, x={side}, energy=-1) it fits"


def _size(number: float) -> str:
    from dask.utils import format_bytes

    return format_bytes(int(number))


def _time(seconds: float) -> str:
    from dask.utils import format_time

    return format_time(seconds) if seconds >= 1 else "a second"
