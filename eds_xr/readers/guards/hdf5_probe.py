"""Read all metadata of HDF5 files, in a process that may crash on them; run by hdf5_guard.

The HDF5 library can crash, or never return, on a damaged file. This script imports nothing of
the package, so that it starts fast. It takes a line of JSON, a path and whether all metadata are
to be read, or only the links; it answers with any number of dots, one for each object, and a line:
empty, or what is wrong. What lies in other files is told before anything of it is read.
"""

from __future__ import annotations

import json
import sys
from typing import Any

#: Begins what is said of a file that leads to others.
ELSEWHERE = "elsewhere: "
#: Arrays up to this size can be metadata, and are read.
_SMALL_BYTES = 2**20
#: No metadata need more memory.
_MEMORY_BYTES = 4 * 2**30


def main() -> None:
    """Answer until there are no more paths."""
    _limit_memory()
    for line in sys.stdin:
        _say(f"{_fault(*json.loads(line))}\n")


def _fault(path: str, everything: bool) -> str:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            led = _leads_out(file) or file.visititems(lambda _, found: _leads_out(found))
            if led:
                return " ".join(f"{ELSEWHERE}{led}".split())
            if everything:
                _look(file)
                file.visititems(lambda _, found: _look(found))
    except Exception as error:  # all that the library notices itself
        return " ".join(f"{type(error).__name__}: {error}".split()) if everything else ""
    return ""


def _leads_out(found: Any) -> str | None:
    """Return what of a group or dataset lies in another file, None if nothing does."""
    import h5py

    _say(".")
    if isinstance(found, h5py.Group):
        for name in found:
            link = found.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                return f"{found.name.rstrip('/')}/{name} is a link to {link.filename}"
    elif isinstance(found, h5py.Dataset):
        files = [name for name, *_ in found.external or ()]
        if found.is_virtual:
            files += [part.file_name for part in found.virtual_sources() if part.file_name != "."]
        if files:
            return f"the values of {found.name} lie in {files[0]}"
    return None


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
