"""XML of vendor files, parsed in bounded memory: no document type, so no entities that grow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from eds_xr.schema import EdsError

_LARGEST, _MOST_ELEMENTS, _DEPTH = 2**29, 500_000, 100


def parse(pieces: Iterable[bytes], what: str) -> Element:
    """Return the root of a document that comes in pieces.

    Raises
    ------
    EdsError
        If it is not XML, declares a document type, or is unreasonably large or deep.
    """
    builder = _BoundedBuilder(what)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = builder.refuse_document_type
    size = 0
    try:
        for piece in pieces:
            size += len(piece)
            if size > _LARGEST:
                builder.refuse(f"is larger than {_LARGEST} bytes")
            parser.Parse(piece, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, EdsError):
            raise
        builder.refuse(f"is not XML that can be read ({error})")
    return builder.close()


class _BoundedBuilder(TreeBuilder):
    """Builds the tree, as long as it stays small."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what
        self._depth = self._elements = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:
        """Begin an element."""
        self._depth += 1
        self._elements += 1
        if self._depth > _DEPTH or self._elements > _MOST_ELEMENTS:
            self.refuse("has too many elements")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        """End an element."""
        self._depth -= 1
        return super().end(tag)

    def refuse_document_type(self, *_: Any) -> NoReturn:
        """Raise, as entities could be declared there."""
        self.refuse("declares a document type, which such files never do")

    def refuse(self, reason: str) -> NoReturn:
        """Raise the error of a document that is not read."""
        raise EdsError(f"{self._what} {reason}; the file may be damaged: copy it from its origin")
