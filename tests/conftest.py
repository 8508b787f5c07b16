"""Fixtures that several test files share."""

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

# Before NumPy is there, in the workers of pytest and all processes that tests start: each core has
# a worker already, and threads of matrix algebra that wait for each other take many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import xarray as xr  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from support import draw  # noqa: E402
from support.images import small_image  # noqa: E402

# A busy machine is slow, not wrong: no time limits for single examples. pytest-timeout has one.
settings.register_profile(
    "any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any_machine")


@pytest.hookimpl(trylast=True)  # of those that -m and -k leave
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Draw some of the slow tests."""
    draw.leave_out(config, items)


@pytest.fixture(params=["numpy", "one_chunk", "uneven_chunks"])
def spectrum_image(request: pytest.FixtureRequest) -> xr.DataArray:
    """A small Poisson spectrum image (12 x 15 x 64) of two phases, in three chunkings."""
    chunks: dict[str, dict[str, Any]] = {
        "one_chunk": {"y": -1, "x": -1, "energy": -1},
        "uneven_chunks": {"y": (5, 4, 3), "x": (8, 7), "energy": -1},
    }
    image = small_image()
    return image.chunk(chunks[request.param]) if request.param in chunks else image


@pytest.fixture
def eager_image() -> xr.DataArray:
    """The image of `spectrum_image`, on NumPy."""
    return small_image()


@pytest.fixture
def write_hspy() -> Callable[..., Path]:
    """Write signals to a HyperSpy file: ``write_hspy(path, {"EDX": (values, axes)})``."""
    return _write_hspy


def _write_hspy(
    path: Path,
    signals: dict[str, tuple[np.ndarray, list[dict[str, Any]]]],
    *,
    signal_type: str = "EDS_TEM",
) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs.update(file_format="HyperSpy", file_format_version="3.3")
        for name, (values, axes) in signals.items():
            group = file.create_group(f"Experiments/{name}")
            group.create_dataset("data", data=values, chunks=True, compression="gzip")
            for i, axis in enumerate(axes):
                group.create_group(f"axis-{i}").attrs.update(size=values.shape[i], **axis)
            group.create_group("metadata/General").attrs["title"] = name
            group.create_group("metadata/Signal").attrs["signal_type"] = signal_type
            tem = group.create_group("metadata/Acquisition_instrument/TEM")
            tem.attrs["beam_energy"] = 200.0
            tem.create_group("Detector/EDS").attrs.update(live_time=12.5, elevation_angle=22)
            group.create_group("original_metadata/Vendor").attrs["shift"] = np.arange(3)
    return path


@pytest.fixture(scope="session")
def assemblage() -> tuple[xr.DataArray, xr.Dataset]:
    """A simulated pyrolite, lazy, and its truth."""
    from eds_xr import simulate

    recipe = {"shape": (72, 72, 1024), "dose": 200.0, "seed": 31}
    return simulate.spectrum_image(**recipe).drop_vars("haadf").persist(), simulate.truth(**recipe)


@pytest.fixture(scope="session")
def workers() -> Iterator[Any]:
    """A ``LocalCluster`` of two processes, on whichever ports are free; no client of it yet."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit="1GiB", dashboard_address=":0"
    ) as cluster:
        yield cluster


class Said(logging.Handler):
    """Remembers what a logger says."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a text."""
        self.texts.append(record.getMessage())


@pytest.fixture
def client(workers: Any) -> Iterator[Any]:
    """A client of two worker processes, on which Dask computes during this test.

    The test fails where two graphs give the same task another meaning: Dask would warn the user.
    """
    from distributed import Client

    said = Said()
    scheduler = logging.getLogger("distributed.scheduler")
    scheduler.addHandler(said)
    try:
        with Client(workers) as client:
            yield client
    finally:
        scheduler.removeHandler(said)
    at_odds = [text for text in said.texts if "run_spec" in text]
    assert not at_odds, at_odds[0]


@pytest.fixture(autouse=True)
def no_client_left() -> Iterator[None]:
    """Fail a test that leaves a client behind: the next one would compute on its cluster."""
    yield
    if close_client_left():
        pytest.fail("this test left a distributed.Client open; use the fixture `client`")


def close_client_left() -> bool:
    """Close the client on which Dask would compute; return whether there was one."""
    if "distributed" not in sys.modules:
        return False
    from distributed import default_client

    try:
        left = default_client()
    except ValueError:
        return False
    left.close()
    return True


@pytest.fixture(scope="session")
def sample() -> Iterator[Callable[[str], Path]]:
    """Fetch a published spectrum image; for tests marked ``network``."""
    from eds_xr import samples
    from eds_xr.schema import EdsError

    def fetch(name: str) -> Path:
        try:
            return samples.fetch(name)
        except EdsError as error:
            _absent("network", str(error))

    with pytest.MonkeyPatch.context() as patch:  # without a network, learn it soon
        patch.setenv("PIP_RETRIES", "0")
        patch.setenv("PIP_TIMEOUT", "10")
        yield fetch


@pytest.fixture(scope="session")
def published_71gpa(
    sample: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The published map of 71 GPa as a store, for tests marked ``network`` that only read it."""
    from eds_xr import store

    return store.convert(sample("71GPa"), tmp_path_factory.mktemp("published") / "71GPa.zarr")


@pytest.fixture(scope="session")
def spectrum_of_71gpa(published_71gpa: Path) -> xr.DataArray:
    """The sum of all spectra of the published map of 71 GPa ``[energy; counts]``."""
    from eds_xr import store

    return store.open(published_71gpa).sum(("y", "x"), dtype=np.int64).compute()


@pytest.fixture(scope="session")
def vendor_file() -> Callable[[str], Path]:
    """Find a file of the folder EDS_XR_VENDOR_FILES; for tests marked ``vendor``."""

    def find(name: str) -> Path:
        folder = os.environ.get("EDS_XR_VENDOR_FILES")
        if not folder:
            _absent("vendor", "EDS_XR_VENDOR_FILES is not set")
        path = Path(folder) / name
        return path if path.exists() else _absent("vendor", f"no {name} in {folder}")

    return find


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium, for tests marked ``browser``; closed before other modules run.

    Playwright's loop runs in this thread as long as it is open: no test of asyncio may run beside.
    """
    path = os.environ.get("EDS_XR_CHROMIUM") or shutil.which("chromium")
    if not path:
        _absent("browser", "no chromium on the path, and EDS_XR_CHROMIUM is not set")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _absent("browser", "playwright is not installed")
    quiet = [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ]  # fmt: skip
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=path, args=quiet)
        yield opened
        opened.close()


@pytest.fixture
def screen(chromium: Any) -> Iterator[Any]:
    """A page of 1280 x 800; a test fails when it asks another host, or says an error."""
    from support.browser import Screen

    with Screen(chromium) as shown:
        yield shown
    shown.check()


@pytest.fixture(scope="module")
def stage_of_file(chromium: Any) -> Iterator[Any]:
    """Server and browser's page of a file's tests; they use `stage`."""
    from support.stage import Stage

    shared = Stage(chromium)
    yield shared
    shared.close()


@pytest.fixture
def stage(stage_of_file: Any) -> Iterator[Any]:
    """Where a test shows an app on a page loaded anew; it fails as with `screen`."""
    yield stage_of_file
    try:
        stage_of_file.screen.check()
    finally:
        stage_of_file.clear()


def _absent(kind: str, reason: str) -> NoReturn:
    """Skip, or fail where EDS_XR_REQUIRE names the kind of data that must be there."""
    if kind in os.environ.get("EDS_XR_REQUIRE", ""):
        pytest.fail(f"{kind} data are required: {reason}")
    pytest.skip(f"no {kind} data: {reason}")
