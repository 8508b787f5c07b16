"""Compiled kernels of the Poisson likelihood on sparse blocks: NumPy in, NumPy out.

The form of a block is described in :mod:`eds_xr.image.count_kernels`.

Loadings enter as ``[channel, component]`` with columns that sum to 1, so that the scores of a
pixel are counts, and the gradient of its Poisson log-likelihood is ``sum_c x_c h_c / s_c - 1``.
Sums over pixels are in float64, the rest in float32.

A pixel's loadings are first gathered side by side, padded with empty channels to whole vectors:
the loops over its channels are then plain sums, which the compiler turns into vector code for
any number of components.

What is compiled with `fastmath` is inlined by force: a function that stays on its own may be linked
in another copy when it comes from numba's cache, which adds in another order, so that the first
run of an installation would differ from all later ones.
"""

from __future__ import annotations

import numba
import numpy as np

TINY = np.float32(1e-12)
ONE, TWO, HALF = np.float32(1), np.float32(2), np.float32(0.5)  # a plain 1 makes float64 of all
#: Loadings are taken as at least this, so that a channel at zero can come back.
LEAST_LOADING = np.float32(1e-9)
#: Pixels are padded to a multiple of this many channels: what a vector loop takes at once.
VECTOR = 32
#: Of no prior at all.
NO_STIFFNESS, NO_PULL = np.empty(0, np.float32), np.empty((0, 1), np.float32)


@numba.njit(cache=True, nogil=True)
def _solve(matrix, vector, free, out):
    """Solve the rows and columns marked `free` of a small positive system (Cholesky)."""
    k = vector.size
    factor = np.zeros((k, k), np.float32)
    for p in range(k):
        out[p] = 0
        if not free[p]:
            continue
        total = matrix[p, p] * np.float32(1.0001) + TINY
        for r in range(p):
            if free[r]:
                total -= factor[p, r] ** 2
        factor[p, p] = np.sqrt(max(total, TINY))
        for q in range(p + 1, k):
            if free[q]:
                total = matrix[q, p]
                for r in range(p):
                    if free[r]:
                        total -= factor[q, r] * factor[p, r]
                factor[q, p] = total / factor[p, p]
    for p in range(k):
        if free[p]:
            total = vector[p]
            for r in range(p):
                if free[r]:
                    total -= factor[p, r] * out[r]
            out[p] = total / factor[p, p]
    for p in range(k - 1, -1, -1):
        if free[p]:
            total = out[p]
            for r in range(p + 1, k):
                if free[r]:
                    total -= factor[r, p] * out[r]
            out[p] = total / factor[p, p]


@numba.njit(cache=True, nogil=True)
def _step_length(value, step, gradient):
    """Return a length of Newton's step that cannot overshoot.

    Along the step the third derivative is bounded by the curvature times the largest relative
    change of the model, which is at most that of any one component (or the decrement).
    """
    decrement, change = np.float32(0), np.float32(0)
    for q in range(value.size):
        decrement += step[q] * gradient[q]
        change = max(change, abs(step[q]) / (value[q] + TINY))
    bound = min(np.sqrt(max(decrement, np.float32(0))), change)
    return np.float32(1) if bound < 0.25 else 1 / (1 + bound)


@numba.njit(cache=True, nogil=True, fastmath=True, forceinline=True)
def _gather(channel, count, table, x, h):
    """Put a pixel's counts into `x` and its loadings into `h`, padded; return the padded size."""
    filled = channel.size
    padded = -(-filled // VECTOR) * VECTOR
    for t in range(filled):
        x[t] = count[t]
    x[filled:padded] = 0
    for q in range(h.shape[0]):
        values, row = table[q], h[q]
        for t in range(filled):
            row[t] = values[channel[t]]
        row[filled:padded] = ONE
    return padded


@numba.njit(cache=True, nogil=True, fastmath=True, forceinline=True)
def _model(n, w, h, s):
    """Set `s` to the counts expected in a pixel's channels."""
    for t in range(n):
        s[t] = TINY
    for q in range(w.size):
        weight, loading = w[q], h[q]
        for t in range(n):
            s[t] += weight * loading[t]


@numba.njit(cache=True, nogil=True, fastmath=True, forceinline=True)
def _slopes(n, x, h, s, ratio, part, gradient, curvature):
    """Set gradient and (lower) curvature of a pixel's log-likelihood; `ratio` and `part` work."""
    for t in range(n):
        s[t] = ONE / s[t]
        ratio[t] = x[t] * s[t]
    for q in range(h.shape[0]):
        loading, total = h[q], np.float32(0)
        for t in range(n):
            total += loading[t] * ratio[t]
            part[t] = loading[t] * ratio[t] * s[t]
        gradient[q] = total - ONE
        for p in range(q, h.shape[0]):
            other, total = h[p], np.float32(0)
            for t in range(n):
                total += part[t] * other[t]
            curvature[p, q] = total


@numba.njit(cache=True, nogil=True)
def _move(w, floor, least, gradient, curvature, free, step):
    """Take a damped Newton step in place; return the largest change and whether it was cut.

    A score falls to a tenth at most, unless it hardly counts: where the sum of ``x share**2``
    over channels is a hundredth of the `least` count, its share is below a tenth in all of them.
    """
    for q in range(w.size):
        free[q] = w[q] > floor or gradient[q] > 0
    _solve(curvature, gradient, free, step)
    length = _step_length(w, step, gradient)
    moved, cut = np.float32(0), False
    for q in range(w.size):
        new = w[q] + length * step[q]
        if new < np.float32(0.1) * w[q]:
            if w[q] + step[q] <= 0 and curvature[q, q] * w[q] ** 2 < np.float32(0.01) * least:
                new = np.float32(0)
            else:
                new, cut = np.float32(0.1) * w[q], True
        moved = max(moved, abs(new - w[q]))
        w[q] = new if new > floor else np.float32(0)
    return moved, cut


@numba.njit(cache=True, nogil=True, fastmath=True, forceinline=True)
def _log_likelihood(n, x, ratio, exponent, mantissa):
    """Return ``sum x log(ratio)``; `exponent` and `mantissa` are working space.

    With the mantissa ``m`` in [1, 2), ``log m = log(2) / 2 + 2 atanh u`` where ``u`` is
    ``(m - sqrt 2) / (m + sqrt 2)``, and five terms of its series are exact in float32.
    """
    bits, fraction = ratio.view(np.int32), mantissa.view(np.int32)
    power = exponent.view(np.int32)
    for t in range(n):
        power[t] = (bits[t] >> 23) - 127
        fraction[t] = (bits[t] & 0x7FFFFF) | 0x3F800000
    root, log2, total = np.float32(np.sqrt(2)), np.float32(np.log(2)), np.float32(0)
    third, fifth = np.float32(1 / 3), np.float32(1 / 5)
    seventh, ninth = np.float32(1 / 7), np.float32(1 / 9)
    for t in range(n):
        u = (mantissa[t] - root) / (mantissa[t] + root)
        v = u * u
        series = u * (ONE + v * (third + v * (fifth + v * (seventh + v * ninth))))
        total += x[t] * ((np.float32(power[t]) + HALF) * log2 + TWO * series)
    return total


@numba.njit(cache=True, nogil=True)
def _widest(starts):
    """Return the room that the pixel with most channels takes, padded."""
    widest = 0
    for i in range(starts.size - 1):
        widest = max(widest, starts[i + 1] - starts[i])
    return -(-widest // VECTOR) * VECTOR


@numba.njit(cache=True, nogil=True)
def linear_scores(starts, channel, count, weights, out):
    """Set ``out[pixel, q]`` to ``sum_c x_c weights[q, c]``."""
    out[:] = 0
    for i in range(out.shape[0]):
        for q in range(out.shape[1]):
            row, total = weights[q], np.float32(0)
            for t in range(starts[i], starts[i + 1]):
                total += row[channel[t]] * count[t]
            out[i, q] = total


def poisson_scores(
    starts: np.ndarray,
    channel: np.ndarray,
    count: np.ndarray,
    loadings: np.ndarray,
    scores: np.ndarray,
    steps: int,
) -> None:
    """Improve `scores` ``[pixel, component]`` in place: damped Newton on each pixel's likelihood.

    The Poisson likelihood is self-concordant, so a step of 1 / (1 + decrement) cannot overshoot;
    a score may fall tenfold a step at most, and rests at zero where its gradient stays negative.
    (That cut may undo a little of a step; the next one makes it good.)
    """
    nothing = np.empty((0, 1), np.float64)
    _poisson(starts, channel, count, loadings, scores, steps, NO_STIFFNESS, NO_PULL, nothing)


def poisson_step(
    starts: np.ndarray,
    channel: np.ndarray,
    count: np.ndarray,
    loadings: np.ndarray,
    scores: np.ndarray,
    steps: int,
    stiffness: np.ndarray = NO_STIFFNESS,
    pull: np.ndarray = NO_PULL,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Improve `scores` as :func:`poisson_scores`; return what the loadings' Newton step needs.

    ``curvature[c, j] = sum_i x_ic w_ip w_iq / s_ic**2``, where ``j`` counts the pairs
    ``q <= p`` row by row; ``weights[q] = sum_i w_iq``; and the likelihood
    ``sum_ic x_ic log(x_ic / s_ic)``, half the deviance once ``sum s - sum x`` is added.

    A prior adds ``sum_q pull[i, q] w_q - stiffness[i] w_q**2 / 2`` to a pixel's log-likelihood.
    """
    k = scores.shape[1]
    curvature = np.zeros((loadings.shape[0], k * (k + 1) // 2), np.float64)
    likelihood = _poisson(
        starts, channel, count, loadings, scores, steps, stiffness, pull, curvature
    )
    return curvature, scores.sum(axis=0, dtype=np.float64), likelihood


@numba.njit(cache=True, nogil=True, fastmath=True, forceinline=True)
def _poisson(starts, channel, count, loadings, scores, steps, stiffness, pull, sums):
    """Improve `scores`; unless `sums` is empty, add to it and return the likelihood."""
    k = scores.shape[1]
    room = _widest(starts)
    table = np.ascontiguousarray(np.maximum(loadings, LEAST_LOADING).T)
    h = np.empty((k, room), np.float32)
    x, s, ratio = np.empty(room, np.float32), np.empty(room, np.float32), np.empty(room, np.float32)
    part, mantissa = np.empty(room, np.float32), np.empty(room, np.float32)
    gradient, step = np.empty(k, np.float32), np.empty(k, np.float32)
    curvature, free = np.empty((k, k), np.float32), np.empty(k, np.bool_)
    outer = np.zeros(sums.shape[1], np.float64)
    likelihood = np.float64(0)
    for i in range(scores.shape[0]):
        first, last = starts[i], starts[i + 1]
        w = scores[i]
        n = _gather(channel[first:last], count[first:last], table, x, h)
        total = np.float32(0)
        least = np.float32(np.inf)
        for t in range(last - first):
            total += x[t]
            least = min(least, x[t])
        floor = np.float32(1e-6) * total
        for _ in range(steps):
            _model(n, w, h, s)
            _slopes(n, x, h, s, ratio, part, gradient, curvature)
            if stiffness.size:
                for q in range(k):
                    gradient[q] += pull[i, q] - stiffness[i] * w[q]
                    curvature[q, q] += stiffness[i]
            moved, cut = _move(w, floor, least, gradient, curvature, free, step)
            if moved < np.float32(1e-4) * total and not cut:
                break
        if sums.size:
            _model(n, w, h, s)
            for t in range(n):
                s[t] = ONE / s[t]
                ratio[t] = x[t] * s[t]
            likelihood += _log_likelihood(n, x, ratio, part, mantissa)
            j = 0
            for p in range(k):
                for q in range(p + 1):
                    outer[j] = w[p] * w[q]
                    j += 1
            _scatter(channel[first:last], ratio, s, outer, sums)
    return likelihood


@numba.njit(cache=True, nogil=True, fastmath=True, forceinline=True)
def _scatter(channel, ratio, inverse, outer, sums):
    """Add ``x / s**2`` times the pixel's products of scores to the sums of its channels."""
    for t in range(channel.size):
        row, factor = sums[channel[t]], np.float64(ratio[t] * inverse[t])
        for j in range(outer.size):
            row[j] += factor * outer[j]


@numba.njit(cache=True)
def poisson_loadings(loadings, curvature, weights, fixed):
    """Return loadings one damped Newton step nearer to the maximum, channel by channel.

    `curvature` and `weights` are those of :func:`poisson_step`. As ``s = sum_p w_p h_p``, the
    sums ``x w_q / s`` of the gradient are the curvature times the loadings. Components that are
    `fixed` stay.
    """
    channels, k = loadings.shape
    out = np.empty((channels, k), np.float64)
    gradient, step, free = np.empty(k, np.float32), np.empty(k, np.float32), np.empty(k, np.bool_)
    square, numerator, now = np.empty((k, k)), np.empty(k), np.empty(k, np.float32)
    for c in range(channels):
        j = 0
        for p in range(k):
            now[p] = max(loadings[c, p], LEAST_LOADING)
            for q in range(p + 1):
                square[p, q] = square[q, p] = curvature[c, j]
                j += 1
        floor = np.float32(1e-6) * now.max()
        for q in range(k):
            numerator[q] = (square[q] * now).sum()
            gradient[q] = numerator[q] - weights[q]
            free[q] = not fixed[q] and (now[q] > floor or gradient[q] > 0)
        _solve(square.astype(np.float32), gradient, free, step)
        # far away an expectation-maximisation step is surer, and longer
        length, far = _step_length(now, step, gradient), False
        for q in range(k):
            far = far or length < 0.5 or numerator[q] > 3 * weights[q]
        for q in range(k):
            if fixed[q]:
                out[c, q] = loadings[c, q]
            elif far:
                out[c, q] = now[q] * numerator[q] / (weights[q] + TINY)
            else:
                out[c, q] = max(now[q] + length * step[q], np.float32(0.1) * now[q])
    return out


def explained(loadings: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Return the counts that each component explains, ``sum_ic x_ic w_iq h_cq / s_ic``."""
    k = loadings.shape[1]
    pairs = np.tril_indices(k)
    square = np.empty((k, k, loadings.shape[0]))
    square[pairs] = curvature.T
    square[pairs[::-1]] = curvature.T
    table = loadings.astype(np.float64)
    return np.einsum("pqc,cp,cq->p", square, table, table)
