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

from eds_xr.chunks import ROW_BLOCK_BYTES, as_chunked
from eds_xr.cluster.supervision import computes
from eds_xr.schema import ENERGY, EdsError, check_one_of, check_spectrum_image
from eds_xr.workers import cluster, cluster_threads, memory, threads

#: What libraries that are loaded late, compiled loops and the scheduler's messages take.
WORKER_BYTES, CLIENT_BYTES = 30e6, 40e6
#: Copies of what is kept of non-zero counts, as they are joined and summed over bins.
KEPT_COPIES = 1.5
#: Chunks of which the share of counts above zero is found.
LOOKED_AT = 4


class Cost(NamedTuple):
    """What an operation takes of an image."""

    reads: float  # of the whole image
    copies: float  # of a chunk's bytes in each thread, all that its kernel makes included
    pixel_bytes: float  # for each pixel, kept with the workers
    keeps_counts: bool  # non-zero counts stay with the workers
    client_bytes: float  # that reach the client, whatever the image
    tasks: float  # a chunk
    rate: float  # bytes that a thread does in a second
    start: float  # seconds, however small the image


#: By operation. Copies, tasks and rates are measured, see the benchmark; rates on a core of 2020.
COSTS = {
    "sum_spectra": Cost(1, 2.8, 0, False, 20e6, 2, 100e6, 0.2),
    "fitted_maps": Cost(2, 2.8, 0, False, 20e6, 4, 60e6, 0.3),
    "nmf": Cost(1, 2.8, 0, True, 20e6, 3, 30e6, 1),
    "segment": Cost(3, 2.8, 200, True, 100e6, 30, 15e6, 3),
    "analyse": Cost(7, 2.8, 300, True, 200e6, 60, 5e6, 10),
}
#: What :func:`eds_xr.convert` holds: blocks of rows read ahead, written and compressed.
ROW_BLOCKS = 4
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
    memory : str or float, optional
        Of each worker, ``"3 GB"`` or bytes; by default that of the cluster, or what is free here.
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
    kept = _kept_bytes(image, limit * number) if _cost(operation).keeps_counts else 0.0
    here = workers is None and cluster() is None  # then this process does the work
    found = _planned(operation, image, kept, number, each, limit, here)
    if found.worker_bytes > limit:
        raise EdsError(_refusal(found, image))
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


def _cost(operation: str) -> Cost:
    """Return what an operation takes; a conversion is not made of chunks that are read."""
    return COSTS.get(operation, Cost(1, 0, 0, False, 0, 0, 60e6, 0))


def _kept_bytes(image: xr.DataArray, room: float) -> float:
    """Return the bytes of non-zero counts that NMF keeps: those that fit, or none."""
    from dask.base import compute

    from eds_xr.factorisation.one_read import MEMORY_SHARE

    blocks = image.data.blocks.ravel()
    some = blocks[:: -(-len(blocks) // LOOKED_AT)]
    found = compute(*[((block != 0).sum(), block.max()) for block in some])
    filled = sum(number for number, _ in found) / sum(block.size for block in some)
    width = 4 if image.dtype.kind == "f" else np.min_scalar_type(max(m for _, m in found)).itemsize
    kept = float(filled * image.size * (2 + min(width, 4)))  # channel and count of each
    return kept if 1.2 * kept <= MEMORY_SHARE * room else 0.0


def _planned(
    operation: str, image: xr.DataArray, kept: float, number: int, each: int, limit: float,
    here: bool,
) -> Plan:  # fmt: skip
    cost, chunks = _cost(operation), int(np.prod(image.data.numblocks))
    pixels = image.size / image.sizes[ENERGY]
    worker = WORKER_BYTES + _in_flight(operation, image, number, each)
    # chunks are not dealt evenly: one worker may hold a quarter more than its share
    worker += min(1.0, 1.25 / number) * (kept * KEPT_COPIES + cost.pixel_bytes * pixels)
    client = CLIENT_BYTES + cost.client_bytes
    client += _bins_bytes(image) if cost.keeps_counts else 0
    if operation == "convert":
        worker, client = 0.0, CLIENT_BYTES + ROW_BLOCKS * ROW_BLOCK_BYTES
    elif here:
        client = worker = worker + client
    again = 0 if kept or not cost.keeps_counts else 20  # read for every step of NMF
    return Plan(
        operation, cost.reads + again, (cost.reads + again) * image.nbytes, worker, client,
        limit, number, each, math.ceil(cost.tasks * chunks),
        cost.start + (cost.reads + again) / cost.reads * image.nbytes / (cost.rate * number * each),
    )  # fmt: skip


def _chunk_bytes(image: xr.DataArray) -> int:
    return int(np.prod([max(sizes) for sizes in image.data.chunks])) * image.dtype.itemsize


def _bins_bytes(image: xr.DataArray) -> float:
    """Return the bytes of two tables of the sums over bins that NMF starts from."""
    from eds_xr.factorisation.one_read import BINNED_PIXELS

    channels = image.sizes[ENERGY]
    bins = min(BINNED_PIXELS[1], image.size // channels)
    return 2.0 * bins * channels * (4 if image.dtype.itemsize < 4 else 8)


def _in_flight(operation: str, image: xr.DataArray, number: int, each: int) -> float:
    """Return the bytes of chunks that the threads of a worker are at."""
    busy = min(each, -(-int(np.prod(image.data.numblocks)) // number))
    return busy * _cost(operation).copies * _chunk_bytes(image)


def _refusal(found: Plan, image: xr.DataArray) -> str:
    """Say what would fit: smaller chunks, or more workers."""
    said = (
        f"{found.operation} would fill {_size(found.worker_bytes)} of each worker, which may fill "
        f"{_size(found.memory_bytes)}"
    )
    copies = _cost(found.operation).copies * found.threads
    busy = _in_flight(found.operation, image, found.workers, found.threads)
    room = found.memory_bytes - found.worker_bytes + busy
    if room <= copies * image.sizes[ENERGY] * image.dtype.itemsize:
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
