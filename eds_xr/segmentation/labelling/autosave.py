"""Sessions that outlive a tab, a kernel or a server: saved beside their store after each edit.

Each running session writes a file of its own, so that two sessions on one store never overwrite
each other. What is left by a process that is over can be recovered.
"""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path

from eds_xr.atomic_write import beside, clean_leftovers, writer_is_gone, written_file
from eds_xr.places import local_or_url
from eds_xr.progress import warn
from eds_xr.schema import EdsError
from eds_xr.segmentation.classify.classifier import PixelClassifier, classifier_bytes
from eds_xr.segmentation.labelling.session import Session
from eds_xr.segmentation.labelling.session_file import read_session, session_bytes

#: Within the name of such a file, and its ending.
_KIND, _ENDING = "strokes", ".edsx"
#: Files that sessions of this process are writing now.
_ACTIVE: set[Path] = set()


class Autosave:
    """Writes a session beside its store, in a thread of its own, some time after edits.

    Parameters
    ----------
    store : path or URL
        What is painted on.
    folder : path, optional
        Where to write; by default where the store lies. A URL needs one.
    delay_s : float
        Edits within this time are written together.

    Attributes
    ----------
    file : Path
        Where this session is written. It appears whole or not at all.

    Raises
    ------
    EdsError
        For a URL without `folder`.

    Examples
    --------
    >>> import tempfile
    >>> from eds_xr import labelling
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Autosave("map.zarr", folder=folder) as autosave:
    ...         autosave.note(labelling.add_class(labelling.Session(), "matrix"))
    ...     recovered = Autosave("map.zarr", folder=folder).recover()
    >>> recovered.class_names
    ('matrix',)
    """

    def __init__(
        self,
        store: str | os.PathLike[str],
        *,
        folder: str | os.PathLike[str] | None = None,
        delay_s: float = 0.5,
    ) -> None:
        self._target = _target(store, folder)
        self.file = beside(self._target, _KIND, _ENDING)
        self._delay_s = delay_s
        self._changed = threading.Condition()
        self._noted: Session | None = None
        self._writing = self._closed = False
        self._error: EdsError | None = None
        #: the classifier that was written last, and its content: packing it takes half a second
        self._packed: tuple[PixelClassifier | None, bytes | None] = (None, None)
        self._thread: threading.Thread | None = None
        _ACTIVE.add(self.file)
        atexit.register(self.close)

    @property
    def error(self) -> EdsError | None:
        """Why the last session that was noted could not be written; None where it was."""
        return self._error

    def note(self, session: Session) -> None:
        """Have a session written soon; returns at once. The latest one counts."""
        with self._changed:
            if self._closed:
                raise EdsError(f"the autosave to {self.file} is closed")
            self._noted = session
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._write_what_is_noted, name="eds_xr autosave", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all that was noted is on disk.

        Raises
        ------
        EdsError
            When it could not be written.
        """
        with self._changed:
            delay, self._delay_s = self._delay_s, 0.0
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._noted is None and not self._writing)
            self._delay_s = delay
        if self._error is not None:
            raise self._error

    def close(self, *, keep: bool = True) -> None:
        """Write what was noted and stop.

        Parameters
        ----------
        keep : bool
            Whether the file stays, to be recovered; False once the session is saved elsewhere.
        """
        with self._changed:
            already, self._closed = self._closed, True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if not already:
            _ACTIVE.discard(self.file)
            atexit.unregister(self.close)
        if not keep:
            self.file.unlink(missing_ok=True)

    def recoverable(self) -> list[Path]:
        """Return the files that sessions on this store have left, the newest first.

        Those of sessions that are still open on this machine are not among them. Of another
        machine's nobody can tell: they are listed, and never removed.
        """
        files = _files_of(self._target)
        return [path for path in files if writer_is_gone(path, in_use=_ACTIVE) is not False]

    def recover(self, path: Path | None = None) -> Session | None:
        """Return what a session has left, and go on from there; None when there is nothing.

        Parameters
        ----------
        path : Path, optional
            One of :meth:`recoverable`; by default the newest that can be read.
        """
        for one in self.recoverable() if path is None else [path]:
            try:
                session = read_session(one)
            except EdsError as error:
                if path is not None:
                    raise
                warn(f"a session was not recovered: {error}")
                continue
            self.note(session)
            self.flush()
            if writer_is_gone(one, in_use=_ACTIVE):
                one.unlink(missing_ok=True)
                clean_leftovers(one)
            return session
        return None

    def __enter__(self) -> Autosave:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_what_is_noted(self) -> None:
        """Write in the thread, until closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._noted is not None or self._closed)
                if self._noted is not None and not self._closed and self._delay_s:
                    self._changed.wait_for(lambda: self._closed or not self._delay_s, self._delay_s)
                session, self._noted = self._noted, None
                self._writing = session is not None
            if session is None:
                return
            error = self._written(session)
            with self._changed:
                self._error, self._writing = error, False
                self._changed.notify_all()

    def _written(self, session: Session) -> EdsError | None:
        try:
            model = session.classifier
            if model is not self._packed[0]:
                self._packed = (model, None if model is None else classifier_bytes(model))
            content = session_bytes(session, self._packed[1])
            with written_file(self.file, overwrite=True) as partial:
                partial.write_bytes(content)
        except EdsError as error:
            return error
        except Exception as error:  # whatever it is, the thread lives on and the user is told
            return EdsError(f"the session could not be written to {self.file}: {error!r}")
        return None


def _target(store: str | os.PathLike[str], folder: str | os.PathLike[str] | None) -> Path:
    """Return the path beside which files of sessions on a store lie."""
    place = local_or_url(store)
    if folder is not None:
        return Path(folder).expanduser().resolve() / str(place).rstrip("/").rsplit("/", 1)[-1]
    if isinstance(place, str):
        raise EdsError(
            f"strokes on {store} need a folder on this machine to be saved in: give folder=..."
        )
    return place


def _files_of(target: Path) -> list[Path]:
    """Return the files of all sessions on a store, the newest first."""
    found = []
    if target.parent.is_dir():
        for path in target.parent.iterdir():
            if path.name.startswith(f".{target.name}.{_KIND}-") and path.suffix == _ENDING:
                found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found, reverse=True)]
