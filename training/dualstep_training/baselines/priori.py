"""The decision-directed a-priori SNR that Wiener filter and LSA share: Y. Ephraim, D. Malah, "Speech enhancement using a
minimum mean-square error short-time spectral amplitude estimator", IEEE Transactions on ASSP 32(6), 1984, equation 51."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .frames import analyse, synthesise
from .minimum_statistics import noise_power

ALPHA = 0.98
XI_MIN = 10 ** (-25 / 10)
"""Floor of the a-priori SNR, -25 dB: O. Cappé, "Elimination of the musical noise phenomenon", IEEE TSAP 2(2), 1994."""
GAMMA_MAX = 1e4

GainRule = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Gain from a-priori SNR xi and a-posteriori SNR gamma, all per bin and linear."""


def decision_directed(samples: np.ndarray, rate_hz: int, rule: GainRule) -> np.ndarray:
    """Applies a gain rule frame by frame; the a-priori SNR leans on what the frame before was estimated to be."""
    spectra = analyse(samples, rate_hz)
    power = np.abs(spectra) ** 2
    noise = noise_power(power)
    estimate = power[0] * 0
    for index in range(len(spectra)):
        gamma = np.minimum(power[index] / noise[index], GAMMA_MAX)
        xi = np.maximum(ALPHA * estimate / noise[index] + (1 - ALPHA) * np.maximum(gamma - 1, 0), XI_MIN)
        gain = rule(xi, gamma)
        spectra[index] *= gain
        estimate = gain**2 * power[index]
    return synthesise(spectra, len(samples), rate_hz)
