"""What the click detector's batches hold beyond our degradation: pops, digital clicks, and hits that neither must be taken for.

Pops are clicks as recorded discs have them. The clicks of `defects` begin at once and ring. Those of real discs swing to both sides before they are over, or
rustle, and begin less suddenly: before the batches held any, one in three of real records' clicks of more than 2.5 ms was given less than 0.65, however far
it stood out.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage
import scipy.signal

from . import degrade
from .data import Cache

INTACT, DESTROYED, IGNORED = 0, 1, 2
"""Labels."""

RECORDED_SHARE = 0.5
"""Pops that are cut from the recorded discs of the cache; the rest are drawn."""

AROUND = 480
"""Samples on either side of a click that the level around it is taken over."""

HEIGHT_DB = (6.0, 45.0)
"""Peak of a pop over that level."""

DRAWN_MS = (0.3, 5.5)
"""Length of those that are drawn."""

SHORTEST, LONGEST = 6, 600
"""Samples of a pop. What is shorter is a digital click."""

UNDER = 0.03
"""Share of its peak from which on a pop's sample is destroyed. What is less is a matter of opinion, and not scored."""

OUTLIER = 20.0
"""What is so many times above the background of a recorded disc (over 1 kHz) is cut out as a click."""

DIGITAL_DB = (15.0, 60.0)
"""Height of a digital click over the RMS of the second difference around it."""

HIT_DECAY_S = (4e-3, 0.15)
"""Time constant of hits."""

HIT_OVER_DB = (10.0, 70.0)
"""Their peak over that of what they come out of."""

STICK_SHARE = 0.4
"""Hits as of sticks on a rim or on wood: over within a few milliseconds, as pops are, but they build up and swing more often."""

STICK_DECAY_S = (1e-3, 4e-3)
STICK_RISE_S = (0.3e-3, 1.2e-3)
"""Their time constant, and how long they build up."""

STICK_TURNS = 2.5
"""Least number of swings within the time constant."""


def cut_pops(disc: np.ndarray) -> list[np.ndarray]:
    """The clicks of a recorded disc, `disc [samples]` at 48 kHz: float32 `[samples]` of peak 1 each, as far as they rise above its background."""
    audio = scipy.signal.sosfiltfilt(scipy.signal.butter(2, 80, "high", output="sos", fs=degrade.RATE_HZ), disc)
    high = np.abs(scipy.signal.sosfilt(scipy.signal.butter(2, 1000, "high", output="sos", fs=degrade.RATE_HZ), audio))
    before, after = 60, 480  # samples around where it first stands out
    pops, free = [], before
    for at in np.flatnonzero(high > OUTLIER * (np.median(high) / 0.6745 + 1e-9)):
        if at < free or at + after > len(audio):
            continue
        free = at + after + before
        piece = audio[at - before : at + after]
        height, around = np.abs(piece), scipy.ndimage.uniform_filter1d(np.abs(piece), 24)
        top = int(height.argmax())
        quiet = np.flatnonzero(around < max(0.02 * height[top], 3 * np.median(np.abs(audio))))
        first, last = quiet[quiet < top][-1:], quiet[quiet > top][:1]
        if len(first) and len(last) and last[0] - first[0] >= SHORTEST:
            pops.append(faded(piece[first[0] : last[0]] / height[top]))
    return pops


def recorded_pops(cache: Cache) -> list[np.ndarray]:
    """Those of all recorded discs of a split."""
    return [pop for item in cache.items if item.kind == "noise-disc" for pop in cut_pops(cache.read(item))]


def drawn_pop(rng: np.random.Generator) -> np.ndarray:
    """One that no disc had: a swing whose pitch falls, or a rustle, under an envelope that takes its time to rise. float32 `[samples]` of peak 1."""
    samples = int(np.exp(rng.uniform(*np.log(DRAWN_MS))) * 1e-3 * degrade.RATE_HZ)
    time = np.arange(samples) / samples
    rise = rng.uniform(0.02, 0.5)
    envelope = np.minimum(time / rise, 1) * np.exp(-rng.uniform(1, 5) * np.maximum(time - rise, 0))
    if rng.random() < 0.6:
        turns = rng.uniform(0.7, 2.2)
        pop = np.sin(2 * np.pi * turns * time ** rng.uniform(0.5, 1.1) + rng.uniform(0, 2 * np.pi))
        pop += rng.uniform(0, 0.2) * rng.standard_normal(samples)
    else:
        pop = rng.standard_normal(samples)
    corner_hz = np.exp(rng.uniform(*np.log((1500, 16_000))))
    pop = scipy.signal.sosfilt(scipy.signal.butter(2, corner_hz, output="sos", fs=degrade.RATE_HZ), np.append(pop * envelope, np.zeros(16)))
    return faded(pop / max(np.abs(pop).max(), 1e-6))


def faded(pop: np.ndarray) -> np.ndarray:
    """With its ends drawn to zero, float32."""
    fade = np.minimum(np.minimum(np.arange(1, len(pop) + 1), np.arange(len(pop), 0, -1)) / min(6, len(pop) // 2 + 1), 1)
    return (pop * fade).astype(np.float32)


def add_pops(rng: np.random.Generator, audio: np.ndarray, labels: np.ndarray, cut: list[np.ndarray], recorded: float = RECORDED_SHARE) -> None:
    """Adds a few pops to `audio [samples]` at 48 kHz in place and marks them, the share `recorded` from `cut`, those of recorded discs."""
    before = audio.copy()
    for start in rng.integers(0, len(audio) - LONGEST, int(rng.integers(1, 7))):
        if cut and rng.random() < recorded:
            pop = cut[rng.integers(len(cut))]
            # Played slower or faster, as a disc is, but none of it is cut off.
            speed = max(float(np.exp(rng.uniform(-0.5, 0.5))), len(pop) / LONGEST)
            pop = np.interp(np.arange(0, len(pop) - 1, speed), np.arange(len(pop)), pop).astype(np.float32)
        else:
            pop = drawn_pop(rng)
        around = before[max(start - AROUND, 0) : start + AROUND]
        height = max(float(np.sqrt(np.mean(around**2))), 1e-4) * 10 ** (rng.uniform(*HEIGHT_DB) / 20)
        place = slice(start, start + len(pop))
        audio[place] += rng.choice([-1, 1]) * height * pop
        labels[place] = np.where(labels[place] == INTACT, IGNORED, labels[place])
        loud = np.flatnonzero(np.abs(pop) > UNDER)
        labels[start + loud[0] : start + loud[-1] + 1] = DESTROYED


def add_hits(rng: np.random.Generator, audio: np.ndarray, labels: np.ndarray) -> None:
    """Lowers `audio [samples]` at 48 kHz in place and puts a few drawn hits over it, which are intact, and so is what they cover."""
    peak = float(np.abs(audio).max()) + 1e-5
    audio *= 10 ** (-rng.uniform(*HIT_OVER_DB) / 20)
    for start in rng.integers(0, len(audio) - 960, int(rng.integers(1, 8))):
        hit = drawn_stick(rng) if rng.random() < STICK_SHARE else drawn_hit(rng)
        hit = hit[: len(audio) - start]
        audio[start : start + len(hit)] += peak * rng.uniform(0.1, 1) * hit
        labels[start : start + len(hit)] = INTACT


def drawn_hit(rng: np.random.Generator) -> np.ndarray:
    """A tone that falls, a rustle, or both, float32 `[samples]` of peak 1."""
    decay_s = np.exp(rng.uniform(*np.log(HIT_DECAY_S)))
    time = np.arange(int(6 * decay_s * degrade.RATE_HZ)) / degrade.RATE_HZ
    tone_hz = np.exp(rng.uniform(*np.log((60, 5000)))) * (1 + rng.uniform(0, 1) * np.exp(-time / 0.01))
    tone = np.sin(2 * np.pi * np.cumsum(tone_hz) / degrade.RATE_HZ + rng.uniform(0, 6))
    rustle = rng.standard_normal(len(time)) / 3
    if rng.random() < 0.6:
        corner_hz = np.exp(rng.uniform(*np.log((1000, 12_000))))
        rustle = scipy.signal.sosfilt(scipy.signal.butter(2, corner_hz, str(rng.choice(["low", "high"])), output="sos", fs=degrade.RATE_HZ), rustle)
    share = rng.choice([0.0, 1.0, rng.random()])
    return of_peak_1(np.exp(-time / decay_s) * np.minimum(time / rng.uniform(1e-5, 1e-3), 1) * (share * tone + (1 - share) * rustle))


def drawn_stick(rng: np.random.Generator) -> np.ndarray:
    """A short hit, see `STICK_SHARE`, float32 `[samples]` of peak 1."""
    decay_s = np.exp(rng.uniform(*np.log(STICK_DECAY_S)))
    time = np.arange(int(6 * decay_s * degrade.RATE_HZ)) / degrade.RATE_HZ
    tones_hz = np.exp(rng.uniform(*np.log((STICK_TURNS / decay_s, 6000)), (int(rng.integers(1, 4)), 1)))
    tones = rng.uniform(0.2, 1, tones_hz.shape) * np.sin(2 * np.pi * tones_hz * time + rng.uniform(0, 6, tones_hz.shape))
    swing = tones.sum(0) + rng.uniform(0, 0.3) * rng.standard_normal(len(time))
    return of_peak_1(np.exp(-time / decay_s) * np.minimum(time / rng.uniform(*STICK_RISE_S), 1) * swing)


def of_peak_1(hit: np.ndarray) -> np.ndarray:
    """The same with its peak at 1, float32."""
    return (hit / max(np.abs(hit).max(), 1e-6)).astype(np.float32)


def add_digital_clicks(rng: np.random.Generator, audio: np.ndarray, labels: np.ndarray) -> None:
    """Adds a few clicks of 1-8 samples to `audio [samples]` in place and marks them.

    They stand `DIGITAL_DB` over what is around them after two differentiations, where music is faint and such a click isn't.
    """
    bend = np.diff(audio.astype(np.float64), 2, prepend=0, append=0)
    peak = float(np.abs(audio).max()) + 1e-5
    for start in rng.integers(0, len(audio) - 8, int(rng.integers(1, 12))):
        length = int(rng.integers(1, 9))
        shape = rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.0, length) * rng.choice([1.0, -1.0]) ** np.arange(length)
        around = bend[max(start - AROUND, 0) : start + AROUND]
        # The second difference of a single sample of height 1 peaks at 2.
        height = np.sqrt(np.mean(around**2)) * 10 ** (rng.uniform(*DIGITAL_DB) / 20) / 2
        audio[start : start + length] += (np.clip(height, 1e-3 * peak, 3 * peak) * shape).astype(np.float32)
        labels[start : start + length] = DESTROYED
