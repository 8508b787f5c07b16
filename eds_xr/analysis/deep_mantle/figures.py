"""Figures 1 and 2 and table 1 of the deep-mantle study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from eds_xr.report.drawn_table import plot_table
from eds_xr.report.pictures.canvas import (
    LARGE,
    WIDTH,
    dress,
    legend_above,
    new_figure,
    open_frame,
)
from eds_xr.report.pictures.images import map_panel, scale_bar, shown
from eds_xr.report.pictures.phases import phase_panel
from eds_xr.report.pictures.spectra import band, energy_axis, name_lines, plot_spectra
from eds_xr.schema import COLORS, COMPONENT, ELEMENT, ENERGY, LINE, PHASE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from eds_xr.analysis.deep_mantle.study import Study

#: Colours of the phases of the study.
PHASE_COLORS = {"Brg": COLORS[0], "Fp": COLORS[1], "Ca-Pv": COLORS[2]}
#: What is shown of the spectra [keV].
SHOWN_KEV = (0.2, 9.5)


def figure_1(study: Study) -> Figure:
    """Draw image, score maps, loadings, pure matrix, and mask against rectangle."""
    figure = new_figure(WIDTH, 6.0)
    grid = figure.add_gridspec(3, 4, height_ratios=(0.95, 1, 1.05))
    image = study.image.coords.get("haadf", study.total)
    name = "HAADF" if image.name == "haadf" else str(image.attrs.get("long_name", image.name))
    axes, image = figure.add_subplot(grid[0, 0]), shown(image)
    map_panel(axes, image, title=f"(a) {name}")
    scale_bar(axes, image)
    rectangle = study.masks.sel({PHASE: "rectangle"}).values.astype(float)
    axes.contour(rectangle, levels=[0.5], colors=["#00ff40"], linewidths=1.2)
    factors = study.part("factors").sel({COMPONENT: list(PHASE_COLORS)})
    for i, phase in enumerate(PHASE_COLORS):
        scores = shown(factors.scores.sel({COMPONENT: phase}))
        title = f"({'bcd'[i]}) NMF score {phase}"
        map_panel(figure.add_subplot(grid[0, i + 1]), scores, title=title, label="counts")
    axes = figure.add_subplot(grid[1, :])
    lines = ("Mg_Ka", "Al_Ka", "Si_Ka", "Ca_Ka")
    plot_spectra(factors.loadings, lines=lines, energies=SHOWN_KEV, colors=PHASE_COLORS, axes=axes)
    axes.set_title("(e) NMF loadings", loc="left", fontsize=LARGE)
    _draw_mask(figure.add_subplot(grid[2, 0]), study, "Brg", "(f) pure Brg")
    _draw_regions(figure.add_subplot(grid[2, 1:]), study)
    return figure


def figure_2(study: Study) -> Figure:
    """Draw the binaries, the mixtures and the pure spectra of the grains."""
    figure = new_figure(WIDTH, 6.3)
    grid = figure.add_gridspec(3, 4, height_ratios=(1.1, 1, 1))
    shown_masks = ("Fp", "Ca-Pv", "Fp+Brg", "Ca-Pv+Brg")
    titles = ("Fp grains", "Ca-Pv grains", "Fp over Brg", "Ca-Pv over Brg")
    for i, (name, title) in enumerate(zip(shown_masks, titles, strict=True)):
        _draw_mask(figure.add_subplot(grid[0, i]), study, name, f"({'abcd'[i]}) {title}")
    lines = [str(x) for x in study.regions[LINE].values]
    for row, phase in enumerate(("Fp", "Ca-Pv"), start=1):
        pure = study.part("pure").sel({PHASE: [phase]})
        axes = figure.add_subplot(grid[row, :])
        plot_spectra(
            pure, lines=lines, energies=SHOWN_KEV, per="pixel", colors=PHASE_COLORS, axes=axes
        )
        scale = float(pure.scale[0])
        title = f"({' ef'[row]}) pure {phase}: mixture less {scale:.3f} Brg"
        axes.set_title(title, loc="left", fontsize=LARGE)
    return figure


def table_1(composition: xr.Dataset, partition: xr.Dataset) -> Figure:
    """Draw the compositions of the phases, and partition coefficients, as tables."""
    figure = new_figure(8.6, 0.205 * (composition.sizes[ELEMENT] + 4.6))
    left, right = figure.subplots(1, 2)
    figure.set_layout_engine("none")
    left.set_position((0.02, 0.01, 0.5, 0.9))
    right.set_position((0.58, 0.01, 0.4, 0.9))
    plot_table(composition, title="(a) Composition without oxygen", axes=left)
    over = str(partition.attrs.get("reference", ""))
    plot_table(partition, title=f"(b) Partition coefficients against {over}", axes=right)
    return figure


def _draw_mask(axes: Axes, study: Study, name: str, title: str) -> None:
    """Draw a mask in the colour of its phase, with its share of the image."""
    mask = study.masks.sel({PHASE: [name]})
    phase_panel(axes, shown(mask), [PHASE_COLORS[name.removesuffix("+Brg")]])
    axes.set_title(f"{title}, {100 * float(mask.mean()):.1f} %")
    dress(axes)


def _draw_regions(axes: Axes, study: Study) -> None:
    """Draw the rare-earth region of mask and rectangle, per pixel, with the net counts' ratio."""
    part = study.spectra.sel({ENERGY: slice(4.7, 6.1)})
    part = (part / part.n_pixels).assign(variance=part.variance / part.n_pixels**2)
    styles = {"rectangle": ("0.55", "rectangle"), "Brg": (PHASE_COLORS["Brg"], "whole mask")}
    for phase, (color, label) in styles.items():
        one = part.sel({PHASE: phase})
        fits = study.regions.sel({PHASE: phase})
        nd, sm = (fits.net / fits.variance**0.5).sel({LINE: ["Nd_La", "Sm_La"]}).values
        pixels = float(study.spectra.n_pixels.sel({PHASE: phase}))
        label += f", {pixels:.0f} pixels; SNR Nd {nd:.1f}, Sm {sm:.1f}"
        axes.step(one[ENERGY], one.counts, where="mid", color=color, linewidth=0.9, label=label)
        band(axes, one.counts, one.variance**0.5, 0.68, color)
    axes.set_title("(g) Brg", loc="left")
    axes.set(ylabel="counts per pixel and channel", ylim=(0, None))
    highest = part.counts.sel({PHASE: list(styles)}).max(PHASE)
    energy_axis(axes, study.spectra.counts.sel({ENERGY: slice(4.7, 6.1)}))
    name_lines(axes, highest, ("Nd_La", "Sm_La"), {})
    legend_above(axes, columns=1)
    open_frame(axes)
    dress(axes)
