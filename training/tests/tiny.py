"""A network small enough for tests, and sounds for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dualstep_training.config import Config, Recipe, Spec, StageSpec

RATE_HZ = 48_000


def spec(lookahead: int = 1, name: str = "tiny", hop_units: int = 6, analysis_hops: int = 2) -> Spec:
    """As studio, speech network and all, but 64 bins in 32 bands and a few channels."""
    return Spec(
        name=name,
        hop_units=hop_units,
        analysis_hops=analysis_hops,
        synthesis_hops=2,
        lookahead_hops=lookahead,
        bins=64,
        segments=((16, 1), (16, 3)),
        stages=(StageSpec((4, 6, 6, 8, 10), 5), StageSpec((4, 4, 6, 6, 8), 4)),
        taps=3,
        balance=7,
        speech=True,
    )


def config(**recipe) -> Config:
    return Config(spec(), Recipe(**{"batch": 2, "seconds": 0.4, "warmup_steps": 2, **recipe}))


def clips(batch: int, samples: int, seed: int) -> torch.Tensor:
    """Notes that come and go over a little noise, `[batch, samples]`."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / RATE_HZ
    rows = []
    for _ in range(batch):
        tones = sum(np.sin(2 * np.pi * f * t + f) for f in rng.uniform(60, 1500, 4))
        rows.append(0.1 * tones * (0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(1, 4) * t)))
    floor = 1e-4 * rng.standard_normal((batch, samples))
    return torch.tensor(np.array(rows) + floor, dtype=torch.float32)


@dataclass
class Batch:
    clean: torch.Tensor
    worn: torch.Tensor
    noisy: torch.Tensor
    click_mask: torch.Tensor
    tags: list


class FakeDegrader:
    """Same interface as `degrade.Degrader`: batch `n` follows from the seed and `n`. Wear is a dulled band, noise is white."""

    def __init__(self, seed: int = 0, broken: frozenset[int] = frozenset()) -> None:
        self.seed, self.count, self.broken = seed, 0, broken

    def batch(self, batch: int, seconds: float) -> Batch:
        clean = clips(batch, round(seconds * RATE_HZ), self.seed * 1000 + self.count)
        worn = 0.5 * (clean + clean.roll(1, -1))
        generator = torch.Generator().manual_seed(self.count)
        noisy = worn + 0.1 * torch.randn(worn.shape, generator=generator)
        mask = torch.zeros(noisy.shape, dtype=torch.bool)
        mask[:, 1000:1010] = True
        noisy = torch.where(mask, noisy + 0.5, noisy)
        if self.count in self.broken:
            noisy = noisy * float("nan")
        self.count += 1
        return Batch(clean, worn, noisy, mask, [{"music", "clicks"}] * batch)

    def state_dict(self) -> dict:
        return {"seed": self.seed, "batches": self.count, "seconds": 0.0}

    def load_state_dict(self, state: dict) -> None:
        self.count = state["batches"]
