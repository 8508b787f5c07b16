"""The chain from a spectrum image to a phase map: scores, features, forest, graph cut.

With scribbles, phases are what was painted. Without, the scores paint where they leave no doubt,
and phases are named by their strongest lines.
"""

from __future__ import annotations

from itertools import compress

import numpy as np
import xarray as xr

from eds_xr.analysis.phase_names import name_phases
from eds_xr.chunks import computed, persisted
from eds_xr.provenance import with_step
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    PHASE,
    EdsError,
    check_same_grid,
    label_array,
    phase_colors,
    phase_names,
)
from eds_xr.segmentation.classify.quality import uncertainty
from eds_xr.segmentation.classify.training import predict, train
from eds_xr.segmentation.confident import confident_pixels
from eds_xr.segmentation.features.stack import pixel_features
from eds_xr.segmentation.graph_cut.potts import smooth

#: With counts, smoothing alone is as accurate as all kinds together, and several times as fast.
FEATURE_KINDS = ("gaussian",)


def segment(
    image: xr.DataArray,
    scribbles: xr.DataArray | None = None,
    *,
    channels: xr.DataArray | xr.Dataset | None = None,
    features: xr.DataArray | None = None,
    n_components: int | str = "auto",
    smoothness: float = 1.0,
    seed: int = 0,
) -> xr.Dataset:
    """Label every pixel with its phase.

    Computes: scores, training, probabilities and one graph cut of the whole image, which must fit
    in memory. Probabilities are kept in the memory of the workers.

    Parameters
    ----------
    image : DataArray [y, x, energy; counts]
        A spectrum image, or else the channels themselves (no ``energy``).
    scribbles : DataArray [y, x; integer label], optional
        Painted pixels, 0 elsewhere. By default those that
        :func:`eds_xr.masks.confident_pixels` finds; without its phase ``other`` where there is
        none, and without phases that no pixel has most of.
    channels : DataArray [y, x, component] or NMF Dataset, optional
        What features are made of. By default the NMF scores of `image`. Along ``component`` they
        are taken for scores, and each one's share of the pixel's counts joins them: it does not
        change with the thickness.
    features : DataArray [feature, y, x], optional
        From :func:`eds_xr.features.pixel_features`; by default Gaussians of `channels`.
    n_components : int or "auto"
        Number of NMF components.
    smoothness : float
        Of the graph cut: 0 takes the most probable phase of each pixel.
    seed : int
        Of the factorisation and of the forest.

    Returns
    -------
    Dataset
        ``label`` [y, x; uint8, CF flags with names and colours]; ``probability``
        [phase, y, x; float32]; ``uncertainty`` [y, x], 1 less the lead of the most probable
        phase over the next: paint there. Attribute ``out_of_bag_accuracy`` is that of the forest
        on painted pixels. See :func:`eds_xr.masks.remove_small` and
        :func:`eds_xr.masks.fill_holes` for regions that are too small.

    Raises
    ------
    EdsError
        When the image is none or holds no counts, the parts lie on different grids, only one phase
        is painted, or the scores of a homogeneous map tell no phases apart.

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
    by_itself = scribbles is None
    if features is None or scribbles is None:
        channels = _named_channels(image, channels, n_components, seed)
        check_same_grid(image, channels, "the channel image")
        scribbles = _painted_by_scores(channels) if scribbles is None else scribbles
        if features is None:
            features = pixel_features(_with_shares(channels), kinds=FEATURE_KINDS)
    classifier = train(features, scribbles, seed=seed)
    probability = predict(classifier, features)
    if by_itself and classifier.n_painted[-1] == 0:  # the last: pixels that are none of the others
        probability = probability.isel({PHASE: slice(-1)})
    probability = probability.persist()
    label = smooth(probability, smoothness=smoothness)
    n_painted = np.array(classifier.n_painted[: probability.sizes[PHASE]])
    lead = uncertainty(probability)
    if by_itself:  # a phase without a pixel has no spectrum
        held = np.isin(np.arange(n_painted.size) + 1, label)
        label, n_painted = _renumbered(label, held), n_painted[held]
        probability = probability.isel({PHASE: held})
    step = with_step(image.attrs, "segment", smoothness=smoothness, seed=seed)
    attrs = {
        "history": step["history"],
        "out_of_bag_accuracy": classifier.out_of_bag_accuracy,
        "n_painted": n_painted.tolist(),
    }
    parts = {"label": label, "probability": probability, "uncertainty": lead}
    return xr.Dataset(parts, attrs=attrs)


def _painted_by_scores(channels: xr.DataArray) -> xr.DataArray:
    """Return the pixels whose scores leave no doubt; refuse a map in which nothing differs."""
    if COMPONENT not in channels.dims:
        raise EdsError(
            "without scribbles, phases are found by scores along 'component', found channels "
            f"{channels.dims}; paint phases with scribbles=..."
        )
    homogeneous = (
        "the map looks homogeneous: {}. Take the spectrum of all its pixels (sum over y and x), or "
        "tell phases apart yourself: paint them with scribbles=..."
    )
    if channels.sizes[COMPONENT] < 2:
        raise EdsError(homogeneous.format("one component describes all its spectra"))
    painted = computed(confident_pixels(channels))
    if np.unique(painted.values[painted.values > 0]).size < 2:
        raise EdsError(homogeneous.format("no pixels stand out from the others in their scores"))
    return painted


def _renumbered(label: xr.DataArray, held: np.ndarray) -> xr.DataArray:
    """Return labels of the phases in `held` alone, named and coloured as they were."""
    values = np.append(0, held * held.cumsum()).astype(np.uint8)[label.values]
    names, colors = (list(compress(f(label), held)) for f in (phase_names, phase_colors))
    return label.copy(data=values).assign_attrs(label_array(values, label, names, colors).attrs)


def _named_channels(
    image: xr.DataArray,
    channels: xr.DataArray | xr.Dataset | None,
    n_components: int | str,
    seed: int,
) -> xr.DataArray:
    """Return the channels, in memory or with the workers: several passes will be made."""
    if channels is None and ENERGY in image.dims:
        from eds_xr.factorisation.nmf import nmf

        channels = nmf(image, n_components, seed=seed)
    if channels is None:
        channels = image
    if isinstance(channels, xr.Dataset):
        if "scores" not in channels:
            raise EdsError(f"expected an NMF result with 'scores', found {list(channels)}")
        scores = channels["scores"]
        named = COMPONENT in channels and scores[COMPONENT].dtype.kind in "OUT"
        if "loadings" in channels and not named:
            names = name_phases(channels["loadings"], image.attrs.get("elements", ()))
            scores = scores.assign_coords({COMPONENT: names})
        channels = scores.assign_attrs({"history": channels.attrs.get("history", [])})
    return persisted(channels) if channels.chunks is not None else channels


def _with_shares(channels: xr.DataArray) -> xr.DataArray:
    """Return scores, and each component's share of the counts of its pixel [percent]."""
    if COMPONENT not in channels.dims:
        return channels
    scores = channels.astype(np.float32).assign_coords({COMPONENT: _names(channels)})
    shares = 100 * scores / scores.sum(COMPONENT).clip(min=1)
    shares = shares.assign_coords({COMPONENT: [f"{name} share" for name in _names(channels)]})
    return xr.concat([scores, shares], dim=COMPONENT, combine_attrs="override")


def _names(channels: xr.DataArray) -> list[str]:
    return [str(name) for name in channels[COMPONENT].values]
