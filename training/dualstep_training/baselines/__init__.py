"""Classical restoration, for comparison: what the networks have to beat.

Each takes and gives mono samples, float `[samples]`, at any rate, without delay. Parameters are the published ones; where
a paper leaves one open, it was tried on a few clips of the validation split.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import lsa, lsar, subtraction, wavelet, wiener

Baseline = Callable[[np.ndarray, int], np.ndarray]


#: Name in the tables -> function.
BASELINES: dict[str, Baseline] = {
    "spectral subtraction": subtraction.restore,
    "Wiener": wiener.restore,
    "wavelet shrinkage": wavelet.restore,
    "LSA": lsa.restore,
    "AR + LSAR": lsar.restore,
}
