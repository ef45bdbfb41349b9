"""Click removal: detection by the prediction error of an autoregressive (AR) model, least-squares AR interpolation (LSAR).

Detection: S. Godsill, P. Rayner, "Digital Audio Restoration", Springer 1998, section 5.2. Interpolation: A. Janssen, R. Veldhuis,
L. Vries, "Adaptive interpolation of discrete-time signals that can be modeled as autoregressive processes", IEEE Transactions
on ASSP 34(2), 1986. Samples that aren't detected stay as they are.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.signal

BLOCK_S = 0.043
"""Length of what one AR model describes; its middle half is repaired, the rest is context."""
ORDER = 48
THRESHOLD = 7.0
"""Prediction errors over this many standard deviations (from their median) are clicks."""
FUSE_S = 0.0015
"""Detections closer than this are one click: its samples need not all stand out."""
GROW_S = 0.0002
"""Samples on both sides of a detection that are replaced too."""
ROUNDS = 2
"""How often model and marks are estimated from each other: the first model has seen the click, the second one what was filled in, and so
finds all of it. Without the second, clicks gained 3.5 dB less on a few clips of the validation split."""
MOST = 0.3
"""If more than this share of a block is marked, it isn't clicks: left alone."""


def ar_model(block: np.ndarray, order: int) -> np.ndarray:
    """`a` of `e[n] = sum a[k] x[n - k]`, `a[0] = 1`, `[order + 1]`: autocorrelation method with a Hann window."""
    windowed = block * np.hanning(len(block))
    spectrum = np.fft.rfft(windowed, 2 * len(block))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: order + 1]
    correlation[0] = correlation[0] * (1 + 1e-9) + 1e-12
    return np.concatenate(([1.0], scipy.linalg.solve_toeplitz(correlation[:-1], -correlation[1:])))


def interpolate(block: np.ndarray, missing: np.ndarray, model: np.ndarray) -> np.ndarray:
    """`block` with the samples at `missing` (indices) chosen so that the sum of squared prediction errors is least (Janssen, equation 11).

    Before and after the block there is silence.
    """
    known = block.copy()
    known[missing] = 0
    # b[l] = sum a[k] a[k + l]: the normal equations are its Toeplitz matrix, rows and columns picked at the missing samples.
    b = np.convolve(model, model[::-1])
    centre = len(model) - 1
    right = -np.convolve(known, b)[centre : centre + len(block)][missing]
    distance = missing[:, None] - missing[None, :]
    left = np.where(np.abs(distance) <= centre, b[np.clip(distance, -centre, centre) + centre], 0.0)
    known[missing] = scipy.linalg.solve(left, right, assume_a="pos", check_finite=False)
    return known


def detect(block: np.ndarray, model: np.ndarray, threshold: float, fuse: int, grow: int) -> np.ndarray:
    """Which samples are damaged, bool `[samples]`, by their prediction error."""
    error = scipy.signal.lfilter(model, [1.0], block)
    error[: len(model)] = 0  # the filter has no past there
    sigma = np.median(np.abs(error)) / 0.6745
    marks = np.flatnonzero(np.abs(error) > threshold * max(sigma, 1e-9))
    damaged = np.zeros(len(block), dtype=bool)
    for first, last in _runs(marks, fuse):
        damaged[max(0, first - grow) : last + grow + 1] = True
    return damaged


def _runs(marks: np.ndarray, gap: int) -> list[tuple[int, int]]:
    """First and last of the marks that lie within `gap` of each other."""
    if not len(marks):
        return []
    breaks = np.flatnonzero(np.diff(marks) > gap)
    return list(zip(marks[np.concatenate(([0], breaks + 1))], marks[np.concatenate((breaks, [len(marks) - 1]))]))


def restore(samples: np.ndarray, rate_hz: int, threshold: float = THRESHOLD, order: int = ORDER) -> np.ndarray:
    """Clicks replaced, everything else untouched, `[samples]`."""
    size = 4 * round(rate_hz * BLOCK_S / 4)
    step, context = size // 2, size // 4
    fuse, grow = round(FUSE_S * rate_hz), round(GROW_S * rate_hz)
    out = np.concatenate((np.zeros(context), samples.astype(np.float64), np.zeros(context + step)))
    for start in range(0, len(samples), step):
        block = out[start : start + size]
        if np.abs(block).max() < 1e-6:
            continue
        repaired, damaged = block, np.zeros(size, dtype=bool)
        for _ in range(ROUNDS):
            model = ar_model(repaired, order)
            damaged = detect(block, model, threshold, fuse, grow)
            if not damaged.any() or damaged.mean() > MOST:
                break
            repaired = interpolate(block, np.flatnonzero(damaged), model)
        if damaged.any() and damaged.mean() <= MOST:
            # What the context at the end holds is repaired with the next block, when it is in the middle.
            out[start + context : start + context + step] = repaired[context : context + step]
    return out[context : context + len(samples)]
