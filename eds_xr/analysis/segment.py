"""The chain from a spectrum image to the phases of each pixel: amounts, forest, graph cut.

A rehearsal of the image teaches the forest which phases are present. With scribbles, phases are
what was painted, and the forest learns from the strokes, too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.analysis.phase_components import kinds_said, phase_components
from eds_xr.analysis.phase_names import name_phases
from eds_xr.chunks import persisted
from eds_xr.cluster.supervision import computes
from eds_xr.progress import progress
from eds_xr.provenance import with_step
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    PHASE,
    EdsError,
    check_same_grid,
    label_array,
    spatial_dims,
)
from eds_xr.segmentation.classify.training import predict, train
from eds_xr.segmentation.features.stack import pixel_features
from eds_xr.segmentation.presence.amounts import Amounts, amounts_of_image, amounts_of_scores
from eds_xr.segmentation.presence.baseline import baseline_ratios, without_baseline
from eds_xr.segmentation.presence.evidence import cut_presence, with_own_counts
from eds_xr.segmentation.presence.forest import phase_sums, rehearsed_forest, share_features
from eds_xr.segmentation.presence.of_strokes import (
    amounts_of_phases,
    canonical,
    phases_of_strokes,
)
from eds_xr.segmentation.presence.painted import (
    colors_of_phases,
    in_all_classes,
    painted_counts,
    phases_of_classes,
    segmentation_of,
)
from eds_xr.segmentation.presence.purity import most_of, pure_pixels
from eds_xr.segmentation.presence.sample import sample_windows
from eds_xr.segmentation.tiled_filters import in_tiles

#: What is learnt from of channels that are no scores: the pixel, and Gaussians about it.
FEATURE_KINDS = ("intensity", "gaussian")


@computes
def segment(
    image: xr.DataArray,
    scribbles: xr.DataArray | None = None,
    *,
    channels: xr.DataArray | xr.Dataset | None = None,
    features: xr.DataArray | None = None,
    n_components: int | str = "auto",
    least_share: float = 0.1,
    pure_share: float = 0.02,
    smoothness: float = 1.0,
    seed: int = 0,
) -> xr.Dataset:
    """Tell which phases are present in each pixel.

    Computes: amounts of the components, training, probabilities and one graph cut a phase, in tiles
    that depend on the image's shape alone; the spectra are read in blocks. On a cluster all that is
    as large as the image stays with the workers: only samples of it and results come back.

    Counts of each component are fitted to a pixel's spectrum without bias, with their noise. What
    they say by themselves, joined by a graph cut, is a draft. The image is rehearsed: drawn anew
    from the draft, with the same noise, so that the truth is known; a forest learns from it which
    combinations of phases features mean, down to the single pixel, to the boundary and where
    grains overlap. Its probabilities for the image itself are joined by one binary graph cut a
    phase. Shares of a pixel's counts do not depend on its thickness.

    Parameters
    ----------
    image : DataArray [y, x, energy; counts]
        A spectrum image, or else the channels themselves (no ``energy``).
    scribbles : DataArray [y, x; integer label], optional
        Painted pixels, 0 elsewhere: then these are the phases. A class called ``A+B`` is a
        combination of the phases A and B; a phase that all painted classes hold is everywhere.
        Where components tell the painted phases apart, what these consist of is rehearsed, and the
        forest learns from rehearsal and strokes; otherwise from the strokes alone.
    channels : DataArray [y, x, component] or NMF Dataset, optional
        What phases are told by: by default the NMF of `image`. With ``loadings``, and `image` on
        their energies, amounts are fitted to the spectra; otherwise they are the scores.
    features : DataArray [feature, y, x], optional
        From :func:`eds_xr.features.pixel_features`, with scribbles; by default shares and counts
        of the components, or Gaussians of channels that are no components.
    n_components : int or "auto"
        Number of NMF components.
    least_share : float
        A phase is present where it gives at least this share of the pixel's counts. Not used where
        the forest learns from strokes alone.
    pure_share : float
        A pixel is pure where all other phases give less than this.
    smoothness : float
        Of the graph cuts: 0 takes what is more probable in each pixel.
    seed : int
        Of the factorisation, the rehearsal and the forest.

    Returns
    -------
    Dataset
        ``present`` [phase, y, x; bool]; ``probability`` of presence [phase, y, x; float32], each
        phase for itself; ``pure`` [phase, y, x; bool], present and nothing else: take sums there;
        ``label`` [y, x; uint8, CF flags with names and colours], the phase that a pixel is pure in
        or has most of, 0 where it has no counts; ``uncertainty`` [y, x], 0 to 1: paint there.
        Attributes ``least_share``, ``pure_share``, ``n_painted`` (pixels with each phase that were
        learnt from), ``out_of_bag_accuracy`` of the forest on these, ``phase_notes``.

    Raises
    ------
    EdsError
        When the image is none or holds no counts, the parts lie on different grids, only one
        class is painted, or without scribbles there are no components.

    Notes
    -----
    Do not quantify the counts that have chosen the pixels: give the first image of
    :func:`eds_xr.hold_out` here, and quantify the second.
    """
    if not isinstance(image, xr.DataArray):
        raise EdsError(
            f"expected a spectrum image (DataArray), found {type(image).__name__}; open a store "
            "with eds_xr.open"
        )
    if not 0 < pure_share <= least_share < 1:
        raise EdsError(
            f"expected 0 < pure_share <= least_share < 1, found {pure_share} and {least_share}"
        )
    if features is not None and scribbles is None:
        raise EdsError("features are learnt from scribbles: give scribbles=..., too")
    with progress("finding the phases of each pixel"):
        if scribbles is None:
            given = _channels(image, channels, n_components, seed)
            found, _ = _by_itself(image, given, least_share, pure_share, smoothness, seed)
        else:
            found = _painted(
                image, scribbles, channels, features, n_components, least_share, pure_share,
                smoothness, seed,
            )  # fmt: skip
    return _with_step(found, image, least_share, pure_share, smoothness, seed)


def phases_and_amounts(
    image: xr.DataArray, factors: xr.Dataset, *, least_share: float, pure_share: float,
    smoothness: float, seed: int, scribbles: xr.DataArray | None = None,
) -> tuple[xr.Dataset, xr.DataArray]:  # fmt: skip
    """Return what :func:`segment` finds by an NMF, and the amounts that it went by.

    Computes: the amounts, for one pass over the image; the workers keep them. They are the counts
    of every phase in each pixel ``[phase, *spatial; counts]``, without bias, less what mixing left
    of the matrix in them. With scribbles, they are those of the painted phases.
    """
    given = _channels(image, factors, "auto", seed)
    with progress("finding the phases of each pixel"):
        found, amounts = _by_itself(
            image, given, least_share, pure_share, smoothness, seed, scribbles
        )
    found = _with_step(found, image, least_share, pure_share, smoothness, seed)
    return found, amounts


def _with_step(
    found: xr.Dataset, image: xr.DataArray, least_share: float, pure_share: float,
    smoothness: float, seed: int,
) -> xr.Dataset:  # fmt: skip
    step = with_step(
        image.attrs, "segment", least_share=least_share, pure_share=pure_share,
        smoothness=smoothness, seed=seed,
    )  # fmt: skip
    attrs = {"history": step["history"], "least_share": least_share, "pure_share": pure_share}
    return found.assign_attrs(attrs)


def _by_itself(
    image: xr.DataArray, given: _Channels, least_share: float, pure_share: float,
    smoothness: float, seed: int, scribbles: xr.DataArray | None = None,
) -> tuple[xr.Dataset, xr.DataArray]:  # fmt: skip
    """Return the phases that the components tell, learnt from a rehearsal, and their counts."""
    if COMPONENT not in given.scores.dims:
        raise EdsError(
            "without scribbles, phases are found by scores along 'component', found channels "
            f"{given.scores.dims}; paint phases with scribbles=..."
        )
    amounts, windows, taken_out = _without_mixing(_amounts(image, given), given.names)
    notes = [*given.notes, *taken_out]
    return _rehearsed(amounts, windows, notes, least_share, pure_share, smoothness, seed, scribbles)


def _rehearsed(
    amounts: Amounts, windows: np.ndarray, notes: list[str], least_share: float,
    pure_share: float, smoothness: float, seed: int, scribbles: xr.DataArray | None = None,
) -> tuple[xr.Dataset, xr.DataArray]:  # fmt: skip
    """Return the phases that amounts tell, learnt from a rehearsal and strokes, and their counts.

    The amounts are those of the painted phases, where there are scribbles.
    """
    counts, mean = amounts.counts, float(windows.sum(-1).mean())
    names = [str(name) for name in counts[COMPONENT].values]
    painted = None if scribbles is None else (share_features(counts), scribbles)
    learnt = rehearsed_forest(windows, amounts.noise, names, least_share, seed, painted)
    if learnt.classifier is None:
        probability = _certain(counts, learnt.sets[0])
    else:
        of_class = predict(learnt.classifier, share_features(counts))
        by_forest = phase_sums(of_class, learnt.sets, names, learnt.weights)
        probability = with_own_counts(by_forest, amounts, least_share, mean)
        if scribbles is not None:
            probability = probability.where(~in_all_classes(scribbles, names), np.float32(1))
        probability = probability.persist()
    probability, present, history = _cut(probability, counts, smoothness)
    n_learnt = learnt.n_learnt if scribbles is None else painted_counts(scribbles, names)
    kept = present.any(spatial_dims(present)).values & (n_learnt > 0)
    notes = notes + [
        f"{name} is nowhere at least {least_share:g} of the counts"
        for name, held in zip(names, kept, strict=True)
        if not held
    ]
    probability, present = (a.isel({PHASE: kept}) for a in (probability, present))
    if kept.sum() == 1:
        notes.append(f"one phase only, {present[PHASE].values[0]}: present everywhere")
    # kept once more: a later graph that selects them anew would fuse the same steps in another way,
    # and Dask warns of that
    held = counts.isel({COMPONENT: kept}).rename({COMPONENT: PHASE})
    held = persisted(held.transpose(PHASE, ...))
    pure, label = _pure_and_label(held, present, mean, pure_share)
    if scribbles is not None:
        label.attrs["flag_colors"] = " ".join(["none", *colors_of_phases(scribbles, label)])
    label.attrs["history"] = history
    attrs = {
        "n_painted": n_learnt[kept].tolist(),
        "out_of_bag_accuracy": learnt.accuracy,
        "phase_notes": notes,
    }
    found = segmentation_of(present, probability, pure, label)
    return persisted(found.assign_attrs(attrs)), held


def _without_mixing(amounts: Amounts, names: list[str]) -> tuple[Amounts, np.ndarray, list[str]]:
    """Return amounts less what mixing left of the matrix in them, windows, and what is said."""
    windows = sample_windows(amounts.counts)
    mean = float(windows.sum(-1).mean())
    if not mean > 0:
        raise EdsError(
            f"scores must be counts, found a mean sum of {mean:g} a pixel; take them from "
            "da.eds.nmf(), unscaled"
        )
    matrix, ratios = baseline_ratios(windows)
    if not ratios.any():
        return amounts, windows, []
    found = without_baseline(amounts, matrix, ratios)
    found = found._replace(counts=found.counts.persist())
    notes = [
        f"{names[c]} held {ratios[c]:.2f} of {names[matrix]}'s counts everywhere: taken out"
        for c in np.flatnonzero(ratios)
    ]
    return found, sample_windows(found.counts), notes


def _cut(
    probability: xr.DataArray, counts: xr.DataArray, smoothness: float
) -> tuple[xr.DataArray, xr.DataArray, list[str]]:
    """Return probabilities, what is present by them, and the history.

    Nothing is in pixels without counts.
    """
    some = counts.sum(COMPONENT) > 0.5
    cut = cut_presence(probability, smoothness)
    # each phase is cut by itself: where all were cut away, what is most probable is there
    most = (probability == probability.max(PHASE)) & ~cut.any(PHASE)
    present = ((cut | most) & some).transpose(*cut.dims)
    found = xr.Dataset({"probability": probability * some, "present": present})
    found = found.persist()  # one pass for both
    return found["probability"], found["present"], cut.attrs["history"]


def _pure_and_label(
    held: xr.DataArray, present: xr.DataArray, mean: float, pure_share: float
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return where present phases are pure, and which each pixel has most of."""
    names = list(present[PHASE].values)
    held = held.assign_coords({PHASE: names})
    pure = present.copy() if len(names) == 1 else pure_pixels(held, present, mean, pure_share)
    return pure, label_array(most_of(held, present, mean).data, held, names)


def _painted(
    image: xr.DataArray, scribbles: xr.DataArray, channels: xr.DataArray | xr.Dataset | None,
    features: xr.DataArray | None, n_components: int | str, least_share: float,
    pure_share: float, smoothness: float, seed: int,
) -> xr.Dataset:  # fmt: skip
    """Return the phases that were painted: what the forest makes of features decides."""
    check_same_grid(image, scribbles, "the scribble image")
    scribbles = canonical(scribbles)
    if features is None:
        given = _channels(image, channels, n_components, seed)
        check_same_grid(image, given.scores, "the channel image")
        if COMPONENT not in given.scores.dims:
            features = pixel_features(persisted(given.scores), kinds=FEATURE_KINDS)
        else:
            amounts, _, notes = _without_mixing(_amounts(image, given), given.names)
            phases = phases_of_strokes(amounts.counts, scribbles)
            if phases is not None:
                held = amounts_of_phases(amounts, phases)
                held = held._replace(counts=held.counts.persist())
                windows, notes = sample_windows(held.counts), [*given.notes, *notes]
                return _rehearsed(
                    held, windows, notes, least_share, pure_share, smoothness, seed, scribbles
                )[0]
            features = share_features(amounts.counts)
    classifier = train(features, scribbles, seed=seed)
    of_class = in_tiles(predict(classifier, features)).persist()
    found = phases_of_classes(
        of_class, smoothness=smoothness, n_painted=classifier.n_painted, colors=classifier.colors
    )
    return persisted(found.assign_attrs(out_of_bag_accuracy=classifier.out_of_bag_accuracy))


class _Channels(NamedTuple):
    """What phases are told by: scores (or other channels), their spectra, their names."""

    scores: xr.DataArray
    loadings: xr.DataArray | None
    names: list[str]
    notes: tuple[str, ...] = ()


def _channels(
    image: xr.DataArray,
    channels: xr.DataArray | xr.Dataset | None,
    n_components: int | str,
    seed: int,
) -> _Channels:
    if channels is None and ENERGY in image.dims:
        factors, kinds, _ = phase_components(image, n_components, seed=seed)
        found = _channels(image, factors, n_components, seed)
        called = dict(zip(factors[COMPONENT].values.tolist(), found.names, strict=True))
        return found._replace(notes=kinds_said(kinds, called))
    if channels is None:
        channels = image
    if isinstance(channels, xr.DataArray):
        names = channels[COMPONENT].values if COMPONENT in channels.dims else ()
        return _Channels(channels, None, [str(name) for name in names])
    if "scores" not in channels:
        raise EdsError(f"expected an NMF result with 'scores', found {list(channels)}")
    scores = channels["scores"].assign_attrs({"history": channels.attrs.get("history", [])})
    loadings = channels["loadings"] if "loadings" in channels else None
    named = COMPONENT in channels and scores[COMPONENT].dtype.kind in "OUT"
    if loadings is None or named:
        return _Channels(scores, loadings, [str(name) for name in scores[COMPONENT].values])
    return _Channels(scores, loadings, name_phases(loadings, image.attrs.get("elements", ())))


def _amounts(image: xr.DataArray, given: _Channels) -> Amounts:
    """Return the amounts of the components, kept by the workers: several passes will be made."""
    check_same_grid(image, given.scores, "the channel image")
    spectra = None if given.loadings is None else _on_energies(image, given.loadings)
    if spectra is None or given.loadings is None:
        found = amounts_of_scores(persisted(given.scores), given.loadings)
    else:
        found = amounts_of_image(spectra, given.loadings)
    history = {"history": given.scores.attrs.get("history", [])}
    riding = [name for name in found.counts.coords if name not in found.counts.dims]
    counts = found.counts.drop_vars(riding)  # an image recorded with it is not read
    counts = counts.assign_coords({COMPONENT: given.names})
    counts = counts if counts.chunks is None else in_tiles(counts).persist()
    return found._replace(counts=counts.assign_attrs(history))


def _on_energies(image: xr.DataArray, loadings: xr.DataArray) -> xr.DataArray | None:
    """Return the image's channels that `loadings` are of; None where it has none such."""
    if ENERGY not in image.dims:
        return None
    axis, wanted = image[ENERGY].values, loadings[ENERGY].values
    first = int(np.abs(axis - wanted[0]).argmin())
    chosen = axis[first : first + wanted.size]
    near = chosen.size == wanted.size and np.allclose(chosen, wanted, rtol=0, atol=1e-4)
    return image.isel({ENERGY: slice(first, first + wanted.size)}) if near else None


def _certain(counts: xr.DataArray, present: np.ndarray) -> xr.DataArray:
    """Return the probabilities of a map in which all pixels hold the same phases."""
    ones = xr.ones_like(counts).rename({COMPONENT: PHASE}).transpose(PHASE, ...)
    return ones * xr.DataArray(present.astype(np.float32), dims=PHASE)
