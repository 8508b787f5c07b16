"""Write Lispix files: a text ``.rpl`` and the values ``.raw``."""

from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"u": "unsigned", "i": "signed", "f": "float"}


def write_lispix(
    path: Path, counts: np.ndarray, *, record_by: str = "vector", offset: int = 0, **keys: Any
) -> Path:
    """Write ``[y, x, energy]``; `keys` are more lines of the header, with ``_`` for ``-``."""
    height, width, depth = counts.shape
    dtype = counts.dtype
    order = {">": "big-endian", "<": "little-endian"}[np.dtype(dtype.str).str[0].replace("|", "<")]
    header = {
        "width": width, "height": height, "depth": depth, "offset": offset,
        "data-length": dtype.itemsize, "data-type": KINDS[dtype.kind],
        "byte-order": "dont-care" if dtype.itemsize == 1 else order, "record-by": record_by,
    }  # fmt: skip
    more = {name.replace("_", "-"): value for name, value in keys.items()}
    lines = [f"{name}\t{value}" for name, value in {"key": "value", **header, **more}.items()]
    path.with_suffix(".rpl").write_text("\n".join(lines) + "\n", "latin-1")
    values = counts if record_by == "vector" else np.moveaxis(counts, -1, 0)
    path.with_suffix(".raw").write_bytes(bytes(offset) + np.ascontiguousarray(values).tobytes())
    return path.with_suffix(".rpl")
