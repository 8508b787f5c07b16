"""`image.eds.label()`: what it gives at any time, and what is there again next time."""

import numpy as np
import pytest

import eds_xr
from eds_xr.app.labeller.label import shared_views
from eds_xr.app.labeller.still import still_picture
from eds_xr.schema import EdsError


@pytest.fixture
def image(scene, tmp_path):
    return eds_xr.open(eds_xr.save(scene[0], tmp_path / "map.zarr"))


def paint(labeller, hand, names):
    for number, (name, paths) in enumerate(zip(names, hand.values(), strict=False)):
        for i, path in enumerate(paths):
            labeller.draw_stroke(
                {"id": f"{number} {i}", "kind": "line", "points": [list(p) for p in path],
                 "width_pixels": 3, "class": name}
            )  # fmt: skip


def test_label__gives_what_is_painted_and_found(image, hand):
    labelling = image.eds.label()
    with pytest.raises(EdsError, match="not labelled yet"):
        _ = labelling.label
    paint(labelling.labeller, hand, ("class_1", "class_2"))
    labelling.labeller.train()
    labelling.labeller.wait()
    assert set(np.unique(labelling.label)) == {1, 2}
    assert labelling.probability.sizes["phase"] == 2
    assert labelling.phases.present.sizes["phase"] == 2
    assert (labelling.scribbles > 0).any()
    assert labelling.spectra.counts.sum() == image.sum()
    assert still_picture(labelling.labeller).startswith(b"\x89PNG")
    labelling.close()


def test_label__next_time_strokes_are_there(image, hand):
    first = image.eds.label()
    paint(first.labeller, hand, ("class_1", "class_2"))
    first.close()
    again = image.eds.label()
    assert again.session.strokes == first.session.strokes
    assert "strokes of last time" in again.labeller.said
    again.close()


def test_shared_views__a_second_page_has_the_strokes_of_the_first(image, hand):
    pages = shared_views(image)
    first, second = pages(), pages()
    paint(first.labeller, hand, ("class_1",))
    assert second.labeller is first.labeller
    first.close()
    assert not second.labeller.closed
    second.close()
    assert second.labeller.closed
    third = pages()  # the work had ended: from the disk
    assert third.labeller.session.strokes == first.labeller.session.strokes
    third.close()


def test_label__channels_of_another_grid_are_refused(image):
    other = one_channel(image).isel(x=slice(0, 10))
    with pytest.raises(EdsError, match="the channel"):
        image.eds.label(channels={"other": other})


def one_channel(image):
    return image.isel(energy=0, drop=True).astype(float)
