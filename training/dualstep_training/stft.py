"""Analysis and synthesis of whole clips, exactly as the engine does it hop by hop.

Frame `k` ends with hop `k`: it covers samples `(k + 1) H - A H .. (k + 1) H`. The synthesis window covers only the
frame's last two hops, which keeps the latency low under a long analysis window (Mauler & Martin 2007).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .config import Spec


def windows(hop: int, analysis_hops: int) -> tuple[np.ndarray, np.ndarray]:
    """Analysis window `[A H]` and synthesis window `[2 H]`; their product is a Hann window that adds up to one."""
    rise = analysis_hops * hop - hop
    n = np.arange(analysis_hops * hop)
    rising = np.sin(np.pi * n / (2 * rise))
    falling = np.cos(np.pi * (n - rise) / (2 * hop))
    analysis = np.where(n < rise, rising, falling)
    last = analysis[-2 * hop :]
    hann = np.sin(np.pi * np.arange(2 * hop) / (2 * hop)) ** 2
    # With two hops of analysis the first sample is 0 / 0; its limit is 0.
    synthesis = np.divide(hann, last, out=np.zeros_like(hann), where=last > 1e-9)
    return analysis, synthesis


class Stft:
    """Forward and inverse transform of clips at one sample rate."""

    def __init__(self, spec: Spec, sample_rate: int = 48_000, device: str | torch.device = "cpu") -> None:
        self.spec = spec
        self.hop = spec.hop(sample_rate)
        self.size = self.hop * spec.analysis_hops
        analysis, synthesis = windows(self.hop, spec.analysis_hops)
        scale = 2.0 / analysis.sum()
        # The scale (a full-scale sine has magnitude 1) is folded into both windows.
        self._analysis = torch.tensor(analysis * scale, dtype=torch.float32, device=device)
        self._synthesis = torch.tensor(synthesis / scale, dtype=torch.float32, device=device)

    def frames(self, samples: int) -> int:
        """Frames of a clip of so many samples; a last partial hop is left out."""
        return samples // self.hop

    def forward(self, clip: Tensor) -> Tensor:
        """`clip [batch, samples]` -> spectrum `[batch, frame, all bins]`, complex. Before the clip there is silence."""
        whole = self.frames(clip.shape[-1]) * self.hop
        padded = functional.pad(clip[..., :whole], (self.size - self.hop, 0))
        return torch.fft.rfft(padded.unfold(-1, self.size, self.hop) * self._analysis)

    def inverse(self, spectrum: Tensor) -> Tensor:
        """`spectrum [batch, frame, all bins]` -> clip `[batch, frame * H]`; the last hop is only half there."""
        batch, frames, _ = spectrum.shape
        tails = torch.fft.irfft(spectrum, n=self.size)[..., -2 * self.hop :] * self._synthesis
        halves = tails.reshape(batch, frames, 2, self.hop)
        # Frame k covers hops k - 1 and k.
        out = halves[:, :, 1].clone()
        out[:, :-1] += halves[:, 1:, 0]
        return out.reshape(batch, frames * self.hop)

    def network(self, spectrum: Tensor) -> Tensor:
        """The bins the network sees, as reals: `[batch, frame, bins, 2]`; bins that this rate lacks are zero."""
        seen = spectrum[..., : self.spec.bins]
        reals = torch.view_as_real(seen.contiguous())
        return functional.pad(reals, (0, 0, 0, self.spec.bins - seen.shape[-1]))
