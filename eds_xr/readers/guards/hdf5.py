"""Damaged HDF5 files, on which the HDF5 library crashes or never returns, end in an error.

Of a thousand files with a few bytes changed, a handful do (in its heaps of texts). So all metadata
are first read in a process of its own, see ``hdf5_probe``; it lives on for the next file.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from eds_xr.readers.guards import hdf5_probe
from eds_xr.schema import EdsError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
#: The longest silence: one object of a sound file is read at once, also from a slow disk.
_SILENCE_S = 5.0
_START_S = 60.0


def check_hdf5(path: Path, *, everything: bool = True) -> None:
    """Raise if the metadata of an HDF5 file cannot be read, whatever that does to the library.

    Also if any of its values lie in other files: a file of someone else could lead to any file of
    this computer.

    Parameters
    ----------
    path : Path
    everything : bool
        Read all metadata; otherwise only look where the values lie.

    Raises
    ------
    EdsError
        If the file leads to others, or the library reports damage, crashes or hangs.
    """
    with _LOCK:
        try:
            fault = _Probe.running().ask(path, everything)
        except BrokenPipeError:  # it was killed since the last file, which is no fault of this one
            fault = _Probe.started().ask(path, everything)
    if fault.startswith(hdf5_probe.ELSEWHERE):
        raise EdsError(
            f"parts of {path.name} lie in another file: "
            f"{fault.removeprefix(hdf5_probe.ELSEWHERE)}; only what lies in the file itself is "
            "read, as a link can lead to any file of this computer: open it in the program that "
            "wrote it, and save it as one file"
        )
    if fault:
        raise EdsError(
            f"cannot read {path.name}: {fault}; it may be cut short or damaged: copy it again "
            "from its origin"
        )


class _Probe:
    """The process, and a thread that listens to it."""

    _current: _Probe | None = None

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(hdf5_probe.__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        self.said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.silence_s = _START_S  # its imports come first
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    @classmethod
    def running(cls) -> _Probe:
        probe = cls._current
        if probe is None or probe.owner != os.getpid() or probe.process.poll() is not None:
            probe = cls.started()
        return probe

    @classmethod
    def started(cls) -> _Probe:
        probe = cls._current = cls()
        atexit.register(probe.stop)
        return probe

    def ask(self, path: Path, everything: bool) -> str:
        """Return what is wrong with a file; empty if nothing."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([str(path.absolute()), everything]).encode() + b"\n")
        self.process.stdin.flush()
        answer = b""
        while not answer.endswith(b"\n"):
            try:
                piece = self.said.get(timeout=self.silence_s)
            except queue.Empty:
                self.stop()
                return "the HDF5 library does not come to an end with it"
            if not piece:
                self.stop()
                return "the HDF5 library crashes on it"
            answer = (answer + piece).lstrip(b".")
            self.silence_s = _SILENCE_S
        return answer.decode("utf-8", "replace").strip()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while piece := os.read(descriptor, 65536):
            self.said.put(piece)
        self.said.put(b"")

    def stop(self) -> None:
        """End the process, if it is this one's."""
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
            self.listener.join(timeout=1)  # it ends with the process, and reads until then
            for pipe in (self.process.stdin, self.process.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]


_LOCK = threading.Lock()
