"""Everyday noise as batches get it: a recording of something that goes on, and beside a voice also what happens in it and who else talks.

Recordings of noise last an hour or two in all, and a network learns them by heart: on noise that it hasn't met it gained 3 dB where it gained 7 on
what it had. Scenes put together anew for each clip are many more. Music gets none of the events and voices: there they would be part of it.
"""

from __future__ import annotations

import numpy as np

from . import augment
from .data import Cache
from .screening import RATE_HZ

#: Folders of recorded noise that go on by themselves, with their weights in fixed sets and in training.
RECORDED = {"everyday": 0.62, "world": 0.18, "machine": 0.13, "static": 0.07}
IN_TRAINING = {"everyday": 0.86, "world": 0.06, "machine": 0.06, "static": 0.02}

#: Shares of clips in which something happens, and in which others talk, by what they are beside. The rest is a recording alone, beside anything else all are.
SPEECH_ALONE = "speech alone"
SCENES = {"speech": (0.35, 0.12), SPEECH_ALONE: (0.5, 0.08)}

#: How far the recording lies under the events or the voices, dB.
BED_UNDER_DB = (-3.0, 30.0)

#: Events per second, from how many recordings at most, and the length to which one is cut, s.
EVENTS_PER_S = (0.4, 5.0)
EVENT_RECORDINGS = 3
EVENT_S = 4.0

#: Voices of a babble: fewer than three are talk that one could want to keep.
VOICES = (3, 9)

#: Share of events and voices that are put into a room.
ROOM_SHARE = 0.4

#: By how much a recording is played faster or slower at most, as a factor.
SPEED = 1.25
#: The same for things that happen: half as fast again, a cup is another cup.
EVENT_SPEED = 1.7


def kinds(cache: Cache) -> list[str]:
    """The kinds of recorded noise in a cache that go on by themselves."""
    return [kind for kind in RECORDED if kind in cache.noise_kinds()]


def recorded(rng: np.random.Generator, cache: Cache, samples: int, weights_of: dict[str, float] = RECORDED) -> np.ndarray:
    """A recording as it is, float32 `[samples]`. It is read straight from the cache: there is enough of it to need no pool."""
    present = kinds(cache)
    weights = np.array([weights_of[kind] for kind in present])
    kind = present[int(rng.choice(len(present), p=weights / weights.sum()))]
    return cache.sample_noise(rng, 1, samples / RATE_HZ, kind)[0][:samples]


def varied(rng: np.random.Generator, cache: Cache, samples: int, beside: str) -> np.ndarray:
    """Noise for training beside an excerpt of the class `beside`, or beside `SPEECH_ALONE`: at another speed, with another tone, in a scene.
    float32 `[samples]`"""
    stretch = SPEED ** rng.uniform(-1, 1) if rng.random() < 0.5 else 1.0
    noise = augment.noise(rng, _played(recorded(rng, cache, int(samples * stretch), IN_TRAINING), samples))
    draw = rng.random()
    happening, talking = SCENES.get(beside, (0.0, 0.0))
    if draw >= happening + talking:
        return noise
    if draw >= happening:
        top = babble(rng, cache, samples)
    elif "events" in cache.noise_kinds():
        top = events(rng, cache, samples)
    else:
        return noise
    if rng.random() < ROOM_SHARE:
        top = augment.coloured(rng, top, True, False)
    return _scaled(top) + _scaled(noise) * np.float32(10 ** (-rng.uniform(*BED_UNDER_DB) / 20))


def events(rng: np.random.Generator, cache: Cache, samples: int) -> np.ndarray:
    """Things that happen: some recordings of sounds that end, each heard now and then at its own speed and level. float32 `[samples]`"""
    choice = [cache.sample_recording(rng, "noise-events", EVENT_S) for _ in range(int(rng.integers(1, EVENT_RECORDINGS + 1)))]
    scene = np.zeros(samples, dtype=np.float32)
    rate = np.exp(rng.uniform(*np.log(EVENTS_PER_S)))
    for _ in range(max(1, int(rng.poisson(rate * samples / RATE_HZ)))):
        sound = _scaled(choice[int(rng.integers(len(choice)))])
        speed = EVENT_SPEED ** rng.uniform(-1, 1)
        sound = _played(sound, int(len(sound) / speed))
        # It may have begun before the excerpt does.
        at = int(rng.integers(-len(sound) // 2, samples))
        part = sound[max(0, -at) :][: samples - max(0, at)]
        scene[max(0, at) : max(0, at) + len(part)] += part * np.float32(10 ** (rng.uniform(-15, 0) / 20))
    return scene


def babble(rng: np.random.Generator, cache: Cache, samples: int) -> np.ndarray:
    """Several people talking at once, near and far. float32 `[samples]`"""
    count = int(rng.integers(*VOICES))
    voices, _ = cache.sample_clean(rng, count, samples / RATE_HZ, ["speech"] * count)
    gains = 10 ** (rng.uniform(-12, 0, count) / 20)
    return sum(_scaled(voice[:samples]) * np.float32(gain) for voice, gain in zip(voices, gains, strict=True))


def _played(audio: np.ndarray, samples: int) -> np.ndarray:
    """All of `audio` in `samples`. Linear interpolation: what it adds to noise is noise."""
    if len(audio) in (samples, 0) or samples <= 0:
        return audio[:samples]
    at = np.linspace(0, len(audio) - 1, samples, dtype=np.float32)
    return np.interp(at, np.arange(len(audio), dtype=np.float32), audio).astype(np.float32)


def _scaled(audio: np.ndarray) -> np.ndarray:
    """At an RMS of 1; silence stays silence."""
    return audio / np.float32(max(float(np.sqrt(np.mean(np.square(audio)))), 1e-5)) if len(audio) else audio
