"""Read all metadata of HDF5 files, in a process that may crash on them; run by hdf5_guard.

The HDF5 library can crash, or never return, on a damaged file. This script imports nothing of
the package, so that it starts fast. It takes a path (as JSON) a line, and answers with any number
of dots, one for each object, and a line: empty, or what is wrong.
"""

from __future__ import annotations

import json
import sys
from typing import Any

#: Arrays up to this size can be metadata, and are read.
_SMALL_BYTES = 2**20
#: No metadata need more memory.
_MEMORY_BYTES = 4 * 2**30


def main() -> None:
    """Answer until there are no more paths."""
    _limit_memory()
    for line in sys.stdin:
        _say(f"{_fault(json.loads(line))}\n")


def _fault(path: str) -> str:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _look(file)
            file.visititems(lambda _, found: _look(found))
    except Exception as error:  # all that the library notices itself
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def _look(found: Any) -> None:
    import h5py

    for name in found.attrs:
        found.attrs[name]
    if isinstance(found, h5py.Dataset) and found.shape is not None:
        if found.chunks:
            found.id.get_num_chunks()
        is_metadata = not found.chunks or found.dtype.kind == "O"
        if is_metadata and found.size * found.dtype.itemsize <= _SMALL_BYTES:
            found[()]
    _say(".")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(
        resource.RLIMIT_AS, (_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1])
    )


if __name__ == "__main__":
    main()
