"""A scheduler that is killed is a clear error of whatever computes, and nothing half made stays."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, Variable
from support import processes, slow_blocks
from support.images import refuse

import eds_xr
from eds_xr import simulate
from eds_xr.factorisation import fit
from eds_xr.factorisation.solver import descent
from eds_xr.schema import EdsError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of connections that break

PATHS = {"PYTHONPATH": os.pathsep.join(sys.path)}
SHAPE = (32, 32, 1024)
LOST = r"the cluster's scheduler at tcp://\S+ does not answer any more"


@pytest.fixture(scope="module")
def image() -> xr.DataArray:
    made = simulate.spectrum_image(shape=SHAPE, dose=400.0, seed=3).drop_vars("haadf")
    return made.compute()


@pytest.fixture
def to_be_lost(tmp_path: Path) -> Iterator[tuple[Client, Any]]:
    """A client of processes that a user would start, and its scheduler's process."""
    with processes.started_processes(tmp_path / "cluster", workers=1, env=PATHS) as (
        file,
        scheduler,
        _,
    ):
        client = Client(scheduler_file=file, timeout=5)
        client.wait_for_workers(1)
        yield client, scheduler
        client.close(timeout=1)


def lost_while(client: Client, scheduler: Any, work: Callable[[], Any]) -> EdsError:
    """Kill the scheduler once a block is being computed; return the error."""

    def kill() -> None:
        Variable("begun", client).get(timeout=120)
        scheduler.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(EdsError, match=LOST) as raised:
        work()
    killer.join()
    return raised.value


#: A chain of others, and one that writes; an iteration is what goes on from its checkpoint below,
#: and that all are supervised is a test of every operation.
OPERATIONS: dict[str, Callable[[xr.DataArray, Path], Any]] = {
    "segment": lambda image, folder: eds_xr.segment(image),
    "save": lambda image, folder: eds_xr.save(image, folder / "map.zarr", overwrite=True),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_supervised__a_lost_scheduler_is_an_error_and_nothing_is_left(
    to_be_lost: tuple[Client, Any], image: xr.DataArray, tmp_path: Path, name: str
) -> None:
    client, scheduler = to_be_lost
    before = eds_xr.save(image, tmp_path / "out" / "map.zarr")
    lazy = slow_blocks.slowly(image)
    lost_while(client, scheduler, lambda: OPERATIONS[name](lazy, tmp_path / "out"))
    with pytest.raises(EdsError, match=LOST):  # the next one learns it at once
        image.chunk(y=8).eds.nmf(2, seed=0)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["map.zarr"]
    client.close(timeout=1)
    np.testing.assert_array_equal(eds_xr.open(before), image)


def test_nmf__goes_on_from_its_checkpoint_after_the_scheduler_was_lost(
    to_be_lost: tuple[Client, Any],
    image: xr.DataArray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, scheduler = to_be_lost
    original, steps = descent._sweep, []

    def sweep(rows: Any, *args: Any) -> Any:
        if not isinstance(rows.blocks[0], tuple):  # not the few large bins, which are here
            steps.append(1)
            if len(steps) == 4:
                scheduler.send_signal(signal.SIGKILL)
        return original(rows, *args)

    lazy, file = image.chunk(y=8), tmp_path / "nmf.npz"
    options = {"mixing": "free", "seed": 0, "tol": 1e-7, "max_iter": 6}
    whole = eds_xr.nmf(image, 2, **options)
    monkeypatch.setattr(descent, "_sweep", sweep)
    with pytest.raises(EdsError, match=LOST):
        eds_xr.nmf(lazy, 2, **options, checkpoint=file)
    client.close(timeout=1)
    assert file.exists()
    counted: list[int] = []
    monkeypatch.setattr(descent, "_sweep", lambda *args: (counted.append(1), original(*args))[1])
    monkeypatch.setattr(fit, "split_rows", refuse)  # nor does it start from large bins again
    found = eds_xr.nmf(lazy, 2, **options, checkpoint=file)
    assert len(counted) == 3  # three of six were done
    assert found.attrs["iterations"] == 6
    assert not file.exists()
    np.testing.assert_allclose(found.loadings, whole.loadings, atol=2e-3)


def test_convert__does_not_need_the_scheduler(
    to_be_lost: tuple[Client, Any],
    image: xr.DataArray,
    tmp_path: Path,
    write_hspy: Callable[..., Path],
) -> None:
    client, scheduler = to_be_lost
    step = float(image.energy[1] - image.energy[0])
    names = ("y", "x", "Energy")
    axes = [
        {"name": name, "scale": step if name == "Energy" else 1.0, "offset": 0.0,
         "units": "keV" if name == "Energy" else "nm", "navigate": name != "Energy"}
        for name in names
    ]  # fmt: skip
    source = write_hspy(tmp_path / "map.hspy", {"EDS": (image.values, axes)})
    scheduler.kill()
    scheduler.wait()
    found = eds_xr.convert(source, tmp_path / "map.zarr")
    client.close(timeout=1)
    np.testing.assert_array_equal(eds_xr.open(found), image)
