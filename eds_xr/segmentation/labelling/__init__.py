"""Labelling by hand: sessions of painted strokes, their edits, undo, files and training."""

from eds_xr.segmentation.labelling.autosave import Autosave
from eds_xr.segmentation.labelling.edits import (
    add_class,
    add_image,
    add_stroke,
    delete_class,
    merge_classes,
    recolour_class,
    remove_image,
    remove_strokes,
    rename_class,
    set_classifier,
    set_parameter,
)
from eds_xr.segmentation.labelling.history import History
from eds_xr.segmentation.labelling.phase_store import save_phases
from eds_xr.segmentation.labelling.session import (
    LabelClass,
    LabelledImage,
    Parameters,
    Session,
    Stroke,
    scribbles_of,
)
from eds_xr.segmentation.labelling.session_file import read_session, write_session
from eds_xr.segmentation.labelling.training import (
    features_of,
    phases_of,
    probabilities_of,
    score_session,
    train_session,
)

__all__ = [
    "Autosave",
    "History",
    "LabelClass",
    "LabelledImage",
    "Parameters",
    "Session",
    "Stroke",
    "add_class",
    "add_image",
    "add_stroke",
    "delete_class",
    "features_of",
    "merge_classes",
    "phases_of",
    "probabilities_of",
    "read_session",
    "recolour_class",
    "remove_image",
    "remove_strokes",
    "rename_class",
    "save_phases",
    "score_session",
    "scribbles_of",
    "set_classifier",
    "set_parameter",
    "train_session",
    "write_session",
]
