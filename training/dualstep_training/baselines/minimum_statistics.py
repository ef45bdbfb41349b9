"""Noise power from minimum statistics: R. Martin, "Noise power spectral density estimation based on optimal smoothing and
minimum statistics", IEEE Transactions on Speech and Audio Processing 9(5), 2001. Equation numbers are that paper's.

A smoothed power spectrum falls to the noise between words and notes, so its minimum over 1.5 s, corrected for being a
minimum, is the noise. What never pauses, like a held chord, is taken for noise too.
"""

from __future__ import annotations

import numpy as np

SUB_WINDOWS = 8
SUB_FRAMES = 12
"""U sub-windows of V frames: 96 frames of 16 ms hop are 1.54 s."""

ALPHA_MAX = 0.96
ALPHA_MIN = 0.3
ALPHA_CORRECTION_MIN = 0.7
BETA_MAX = 0.8
OVERESTIMATE = 2.12
"""a_v of equation 17."""
Q_INVERSE_MAX = 0.5

#: M(D) of table III, between which it is interpolated.
_LENGTHS = (1, 2, 5, 8, 10, 15, 20, 30, 40, 60, 80, 120, 140, 160)
_M = (0, 0.26, 0.48, 0.58, 0.61, 0.668, 0.705, 0.762, 0.8, 0.841, 0.865, 0.89, 0.9, 0.91)

#: Largest factor by which a local minimum may raise the estimate, by the mean of 1 / Q (section V).
_SLOPES = ((0.03, 8.0), (0.05, 4.0), (0.06, 2.0), (np.inf, 1.2))


def _bias(length: int, q_inverse: np.ndarray) -> np.ndarray:
    """B_min, by which the minimum of `length` correlated values lies under their mean (equation 17)."""
    m = float(np.interp(length, _LENGTHS, _M))
    return 1 + 2 * (length - 1) * (1 - m) / (1 / q_inverse - 2 * m)


def noise_power(power: np.ndarray) -> np.ndarray:
    """Noise power per frame and bin from noisy power, both `[frame, bin]`; frame `n` uses frames up to `n`."""
    power = np.maximum(power, 1e-20)
    smooth = power[0].copy()
    noise, mean, square = smooth.copy(), smooth.copy(), smooth**2
    correction, frame_in_sub, slot = 1.0, SUB_FRAMES, 0
    lowest = np.full_like(smooth, np.inf)
    lowest_sub = np.full_like(smooth, np.inf)
    minimum = smooth.copy()
    history = np.full((SUB_WINDOWS, len(smooth)), np.inf)
    is_local = np.zeros(len(smooth), dtype=bool)
    out = np.empty_like(power)
    for index, now in enumerate(power):
        # Optimal smoothing (equations 7-12).
        off = smooth.sum() / now.sum() - 1
        correction = 0.7 * correction + 0.3 * max(1 / (1 + off * off), ALPHA_CORRECTION_MIN)
        alpha = ALPHA_MAX * correction / (1 + (smooth / noise - 1) ** 2)
        snr = smooth.sum() / noise.sum()
        alpha = np.maximum(alpha, min(ALPHA_MIN, snr**-0.25))  # 16 ms hop over 64 ms
        smooth = alpha * smooth + (1 - alpha) * now
        # Degrees of freedom of the smoothed power (equations 13-15).
        beta = np.minimum(alpha**2, BETA_MAX)
        mean = beta * mean + (1 - beta) * smooth
        square = beta * square + (1 - beta) * smooth**2
        q_inverse = np.clip((square - mean**2) / (2 * noise**2), 1 / 14 / (index + 1), Q_INVERSE_MAX)
        q_mean = float(q_inverse.mean())
        over = 1 + OVERESTIMATE * np.sqrt(q_mean)
        whole = over * smooth * _bias(SUB_WINDOWS * SUB_FRAMES, q_inverse)
        lower = whole < lowest
        lowest = np.where(lower, whole, lowest)
        lowest_sub = np.where(lower, over * smooth * _bias(SUB_FRAMES, q_inverse), lowest_sub)
        # The search for the minimum (figure 5 of the paper).
        if 1 < frame_in_sub < SUB_FRAMES:
            is_local |= lower
            minimum = np.minimum(lowest_sub, minimum)
            noise = minimum
        elif frame_in_sub >= SUB_FRAMES:
            slot = (slot + 1) % SUB_WINDOWS
            history[slot] = lowest
            minimum = history.min(0)
            slope = next(factor for limit, factor in _SLOPES if q_mean < limit)
            rising = is_local & ~lower & (lowest_sub < slope * minimum) & (lowest_sub > minimum)
            minimum = np.where(rising, lowest_sub, minimum)
            history[:, rising] = minimum[rising]
            noise = np.maximum(minimum, 1e-20)
            is_local[:] = False
            lowest = np.full_like(smooth, np.inf)
            lowest_sub = np.full_like(smooth, np.inf)
            frame_in_sub = 0
        frame_in_sub += 1
        out[index] = noise
    return out
