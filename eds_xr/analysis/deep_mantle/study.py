"""The study of an overlapping deep-mantle assemblage, from its counts to its compositions.

A matrix (bridgmanite, Brg) with grains of ferropericlase (Fp) and Ca-perovskite (Ca-Pv) that
overlap along the beam. After H. Chen et al. (EPFL). It is an analysis with the recipe beside this
file, and what only this study asks: whether the scores are where the elements are, and what the
whole mask of the matrix gains over a rectangle drawn by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from eds_xr.analysis.analyse import analyse
from eds_xr.analysis.any_sample.elements import Elements
from eds_xr.analysis.any_sample.line_fit import LineFit
from eds_xr.analysis.recipe import read_recipe
from eds_xr.chunks import computed
from eds_xr.image.element_maps import element_map
from eds_xr.progress import progress
from eds_xr.schema import COMPONENT, ENERGY, PHASE, EdsError
from eds_xr.segmentation import masks as mk
from eds_xr.spectra.sums import sum_spectra

#: The study's choices.
RECIPE = read_recipe(Path(__file__).with_name("deep_mantle.toml"))
PHASES = tuple(phase.name for phase in RECIPE.phases)
MATRIX, GRAINS = PHASES[0], PHASES[1:]
#: The elements that show the grains.
SHOWN_BY = {"Fp": "Mg_Ka", "Ca-Pv": "Ca_Ka"}
RECTANGLE, RECTANGLE_PIXELS = "rectangle", 30


@dataclass
class Study:
    """What the study found; every part is labelled xarray, computed.

    Attributes
    ----------
    image : DataArray
        The spectrum image, lazy.
    tree : DataTree
        From :func:`eds_xr.analyse`.
    total : DataArray [y, x; counts]
    masks : DataArray of bool [phase, y, x]
        ``Brg``, where it is pure (its composition rests on that); where ``Fp`` and ``Ca-Pv`` are
        present, their ``intersection``, the mixtures ``Fp+Brg`` and ``Ca-Pv+Brg`` from which their
        spectra come, and the confined ``rectangle``.
    spectra, regions : Dataset
        Sums over the matrix's mask and the rectangle, and fits of their lines.
    map_correlation : dict
        Score maps against the element maps.
    seed : int
    """

    image: xr.DataArray
    tree: xr.DataTree
    total: xr.DataArray
    masks: xr.DataArray
    spectra: xr.Dataset
    regions: xr.Dataset
    map_correlation: dict[str, float]
    seed: int = 0

    def part(self, name: str) -> xr.Dataset:
        """Return a group of the tree."""
        return self.tree[name].to_dataset()


def run(
    image: xr.DataArray, *, seed: int = 0, say: Callable[[str], None] = lambda message: None
) -> Study:
    """Carry out the study on a spectrum image of the assemblage.

    Computes: everything.

    Parameters
    ----------
    image : DataArray [y, x, energy; counts]
        Energy in keV, with the K lines of Mg, Si and Ca and the L lines of the rare earths.
    seed : int
    say : callable
        Told of every step.

    Raises
    ------
    EdsError
        When the image is none, when its components are not these three phases, or when a phase
        has no spectrum of its own.
    """
    tree = analyse(image, replace(RECIPE, seed=seed), say=say)
    _check_whole(tree)
    tree["factors"] = tree["factors"].assign(scores=computed(tree["factors"].scores))
    total, agreement = _maps(image, tree["factors"].scores)
    masks = computed(_masks(tree))
    with progress("sums over mask and rectangle"):
        spectra = sum_spectra(image, masks.sel({PHASE: [MATRIX, RECTANGLE]})).compute()
    elements = RECIPE.elements
    named = Elements(elements.sample or (), elements.stray or (), elements.majors or (), ())
    fit = LineFit(named, RECIPE.fit, image[ENERGY])
    regions = fit.fit(spectra, fit.calibrate(tree["spectra"].to_dataset()))
    return Study(image, tree, total, masks, spectra, regions, agreement, seed)


def _check_whole(tree: xr.DataTree) -> None:
    """Raise unless all three phases have a composition."""
    composed = tree["composition"].to_dataset() if "composition" in tree.children else None
    has = [] if composed is None else composed[PHASE].values.tolist()
    if lost := [p for p in PHASES if p not in has]:
        why = "; ".join(tree.attrs["warnings"])
        raise EdsError(
            f"the study needs {', '.join(PHASES)}, and {', '.join(lost)} has no composition here "
            f"({why}); for what there is, run eds-xr analyse"
        )


def _masks(tree: xr.DataTree) -> xr.DataArray:
    regions, segmentation = tree["masks"].mask, tree["segmentation"]
    matrix = regions.sel({PHASE: MATRIX}, drop=True)
    present = {g: segmentation.present.sel({PHASE: g}, drop=True) for g in GRAINS}
    sources = {g: str(tree["pure"].way.sel({PHASE: g}).item()).split(" less ")[0] for g in GRAINS}
    found = {
        MATRIX: matrix,
        **present,
        "intersection": mk.overlap(*present.values()),
        **{f"{g}+{MATRIX}": _region(regions, sources[g], g) for g in GRAINS},
        RECTANGLE: mk.inner_square(matrix, pixels=RECTANGLE_PIXELS),
    }
    names = xr.DataArray(list(found), dims=PHASE, name=PHASE)
    return xr.concat(found.values(), dim=names, coords="minimal", compat="override").rename("mask")


def _region(regions: xr.DataArray, source: str, grain: str) -> xr.DataArray:
    """Return the region that a grain's spectrum comes from: a mixture, or pure pixels."""
    return regions.sel({PHASE: grain if source == "pure pixels" else source}, drop=True)


def _maps(image: xr.DataArray, scores: xr.DataArray) -> tuple[xr.DataArray, dict[str, float]]:
    """Return the image of all counts, and how the score maps agree with element maps."""
    from dask.base import compute

    found = {g: element_map(image, line, background=False) for g, line in SHOWN_BY.items()}
    with progress("element maps"):
        total, *maps = compute(image.sum(ENERGY), *found.values())
    total = total.astype(np.uint32).assign_attrs(long_name="counts", units="counts").rename("total")
    agreement = {
        g: _correlation(scores.sel({COMPONENT: g}), m) for g, m in zip(found, maps, strict=True)
    }
    return total, agreement


def _correlation(score: xr.DataArray, image: xr.DataArray) -> float:
    from scipy.ndimage import uniform_filter

    smooth = [uniform_filter(m.values.astype(float), 3).ravel() for m in (score, image)]
    return float(np.corrcoef(*smooth)[0, 1])
