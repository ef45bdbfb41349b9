"""Wear: what happened to the signal itself before any noise was added. Torch operations on `[rows, samples]` at 48 kHz.

Each function takes the rows it applies to and a numpy generator for its parameters, one set per row. Their output is the
target of stage 1 (worn, noise free); their input is the target of stage 2.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import torch

from .screening import RATE_HZ

#: In the order in which a recording suffers them: cut through a horn, cut too hot, traced by a round stylus, dulled by playing, gaps.
KINDS = ("narrow", "saturation", "clipping", "tracing", "dull", "dropouts")


def _column(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Per-row parameters as `[rows, 1]`."""
    return torch.as_tensor(np.asarray(values, dtype=np.float32), device=like.device)[:, None]


def _peak(audio: torch.Tensor) -> torch.Tensor:
    return audio.abs().amax(dim=1, keepdim=True).clamp_min(1e-6)


def filter_rows(audio: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """Zero-phase filtering: `gains` is `[rows, samples // 2 + 1]`, the amplitude per frequency."""
    if audio.device.type == "cpu":  # pocketfft takes rows four at a time, which torch's does not
        spectrum = scipy.fft.rfft(audio.numpy())
        spectrum *= gains.numpy()
        return torch.from_numpy(scipy.fft.irfft(spectrum, audio.shape[1], overwrite_x=True))
    return torch.fft.irfft(torch.fft.rfft(audio) * gains, audio.shape[1])


def frequencies(samples: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Hz of the bins of `filter_rows`, `[1, samples // 2 + 1]`."""
    return torch.linspace(0, RATE_HZ / 2, samples // 2 + 1, device=device)[None]


def saturation(audio: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Soft, slightly lopsided compression of peaks; small signals keep their level."""
    rows = len(audio)
    drive = _column(np.exp(rng.uniform(np.log(0.8), np.log(4.0), rows)), audio)
    bias = _column(rng.uniform(-0.3, 0.3, rows), audio)
    scale = drive / _peak(audio)
    offset = torch.tanh(bias)
    return (torch.tanh(audio * scale + bias) - offset) / (scale * (1 - offset**2))


def clipping(audio: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Hard clipping at 1.2-3.5 times the RMS, at most 0.8 of the peak, so that something is always clipped."""
    rms = audio.square().mean(dim=1, keepdim=True).sqrt()
    limit = torch.minimum(rms * _column(rng.uniform(1.2, 3.5, len(audio)), audio), 0.8 * _peak(audio))
    return torch.minimum(torch.maximum(audio, -limit), limit)


def tracing(audio: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Tracing distortion: the stylus touches the groove early on one slope and late on the other, so time shifts with height.

    First-order expansion of `y(t) = x(t + shift * x(t) / peak)` with a shift of up to 3 samples: second harmonics that grow
    with frequency, as measured on discs (Pierce & Hunt 1938).
    """
    shift = _column(rng.uniform(0.5, 3.0, len(audio)), audio) / _peak(audio)
    slope = torch.zeros_like(audio)
    slope[:, 1:-1] = (audio[:, 2:] - audio[:, :-2]) * 0.5
    return audio + shift * audio * slope


def dull(audio: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Highs worn off, see `dull_gain`."""
    return filter_rows(audio, dull_gain(frequencies(audio.shape[1], audio.device), len(audio), rng))


def dull_gain(hertz: torch.Tensor, rows: int, rng: np.random.Generator) -> torch.Tensor:
    """A low-pass of order 1-4 at 1-6 kHz that ends on a floor, since wear weakens but doesn't erase: `[1, frequency]` -> `[rows, frequency]`."""
    corner = _column(np.exp(rng.uniform(np.log(1000), np.log(6000), rows)), hertz)
    order = _column(rng.uniform(1, 4, rows), hertz)
    floor = _column(10 ** (rng.uniform(-45, -18, rows) / 20), hertz)
    gain = (1 + (hertz / corner) ** 2) ** (-order / 2)
    return gain.clamp_min(0) * (1 - floor) + floor


def narrow(audio: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """An acoustic horn or a telephone line, see `narrow_gain`."""
    return filter_rows(audio, narrow_gain(frequencies(audio.shape[1], audio.device), len(audio), rng))


def narrow_gain(hertz: torch.Tensor, rows: int, rng: np.random.Generator) -> torch.Tensor:
    """Band edges at 80-400 Hz and 2.5-7 kHz, one to three resonances between: `[1, frequency]` -> `[rows, frequency]`."""
    hertz = hertz.clamp_min(1.0)
    low = _column(np.exp(rng.uniform(np.log(80), np.log(400), rows)), hertz)
    high = _column(np.exp(rng.uniform(np.log(2500), np.log(7000), rows)), hertz)
    steep = _column(rng.uniform(2, 5, rows), hertz)
    gain = (1 + (low / hertz) ** (2 * steep)).rsqrt() * (1 + (hertz / high) ** (2 * steep)).rsqrt()
    octave = torch.log2(hertz)
    for _ in range(int(rng.integers(1, 4))):
        centre = _column(rng.uniform(np.log2(250), np.log2(3000), rows), hertz)
        height_db = _column(rng.uniform(-5, 7, rows), hertz)
        gain = gain * 10 ** (height_db / 20 * torch.exp(-(((octave - centre) / 0.25) ** 2)))
    return gain + 1e-3


def dropouts(audio: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Short losses of level: 0.5-2 per second, 2-60 ms, 6-60 dB deep, with edges of 0.5-5 ms."""
    samples = audio.shape[1]
    gain = np.ones((len(audio), samples), dtype=np.float32)
    for row in range(len(audio)):
        for _ in range(max(1, rng.poisson(rng.uniform(0.5, 2) * samples / RATE_HZ))):
            length = int(np.exp(rng.uniform(np.log(0.002), np.log(0.060))) * RATE_HZ)
            edge = max(2, min(int(rng.uniform(0.0005, 0.005) * RATE_HZ), length // 2))
            dip = np.ones(length, dtype=np.float32)
            ramp = (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, edge))).astype(np.float32)
            dip[:edge], dip[length - edge :] = ramp, ramp[::-1]
            at = int(rng.integers(0, max(1, samples - length)))
            gain[row, at : at + length] *= (1 - dip * (1 - 10 ** (rng.uniform(-60, -6) / 20)))[: samples - at]
    return audio * torch.as_tensor(gain, device=audio.device)


_FUNCTIONS = {"narrow": narrow, "saturation": saturation, "clipping": clipping, "tracing": tracing, "dull": dull, "dropouts": dropouts}


def apply(clean: torch.Tensor, kinds: list[set[str]], rng: np.random.Generator) -> torch.Tensor:
    """Wears each row by its kinds, in the order of `KINDS`; a row with none comes back bit-exact. `[rows, samples]` -> the same."""
    unknown = set().union(*kinds) - set(KINDS) if kinds else set()
    if unknown:
        raise ValueError(f"unknown wear {sorted(unknown)}, expected some of {KINDS}")
    worn = clean.clone()
    for kind in KINDS:
        rows = [row for row, names in enumerate(kinds) if kind in names]
        if rows:
            index = torch.as_tensor(rows, device=clean.device)
            worn[index] = _FUNCTIONS[kind](worn[index], rng)
    return worn
