import pytest

from eds_xr.app.serving import extra
from eds_xr.schema import EdsError


def test_need_panel__one_of_them_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "panel" else object())
    with pytest.raises(EdsError, match="need panel, which is not installed"):
        extra.need_panel()


def test_need_panel__both_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda _: object())
    extra.need_panel()
