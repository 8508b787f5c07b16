"""On this machine: workers as processes, each with its share of cores and memory.

    python local.py map.zarr --workers 4 --memory "4 GiB"

Checked: the tests run this file, on two workers.
"""

import argparse
import os

import dask
from distributed import Client, LocalCluster

import eds_xr


def main() -> None:
    """Find four components of a store, on workers of this machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--memory", default="4 GiB")
    args = parser.parse_args()
    # what nothing supervises ends, too: when no worker is left, or one is silent but not dead
    dask.config.set(
        {
            "distributed.scheduler.no-workers-timeout": "10 minutes",
            "distributed.scheduler.worker-ttl": "2 minutes",
        }
    )
    # Dask lets workers give freed memory back at once; to map the blocks of chunks anew each time
    # took a third of their processor time
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(64 * 2**20))
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * 2**20))
    with (
        LocalCluster(
            n_workers=args.workers, threads_per_worker=1, memory_limit=args.memory,
            dashboard_address=":0",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        print(f"watch it at {client.dashboard_link}")
        image = eds_xr.open(args.store)
        factors = image.eds.nmf(4)
        with eds_xr.supervised():  # methods of .eds are; what you compute of their results is not
            print(factors.scores.mean(("y", "x")).compute())


if __name__ == "__main__":  # workers import this file: without this line they would start workers
    main()
