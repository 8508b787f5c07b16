"""The HTML around an app: Panel's, and the script that keeps its connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parent / "connection.js"
#: After the browser's libraries, before the page connects.
_HTML = (
    "{% extends base %}{% block postamble %}<script>{{ connection | safe }}</script>{% endblock %}"
)


def page_template() -> tuple[Any, dict[str, Any]]:
    """Return the template of a served page, and its variables."""
    from panel.io.resources import BASE_TEMPLATE

    template = BASE_TEMPLATE.environment.from_string(_HTML)
    return template, {"base": BASE_TEMPLATE, "connection": SCRIPT.read_text(encoding="utf-8")}
