"""The click detector: marks the samples that clicks destroyed, so that the engine's click repair can interpolate just those.

    python -m dualstep_training.detector train --cache CACHE --run RUN --minutes 25 --device cuda --batch 64 --seconds 2 --workers 15
    python -m dualstep_training.detector score --cache CACHE --run RUN
    python -m dualstep_training.detector export --run RUN --cache CACHE --out ../assets/weights/detector-studio.safetensors \\
        --golden ../tests/data/golden/detector-studio.safetensors

`--init ../assets/weights/detector-live.safetensors --rate 0.0005` begins with the weights of an exported file, `--more 3:3 3:3` with further residual layers on
top, here two of dilation 3, each of which waits for 3 frames.
`--minutes` is the budget of the whole run, along which the learning rate falls. `--resume` goes on from the run's checkpoint, and
`--call-minutes 8` ends a call earlier, so that one run can be cut into several. On a CPU: `--device cpu --batch 8 --seconds 0.6 --threads 1`.
Making batches is the processor's work, about 190 s of audio per second and worker; the network asks for about as many workers as there are cores.

A small U-net over time, causal throughout, so that it streams. Per sample it answers how likely a click has destroyed the sample
`LOOKAHEAD` before. At frames of 16 samples:

```text
x -> filters -> per-band level -> s0 [8, T] -----------------delay----------------> + -> merge -> head -> logit of sample t - LOOKAHEAD
                                  `- down0 /4 -> s1 [16, T/4] ---delay---> + -> merge -> up0 x4 -'
                                                 `- down1 /4 -> dilated residual layers [32, T/16] -> up1 x4 -'
```

Each learned band filter is divided by its own level over the last 64 frames (21 ms, the frame in hand left out): the network doesn't see
how loud the music is, and in every band a click stands out from what was there before. The input's level doesn't matter.

It runs at 32 to 72 kHz. The engine brings other rates there by a whole factor, `max(1, round(rate / 48 kHz))` down or, below 32 kHz,
`round(48 kHz / rate)` up, and widens the marks by what a sample covers. So lengths in samples are lengths in time at every rate, and
training needs no others than 32, 44.1, 48 and 64 kHz.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save
from torch import Tensor, nn
from torch.nn import functional as F

from . import __version__

FORMAT = 2
"""Version of the detector's file layout; the engine refuses any other."""

RATE_HZ = 48_000

SLOPE = 0.1
"""Of the leaky ReLU for negative values."""

KNEE = 8.0
"""Where the compression of a band saturates, in units of its level."""

FLOOR = 1e-12
"""Least power of a band: -120 dBFS. What is quieter is silence."""

GOLDEN_SAMPLES = 6000


class DetectorError(RuntimeError):
    """A detector can't be made, read or written as asked."""


@dataclass(frozen=True)
class Spec:
    """What a detector's file declares. Field names are the keys of its `spec` metadata. Delays follow from these."""

    taps: int = 16
    """Length of the band filters, in samples."""
    level_frames: int = 64
    """Frames over which a band's level is taken."""
    stride: int = 4
    """Samples per group, and groups per frame."""
    widths: tuple[int, int, int] = (8, 16, 32)
    """Channels at samples, groups and frames."""
    dilations: tuple[int, ...] = (1, 3, 9, 27)
    """Of the residual layers, in frames; each has three taps."""
    waits: tuple[int, ...] = (0, 0, 0, 0)
    """Frames by which each residual layer holds back what it adds to, so that it sees as much of what follows."""
    lookahead_frames: int = 3
    """Frames between the newest sample and the one decided about, the waits among them."""

    @property
    def frame(self) -> int:
        """Samples per frame."""
        return self.stride**2

    @property
    def lookahead(self) -> int:
        """Samples between an answer and the sample it is about."""
        return self.lookahead_frames * self.frame

    @property
    def sample_delay(self) -> int:
        """Delay of the skip at samples: `lookahead`, less half a filter and the middle of the merging layer's three taps."""
        return self.lookahead - self.taps // 2 - 1

    @property
    def group_delay(self) -> int:
        """Delay of the skip at groups: as `sample_delay`, in groups."""
        return self.lookahead // self.stride - 2

    def macs(self) -> float:
        """Multiply-adds per sample."""
        c0, c1, c2 = self.widths
        k = self.stride
        samples = c0 * self.taps + 3 * c0 * c0 + c0 + c1 * c0 * k / k
        groups = 2 * k * c0 * c1 + 3 * c1 * c1 + c2 * c1 * k / k
        frames = 2 * k * c1 * c2 + 3 * len(self.dilations) * c2 * c2 + c0 * self.level_frames
        return samples + groups / k + frames / self.frame

    @classmethod
    def from_metadata(cls, values: dict[str, object]) -> Spec:
        """Reads a `spec` entry back. Raises `DetectorError` for another format."""
        if values.get("format") != FORMAT:
            raise DetectorError(f"a detector of format {values.get('format')}; this code reads {FORMAT}")
        named = {f.name: values[f.name] for f in fields(cls)}
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in named.items()})


class Conv(nn.Module):
    """A causal convolution with batch norm (none when folded) and leaky ReLU. Reads `(kernel - 1) * dilation + 1 - stride` samples of the past."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, dilation: int = 1, folded: bool = False):
        super().__init__()
        self.past = (kernel - 1) * dilation + 1 - stride
        self.conv = nn.Conv1d(cin, cout, kernel, stride, dilation=dilation, bias=folded)
        self.norm = nn.Identity() if folded else nn.BatchNorm1d(cout)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(F.pad(x, (self.past, 0)))), SLOPE)


class Detector(nn.Module):
    """The network for whole clips."""

    def __init__(self, spec: Spec | None = None, folded: bool = False):
        super().__init__()
        self.spec = spec = spec or Spec()
        c0, c1, c2 = spec.widths
        self.filters = nn.Conv1d(1, c0, spec.taps, bias=False)
        self.level = nn.Parameter(torch.linspace(-4, 0, spec.level_frames).repeat(c0, 1))
        """Logarithm of the weights of the frames before, oldest first; they sum to 1. `[c0, level_frames]`"""
        self.down = nn.ModuleList([Conv(c0, c1, 2 * spec.stride, spec.stride, folded=folded), Conv(c1, c2, 2 * spec.stride, spec.stride, folded=folded)])
        self.layers = nn.ModuleList([Conv(c2, c2, 3, dilation=d, folded=folded) for d in spec.dilations])
        self.up = nn.ModuleList([nn.ConvTranspose1d(c1, c0, spec.stride, spec.stride), nn.ConvTranspose1d(c2, c1, spec.stride, spec.stride)])
        self.merge = nn.ModuleList([Conv(c0, c0, 3, folded=folded), Conv(c1, c1, 3, folded=folded)])
        self.head = nn.Conv1d(c0, 1, 1)
        with torch.no_grad():
            # Differences of order 0 and up: filters that whiten music, a start that is better than noise.
            for channel in range(c0):
                kernel = np.array([1.0])
                for _ in range(channel % 4):
                    kernel = np.convolve(kernel, [1, -1])
                start = spec.taps // 2 - len(kernel) // 2
                self.filters.weight[channel, 0] *= 0.3
                self.filters.weight[channel, 0, start : start + len(kernel)] += torch.tensor(kernel / np.abs(kernel).sum(), dtype=torch.float32)
            self.head.bias.fill_(-4.0)  # clicks are rare

    def bands(self, x: Tensor) -> Tensor:
        """`x [batch, samples]` -> band signals relative to their levels, compressed, `[batch, c0, samples]`."""
        spec = self.spec
        y = self.filters(F.pad(x[:, None], (spec.taps - 1, 0)))
        power = y.unflatten(2, (-1, spec.frame)).square().mean(-1)
        weights = self.level.softmax(1)[:, None]
        # The level before frame f is that of frames f - level_frames .. f - 1.
        level = F.conv1d(F.pad(power, (spec.level_frames, 0))[..., :-1], weights, groups=weights.shape[0])
        z = y * torch.rsqrt(level + FLOOR).repeat_interleave(spec.frame, 2)
        return z / (1 + z.abs() / KNEE)

    def forward(self, x: Tensor) -> Tensor:
        """`x [batch, samples]`, whole frames -> logits `[batch, samples]`; the one at `t` is about sample `t - spec.lookahead`."""
        s0 = self.bands(x)
        s1 = self.down[0](s0)
        s2 = self.down[1](s1)
        for layer, wait in zip(self.layers, self.spec.waits, strict=True):
            s2 = _delayed(s2, wait) + layer(s2)
        u1 = self.merge[1](F.leaky_relu(self.up[1](s2) + _delayed(s1, self.spec.group_delay), SLOPE))
        u0 = self.merge[0](F.leaky_relu(self.up[0](u1) + _delayed(s0, self.spec.sample_delay), SLOPE))
        return self.head(u0)[:, 0]

    def probability(self, x: Tensor) -> Tensor:
        """How likely each sample of `x [batch, samples]` is destroyed, aligned with it. Any length."""
        samples = x.shape[1]
        short = -(samples + self.spec.lookahead) % self.spec.frame
        with torch.no_grad():
            logits = self(F.pad(x, (0, self.spec.lookahead + short)))
        return torch.sigmoid(logits[:, self.spec.lookahead : self.spec.lookahead + samples])


def _delayed(x: Tensor, by: int) -> Tensor:
    """`x` later by so many steps, with zeros before its start."""
    return F.pad(x, (by, 0))[..., : x.shape[-1]]


def folded(net: Detector) -> Detector:
    """The same function without batch norms: what is exported."""
    from .export import fold

    plain = Detector(net.spec, folded=True).eval()
    state = {key: value.detach().cpu().clone() for key, value in net.state_dict().items() if ".norm." not in key}
    for name, module in net.named_modules():
        if isinstance(module, Conv) and not isinstance(module.norm, nn.Identity):
            weight, bias = fold(module.conv.weight.detach().cpu(), module.norm.cpu(), 0)
            state[f"{name}.conv.weight"], state[f"{name}.conv.bias"] = weight.detach(), bias.detach()
    plain.load_state_dict(state)
    return plain


def tensors(plain: Detector) -> dict[str, np.ndarray]:
    """What a file holds: the state of a folded network with `.conv` dropped from the names and the level's weights as they are used."""
    state = {key.replace(".conv.", "."): value for key, value in plain.state_dict().items()}
    state["level.weight"] = state.pop("level").softmax(1)
    return {key: np.ascontiguousarray(value.numpy(), dtype=np.float32) for key, value in state.items()}


def read(path: Path) -> Detector:
    """A network from an exported file."""
    with safe_open(str(path), "np") as file:
        spec = Spec.from_metadata(json.loads(file.metadata()["spec"]))
        values = {key: torch.from_numpy(file.get_tensor(key)) for key in file.keys()}
    net = Detector(spec, folded=True).eval()
    values["level"] = values.pop("level.weight").clamp_min(1e-30).log()
    names = {key.replace(".conv.", "."): key for key in net.state_dict()}
    net.load_state_dict({names[key]: value for key, value in values.items()})
    return net


def unfolded(plain: Detector, more: tuple[tuple[int, int], ...] = ()) -> Detector:
    """The same function with batch norms that do nothing yet, and `more` residual layers, dilation and wait of each, that add nothing yet."""
    spec, dilations, waits = plain.spec, [dilation for dilation, _ in more], [wait for _, wait in more]
    spec = replace(spec, dilations=(*spec.dilations, *dilations), waits=(*spec.waits, *waits), lookahead_frames=spec.lookahead_frames + sum(waits))
    net = Detector(spec).eval()
    with torch.no_grad():
        for layer in net.layers[len(plain.layers) :]:
            layer.conv.weight.zero_()
        state = net.state_dict()
        for key, value in plain.state_dict().items():
            # A batch norm follows every convolution that has one: the folded bias is its.
            state[key if key in state else key.replace(".conv.bias", ".norm.bias")] = value
    net.load_state_dict(state)
    return net


def golden_clip() -> np.ndarray:
    """Tones, noise and two clicks after a pause, float32 `[GOLDEN_SAMPLES]`: the input of the golden test."""
    rng = np.random.default_rng(11)
    time = np.arange(GOLDEN_SAMPLES) / RATE_HZ
    clip = 0.2 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 1830 * time) + 0.003 * rng.standard_normal(GOLDEN_SAMPLES)
    clip[:400] = 0
    clip[3000:3030] += 0.5 * np.exp(-np.arange(30) / 9) * np.cos(0.9 * np.arange(30))
    clip[4807:4810] -= 0.3
    return clip.astype(np.float32)


def export(net: Detector, out: Path, golden: Path | None, origin: dict[str, object]) -> None:
    """Writes the file that the engine embeds, and what it must compute from `golden_clip`. `origin`: commit, data, hours.

    Raises `DetectorError` if a value isn't finite or the file doesn't read back to the same function.
    """
    plain = folded(net)
    values = tensors(plain)
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise DetectorError(f"tensor {name} holds values that are not finite: the training has diverged, use an earlier checkpoint")
    spec = {"format": FORMAT, "name": "detector", "version": __version__, "rate_hz": RATE_HZ, **asdict(net.spec), **origin}
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_bytes(save(values, metadata={"spec": json.dumps(spec)}))
    os.replace(part, out)
    clip = torch.from_numpy(golden_clip())[None]
    expected, found = plain.probability(clip), read(out).probability(clip)
    original = net.eval().cpu().probability(clip)
    for name, other in (("the trained network", original), ("the file read back", found)):
        if float((expected - other).abs().max()) > 1e-4:
            raise DetectorError(f"{name} differs from the folded one by {float((expected - other).abs().max()):.1e}, expected rounding")
    if golden:
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_bytes(save({"clip": clip[0].numpy(), "probability": expected[0].numpy()}))


def main(argv: list[str] | None = None) -> int:
    """Command line; see `--help`."""
    from . import detector_score, detector_train
    from .export import commit

    parser = argparse.ArgumentParser(prog="python -m dualstep_training.detector", description="Trains, scores and exports the click detector.")
    commands = parser.add_subparsers(dest="command", required=True)
    detector_train.arguments(commands.add_parser("train", help="trains a run, or goes on with it"))
    detector_score.arguments(commands.add_parser("score", help="scores a run or an exported file on the validation set"))
    exporter = commands.add_parser("export", help="writes the engine's file and the golden vectors")
    exporter.add_argument("--run", type=Path, required=True)
    exporter.add_argument("--cache", type=Path, help="cache trained on: its manifest's hash is written down")
    exporter.add_argument("--out", type=Path, required=True)
    exporter.add_argument("--golden", type=Path)
    options = parser.parse_args(argv)
    try:
        if options.command == "train":
            detector_train.train(options)
        elif options.command == "score":
            detector_score.report(options)
        else:
            from .checkpoint import manifest_hash

            net, state = detector_train.load(options.run)
            data = manifest_hash(options.cache) if options.cache else "unknown"
            export(net, options.out, options.golden, {"commit": commit(), "data": data, "hours": round(state["hours"], 2)})
            print(f"{options.out}: {options.out.stat().st_size:,} bytes, {net.spec.macs():.0f} multiply-adds per sample")
    except (DetectorError, FileNotFoundError) as error:
        print(f"detector: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    # Run as a module this file is `__main__`, and its classes aren't those that the modules beside it import.
    from dualstep_training import detector

    sys.exit(detector.main())
