"""The fixed validation set: what each stage gains, defect by defect, at its own tap."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import metrics
from .config import Spec
from .model import Dualstep
from .stft import Stft

KINDS = (
    "hiss", "crackle", "clicks", "thumps", "hum", "mixed-music", "mixed-speech", "everyday-speech", "clean", "drums",
    "saturation", "clipping", "dull", "narrow", "dropouts", "worn+noise",
)  # fmt: skip
UNTOUCHED = ("clean", "drums")
"""Kinds whose input is already what it should be."""

NOISE = KINDS[:8]
WEAR = KINDS[10:]

RATE_HZ = 48_000


@dataclass
class Item:
    """One kind of defect: clips `[count, samples]`."""

    kind: str
    noisy: Tensor
    worn: Tensor
    clean: Tensor


class Synthesis:
    """Clip in, both stages' clips out, at full strength, as the engine does it."""

    def __init__(self, spec: Spec, device: str | torch.device = "cpu") -> None:
        self.spec = spec
        self.stft = Stft(spec, RATE_HZ, device)

    def __call__(self, net: Dualstep, noisy: Tensor) -> tuple[Tensor, Tensor, float]:
        """`noisy [batch, samples]` -> stage 1's and stage 2's clips, aligned with it, and `log10 |Y2 - S1| / |S1|` in dB.

        The last frames that the look-ahead can't reach are silent.
        """
        spectrum = self.stft.forward(noisy)
        with torch.no_grad():
            out = net(self.stft.network(spectrum))
            stage1, stage2 = out.stage1, out.stage2
            energy = (stage1.square().sum(), (stage2 - stage1).square().sum())
            change = float(10 * torch.log10((energy[1] + 1e-20) / (energy[0] + 1e-20)))
            # Above the network's bins: the mean gain of the topmost band.
            top = out.gain[..., -self.spec.segments[-1][1] :].mean(-1, keepdim=True)
        return self._clip(spectrum, stage1, top), self._clip(spectrum, stage2, top), change

    def _clip(self, spectrum: Tensor, processed: Tensor, top: Tensor) -> Tensor:
        ahead, frames = self.spec.lookahead_hops, spectrum.shape[1]
        whole = torch.zeros_like(spectrum)
        here = torch.view_as_complex(processed[:, ahead:].contiguous())
        whole[:, : frames - ahead, : self.spec.bins] = here
        whole[:, : frames - ahead, self.spec.bins :] = (
            top[:, ahead:] * spectrum[:, : frames - ahead, self.spec.bins :]
        )
        return self.stft.inverse(whole)


FIELDS = (
    "in_worn", "stage1", "gain1", "in_clean", "stage1_clean", "stage2", "gain2", "added2", "change_db", "level_db",
    "lost_db", "lsd_in", "lsd1", "lsd2", "segsnr_in", "segsnr2",
)  # fmt: skip
"""Columns, all in dB, means over clips: SI-SDR of input and stage 1 against worn, and the gain; of input, stage 1 and stage 2
against clean, and stage 2's gain over the input and over stage 1; how much stage 2 changes stage 1's output; level change
of stage 2's output against clean; energy lost where the worn signal dominates; log-spectral distances and segmental SNR."""


def score(net: Dualstep, items: list[Item]) -> dict[str, dict[str, float]]:
    """Scores a network in evaluation mode: per kind, a value per field of `FIELDS`."""
    synthesis = Synthesis(net.spec, items[0].noisy.device)
    cut = (net.spec.lookahead_hops + 1) * synthesis.stft.hop
    table = {}
    for item in items:
        first, second, change = synthesis(net, item.noisy)
        size = first.shape[-1] - cut
        noisy, worn, clean, first, second = (
            clip[..., :size] for clip in (item.noisy, item.worn, item.clean, first, second)
        )
        row = {
            "in_worn": metrics.si_sdr(noisy, worn),
            "stage1": metrics.si_sdr(first, worn),
            "in_clean": metrics.si_sdr(noisy, clean),
            "stage1_clean": metrics.si_sdr(first, clean),
            "stage2": metrics.si_sdr(second, clean),
            "level_db": metrics.level_change(second, clean),
            "lost_db": metrics.over_suppression(first, worn, noisy),
            "lsd_in": metrics.log_spectral_distance(noisy, clean),
            "lsd1": metrics.log_spectral_distance(first, clean),
            "lsd2": metrics.log_spectral_distance(second, clean),
            "segsnr_in": metrics.segmental_snr(noisy, clean),
            "segsnr2": metrics.segmental_snr(second, clean),
        }
        values = {k: float(v.mean()) for k, v in row.items()}
        values["gain1"] = values["stage1"] - values["in_worn"]
        values["gain2"] = values["stage2"] - values["in_clean"]
        values["added2"] = values["stage2"] - values["stage1_clean"]
        values["change_db"] = change
        table[item.kind] = {field: values[field] for field in FIELDS}
    return table


def summary(table: dict[str, dict[str, float]]) -> dict[str, float]:
    """A few means that say how a run fares."""

    def mean(kinds: tuple[str, ...], field: str) -> float:
        found = [table[k][field] for k in kinds if k in table]
        return sum(found) / len(found) if found else float("nan")

    return {
        "gain1": mean(NOISE, "gain1"),
        "gain2": mean(NOISE, "gain2"),
        "added2_wear": mean(WEAR, "added2"),
        "clean_in": mean(UNTOUCHED, "stage2"),
        "clean_in1": mean(UNTOUCHED, "stage1"),
        "change_db": mean(KINDS, "change_db"),
        "lost_db": mean(NOISE, "lost_db"),
    }


def append(path: Path, step: int, hours: float, table: dict[str, dict[str, float]]) -> None:
    """Appends one validation pass to a CSV, a row per kind."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(("step", "hours", "kind", *FIELDS))
        for kind, row in table.items():
            writer.writerow((step, f"{hours:.4f}", kind, *(f"{row[f]:.3f}" for f in FIELDS)))


def markdown(table: dict[str, dict[str, float]]) -> str:
    """The table as Markdown: what the model card shows."""
    shown = ("in_worn", "stage1", "gain1", "in_clean", "stage1_clean", "stage2", "gain2", "added2", "change_db", "lost_db")
    lines = ["| kind | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for kind, row in table.items():
        lines.append(f"| {kind} | " + " | ".join(f"{row[f]:.1f}" for f in shown) + " |")
    return "\n".join(lines)
