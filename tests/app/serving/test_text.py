import pytest

pytest.importorskip("panel", reason="the extra 'label' is not installed")

from bokeh.document import Document  # noqa: E402
from bokeh.models import ImportedStyleSheet  # noqa: E402

from eds_xr.app.serving.text import Text  # noqa: E402


def test_text__names_no_style_sheet_of_another_host() -> None:
    text = Text("first")
    document = Document()
    model = text.get_root(document)
    text.object = "second"
    sheets = text._get_properties(document)["stylesheets"]
    assert len(sheets) > 1
    named = [s.url for s in sheets if isinstance(s, ImportedStyleSheet)]
    assert not [url for url in named if url.startswith("http")]
    assert "second" in model.text
