"""What a labeller saves and loads: sessions, labels, regions, masks, classifiers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from eds_xr.app.labeller.controller import Labeller
from eds_xr.app.labeller.steps import features_of
from eds_xr.app.serving.folder import confined
from eds_xr.atomic_write import written_whole
from eds_xr.schema import PHASE, EdsError
from eds_xr.segmentation import classify, labelling, scribbles
from eds_xr.segmentation.rois import Roi

#: What is saved, and the ending of its file.
ENDINGS = {
    "session": ".edsx",
    "labels": ".labels.tif",
    "rois": ".strokes.zip",
    "masks": ".phases.zarr",
    "segmented": ".segmented.zarr",
    "classifier": ".classifier.edsx",
}
#: A file that is sent from a browser has at most so many bytes.
MOST_BYTES = 24 * 2**20


def save(labeller: Labeller, what: str, folder: Path) -> Path:
    """Save what is painted or found, under the name of the image, in place of what was there.

    Computes: what is saved.

    Parameters
    ----------
    labeller : Labeller
    what : str
        One of `ENDINGS`: the session, the labels of all pixels (before training, what is painted),
        the strokes for ImageJ, which phases are present where by the classifier, the final phases
        (:func:`eds_xr.segment`), the classifier.
    folder : path

    Raises
    ------
    EdsError
        When there is nothing of the kind yet.
    """
    if what not in ENDINGS:
        raise EdsError(f"save one of {', '.join(ENDINGS)}, found {what!r}")
    target = confined(folder, Path(labeller.painting.name).name + ENDINGS[what])
    return _WAYS[what](labeller, target)


def load(labeller: Labeller, name: str, content: bytes) -> str:
    """Take a file that a browser sent; return what was done.

    Nothing in it is ever run. A session takes the place of this one; regions and labels come on top
    of what is painted; a classifier labels.
    """
    if len(content) > MOST_BYTES:
        raise EdsError(f"{name} has {len(content)} bytes, at most {MOST_BYTES} may be sent")
    with tempfile.TemporaryDirectory() as folder:
        path = confined(Path(folder), Path(name).name)
        path.write_bytes(content)
        if path.suffix.lower() == ".edsx":
            return _load_own(labeller, path)
        if path.suffix.lower() in scribbles.ROI_ENDINGS:
            rois = scribbles.read_rois(path)
        else:
            rois = scribbles.outlines(scribbles.read(path, labeller.image))
    labeller.painting.replace_strokes(rois)
    return f"{len(rois)} regions of {Path(name).name}"


def rois_of(labeller: Labeller) -> list[Roi]:
    """Return the strokes on the image, without erasers, in the colours of their classes."""
    colors = {c.name: c.color for c in labeller.session.classes}
    strokes = labeller.session.strokes_on(labeller.painting.name)
    return [
        Roi(s.roi.phase, s.roi.kind, s.roi.paths, s.roi.width_pixels, colors[s.roi.phase])
        for s in strokes
        if s.roi.phase
    ]


def painted(labeller: Labeller) -> xr.DataArray:
    """Return what is painted on the image."""
    return labelling.scribbles_of(labeller.session, labeller.painting.name)


def phases(labeller: Labeller) -> xr.Dataset:
    """Return which phases are present in each pixel, as :func:`eds_xr.segment` has them."""
    session, part = labeller.session, labeller.learning.part
    if session.classifier is None:
        raise EdsError("nothing is trained yet: press Train first")
    if part is not None and part.place == labeller.learning.everything:
        return labelling.phases_of(session, part.probability)
    features = features_of(labeller.maps, session, session.classifier.features)
    return labelling.phases_of(session, labelling.probabilities_of(session, features))


def _load_own(labeller: Labeller, path: Path) -> str:
    """Take a session, or else a classifier."""
    try:
        session = labelling.read_session(path)
    except EdsError as error:
        try:
            classifier = classify.load(path)
        except EdsError:
            raise error from None
        labeller.painting.note(labelling.edits.set_classifier(labeller.session, classifier))
        labeller.resume()
        return f"classifier of {', '.join(classifier.phases)}"
    labeller.load(session)
    return f"session of {len(session.strokes)} strokes"


def _save_session(labeller: Labeller, target: Path) -> Path:
    return labelling.write_session(labeller.session, target, overwrite=True)


def _save_labels(labeller: Labeller, target: Path) -> Path:
    part = labeller.learning.part
    whole = part is not None and part.place == labeller.learning.everything
    label = part.label if part is not None and whole else painted(labeller)
    return scribbles.write(label, target, overwrite=True)


def _save_rois(labeller: Labeller, target: Path) -> Path:
    rois = rois_of(labeller)
    if not rois:
        raise EdsError("nothing is painted yet")
    return scribbles.write_rois(rois, target, overwrite=True)


def _save_masks(labeller: Labeller, target: Path) -> Path:
    return _save_phases(phases(labeller), target)


def _save_segmented(labeller: Labeller, target: Path) -> Path:
    found = labeller.learning.segmented
    if found is None:
        raise EdsError("the final phases are not found yet: press Phases first")
    return _save_phases(found, target)


def _save_phases(found: xr.Dataset, target: Path) -> Path:
    with written_whole(target, overwrite=True, holds="present") as partial:
        texts = {PHASE: found[PHASE].astype(object)}  # of any length: a fixed one is no standard
        found.compute().assign_coords(texts).to_zarr(
            partial, mode="w", consolidated=False, zarr_format=3
        )
    return target


def _save_classifier(labeller: Labeller, target: Path) -> Path:
    classifier = labeller.session.classifier
    if classifier is None:
        raise EdsError("nothing is trained yet: press Train first")
    return classify.save(classifier, target, overwrite=True)


_WAYS: dict[str, Callable[[Labeller, Path], Any]] = {
    "session": _save_session,
    "labels": _save_labels,
    "rois": _save_rois,
    "masks": _save_masks,
    "segmented": _save_segmented,
    "classifier": _save_classifier,
}
