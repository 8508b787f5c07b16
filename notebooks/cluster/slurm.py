"""On SLURM: each job is a node's share with some workers, more of them while there is work.

    pip install dask-jobqueue
    python slurm.py /shared/map.zarr --queue normal --jobs 20
    python slurm.py /shared/map.zarr --queue normal --print

Checked: run on SLURM 22.05 of one node, by hand, with the scores that workers of ssh.py give; the
tests print the job script. Not run on several nodes.
"""

import argparse
from typing import Any

import dask


def cluster_of(queue: str, memory: str, walltime: str) -> Any:
    """Return the cluster, of no jobs yet: four workers of one thread in each."""
    from dask_jobqueue import SLURMCluster

    return SLURMCluster(
        queue=queue,
        cores=4,
        processes=4,  # compiled loops of threads wait for each other, processes do not
        memory=memory,
        walltime=walltime,
        # a worker that the queue will end gives back what it holds before that
        worker_extra_args=["--lifetime", "55m", "--lifetime-stagger", "4m"],
        job_extra_directives=["--exclusive=user"],
        job_script_prologue=[
            "export OMP_NUM_THREADS=1",
            # freed memory stays with a worker: to map blocks of chunks anew each time took a third
            # of its processor time
            "export MALLOC_TRIM_THRESHOLD_=67108864 MALLOC_MMAP_THRESHOLD_=33554432",
        ],
        scheduler_options={"dashboard_address": ":0"},
    )


def main() -> None:
    """Find four components of a store, or print the script of a job."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--queue", default="normal")
    parser.add_argument("--memory", default="16GB", help="of a job")
    parser.add_argument("--walltime", default="01:00:00")
    parser.add_argument("--jobs", type=int, default=10, help="at most")
    parser.add_argument("--print", action="store_true", dest="only_print")
    args = parser.parse_args()
    # what nothing supervises ends, too: when no worker is left, or one is silent but not dead
    dask.config.set(
        {
            "distributed.scheduler.no-workers-timeout": "10 minutes",
            "distributed.scheduler.worker-ttl": "2 minutes",
        }
    )
    with cluster_of(args.queue, args.memory, args.walltime) as cluster:
        if args.only_print:
            print(cluster.job_script())
            return

        from distributed import Client

        import eds_xr

        cluster.adapt(minimum_jobs=1, maximum_jobs=args.jobs)
        with Client(cluster) as client:
            client.wait_for_workers(1)
            print(f"watch it at {client.dashboard_link}")
            image = eds_xr.open(args.store)
            factors = image.eds.nmf(4)
            with eds_xr.supervised():  # methods of .eds are; what you compute of their results is not
                print(factors.scores.mean(("y", "x")).compute())


if __name__ == "__main__":
    main()
