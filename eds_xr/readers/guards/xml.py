"""XML of vendor files, parsed in bounded memory: no document type, so no entities that grow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from eds_xr.schema import EdsError

_LARGEST, _MOST_ELEMENTS, _DEPTH = 2**29, 500_000, 100


def parse(pieces: Iterable[bytes], what: str) -> Element:
    """Return the root of a document that comes in pieces.

    Raises
    ------
    EdsError
        If it is not XML, declares a document type, or is unreasonably large or deep.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser

    parser = DefusedXMLParser(target=_BoundedBuilder(), forbid_dtd=True)
    size = 0
    try:
        for piece in pieces:
            size += len(piece)
            if size > _LARGEST:
                raise _Refused(f"is larger than {_LARGEST} bytes")
            parser.feed(piece)
        return parser.close()
    except _Refused as refused:
        reason = str(refused)
    except DefusedXmlException:
        reason = "declares a document type, which such files never do"
    except (ParseError, LookupError, ValueError) as error:
        reason = f"is not XML that can be read ({error})"
    raise EdsError(f"{what} {reason}; the file may be damaged: copy it from its origin")


class _Refused(Exception):
    """Why a document is not read."""


class _BoundedBuilder(TreeBuilder):
    """Builds the tree, as long as it stays small."""

    _depth = _elements = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:
        """Begin an element."""
        self._depth += 1
        self._elements += 1
        if self._depth > _DEPTH or self._elements > _MOST_ELEMENTS:
            raise _Refused("has too many elements")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        """End an element."""
        self._depth -= 1
        return super().end(tag)
