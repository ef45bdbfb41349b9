"""Short-time Fourier analysis and synthesis that the spectral baselines share: 32 ms, half overlapped, root-Hann both ways."""

from __future__ import annotations

import numpy as np

FRAME_S = 0.032
"""As in Martin (2001), whose noise estimate has constants for this frame and half of it as hop."""


def hop_of(rate_hz: int) -> int:
    """Samples per hop: half a frame."""
    return round(rate_hz * FRAME_S / 2)


def _window(hop: int) -> np.ndarray:
    return np.sin(np.pi * np.arange(2 * hop) / (2 * hop))


def analyse(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Spectra `[frame, bin]`; the first frame's centre is one hop before the first sample, the last reaches past the end."""
    hop = hop_of(rate_hz)
    padded = np.concatenate((np.zeros(hop), samples, np.zeros(hop + -len(samples) % hop)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop]
    return np.fft.rfft(frames * _window(hop))


def synthesise(spectra: np.ndarray, samples: int, rate_hz: int) -> np.ndarray:
    """The inverse of `analyse`, `[samples]`: exact, since the squared window adds up to one."""
    hop = hop_of(rate_hz)
    halves = (np.fft.irfft(spectra, 2 * hop) * _window(hop)).reshape(-1, 2, hop)
    out = np.zeros((len(halves) + 1, hop))
    out[:-1] += halves[:, 0]
    out[1:] += halves[:, 1]
    return out.reshape(-1)[hop : hop + samples]
