from pathlib import Path

import pytest

from eds_xr.app.serving.folder import confined
from eds_xr.schema import EdsError


@pytest.mark.parametrize("name", ["session.zarr", "below/labels.tif", " labels.png "])
def test_confined__names_within(tmp_path: Path, name: str) -> None:
    assert confined(tmp_path, name) == (tmp_path / name.strip()).resolve()


@pytest.mark.parametrize(
    "name",
    ["", " ", "..", "../x", "a/../../x", "/etc/passwd", "C:\\x", "C:x", "..\\x", "\\\\host\\x",
     "a\0b", "file:///etc/passwd", "s3://bucket/x"],
)  # fmt: skip
def test_confined__names_that_lead_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(EdsError, match="in it"):
        confined(tmp_path, name)


def test_confined__links_that_lead_out(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(EdsError, match="link"):
        confined(folder, "link/x.tif")


def test_confined__the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert confined(tmp_path / "link", "x.tif") == (tmp_path / "real" / "x.tif").resolve()
