"""What is learnt from strokes, off the event loop: training, labels, spectra, how good it is."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from eds_xr.app.labeller import steps
from eds_xr.app.labeller.maps import Map
from eds_xr.app.labeller.painting import Painting
from eds_xr.app.pictures.worker import Job, Worker
from eds_xr.schema import ENERGY, EdsError, spatial_dims
from eds_xr.segmentation import classify
from eds_xr.segmentation.classify.classifier import PixelClassifier
from eds_xr.segmentation.labelling import Session, score_session, scribbles_of, train_session
from eds_xr.segmentation.labelling.edits import set_classifier

Deliver = Callable[[Callable[[], None]], None]
Place = tuple[int, int, int, int]
#: What is seen comes first where it is less than this part of the image.
FIRST_SHARE = 0.5
#: How often a page is told how far long work is [s].
EVERY_SECONDS = 0.5


class Learning:
    """Trains on what is painted and labels the image, the part that is seen first.

    Parameters
    ----------
    image : DataArray [y, x, ...]
    maps : mapping of str to Map
    factors : Dataset, optional
        Of an NMF of the image, which the final phases are told by.
    painting : Painting
    others : mapping of str to (mapping of str to Map)
        Maps of further images of the session, which are learnt from, too.
    deliver : callable
        Calls a function in the event loop, from a thread.
    changed : callable
        Called, there, with what has changed: "busy", "labels", "segmented", "spectra",
        "quality" or "error".

    Attributes
    ----------
    part : Part or None
        What is labelled.
    spectra : Dataset
        Of what is labelled, or before that of what is painted.
    segmented : Dataset or None
        The final phases, see :func:`eds_xr.segment`.
    score : Dataset or None
    importance : DataArray or None
    error : str
        What went wrong last.
    """

    def __init__(
        self, image: xr.DataArray, maps: Mapping[str, Map], painting: Painting,
        *, others: Mapping[str, Mapping[str, Map]], deliver: Deliver,
        changed: Callable[[str], None], factors: xr.Dataset | None = None,
    ) -> None:  # fmt: skip
        self._image, self._maps, self._painting, self._others = image, maps, painting, others
        self._deliver, self._changed = deliver, changed
        self._factors = factors
        self._worker = Worker(threads=3)
        self._features: dict[Any, xr.DataArray] = {}
        self._whole: xr.DataArray | None = None
        self._busy: set[str] = set()
        self.seen: Place = self.everything
        self.part: steps.Part | None = None
        self.spectra = xr.Dataset()
        self.segmented: xr.Dataset | None = None
        self.times_read = 0.0
        self.score: xr.Dataset | None = None
        self.importance: xr.DataArray | None = None
        self.error = ""

    @property
    def everything(self) -> Place:
        """The place of the whole image."""
        y, x = spatial_dims(self._image)[:2]
        return (0, 0, self._image.sizes[y], self._image.sizes[x])

    @property
    def busy(self) -> list[str]:
        """What is being computed: "training", "labels", "phases", "spectra" or "quality"."""
        return sorted(self._busy)

    @property
    def classifier(self) -> PixelClassifier | None:
        """What was trained last."""
        return self._painting.session.classifier

    # -- requests -------------------------------------------------------------------------------

    def train(self) -> None:
        """Learn from what is painted, then label. A later request takes the place of this one."""
        session = self._painting.session

        def work(job: Job) -> PixelClassifier:
            features = self._features_of_all(session, job)
            job.check()
            classifier = train_session(session, features).classifier
            assert classifier is not None
            return classifier

        def done(classifier: PixelClassifier) -> None:
            self._painting.note(set_classifier(self._painting.session, classifier))
            self.importance = classify.feature_importance(classifier)
            self.label()

        self.stop("labels")
        self._submit("training", work, done)

    def label(self) -> None:
        """Label the image with what was trained, the part that is seen first."""
        self._whole = None
        self._show_labels()

    def smooth(self) -> None:
        """Label again, with another smoothness."""
        if self.classifier is not None and "training" not in self._busy:
            self._show_labels()

    def look_at(self, place: Place) -> None:
        """Say which part of the image is seen [pixels]; where not all is kept, label it."""
        self.seen = self._within(place)
        if self.classifier is not None and not self._keeps_all and "training" not in self._busy:
            self._show_labels()

    def measure(self) -> None:
        """Measure how well strokes are recognised that were not learnt from."""
        session = self._painting.session

        def work(job: Job) -> xr.Dataset:
            features = self._features_of_all(session, job)
            job.check()
            return score_session(session, features)

        def done(score: xr.Dataset) -> None:
            self.score = score
            self._changed("quality")

        self._submit("quality", work, done)

    def find_phases(self) -> None:
        """Find the final phases of the whole image, from spectra and strokes."""
        session, name = self._painting.session, self._painting.name
        self.times_read, told = 0.0, time.monotonic()

        def seen(times: float) -> None:
            nonlocal told
            self.times_read = times
            if time.monotonic() - told > EVERY_SECONDS:
                told = time.monotonic()
                self._deliver(lambda: self._changed("busy"))

        def work(job: Job) -> xr.Dataset:
            return steps.final_phases(self._image, self._factors, session, name, job, seen)

        def done(found: xr.Dataset) -> None:
            self.segmented = found
            self._changed("segmented")

        self._submit("phases", work, done)

    def sum_spectra(self) -> None:
        """Sum the spectra of what is labelled; where nothing is, of what is painted."""
        if ENERGY not in self._image.dims:
            return
        session, name, part = self._painting.session, self._painting.name, self.part
        whole = part is not None and part.place == self.everything

        def work(job: Job) -> xr.Dataset:
            if part is not None and whole:
                label = part.label
            else:
                label = scribbles_of(session, name)
            return steps.spectra_of(self._image, label, job)

        def done(spectra: xr.Dataset) -> None:
            self.spectra = spectra
            self._changed("spectra")

        self._submit("spectra", work, done)

    def prepare(self) -> None:
        """Compute features before they are asked for."""
        parameters, name = self._painting.session.parameters, self._painting.name
        if (name, parameters.channels, parameters.kinds, parameters.scales) not in self._features:

            def work(job: Job) -> xr.DataArray:
                features = self._features_of(self._maps, name, job)
                importlib.import_module(
                    "sklearn.ensemble"
                )  # the first training would wait a second
                return features

            self._submit("preparing", work, lambda _: None)

    def forget(self) -> None:
        """Forget what was labelled: it is of another session, or of other classes."""
        self.stop()
        self.part, self._whole, self.score, self.importance = None, None, None, None
        self.segmented = None
        self._changed("labels")

    def stop(self, *kinds: str) -> None:
        """Stop work of these kinds; without any named, all of it."""
        for kind in kinds or tuple(self._busy):
            self._worker.cancel(kind)
            if kind in self._busy:
                self._busy.discard(kind)
                self._changed("busy")

    def close(self) -> None:
        """Stop all work, for good."""
        self._worker.close()

    def wait(self) -> None:
        """Return when nothing is computed any more."""
        self._worker.wait()

    # -- work -----------------------------------------------------------------------------------

    @property
    def _keeps_all(self) -> bool:
        """Whether the probabilities of the whole image are kept."""
        _, _, height, width = self.everything
        n_phases = max(len(self._painting.session.classes), 1)
        return 4 * height * width * n_phases <= steps.KEPT_BYTES

    def _within(self, place: Place) -> Place:
        y0, x0, y1, x1 = place
        _, _, height, width = self.everything
        y0, x0 = min(max(y0, 0), height - 1), min(max(x0, 0), width - 1)
        return (y0, x0, min(max(y1, y0 + 1), height), min(max(x1, x0 + 1), width))

    def _show_labels(self) -> None:
        """Label the part that is seen, then all that can be kept."""
        classifier, smoothness = self.classifier, self._painting.session.parameters.smoothness
        assert classifier is not None
        seen, keeps_all, whole = self.seen, self._keeps_all, self._whole
        area = (seen[2] - seen[0]) * (seen[3] - seen[1])
        first = not keeps_all or area < FIRST_SHARE * self.everything[2] * self.everything[3]

        def work(job: Job) -> steps.Part | None:
            found = whole
            if first:
                if found is None:
                    there = self._probabilities(classifier, seen, job)
                else:
                    there = steps.cropped(found, seen)
                part = steps.part_of(there, seen, smoothness)
                job.check()
                self._deliver(lambda: self._take(part, job))
            if not keeps_all:
                return None
            if found is None:
                found = self._probabilities(classifier, self.everything, job)
            job.check()
            return steps.part_of(found, self.everything, smoothness)

        def done(part: steps.Part | None) -> None:
            if part is not None:
                self._whole = part.probability
                self.part = part
                self._changed("labels")
                self.sum_spectra()

        self._submit("labels", work, done)

    def _take(self, part: steps.Part, job: Job) -> None:
        if not job.cancelled:
            self.part = part
            self._changed("labels")

    def _probabilities(self, classifier: PixelClassifier, place: Place, job: Job) -> xr.DataArray:
        features = self._features_of(self._maps, self._painting.name, job, classifier)
        return steps.probabilities(classifier, features, place, job)

    def _features_of_all(self, session: Session, job: Job) -> dict[str, xr.DataArray]:
        """Return the features of every painted image that is at hand, by name."""
        known = {self._painting.name: self._maps, **self._others}
        painted = [i.name for i in session.images if session.strokes_on(i.name)]
        if missing := [name for name in painted if name not in known]:
            raise EdsError(
                f"the session has strokes on {missing[0]!r}, too; give that image with "
                "others={name: (image, channels)}"
            )
        return {name: self._features_of(known[name], name, job) for name in painted}

    def _features_of(
        self,
        maps: Mapping[str, Map],
        name: str,
        job: Job,
        classifier: PixelClassifier | None = None,
    ) -> xr.DataArray:
        """Return the features of an image, kept for the next time; those a classifier needs."""
        parameters = self._painting.session.parameters
        if classifier is None:
            key: Any = (name, parameters.channels, parameters.kinds, parameters.scales)
            names = None
        else:
            key, names = (name, classifier.features), classifier.features
        for known, features in self._features.items():
            have = set(features["feature"].values.tolist())
            if known == key or (names and known[0] == name and set(names) <= have):
                return features
        found = steps.kept(steps.features_of(maps, self._painting.session, names), job)
        job.check()
        self._features = {k: v for k, v in self._features.items() if k[0] != name} | {key: found}
        return found

    def _submit(self, kind: str, work: Callable[[Job], Any], done: Callable[[Any], None]) -> None:
        """Compute in a thread; take the result in the event loop, if nothing newer is asked for."""
        jobs: list[Job] = []

        def finish(then: Callable[[], None]) -> None:
            job = jobs[0] if jobs else None
            if job is not None and not job.cancelled:
                self._busy.discard(kind)
                then()
                self._changed("busy")

        self._busy.add(kind)
        self.error = ""

        def remembered(job: Job) -> Any:
            jobs.append(job)
            return work(job)

        self._worker.submit(
            kind, remembered,
            lambda result: self._deliver(lambda: finish(lambda: done(result))),
            lambda error: self._deliver(lambda: finish(lambda: self._failed(error))),
        )  # fmt: skip
        self._changed("busy")

    def _failed(self, error: Exception) -> None:
        self.error = str(error) if isinstance(error, EdsError) else f"that failed: {error!r}"
        self._changed("error")
