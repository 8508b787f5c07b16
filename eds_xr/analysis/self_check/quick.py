"""An analysis that tells what its model leaves out: in its groups, warnings and doubts."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import xarray as xr

from eds_xr.analysis.any_sample.phases_found import Found
from eds_xr.analysis.any_sample.tree import plain
from eds_xr.analysis.recipe import Recipe
from eds_xr.analysis.self_check.coverage import WAYS
from eds_xr.analysis.self_check.misfits import misfits
from eds_xr.analysis.strangers.find import FDR, strangers_of
from eds_xr.analysis.strangers.known import known_phases
from eds_xr.analysis.zoning.zoning import zoning_of
from eds_xr.composition.uncertainty import marks
from eds_xr.progress import progress
from eds_xr.schema import DOUBT, ENERGY, LINE, PHASE, EdsError, spatial_dims, texts_of
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV

#: The group of the tests, and what is said at all numbers that a misfit concerns, by the begin of
#: a test's name. A thickness that varies, a peak of one phase, or totals that scatter, concern some
#: numbers only, or none: they are warned of.
CHECK, STRANGERS, ZONING = "check", "strangers", "zoning"
_SHOWN = {CHECK: "tests of the image", STRANGERS: "strangers", ZONING: "zoning"}
#: Of strangers, and of lines that vary within a phase, the most significant are told among the
#: warnings.
MOST_TOLD, MOST_ZONED = 5, 3
_CONCERNS = {
    "gain": "the energy axis drifts",
    "pile-up": "the spectra hold sum peaks",
    "peak width": "peaks are not as wide as the file says",
    "variance of channels": "counts do not scatter by Poisson's law, by which errors go",
}


def self_checked(
    tree: xr.DataTree, image: xr.DataArray, found: Found, say: Callable[[str], None]
) -> xr.DataTree:
    """Return an analysis with strangers, zoning, and tests of what its model leaves out.

    Computes: four passes over `image`. Without elements of the sample there is nothing to test.
    """
    if not found.elements.sample:
        return tree
    say("what the model leaves out")
    range_kev = Recipe.from_toml(str(tree.attrs["recipe"])).fit.range_kev or FIT_RANGE_KEV
    made: dict[str, Callable[[], xr.Dataset]] = {
        CHECK: lambda: misfits(
            image, found.segmentation["pure"], found.total, found.elements.sample,
            stray=found.elements.stray, range_kev=range_kev,
        ),
    }  # fmt: skip
    if len(spatial_dims(image)) == 2:
        made[STRANGERS] = lambda: _strangers(image, tree, found)
        made[ZONING] = lambda: _zoning(image, found)
    groups: dict[str, xr.Dataset] = {}
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name, make in made.items():
            try:
                with progress(_SHOWN[name]):
                    groups[name] = make()
            except EdsError as error:
                notes.append(f"{_SHOWN[name]}: not had, {error}")
    notes += [text for name, group in groups.items() for text in said(name, group)]
    notes += [str(w.message) for w in caught]
    return _with_groups(tree, groups, notes)


def _strangers(image: xr.DataArray, tree: xr.DataTree, found: Found) -> xr.Dataset:
    """Return the strangers; their maps of residuals are as large as the image, and are left out."""
    known = known_phases(image, tree)
    total = found.total.counts.sel({ENERGY: known.image[ENERGY]}).values.astype(float)
    made = strangers_of(image, known, total, fdr=FDR, elements=found.elements.all)
    return made.drop_vars("residual")


def _zoning(image: xr.DataArray, found: Found) -> xr.Dataset:
    """Return how the lines of the sample vary within phases; stray ones are fitted beside them."""
    pure = found.segmentation["pure"]
    made = zoning_of(image, pure, found.elements.all, fdr=FDR, total=found.total.counts)
    of_sample = [n.split("_")[0] in found.elements.sample for n in made[LINE].values.tolist()]
    return made.isel({LINE: of_sample})


def _zoned_texts(group: xr.Dataset) -> list[str]:
    """Return what varies within which phase, the most significant first."""
    flat = group[["text", "q_value", "zoned"]].stack(cell=(PHASE, LINE)).sortby("q_value")
    return [str(text) for text in flat["text"].values[flat["zoned"].values]]


def said(name: str, group: xr.Dataset) -> list[str]:
    """Say which tests flagged something, which strangers there are, or what is zoned."""
    if name == CHECK:
        return [f"check: {text}" for text in group["text"].values[group.flagged.values].tolist()]
    if name == ZONING:
        told, texts, most = "zoning", _zoned_texts(group), MOST_ZONED
        left_out = "zoning: {} more, in the group of that name"
    else:
        told, texts, most = "stranger", group["text"].values.tolist(), MOST_TOLD
        left_out = "{} more strangers: the group strangers"
    notes = [f"{told}: {text}" for text in texts[:most]]
    return notes + ([left_out.format(len(texts) - most)] if len(texts) > most else [])


def _with_groups(tree: xr.DataTree, groups: dict[str, xr.Dataset], notes: list[str]) -> xr.DataTree:
    parts = {n: node.to_dataset() for n, node in tree.children.items()}
    if CHECK in groups:
        parts |= {w: _with_doubts(parts[w], groups[CHECK]) for w in WAYS if w in parts}
    made = xr.DataTree.from_dict(parts | {n: plain(g) for n, g in groups.items()})
    told = dict.fromkeys([*texts_of(tree.attrs, "warnings"), *notes])
    made.attrs = {**tree.attrs, "warnings": list(told)}
    return made


def _with_doubts(composition: xr.Dataset, tests: xr.Dataset) -> xr.Dataset:
    flagged = tests["test"].values[tests.flagged.values].tolist()
    why = [text for begin, text in _CONCERNS.items() if any(t.startswith(begin) for t in flagged)]
    if not why or DOUBT not in composition:
        return composition
    doubt = composition[DOUBT]
    here = np.isfinite(composition.atomic_fraction_variance)
    joined = marks.joined(doubt, xr.where(here, "; ".join(why), "")).transpose(*doubt.dims)
    return composition.assign({DOUBT: joined.astype(object).assign_attrs(doubt.attrs)})
