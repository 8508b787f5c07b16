"""Names of lines never cover one another."""

import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from eds_xr.report.pictures.artists import LineLabels
from eds_xr.report.pictures.line_labels import spread
from eds_xr.report.pictures.spectra import plot_spectra
from eds_xr.xray.lines import family

ELEMENTS = ("O", "Na", "Mg", "Al", "Si", "S", "Ca", "Ti", "Fe", "Ni", "Cu", "Nd", "Hf", "Pt", "U")
LINES = [x.name for e in ELEMENTS for s in "KLM" for x in family(e, s) if x.weight > 0.02]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 8)), min_size=1, max_size=12),
)
def test_spread__boxes_stand_apart_within_the_ends(boxes: list[tuple[float, float]]) -> None:
    places, widths = np.array(sorted(boxes)).T
    middles = spread(places, widths, 0.0, 100.0)
    starts, ends = middles - widths / 2, middles + widths / 2
    assert (starts[1:] >= ends[:-1] - 1e-9).all()
    assert starts[0] >= -1e-9
    assert ends[-1] <= 100 + 1e-9
    free = np.diff(places) >= (widths[1:] + widths[:-1]) / 2
    if free.all() and places[0] >= widths[0] / 2 and places[-1] <= 100 - widths[-1] / 2:
        np.testing.assert_allclose(middles, places)  # who has room is not moved


@pytest.mark.parametrize("seed", range(30))
def test_names_of_lines__never_overlap(seed: int) -> None:
    """On random spectra, of random sizes, at the place where they are drawn."""
    random = np.random.default_rng(seed)
    energy = np.arange(0.1, random.choice([5.0, 10.0, 20.0]), 0.02)
    counts = random.poisson(1e4 * np.exp(-energy) + 5)
    spectrum = xr.DataArray(counts, {"energy": energy}, attrs={"units": "counts"})
    lines = random.choice(LINES, random.integers(2, 45), replace=False).tolist()
    figure = Figure(figsize=(random.uniform(2.5, 9), random.uniform(2, 4)), dpi=60)
    axes = figure.add_axes((0.1, 0.15, 0.85, 0.8))
    plot_spectra(spectrum, lines=lines, log=bool(seed % 2), axes=axes)
    figure.draw_without_rendering()
    (labels,) = [a for a in axes.get_children() if isinstance(a, LineLabels)]
    boxes = [t.get_window_extent() for t in labels.texts if t.get_visible()]
    assert len(boxes) >= min(2, len(labels.texts))
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert axes.bbox.x0 - 1 <= box.x0 <= box.x1 <= axes.bbox.x1 + 1
        assert box.y1 <= axes.bbox.y1


def test_names_of_lines__the_strongest_stay_where_there_is_no_room() -> None:
    energy = np.arange(0.1, 10, 0.01)
    spectrum = xr.DataArray(np.exp(-((energy - 6.4) ** 2)), {"energy": energy})
    figure = plot_spectra(spectrum, lines=["Fe_Ka", *LINES])
    figure.set_size_inches(1.2, 2)
    figure.draw_without_rendering()
    (labels,) = [a for a in figure.axes[0].get_children() if isinstance(a, LineLabels)]
    kept = {t.get_text() for t in labels.texts if t.get_visible()}
    assert "Fe Kα" in kept
    assert len(kept) < len(labels.texts)


@pytest.mark.parametrize("log", [True, False])
def test_names_of_lines__leaders_end_within_the_axes(log: bool) -> None:
    """A subtraction may leave a line below zero, which a logarithmic axis does not have."""
    energy = np.arange(0.1, 10, 0.01)
    counts = np.where(abs(energy - 6.4) < 0.1, -50.0, 100.0)
    spectrum = xr.DataArray(counts, {"energy": energy}, ("energy",), attrs={"units": "counts"})
    axes = Figure(dpi=60).add_axes((0.1, 0.3, 0.85, 0.6))
    plot_spectra(spectrum, lines=["Fe_Ka", "Ca_Ka"], log=log, axes=axes)
    axes.set_ylim(bottom=1.0)
    axes.figure.draw_without_rendering()
    (labels,) = [a for a in axes.get_children() if isinstance(a, LineLabels)]
    for leader in labels.leaders:
        assert np.min(leader.get_ydata()) >= axes.bbox.y0
