"""Files of a labeller: what cannot be saved or taken is said; nothing leaves the folder."""

import numpy as np
import pytest

import eds_xr
from eds_xr.app.labeller import files
from eds_xr.app.labeller.controller import Labeller
from eds_xr.schema import EdsError
from eds_xr.segmentation import scribbles


@pytest.fixture
def labeller(scene):
    made = Labeller(scene[0].isel(energy=slice(0, 64)), name="folder/../map.zarr")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("rois", "nothing is painted"),
        ("masks", "nothing is trained"),
        ("classifier", "nothing is trained"),
        ("soup", "save one of"),
    ],
)
def test_save__says_what_is_missing(labeller, tmp_path, what, said):
    with pytest.raises(EdsError, match=said):
        files.save(labeller, what, tmp_path)
    assert not list(tmp_path.iterdir())


def test_save__stays_in_the_folder(labeller, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    assert files.save(labeller, "session", inside).parent == inside


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.edsx", b"not a zip", "read"),
        ("a.zip", b"PK not really", "a.zip"),
        ("a.tif", b"II*\x00", "label image"),
        ("a.pkl", b"\x80\x04.", "ends in none of"),
        ("a.edsx", bytes(files.MOST_BYTES + 1), "at most"),
    ],
)
def test_load__of_what_is_no_such_file_changes_nothing(labeller, name, content, said):
    before = labeller.session
    with pytest.raises(EdsError, match=said):
        files.load(labeller, name, content)
    assert labeller.session is before


def test_load__label_image_comes_on_top(labeller, tmp_path):
    values = np.zeros(labeller.shape, np.uint8)
    values[10:20, 30:50] = 1
    label = eds_xr.schema.label_array(values, labeller.image, ["grain"])
    path = scribbles.write(label, tmp_path / "label.tif")
    files.load(labeller, "C:/fake/label.tif".rsplit("/", 1)[-1], path.read_bytes())
    assert labeller.session.class_names == ("class_1", "class_2", "grain")
    np.testing.assert_array_equal(files.painted(labeller).values == 3, values == 1)
    labeller.undo()
    assert labeller.session.class_names == ("class_1", "class_2")
