"""Label an image by hand, in a notebook or in a browser's tab."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from eds_xr.app.explorer.script import store_of
from eds_xr.app.notebook import in_notebook, load_panel, shown_in_cell
from eds_xr.app.serving.extra import need_panel
from eds_xr.places import local_or_url
from eds_xr.progress import warn
from eds_xr.schema import EdsError, check_one_detector
from eds_xr.segmentation.classify.classifier import PixelClassifier
from eds_xr.segmentation.labelling.autosave import Autosave
from eds_xr.segmentation.labelling.session import LabelledImage, Session, scribbles_of
from eds_xr.segmentation.labelling.session_file import read_session

Given = xr.DataArray | xr.Dataset | Mapping[str, xr.DataArray]


class Labelling:
    """An image that is labelled by hand: a cell of a notebook shows it, or :meth:`serve` does.

    What is painted and found is here at any time, also while the page is open.

    Attributes
    ----------
    labeller : Labeller
        Everything that can be done on the page, as methods.
    """

    def __init__(self, view: Any) -> None:
        self._view = view
        self.labeller = view.labeller

    @property
    def session(self) -> Session:
        """Classes, strokes, choices and the classifier; for ``write_session``."""
        session: Session = self.labeller.session
        return session

    @property
    def scribbles(self) -> xr.DataArray:
        """What is painted ``[y, x; label]``, 0 elsewhere."""
        return scribbles_of(self.session, self.labeller.painting.name)

    @property
    def classifier(self) -> PixelClassifier | None:
        """What was trained last."""
        return self.session.classifier

    @property
    def label(self) -> xr.DataArray:
        """The class of each pixel ``[y, x; label]``."""
        label: xr.DataArray = self._part().label
        return label

    @property
    def probability(self) -> xr.DataArray:
        """The probability of each class ``[phase, y, x]``."""
        probability: xr.DataArray = self._part().probability
        return probability

    @property
    def phases(self) -> xr.Dataset:
        """Which phases are present where, as :func:`eds_xr.segment` has them."""
        from eds_xr.app.labeller.files import phases

        return phases(self.labeller)

    @property
    def segmented(self) -> xr.Dataset:
        """The final phases of the whole image, as :func:`eds_xr.segment` found them."""
        found: xr.Dataset | None = self.labeller.learning.segmented
        if found is None:
            raise EdsError("the final phases are not found yet: press Phases first")
        return found

    @property
    def spectra(self) -> xr.Dataset:
        """The summed spectra of the classes ``[phase, energy; counts]``."""
        spectra: xr.Dataset = self.labeller.learning.spectra
        return spectra

    def close(self) -> None:
        """Cancel what is computed; what is painted stays in the file beside the store."""
        self._view.close()

    def _part(self) -> Any:
        learning = self.labeller.learning
        if learning.part is None or learning.part.place != learning.everything:
            raise EdsError("the image is not labelled yet: paint two classes, then press Train")
        return learning.part

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        from eds_xr.app.labeller.still import still_picture

        return shown_in_cell(self._view.panel(), still_picture(self.labeller))


def label(
    image: xr.DataArray,
    *,
    channels: Given | None = None,
    session: Session | str | os.PathLike[str] | None = None,
    others: Mapping[str, tuple[xr.DataArray, Given | None]] | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Labelling:
    """Label an image by hand: paint classes, train, look, correct.

    As the last line of a notebook's cell the labeller appears below it; ``eds-xr label scan.zarr``
    opens it in a tab. Strokes are saved beside the store after each edit, and there again when the
    store is labelled next.

    Computes: what is seen, off the event loop; training when asked. Nothing of an image that is too
    large is kept: then only the part that is seen is labelled.

    Parameters
    ----------
    image : DataArray [y, x, energy; counts]
        Or channels themselves, ``[channel, y, x]``.
    channels : DataArray, Dataset of an NMF or mapping of str to DataArray, optional
        What is learnt from: scores, element maps, any images on the grid. By default the maps of
        the elements that the file names, counts, and images recorded with it.
    session : Session or path, optional
        To go on with, from ``labelling.read_session``.
    others : mapping of str to (DataArray, channels), optional
        Further images of the session by their names: strokes on them are learnt from, too.
    folder : path, optional
        Where files are saved. By default where the store lies, or the current folder.

    Returns
    -------
    Labelling
        What is painted and found, at any time: ``session``, ``scribbles``, ``label``,
        ``probability``, ``phases``, ``segmented``, ``spectra``, ``classifier``.

    Raises
    ------
    EdsError
        When the image has no two spatial dimensions, channels lie on another grid, or the libraries
        of the apps are missing.

    Examples
    --------
    >>> image = eds_xr.open("scan.zarr")  # doctest: +SKIP
    >>> labelling = image.eds.label()  # doctest: +SKIP
    >>> image.eds.sum_spectra(labelling.phases.pure)  # doctest: +SKIP
    """
    need_panel()
    if in_notebook():
        load_panel()
    return Labelling(labeller_view(image, channels=channels, session=session, others=others,
                                   folder=folder))  # fmt: skip


def labeller_view(
    image: xr.DataArray,
    *,
    channels: Given | None = None,
    session: Session | str | os.PathLike[str] | None = None,
    others: Mapping[str, tuple[xr.DataArray, Given | None]] | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Any:
    """Return the page of a labeller, with ``panel()`` and ``close()``; see :func:`label`."""
    from eds_xr.app.labeller.controller import Labeller
    from eds_xr.app.labeller.view import LabellerView

    if session is not None and not isinstance(session, Session):
        session = read_session(session)
    check_one_detector(image)
    store = store_of(image) or None
    autosave = _autosave(store, folder)
    said = ""
    if session is None and autosave is not None:
        session = autosave.recover()
        said = "" if session is None else f"{len(session.strokes)} strokes of last time"
    labeller = Labeller(
        image, channels=channels, name=_name(image, store, session), session=session,
        autosave=autosave, others=others,
    )  # fmt: skip
    labeller.said = said
    place = Path(folder) if folder is not None else _folder_of(store)
    return LabellerView(labeller, place.expanduser().resolve())


def shared_views(image: xr.DataArray, **options: Any) -> Callable[[], Any]:
    """Return what makes the pages of a server: all that are open show the same labeller.

    A page that is loaded again, or opened twice, has the strokes of the first; `options` are those
    of :func:`labeller_view`.
    """
    opened: list[Any] = []

    def page() -> Any:
        from eds_xr.app.labeller.view import LabellerView

        if opened and not opened[0].labeller.closed:
            return LabellerView(opened[0].labeller, opened[0].folder)
        opened[:] = [labeller_view(image, **options)]
        return opened[0]

    return page


def _autosave(store: Any, folder: str | os.PathLike[str] | None) -> Autosave | None:
    """Return what saves the strokes; an image in memory that has no folder has none."""
    if store is None and folder is None:
        return None
    try:
        return Autosave(store if store is not None else "image", folder=folder)
    except EdsError as error:
        warn(str(error))
        return None


def _folder_of(store: Any) -> Path:
    place = None if store is None else local_or_url(store)
    return place.parent if isinstance(place, Path) else Path.cwd()


def _name(image: xr.DataArray, store: Any, session: Session | None) -> str:
    """Return what strokes call the image: as in the session, if there is only one on its grid."""
    name = "image" if store is None else str(store).rstrip("/").rsplit("/", 1)[-1]
    if session is not None and name not in {i.name for i in session.images}:
        same = [i.name for i in session.images if LabelledImage(i.name, image) == i]
        if len(same) == 1 and len(session.images) == 1:
            return same[0]
    return name
