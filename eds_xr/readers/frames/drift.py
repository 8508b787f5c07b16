"""Drift between the frames of a recording, from images with few counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

#: Counts under the kernel that smooths a reference: noise of a few per cent.
_SMOOTHED_COUNTS = 400
_SMOOTHING_PX = (1.0, 8.0)
#: Counts that frames shall have to be placed at first; neighbours are added until they have them.
_ENOUGH_COUNTS = 50_000
#: Uncertainty of a drift from which on the frames around have a say in it.
_UNSURE_PX = 0.5
#: Parts of a pixel to which a shift is determined.
_UPSAMPLING = 10
_MOST_ROUNDS = 5
#: Mean change of the whole pixels at which the rounds end.
_SETTLED_PX = 0.01

Image = Callable[[int], np.ndarray]


def estimate(image: Image, number: int) -> np.ndarray:
    """Return how far each of `number` frames lies from their common position ``[frame, 2; px]``.

    Each frame is placed by the highest value of its cross-correlation with a smoothed reference,
    found to a fraction of a pixel (Guizar-Sicairos et al., Opt. Lett. 33 (2008) 156), as
    scikit-image does it. The amplitudes are not normalised away, as phase correlation does: at a
    few counts a pixel all but the lowest frequencies are noise, and would count as much there.

    At first neighbouring frames are added until they have counts enough, and placed one after
    the other by the sum of those before; then each even frame by the sum of the odd ones and
    the other way round, so that no noise finds itself, until hardly one moves. Each time a frame is
    first moved back by what is known of its drift: the edges of the field, that do not move with
    the sample, then draw to where it lies already. Where the counts of a frame place it no better
    than to `_UNSURE_PX` (Cramer-Rao bound), the drift is the median of the frames around. The
    common position is near the median, so that little leaves the field, and such that the drifts
    are as near to whole pixels as can be.
    """
    if number < 2:
        return np.zeros((number, 2))
    counts = np.array([float(image(i).sum()) for i in range(number)])
    drift = _first_guess(image, counts)
    for _ in range(_MOST_ROUNDS):
        before = np.rint(drift)
        drift = _refined(image, drift, counts)
        if np.abs(np.rint(drift) - before).mean() < _SETTLED_PX:
            break
    fraction = np.angle(np.exp(2j * np.pi * drift).mean(axis=0)) / (2 * np.pi)
    drift = drift - fraction
    return drift - np.rint(np.median(drift, axis=0))


def _first_guess(image: Image, counts: np.ndarray) -> np.ndarray:
    """Return the drift of groups of neighbouring frames, interpolated to the frames."""
    number = counts.size
    size = int(np.ceil(_ENOUGH_COUNTS / max(counts.mean(), 1e-9)))
    size = min(size, max(1, number // 4))
    centres: list[float] = []
    found: list[np.ndarray] = []
    total, covered = np.zeros((2, *image(0).shape))
    for start in range(0, number, size):
        group = range(start, min(start + size, number))
        added = sum((image(i) for i in group[1:]), start=image(group[0]))
        drift = np.zeros(2)
        if found:
            drift = _placed(_spectrum(_smooth(_filled(total, covered))), added, found[-1])
        step = -np.rint(drift).astype(int)
        total += moved(added, step)
        covered += moved(np.ones_like(added), step)
        centres.append(float(np.mean(group)))
        found.append(drift)
    places = np.arange(number)
    return np.stack([np.interp(places, centres, np.array(found)[:, a]) for a in (0, 1)], axis=1)


def _refined(image: Image, drift: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the drift of even frames against odd ones, and of odd frames against even ones."""
    refined, unsure = drift.copy(), 0.0
    for half in (0, 1):
        reference = _smooth(_sum(image, drift, range(1 - half, len(drift), 2)))
        spectrum = _spectrum(reference)
        for i in range(half, len(drift), 2):
            if counts[i]:
                refined[i] = _placed(spectrum, image(i), drift[i])
        unsure = max(unsure, _uncertainty(reference, float(np.median(counts))))
    return _steadied(refined, unsure)


def _sum(image: Image, drift: np.ndarray, chosen: Iterable[int]) -> np.ndarray:
    """Return the sum of frames moved back, as if all of them covered the field."""
    total, covered = np.zeros((2, *image(0).shape))
    for i in chosen:
        step = -np.rint(drift[i]).astype(int)
        total += moved(image(i), step)
        covered += moved(np.ones_like(total), step)
    return _filled(total, covered)


def _filled(total: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Return a sum as if all its parts covered the field; the mean where none does."""
    full = covered.max(initial=1) * total / np.maximum(covered, 1)
    seen = covered > 0
    return np.where(seen, full, full[seen].mean() if seen.any() else 0)


def _steadied(drift: np.ndarray, unsure: float) -> np.ndarray:
    """Return the median over so many frames that it is as sure as needed."""
    from scipy.ndimage import median_filter

    if unsure <= _UNSURE_PX:
        return drift
    width = min(2 * int(np.ceil((unsure / _UNSURE_PX) ** 2 / 2)) + 1, len(drift))
    return median_filter(drift, size=(width, 1), mode="nearest")


def _uncertainty(reference: np.ndarray, counts: float) -> float:
    """Return the least standard deviation of a shift found from so many counts (Cramer-Rao)."""
    mean = np.maximum(reference, 1e-3 * reference.mean() + 1e-12)
    bend = min(float((step**2 / mean).sum() / mean.sum()) for step in np.gradient(reference))
    return float(1 / np.sqrt(max(bend * counts, 1e-9)))


def _placed(reference: np.ndarray, image: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Return how far `image` lies from the reference of which the spectrum is given ``[2; px]``."""
    from skimage.registration import phase_cross_correlation

    known = np.rint(guess).astype(int)
    covered = moved(np.ones_like(image), -known)
    spectrum = _spectrum(_filled(moved(image, -known), covered))
    if not (np.abs(reference).max() > 0 and np.abs(spectrum).max() > 0):
        return guess
    rest, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        reference, spectrum, space="fourier", upsample_factor=_UPSAMPLING, normalization=None
    )
    return known - np.asarray(rest, float)


def _smooth(image: np.ndarray) -> np.ndarray:
    """Return the image, smoothed the more the fewer counts it has."""
    from scipy.ndimage import gaussian_filter

    area = _SMOOTHED_COUNTS / max(float(image.mean()), 1e-9)
    sigma = float(np.clip(np.sqrt(area / (4 * np.pi)), *_SMOOTHING_PX))
    return gaussian_filter(image.astype(float), sigma, mode="nearest")


def _spectrum(image: np.ndarray) -> np.ndarray:
    """Return the Fourier transform of the image around zero, fading to its edges."""
    from scipy.fft import fft2

    window = np.outer(*(_fading(size) for size in image.shape))
    return fft2((image - np.average(image, weights=window)) * window)


def _fading(size: int) -> np.ndarray:
    """Return 1 in the middle, cosines to 0 over an eighth of the size at each end."""
    edge = (np.arange(size) + 0.5) / max(1.0, size / 8)
    rising = np.clip(np.minimum(edge, edge[::-1]), 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * rising)


def moved(image: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return an image ``[y, x, ...]`` moved by whole pixels, zero where nothing comes to lie."""
    out = np.zeros_like(image)
    height, width = image.shape[:2]
    y, x = (int(np.clip(s, -n, n)) for s, n in zip(step, image.shape[:2], strict=True))
    out[max(0, y) : height + min(0, y), max(0, x) : width + min(0, x)] = image[
        max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)
    ]
    return out
