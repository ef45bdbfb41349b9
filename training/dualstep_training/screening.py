"""Decoding, trimming and screening of one recording: what comes out is mono, 48 kHz, 16 bit and fit to be a target.

A target must not hold the defects that the networks learn to remove, so tracks that are clipped, silent or audibly noisy
are turned away, with the reason.
"""

from __future__ import annotations

import math
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.signal

RATE_HZ = 48_000

#: Peak that every recording is scaled to before it is stored as 16 bit; -1 dBFS leaves room for nothing to clip.
STORED_PEAK = 0.89

#: Frame of the level statistics, s.
_FRAME_S = 0.02

#: Shortest useful length after trimming, s.
_MIN_SECONDS = {"music": 8.0, "speech": 0.25, "drums": 0.04}

#: Share of samples within 2 % of the peak above which a recording counts as clipped or limited to death.
_CLIPPED_SHARE = 0.004

#: Highest noise floor under the loud parts, dB, for speech: its pauses show it plainly.
_SPEECH_FLOOR_DB = -32.0


#: Music with a steady noise (surf, rain, wind as an effect, a noise pad) is turned away: within 3-9 kHz its quietest twentieth has
#: a spectral flatness over this (Gaussian noise has 0.56, tones under 0.3), a level over this against the loud parts, dB ...
_STEADY_FLATNESS = 0.40
_STEADY_LEVEL_DB = -50.0
#: ... and lies no further than this under the loud parts of the same band, dB.
_STEADY_RANGE_DB = -21.0


class Rejected(Exception):
    """The recording isn't fit to be a target; the message says why."""


class MissingTool(RuntimeError):
    """A program isn't installed, which is no fault of the recording; the message says how to install it."""


@dataclass(frozen=True)
class Screened:
    """A recording ready for the cache."""

    #: int16 `[samples]` at 48 kHz.
    audio: np.ndarray
    source_rate_hz: int
    #: Highest frequency that carries signal, Hz.
    bandwidth_hz: int
    #: Level of the quietest frames under the loudest, dB.
    floor_db: float


def decode(path: Path, raw_rate_hz: int = 16_000) -> tuple[np.ndarray, int]:
    """Reads any source file. Returns mono float32 `[samples]` and its sample rate.

    Raises:
        MissingTool: it needs ffmpeg, and there is none.
    """
    if path.suffix.lower() == ".g722":  # headerless, so libsndfile can't
        command = ["ffmpeg", "-v", "error", "-f", "g722", "-i", str(path), "-f", "f32le", "-ac", "1", "-"]
        try:
            raw = subprocess.run(command, check=True, capture_output=True).stdout
        except FileNotFoundError as error:
            raise MissingTool(f"ffmpeg isn't installed, and {path.name} can't be read without it: `apt-get install ffmpeg`, then run this again") from error
        return np.frombuffer(raw, dtype="<f4"), raw_rate_hz
    import soundfile

    audio, rate_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
    return audio.mean(axis=1), rate_hz


def to_rate(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Polyphase resampling to 48 kHz."""
    if rate_hz == RATE_HZ:
        return audio
    common = math.gcd(rate_hz, RATE_HZ)
    return scipy.signal.resample_poly(audio, RATE_HZ // common, rate_hz // common).astype(np.float32)


def frame_levels_db(audio: np.ndarray, rate_hz: int = RATE_HZ) -> np.ndarray:
    """RMS of consecutive 20 ms frames, dBFS; digital silence is left out, since it says nothing of the noise floor."""
    size = max(1, int(_FRAME_S * rate_hz))
    count = len(audio) // size
    if count == 0:
        return np.full(1, 20 * np.log10(np.sqrt(np.mean(audio**2)) + 1e-9))
    power = np.mean(audio[: count * size].reshape(count, size) ** 2, axis=1)
    power = power[power > 1e-10]
    return 10 * np.log10(power) if len(power) else np.full(1, -100.0)


def bandwidth_hz(audio: np.ndarray, source_rate_hz: int) -> int:
    """Highest frequency whose long-term spectrum lies within 75 dB of the peak, at most half the source's rate."""
    frequency, power = scipy.signal.welch(audio, RATE_HZ, nperseg=min(2048, len(audio)))
    level = 10 * np.log10(power + 1e-20)
    used = frequency[level > level.max() - 75]
    return int(min(source_rate_hz / 2, used[-1] if len(used) else 0, RATE_HZ / 2))


def has_steady_noise(audio: np.ndarray) -> bool:
    """Whether music carries a noise that never stops; judged on up to two minutes from its middle.

    `audio`: `[samples]` at 48 kHz, of any scale and type: only ratios count.
    """
    count = min(len(audio), 120 * RATE_HZ)
    middle = audio[(len(audio) - count) // 2 :][:count].astype(np.float32)
    middle = middle / max(float(np.abs(middle).max()), 1e-9)
    frequency, _, spectrum = scipy.signal.stft(middle, RATE_HZ, nperseg=2048, noverlap=0)
    power = np.abs(spectrum) ** 2 + 1e-18
    band = power[(frequency > 3000) & (frequency < 9000)]
    level = band.mean(axis=0)
    quiet = np.argsort(level)[: max(5, len(level) // 20)]
    flatness = float(np.median(np.exp(np.log(band[:, quiet]).mean(axis=0)) / level[quiet]))
    floor = float(np.median(level[quiet]))
    against_all_db = 10 * np.log10(floor / np.percentile(power.mean(axis=0), 95))
    against_band_db = 10 * np.log10(floor / np.percentile(level, 95))
    return flatness > _STEADY_FLATNESS and against_all_db > _STEADY_LEVEL_DB and against_band_db > _STEADY_RANGE_DB


def trim(audio: np.ndarray, threshold_db: float = -50.0, margin_s: float = 0.04) -> np.ndarray:
    """Cuts leading and trailing silence (under `threshold_db` from the peak) down to a margin."""
    loud = np.flatnonzero(np.abs(audio) > np.abs(audio).max() * 10 ** (threshold_db / 20))
    if not len(loud):
        return audio[:0]
    margin = int(margin_s * RATE_HZ)
    return audio[max(0, loud[0] - margin) : loud[-1] + margin]


def screen(path: Path, kind: str, raw_rate_hz: int = 16_000) -> Screened:
    """Decodes, resamples, trims and judges one file.

    Raises:
        Rejected: it is unreadable, too short, silent, clipped or noisy.
        MissingTool: as `decode`.
    """
    import soundfile

    try:
        audio, rate_hz = decode(path, raw_rate_hz)
    except (soundfile.LibsndfileError, subprocess.CalledProcessError, OSError) as error:
        raise Rejected(f"unreadable: {error}") from error
    if not len(audio) or not np.isfinite(audio).all() or np.abs(audio).max() < 1e-4:
        raise Rejected("silent or empty")
    is_target = not kind.startswith("noise-")
    if is_target and len(audio) > rate_hz:
        near_peak = float(np.mean(np.abs(audio) > 0.98 * np.abs(audio).max()))
        if near_peak > _CLIPPED_SHARE:
            raise Rejected(f"clipped: {near_peak:.2%} of the samples lie at the peak")
    audio = to_rate(audio, rate_hz)
    audio = audio - float(audio.mean())
    if is_target:
        audio = trim(audio)
        if len(audio) < _MIN_SECONDS[kind] * RATE_HZ:
            raise Rejected(f"too short: {len(audio) / RATE_HZ:.2f} s")
    if kind == "music" and has_steady_noise(audio):
        raise Rejected("carries a steady noise")
    levels = frame_levels_db(audio)
    floor_db = float(np.percentile(levels, 3) - np.percentile(levels, 95))
    if kind == "speech" and len(audio) > 1.0 * RATE_HZ and floor_db > _SPEECH_FLOOR_DB:
        raise Rejected(f"noise floor {floor_db:.0f} dB under the speech, expected under {_SPEECH_FLOOR_DB:.0f}")
    band = bandwidth_hz(audio, rate_hz)
    scaled = audio * (STORED_PEAK / np.abs(audio).max())
    return Screened(np.round(scaled * 32767).astype(np.int16), rate_hz, band, floor_db)
