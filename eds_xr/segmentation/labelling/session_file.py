"""A session in one file: a zip of JSON and NumPy arrays; nothing in it is ever run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.atomic_write import written_file
from eds_xr.provenance import package_version
from eds_xr.schema import EdsError
from eds_xr.segmentation.classify.classifier import classifier_bytes, classifier_from
from eds_xr.segmentation.classify.plain_archive import Archive, bytes_of, packed, unpacked
from eds_xr.segmentation.classify.plain_scribbles import grid_from, grid_to
from eds_xr.segmentation.labelling.session import (
    LabelClass,
    LabelledImage,
    Parameters,
    Session,
    Stroke,
)
from eds_xr.segmentation.rois import Roi

#: Of files of sessions; those of later forms are refused.
KIND, FORM = "session", 1
#: The classifier's own file, within that of the session.
CLASSIFIER = "classifier.edsx"
#: A file of more strokes, images or points is refused.
MAX_STROKES, MAX_IMAGES, MAX_POINTS = 1_000_000, 1_000, 10_000_000


def write_session(
    session: Session, path: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a session to one file: classes, strokes, images' grids, parameters, classifier.

    Computes: at once. The file appears whole or not at all.

    Parameters
    ----------
    session : Session
    path : str or path
        By custom it ends in ``.edsx``.
    overwrite : bool
        Replace what is there.

    Raises
    ------
    EdsError
        When there is such a file (without `overwrite`), or the classifier is of a type that could
        not be read again.
    """
    content, target = session_bytes(session), Path(path).expanduser()
    with written_file(target, overwrite=overwrite) as partial:
        partial.write_bytes(content)
    return target


def read_session(path: str | os.PathLike[str]) -> Session:
    """Read a session that :func:`write_session` wrote.

    Nothing of the file is ever run, and nothing is unpacked before its size is known: a file from
    a stranger does no harm.

    Computes: at once.

    Raises
    ------
    EdsError
        When it is no such file, damaged, too large or of a later form.
    """
    return session_from(bytes_of(path, KIND), str(path))


def session_bytes(session: Session, classifier: bytes | None = None) -> bytes:
    """Return the content of a session's file; equal sessions give equal bytes.

    `classifier` is the content of its classifier's file, where that is at hand.
    """
    rois = [stroke.roi for stroke in session.strokes]
    paths = [path for roi in rois for path in roi.paths]
    grids = [grid_to(image.grid) for image in session.images]
    parameters = {f.name: getattr(session.parameters, f.name) for f in fields(Parameters)}
    header = {
        "kind": KIND,
        "form": FORM,
        "eds_xr": package_version(),
        "classes": [[c.name, c.color] for c in session.classes],
        "images": [
            {"name": image.name, **grid.header}
            for image, grid in zip(session.images, grids, strict=True)
        ],
        "parameters": parameters,
        "strokes": [
            [s.number, s.image, s.roi.phase, s.roi.kind, s.roi.width_pixels, s.roi.color,
             [len(path) for path in s.roi.paths]]
            for s in session.strokes
        ],
    }  # fmt: skip
    arrays = {"points": np.concatenate([np.empty((0, 2)), *paths])}
    for i, grid in enumerate(grids):
        arrays |= {f"images/{i}/{name}": array for name, array in grid.arrays.items()}
    if session.classifier is None:
        return packed(header, arrays)
    return packed(header, arrays, {CLASSIFIER: classifier or classifier_bytes(session.classifier)})


def session_from(content: bytes, name: str) -> Session:
    """Return the session of a file's content; `name` is what errors call the file."""
    try:
        return _session(unpacked(content, kind=KIND, form=FORM))
    except EdsError as error:
        raise EdsError(f"{name} was not read: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError,
            MemoryError) as error:  # fmt: skip
        raise EdsError(f"{name} is no whole session: {error!r}") from error


def _session(found: Archive) -> Session:
    header, arrays = found.header, found.arrays
    points = arrays["points"]
    if points.ndim != 2 or len(header["images"]) > MAX_IMAGES:
        raise ValueError("points or images")
    if len(header["strokes"]) > MAX_STROKES or len(points) > MAX_POINTS:
        raise EdsError(f"it holds {len(header['strokes'])} strokes of {len(points)} points")
    model = found.files.get(CLASSIFIER)
    return Session(
        classes=tuple(LabelClass(str(name), str(color)) for name, color in header["classes"]),
        strokes=tuple(_strokes(header["strokes"], points)),
        images=tuple(
            LabelledImage(str(image["name"]), grid_from(image, _arrays_of(arrays, i)))
            for i, image in enumerate(header["images"])
        ),
        parameters=Parameters(**header["parameters"]),
        classifier=None if model is None else classifier_from(model, "its classifier"),
    )


def _strokes(rows: list[Any], points: np.ndarray) -> Iterator[Stroke]:
    """Yield strokes; their points stand one after the other."""
    at = 0
    for number, image, phase, kind, width, color, sizes in rows:
        if not isinstance(number, int) or not all(isinstance(s, int) and s > 0 for s in sizes):
            raise ValueError(f"a stroke of {sizes} points")
        ends = np.cumsum([at, *sizes])
        if ends[-1] > len(points):
            raise ValueError(f"{len(points)} points for more")
        paths = tuple(points[a:b] for a, b in zip(ends[:-1], ends[1:], strict=True))
        roi = Roi(str(phase), str(kind), paths, float(width), str(color))
        yield Stroke(number, str(image), roi)
        at = int(ends[-1])
    if at != len(points):
        raise ValueError(f"{len(points)} points, expected {at}")


def _arrays_of(arrays: Mapping[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    start = f"images/{i}/"
    return {n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)}
