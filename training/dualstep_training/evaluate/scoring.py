"""Scores of one system's clips, kept as JSON: `OUT/scores/SYSTEM.json`."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
import torch

from .. import metrics
from ..screening import RATE_HZ
from .stimuli import LEAD_S, SPEECH, TAIL_S, Clip, TestSet
from .systems import System, slug

Scores = dict[str, float | None]
"""One clip's measures. None: can't be measured (a metric that isn't installed, no speech, no onset)."""


def _perceptual(estimate: np.ndarray, reference: np.ndarray) -> Scores:
    """Wide-band PESQ (ITU-T P.862.2) and STOI (Taal et al. 2011), both at 16 kHz."""
    low, target = (scipy.signal.resample_poly(samples, 1, RATE_HZ // 16_000) for samples in (estimate, reference))
    found: Scores = {"pesq": None, "stoi": None}
    try:
        import pesq

        found["pesq"] = float(pesq.pesq(16_000, target, low, "wb", on_error=pesq.PesqError.RETURN_VALUES))
        if found["pesq"] < 0:  # no speech was found
            found["pesq"] = None
    except ModuleNotFoundError:
        pass
    try:
        import pystoi

        found["stoi"] = float(pystoi.stoi(target, low, 16_000))
    except ModuleNotFoundError:
        pass
    return found


def score_clip(clip: Clip, estimate: np.ndarray, noisy: np.ndarray, worn: np.ndarray, clean: np.ndarray, companion: np.ndarray | None) -> Scores:
    """All measures of one clip, whose sounds are float32 `[samples]` of equal length; lead and tail must be cut off already."""
    y, x, w, c = (torch.from_numpy(np.ascontiguousarray(sound))[None] for sound in (estimate, noisy, worn, clean))
    found: Scores = {
        "si_sdr": metrics.si_sdr(y, c).item(),
        "si_sdr_worn": metrics.si_sdr(y, w).item(),
        "snr": metrics.snr(y, c).item(),
        "segmental_snr": metrics.segmental_snr(y, c).item(),
        "lsd": metrics.log_spectral_distance(y, c).item(),
        "energy_lost": metrics.energy_lost(y, w, x).item(),
        "level_db": metrics.level_change(y, c).item(),
    }
    if clip.kind in SPEECH:
        found |= _perceptual(estimate, clean)
    if clip.kind == "drums":
        onsets = metrics.onset_changes(y[0], c[0])
        found["onset_mean_db"] = onsets.mean().item() if len(onsets) else None
        found["onset_lowest_db"] = onsets.min().item() if len(onsets) else None
    if companion is not None:
        other = torch.from_numpy(np.ascontiguousarray(companion))
        found["change_db"] = 10 * math.log10((float((y[0] - other).double().square().sum()) + 1e-12) / (float(other.double().square().sum()) + 1e-12))
    return found


def trimmed(samples: np.ndarray) -> np.ndarray:
    """What is scored of a clip."""
    return samples[int(LEAD_S * RATE_HZ) : len(samples) - int(TAIL_S * RATE_HZ)]


def score(test: TestSet, system: System, clips: list[Clip], folder: Path) -> dict[str, Scores]:
    """Scores every clip of a system; the companion's clips must lie beside it if it has one."""
    from tqdm import tqdm

    table = {}
    for clip in tqdm(clips, desc=f"{system.name}: scores", unit="clip"):
        noisy, worn, clean = (trimmed(test.read(part, [clip])[0]) for part in ("noisy", "worn", "clean"))
        estimate, other = (
            None if name is None else trimmed(soundfile.read(folder.with_name(slug(name)) / f"{clip.name}.wav", dtype="float32")[0])
            for name in (system.name, system.companion)
        )
        table[clip.name] = score_clip(clip, estimate, noisy, worn, clean, other)
    return table


def path_of(out: Path, name: str) -> Path:
    """Where a system's scores are kept."""
    return out / "scores" / f"{slug(name)}.json"


def save(out: Path, test: TestSet, system: System, table: dict[str, Scores], notes: dict[str, object], version: str = "") -> None:
    """Writes a system's scores; a reader sees the old file or the new one. `version`: the system's when it restored the clips."""
    path = path_of(out, system.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    content = {"system": system.name, "group": system.group, "set": test.fingerprint, "version": version, "notes": notes, "clips": table}
    part.write_text(json.dumps(content, indent=1))
    os.replace(part, path)


def load(out: Path, test: TestSet, name: str) -> dict | None:
    """A system's scores, or None if there are none of this very set."""
    path = path_of(out, name)
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    return content if content["set"] == test.fingerprint else None


def is_complete(out: Path, test: TestSet, system: System) -> bool:
    """Whether every clip that the system is run on has its scores, be they of an earlier version."""
    content = load(out, test, system.name)
    return content is not None and all(clip.name in content["clips"] for clip in system.wanted(test))


def is_current(out: Path, test: TestSet, system: System, version: str) -> bool:
    """Whether nothing is left to score: all is there, and of this very version. Scores from before versions were noted may be of any."""
    return is_complete(out, test, system) and load(out, test, system.name).get("version", "") == version
