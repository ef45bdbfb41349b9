"""Generators of the noise that a recording gathers: hiss, crackle, clicks, scratches, thumps, rumble, hum.

Each takes a seeded generator and a length and returns a `Defect` of unit RMS at 48 kHz. They run rarely, to fill the pools
of `degrade.py`, so they are written for clarity, in numpy. What is added *after* these is a slice with a gain.

Literature: Godsill & Rayner, "Digital Audio Restoration" (1998): ch. 5 clicks (0.02-4 ms, bursts, heavy-tailed amplitudes),
ch. 7 low-frequency noise pulses (a click, then a decaying tail whose frequency falls). Esquef, Biscainho & Valimaki (2003):
tails of tens to hundreds of ms at 5-100 Hz. Moliner & Valimaki (ICASSP 2022): noise looped at the revolution period.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal

from .screening import RATE_HZ

#: Revolutions per minute of discs.
SPEEDS_RPM = (100 / 3, 45.0, 78.0)

#: An event's tail ends, for the damage mask, where its envelope has fallen to this share of its peak.
TAIL_END = 0.05


# Fitted to the real recordings by `report degradation`, which measures (vinyl1 run-out, vinyl2 old vinyl, vinyl3 dust, vinyl-effect):
# level at 4 / 8 / 14 kHz relative to 1 kHz -5/-14/-30, -5/-9/-19, -12/-29/-47, +1/-7/-38 dB; median width of large events
# 0.5, 0.8, 1.2, 2.1 ms; tail exponent of their heights 1.7, 0.9, 1.1, 1.6; gaps' standard deviation over mean 1.4, 2.0, 2.1, 2.0;
# events over 8 / over 40 times the background per second 115/6, 132/34, 32/7, 46/4.

#: Corner of the second-order low-pass that groove, cartridge and equaliser make, Hz.
PICKUP_HZ = (3000.0, 16_000.0)

#: Median and spread (of the logarithm) of a click's length, and its limits, ms. The limits are Godsill & Rayner's.
CLICK_MEDIAN_MS = 0.7
CLICK_SPREAD = 1.0
CLICK_LIMITS_MS = (0.02, 4.0)

#: Exponent of the power law of heights.
TAIL_EXPONENT = (0.8, 2.1)

#: Events per second. The real recordings' 30-130 per second stand out by a factor of 8; crackle's bulk lies under that.
CRACKLE_RATE = (60.0, 2500.0)
CLICK_RATE = (0.4, 12.0)

#: How long a swarm of crackle lasts, s, and the spread of the logarithm of its density.
SWARM_S = (0.03, 0.4)
SWARM_SPREAD = 1.0

#: Shapes of pops within one stretch of crackle.
CRACKLE_SHAPES = 10


@dataclass(frozen=True)
class Defect:
    """A stretch of noise."""

    #: float32 `[samples]`, unit RMS.
    audio: np.ndarray
    #: float32 `[samples]`: peak of the click that covers a sample, 0 where there is none. None: the defect has no clicks.
    peaks: np.ndarray | None = None


def _unit(audio: np.ndarray, peaks: np.ndarray | None = None) -> Defect:
    """Scales to unit RMS."""
    scale = np.float32(1 / max(float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))), 1e-9))
    return Defect((audio * scale).astype(np.float32), None if peaks is None else (peaks * scale).astype(np.float32))


def coloured(rng: np.random.Generator, samples: int, gain) -> np.ndarray:
    """Gaussian noise shaped by `gain(frequency_hz) -> amplitude`, float32 `[samples]`; it wraps around without a seam."""
    spectrum = scipy.fft.rfft(rng.standard_normal(samples, dtype=np.float32))
    spectrum *= gain(scipy.fft.rfftfreq(samples, 1 / RATE_HZ)).astype(np.float32)
    return scipy.fft.irfft(spectrum, samples)


def slow_curve(rng: np.random.Generator, samples: int, period_s: float, spread: float) -> np.ndarray:
    """A random curve of standard deviation `spread` that turns about every `period_s`, float32 `[samples]`."""
    knots = max(4, int(samples / (period_s * RATE_HZ)) + 3)
    values = rng.normal(0, spread, knots)
    return np.interp(np.linspace(0, knots - 1, samples), np.arange(knots), values).astype(np.float32)


def random_curve_db(rng: np.random.Generator, frequency_hz: np.ndarray, spread_db: float) -> np.ndarray:
    """A smooth random equaliser over log frequency, dB, one knot per octave."""
    knots = np.arange(4, 15)
    return np.interp(np.log2(np.maximum(frequency_hz, 16.0)), knots, rng.normal(0, spread_db, len(knots)))


def hiss(rng: np.random.Generator, samples: int) -> Defect:
    """Broadband noise of tape (rising with frequency), electronics (flat) or a worn groove (falling), breathing slowly."""
    slope_db = rng.choice([rng.uniform(0, 3), rng.uniform(-1, 1), rng.uniform(-6, 0)])
    corner_hz = rng.choice([30_000.0, rng.uniform(6000, 16_000)])
    state = rng.integers(2**63)

    def gain(frequency_hz: np.ndarray) -> np.ndarray:
        octave = np.log2(np.maximum(frequency_hz, 20.0) / 1000)
        level = slope_db * octave + random_curve_db(np.random.default_rng(state), frequency_hz, 1.5)
        return 10 ** (level / 20) / np.sqrt(1 + (frequency_hz / corner_hz) ** 4)

    audio = coloured(rng, samples, gain)
    audio *= 10 ** (slow_curve(rng, samples, rng.uniform(0.3, 3), rng.uniform(0.3, 1.8)) / 20)
    if rng.random() < 0.4:  # a groove's noise swells once per revolution
        audio *= 1 + np.float32(rng.uniform(0.05, 0.4)) * np.sin(_turns(rng, samples) * np.float32(2 * np.pi) + rng.uniform(0, 6))
    return _unit(audio)


def _turns(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Revolutions of a disc since the start, float32 `[samples]`, at a random speed."""
    return (np.arange(samples) * (rng.choice(SPEEDS_RPM) / 60 / RATE_HZ)).astype(np.float32)


@dataclass(frozen=True)
class Pickup:
    """What lies between groove and recording: cartridge, equaliser, the transfer's own band. It rounds every click alike."""

    #: Second-order low-pass in sections.
    sos: np.ndarray

    @staticmethod
    def draw(rng: np.random.Generator) -> Pickup:
        """A random corner within `PICKUP_HZ`."""
        corner_hz = np.exp(rng.uniform(*np.log(PICKUP_HZ)))
        return Pickup(scipy.signal.butter(2, corner_hz, output="sos", fs=RATE_HZ))


def click_shape(rng: np.random.Generator, pickup: Pickup, limits_ms: tuple[float, float] = CLICK_LIMITS_MS) -> tuple[np.ndarray, int]:
    """One click: a fast edge, then a ringing tail. Returns float32 `[samples]` of peak 1 and the samples until it has died."""
    length_s = 1e-3 * float(np.clip(CLICK_MEDIAN_MS * np.exp(rng.normal(0, CLICK_SPREAD)), *limits_ms))
    decay_s = length_s / -np.log(TAIL_END)
    count = int(np.ceil(2 * length_s * RATE_HZ)) + 24
    time = (np.arange(count) - rng.random()) / RATE_HZ
    # The tail rings at what the pulse's own width allows: a short click is broad, a long one low.
    ring_hz = np.clip(rng.uniform(0.4, 2.5) / length_s, 150.0, 12_000.0)
    edge_s = min(rng.uniform(0.0, 0.15) * length_s, 0.1e-3) + 0.3 / RATE_HZ
    after = np.maximum(time, 0)
    rise = np.clip((time + edge_s) / edge_s, 0, 1)
    shape = rise * np.exp(-after / decay_s) * np.cos(2 * np.pi * ring_hz * after + rng.uniform(-0.9, 0.9))
    shape += rng.uniform(0, 0.25) * rise * np.exp(-after / (0.4 * decay_s)) * rng.standard_normal(count)
    shape = scipy.signal.sosfilt(pickup.sos, shape)
    shape *= rng.choice([-1.0, 1.0]) / max(np.abs(shape).max(), 1e-6)
    return shape.astype(np.float32), int(np.flatnonzero(np.abs(shape) > TAIL_END)[-1]) + 1


def heavy_tailed(rng: np.random.Generator, count: int, tail: float) -> np.ndarray:
    """Amplitudes: log-normal body with a Pareto tail of exponent `tail`, float32 `[count]`; larger ones are rarer by a power law."""
    body = np.exp(rng.normal(0, 0.5, count))
    return np.minimum(body * (1 + rng.pareto(tail, count)), 60.0).astype(np.float32)


def _place(audio: np.ndarray, peaks: np.ndarray, at: int, shape: np.ndarray, died: int, amplitude: float) -> None:
    """Adds one event in place and notes its extent."""
    if at < 0 or at >= len(audio):
        return
    piece = shape[: len(audio) - at]
    audio[at : at + len(piece)] += piece * np.float32(amplitude)
    _mark(peaks, at, died, abs(amplitude))


def _mark(peaks: np.ndarray, at: int, died: int, height: float) -> None:
    """Notes that an event of this height covers `died` samples from `at` on."""
    extent = peaks[at : at + died]
    np.maximum(extent, np.float32(height), out=extent)


def crackle(rng: np.random.Generator, samples: int) -> Defect:
    """Dense small pops (60-2500 per second) with a heavy tail. Only the tail's large ones are marked as damage to be interpolated."""
    pickup = Pickup.draw(rng)
    rate = np.exp(rng.uniform(*np.log(CRACKLE_RATE)))
    count = rng.poisson(2.2 * rate * samples / RATE_HZ) + 1
    at = rng.integers(0, samples, count)
    amplitude = heavy_tailed(rng, count, rng.uniform(*TAIL_EXPONENT))
    # Dust comes in swarms: the density follows a slow curve. It keeps 1 in 2.2 on average.
    density = np.exp(slow_curve(rng, samples, np.exp(rng.uniform(*np.log(SWARM_S))), SWARM_SPREAD))
    kept = rng.random(count) < np.clip(density[at] / 2.2, 0, 1)
    at, amplitude = at[kept], amplitude[kept]
    audio, peaks = np.zeros(samples, np.float32), np.zeros(samples, np.float32)
    kernel = rng.integers(0, CRACKLE_SHAPES, len(at))
    large = 4 * float(np.median(amplitude)) if len(amplitude) else 1.0
    for index in range(CRACKLE_SHAPES):
        shape, died = click_shape(rng, pickup, (0.02, 2.0))
        mine = kernel == index
        train = np.zeros(samples, np.float32)
        np.add.at(train, at[mine], amplitude[mine] * rng.choice([-1.0, 1.0], mine.sum()).astype(np.float32))
        audio += scipy.signal.oaconvolve(train, shape)[:samples]
        for position, height in zip(at[mine], amplitude[mine], strict=True):
            if height > large:
                _mark(peaks, position, died, height)
    return _unit(audio, peaks)


def clicks(rng: np.random.Generator, samples: int) -> Defect:
    """Sparse large clicks (0.4-12 per second) of 0.02-4 ms, some in bursts."""
    pickup = Pickup.draw(rng)
    rate = np.exp(rng.uniform(*np.log(CLICK_RATE)))
    count = max(2, rng.poisson(rate * samples / RATE_HZ))
    starts = list(rng.integers(0, samples, count))
    for start in list(starts):
        if rng.random() < 0.2:  # a scratch's edge gives several in a row
            starts += [start + int(gap) for gap in np.cumsum(rng.exponential(0.004 * RATE_HZ, int(rng.integers(1, 4))))]
    audio, peaks = np.zeros(samples, np.float32), np.zeros(samples, np.float32)
    heights = heavy_tailed(rng, len(starts), rng.uniform(*TAIL_EXPONENT))
    for at, height in zip(starts, heights, strict=True):
        _place(audio, peaks, int(at), *click_shape(rng, pickup), min(height, 12.0))
    return _unit(audio, peaks)


def scratches(rng: np.random.Generator, samples: int) -> Defect:
    """Clicks that come back once per revolution at 33 1/3, 45 or 78 rpm, drifting a little in time, height and shape."""
    pickup = Pickup.draw(rng)
    period = 60 / rng.choice(SPEEDS_RPM) * RATE_HZ * (1 + rng.normal(0, 0.002))
    audio, peaks = np.zeros(samples, np.float32), np.zeros(samples, np.float32)
    for _ in range(int(rng.integers(1, 6))):
        shape, died = click_shape(rng, pickup)
        at, height = rng.uniform(0, period), min(float(heavy_tailed(rng, 1, 2.0)[0]), 12.0)
        advance = rng.normal(0, 0.0015) * period  # a slanted scratch moves along the groove
        while at < samples:
            _place(audio, peaks, int(at), shape, died, height * 10 ** (rng.normal(0, 1.5) / 20))
            at += period + advance + rng.normal(0, 0.0005) * period
    if not audio.any():  # a long period and a short stretch may miss each other
        _place(audio, peaks, samples // 2, *click_shape(rng, pickup), 1.0)
    return _unit(audio, peaks)


def thumps(rng: np.random.Generator, samples: int) -> Defect:
    """Low-frequency pulses of 10-200 ms: often a click, then a decaying tail whose frequency falls; some recur once per revolution."""
    audio, peaks = np.zeros(samples, np.float32), np.zeros(samples, np.float32)
    if rng.random() < 0.35:
        period = 60 / rng.choice(SPEEDS_RPM) * RATE_HZ
        starts = np.arange(rng.uniform(0, period), samples, period)
    else:
        starts = rng.integers(0, samples, max(2, rng.poisson(rng.uniform(0.4, 3) * samples / RATE_HZ)))
    with_click, pickup = rng.random() < 0.6, Pickup.draw(rng)
    for at in starts:
        shape = thump_shape(rng)
        height = float(heavy_tailed(rng, 1, 3.0)[0])
        piece = shape[: samples - int(at)]
        audio[int(at) : int(at) + len(piece)] += piece * np.float32(height)
        if with_click:
            _place(audio, peaks, int(at), *click_shape(rng, pickup), height * rng.uniform(0.2, 1.0))
    return _unit(audio, peaks)


def thump_shape(rng: np.random.Generator) -> np.ndarray:
    """The tail of one thump, float32 `[samples]`, peak about 1."""
    length_s = np.exp(rng.uniform(np.log(0.010), np.log(0.200)))
    decay_s = length_s / 3
    time = np.arange(int(min(4 * length_s, 0.6) * RATE_HZ)) / RATE_HZ
    first_hz = np.clip(rng.uniform(0.6, 2.5) / length_s, 20, 150)
    last_hz = first_hz * rng.uniform(0.3, 0.8)
    phase = 2 * np.pi * (last_hz * time + (first_hz - last_hz) * decay_s * (1 - np.exp(-time / decay_s)))
    rise = 1 - np.exp(-time / rng.uniform(0.0005, 0.004))
    return (rng.choice([-1.0, 1.0]) * rise * np.exp(-time / decay_s) * np.sin(phase + rng.uniform(0, 1.5))).astype(np.float32)


def rumble(rng: np.random.Generator, samples: int) -> Defect:
    """Bearing and motor noise, strongest under about 100 Hz, swelling with the revolution, with a motor line now and then.

    Some of it falls off gently: real grooves lie 3-14 dB over their 1 kHz level at 250 Hz still.
    """
    corner_hz, order = np.exp(rng.uniform(np.log(25), np.log(150))), rng.uniform(0.9, 4)
    audio = coloured(rng, samples, lambda f: (f / (f + 8.0)) ** 2 / (1 + (f / corner_hz) ** 2) ** order)
    turns = _turns(rng, samples) * np.float32(2 * np.pi)
    audio *= 1 + np.float32(rng.uniform(0, 0.6)) * np.sin(turns + rng.uniform(0, 6))
    if rng.random() < 0.4:
        line = np.sin(np.arange(samples, dtype=np.float32) * np.float32(2 * np.pi * rng.uniform(20, 60) / RATE_HZ))
        audio += line * np.float32(np.std(audio) * rng.uniform(0.2, 1.2))
    return _unit(audio)


def hum(rng: np.random.Generator, samples: int) -> Defect:
    """Mains hum at 50 or 60 Hz with harmonics; what was recorded on a disc wows slowly with it."""
    mains_hz = rng.choice([50.0, 60.0]) * (1 + rng.normal(0, 0.002))
    wow = slow_curve(rng, samples, rng.uniform(0.3, 2), rng.choice([0.0002, rng.uniform(0.001, 0.006)]))
    phase = np.cumsum(2 * np.pi * mains_hz / RATE_HZ * (1 + wow), dtype=np.float64) % (2 * np.pi * 5040)
    phase = phase.astype(np.float32)
    fall, even = rng.uniform(0.5, 2.2), rng.uniform(0.1, 1.5)
    audio = np.zeros(samples, np.float32)
    for harmonic in range(1, int(rng.integers(2, 28))):
        height = harmonic**-fall * 10 ** (rng.normal(0, 5) / 20) * (even if harmonic % 2 == 0 else 1.0)
        audio += np.float32(height) * np.sin(phase * np.float32(harmonic) + np.float32(rng.uniform(0, 2 * np.pi)))
    audio *= 10 ** (slow_curve(rng, samples, 2.0, 0.7) / 20)
    return _unit(audio)


def recorded_disc(rng: np.random.Generator, samples: int, cache) -> Defect:
    """Recorded surface noise from the cache, played a little faster or slower; its own clicks are found by their height."""
    stretched = int(samples * rng.uniform(0.85, 1.2))
    audio = cache.sample_noise(rng, 1, stretched / RATE_HZ, "disc")[0]
    audio = np.interp(np.linspace(0, len(audio) - 1, samples), np.arange(len(audio)), audio).astype(np.float32)
    return _unit(audio, mark_clicks(audio))


def mark_clicks(audio: np.ndarray, threshold: float = 8.0) -> np.ndarray:
    """Peaks of the clicks in noise without signal: where it exceeds, above 1 kHz, `threshold` times its local background.

    Returns float32 `[samples]` as in `Defect.peaks`.
    """
    high = np.abs(scipy.signal.sosfilt(scipy.signal.butter(2, 1000, "high", output="sos", fs=RATE_HZ), audio))
    parts = np.array_split(high, max(1, len(high) // (RATE_HZ // 10)))
    # 0.6745 is the median of |x| for a standard normal x.
    background = np.repeat([np.median(part) / 0.6745 for part in parts], [len(part) for part in parts]) + 1e-7
    reach = 14  # samples on each side: 0.3 ms
    hit = scipy.ndimage.maximum_filter1d((high > threshold * background).astype(np.uint8), 2 * reach + 1)
    peak = scipy.ndimage.maximum_filter1d(np.abs(audio), 2 * reach + 1)
    return np.where(hit > 0, peak, 0).astype(np.float32)


#: The synthetic kinds, by the tag they leave.
GENERATORS = {"hiss": hiss, "crackle": crackle, "clicks": clicks, "scratches": scratches, "thumps": thumps, "rumble": rumble, "hum": hum}
