"""Tables drawn with rules, aligned at the decimal points."""

import pytest
import xarray as xr
from matplotlib.figure import Figure
from support.drawn import composition, words

from eds_xr.composition import minerals
from eds_xr.report.drawn_table import FONT_POINTS, LEAST_POINTS, draw_text_table, plot_table
from eds_xr.schema import EdsError


def test_plot_table__has_errors_limits_and_units():
    axes = Figure(figsize=(4, 3)).add_axes((0.05, 0.05, 0.9, 0.8))
    plot_table(composition(), axes=axes, title="(a) composition")
    shown = words(axes)
    assert axes.get_title(loc="left") == "(a) composition"
    assert {"at%", "Brg", "Fp", "Mg", "Si", "Nd"} <= set(shown)
    assert [w for w in shown if w.endswith(")") and "." in w]  # 13.4(2), cut at its point
    assert "< 0" in shown
    assert "not in brackets: computed k-factors" in " ".join(shown).lower()
    assert "upper limit at 95\N{NO-BREAK SPACE}% confidence" in " ".join(shown)
    assert len(axes.lines) == 3  # the rules


def test_plot_table__numbers_meet_at_the_point():
    axes = Figure(figsize=(4, 3)).add_axes((0.05, 0.05, 0.9, 0.8))
    plot_table(composition(("Brg",)), axes=axes)
    right = {t.get_position()[0] for t in axes.texts if t.get_ha() == "right"}
    after = {t.get_position()[0] for t in axes.texts if t.get_text().startswith(".")}
    assert right == after
    assert len(right) == 1


def test_plot_table__stays_within_its_axes():
    figure = Figure(figsize=(4, 2.5))
    axes = figure.add_axes((0.05, 0.05, 0.9, 0.8))
    plot_table(minerals.oxides(composition(("Brg", "Fp", "Ca-Pv"))), axes=axes)
    figure.canvas.draw()
    frame = axes.get_window_extent()
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.x0 >= frame.x0 - 1, text
        assert box.x1 <= frame.x1 + 1, text
        assert box.y0 >= frame.y0 - 1, text
    assert "SiO$_{2}$" in words(axes)


def test_plot_table__refuses_what_nobody_can_read():
    axes = Figure(figsize=(1.2, 1)).add_axes((0, 0, 1, 1))
    many = composition([f"region {i}" for i in range(9)])
    with pytest.raises(EdsError, match=r"a table of 3 rows and 9 columns would need type of"):
        plot_table(many, axes=axes)
    with pytest.raises(EdsError, match="a table has elements and phases, found"):
        plot_table(many.expand_dims("sample"), axes=axes)


def test_plot_table__of_one_phase_and_of_lines():
    axes = Figure(figsize=(4, 3)).add_axes((0, 0, 1, 1))
    plot_table(composition().sel(phase="Fp"), "weight_fraction", axes=axes)
    assert {"wt%", "Fp"} <= set(words(axes))


def test_plot_table__of_one_number_a_phase_is_an_error():
    ratio = xr.DataArray([0.5, 0.6], {"phase": ["a", "b"]})
    with pytest.raises(EdsError, match="a table has elements and phases"):
        plot_table(xr.Dataset({"ratio": ratio, "variance": 0.01 * ratio}))


def test_plot_table__makes_a_figure_that_is_large_enough():
    figure = plot_table(composition(("Brg", "Fp", "Ca-Pv", "Si")))
    figure.canvas.draw()
    (axes,) = figure.axes
    frame = figure.bbox
    for text in axes.texts:
        box = text.get_window_extent()
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1, text
        assert frame.y0 <= box.y0 <= box.y1 <= frame.y1, text


def text_table(rows, columns, cell="13.4(2)"):
    coords = {"line": [f"Fe_K{i}" for i in range(rows)], "phase": [f"p{i}" for i in range(columns)]}
    return xr.DataArray([[cell] * columns] * rows, coords, ("line", "phase"), attrs={"units": "1"})


@pytest.mark.parametrize(("rows", "width"), [(2, 5.0), (20, 5.0), (4, 1.2)])
def test_draw_text_table__type_is_as_large_as_fits(rows, width):
    axes = Figure(figsize=(width, 3)).add_axes((0, 0.02, 1, 0.9))
    draw_text_table(axes, text_table(rows, 2), title="", note="")
    (size,) = {t.get_fontsize() for t in axes.texts}
    assert LEAST_POINTS <= size <= FONT_POINTS
    assert (size == FONT_POINTS) == (rows == 2)


def test_draw_text_table__note_is_wrapped_below_the_last_rule():
    axes = Figure(figsize=(3, 3)).add_axes((0, 0, 1, 0.9))
    note = "In brackets: one standard deviation, in units of the last digit. " * 3
    draw_text_table(axes, text_table(3, 2), title="", note=note)
    last_rule = min(line.get_ydata()[0] for line in axes.lines)
    below = [t for t in axes.texts if t.get_position()[1] < last_rule]
    assert len(below) > 1
    assert " ".join(t.get_text() for t in below) == note.strip()


def test_draw_text_table__lines_have_greek_letters_and_units_of_one_are_not_shown():
    axes = Figure(figsize=(3, 3)).add_axes((0, 0, 1, 0.9))
    table = text_table(1, 1).assign_coords(line=["Nd_La"])
    draw_text_table(axes, table, title="", note="")
    assert words(axes)[0] == ""
    assert "Nd Lα" in words(axes)
