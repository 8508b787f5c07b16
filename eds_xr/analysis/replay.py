"""Results made again from their history, and where they first differ."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.analysis import files
from eds_xr.analysis.recipe import Recipe, read_recipe
from eds_xr.image.rebin import rebin
from eds_xr.image.split import hold_out, split_counts
from eds_xr.progress import progress
from eds_xr.provenance import history
from eds_xr.samples import simulate
from eds_xr.schema import EdsError
from eds_xr.store import conversion, opening
from eds_xr.xray.own_detector import with_detector

Steps = list[dict[str, Any]]

#: Numbers that agree to this share of the largest one are equal: sums in another order.
ROUNDING = 1e-6
#: Groups of an analysis in the order in which they are made.
ORDER = (
    "identification", "scribbles", "rank", "factors", "segmentation", "masks", "spectra", "pure",
    "lines", "composition", "partition", "formula", "refined", "refined_lines",
    "refined_composition", "comparison", "strangers", "zoning", "check", "coverage",
)  # fmt: skip


@dataclass(frozen=True)
class Replayed:
    """A part of a result that was made again.

    Attributes
    ----------
    step : str
        ``image``, or the name of a group of an analysis.
    difference : str
        What differs; empty where nothing does.
    """

    step: str
    difference: str


def replay(
    result: str | os.PathLike[str], *, source: str | os.PathLike[str] | None = None
) -> Iterator[Replayed]:
    """Make a result again from its history and compare, step by step.

    Computes: all that was computed for the result. An analysis is compared group by group, in
    the order in which they were made; a spectrum image as a whole.

    Parameters
    ----------
    result : path or URL
        An analysis (the folder of ``eds-xr analyse``, or the Zarr group of its tree), or a
        spectrum image that :func:`eds_xr.save` wrote.
    source : path or URL, optional
        Where the file that it was made from lies now; by default where it lay, or beside the
        result.

    Yields
    ------
    Replayed

    Raises
    ------
    EdsError
        When there is no result, when its history names a step that cannot be repeated, or its
        source is not where it was.
    """
    if "://" in str(result) or opening.is_store(Path(result).expanduser()):
        then = opening.open(result)
        with _made_again(history(then), source, Path(str(result)).parent) as image:
            yield Replayed("image", difference(then.to_dataset(), image.to_dataset(name="counts")))
        return
    yield from _replay_analysis(files.open_analysis(result), Path(result).expanduser(), source)


def difference(then: xr.Dataset, now: xr.Dataset) -> str:
    """Return where two results differ beyond rounding, empty where they do not.

    Computes: both, a variable at a time.
    """
    if missing := set(then.variables) ^ set(now.variables):
        return f"only one has {', '.join(sorted(map(str, missing)))}"
    for name in [*then.coords, *then.data_vars]:
        if text := _difference_of(then[name], now[name]):
            return f"{name}: {text}"
    return ""


def _difference_of(then: xr.DataArray, now: xr.DataArray) -> str:
    if then.sizes != now.sizes:
        return f"{dict(now.sizes)}, was {dict(then.sizes)}"
    old, new = then.variable, now.variable.transpose(*then.dims)
    apart = old != new
    if old.dtype.kind in "fc" and new.dtype.kind in "fc":
        was, now_is = (
            v.where(np.isfinite(v)) for v in (old, new)
        )  # equal infinities are not apart
        scale = float(np.abs(was).max()) if old.size else 0.0
        near = (np.abs(now_is - was) <= ROUNDING * scale) | (np.isnan(old) & np.isnan(new))
        apart = apart & ~near
    if not (number := int(apart.sum())):
        return ""
    index = np.unravel_index(int(apart.data.argmax()), apart.shape) if apart.dims else ()
    first = {d: int(i) for d, i in zip(apart.dims, index, strict=True)}
    where = ", ".join(f"{d} {_place(then, d, i)}" for d, i in first.items())
    at = f", first at {where}" if where else ""
    found, former = (v.isel(first).values[()] for v in (new, old))
    return f"{number} of {old.size} differ{at}: {found}, was {former}"


def _place(array: xr.DataArray, dim: Any, index: Any) -> Any:
    return array[dim].values[index] if dim in array.coords else index


def _replay_analysis(
    then: xr.DataTree, place: Path, source: str | os.PathLike[str] | None
) -> Iterator[Replayed]:
    from eds_xr.analysis.analyse import analyse

    steps = history(then)
    last = next((i for i, s in enumerate(steps) if s["step"] == "analyse"), len(steps))
    given = steps[last].get("recipe") if last < len(steps) else None
    recipe = Recipe.from_toml(str(given or then.attrs["recipe"]), source=f"the recipe of {place}")
    recipe = _with_files_kept(recipe, place if (place / files.RECIPE).is_file() else place.parent)
    known = source or _existing([str(then.attrs.get("source", "")), place / files.COUNTS])
    with _made_again(steps[:last], known, place.parent) as image:
        now = analyse(image, recipe)
        for name in _in_order({*_groups(then), *_groups(now)}):
            if name in _groups(then) and name in _groups(now):
                with progress(f"comparing {name}"):
                    found = difference(_group(then, name), _group(now, name))
                yield Replayed(name, found)
            else:
                run = "the former" if name in _groups(then) else "this"
                yield Replayed(name, f"only {run} run has it")
    said = [sorted(map(str, tree.attrs.get("warnings", []))) for tree in (then, now)]
    yield Replayed("warnings", "" if said[0] == said[1] else "other ones than before")


def _with_files_kept(recipe: Recipe, folder: Path) -> Recipe:
    """Return a recipe with the files that lie beside the result in place of those it had."""
    if not (folder / files.RECIPE).is_file():
        return recipe
    kept = read_recipe(folder / files.RECIPE)
    table, painted = kept.quantification.k_factors, kept.segmentation.scribbles
    if recipe.quantification.k_factors and table and Path(table).exists():
        recipe = replace(recipe, quantification=replace(recipe.quantification, k_factors=table))
    if recipe.segmentation.scribbles and painted and Path(painted).exists():
        recipe = replace(recipe, segmentation=replace(recipe.segmentation, scribbles=painted))
    alone = kept.instrument.hole
    if recipe.instrument.hole and alone and Path(alone).exists():
        recipe = replace(recipe, instrument=replace(recipe.instrument, hole=alone))
    return recipe


def _groups(tree: xr.DataTree) -> list[str]:
    return [node.path.strip("/") for node in tree.descendants if node.has_data]


def _group(tree: xr.DataTree, name: str) -> xr.Dataset:
    node = tree[name]
    assert isinstance(node, xr.DataTree)
    return node.to_dataset(inherit=False)


def _in_order(names: Iterable[str]) -> list[str]:
    def rank(name: str) -> tuple[int, str]:
        room = name.split("/")[0]
        return (ORDER.index(room) if room in ORDER else len(ORDER), name)

    return sorted(names, key=rank)


def _existing(places: Iterable[str | Path]) -> str | None:
    return next((str(p) for p in places if str(p) and ("://" in str(p) or Path(p).exists())), None)


@contextmanager
def _made_again(
    steps: Steps, source: str | os.PathLike[str] | None, beside: Path
) -> Iterator[xr.DataArray]:
    """Give the image that the steps of a history make. Lazy, within the ``with`` block."""
    with tempfile.TemporaryDirectory(prefix="eds_xr_replay_") as folder:
        image, left = _started(steps, source, beside, Path(folder))
        for step in left:
            name = step["step"]
            if name not in _IMAGE_STEPS:
                raise EdsError(
                    f"the step {name!r} of the history cannot be repeated, expected one of "
                    f"{', '.join(_IMAGE_STEPS)}"
                )
            image = _IMAGE_STEPS[name](image, step)
        yield image


def _started(
    steps: Steps, source: str | os.PathLike[str] | None, beside: Path, folder: Path
) -> tuple[xr.DataArray, Steps]:
    """Return the image with which a history begins, and the steps that are left."""
    first = next((i for i, s in enumerate(steps) if s["step"] == "convert"), None)
    found = source or (first is not None and _existing([beside / steps[first]["source"]])) or None
    if found is None and steps and steps[0]["step"] == "simulate":
        return _simulated(steps[0]), steps[1:]
    if found is None:
        raise EdsError(
            "the file that it was made from is not where it was; say where it is: --source FILE"
        )
    if "://" in str(found) or opening.is_store(Path(found)):
        image = opening.open(found)
        done = history(image)
        if _bare(done) != _bare(steps[: len(done)]):
            raise EdsError(f"{found} has another history than the result; is it the right file?")
        return image, steps[len(done) :]
    if first is None:
        raise EdsError(f"the history names no conversion of {found}; expected a store as --source")
    how = {n: steps[first][n] for n in ("detectors",) if n in steps[first]}
    signal = None if how else steps[first].get("signal")
    store = conversion.convert(
        found, folder / files.COUNTS, signal=signal, **how, **_frames(steps[:first])
    )
    return opening.open(store), steps[first + 1 :]


def _bare(steps: Steps) -> Steps:
    """Return steps without the version of the package that made them."""
    return [{k: v for k, v in step.items() if k != "eds_xr"} for step in steps]


def _frames(steps: Steps) -> dict[str, Any]:
    """Return as ``convert`` takes it what was chosen of the frames."""
    for step in steps:
        if step["step"] != "frames":
            raise EdsError(f"the step {step['step']!r} before the conversion cannot be repeated")
        chosen = step["chosen"]
        if isinstance(chosen, str):
            chosen = list(range(*map(int, chosen.split(":"))))
        return {"frames": chosen, "keep_frames": step["kept"], "align": "drift_px" in step}
    return {}


def _simulated(step: Mapping[str, Any]) -> xr.DataArray:
    given: list[dict[str, Any]] = step["phases"]
    phases = [simulate.Phase(**{**p, "size_nm": tuple(p["size_nm"])}) for p in given]
    return simulate.spectrum_image(
        tuple(step["shape"]), step["dose"], seed=step["seed"], phases=phases,
        instrument=simulate.Instrument(**step["instrument"]),
    )  # fmt: skip


def _rebinned(image: xr.DataArray, step: Mapping[str, Any]) -> xr.DataArray:
    return rebin(image, **{k: v for k, v in step.items() if k not in ("step", "eds_xr")})


def _half(image: xr.DataArray, step: Mapping[str, Any]) -> xr.DataArray:
    return split_counts(image, seed=step["seed"])[step["half"] - 1]


def _without_lines(image: xr.DataArray, step: Mapping[str, Any]) -> xr.DataArray:
    return hold_out(image, step["what"])[0]


#: What can be repeated on an image.
_IMAGE_STEPS: dict[str, Callable[[xr.DataArray, Mapping[str, Any]], xr.DataArray]] = {
    "rebin": _rebinned,
    "split_counts": _half,
    "hold_out": _without_lines,
    "with_detector": lambda image, step: with_detector(image, step["detector"]),
}
