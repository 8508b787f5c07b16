"""Processes that a test starts as users do, each ended with it: a scheduler, workers, a store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

#: What moto takes for an account.
ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def process(*arguments: str, env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen]:
    """Run ``python -m`` with arguments, until the block ends."""
    with log.open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", *arguments], env={**os.environ, **env}, stdout=out, stderr=out
        )
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Serve an S3-compatible store over HTTP, with a bucket ``maps``; give its environment."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {**ACCOUNT, "AWS_ENDPOINT_URL": url}
    log = folder / "s3.log"
    with process("moto.server", "-H", "127.0.0.1", "-p", str(port), env=env, log=log) as server:
        _wait_for(lambda: urlopen(url, timeout=5).status == 200, server, log)
        yield env


@contextmanager
def started_cluster(folder: Path, *, workers: int, env: Mapping[str, str]) -> Iterator[str]:
    """Run ``dask scheduler`` and ``dask worker`` processes; give the file that clients need."""
    with started_processes(folder, workers=workers, env=env) as (file, *_):
        yield file


@contextmanager
def started_processes(
    folder: Path, *, workers: int, env: Mapping[str, str], nanny: bool = True, port: int = 0
) -> Iterator[tuple[str, subprocess.Popen, list[subprocess.Popen]]]:
    """As :func:`started_cluster`; give also the scheduler and the workers, or their nannies."""
    folder.mkdir(exist_ok=True)
    file, log = folder / "scheduler.json", folder / "scheduler.log"
    quiet = ("--scheduler-file", str(file), "--no-dashboard")
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            process("dask", "scheduler", "--host", "127.0.0.1", "--port", str(port), *quiet,
                    env=env, log=log)
        )  # fmt: skip
        _wait_for(file.exists, scheduler, log)
        running = [
            stack.enter_context(
                process("dask", "worker", *quiet, "--nthreads", "1", "--memory-limit", "1GiB",
                        "--local-directory", str(folder), "--nanny" if nanny else "--no-nanny",
                        env=env, log=folder / f"worker{number}.log")
            )
            for number in range(workers)
        ]  # fmt: skip
        yield str(file), scheduler, running


def _wait_for(ready, running: subprocess.Popen, log: Path) -> None:
    """Wait until a process is ready; raise with what it said if it ends before."""
    while running.poll() is None:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"ended with {running.returncode}: {log.read_text()}")
