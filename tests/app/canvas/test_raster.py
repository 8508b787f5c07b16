"""The browser's pixels of strokes and regions are those that Python paints."""

from pathlib import Path

import numpy as np
import pytest

from eds_xr.segmentation.rois import Roi, add_pixels

RASTER = Path(__file__).parents[3] / "eds_xr" / "app" / "canvas" / "raster.js"
SHAPE = (48, 64)
PAINT = """([stroke, shape]) => {
    const painted = new Painted(shape)
    painted.paint(stroke, 1)
    return painted.levels.map(level => [[level.h, level.w], [...level.values]])
}"""

pytestmark = pytest.mark.browser


@pytest.fixture
def levels(screen):
    screen.page.goto("about:blank")
    code = RASTER.read_text() + "\nwindow.Painted = Painted"
    screen.page.add_script_tag(content=f"(() => {{ {code} }})()")

    def paint(roi):
        points, *more = (path.tolist() for path in roi.paths)
        stroke = {"kind": roi.kind, "points": points, "more": more, "width": roi.width_pixels}
        found = screen.page.evaluate(PAINT, [stroke, list(SHAPE)])
        return [np.array(values, bool).reshape(shape) for shape, values in found]

    return paint


def in_python(roi):
    mask = np.zeros(SHAPE, bool)
    add_pixels(roi, mask)
    return mask


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
    for roi in strokes():
        np.testing.assert_array_equal(levels(roi)[0], in_python(roi), err_msg=repr(roi.paths))


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "oval", "points"])
def test_regions__have_pythons_pixels(levels, kind):
    random = np.random.default_rng(11)
    for number in range(60):
        n = 2 if kind in ("rectangle", "oval") else int(random.integers(3, 9))
        points = random.uniform((-5, -5), (SHAPE[0] + 5, SHAPE[1] + 5), (n, 2))
        if number % 2:
            points = np.round(points)  # corners between pixels
        roi = Roi("a", kind, (points,))
        np.testing.assert_array_equal(levels(roi)[0], in_python(roi), err_msg=repr(points))


def test_polygon__with_a_hole(levels):
    outer = np.array([(4, 4), (4, 40), (40, 40), (40, 4)], float)
    roi = Roi("a", "polygon", (outer, outer / 2 + 10))
    assert not in_python(roi)[20, 20]
    np.testing.assert_array_equal(levels(roi)[0], in_python(roi))


def test_coarse_levels__show_any_painted_pixel(levels):
    fine, coarse, *_ = levels(Roi("a", "line", (np.array([(3.5, 2.5), (40.5, 60.5)]),)))
    blocks = fine.reshape(SHAPE[0] // 2, 2, SHAPE[1] // 2, 2).any((1, 3))
    np.testing.assert_array_equal(coarse, blocks)
