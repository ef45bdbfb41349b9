"""Wavelet shrinkage (D. Donoho, "De-noising by soft-thresholding", IEEE Transactions on Information Theory 41(3), 1995) with the
BayesShrink threshold (S. Chang, B. Yu, M. Vetterli, "Adaptive wavelet thresholding for image denoising and compression", IEEE
Transactions on Image Processing 9(9), 2000), level by level for coloured noise and block by block as the signal changes.

The papers measure noise by the median of all coefficients, which takes the signal for noise where it is dense, as music is. Here the
median is over blocks, and a quiet block counts. Donoho's universal threshold was tried: on hiss it did 6 dB worse.
"""

from __future__ import annotations

import numpy as np

WAVELET = "sym8"
COARSEST_HZ = 100.0
"""Levels whose band lies under this are left alone: there is music, and too few coefficients to measure noise by."""
BLOCK_S = 0.1
QUANTILE = 0.1
"""The noise of a level is the median of its coefficients in the quietest blocks: this share of them is quieter."""


def shrink(detail: np.ndarray, block: int) -> np.ndarray:
    """Soft-thresholds the coefficients of one level, each block at `noise variance / standard deviation of the signal`."""
    count = -(-len(detail) // block)
    blocks = np.pad(detail, (0, count * block - len(detail))).reshape(count, block)
    whole = blocks[: len(detail) // block] if len(detail) >= block else blocks
    noise = np.quantile(np.median(np.abs(whole), axis=1), QUANTILE) / 0.6745
    signal = np.sqrt(np.maximum(np.mean(blocks**2, axis=1, keepdims=True) - noise**2, 1e-30))
    threshold = noise**2 / signal
    return (np.sign(blocks) * np.maximum(np.abs(blocks) - threshold, 0)).reshape(-1)[: len(detail)]


def restore(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Broadband noise reduction by wavelet shrinkage, `[samples]`. Needs PyWavelets."""
    import pywt

    levels = min(int(np.log2(rate_hz / 2 / COARSEST_HZ)), pywt.dwt_max_level(len(samples), WAVELET))
    coarse, *details = pywt.wavedec(samples, WAVELET, mode="periodization", level=levels)
    shrunk = [shrink(detail, max(16, int(BLOCK_S * rate_hz) >> level)) for level, detail in zip(range(levels, 0, -1), details)]
    return pywt.waverec([coarse, *shrunk], WAVELET, mode="periodization")[: len(samples)]
