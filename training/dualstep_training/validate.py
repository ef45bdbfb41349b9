"""The fixed validation set: what each stage gains, defect by defect, at its own tap; and the speech network, at stage 1's."""

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

    def __call__(self, net: Dualstep, noisy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`noisy [batch, samples]` -> stage 1's and stage 2's clips, aligned with it, and `log10 |Y2 - S1| / |S1|` in dB.

        The last frames that the look-ahead can't reach are silent.
        """
        spectrum = self.stft.forward(noisy)
        with torch.no_grad():
            out = net(self.stft.network(spectrum))
            stage1, stage2 = out.stage1, out.stage2
            energy = (stage1.square().sum(), (stage2 - stage1).square().sum())
            change = 10 * torch.log10((energy[1] + 1e-20) / (energy[0] + 1e-20))
        return self._clip(spectrum, stage1, out.gain), self._clip(spectrum, stage2, out.gain), change

    def speech(self, net: Dualstep, noisy: Tensor) -> Tensor:
        """The same of the speech network: its clip in place of stage 1's."""
        spectrum = self.stft.forward(noisy)
        with torch.no_grad():
            out = net(self.stft.network(spectrum), stages=1, speech=True)
        return self._clip(spectrum, out.stage1, out.gain)

    def _clip(self, spectrum: Tensor, processed: Tensor, gain: Tensor) -> Tensor:
        ahead, frames = self.spec.lookahead_hops, spectrum.shape[1]
        # Above the network's bins: the mean gain of the topmost band.
        top = gain[..., -self.spec.segments[-1][1] :].mean(-1, keepdim=True)
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


def score(net: Dualstep, items: list[Item], speech: bool = False) -> dict[str, dict[str, float]]:
    """Scores a network in evaluation mode: per kind, a value per field of `FIELDS`; or its `speech` network, a value per field of stage 1."""
    synthesis = Synthesis(net.spec, items[0].noisy.device)
    cut = (net.spec.lookahead_hops + 1) * synthesis.stft.hop
    table = {}
    for item in items:
        first, second, change = (synthesis.speech(net, item.noisy), None, None) if speech else synthesis(net, item.noisy)
        size = first.shape[-1] - cut
        noisy, worn, clean, first = (clip[..., :size] for clip in (item.noisy, item.worn, item.clean, first))
        row = {
            "in_worn": metrics.si_sdr(noisy, worn),
            "stage1": metrics.si_sdr(first, worn),
            "in_clean": metrics.si_sdr(noisy, clean),
            "stage1_clean": metrics.si_sdr(first, clean),
            "lost_db": metrics.over_suppression(first, worn, noisy),
            "lsd_in": metrics.log_spectral_distance(noisy, clean),
            "lsd1": metrics.log_spectral_distance(first, clean),
        }
        row["gain1"] = row["stage1"] - row["in_worn"]
        if not speech:
            second = second[..., :size]
            row |= {
                "stage2": metrics.si_sdr(second, clean),
                "level_db": metrics.level_change(second, clean),
                "lsd2": metrics.log_spectral_distance(second, clean),
                "segsnr_in": metrics.segmental_snr(noisy, clean),
                "segsnr2": metrics.segmental_snr(second, clean),
                "change_db": change,
            }
            row["gain2"] = row["stage2"] - row["in_clean"]
            row["added2"] = row["stage2"] - row["stage1_clean"]
        table[item.kind] = {field: float(row[field].mean()) for field in FIELDS if field in row}
    return table


def summary(table: dict[str, dict[str, float]]) -> dict[str, float]:
    """A few means that say how a run fares; of a speech network those that are about stage 1."""

    def mean(kinds: tuple[str, ...], field: str) -> float:
        found = [table[k][field] for k in kinds if k in table]
        return sum(found) / len(found) if found else float("nan")

    means = {
        "gain1": (NOISE, "gain1"),
        "gain2": (NOISE, "gain2"),
        "added2_wear": (WEAR, "added2"),
        "clean_in": (UNTOUCHED, "stage2"),
        "clean_in1": (UNTOUCHED, "stage1"),
        "change_db": (KINDS, "change_db"),
        "lost_db": (NOISE, "lost_db"),
    }
    return {name: mean(kinds, field) for name, (kinds, field) in means.items() if all(field in row for row in table.values())}


def append(path: Path, step: int, hours: float, table: dict[str, dict[str, float]]) -> None:
    """Appends one validation pass to a CSV, a row per kind."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(("step", "hours", "kind", *next(iter(table.values()))))
        for kind, row in table.items():
            writer.writerow((step, f"{hours:.4f}", kind, *(f"{value:.3f}" for value in row.values())))


def markdown(table: dict[str, dict[str, float]]) -> str:
    """The table as Markdown: what the model card shows."""
    shown = ("in_worn", "stage1", "gain1", "in_clean", "stage1_clean", "stage2", "gain2", "added2", "change_db", "lost_db")
    lines = ["| kind | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for kind, row in table.items():
        lines.append(f"| {kind} | " + " | ".join(f"{row[f]:.1f}" for f in shown) + " |")
    return "\n".join(lines)
