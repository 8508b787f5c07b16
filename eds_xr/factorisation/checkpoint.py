"""Where a descent stands, in a small file: a factorisation goes on there after its run was lost."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.atomic_write import written_file
from eds_xr.factorisation.solver.descent import DescentResult
from eds_xr.progress import warn
from eds_xr.schema import EdsError

#: Arrays of the file.
_ARRAYS = ("loadings", "weights")


class Checkpoint:
    """The best loadings so far, written after every step; of one image and one set of options."""

    def __init__(self, path: Path, *of: Any) -> None:
        """Take the file, and all that decides where a descent leads."""
        self.path, self._of = path, _fingerprint(of)

    def read(self) -> DescentResult | None:
        """Return where a former run stood, or None if there was none.

        Raises
        ------
        EdsError
            If the file is none of :func:`eds_xr.nmf`, or of another image or other options.
        """
        if not self.path.exists():
            return None
        try:
            with self.path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                found = DescentResult(*(file[name] for name in _ARRAYS), **about["state"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise EdsError(
                f"{self.path} is no checkpoint of eds_xr.nmf ({type(error).__name__}: {error}); "
                "remove it, or choose another name"
            ) from error
        if about["of"] != self._of:
            raise EdsError(
                f"{self.path} is the checkpoint of another image or of other options; remove it, "
                "or choose another name"
            )
        return found

    def write(self, result: DescentResult) -> None:
        """Replace what is in the file; where that fails, warn, as the fit is worth more."""
        state = {"deviance": float(result.deviance), "iterations": int(result.iterations),
                 "converged": bool(result.converged)}  # fmt: skip
        about = json.dumps({"of": self._of, "state": state})
        try:
            with written_file(self.path, overwrite=True) as place, place.open("wb") as file:
                np.savez(file, loadings=result.loadings, weights=result.weights, about=about)
        except EdsError as error:
            warn(f"the checkpoint could not be written, the fit goes on without: {error}")


def _fingerprint(of: tuple[Any, ...]) -> str:
    """Return a hash of arrays, numbers and texts."""
    found = hashlib.sha256()
    for one in of:
        if isinstance(one, np.ndarray):
            found.update(repr((one.shape, str(one.dtype))).encode() + one.tobytes())
        else:
            found.update(repr(one).encode())
    return found.hexdigest()
