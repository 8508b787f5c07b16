"""The browser's pixels of strokes and regions are those that Python paints."""

from pathlib import Path

import numpy as np
import pytest

from eds_xr.segmentation.rois import Roi, add_pixels

RASTER = Path(__file__).parents[3] / "eds_xr" / "app" / "canvas" / "raster.js"
SHAPE = (48, 64)
#: A text of digits crosses to Python many times as fast as a list of numbers.
PAINT = """([strokes, shape]) => strokes.map(stroke => {
    const painted = new Painted(shape)
    painted.paint(stroke, 1)
    return painted.levels.map(level => [[level.h, level.w], level.values.join("")])
})"""

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def levels(chromium):
    """Return what paints each of many shapes alone, and gives its levels: [shape][level]."""
    page = chromium.new_page()
    code = RASTER.read_text() + "\nwindow.Painted = Painted"
    page.add_script_tag(content=f"(() => {{ {code} }})()")

    def paint(rois):
        strokes = []
        for roi in rois:
            points, *more = (path.tolist() for path in roi.paths)
            stroke = {"kind": roi.kind, "points": points, "more": more, "width": roi.width_pixels}
            strokes.append(stroke)
        found = page.evaluate(PAINT, [strokes, list(SHAPE)])
        return [[values_of(*level) for level in one] for one in found]

    yield paint
    page.close()


def values_of(shape, text):
    return np.frombuffer(text.encode(), np.uint8).reshape(shape) != ord("0")


def in_python(roi):
    mask = np.zeros(SHAPE, bool)
    add_pixels(roi, mask)
    return mask


def check(levels, rois):
    for roi, (finest, *_) in zip(rois, levels(rois), strict=True):
        np.testing.assert_array_equal(finest, in_python(roi), err_msg=repr(roi.paths))


def strokes():
    """Strokes by chance, on the grid that a pointer has and off it, some beyond the border."""
    random = np.random.default_rng(7)
    for number in range(150):
        n = int(random.integers(1, 12))
        points = random.uniform((-6, -6), (SHAPE[0] + 6, SHAPE[1] + 6), (n, 2))
        if number % 3 == 0:
            points = np.round(points * 2) / 2  # distances that equal the radius
        elif number % 3 == 1:
            points = np.round(points * 64) / 64
        yield Roi("a", "line", (points,), float(random.choice([0.5, 1, 2, 3, 4.5, 5, 10])))


def test_lines__have_pythons_pixels(levels):
    check(levels, list(strokes()))


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "oval", "points"])
def test_regions__have_pythons_pixels(levels, kind):
    random, rois = np.random.default_rng(11), []
    for number in range(60):
        n = 2 if kind in ("rectangle", "oval") else int(random.integers(3, 9))
        points = random.uniform((-5, -5), (SHAPE[0] + 5, SHAPE[1] + 5), (n, 2))
        if number % 2:
            points = np.round(points)  # corners between pixels
        rois.append(Roi("a", kind, (points,)))
    check(levels, rois)


def test_polygon__with_a_hole(levels):
    outer = np.array([(4, 4), (4, 40), (40, 40), (40, 4)], float)
    roi = Roi("a", "polygon", (outer, outer / 2 + 10))
    assert not in_python(roi)[20, 20]
    check(levels, [roi])


def test_coarse_levels__show_any_painted_pixel(levels):
    ((fine, coarse, *_),) = levels([Roi("a", "line", (np.array([(3.5, 2.5), (40.5, 60.5)]),))])
    blocks = fine.reshape(SHAPE[0] // 2, 2, SHAPE[1] // 2, 2).any((1, 3))
    np.testing.assert_array_equal(coarse, blocks)
