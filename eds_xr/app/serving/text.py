"""Text of a page that is styled from this machine, in notebooks too."""

from __future__ import annotations

from typing import Any

import panel as pn
from bokeh.models import ImportedStyleSheet
from panel.io.notebook import replace_inline_css


class Text(pn.pane.HTML):
    """HTML whose style sheets never come from another host.

    Panel sends them again with each new text; in a notebook it would then name those of its CDN.
    """

    def _get_properties(self, doc: Any) -> dict[str, Any]:
        properties: dict[str, Any] = super()._get_properties(doc)
        served = doc is not None and doc.session_context is not None
        if not served and "stylesheets" in properties:
            properties["stylesheets"] = [
                replace_inline_css(sheet) if isinstance(sheet, ImportedStyleSheet) else sheet
                for sheet in properties["stylesheets"]
            ]
        return properties
