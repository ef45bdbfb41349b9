"""The test set: degraded recordings from the test split of the cache, as files that any program can be run on.

    set.json                  what every clip is
    noisy/KIND/NN.flac        the input
    worn/KIND/NN.flac         without noise: what stage 1 alone can reach
    clean/KIND/NN.flac        neither noise nor wear: what everything is scored against

48 kHz, mono, 24 bit. The first `LEAD_S` of each clip isn't scored: running estimates of noise and level settle there.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
import torch

from ..data import Cache, replace_json
from ..degrade import FIXED_KINDS, Batch, Recipe, _disc_mix, fixed_recipe, render_fixed
from ..screening import RATE_HZ

LEAD_S = 1.0
TAIL_S = 0.1
"""Not scored at the end: the look-ahead of a network run outside the plugin doesn't reach there."""

VERSION = 1
"""Part of the seed: raise it when the set shall change."""

SYNTHETIC = ("hiss", "crackle", "clicks", "thumps", "hum", "mixed-music", "mixed-speech", "band-limited")
EVERYDAY = ("everyday-stationary", "everyday-nonstationary")
DISC = "recorded-disc"
NOISE = (*SYNTHETIC, DISC, *EVERYDAY)
UNTOUCHED = ("clean-music", "clean-speech", "drums")
WEAR = ("saturation", "clipping", "dull", "narrow", "dropouts")
WORN_AND_NOISY = tuple(f"{wear}+noise" for wear in WEAR)
KINDS = (*SYNTHETIC, *EVERYDAY, *UNTOUCHED, *WEAR, *WORN_AND_NOISY, DISC)
"""A kind's place is part of its seed: new ones come last."""

SPEECH = ("mixed-speech", *EVERYDAY)
"""Kinds that are all speech, for PESQ and STOI."""

STATIONARY_DB = 3.0
"""Noise is stationary if its octave bands' levels, over 100 ms, vary by less than this (standard deviation, dB, weighted by power)."""


@dataclass(frozen=True)
class Clip:
    """One recording of the set."""

    kind: str
    number: int
    #: Class of the clean excerpt: music, speech or drums.
    item: str
    #: Kinds of wear and defects in it.
    damage: list[str]

    @property
    def name(self) -> str:
        """Path without ending, under each folder of the set."""
        return f"{self.kind}/{self.number:02}"


@dataclass(frozen=True)
class TestSet:
    """A set on disk."""

    #: pytest takes every class called Test... for tests.
    __test__ = False

    folder: Path
    clips: list[Clip]
    seconds: float
    #: Changes with every sample of the set: scores of another set are of no use.
    fingerprint: str

    def read(self, part: str, clips: list[Clip] | None = None) -> list[np.ndarray]:
        """Clips of `noisy`, `worn` or `clean`, float32 `[samples]` each."""
        return [soundfile.read(self.folder / part / f"{clip.name}.flac", dtype="float32")[0] for clip in clips or self.clips]

    @classmethod
    def load(cls, folder: Path, first: int | None = None) -> TestSet:
        """Reads `set.json`; with `first`, only that many clips of each kind.

        Raises:
            FileNotFoundError: there is no set in this folder.
        """
        path = folder / "set.json"
        if not path.exists():
            raise FileNotFoundError(f"no set.json in {folder}; write the test set with `python -m dualstep_training.evaluate set --out {folder.parent}`")
        content = json.loads(path.read_text())
        clips = [Clip(**clip) for clip in content["clips"] if first is None or clip["number"] < first]
        return cls(folder, clips, content["seconds"], content["fingerprint"])


def nonstationarity_db(noise: np.ndarray) -> float:
    """How much a noise's octave bands vary over time, dB (see `STATIONARY_DB`); `[samples]` at 48 kHz."""
    hertz, _, spectrum = scipy.signal.stft(noise, RATE_HZ, nperseg=4800, noverlap=2400, boundary=None)
    power = np.abs(spectrum) ** 2
    spreads, weights = [], []
    for low in 62.5 * 2.0 ** np.arange(8):
        band = power[(hertz >= low) & (hertz < 2 * low)].sum(0) + 1e-16
        spreads.append(float(np.std(10 * np.log10(band))))
        weights.append(float(band.mean()))
    return float(np.average(spreads, weights=weights))


def _recipe(rng: np.random.Generator, kind: str, item: str) -> Recipe:
    if kind in FIXED_KINDS:
        return fixed_recipe(rng, kind, item)
    if kind.startswith("everyday"):
        return fixed_recipe(rng, "everyday-speech", item)
    if kind.startswith("clean"):
        return fixed_recipe(rng, "clean", item)
    if kind == "band-limited":
        recipe = fixed_recipe(rng, "mixed-music", item)
        recipe.band_hz, recipe.band_order = float(rng.uniform(3000, 8000)), float(rng.uniform(4, 20))
        return recipe
    if kind == DISC:
        return Recipe(item, exact_snr=True, peak_db=rng.uniform(-18, -3), noise={"disc": rng.uniform(3, 20)})
    wear = kind.removesuffix("+noise")
    if wear not in WEAR:
        raise ValueError(f"unknown kind {kind!r}, expected one of {', '.join(KINDS)}")
    return Recipe(item, exact_snr=True, peak_db=rng.uniform(-18, -3), wear={wear}, noise=_disc_mix(rng, 8, 25))


def _items(kind: str, count: int) -> list[str]:
    if kind in SPEECH or kind == "clean-speech":
        return ["speech"] * count
    if kind in ("mixed-music", "clean-music"):
        return ["music"] * count
    if kind == "drums":
        return ["drums"] * count
    return [("music", "speech")[index % 2] for index in range(count)]


def _draw(cache: Cache, kind: str, count: int, seconds: float, seed: int) -> Batch:
    rng = np.random.default_rng([seed, VERSION, KINDS.index(kind)])
    return render_fixed(cache, rng, [_recipe(rng, kind, item) for item in _items(kind, count)], seconds, seed)


def draw(cache: Cache, kind: str, count: int, seconds: float, seed: int) -> list[tuple[Clip, dict[str, np.ndarray]]]:
    """Clips of one kind with their `noisy`, `worn` and `clean` samples, float32 `[samples]`.

    Everyday noise is drawn until there is enough of the wanted steadiness.

    Raises:
        ValueError: unknown kind, no recorded disc in the cache, or its noise is all of the other steadiness.
    """
    if kind == DISC and "disc" not in cache.noise_kinds():
        raise ValueError(f"no recorded disc in the {cache.split} split for {DISC}; build the cache with --noise FOLDER, which holds some in disc/")
    found: list[tuple[Clip, dict[str, np.ndarray]]] = []
    for attempt in range(12):
        batch = _draw(cache, kind, count, seconds, seed + 1000 * attempt)
        for row in range(count):
            sounds = {part: getattr(batch, part)[row].numpy() for part in ("noisy", "worn", "clean")}
            if kind.startswith("everyday"):
                steady = nonstationarity_db(sounds["noisy"] - sounds["worn"]) < STATIONARY_DB
                if steady != (kind == "everyday-stationary"):
                    continue
            item = next(name for name in ("music", "speech", "drums") if name in batch.tags[row])
            damage = sorted(batch.tags[row] - {item, "worn", "clean"})
            found.append((Clip(kind, len(found), item, damage), sounds))
            if len(found) == count:
                return found
    raise ValueError(f"only {len(found)} of {count} clips of {kind} in {12 * count} draws; give the cache more recorded noise")


def write(cache: Cache, folder: Path, count: int, seconds: float, seed: int, kinds: tuple[str, ...] = KINDS) -> TestSet:
    """Draws and writes a set of `count` clips of `seconds` (plus `LEAD_S` and `TAIL_S`) per kind."""
    from tqdm import tqdm

    # With more threads sums are rounded differently from one call to the next, and every bit counts for the fingerprint.
    torch.set_num_threads(1)
    # A set that is cut off on its way must not pass for the one before: without its index there is none.
    (folder / "set.json").unlink(missing_ok=True)
    digest = hashlib.sha256()
    clips = []
    for kind in tqdm(kinds, desc="test set", unit="kind"):
        for clip, sounds in draw(cache, kind, count, LEAD_S + seconds + TAIL_S, seed):
            clips.append(clip)
            for part, samples in sounds.items():
                path = folder / part / f"{clip.name}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, samples, RATE_HZ, subtype="PCM_24")
                digest.update(np.round(samples * 2**23).astype(np.int32).tobytes())
    content = {"version": VERSION, "seed": seed, "rate_hz": RATE_HZ, "seconds": seconds, "fingerprint": digest.hexdigest()[:16],
               "clips": [asdict(clip) for clip in clips]}
    replace_json(folder / "set.json", content)
    return TestSet.load(folder)
