"""On Kubernetes: the Dask operator starts a scheduler and workers as pods.

    pip install dask-kubernetes          # and, once, in the cluster: the Dask operator's Helm chart
    python kubernetes.py s3://bucket/map.zarr --image ghcr.io/you/eds-xr:1 --workers 20
    python kubernetes.py s3://bucket/map.zarr --image ghcr.io/you/eds-xr:1 --print

The image holds eds_xr and the same versions as here. The store has a URL that the pods reach.

Checked: the resource is made by dask-kubernetes 2026.3 and printed. Not sent to a cluster.
"""

import argparse
import sys
from typing import Any

# this file is called as a package that dask-kubernetes may import: look for that elsewhere
sys.path[:] = sys.path[1:] if __name__ == "__main__" else sys.path


def specification(image: str, workers: int, memory: str) -> dict[str, Any]:
    """Return the DaskCluster resource: workers of one thread, killed beyond their memory."""
    from dask_kubernetes.operator import make_cluster_spec

    found: dict[str, Any] = make_cluster_spec(
        name="eds-xr",
        image=image,
        n_workers=workers,
        env={
            "OMP_NUM_THREADS": "1",
            # what nothing supervises ends, too: when no worker is left, or one is silent, not dead
            "DASK_DISTRIBUTED__SCHEDULER__NO_WORKERS_TIMEOUT": "10 minutes",
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2 minutes",
            # freed memory stays with a worker: to map blocks of chunks anew each time took a third
            # of its processor time
            "MALLOC_TRIM_THRESHOLD_": "67108864",
            "MALLOC_MMAP_THRESHOLD_": "33554432",
        },
        resources={"requests": {"cpu": "1", "memory": memory}, "limits": {"memory": memory}},
        worker_command=["dask", "worker", "--nthreads", "1", "--memory-limit", "auto"],
    )
    return found


def main() -> None:
    """Find four components of a store, or print the resource."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--image", required=True)
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--memory", default="4Gi", help="of each worker")
    parser.add_argument("--print", action="store_true", dest="only_print")
    args = parser.parse_args()
    chosen = specification(args.image, args.workers, args.memory)
    if args.only_print:
        import json

        print(json.dumps(chosen, indent=2))
        return

    from dask_kubernetes.operator import KubeCluster
    from distributed import Client

    import eds_xr

    with KubeCluster(custom_cluster_spec=chosen) as cluster, Client(cluster) as client:
        client.wait_for_workers(1)
        print(f"watch it at {client.dashboard_link}")
        image = eds_xr.open(args.store)
        factors = image.eds.nmf(4)
        with eds_xr.supervised():  # methods of .eds are; what you compute of their results is not
            print(factors.scores.mean(("y", "x")).compute())


if __name__ == "__main__":
    main()
