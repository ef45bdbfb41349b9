"""Power spectral subtraction with over-subtraction and a spectral floor: M. Berouti, R. Schwartz, J. Makhoul, "Enhancement of
speech corrupted by acoustic noise", ICASSP 1979."""

from __future__ import annotations

import numpy as np

from .frames import analyse, synthesise
from .minimum_statistics import noise_power

OVER_AT_0_DB = 4.0
FLOOR = 0.01
"""Power of the noise that is left, to mask musical noise."""


def gain(power: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Gain per bin, `[frame, bin]`: `1 - a N / P`, at least `FLOOR N / P`, as amplitudes; `a` falls from 4.75 at -5 dB to 1 at 20 dB."""
    snr_db = 10 * np.log10(power.sum(1, keepdims=True) / noise.sum(1, keepdims=True) + 1e-12)
    over = OVER_AT_0_DB - 3 / 20 * np.clip(snr_db, -5, 20)
    ratio = noise / np.maximum(power, 1e-20)
    return np.sqrt(np.clip(np.maximum(1 - over * ratio, FLOOR * ratio), 0, 1))


def restore(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Broadband noise reduction by spectral subtraction, `[samples]`."""
    spectra = analyse(samples, rate_hz)
    power = np.abs(spectra) ** 2
    return synthesise(spectra * gain(power, noise_power(power)), len(samples), rate_hz)
