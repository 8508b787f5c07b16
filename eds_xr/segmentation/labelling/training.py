"""From a session to phases: features, training on all its images, probabilities, graph cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import xarray as xr

from eds_xr.cluster.supervision import computes
from eds_xr.schema import EdsError
from eds_xr.segmentation.classify.quality import score_by_stroke
from eds_xr.segmentation.classify.training import predict, random_trees, train
from eds_xr.segmentation.features.stack import CHANNEL, as_channels, pixel_features
from eds_xr.segmentation.labelling.session import Session, scribbles_of
from eds_xr.segmentation.presence.painted import phases_of_classes

#: Features of the only image that is painted on, or of each by its name.
Features = xr.DataArray | Mapping[str, xr.DataArray]


def features_of(session: Session, channels: xr.DataArray) -> xr.DataArray:
    """Return the features that a session has chosen, of the channels that it has chosen.

    Lazy: tile by tile; ``persist()`` them where several trainings follow.

    Parameters
    ----------
    session : Session
    channels : DataArray [channel (or component, line, element), y, x]

    Returns
    -------
    DataArray [feature, y, x; float32]

    Raises
    ------
    EdsError
        When a channel is missing.
    """
    stack, chosen = as_channels(channels), list(session.parameters.channels)
    known = stack[CHANNEL].values.tolist()
    if missing := [name for name in chosen if name not in known]:
        raise EdsError(f"there is no channel {missing[0]!r}; channels are {', '.join(known)}")
    if chosen:
        stack = stack.sel({CHANNEL: chosen})
    return pixel_features(stack, kinds=session.parameters.kinds, scales=session.parameters.scales)


def train_session(session: Session, features: Features) -> Session:
    """Return the session with a classifier that has learnt from the strokes on all its images.

    Extremely randomised trees, by the session's parameters.

    Computes: as :func:`eds_xr.classify.train`.

    Parameters
    ----------
    session : Session
    features : DataArray [feature, y, x], or mapping of str to DataArray
        From :func:`features_of`; of each painted image by its name, where there are several.

    Raises
    ------
    EdsError
        As :func:`eds_xr.classify.train`; or when a painted image has no features.
    """
    chosen = session.parameters
    given, painted = _painted(session, features)
    forest = random_trees(chosen.n_trees, chosen.balanced, chosen.seed)
    classifier = train(
        given, painted, classifier=forest, balanced=chosen.balanced, seed=chosen.seed
    )
    return replace(session, classifier=classifier)


@computes
def score_session(session: Session, features: Features) -> xr.Dataset:
    """Measure how well strokes are recognised by a classifier that was not shown them.

    Computes: as :func:`eds_xr.classify.score_by_stroke`, whose result it is.
    """
    chosen = session.parameters
    given, painted = _painted(session, features)
    forest = random_trees(chosen.n_trees, chosen.balanced, chosen.seed)
    return score_by_stroke(
        given, painted, classifier=forest, balanced=chosen.balanced, seed=chosen.seed
    )


def probabilities_of(session: Session, features: xr.DataArray) -> xr.DataArray:
    """Return the probability of every class in every pixel ``[phase, y, x; float32]``.

    Lazy: tile by tile; of any image of the same kind, painted or not.

    Raises
    ------
    EdsError
        When nothing was trained yet.
    """
    if session.classifier is None:
        raise EdsError("the session has no classifier yet: train one with labelling.train_session")
    return predict(session.classifier, features)


@computes
def phases_of(session: Session, probabilities: xr.DataArray) -> xr.Dataset:
    """Return the phases of each pixel, joined by a graph cut of the session's smoothness.

    Computes: the probabilities and the graph cut.

    Parameters
    ----------
    session : Session
    probabilities : DataArray [phase, y, x]
        From :func:`probabilities_of`; ``persist()`` them where smoothness is changed several times.

    Returns
    -------
    Dataset
        ``present``, ``probability``, ``pure`` [phase, y, x], ``label`` and ``uncertainty`` [y, x]
        as :func:`eds_xr.segment` has them; ``A+B`` is a pixel of both.
    """
    classifier = session.classifier
    if classifier is None:
        raise EdsError("the session has no classifier yet: train one with labelling.train_session")
    found = phases_of_classes(
        probabilities,
        smoothness=session.parameters.smoothness,
        n_painted=classifier.n_painted,
        colors=classifier.colors,
    )
    return found.assign_attrs(out_of_bag_accuracy=classifier.out_of_bag_accuracy)


def _painted(session: Session, features: Features) -> tuple[list[xr.DataArray], list[xr.DataArray]]:
    """Return features and scribbles of every image that has strokes."""
    if isinstance(features, xr.DataArray):
        features = {session.image().name: features}
    names = [i.name for i in session.images if session.strokes_on(i.name)]
    if not names:
        raise EdsError("the session has no strokes: paint at least two classes")
    if missing := [name for name in names if name not in features]:
        raise EdsError(f"{missing[0]!r} is painted, but its features are not given")
    given = [features[name] for name in names]
    return given, [scribbles_of(session, name, like=features[name]) for name in names]
