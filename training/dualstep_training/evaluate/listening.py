"""A blind listening test as a static page: rating with hidden reference and anchor (after ITU-R BS.1534-3, MUSHRA), then A/B/X.

Sounds lie beside the page under names that say nothing. The page holds no name of a system at all: `key.json` tells afterwards which sound was
which. It needs no server and fetches nothing; results are a file that the listener saves.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from ..screening import RATE_HZ
from .report import LIVE, STUDIO, Results
from .stimuli import LEAD_S, Clip
from .systems import slug

KINDS = ("mixed-music", "mixed-speech", "crackle", "hiss", "everyday-nonstationary", "drums", "dull+noise")
"""One trial each: what a person would bring."""

ANCHOR_HZ = 3500
"""Band of the anchor, as in BS.1534: the reference, dulled."""

MOST_RIVALS = 3


def _best_rivals(results: Results, kind: str) -> list[str]:
    """The programs and baselines that score best on a kind."""
    scored = [(results.mean(name, kind, "si_sdr"), name) for name in results.rivals() if results.values(name, kind, "si_sdr")]
    return [name for _, name in sorted(scored, reverse=True)[:MOST_RIVALS]]


def _sounds(out: Path, results: Results, clip: Clip) -> dict[str, np.ndarray]:
    """Everything a listener compares on one clip: system -> float `[samples]`."""
    clean, noisy = (results.test.read(part, [clip])[0] for part in ("clean", "noisy"))
    sounds = {"reference": clean, "input": noisy, "anchor": scipy.signal.sosfiltfilt(scipy.signal.butter(8, ANCHOR_HZ, fs=RATE_HZ, output="sos"), clean)}
    for name in (STUDIO, LIVE, *_best_rivals(results, clip.kind)):
        path = out / "restored" / slug(name) / f"{clip.name}.wav"
        if path.exists():
            sounds[name] = soundfile.read(path, dtype="float32")[0]
    if clip.kind == "drums":
        del sounds["input"]  # it is the reference
    return sounds


def write(out: Path, results: Results) -> Path:
    """Writes `OUT/listening/` from restored clips: the page, its sounds and `key.json`. Returns the page's path."""
    folder = out / "listening"
    (folder / "sounds").mkdir(parents=True, exist_ok=True)
    for old in (folder / "sounds").iterdir():
        old.unlink()
    trials = []
    for kind in results.present(KINDS):
        clip = next(clip for clip in results.test.clips if clip.kind == kind)
        trial = {"clip": clip.name, "sounds": []}
        for name, samples in _sounds(out, results, clip).items():
            token = hashlib.sha256(f"{results.test.fingerprint} {clip.name} {name}".encode()).hexdigest()[:12]
            file = f"sounds/{token}.flac"
            cut = np.clip(samples[int(LEAD_S * RATE_HZ) :], -1, 1)
            soundfile.write(folder / file, cut, RATE_HZ, subtype="PCM_24")
            trial["sounds"].append({"system": name, "file": file})
        trials.append(trial)
    (folder / "key.json").write_text(json.dumps({"set": results.test.fingerprint, "trials": trials}, indent=1))
    # The page knows the open reference by its place, first; the others come sorted by their meaningless names.
    shown = []
    for trial in trials:
        reference = trial["sounds"][0]["file"]
        shown.append({"reference": reference, "files": sorted(sound["file"] for sound in trial["sounds"])})
    page = (Path(__file__).with_name("listening.html")).read_text().replace("[/* trials */]", json.dumps(shown))
    (folder / "index.html").write_text(page)
    return folder / "index.html"
