"""Tests of eds_xr.scribbles, and of masks.from_rois."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import tifffile
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from eds_xr import masks
from eds_xr.provenance import history
from eds_xr.schema import EdsError, label_array, phase_colors, phase_names
from eds_xr.segmentation.imagej_files import read_rois, write_rois
from eds_xr.segmentation.rois import Roi, add_pixels
from eds_xr.segmentation.scribbles import (
    eraser,
    line,
    outlines,
    oval,
    paint,
    points,
    polygon,
    read,
    rectangle,
    write,
)

SHAPE = (20, 30)


@pytest.fixture
def image() -> xr.DataArray:
    coords = {
        "y": ("y", 1.5 * np.arange(20), {"units": "nm"}),
        "x": ("x", 1.5 * np.arange(30), {"units": "nm"}),
    }
    return xr.DataArray(np.zeros((*SHAPE, 4)), coords, ("y", "x", "energy"))


@pytest.fixture
def label(image: xr.DataArray) -> xr.DataArray:
    values = np.zeros(SHAPE, np.uint8)
    values[2:5, 3:9] = 1
    values[3, 5] = 0  # a hole
    values[10:12, 20:] = 3
    return label_array(values, image, ["Brg", "Fp", "Ca-Pv"], ["#010203", "#ff8800", "#00ff7f"])


def pixels(roi: Roi, image: xr.DataArray) -> set[tuple[int, int]]:
    found = np.argwhere(paint([roi], image).values)
    return {(int(y), int(x)) for y, x in found}


def block(y0: int, y1: int, x0: int, x1: int) -> set[tuple[int, int]]:
    return {(y, x) for y in range(y0, y1) for x in range(x0, x1)}


def test_paint__rectangle_and_polygon_hold_centres(image: xr.DataArray) -> None:
    assert pixels(rectangle("a", (2, 5), (3, 9)), image) == block(2, 5, 3, 9)
    assert pixels(rectangle("a", (1.6, 4.6), (3, 9)), image) == block(2, 5, 3, 9)
    corners = [(2, 3), (2, 9), (5, 9), (5, 3)]
    assert pixels(polygon("a", corners), image) == block(2, 5, 3, 9)
    triangle = pixels(polygon("a", [(0, 0), (4, 0), (0, 4)]), image)
    assert {(0, 0), (0, 2), (2, 0), (1, 1)} <= triangle <= block(0, 4, 0, 4)
    assert (3, 3) not in triangle


def test_paint__polygon_with_a_hole(image: xr.DataArray) -> None:
    outer, inner = rectangle("a", (1, 8), (1, 8)), rectangle("a", (3, 5), (3, 5))
    paths = [np.array([(a, a), (a, b), (b, b), (b, a)]) for a, b in ((1, 8), (3, 5))]
    assert pixels(Roi("a", "polygon", tuple(paths)), image) == pixels(outer, image) - pixels(
        inner, image
    )


def test_paint__oval(image: xr.DataArray) -> None:
    found = pixels(oval("a", (4, 14), (10, 20)), image)
    assert found == {
        (y, x) for y, x in block(0, 20, 0, 30) if np.hypot(y + 0.5 - 9, x + 0.5 - 15) <= 5
    }


def test_paint__lines(image: xr.DataArray) -> None:
    assert pixels(line("a", [(3.5, 2.5), (3.5, 6.5)]), image) == block(3, 4, 2, 7)
    diagonal = pixels(line("a", [(0.5, 0.5), (5.5, 5.5)]), image)
    assert diagonal == {(i, i) for i in range(6)}
    bent = pixels(line("a", [(1.5, 1.5), (1.5, 5.5), (4.5, 5.5)]), image)
    assert bent == block(1, 2, 1, 6) | block(1, 5, 5, 6)
    wide = pixels(line("a", [(8.5, 5.5), (8.5, 9.5)], width_pixels=3), image)
    assert block(7, 10, 5, 10) <= wide <= block(7, 10, 4, 11)
    assert pixels(line("a", [(2.5, 2.5)]), image) == {(2, 2)}
    assert pixels(points("a", [(0.2, 0.9), (19.9, 29.9)]), image) == {(0, 0), (19, 29)}


@given(
    st.lists(st.tuples(st.floats(-9, 30), st.floats(-9, 40)), min_size=3, max_size=6),
    st.sampled_from(["polygon", "line", "points", "rectangle", "oval"]),
    st.sampled_from([0.0, 1.0, 2.5, 7.0, 100.0]),
)
@settings(max_examples=150, deadline=None)
def test_paint__a_window_holds_the_same_pixels(corners: Any, kind: str, width: float) -> None:
    """Regions are painted in a window about them; corners on quarters of pixels are exact."""
    points = np.round(np.array(corners) * 4) / 4
    roi = Roi("a", kind, (points,), width)
    mask = np.zeros(SHAPE, bool)
    add_pixels(roi, mask)
    like = xr.DataArray(np.zeros(SHAPE), dims=("y", "x"))
    for _ in range(2):  # the second time from memory
        np.testing.assert_array_equal(paint([roi], like), mask)


def test_paint__an_eraser_unpaints_what_was_drawn_before_it(image: xr.DataArray) -> None:
    drawn = [
        rectangle("a", (2, 5), (3, 9)),
        eraser([(3.5, 0.5), (3.5, 29.5)]),
        points("b", [(3.5, 4.5)]),
    ]
    painted = paint(drawn, image)
    assert phase_names(painted) == ["a", "b"]
    expected = {(y, x): 1 for y, x in block(2, 3, 3, 9) | block(4, 5, 3, 9)} | {(3, 4): 2}
    assert {(int(y), int(x)): int(painted[y, x]) for y, x in np.argwhere(painted.values)} == (
        expected
    )
    wide = [rectangle("a", (0, 20), (0, 30)), eraser([(9.5, 9.5)], width_pixels=5)]
    assert int((paint(wide, image) == 0).sum()) == 21  # a disc of radius 2.5


def test_eraser__has_no_place_in_masks_and_in_imagejs_files(
    image: xr.DataArray, tmp_path: Path
) -> None:
    drawn = [rectangle("a", (2, 5), (3, 9)), eraser([(3.5, 4.5)])]
    with pytest.raises(EdsError, match="ImageJ has no erasers: paint the strokes"):
        write_rois(drawn, tmp_path / "a.zip")
    with pytest.raises(EdsError, match="masks have no erasers"):
        masks.from_rois(image, drawn)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.floats(-1e9, 1e9) | st.floats(-5, 35), st.floats(-5, 35)),
        min_size=3,
        max_size=6,
    ),
    st.sampled_from(["polygon", "line", "points", "rectangle", "oval"]),
    st.floats(0, 50),
)
@settings(max_examples=150)
def test_paint__anything_anywhere(corners: list[Any], kind: str, width: float) -> None:
    """What is drawn outside, or is huge, does no harm; each vertex of a line inside is painted."""
    like = xr.DataArray(np.zeros(SHAPE), dims=("y", "x"))
    painted = paint([Roi("a", kind, (np.array(corners),), width)], like)
    assert set(np.unique(painted)) <= {0, 1}
    if kind in ("line", "points") and max(abs(y) for y, _ in corners) < 1e3:
        inside = [(y, x) for y, x in corners if 0 <= y < 20 and 0 <= x < 30]
        assert all(painted.values[int(y), int(x)] for y, x in inside[:1] if corners[0] == inside[0])


def test_paint__later_stays_and_names_are_kept(image: xr.DataArray) -> None:
    drawn = [rectangle("Fp", (0, 4), (0, 4)), rectangle("Ca Pv", (2, 6), (2, 6))]
    painted = paint(drawn, image)
    assert painted.dtype == np.uint8
    assert phase_names(painted) == ["Fp", "Ca_Pv"]
    assert int((painted == 1).sum()) == 12
    assert int((painted == 2).sum()) == 16
    np.testing.assert_array_equal(painted.x, image.x)
    assert history(painted)[-1]["n_rois"] == 2
    ordered = paint(drawn, image, phases=["Brg", "Ca Pv", "Fp"], colors=["#111111", "#222222"])
    assert int((ordered == 3).sum()) == 12
    assert phase_colors(ordered)[:2] == ["#111111", "#222222"]


def test_paint__errors(image: xr.DataArray) -> None:
    with pytest.raises(EdsError, match="regions mark Fp, which Brg do not name"):
        paint([rectangle("Fp", (0, 1), (0, 1))], image, phases=["Brg"])
    with pytest.raises(EdsError, match="at most 255 phases, found 256"):
        paint([], image, phases=[str(i) for i in range(256)])
    with pytest.raises(EdsError, match=r"image \(y, x\), found spatial dimensions \('x',\)"):
        paint([], image.isel(y=0))
    with pytest.raises(EdsError, match="a polygon needs at least 3 points"):
        polygon("a", [(0, 0), (1, 1)])
    with pytest.raises(EdsError, match="NaN"):
        line("a", [(0, np.nan)])
    with pytest.raises(EdsError, match="the kind of a region must be one of"):
        Roi("a", "star", ())


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
@settings(max_examples=60)
def test_outlines__painted_again_are_the_same(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.random((12, 9)) < density) * rng.integers(1, 3, (12, 9))
    like = xr.DataArray(np.zeros((12, 9)), dims=("y", "x"))
    label = label_array(values.astype(np.uint8), like, ["a", "b"])
    again = paint(outlines(label), like, phases=["a", "b"])
    np.testing.assert_array_equal(again, label)


@pytest.mark.parametrize("name", ["s.tif", "s.tiff", "s.png", "s.zarr", "s.zip"])
def test_write__and_read_give_the_same(
    image: xr.DataArray, label: xr.DataArray, tmp_path: Path, name: str
) -> None:
    path = write(label, tmp_path / name)
    again = read(path, image)
    if name == "s.zip":  # a phase without regions is not in the file
        again = read(path, image, phases=["Brg", "Fp", "Ca-Pv"])
    np.testing.assert_array_equal(again, label)
    assert phase_names(again) == phase_names(label)
    assert again.dtype == np.uint8
    np.testing.assert_array_equal(again.x, image.x)
    assert again.x.attrs["units"] == "nm"
    assert phase_colors(again)[2] == "#00ff7f"
    with pytest.raises(EdsError, match="exists; use overwrite=True"):
        write(label, path)
    write(label, path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_read__zarr_stays_lazy(image: xr.DataArray, label: xr.DataArray, tmp_path: Path) -> None:
    assert read(write(label.chunk(y=10), tmp_path / "a.zarr"), image).chunks is not None


def test_write__colours_are_seen_elsewhere(label: xr.DataArray, tmp_path: Path) -> None:
    seen = np.asarray(Image.open(write(label, tmp_path / "a.png")).convert("RGB"))
    assert tuple(seen[2, 3]) == (1, 2, 3)
    assert tuple(seen[11, 25]) == (0, 255, 0x7F)
    with tifffile.TiffFile(write(label, tmp_path / "a.tif")) as file:
        colors = file.pages[0].colormap
    assert tuple(colors[:, 3] // 257) == (0, 255, 0x7F)


def test_read__files_of_other_programs(image: xr.DataArray, tmp_path: Path) -> None:
    values = np.zeros(SHAPE, np.uint16)
    values[3:5, 3:5], values[9, 9] = 1, 2
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert phase_names(read(tmp_path / "a.tif", image)) == ["phase_1", "phase_2"]
    assert phase_names(read(tmp_path / "a.tif", image, phases=["Brg", "Fp"])) == ["Brg", "Fp"]
    Image.fromarray(np.where(values, 255, 0).astype(np.uint8)).save(tmp_path / "mask.png")
    mask = read(tmp_path / "mask.png", image, phases=["grain"])
    np.testing.assert_array_equal(mask, values > 0)
    tifffile.imwrite(tmp_path / "ij.tif", values.astype(np.uint8), imagej=True)
    np.testing.assert_array_equal(read(tmp_path / "ij.tif", image), values)
    assert read(tmp_path / "ij.tif", image).dtype == np.uint8


def test_read__refuses_what_is_no_label_image(image: xr.DataArray, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "float.tif", np.zeros(SHAPE, np.float32))
    with pytest.raises(EdsError, match="holds float32, expected integer labels"):
        read(tmp_path / "float.tif", image)
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(EdsError, match="PNG, mode RGB.*not a picture of them"):
        read(tmp_path / "rgb.png", image)
    tifffile.imwrite(tmp_path / "small.tif", np.zeros((5, 5), np.uint8))
    with pytest.raises(EdsError, match=r"is 5 x 5 \(TIFF\), expected one value for.* 20 x 30"):
        read(tmp_path / "small.tif", image)
    tifffile.imwrite(tmp_path / "many.tif", np.full(SHAPE, 300, np.uint16))
    with pytest.raises(EdsError, match="labels from 300 to 300, expected 0 to 255"):
        read(tmp_path / "many.tif", image)
    tifffile.imwrite(tmp_path / "three.tif", np.full(SHAPE, 3, np.uint8))
    with pytest.raises(EdsError, match="labels up to 3, there are names for 1: Brg"):
        read(tmp_path / "three.tif", image, phases=["Brg"])
    with pytest.raises(EdsError, match="ends in none of"):
        read(tmp_path / "a.jpg", image)
    with pytest.raises(EdsError, match="no such label image"):
        read(tmp_path / "none.png", image)
    xr.Dataset({"a": image, "b": image}).to_zarr(tmp_path / "two.zarr", consolidated=False)
    with pytest.raises(EdsError, match="expected a variable 'label'"):
        read(tmp_path / "two.zarr", image)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.zip", "a.roi"])
@pytest.mark.parametrize("content", [b"", b"II*\0", b"\x89PNG\r\n\x1a\n", b"PK\3\4", b"Iout" * 30])
def test_read__damaged_files(
    image: xr.DataArray, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        EdsError, match="a label image|cannot be read|is damaged|no ImageJ region|type|no points"
    ):
        read(tmp_path / name, image)


def test_write__errors(label: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(EdsError, match="ends in none of .tif"):
        write(label, tmp_path / "a.bmp")
    with pytest.raises(EdsError, match="expected an integer label image"):
        write(label.astype(float), tmp_path / "a.tif")
    with pytest.raises(EdsError, match="a .roi file holds one region, found 2"):
        write(label, tmp_path / "a.roi")


def every_kind() -> list[Roi]:
    hole = tuple(np.array([(a, a), (a, b), (b, b), (b, a)], float) for a, b in ((1, 8), (3, 5)))
    return [
        rectangle("Brg", (1, 3), (2, 9)),
        rectangle("Brg", (1.5, 3.25), (2, 9.5)),
        oval("Brg", (8, 14), (20, 28)),
        polygon("Ca-Pv", [(10.5, 2), (18, 3.25), (12, 9)]),
        line("Fp", [(15.5, 12.5), (16.5, 20.5), (18.5, 21.5)], width_pixels=2.5),
        points("Fp", [(0.5, 0.5), (19.5, 29.5)]),
        Roi("Fp", "polygon", hole, color="#ff8800"),
    ]


def test_write_rois__every_kind_comes_back(image: xr.DataArray, tmp_path: Path) -> None:
    again = read_rois(write_rois(every_kind(), tmp_path / "rois.zip"))
    for roi, found in zip(every_kind(), again, strict=True):
        assert (found.phase, found.kind, found.color) == (roi.phase, roi.kind, roi.color)
        assert pixels(found, image) == pixels(roi, image)
    with zipfile.ZipFile(tmp_path / "rois.zip") as archive:
        assert archive.namelist()[3:5] == ["Ca-Pv-1.roi", "Fp-1.roi"]
    alone = write_rois(every_kind()[4:5], tmp_path / "one.roi")
    assert read_rois(alone)[0].width_pixels == 2.5


def test_read_rois__as_imagej_means_them(image: xr.DataArray, tmp_path: Path) -> None:
    """Integer coordinates: corners of pixels for areas, pixels for lines and points."""
    types = roifile.ROI_TYPE
    box = roifile.ImagejRoi(roitype=types.RECT, top=2, left=3, bottom=5, right=9, name="0004-0006")
    box.group = 7
    stroke = roifile.ImagejRoi.frompoints(np.array([[4, 10], [8, 10]]), name="Fp-12")
    stroke.roitype = types.FREELINE
    straight = roifile.ImagejRoi(roitype=types.LINE, x1=1, y1=0, x2=1, y2=3, name="Fp")
    dots = roifile.ImagejRoi.frompoints(np.array([[29, 19]]), name="dot")
    dots.roitype = types.POINT
    area = roifile.ImagejRoi.frompoints(np.array([[3, 2], [9, 2], [9, 5], [3, 5]]), name="area")
    path = tmp_path / "rois.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i, roi in enumerate((box, stroke, straight, dots, area)):
            archive.writestr(f"{i}.roi", roi.tobytes())
    found = read_rois(path)
    assert [r.phase for r in found] == ["group_7", "Fp", "Fp", "dot", "area"]
    expected = [block(2, 5, 3, 9), block(10, 11, 4, 9), block(0, 4, 1, 2), {(19, 29)}]
    assert [pixels(r, image) for r in found] == [*expected, block(2, 5, 3, 9)]


def test_read_rois__refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, subtype=roifile.ROI_SUBTYPE.TEXT)
    (tmp_path / "text.roi").write_bytes(text.tobytes())
    with pytest.raises(EdsError, match="is a text, no pixels"):
        read_rois(tmp_path / "text.roi")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("a.txt", "")
    with pytest.raises(EdsError, match="holds no ImageJ region"):
        read_rois(tmp_path / "none.zip")
    with pytest.raises(EdsError, match="cannot be read"):
        read_rois(tmp_path / "absent.zip")
    path = write_rois(every_kind(), tmp_path / "many.zip")
    monkeypatch.setattr("eds_xr.segmentation.imagej_files.MAX_ROIS", 3)
    with pytest.raises(EdsError, match="holds 7 regions of .*: more than sensible"):
        read_rois(path)


@given(st.integers(0, 6), st.integers(0, 400), st.integers(0, 255), st.integers(0, 400))
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
def test_read_rois__damage_is_an_error_or_a_region(
    tmp_path: Path, which: int, place: int, value: int, cut: int
) -> None:
    path = tmp_path / "a.roi"
    content = bytearray(write_rois([every_kind()[which]], path, overwrite=True).read_bytes())
    content[place % len(content)] = value
    path.write_bytes(content[: len(content) - max(0, cut - 300)])
    try:
        found = read_rois(path)
    except EdsError:
        return
    assert isinstance(found[0], Roi)


def test_from_rois__a_mask_for_each_phase(image: xr.DataArray, tmp_path: Path) -> None:
    drawn = every_kind()
    found = masks.from_rois(image, drawn)
    assert found.dims == ("phase", "y", "x")
    assert found.dtype == bool
    assert list(found.phase.values) == ["Brg", "Ca-Pv", "Fp"]
    expected = set.union(*(pixels(r, image) for r in drawn if r.phase == "Fp"))
    assert {tuple(p) for p in np.argwhere(found.sel(phase="Fp").values).tolist()} == expected
    assert masks.overlap(found.sel(phase="Brg"), found.sel(phase="Fp")).any()  # they may
    again = masks.from_rois(image, write_rois(drawn, tmp_path / "a.zip"))
    xr.testing.assert_identical(again, found)
    np.testing.assert_array_equal(found.x, image.x)


def test_from_rois__errors(image: xr.DataArray) -> None:
    with pytest.raises(EdsError, match="no regions: draw at least one"):
        masks.from_rois(image, [])
    with pytest.raises(EdsError, match="of 'a' hold no pixel of the image of 20 x 30"):
        masks.from_rois(image, [rectangle("a", (50, 60), (0, 5))])


def test_write__leaves_nothing_when_interrupted(
    label: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tifffile, "imwrite", stop)
    with pytest.raises(KeyboardInterrupt):
        write(label, tmp_path / "a.tif")
    assert not list(tmp_path.iterdir())
    with pytest.raises(EdsError, match="nothing was left behind"):
        write_rois(every_kind(), Path(shutil.__file__) / "no_folder.zip")


@pytest.mark.parametrize("first", [0, 1, 2])
def test_paint__a_line_of_whole_pixels_has_no_hole(first: int) -> None:
    for length in range(1, 200):
        mask = np.zeros((1, first + length + 1), bool)
        add_pixels(Roi("a", "line", (np.array([(0.0, first), (0.0, first + length)]),), 0.0), mask)
        assert mask[0, first:].all()


def test_paint__a_window_about_a_line_has_the_same_pixels() -> None:
    points = np.array([(0.0, 2.0), (0.0, 2.0), (0.0, 19.0)])
    roi = Roi("a", "line", (points,), 0.0)
    mask = np.zeros(SHAPE, bool)
    add_pixels(roi, mask)
    like = xr.DataArray(np.zeros(SHAPE), dims=("y", "x"))
    for _ in range(2):  # the second time from memory
        np.testing.assert_array_equal(paint([roi], like), mask)
