"""A served app whose page is one line of text."""

from collections.abc import Iterator
from typing import Any

import pytest

pn = pytest.importorskip("panel", reason="the extra 'label' is not installed")

from eds_xr.app.serving.server import Served, serve  # noqa: E402


class Text:
    """A page that counts how often it is opened and closed."""

    opened = 0
    closed = 0

    def __init__(self) -> None:
        type(self).opened += 1

    def panel(self) -> Any:
        return pn.pane.Str("a page", name="text")

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def text() -> type[Text]:
    return type("Text", (Text,), {})


@pytest.fixture
def served(text: type[Text]) -> Iterator[Served]:
    with serve(text, show=False, block=False) as running:
        yield running
