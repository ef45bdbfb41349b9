"""More variety from the same recordings: rooms, tone and company. All of it happens to a recording before it is worn and noised, so it is
part of what the stages are to keep.

The clean material is close and dry (studio prompts, game music, rendered scores) and the noise is an hour long; recordings that people bring have
rooms in them, every tone that microphones and desks give, and voices over music.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from .screening import RATE_HZ

#: Share of excerpts that are put into a room, per class; drums and noise stay where they were recorded.
ROOM_SHARE = {"speech": 0.3, "music": 0.12}

#: Share of excerpts, and of recorded noises, whose tone is changed.
TONE_SHARE = 0.35

#: Share of music that gets a voice, of speech that gets music, and the level of the voice over the music, dB.
COMPANY_SHARE = {"music": 0.12, "speech": 0.08}
COMPANY_DB = (-6.0, 20.0)

#: Reverberation time (60 dB) of rooms, s, and energy of the direct sound over the room's, dB: living rooms to halls.
ROOM_S = (0.15, 1.2)
ROOM_RATIO_DB = (-2.0, 16.0)


def room(rng: np.random.Generator) -> np.ndarray:
    """An impulse response after Polack (1988): noise that decays exponentially behind the direct sound, highs faster than lows. `[samples]`"""
    decay_s = float(np.exp(rng.uniform(*np.log(ROOM_S))))
    samples = int(min(decay_s, 0.8) * RATE_HZ)
    seconds = np.arange(samples) / RATE_HZ
    low = rng.standard_normal(samples)
    # A moving mean of a millisecond leaves what is below about 500 Hz, where walls absorb least.
    low = np.convolve(low, np.full(48, 1 / np.sqrt(48)), "same")
    tail = low * 10 ** (-3 * seconds / decay_s) + rng.standard_normal(samples) * 10 ** (-3 * seconds / (decay_s * rng.uniform(0.3, 0.8)))
    tail[: int(rng.uniform(0.002, 0.02) * RATE_HZ)] = 0.0  # the way to the first wall
    tail *= 10 ** (-rng.uniform(*ROOM_RATIO_DB) / 20) / max(float(np.sqrt(np.square(tail).sum())), 1e-9)
    tail[0] = 1.0
    return tail.astype(np.float32)


def tone(rng: np.random.Generator, hertz: np.ndarray) -> np.ndarray:
    """The gain of an equaliser: a tilt and up to three bells, within about 12 dB. `[frequency]` -> `[frequency]`"""
    octave = np.log2(np.maximum(hertz, 20.0) / 1000.0).astype(np.float32)
    level_db = np.clip(octave, -4, 4) * np.float32(rng.uniform(-1.5, 1.5))
    for _ in range(int(rng.integers(0, 4))):
        centre, width = rng.uniform(-3.5, 3.5), rng.uniform(0.3, 1.5)
        level_db += np.float32(rng.uniform(-6, 6)) * np.exp(-(((octave - np.float32(centre)) / np.float32(width)) ** 2))
    return np.exp(level_db * np.float32(np.log(10) / 20))


def coloured(rng: np.random.Generator, audio: np.ndarray, in_room: bool, with_tone: bool) -> np.ndarray:
    """`audio [samples]` in a room, with another tone, or both; its peak stays."""
    impulse = room(rng) if in_room else None
    size = scipy.fft.next_fast_len(len(audio) + (0 if impulse is None else len(impulse)), real=True)
    spectrum = scipy.fft.rfft(audio, size)
    if impulse is not None:
        spectrum *= scipy.fft.rfft(impulse, size)
    if with_tone:
        spectrum *= tone(rng, np.linspace(0, RATE_HZ / 2, size // 2 + 1, dtype=np.float32))
    changed = scipy.fft.irfft(spectrum, size, overwrite_x=True)[: len(audio)]
    peak = np.abs(changed).max()
    return changed * np.float32(np.abs(audio).max() / peak) if peak > 1e-6 else audio


def clean(rng: np.random.Generator, audio: np.ndarray, kinds: list[str]) -> None:
    """Changes some of the excerpts `audio [batch, samples]` of the classes `kinds`, in place."""
    dry = audio.copy() if any(kind in COMPANY_SHARE for kind in kinds) else audio
    for row, kind in enumerate(kinds):
        in_room, with_tone = rng.random() < ROOM_SHARE.get(kind, 0.0), rng.random() < TONE_SHARE
        if in_room or with_tone:
            audio[row] = coloured(rng, audio[row], in_room, with_tone)
        others = [other for other, name in enumerate(kinds) if {name, kind} == {"speech", "music"}]
        if others and rng.random() < COMPANY_SHARE.get(kind, 0.0):
            _mix(rng, audio[row], dry[others[int(rng.integers(len(others)))]], kind)


def _mix(rng: np.random.Generator, audio: np.ndarray, other: np.ndarray, kind: str) -> None:
    """Adds `other` to `audio` in place, the voice `COMPANY_DB` over the music."""
    power, of_other = float(np.square(audio).mean()), float(np.square(other).mean())
    if min(power, of_other) < 1e-9:
        return
    voice_db = rng.uniform(*COMPANY_DB)
    audio += other * np.float32(np.sqrt(power / of_other) * 10 ** ((voice_db if kind == "music" else -voice_db) / 20))
    audio /= max(float(np.abs(audio).max()), 1.0)


def noise(rng: np.random.Generator, audio: np.ndarray) -> np.ndarray:
    """A recorded noise `[samples]`, now and then with another tone."""
    return coloured(rng, audio, False, True) if rng.random() < TONE_SHARE else audio
