"""Everyday noise as batches get it: a recording of something that goes on, and beside a voice also what happens in it and who else talks.

Recordings of noise last an hour or two in all, and a network learns them by heart: on noise that it hasn't met it gained 3 dB where it gained 7 on
what it had. Scenes put together anew for each clip are many more. Music gets none of the events and voices: there they would be part of it.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.signal

from . import augment, defects
from .data import Cache
from .screening import RATE_HZ

#: Folders of recorded noise that go on by themselves, with their weights in fixed sets and in training.
RECORDED = {"everyday": 0.62, "world": 0.18, "machine": 0.13, "static": 0.07}
IN_TRAINING = {"everyday": 0.86, "world": 0.06, "machine": 0.06, "static": 0.02}

#: Shares of clips beside a voice in which something happens, and in which others talk. The rest is a recording alone.
EVENTS_SHARE = 0.35
BABBLE_SHARE = 0.12

#: How far the recording lies under the events or the voices, dB.
BED_UNDER_DB = (-3.0, 30.0)

#: Share of what goes on beside a voice that is synthetic.
TEXTURE_SHARE = 0.3

#: Synthetic textures: how many sources, frames per second, time constants of their loudness, s, and its spread, dB.
TEXTURE_SOURCES = (1, 6)
TEXTURE_FRAMES = 100
TEXTURE_S = (0.02, 3.0)
TEXTURE_SPREAD_DB = (2.0, 12.0)

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
    """Noise for training beside an excerpt of the class `beside`: at another speed, with another tone, in a scene. float32 `[samples]`"""
    if beside == "speech" and rng.random() < TEXTURE_SHARE:
        noise = texture(rng, samples)
    else:
        noise = _varied_recording(rng, cache, samples)
    draw = rng.random()
    if beside != "speech" or draw >= EVENTS_SHARE + BABBLE_SHARE:
        return noise
    if draw >= EVENTS_SHARE:
        top = babble(rng, cache, samples)
    elif "events" in cache.noise_kinds():
        top = events(rng, cache, samples)
    else:
        return noise
    if rng.random() < ROOM_SHARE:
        top = augment.coloured(rng, top, True, False)
    return _scaled(top) + _scaled(noise) * np.float32(10 ** (-rng.uniform(*BED_UNDER_DB) / 20))


def _varied_recording(rng: np.random.Generator, cache: Cache, samples: int) -> np.ndarray:
    stretch = SPEED ** rng.uniform(-1, 1) if rng.random() < 0.5 else 1.0
    return augment.noise(rng, _played(recorded(rng, cache, int(samples * stretch), IN_TRAINING), samples))


def texture(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Noise of no recording: some sources, each a spectrum of its own whose loudness wanders or goes on and off. float32 `[samples]`, RMS 1

    Recordings are few, and a network that knows them all takes what it doesn't know for voice. Such noise is the generative model behind
    non-negative matrix factorisation (Fevotte, Bertin & Durrieu 2009): Gaussian, with a power that is a sum of spectra times activations.
    """
    hop = RATE_HZ // TEXTURE_FRAMES
    frames = samples // hop + 2
    hertz = np.linspace(0, RATE_HZ / 2, hop + 1)
    power = sum(np.outer(_activation(rng, frames), _spectrum(rng, hertz)) for _ in range(int(rng.integers(*TEXTURE_SOURCES))))
    gaussian = rng.standard_normal((frames, hop + 1, 2), dtype=np.float32).view(np.complex64)[..., 0]
    pieces = scipy.fft.irfft(gaussian * np.sqrt(power).astype(np.float32), 2 * hop) * np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)).astype(np.float32)
    audio = pieces[1:, :hop] + pieces[:-1, hop:]
    return _scaled(audio.reshape(-1)[:samples])


def _spectrum(rng: np.random.Generator, hertz: np.ndarray) -> np.ndarray:
    """A power spectrum: a slope, a random curve, up to three resonances and now and then a band's end. `[frequency]` -> `[frequency]`"""
    octave = np.log2(np.maximum(hertz, 20.0) / 1000)
    level_db = rng.uniform(-9, 3) * octave + defects.random_curve_db(rng, hertz, rng.uniform(2, 8))
    for _ in range(int(rng.integers(0, 4))):
        level_db += rng.uniform(5, 30) * np.exp(-(((octave - rng.uniform(-3.5, 3)) / rng.uniform(0.02, 0.5)) ** 2))
    if rng.random() < 0.3:
        level_db -= 10 * np.log10(1 + (hertz / np.exp(rng.uniform(np.log(300), np.log(10_000)))) ** (2 * rng.integers(1, 5)))
    power = 10 ** (level_db / 10)
    return power / power.mean()


def _activation(rng: np.random.Generator, frames: int) -> np.ndarray:
    """The power of a source over time, `[frame]`: a logarithm that wanders, in half of the sources switched on and off, each onset ringing out."""
    keep = np.exp(-1 / (TEXTURE_FRAMES * np.exp(rng.uniform(*np.log(TEXTURE_S)))))
    steps = rng.standard_normal(frames) * np.sqrt(1 - keep**2)
    steps[0] /= np.sqrt(1 - keep**2)
    level_db = scipy.signal.lfilter([1], [1, -keep], steps) * rng.uniform(*TEXTURE_SPREAD_DB) + rng.uniform(-15, 0)
    if rng.random() < 0.5:
        lengths = rng.exponential(np.exp(rng.uniform(np.log(3), np.log(100), 2)), (frames, 2)) + 1
        edges = np.cumsum(lengths.reshape(-1))
        since = np.arange(frames)[:, None] - np.concatenate(([0], edges))[None, : 2 * frames + 1]
        last = (since >= 0).sum(1) - 1
        age = since[np.arange(frames), last]
        on = last % 2 == int(rng.integers(2))
        level_db = level_db - np.where(on, 0, np.minimum(age * np.exp(rng.uniform(np.log(0.3), np.log(20))), 60))
    return 10 ** (level_db / 10)


def events(rng: np.random.Generator, cache: Cache, samples: int) -> np.ndarray:
    """Things that happen: some recordings of sounds that end, each heard now and then at its own speed and level. float32 `[samples]`"""
    choice = [cache.sample_recording(rng, "noise-events", EVENT_S) for _ in range(int(rng.integers(1, EVENT_RECORDINGS + 1)))]
    scene = np.zeros(samples, dtype=np.float32)
    rate = np.exp(rng.uniform(*np.log(EVENTS_PER_S)))
    for _ in range(max(1, int(rng.poisson(rate * samples / RATE_HZ)))):
        sound = _scaled(choice[int(rng.integers(len(choice)))])
        speed = SPEED ** rng.uniform(-1, 1)
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
