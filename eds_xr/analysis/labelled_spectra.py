"""Spectra of the phases that a label image shows, and their net counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from eds_xr.analysis.any_sample.hole import read_hole
from eds_xr.image.split import split_counts
from eds_xr.schema import PHASE, EdsError, label_array
from eds_xr.segmentation import masks, scribbles
from eds_xr.spectra.common_errors import add_common_errors, carries_common_errors
from eds_xr.spectra.hole import subtract_hole
from eds_xr.spectra.line_fits.fit_lines import fit_lines
from eds_xr.spectra.sums import sum_spectra
from eds_xr.store.opening import open as open_store


def labelled_spectra(store: str, labels: Path | None, half: int | None) -> xr.Dataset:
    """Return the spectra of all labelled phases, or of the whole image; or their second half."""
    image = open_store(store)
    if half is not None:  # the counts that chose the pixels are left out
        _, image = split_counts(image, seed=half)
    if labels is None:
        ones = xr.ones_like(image.isel(energy=0, drop=True), dtype="uint8")
        painted = label_array(ones.data, image, ["whole image"])
    elif labels.exists():
        painted = scribbles.read(labels, image)
    else:
        raise EdsError(f"{labels} does not exist; give the label image that was saved")
    spectra = sum_spectra(image, masks.from_labels(painted)).compute()
    empty = [str(p) for p in spectra[PHASE].values[(spectra.n_pixels == 0).values]]
    if len(empty) == spectra.sizes[PHASE]:
        raise EdsError(f"{labels} labels no pixel of the image")
    for name in empty:
        print(f"warning: no pixel is labelled {name}; it is left out")
    return spectra.sel({PHASE: [p for p in spectra[PHASE].values if str(p) not in empty]})


def without_hole(spectra: xr.Dataset, hole: str, scale: str, elements: Sequence[str]) -> xr.Dataset:
    """Return spectra less what a file tells is counted without the sample."""
    return subtract_hole(spectra, read_hole(hole), scale=scale, elements=elements or None)


def fitted(
    spectra: xr.Dataset, elements: Sequence[str], stray: Sequence[str], lines: Sequence[str],
    range_kev: tuple[float, float],
) -> xr.Dataset:  # fmt: skip
    """Return net counts with the errors that channels share; what is empty is by default."""
    net = fit_lines(
        spectra, elements or None, stray=stray, lines=lines or None, range_kev=range_kev
    )
    return add_common_errors(net, spectra) if carries_common_errors(spectra) else net
