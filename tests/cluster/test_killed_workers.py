"""Workers that are killed: results stay right, and when none is left that is an error."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from benchmarks import faults
from distributed import Client, Variable
from support import processes
from support.slow_blocks import slowly

import eds_xr
from eds_xr import simulate
from eds_xr.cluster import supervision
from eds_xr.schema import EdsError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of connections that break

PATHS = {"PYTHONPATH": os.pathsep.join(sys.path)}
#: Runs of `tests/benchmarks/faults.py`: one of NMF; with a nanny, of fitted maps, of a conversion
#: that replaces a store and of a scheduler that is started again.
SAMPLE = (0, 12, 16, 17)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("faults")
    return folder, faults.results_here(folder, list(faults.OPERATIONS))


@pytest.mark.parametrize("number", SAMPLE)
def test_killed_process__the_result_is_right(
    expected: tuple[Path, dict[str, Any]], number: int
) -> None:
    assert faults.any_run(number, *expected)["outcome"] == "right"


def test_supervised__no_worker_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "WITHOUT_WORKERS_SECONDS", 1.0)
    image = simulate.spectrum_image(shape=(32, 32, 1024), dose=100.0, seed=3).drop_vars("haadf")
    lazy = slowly(image.compute())
    started = processes.started_processes(tmp_path, workers=2, env=PATHS, nanny=False)
    with started as (file, _, workers), Client(scheduler_file=file) as client:
        client.wait_for_workers(2)

        def kill() -> None:
            Variable("begun", client).get(timeout=120)
            for worker in workers:
                worker.send_signal(signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(EdsError, match="has had no workers for 1 s.* start workers"):
            eds_xr.nmf(lazy, 2, seed=0)
        killer.join()
