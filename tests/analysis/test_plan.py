"""Plans: what an operation will read and fill."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import eds_xr
from eds_xr import EdsError, plan
from eds_xr.analysis.plan import OPERATIONS

SHAPE, SIDE = (256, 256, 1024), 64


def image_of(side: int = SIDE, shape: tuple[int, ...] = SHAPE) -> xr.DataArray:
    """Return an image in which a tenth of the counts are above zero, never held at once."""
    block = (np.arange(shape[-1]) % 10 == 0).astype(np.uint16)
    counts = da.broadcast_to(block, shape, chunks=(side, side, shape[-1]))
    energy = xr.DataArray(0.01 * np.arange(1, shape[-1] + 1), dims="energy", attrs={"units": "keV"})
    return xr.DataArray(counts, dims=("y", "x", "energy"), coords={"energy": energy})


@pytest.mark.parametrize("operation", OPERATIONS)
def test_plan__says_reads_bytes_tasks(operation):
    found = plan(image_of(), operation, memory="4 GB", workers=2, threads=1)
    assert found.read_bytes == found.reads * np.prod(SHAPE) * 2
    assert found.reads >= 1
    assert found.seconds > 0
    assert found.worker_bytes <= found.memory_bytes == 4e9
    assert found.client_bytes > 0
    assert len(str(found).splitlines()) == 5
    assert operation in str(found)


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - {"convert"}))
def test_plan__tasks_are_linear_in_chunks_and_memory_in_their_size(operation):
    few, many = (
        plan(image_of(s), operation, memory="9 GB", workers=2, threads=2) for s in (64, 32)
    )
    assert many.tasks == 4 * few.tasks
    assert many.worker_bytes < few.worker_bytes
    alone = plan(image_of(), operation, memory="9 GB", workers=2, threads=1)
    assert alone.worker_bytes < few.worker_bytes
    assert few.seconds < alone.seconds <= 2 * few.seconds


def test_plan__counts_that_do_not_fit_are_read_again():
    image = image_of(32, (2048, 2048, 1024))  # 1.7 GB of counts above zero
    kept = plan(image, "nmf", memory="8 GB", workers=1, threads=1)
    sums = plan(image, "nmf", memory="2 GB", workers=1, threads=1)
    again = plan(image, "nmf", memory="150 MB", workers=1, threads=1)
    assert kept.reads == 1 < sums.reads == 3 < again.reads
    assert again.worker_bytes < sums.worker_bytes < kept.worker_bytes


@pytest.mark.parametrize("operation", ["sum_spectra", "nmf", "analyse"])
def test_plan__refuses_what_does_not_fit_and_its_cure_fits(operation):
    image = image_of(256)  # one chunk of 128 MiB
    with pytest.raises(EdsError, match=r"chunk\(y=(\d+), x=\d+, energy=-1\) it fits") as refused:
        plan(image, operation, memory="300 MB", workers=8, threads=2)
    side = int(str(refused.value).partition("y=")[2].partition(",")[0])
    assert 1 <= side < 256
    cured = image.chunk(y=side, x=side, energy=-1)
    found = plan(cured, operation, memory="300 MB", workers=8, threads=2)
    assert found.worker_bytes <= 300e6


def test_plan__chunks_that_are_told_to_fit_do_however_full_they_are():
    """Chunks that do not fit are not looked at, so that nobody knows how full they are."""
    image = image_of(256, (1024, 512, 1024)).astype(np.uint8) | np.uint8(1)
    with pytest.raises(EdsError, match="it fits") as refused:
        plan(image, "fitted_maps", memory="200 MB", workers=2, threads=2)
    side = int(str(refused.value).partition("y=")[2].partition(",")[0])
    cured = image.chunk(y=side, x=side, energy=-1)
    assert plan(cured, "fitted_maps", memory="200 MB", workers=2, threads=2).worker_bytes <= 200e6


def test_plan__large_chunks_of_a_store_are_read_whole_and_saving_smaller_ones_fits(tmp_path):
    image = image_of(128, (128, 128, 1024)).astype(np.uint8)  # one chunk of 16 MiB
    image.to_dataset(name="counts").to_zarr(tmp_path / "large", consolidated=False)
    cut = eds_xr.open(tmp_path / "large").chunk(y=32, x=32)
    given = {"operation": "sum_spectra", "memory": "75 MB", "workers": 2, "threads": 1}
    with pytest.raises(EdsError, match="chunks of its store are large.*eds.save"):
        plan(cut, **given)
    with pytest.raises(EdsError, match="take more workers"):
        plan(cut, **given | {"memory": "50 MB"})
    smaller = eds_xr.open(cut.eds.save(tmp_path / "small"))
    assert plan(smaller, **given).worker_bytes <= 75e6


def test_plan__conversion_is_bounded_by_rows_and_refused_where_it_does_not_fit():
    small, wide, tall = (
        plan(image_of(64, shape), "convert", memory="1 GB")
        for shape in ((64, 64, 1024), (512, 2048, 1024), (8192, 2048, 1024))
    )
    assert small.worker_bytes < wide.worker_bytes == tall.worker_bytes == tall.client_bytes
    assert (tall.workers, tall.threads) == (1, 1)
    with pytest.raises(EdsError, match="convert it where more memory is free"):
        plan(image_of(), "convert", memory="100 MB")


def test_plan__more_workers_where_chunks_do_not_help():
    large = image_of(64, (8192, 8192, 1024))
    with pytest.raises(EdsError, match="take more workers"):
        plan(large, "segment", memory="1 GB", workers=2, threads=1)


def test_plan__of_this_process_and_of_a_cluster(client):
    on_cluster = plan(image_of(), "sum_spectra")
    assert (on_cluster.workers, on_cluster.threads) == (2, 1)
    assert 2**29 < on_cluster.memory_bytes < 2**30  # of each, less what it holds
    with dask.config.set(scheduler="threads", num_workers=3):
        here = plan(image_of(), "sum_spectra")
    assert (here.workers, here.threads) == (1, 3)
    assert here.client_bytes == here.worker_bytes  # this process does the work


@pytest.mark.parametrize(
    ("said", "of"),
    [
        ("an operation that is planned", {"operation": "fit_lines"}),
        ("expected memory", {"memory": "three"}),
        ("one worker and thread or more", {"workers": -1}),
    ],
)
def test_plan__refuses(said, of):
    with pytest.raises(EdsError, match=said):
        plan(image_of(), **of)
