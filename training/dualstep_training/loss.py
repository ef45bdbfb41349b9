"""The training loss: compressed spectra over the input's running level, and a spectral signal-to-noise ratio.

Everything is relative to the level of the item (the compressed part through the level the networks see, the ratio by
itself), so that quiet items count as much as loud ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .config import Spec
from .model import Dualstep, Restored, delay, features


@dataclass(frozen=True)
class Weights:
    """What each part of the loss counts."""

    magnitude: float = 0.7
    complex: float = 0.3
    missing: float = 1.5
    """Times that missing energy costs what left-over noise of the same size costs: a mean over what may be noise or
    music takes too much away, and the ear forgives noise sooner than holes."""
    ratio: float = 0.03
    """Per dB of signal-to-noise ratio."""


RATIO_CEILING_DB = {"1": 30.0, "2": 45.0}
"""Beyond this ratio little is to be gained, per stage. With 45 dB for stage 1, clean items held everything near a gain of
one that may be music or noise: thumps and hum stayed. Stage 2 is to leave alone what isn't worn: with 30 dB it changed
unworn recordings at -33 dB."""


def bin_weights(spec: Spec) -> Tensor:
    """`[bins]`, mean 1: every critical band (ERB, Glasberg & Moore 1990) counts the same.

    Bins are 25 Hz wide everywhere. Without weights three quarters of the loss would be about 5 to 20 kHz, and a network
    leaves thumps and hum alone, which are a dozen bins.
    """
    hz = torch.arange(spec.bins, dtype=torch.float32) * 25.0
    weights = 1.0 / (24.7 * (4.37e-3 * hz + 1.0))
    return weights / weights.mean()


def compressed_loss(estimate: Tensor, target: Tensor, bins: Tensor, weights: Weights) -> Tensor:
    """Mean over everything of the magnitude and complex differences.

    `estimate`, `target`: `[batch, frame, bin, 3]`: compressed real, imaginary, magnitude, over the level.
    """
    difference = estimate - target
    squared = difference.square()
    magnitude = squared[..., 2]
    magnitude = magnitude * torch.where(difference[..., 2] < 0, weights.missing, 1.0)
    total = weights.magnitude * magnitude + weights.complex * (squared[..., 0] + squared[..., 1])
    return (total.mean((0, 1)) * bins).mean()


def ratio_db(estimate: Tensor, target: Tensor, heard: Tensor, ceiling_db: float) -> Tensor:
    """Signal-to-noise ratio of each item's spectrum in dB, `[batch]`, softly limited at `ceiling_db`.

    `heard` is the input: an item whose target is silent is measured against a thousandth of it.
    """
    dims = (1, 2, 3)
    noise = (estimate - target).square().sum(dims)
    signal = target.square().sum(dims) + 1e-6 * heard.square().sum(dims) + 1e-12
    return -10.0 * torch.log10(noise / signal + 10.0 ** (-ceiling_db / 10.0))


def with_magnitude(z: Tensor) -> Tensor:
    """Appends the magnitude: `[..., 2]` -> `[..., 3]`."""
    return torch.cat((z, torch.sqrt(z.square().sum(-1, keepdim=True) + 1e-10)), -1)


class Loss:
    """Loss of both stages: stage 1 against the worn recording, stage 2 against the unworn one."""

    def __init__(self, spec: Spec, weights: Weights = Weights(), device: str | torch.device = "cpu") -> None:
        self.spec, self.weights = spec, weights
        self.bins = bin_weights(spec).to(device)

    def __call__(self, out: Restored, spectrum: Tensor, worn: Tensor, clean: Tensor, stage: str) -> dict[str, Tensor]:
        """Parts of the loss; `stage` is "1", "2", "both" or "speech", which is learnt as stage 1 is. Spectra are `[batch, frame, bins, 2]`, not delayed.

        Returns `total` and the parts that were computed.
        """
        ahead = self.spec.lookahead_hops
        parts: dict[str, Tensor] = {}

        def add(name: str, estimate: Tensor, linear: Tensor, target: Tensor) -> None:
            goal = features(target, out.level).permute(0, 2, 3, 1)
            parts[f"spectrum{name}"] = compressed_loss(estimate, goal, self.bins, self.weights)
            parts[f"ratio{name}"] = ratio_db(linear, target, heard, RATIO_CEILING_DB[name]).mean()

        heard = delay(spectrum, ahead)
        if stage in ("1", "both", "speech"):
            add("1", out.compressed1, out.stage1, delay(worn, ahead))
        if stage in ("2", "both"):
            add("2", with_magnitude(out.compressed2), out.stage2, delay(clean, ahead))
        total = sum(v for k, v in parts.items() if k.startswith("spectrum"))
        total = total - self.weights.ratio * sum(v for k, v in parts.items() if k.startswith("ratio"))
        return {"total": total, **parts}


def run(net: Dualstep, spectrum: Tensor, stage: str) -> Restored:
    """Runs what the stage to be trained needs: stage 2 is trained on stage 1's frozen output."""
    if stage == "speech":
        return net(spectrum, stages=1, speech=True)
    return net(spectrum, stages=1 if stage == "1" else 2)
