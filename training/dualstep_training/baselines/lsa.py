"""Log-spectral amplitude estimator: Y. Ephraim, D. Malah, "Speech enhancement using a minimum mean-square error
log-spectral amplitude estimator", IEEE Transactions on ASSP 33(2), 1985."""

from __future__ import annotations

import numpy as np
import scipy.special

from .priori import decision_directed


def gain(xi: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """Equation 20: `xi / (1 + xi) exp(E1(v) / 2)` with `v = gamma xi / (1 + xi)`: exp of the expected log amplitude, over the noisy one.

    At most 1, since it would amplify what lies far under the noise.
    """
    share = xi / (1 + xi)
    return np.minimum(share * np.exp(0.5 * scipy.special.exp1(np.maximum(share * gamma, 1e-8))), 1.0)


def restore(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Broadband noise reduction by the LSA gain, `[samples]`."""
    return decision_directed(samples, rate_hz, gain)
