"""On machines reached by SSH: the first runs the scheduler, all others a worker.

    pip install asyncssh
    python ssh.py /shared/map.zarr --hosts node0 node1 node2
    python ssh.py /shared/map.zarr --hosts node0 node1 node2 --print

Every machine needs the same Python packages, a login without a password, and the store under the
same path (or a URL: ``s3://bucket/map.zarr``). Ports, users and keys come from ``~/.ssh/config``,
hosts must stand in ``~/.ssh/known_hosts``.

Let the login shell export MALLOC_TRIM_THRESHOLD_=67108864 and MALLOC_MMAP_THRESHOLD_=33554432: to
map blocks of chunks anew each time takes a third of a worker's processor time.

Checked: the tests run this file through an SSH server of one machine, under two names. Not run on
several machines.
"""

import argparse
from typing import Any


def configuration(hosts: list[str], memory: str) -> dict[str, Any]:
    """Return the arguments of :func:`distributed.SSHCluster`."""
    return {
        "hosts": hosts,
        "worker_options": {"nthreads": 1, "n_workers": 4, "memory_limit": memory},
        "scheduler_options": {"port": 0, "dashboard_address": ":0"},
    }


def main() -> None:
    """Find four components of a store, or print how the cluster would be started."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--hosts", nargs="+", required=True)
    parser.add_argument("--memory", default="4 GiB", help="of each worker process")
    parser.add_argument("--print", action="store_true", dest="only_print")
    args = parser.parse_args()
    chosen = configuration(args.hosts, args.memory)
    if args.only_print:
        print(chosen)
        return

    import dask
    from distributed import Client, SSHCluster

    import eds_xr

    # what nothing supervises ends, too: when no worker is left, or one is silent but not dead
    dask.config.set(
        {
            "distributed.scheduler.no-workers-timeout": "10 minutes",
            "distributed.scheduler.worker-ttl": "2 minutes",
        }
    )
    with SSHCluster(**chosen) as cluster, Client(cluster) as client:
        print(f"watch it at {client.dashboard_link}")
        image = eds_xr.open(args.store)
        factors = image.eds.nmf(4)
        with eds_xr.supervised():  # methods of .eds are; what you compute of their results is not
            print(factors.scores.mean(("y", "x")).compute())


if __name__ == "__main__":
    main()
