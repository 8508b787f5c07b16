"""Tests of sessions: what they hold, what they refuse, and what strokes paint."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from eds_xr import labelling, scribbles
from eds_xr.schema import COLORS, EdsError, phase_colors, phase_names
from eds_xr.segmentation.labelling import (
    LabelClass,
    LabelledImage,
    Parameters,
    Session,
    scribbles_of,
)
from eds_xr.segmentation.labelling.session import class_name


def image(height: int = 6, width: int = 8, step: float = 1.5) -> xr.DataArray:
    coords = {
        "y": ("y", step * np.arange(height), {"units": "nm"}),
        "x": ("x", step * np.arange(width), {"units": "nm"}),
        "haadf": (("y", "x"), np.ones((height, width))),
    }
    return xr.DataArray(np.zeros((height, width, 3)), coords, ("y", "x", "energy"))


def session_of(*names: str) -> Session:
    session = labelling.add_image(Session(), "map.zarr", image())
    for name in names:
        session = labelling.add_class(session, name)
    return session


def painted(session: Session, *rois: Any) -> Session:
    for roi in rois:
        session = labelling.add_stroke(session, roi)
    return session


def test_scribbles_of__strokes_in_order_and_erasers() -> None:
    session = painted(
        session_of("a", "b", "a+b"),
        scribbles.rectangle("a", (0, 3), (0, 8)),
        scribbles.eraser([(1.5, 0.5), (1.5, 7.5)]),
        scribbles.line("b", [(1.5, 2.5), (1.5, 3.5)]),
        scribbles.points("a+b", [(5.5, 7.5)]),
    )
    found = scribbles_of(session)
    expected = np.zeros((6, 8), int)
    expected[[0, 2]] = 1
    expected[1, 2:4] = 2
    expected[5, 7] = 3
    np.testing.assert_array_equal(found, expected)
    assert phase_names(found) == ["a", "b", "a+b"]
    assert phase_colors(found) == list(COLORS[:3])
    xr.testing.assert_identical(found.x, image().x)
    assert set(found.coords) == {"y", "x"}


def test_scribbles_of__each_image_has_its_own() -> None:
    session = labelling.add_image(session_of("a"), "other.zarr", image(4, 4))
    stroke = scribbles.line("a", [(2.5, 1.5)])
    session = labelling.add_stroke(session, stroke, "other.zarr")
    assert int(scribbles_of(session, "other.zarr").sum()) == 1
    assert scribbles_of(session, "other.zarr").shape == (4, 4)
    assert int(scribbles_of(session, "map.zarr").sum()) == 0
    with pytest.raises(EdsError, match=r"which image\? there are 'map.zarr', 'other.zarr'"):
        scribbles_of(session)
    with pytest.raises(EdsError, match="'third' is no image here"):
        scribbles_of(session, "third")


def test_scribbles_of__refuses_another_grid() -> None:
    session = session_of("a")
    assert scribbles_of(session, like=image()).shape == (6, 8)
    with pytest.raises(EdsError, match="the image given as 'map.zarr' has 9 pixels along 'x'"):
        scribbles_of(session, like=image(6, 9))
    with pytest.raises(EdsError, match="lies elsewhere along 'y'"):
        scribbles_of(session, like=image(step=2.0))
    with pytest.raises(EdsError, match="has no classes"):
        scribbles_of(session_of())


def test_session__equality_is_of_what_it_holds() -> None:
    one, other = (painted(session_of("a"), scribbles.line("a", [(1, 2), (3, 4)])) for _ in range(2))
    assert one == other
    assert hash(one.strokes) == hash(other.strokes)
    assert one != painted(session_of("a"), scribbles.line("a", [(1, 2), (3, 5)]))
    assert one != labelling.add_image(one, "other", image(3, 3))
    moved = image().assign_coords(x=image().x + 1)
    assert LabelledImage("map.zarr", image()) != LabelledImage("map.zarr", moved)


def test_session__images_take_no_memory() -> None:
    like = xr.DataArray(np.broadcast_to(0, (8192, 8192)), dims=("y", "x"))
    assert LabelledImage("large", like).grid.values.base.nbytes < 10


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: session_of("a", "b", "a+b", "b+a"), "two classes of a and b"),
        (lambda: session_of("a", "a+b"), "a\\+b holds b, which is no class"),
        (lambda: session_of("a", "a"), "two classes of a"),
        (lambda: session_of("none"), "'none' is what labels call"),
        (lambda: session_of("a", "a+"), "'a\\+' is no name of a class"),
        (lambda: session_of(*(f"c{i}" for i in range(256))), "may be 255 classes, found 256"),
        (lambda: LabelClass("a", "red"), "written as #rrggbb, found 'red'"),
        (lambda: LabelClass("a b", "#000000"), "'a b' is no name of a class, 'a_b' is"),
        (lambda: LabelledImage("", image()), "needs a name"),
        (lambda: LabelledImage("scan", image().isel(y=0)), "regions lie on an image"),
        (lambda: painted(session_of("a"), scribbles.line("b", [(1, 1)])), "'b', which is no class"),
        (lambda: painted(session_of("a"), scribbles.line("a", [(1, 1)], width_pixels=np.nan)),
         "the width of a line must be 0 or more"),
    ],
)  # fmt: skip
def test_session__refuses(made: Any, message: str) -> None:
    with pytest.raises(EdsError, match=message):
        made()


def test_session__refuses_strokes_that_belong_nowhere() -> None:
    one = painted(session_of("a"), scribbles.line("a", [(1, 1)]))
    with pytest.raises(EdsError, match="which is no image here"):
        Session(one.classes, one.strokes)
    with pytest.raises(EdsError, match="two strokes have one number"):
        Session(one.classes, one.strokes * 2, one.images)
    with pytest.raises(EdsError, match="two images have one name"):
        Session(one.classes, (), one.images * 2)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("kinds", ("gauss",), "a kind of feature must be one of"),
        ("kinds", "gaussian", "kinds must be a list"),
        ("scales", (0.0,), "scales must be above 0"),
        ("channels", ("a", "a"), "channels must differ"),
        ("n_trees", 0, "n_trees must be a whole number from 1"),
        ("n_trees", True, "n_trees must be a whole number"),
        ("balanced", 1, "balanced must be True or False"),
        ("smoothness", float("nan"), "smoothness must be 0 or more"),
        ("least_share", 1.0, "least_share must be between 0 and 1"),
        ("seed", -1, "seed must be a whole number from 0"),
    ],
)
def test_parameters__refuse(name: str, value: Any, message: str) -> None:
    with pytest.raises(EdsError, match=message):
        Parameters(**{name: value})
    with pytest.raises(EdsError, match=message):
        labelling.set_parameter(Session(), name, value)


def test_next_color__is_one_that_no_class_has() -> None:
    session = labelling.recolour_class(session_of("a", "b"), "a", COLORS[2])
    assert session.next_color() == COLORS[0]
    full = session_of(*(f"c{i}" for i in range(len(COLORS))))
    assert full.next_color() == COLORS[0]


def test_class_name__of_a_name_is_itself() -> None:
    assert class_name("iron  oxide +a+ a") == "iron_oxide+a"
    assert class_name(class_name(" a + b c")) == "a+b_c"
