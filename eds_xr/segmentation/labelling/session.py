"""What a person has painted: classes, strokes on one or several images, and choices of training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.schema import (
    COLORS,
    EdsError,
    check_same_grid,
    spatial_coords,
    spatial_dims,
)
from eds_xr.segmentation.classify.classifier import PixelClassifier
from eds_xr.segmentation.features.stack import SCALES, feature_names
from eds_xr.segmentation.rois import ERASER, Roi, image_shape
from eds_xr.segmentation.scribbles import paint

#: What joins the names of the phases of a combination: a pixel of ``A+B`` holds both.
AND = "+"
#: Labels are bytes, and 0 is not painted.
MOST_CLASSES = 255


@dataclass(frozen=True)
class LabelClass:
    """A class that is painted: a phase, or a combination of phases.

    Attributes
    ----------
    name : str
        ``A+B`` is the class of pixels that hold both A and B.
    color : str
        ``"#rrggbb"``.
    """

    name: str
    color: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.color):
            raise EdsError(f"a colour is written as #rrggbb, found {self.color!r}")
        if self.name != class_name(self.name):
            raise EdsError(f"{self.name!r} is no name of a class, {class_name(self.name)!r} is")

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that its pixels hold."""
        return tuple(self.name.split(AND))


@dataclass(frozen=True)
class Stroke:
    """A stroke on an image of a session; its number is its own within the session.

    Attributes
    ----------
    number : int
    image : str
        Name of the image.
    roi : Roi
        Its phase is the class; empty for an eraser.
    """

    number: int
    image: str
    roi: Roi


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """The grid of an image that is painted on; its values are not kept.

    Attributes
    ----------
    name : str
        What the strokes call it, such as the path of its store.
    grid : DataArray [y, x]
        Dimensions and coordinates; the values are zeros that take no memory.
    """

    name: str
    grid: xr.DataArray = field(repr=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise EdsError("an image of a session needs a name, such as the path of its store")
        zeros = np.broadcast_to(np.uint8(0), image_shape(self.grid))
        coords, dims = spatial_coords(self.grid), spatial_dims(self.grid)
        object.__setattr__(self, "grid", xr.DataArray(zeros, coords, dims))

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same name and the same grid."""
        return (
            isinstance(other, LabelledImage)
            and self.name == other.name
            and self.grid.dims == other.grid.dims
            and self.grid.sizes == other.grid.sizes
            and self.grid.coords.to_dataset().identical(other.grid.coords.to_dataset())
        )

    def __hash__(self) -> int:
        return hash((self.name, self.grid.shape))


@dataclass(frozen=True)
class Parameters:
    """Choices of training and smoothing.

    Attributes
    ----------
    channels : tuple of str
        Names of the channels that are learnt from; empty for all that are there.
    kinds : tuple of str
        Kinds of features, see :func:`eds_xr.features.pixel_features`.
    scales : tuple of float
        Of these [pixels].
    n_trees : int
        Of the forest.
    balanced : bool
        Whether classes count equally, however much of each is painted.
    smoothness : float
        Of the graph cut; 0 takes what is more probable in each pixel.
    seed : int
        Of all chance.
    least_share : float
        Of a pixel's counts: from this on a phase is present, where amounts are known.
    """

    channels: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("intensity", "gaussian")
    scales: tuple[float, ...] = SCALES
    n_trees: int = 100
    balanced: bool = True
    smoothness: float = 1.0
    seed: int = 0
    least_share: float = 0.1

    def __post_init__(self) -> None:
        for name, kind in (("channels", str), ("kinds", str), ("scales", float)):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Sequence):
                raise EdsError(f"{name} must be a list, found {given!r}")
            object.__setattr__(self, name, tuple(kind(one) for one in given))
        feature_names(self.kinds, scales=self.scales)
        if len(set(self.channels)) < len(self.channels):
            raise EdsError(f"channels must differ, found {', '.join(self.channels)}")
        _whole("n_trees", self.n_trees, 1, 2000)
        _whole("seed", self.seed, 0, 2**32 - 1)
        if not isinstance(self.balanced, bool):
            raise EdsError(f"balanced must be True or False, found {self.balanced!r}")
        _real("smoothness", self.smoothness, 0 <= self.smoothness < np.inf, "0 or more")
        _real("least_share", self.least_share, 0 < self.least_share < 1, "between 0 and 1")


@dataclass(frozen=True)
class Session:
    """All that a person has painted and chosen; it never changes, edits return another one.

    Attributes
    ----------
    classes : tuple of LabelClass
        In the order of their labels, from 1 on.
    strokes : tuple of Stroke
        In the order drawn: where two overlap, the later one stays.
    images : tuple of LabelledImage
        That are painted on.
    parameters : Parameters
    classifier : PixelClassifier, optional
        What was trained last, on whatever strokes there were.

    Raises
    ------
    EdsError
        When two classes, images or strokes have one name or number, a stroke is of a class or on
        an image that is none, or a combination holds a phase that is no class.
    """

    classes: tuple[LabelClass, ...] = ()
    strokes: tuple[Stroke, ...] = field(default=(), repr=False)
    images: tuple[LabelledImage, ...] = ()
    parameters: Parameters = field(default_factory=Parameters)
    classifier: PixelClassifier | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = self.class_names
        if len(names) > MOST_CLASSES:
            raise EdsError(f"there may be {MOST_CLASSES} classes, found {len(names)}")
        sets = [frozenset(c.phases) for c in self.classes]
        for one, held in zip(self.classes, sets, strict=True):
            if sets.count(held) > 1:
                raise EdsError(f"there are two classes of {' and '.join(one.phases)}")
            if missing := [p for p in one.phases if len(held) > 1 and p not in names]:
                raise EdsError(f"{one.name} holds {missing[0]}, which is no class; add it first")
        known = [image.name for image in self.images]
        if len(set(known)) < len(known):
            raise EdsError(f"two images have one name: {', '.join(known)}")
        numbers = {stroke.number for stroke in self.strokes}
        if len(numbers) < len(self.strokes):
            raise EdsError("two strokes have one number")
        for stroke in self.strokes:
            if stroke.image not in known:
                raise EdsError(f"a stroke lies on {stroke.image!r}, which is no image here")
            if stroke.roi.phase not in (*names, ERASER):
                raise EdsError(f"a stroke marks {stroke.roi.phase!r}, which is no class")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels."""
        return tuple(c.name for c in self.classes)

    def image(self, name: str | None = None) -> LabelledImage:
        """Return the image of a name; without one, the only image there is."""
        known = [image.name for image in self.images]
        if name is None and len(self.images) == 1:
            return self.images[0]
        if name not in known:
            raise EdsError(
                f"{'which image? there' if name is None else f'{name!r} is no image here; there'} "
                f"{'are ' + ', '.join(map(repr, known)) if known else 'is none'}"
            )
        return self.images[known.index(name)]

    def strokes_on(self, image: str | None = None) -> tuple[Stroke, ...]:
        """Return the strokes on an image, in the order drawn."""
        name = self.image(image).name
        return tuple(stroke for stroke in self.strokes if stroke.image == name)

    def next_color(self) -> str:
        """Return the first colour that no class has; when all are taken, they start anew."""
        taken = {c.color for c in self.classes}
        free = (color for color in COLORS if color not in taken)
        return next(free, COLORS[len(self.classes) % len(COLORS)])


def class_name(text: str) -> str:
    """Return a name of a class as labels write it: no spaces, combinations without gaps.

    Examples
    --------
    >>> class_name(" iron oxide + glass")
    'iron_oxide+glass'
    """
    parts = [re.sub(r"\s+", "_", part.strip()) for part in str(text).split(AND)]
    if not all(parts):
        raise EdsError(f"{text!r} is no name of a class; combinations are written A{AND}B")
    if parts == ["none"]:
        raise EdsError("'none' is what labels call pixels without a class; choose another name")
    return AND.join(dict.fromkeys(parts))


def scribbles_of(
    session: Session, image: str | None = None, *, like: xr.DataArray | None = None
) -> xr.DataArray:
    """Paint the strokes on an image as scribbles.

    Computes: the label image, in memory.

    Parameters
    ----------
    session : Session
    image : str, optional
        Name of the image; needed when there are several.
    like : DataArray [y, x, ...], optional
        Where it is at hand: must lie on the grid that was painted on.

    Returns
    -------
    DataArray [y, x; uint8 label]
        0 is not painted; CF flags name all classes, painted or not.

    Raises
    ------
    EdsError
        When there is no such image, or `like` lies on another grid.

    Examples
    --------
    >>> from eds_xr import labelling, scribbles
    >>> counts = xr.DataArray(np.zeros((3, 5)), dims=("y", "x"))
    >>> session = labelling.add_image(Session(), "map.zarr", counts)
    >>> session = labelling.add_class(session, "matrix")
    >>> session = labelling.add_stroke(session, scribbles.line("matrix", [(1.5, 0.5), (1.5, 4.5)]))
    >>> session = labelling.add_stroke(session, scribbles.eraser([(1.5, 4.5)]))
    >>> scribbles_of(session).values
    array([[0, 0, 0, 0, 0],
           [1, 1, 1, 1, 0],
           [0, 0, 0, 0, 0]], dtype=uint8)
    """
    painted_on = session.image(image)
    if like is not None:
        check_same_grid(painted_on.grid, like, f"the image given as {painted_on.name!r}")
    drawn = [stroke.roi for stroke in session.strokes_on(painted_on.name)]
    colors = [c.color for c in session.classes]
    if not session.classes:
        raise EdsError("the session has no classes; add one with labelling.add_class")
    return paint(drawn, painted_on.grid, phases=session.class_names, colors=colors)


def with_parameter(parameters: Parameters, name: str, value: Any) -> dict[str, Any]:
    """Return all parameters as a mapping, one of them changed."""
    known = [f.name for f in fields(parameters)]
    if name not in known:
        raise EdsError(f"{name!r} is no parameter; they are {', '.join(known)}")
    return {n: getattr(parameters, n) for n in known} | {name: value}


def _whole(name: str, given: Any, least: int, most: int) -> None:
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise EdsError(f"{name} must be a whole number from {least} to {most}, found {given!r}")


def _real(name: str, given: Any, good: Any, what: str) -> None:
    if isinstance(given, bool) or not isinstance(given, int | float) or not good:
        raise EdsError(f"{name} must be {what}, found {given!r}")
