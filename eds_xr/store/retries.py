"""Storage that fails for a moment: asked again a few times, then told by name."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

#: Waits between two attempts [s]: object stores ask their clients to slow down for some seconds.
WAITS = (0.1, 0.5, 2.0)
#: How often something was tried, for messages.
TRIED = f"{len(WAITS) + 1} times where another may help"
#: What another attempt does not change.
_LASTING = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError,
            NotADirectoryError)  # fmt: skip
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
#: Libraries of object stores, whose errors are not all OSErrors.
_OF_STORES = (
    "aiohttp",
    "aiobotocore",
    "botocore",
    "google",
    "azure",
    "gcsfs",
    "requests",
    "urllib3",
)


def persistently(work: Callable[[], T]) -> T:
    """Return ``work()``; where storage fails for a moment, do it again after a while."""
    for wait in WAITS:
        try:
            return work()
        except Exception as error:
            if not may_pass(error):
                raise
            time.sleep(wait)
    return work()


def may_pass(error: BaseException) -> bool:
    """Return whether an error is one of storage that may answer later."""
    causes = list(_causes(error))
    return is_of_storage(error) and not any(
        isinstance(one, _LASTING) or getattr(one, "errno", None) in _FULL for one in causes
    )


def is_of_storage(error: BaseException) -> bool:
    """Return whether storage refused or did not answer, rather than giving what is damaged."""
    return any(
        isinstance(one, OSError | TimeoutError)
        or type(one).__module__.partition(".")[0] in _OF_STORES
        for one in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
