"""Compiled kernels on sparse blocks of counts: NumPy in, NumPy out.

A block is ``(starts, channels, counts)``: pixel ``i`` holds ``counts[t]`` in ``channels[t]`` for
``t`` in ``starts[i]:starts[i + 1]``. At a few counts a voxel this is some 3 bytes a count, ten to
a hundred times smaller than the dense block, and every sum over channels runs on it directly.

Loadings enter as ``[channel, component]`` with columns that sum to 1, so that the scores of a
pixel are counts, and the gradient of its Poisson log-likelihood is ``sum_c x_c h_c / s_c - 1``.
Sums over pixels are in float64, the rest in float32.
"""

import numba
import numpy as np

TINY = np.float32(1e-12)


@numba.njit(cache=True, nogil=True)
def compress(block):
    """Return the sparse form of counts `block` ``[pixel, channel]``."""
    pixels, channels = block.shape
    starts = np.zeros(pixels + 1, np.int64)
    for i in range(pixels):
        filled = 0
        for c in range(channels):
            filled += block[i, c] != 0
        starts[i + 1] = starts[i] + filled
    channel = np.empty(starts[pixels], np.uint16)
    count = np.empty(starts[pixels], block.dtype)
    for i in range(pixels):
        t = starts[i]
        for c in range(channels):
            if block[i, c] != 0:
                channel[t], count[t] = c, block[i, c]
                t += 1
    return starts, channel, count


@numba.njit(cache=True, nogil=True)
def add_binned(starts, channel, count, target, binned):
    """Add each pixel's counts to row ``target[pixel]`` of `binned` ``[coarse pixel, channel]``."""
    for i in range(starts.size - 1):
        row = binned[target[i]]
        for t in range(starts[i], starts[i + 1]):
            row[channel[t]] += count[t]


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


@numba.njit(cache=True, nogil=True, fastmath=True)
def poisson_scores(starts, channel, count, loadings, scores, steps):
    """Improve `scores` ``[pixel, component]`` in place: damped Newton on each pixel's likelihood.

    The Poisson likelihood is self-concordant, so a step of 1 / (1 + decrement) cannot overshoot;
    a score may fall tenfold a step at most, and rests at zero where its gradient stays negative.
    (That cut may undo a little of a step; the next one makes it good.)
    """
    k = scores.shape[1]
    gradient, step = np.empty(k, np.float32), np.empty(k, np.float32)
    curvature, free = np.empty((k, k), np.float32), np.empty(k, np.bool_)
    for i in range(scores.shape[0]):
        w = scores[i]
        total = np.float32(0)
        for t in range(starts[i], starts[i + 1]):
            total += count[t]
        floor = np.float32(1e-6) * total
        for _ in range(steps):
            gradient[:] = -1
            curvature[:] = 0
            for t in range(starts[i], starts[i + 1]):
                c, s = channel[t], TINY
                for q in range(k):
                    s += w[q] * loadings[c, q]
                ratio = count[t] / s
                for q in range(k):
                    scaled = loadings[c, q] * ratio
                    gradient[q] += scaled
                    scaled /= s
                    for p in range(q, k):
                        curvature[p, q] += scaled * loadings[c, p]
            for q in range(k):
                free[q] = w[q] > floor or gradient[q] > 0
            _solve(curvature, gradient, free, step)
            length = _step_length(w, step, gradient)
            moved, cut = np.float32(0), False
            for q in range(k):
                new = w[q] + length * step[q]
                if new < np.float32(0.1) * w[q]:
                    new, cut = np.float32(0.1) * w[q], True
                moved = max(moved, abs(new - w[q]))
                w[q] = new if new > floor else np.float32(0)
            if moved < np.float32(1e-4) * total and not cut:
                break


@numba.njit(cache=True, nogil=True, fastmath=True)
def poisson_sums(starts, channel, count, loadings, scores):
    """Return what Newton's step on the loadings needs from a block, and its likelihood.

    ``numerator[c, q] = sum_i x_ic w_iq / s_ic``; ``weights[q] = sum_i w_iq``; the likelihood
    ``sum_ic x_ic log(x_ic / s_ic)`` (half the deviance once ``sum s - sum x`` is added); and
    ``curvature[c, p, q] = sum_i x_ic w_ip w_iq / s_ic**2`` (lower triangle).
    """
    k = scores.shape[1]
    numerator, weights = np.zeros(loadings.shape, np.float64), np.zeros(k, np.float64)
    curvature = np.zeros((loadings.shape[0], k, k), np.float64)
    likelihood = np.float64(0)
    for i in range(scores.shape[0]):
        w = scores[i]
        pixel = np.float32(0)
        for q in range(k):
            weights[q] += w[q]
        for t in range(starts[i], starts[i + 1]):
            c, s = channel[t], TINY
            for q in range(k):
                s += w[q] * loadings[c, q]
            x = np.float32(count[t])
            ratio = x / s
            pixel += x * np.log(ratio)
            for q in range(k):
                part = ratio * w[q]
                numerator[c, q] += part
                part /= s
                for p in range(q, k):
                    curvature[c, p, q] += part * w[p]
        likelihood += pixel
    return numerator, weights, likelihood, curvature


@numba.njit(cache=True)
def poisson_loadings(loadings, numerator, weights, curvature):
    """Return loadings one damped Newton step nearer to the maximum, channel by channel."""
    channels, k = loadings.shape
    out = np.empty((channels, k), np.float64)
    gradient, step, free = np.empty(k, np.float32), np.empty(k, np.float32), np.empty(k, np.bool_)
    for c in range(channels):
        top = loadings[c].max()
        floor = np.float32(1e-6) * top
        for q in range(k):
            gradient[q] = numerator[c, q] - weights[q]
            free[q] = loadings[c, q] > floor or gradient[q] > 0
        _solve(curvature[c].astype(np.float32), gradient, free, step)
        length = _step_length(loadings[c], step, gradient)
        for q in range(k):
            if length < 0.5:  # far away: an expectation-maximisation step is surer and longer
                out[c, q] = loadings[c, q] * numerator[c, q] / (weights[q] + TINY)
            else:
                out[c, q] = max(loadings[c, q] + length * step[q], np.float32(0.1) * loadings[c, q])
    return out


@numba.njit(cache=True, nogil=True)
def _nonnegative_least_squares(gram, vector, out):
    """Minimise ``out' gram out / 2 - vector' out`` over ``out >= 0`` by coordinate descent."""
    for _ in range(200):
        moved, largest = np.float64(0), np.float64(0)
        for q in range(out.size):
            gradient = vector[q]
            for p in range(out.size):
                gradient -= gram[q, p] * out[p]
            new = max(out[q] + gradient / (gram[q, q] + 1e-30), 0.0)
            moved = max(moved, abs(new - out[q]))
            largest = max(largest, new)
            out[q] = new
        if moved <= 1e-6 * largest:
            return


@numba.njit(cache=True, nogil=True)
def frobenius_scores(starts, channel, count, loadings, scores):
    """Set `scores` ``[pixel, component]`` in place to each pixel's non-negative least squares."""
    k = scores.shape[1]
    dense = loadings.astype(np.float64)
    gram = dense.T @ dense
    vector, w = np.empty(k, np.float64), np.empty(k, np.float64)
    for i in range(scores.shape[0]):
        vector[:] = 0
        for t in range(starts[i], starts[i + 1]):
            for q in range(k):
                vector[q] += count[t] * dense[channel[t], q]
        w[:] = scores[i]
        _nonnegative_least_squares(gram, vector, w)
        scores[i] = w


@numba.njit(cache=True, nogil=True)
def frobenius_sums(starts, channel, count, channels, scores):
    """Return ``X' W`` ``[channel, component]``, ``W' W`` and ``sum X**2`` of a block."""
    k = scores.shape[1]
    cross, gram, square = np.zeros((channels, k)), np.zeros((k, k)), 0.0
    for i in range(scores.shape[0]):
        for p in range(k):
            for q in range(k):
                gram[p, q] += np.float64(scores[i, p]) * scores[i, q]
        for t in range(starts[i], starts[i + 1]):
            x = np.float64(count[t])
            square += x * x
            for q in range(k):
                cross[channel[t], q] += x * scores[i, q]
    return cross, gram, square


@numba.njit(cache=True)
def frobenius_loadings(loadings, cross, gram):
    """Return the loadings ``[channel, component]`` of least squares, given the sums."""
    out = loadings.astype(np.float64)
    for c in range(out.shape[0]):
        _nonnegative_least_squares(gram, cross[c], out[c])
    return out


@numba.njit(cache=True, nogil=True)
def _scramble(value):
    """Return 64 random-looking bits of a number (the finaliser of splitmix64)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def halve(rows, first, seed):
    """Keep each count of `rows` ``[pixel, channel]`` with probability one half.

    ``first[pixel]`` is the absolute index of a row's first voxel: with `seed` it fixes the
    outcome, whatever block the row came in.
    """
    out = np.zeros_like(rows)
    key = _scramble(seed + np.uint64(0x9E3779B97F4A7C15))
    for i in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            left, kept = np.int64(rows[i, c]), 0
            if left == 0:
                continue
            state = _scramble(key ^ _scramble(first[i] + np.uint64(c)))
            while left > 0:
                state = _scramble(state + np.uint64(0x9E3779B97F4A7C15))
                bits = (
                    state
                    if left >= 64
                    else state & ((np.uint64(1) << np.uint64(left)) - np.uint64(1))
                )
                while bits:
                    bits &= bits - np.uint64(1)
                    kept += 1
                left -= 64
            out[i, c] = kept
    return out
