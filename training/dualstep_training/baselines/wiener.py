"""Wiener filter on a decision-directed a-priori SNR: P. Scalart, J. Filho, "Speech enhancement based on a priori signal to
noise estimation", ICASSP 1996."""

from __future__ import annotations

import numpy as np

from .priori import decision_directed


def gain(xi: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """`xi / (1 + xi)`, whatever the a-posteriori SNR."""
    return xi / (1 + xi)


def restore(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Broadband noise reduction by the Wiener gain, `[samples]`."""
    return decision_directed(samples, rate_hz, gain)
