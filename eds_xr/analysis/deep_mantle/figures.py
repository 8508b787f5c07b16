"""Figures 1 and 2 and table 1 of the deep-mantle study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from eds_xr.report.figures import (
    STYLE,
    draw_image,
    draw_mask,
    draw_spectra,
    draw_table,
    leave_room,
    mark_lines,
    new_figure,
)
from eds_xr.schema import COLORS, COMPONENT, ELEMENT, ENERGY, LINE, PHASE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from eds_xr.analysis.deep_mantle.study import Study

#: Colours of the phases of the study.
PHASE_COLORS = {"Brg": COLORS[0], "Fp": COLORS[1], "Ca-Pv": COLORS[2]}


def figure_1(study: Study) -> Figure:
    """Draw image, score maps, loadings, pure matrix, and mask against rectangle."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = new_figure(8.6, 7.4)
        grid = figure.add_gridspec(3, 4, height_ratios=(1.12, 1, 1.05))
        image = study.image.coords.get("haadf", study.total)
        name = "HAADF" if image.name == "haadf" else str(image.attrs.get("long_name", image.name))
        axes = draw_image(figure.add_subplot(grid[0, 0]), image, title=f"(a) {name}")
        rectangle = study.masks.sel({PHASE: "rectangle"}).values.astype(float)
        axes.contour(rectangle, levels=[0.5], colors=["#00ff40"], linewidths=1.2)
        factors = study.part("factors").sel({COMPONENT: list(PHASE_COLORS)})
        for i, phase in enumerate(PHASE_COLORS):
            scores = factors.scores.sel({COMPONENT: phase})
            draw_image(
                figure.add_subplot(grid[0, i + 1]), scores, title=f"({'bcd'[i]}) NMF score {phase}"
            )
        draw_spectra(
            figure.add_subplot(grid[1, :]), factors.loadings, title="(e) NMF loadings",
            colors=PHASE_COLORS, lines=("Mg_Ka", "Al_Ka", "Si_Ka", "Ca_Ka"),
        )  # fmt: skip
        draw_mask(
            figure.add_subplot(grid[2, 0]), study.masks.sel({PHASE: "Brg"}),
            title="(f) pure Brg", color=PHASE_COLORS["Brg"],
        )  # fmt: skip
        _draw_regions(figure.add_subplot(grid[2, 1:]), study)
    return figure


def figure_2(study: Study) -> Figure:
    """Draw the binaries, the mixtures and the pure spectra of the grains."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = new_figure(8.6, 7.4)
        grid = figure.add_gridspec(3, 4, height_ratios=(1.1, 1, 1))
        shown = ("Fp", "Ca-Pv", "Fp+Brg", "Ca-Pv+Brg")
        titles = ("Fp grains", "Ca-Pv grains", "Fp over Brg", "Ca-Pv over Brg")
        for i, (name, title) in enumerate(zip(shown, titles, strict=True)):
            color = PHASE_COLORS[name.removesuffix("+Brg")]
            axes = figure.add_subplot(grid[0, i])
            draw_mask(
                axes, study.masks.sel({PHASE: name}), title=f"({'abcd'[i]}) {title}", color=color
            )
        for row, phase in enumerate(("Fp", "Ca-Pv"), start=1):
            pure = study.part("pure").sel({PHASE: [phase]})
            spectrum = (pure.counts / pure.n_pixels).assign_attrs(units="counts per pixel")
            draw_spectra(
                figure.add_subplot(grid[row, :]), spectrum,
                title=f"({' ef'[row]}) pure {phase}: mixture less {float(pure.scale[0]):.3f} Brg",
                colors=PHASE_COLORS, lines=[str(x) for x in study.regions[LINE].values],
                range_kev=(0.2, 9.5),
            )  # fmt: skip
    return figure


def table_1(composition: xr.Dataset, partition: xr.Dataset) -> Figure:
    """Draw the compositions of the phases, and partition coefficients, as tables."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = new_figure(8.6, 0.205 * (composition.sizes[ELEMENT] + 4.6))
        left, right = figure.subplots(1, 2)
        figure.set_layout_engine("none")
        left.set_position((0.02, 0.01, 0.5, 0.9))
        right.set_position((0.58, 0.01, 0.4, 0.9))
        draw_table(left, composition, title="(a) Composition without oxygen")
        over = str(partition.attrs.get("reference", ""))
        draw_table(right, partition, title=f"(b) Partition coefficients against {over}")
    return figure


def _draw_regions(axes: Axes, study: Study) -> None:
    """Draw the rare-earth region of mask and rectangle, per pixel, with the net counts' ratio."""
    part = study.spectra.sel({ENERGY: slice(4.7, 6.1)})
    styles = {"rectangle": ("0.55", "rectangle"), "Brg": (PHASE_COLORS["Brg"], "whole mask")}
    for phase, (color, label) in styles.items():
        one = part.sel({PHASE: phase})
        pixels = float(one.n_pixels)
        value, spread = one.counts / pixels, np.sqrt(one.variance) / pixels
        fits = study.regions.sel({PHASE: phase})
        nd, sm = (fits.net / fits.variance**0.5).sel({LINE: ["Nd_La", "Sm_La"]}).values
        label += f", {pixels:.0f} pixels; SNR Nd {nd:.1f}, Sm {sm:.1f}"
        axes.step(one[ENERGY], value, where="mid", color=color, label=label)
        axes.fill_between(
            one[ENERGY], value - spread, value + spread, step="mid", color=color, alpha=0.25,
            linewidth=0,
        )  # fmt: skip
    mark_lines(axes, part.counts, ("Nd_La", "Sm_La"))
    leave_room(axes)
    axes.set(title="(g) Nd and Sm in Brg", xlabel="energy (keV)", ylabel="counts per pixel")
    axes.set(xlim=(4.7, 6.1), ylim=(0, None))
    axes.legend(loc="lower left", framealpha=0.85, edgecolor="none")
