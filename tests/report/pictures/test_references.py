"""Pictures look as they did: compared with small references, within a tolerance.

EDS_XR_DRAW_REFERENCES=1 draws the references anew; look at them before they are committed.
"""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.image import imread
from matplotlib.text import Annotation, Text
from support.drawn import composition, strangers

from eds_xr.composition.partition import partition_coefficients
from eds_xr.report.pictures.canvas import COLUMN
from eds_xr.report.pictures.components import plot_components, plot_rank
from eds_xr.report.pictures.errors import plot_budget, plot_partition
from eds_xr.report.pictures.fits import plot_fit
from eds_xr.report.pictures.maps import plot_maps, plot_rgb, plot_strangers
from eds_xr.report.pictures.phases import plot_phases
from eds_xr.report.pictures.profiles import plot_profile
from eds_xr.report.pictures.spectra import plot_spectra

REFERENCES = Path(__file__).parent / "references"
#: Root of the mean squared difference of blocks of pixels, of 1, in which a letter that moves by a
#: pixel counts little; a picture turned upside down gives more than twice as much.
TOLERANCE, BLOCK, DPI = 0.03, 4, 50

Y, X = np.mgrid[:24, :32]
GRID = {d: (d, 5.0 * np.arange(n), {"units": "nm"}) for d, n in (("y", 24), ("x", 32))}
ENERGY = np.arange(0.2, 8, 0.02)


def spectra() -> xr.Dataset:
    lines = {"A": (1.25, 900), "B": (1.74, 300)}
    peaks = [
        height * np.exp(-(((ENERGY - at) / 0.06) ** 2)) + 60 * np.exp(-ENERGY / 3)
        for at, height in lines.values()
    ]
    axis = ("energy", ENERGY, {"units": "keV"})
    counts = xr.DataArray(np.round(peaks), {"phase": list(lines), "energy": axis})
    found = {"counts": counts, "variance": counts, "n_pixels": ("phase", [10, 20])}
    return xr.Dataset(found, attrs={"elements": ["Mg", "Si", "Fe"]})


def fitted() -> xr.Dataset:
    counts = spectra().counts
    net = xr.DataArray([[900.0, 9], [9, 300]], {"phase": ["A", "B"], "line": ["Mg_Ka", "Si_Ka"]})
    effects = np.stack([np.tile(np.diag(d), (2, 1, 1)) for d in ([9.0, 3.0], [3.0, 3.0])])
    return xr.Dataset(
        {
            "net": net, "variance": net + 9, "model": 1.02 * counts,
            "background_model": counts.clip(max=40), "doubt": net.copy(data=[["", "odd"]] * 2),
            "effect_covariance": (("effect", "phase", "line", "line_other"), effects),
        },
        {"effect": ["counting", "background"]},
    )  # fmt: skip


def maps() -> xr.DataArray:
    values = np.stack([Y, X, 30 * ((Y - 8) ** 2 + (X - 20) ** 2 < 30)]).astype(float)
    names = {"line": ["Mg_Ka", "Si_Ka", "Fe_Ka"]}
    found = xr.DataArray(values, names | GRID, ("line", "y", "x"), attrs={"units": "counts"})
    return found.assign_coords(variance=found.variable + 1)


def factors() -> xr.Dataset:
    scores = maps().drop_vars("variance").isel(line=slice(2)).rename(line="component")
    scores["component"] = ["A", "B"]
    counts = spectra().counts
    return xr.Dataset(
        {"scores": scores, "loadings": (counts / counts.sum("energy")).rename(phase="component")}
    )


def evidence() -> xr.Dataset:
    values = {"eigenvalue": [90.0, 9, 1, 0.9], "gain": [0.0, 80, 2, 0], "gain_error": [1.0] * 4}
    found = {n: ("component", v) for n, v in values.items()}
    return xr.Dataset(found, {"component": [1, 2, 3, 4]}, {"suggested": 2})


PICTURES = {
    "phases": lambda: plot_phases((maps() > 12).rename(line="phase").drop_vars("variance")),
    "maps": lambda: plot_maps(maps()),
    "maps_common": lambda: plot_maps(maps(), ranges="common"),
    "rgb": lambda: plot_rgb(maps()),
    "spectra": lambda: plot_spectra(spectra()),
    "spectra_log": lambda: plot_spectra(spectra(), log=True, per="total"),
    "fit": lambda: plot_fit(spectra(), fitted()),
    "components": lambda: plot_components(factors(), lines=["Mg_Ka", "Si_Ka"]),
    "rank": lambda: plot_rank(evidence()),
    "budget": lambda: plot_budget(fitted()),
    "partition": lambda: plot_partition(
        partition_coefficients(composition(), "Fp", reference="Brg")
    ),
    "strangers": lambda: plot_strangers(strangers()),
    "profile": lambda: plot_profile(maps(), (10.0, 10.0), (90.0, 140.0), width=20.0),
}  # fmt: skip


def blocks(picture: np.ndarray) -> np.ndarray:
    rows, columns = (n // BLOCK * BLOCK for n in picture.shape[:2])
    parts = picture[:rows, :columns, :3].reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK, 3)
    return parts.mean((1, 3))


#: The same for one column of a page, and what is hard to fit.
NARROW = {
    "maps of a column": lambda: plot_maps(maps(), ranges="common", width=COLUMN),
    "fit of a column": lambda: plot_fit(spectra(), marked(), width=COLUMN),
    "components of a column": lambda: plot_components(factors(), lines=["Mg_Ka"], width=COLUMN),
    "partition of a column": lambda: plot_partition(coefficients(), width=COLUMN),
    "partition with limits": lambda: plot_partition(coefficients()),
    "budget of six phases": lambda: plot_budget(many(6)),
    "rank of noise": lambda: plot_rank(evidence().assign(eigenvalue=("component", [90, 1, 1, 1]))),
}


def marked() -> xr.Dataset:
    """Return a fit with long notes."""
    found = fitted().drop_vars(["effect", "effect_covariance"])
    notes = ["its counts are those of a line that was not fitted, and twice what they can be", ""]
    zero = found.net.copy(data=[[False, True]] * 2)
    return found.assign(doubt=found.net.copy(data=[notes] * 2), assumed=zero)


def many(number: int) -> xr.Dataset:
    parts = [fitted().isel(phase=[0]).assign_coords(phase=[f"Phase {i}"]) for i in range(number)]
    return xr.concat(parts, "phase")


def coefficients() -> xr.Dataset:
    """Return coefficients of which the highest and the lowest are limits."""
    found = partition_coefficients(composition(), "Fp", reference="Brg").expand_dims("phase")
    limits = {"partition_coefficient_lower_limit": 5e3, "partition_coefficient_upper_limit": 2e-3}
    wide = found.isel(element=[0, 1, 2] * 4).assign_coords(element=list("HBCNOFPSKVYU"))
    held = {"partition_coefficient_detected": 2, "partition_coefficient_reference_detected": 1}
    for name, which in held.items():
        values = np.ones((1, 12), bool)
        values[0, which] = False
        wide[name] = (("phase", "element"), values)
    for name, value in limits.items():
        wide[name] = (("phase", "element"), np.full((1, 12), value))
    notes, assumed = [["odd", *[""] * 11]], np.zeros((1, 12), bool)
    assumed[0, -1] = True
    values = wide.partition_coefficient
    return wide.assign(assumed=values.copy(data=assumed), doubt=values.copy(data=notes))


@pytest.mark.parametrize("name", [*PICTURES, *NARROW])
def test_pictures__no_text_is_cut_or_covered(name: str, monkeypatch) -> None:
    figure = (PICTURES | NARROW)[name]()
    figure.set_dpi(4 * DPI)
    figure.draw_without_rendering()  # lays it out
    shown = drawn_by(figure, Text, monkeypatch)
    boxes = {t: t.get_window_extent() for t in shown if t.get_text().strip()}
    assert len(boxes) > 3
    for text, box in boxes.items():
        assert figure.bbox.x0 - 2 < box.x0 < box.x1 < figure.bbox.x1 + 2, text
        assert figure.bbox.y0 - 2 < box.y0 < box.y1 < figure.bbox.y1 + 2, text
    for arrow in (a for a in figure.findobj(Annotation) if a.arrow_patch is not None):
        ends, axes = arrow.arrow_patch.get_window_extent(), arrow.axes.bbox
        assert axes.y0 - 1 < ends.y0 < ends.y1 < axes.y1 + 1, "an arrow leaves its axes"
    for text, box in boxes.items():
        covers = [t for t, b in boxes.items() if t is not text and box.padded(-1).overlaps(b)]
        assert not covers, text


def drawn_by(figure, kind: type, monkeypatch) -> list:
    """Return the artists of a kind that are drawn: ticks beyond the axes are not."""
    found, draw = {}, kind.draw
    with monkeypatch.context() as patch:
        patch.setattr(kind, "draw", lambda self, r: (found.setdefault(self), draw(self, r))[1])
        figure.draw_without_rendering()
    return [text for text in found if text.get_visible()]


@pytest.mark.parametrize("name", PICTURES)
def test_pictures__look_as_they_did(name: str) -> None:
    stream = io.BytesIO()
    PICTURES[name]().savefig(stream, format="png", dpi=DPI)
    path = REFERENCES / f"{name}.png"
    if os.environ.get("EDS_XR_DRAW_REFERENCES"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(stream.getvalue())
    stream.seek(0)
    drawn, known = imread(stream), imread(path)
    assert drawn.shape == known.shape
    apart = np.sqrt(np.mean((blocks(drawn) - blocks(known)) ** 2))
    turned = np.sqrt(np.mean((blocks(drawn[::-1]) - blocks(known)) ** 2))
    assert apart < TOLERANCE < 2 * TOLERANCE < turned
