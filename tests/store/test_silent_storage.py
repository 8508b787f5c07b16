"""Remote storage that never answers: an error that names store and chunk, after a set time."""

import asyncio
import pickle
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dask
import fsspec
import numpy as np
import pytest
import xarray as xr
from fsspec.asyn import AsyncFileSystem
from support.packages import needs

import eds_xr
from eds_xr.readers.guards.timeouts import storage_timeout
from eds_xr.schema import EdsError
from eds_xr.store import retries

SECONDS = 0.3


class Silent(AsyncFileSystem):
    """Files of this machine behind a network that loses requests about some of them."""

    protocol = "silent"
    cachable = False
    #: A part of the names of those that are never answered, and how often they were asked for.
    about, asked = "nothing", 0

    async def _reached(self, path: str) -> Path:
        if Silent.about in path:
            Silent.asked += 1
            await asyncio.Event().wait()
        return Path(path)

    async def _cat_file(self, path: str, start: Any = None, end: Any = None, **_: Any) -> bytes:
        return (await self._reached(path)).read_bytes()[start:end]

    async def _exists(self, path: str, **_: Any) -> bool:
        return (await self._reached(path)).exists()

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        found = await self._reached(path)
        if not found.exists():
            raise FileNotFoundError(path)
        kind = "directory" if found.is_dir() else "file"
        return {"name": path, "type": kind, "size": found.stat().st_size}

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        found = [str(one) for one in sorted((await self._reached(path)).iterdir())]
        return [await self._info(one) for one in found] if detail else found

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        (await self._reached(path)).mkdir(parents=True, exist_ok=exist_ok)

    async def _pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        place = await self._reached(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(value)

    async def _rm_file(self, path: str, **_: Any) -> None:
        (await self._reached(path)).unlink()


fsspec.register_implementation("silent", Silent, clobber=True)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Silent]]:
    monkeypatch.setattr(retries, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(Silent, "asked", 0)
    monkeypatch.setattr(Silent, "about", "nothing")
    with dask.config.set({"eds_xr.storage-timeout": f"{SECONDS} s"}):
        yield Silent


@pytest.fixture
def url(tmp_path: Path, eager_image: xr.DataArray) -> str:
    eds_xr.save(eager_image, tmp_path / "map.zarr")
    return f"silent://{tmp_path}/map.zarr"


def test_open__a_chunk_that_is_never_answered_is_an_error(
    silent: type[Silent], url: str, eager_image: xr.DataArray
) -> None:
    image = eds_xr.open(url)
    np.testing.assert_array_equal(image, eager_image)
    silent.about = "counts/c"
    since = time.monotonic()
    with pytest.raises(EdsError, match=rf"chunk counts/c/0/0/0 of {url} .* no answer within 0.3 s"):
        image.compute()
    assert silent.asked == 4
    assert 4 * SECONDS <= time.monotonic() - since < 20 * SECONDS
    silent.about = "nothing"  # the connection is not blocked by what was given up
    np.testing.assert_array_equal(image, eager_image)


@pytest.mark.parametrize("about", ["map.zarr/zarr.json", "y/c/0"])
def test_open__a_document_or_an_axis_that_is_never_answered_is_an_error(
    silent: type[Silent], url: str, about: str
) -> None:
    silent.about = about
    with pytest.raises(EdsError, match=f"{url} could not be opened.* about .*{about[-3:]}"):
        eds_xr.open(url)


def test_save__to_storage_that_stops_to_answer(
    silent: type[Silent], tmp_path: Path, eager_image: xr.DataArray
) -> None:
    target = f"silent://{tmp_path}/new.zarr"
    eds_xr.save(eager_image, target)
    np.testing.assert_array_equal(eds_xr.open(target), eager_image)
    silent.about = "counts/c"
    with pytest.raises(EdsError, match=f"cannot reach {target} .*no answer within 0.3 s"):
        eds_xr.save(eager_image, target, overwrite=True)
    silent.about, silent.asked = "other.zarr/counts/c", 0
    other = f"silent://{tmp_path}/other.zarr"
    with pytest.raises(EdsError, match=f"writing {other} failed: no answer within 0.3 s about cou"):
        eds_xr.save(eager_image, other)
    assert silent.asked == 4
    assert not [path for path in (tmp_path / "other.zarr").rglob("*") if path.is_file()]


def test_open__keeps_the_time_that_was_set(silent: type[Silent], url: str) -> None:
    image = pickle.loads(pickle.dumps(eds_xr.open(url)))  # as a worker gets it
    silent.about = "counts/c"
    with (
        dask.config.set({"eds_xr.storage-timeout": 1000.0}),
        pytest.raises(EdsError, match="0.3 s"),
    ):
        image.compute()


@pytest.mark.parametrize("said", ["soon", 0, -1, None])
def test_storage_timeout__is_a_time(said: Any) -> None:
    assert storage_timeout() == 60.0
    with (
        dask.config.set({"eds_xr.storage-timeout": said}),
        pytest.raises(EdsError, match="must be a time such as '60 s', found"),
    ):
        storage_timeout()


@pytest.mark.slow
@needs("s3", "aiohttp")
def test_open__over_http_from_a_server_that_never_answers(
    silent: type[Silent], url: str, tmp_path: Path, eager_image: xr.DataArray
) -> None:
    ended = threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def do_GET(self) -> None:
            if Silent.about in self.path:
                ended.wait(60)
            else:
                super().do_GET()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        where = f"http://127.0.0.1:{server.server_port}/map.zarr"
        try:
            with dask.config.set({"eds_xr.storage-timeout": 2.0}):
                image = eds_xr.open(where)
            np.testing.assert_array_equal(image, eager_image)
            silent.about = "counts/c"
            with pytest.raises(EdsError, match=f"chunk counts/c/0/0/0 of {where} .* within 2 s"):
                image.compute()
        finally:
            ended.set()
            server.shutdown()
