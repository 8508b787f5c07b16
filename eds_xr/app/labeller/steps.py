"""What a labeller asks of the stages, in the order in which it does: features, training, labels.

Each function calls stages and nothing else, so that a script can do the same: `script.py` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.app.labeller.maps import Map, stacked
from eds_xr.app.pictures.worker import Job
from eds_xr.chunks import as_chunked
from eds_xr.schema import PHASE, spatial_dims
from eds_xr.segmentation import classify, graph_cut, labelling
from eds_xr.segmentation.classify.classifier import PixelClassifier
from eds_xr.segmentation.classify.quality import uncertainty
from eds_xr.segmentation.features.stack import pixel_features
from eds_xr.segmentation.labelling import Session, scribbles_of
from eds_xr.segmentation.masks import from_labels
from eds_xr.spectra.sums import sum_spectra
from eds_xr.workers import task_name

#: Features and probabilities of at most so many bytes are kept in memory.
KEPT_BYTES = 1.0e9


class Part(NamedTuple):
    """What is known of a part of the image.

    Attributes
    ----------
    place : (int, int, int, int)
        y0, x0, y1, x1 [pixels].
    probability : DataArray [phase, y, x; float32]
        In memory.
    label : DataArray [y, x; uint8]
    uncertainty : DataArray [y, x; float32]
    """

    place: tuple[int, int, int, int]
    probability: xr.DataArray
    label: xr.DataArray
    uncertainty: xr.DataArray


def features_of(
    maps: Mapping[str, Map], session: Session, names: Sequence[str] | None = None
) -> xr.DataArray:
    """Return the features of each pixel. Lazy.

    `names` are those of a classifier, when it is to be used as it is.
    """
    if names is not None:
        channels = list(dict.fromkeys(name.rpartition(":")[0] for name in names))
        return pixel_features(stacked(maps, channels), names=names)
    return labelling.features_of(session, stacked(maps, session.parameters.channels))


def kept(features: xr.DataArray, job: Job) -> xr.DataArray:
    """Return features in memory, if they are not too many. Computes them."""
    guarded = stoppable(features, job)
    return guarded.persist() if features.nbytes <= KEPT_BYTES else guarded


def probabilities(
    classifier: PixelClassifier, features: xr.DataArray, place: tuple[int, int, int, int], job: Job
) -> xr.DataArray:
    """Return the probabilities in a part of the image, in memory. Computes them."""
    y, x = spatial_dims(features.rename({"feature": PHASE}))
    y0, x0, y1, x1 = place
    part = features.isel({y: slice(y0, y1), x: slice(x0, x1)})
    return classify.predict(classifier, stoppable(part, job)).compute()


def part_of(probability: xr.DataArray, place: tuple[int, int, int, int], smoothness: float) -> Part:
    """Return labels and uncertainty of a part of the image whose probabilities are known."""
    label = graph_cut.smooth(probability, smoothness=smoothness)
    return Part(place, probability, label, uncertainty(probability))


def cropped(probability: xr.DataArray, place: tuple[int, int, int, int]) -> xr.DataArray:
    """Return the probabilities of a part of the image."""
    y, x = spatial_dims(probability)
    y0, x0, y1, x1 = place
    return probability.isel({y: slice(y0, y1), x: slice(x0, x1)})


def spectra_of(image: xr.DataArray, label: xr.DataArray, job: Job) -> xr.Dataset:
    """Return the summed spectra of each class, of what is painted or labelled. Computes them."""
    y, x = spatial_dims(label)
    rows, columns = (np.flatnonzero((label > 0).any(d).values) for d in (x, y))
    if not rows.size:
        return xr.Dataset()
    window = {y: slice(rows[0], rows[-1] + 1), x: slice(columns[0], columns[-1] + 1)}
    masks = from_labels(label.isel(window))
    masks = masks.isel({PHASE: masks.any((y, x)).values})
    here = image.isel(window)
    here = here.drop_vars([name for name in here.coords if name not in here.dims])
    return sum_spectra(stoppable(here, job), masks).compute()


def final_phases(
    image: xr.DataArray, factors: xr.Dataset | None, session: Session, name: str, job: Job,
    seen: Callable[[float], None],
) -> xr.Dataset:  # fmt: skip
    """Return what :func:`eds_xr.segment` makes of the strokes on the whole image. Computes it.

    `seen` is told, from threads, how often the image has been read so far.
    """
    from eds_xr.analysis.segment import segment

    chosen = session.parameters
    return segment(
        stoppable(as_chunked(image), job, seen), scribbles_of(session, name), channels=factors,
        smoothness=chosen.smoothness, seed=chosen.seed,
    ).compute()  # fmt: skip


def stoppable(
    data: xr.DataArray, job: Job, seen: Callable[[float], None] = lambda part: None
) -> xr.DataArray:
    """Return lazy data whose computing ends at the next block once a job is cancelled.

    On a cluster, blocks run in other processes: there, the whole computation is cancelled.
    """
    if data.chunks is None:
        return data
    wanted = _Wanted(job, seen, data.data.npartitions)
    blocks = data.data.map_blocks(_unless_cancelled, wanted, dtype=data.dtype)
    return data.copy(data=blocks)


class _Wanted:
    """Whether a job is wanted, in this process; in others it always is."""

    def __init__(
        self, job: Job | None = None, seen: Callable[[float], None] = lambda part: None, of: int = 1
    ) -> None:
        self.job, self.seen, self.of, self.read = job, seen, of, 0

    def __reduce__(self) -> tuple[type[_Wanted], tuple[()]]:
        return _Wanted, ()

    def __dask_tokenize__(self) -> str:
        return f"wanted-{id(self.job)}"


@task_name("what is computed for the labeller")
def _unless_cancelled(block: np.ndarray, wanted: _Wanted) -> np.ndarray:
    if wanted.job is not None:
        wanted.job.check()
        wanted.read += 1
        wanted.seen(wanted.read / wanted.of)
    return block
