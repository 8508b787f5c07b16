"""Damaged files raise about everything in the libraries below; users get one clear error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eds_xr.schema import EdsError


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn whatever the ``with`` block raises about the file into an EdsError that names it."""
    try:
        yield
    except EdsError:
        raise
    except MemoryError as error:
        raise EdsError(
            f"{path.name} asks for more memory than there is ({error}); its header may be "
            "damaged: copy it again from its origin, or use a larger machine"
        ) from error
    except Exception as error:
        raise EdsError(
            f"cannot read {path.name}: {type(error).__name__}: {error}; "
            "it may be cut short or damaged: copy it again from its origin"
        ) from error
