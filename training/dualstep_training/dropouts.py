"""The dropout network: how much level a channel has lost for some milliseconds, so that the engine's repair can give it back.

    python -m dualstep_training.dropouts train --cache CACHE --run RUN --minutes 40
    python -m dualstep_training.dropouts score --cache CACHE --weights RUN_OR_FILE
    python -m dualstep_training.dropouts export --cache CACHE --run RUN --out ../assets/weights/dropouts.safetensors \\
        --golden ../tests/data/golden/dropouts.safetensors

`--resume` goes on with a run, along the same budget of minutes. One thread trains about a hundred seconds of audio per second.

A dropout of a tape (or of a stylus that loses touch) multiplies the sound by something less than one, in all bands alike, within a
millisecond or so, and lets go as fast. What is left is the sound itself, 6 to 60 dB down: divided by the loss it is back, exactly, which no
interpolation over tens of milliseconds could do. Notes that end and consonants fade band by band; that is what tells them apart.

Per frame of 1 ms (`round(rate / 1000)` samples, so that all rates see the same): power in bands of a window of 4 frames, and of the frame
alone. Their logarithms over the mean of the 64 frames before, and that mean's own shape: neither level nor a steady spectrum matters.
Causal residual layers say for a frame some frames ago the log-odds of a dropout and its depth in nepers, once per look-ahead.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from . import __version__, degrade, metrics, wear
from .data import Cache
from .detector import Conv
from .detector_feed import ClickDegrader
from .export import commit, fold, write

FORMAT = 1
"""Version of the file's layout; the engine refuses any other."""

FRAMES_PER_S = 1000

FLOOR = 1e-13
"""Added to powers: -130 dB below that of a sine at full scale."""

LARGEST = (-14.0, 8.0)
"""Logarithms of powers over what was before are held within this."""

MOST = 5.0
"""Greatest depth, in nepers: 43 dB. What is further down is in the noise of most recordings."""

THRESHOLD = 3.0
"""Log-odds, as of `settled`, from which the engine takes a frame for one in a dropout."""

SILENCE = 1e-9
"""Power of a frame that is silent, -90 dBFS, a 16-bit recording's dither: a cut or a gate. What leads into it is no dropout."""

LEAST = 0.15
"""Depth in nepers (1.3 dB) from which a frame counts as in a dropout when training."""

DROPPED_SHARE = 0.55
"""Items with dropouts."""

GATED_SHARE = 0.1
"""Items, with and without dropouts, that a gate or an edit mutes for longer than a dropout lasts."""

LOW_RATE_SHARE = 0.2
"""Items without the bands that a lower rate lacks."""

LOW_RATES_HZ = (8_000, 11_025, 16_000, 22_050, 32_000)

BATCH, SECONDS = 16, 2.0
RATE, LAST_RATE, WARMUP_STEPS, AVERAGE, FREEZE_FROM = 3e-3, 0.01, 50, 0.998, 0.7
CHECKPOINT_S, LINE_S = 45.0, 30.0
NAME = "checkpoint.pt"


class DropoutError(RuntimeError):
    """A network can't be read or written as asked."""


@dataclass(frozen=True)
class Spec:
    """What a file declares."""

    edges: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 28, 36, 46, 60, 80)
    """Where the bands begin, and the last one ends, in bins of a quarter of the frame rate (250 Hz)."""
    window_frames: int = 4
    level_frames: int = 64
    width: int = 48
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Of the residual layers, in frames; each has three taps."""
    lookaheads: tuple[int, ...] = (1, 8)
    """Frames between the newest and the one that a pair of outputs is about: for Live's repair look-ahead of 3.3 ms, and for studio's of 10 ms."""

    @property
    def powers(self) -> int:
        """Bands, the frame's own power, and that of its differences."""
        return len(self.edges) + 1

    def macs(self) -> int:
        """Multiply-adds per frame."""
        return 3 * 2 * self.powers * self.width + 3 * len(self.dilations) * self.width**2 + 2 * len(self.lookaheads) * self.width

    @classmethod
    def from_metadata(cls, values: dict[str, object]) -> Spec:
        """Reads a `spec` entry back. Raises `DropoutError` for another format."""
        if values.get("format") != FORMAT:
            raise DropoutError(f"a dropout network of format {values.get('format')}; this code reads {FORMAT}")
        return cls(**{f.name: tuple(v) if isinstance(v := values[f.name], list) else v for f in fields(cls)})


class Dropouts(nn.Module):
    """The network for whole clips."""

    def __init__(self, spec: Spec | None = None, folded: bool = False):
        super().__init__()
        self.spec = spec = spec or Spec()
        self.input = Conv(2 * spec.powers, spec.width, 3, folded=folded)
        self.layers = nn.ModuleList(Conv(spec.width, spec.width, 3, dilation=d, folded=folded) for d in spec.dilations)
        self.head = nn.Conv1d(spec.width, 2 * len(spec.lookaheads), 1)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([-2.0, 1.0] * len(spec.lookaheads)))  # dropouts are rare

    def powers(self, x: Tensor, rate_hz: int, lacking: Tensor | None = None) -> Tensor:
        """`x [batch, samples]`, whole frames -> powers `[batch, powers, frame]`; frame `f` ends with sample `(f + 1) * frame`.

        `lacking`: bool `[batch, bins]`, bins that are silent as at a lower rate.
        """
        frame = frame_of(rate_hz)
        size = self.spec.window_frames * frame
        window = torch.hann_window(size, dtype=x.dtype, device=x.device)
        spectrum = torch.fft.rfft(F.pad(x, (size - frame, 0)).unfold(-1, size, frame) * window)
        squared = spectrum.abs().square() * (2 / window.sum()) ** 2
        # Bins that this rate lacks are silent.
        squared = F.pad(squared, (0, max(0, self.spec.edges[-1] - squared.shape[-1])))
        if lacking is not None:
            squared = squared.masked_fill(lacking[:, None], 0.0)
        bands = [squared[..., a:b].mean(-1) for a, b in zip(self.spec.edges, self.spec.edges[1:])]
        steps = torch.diff(x, prepend=torch.zeros_like(x[:, :1])) * (rate_hz / degrade.RATE_HZ)
        own = [y.unflatten(1, (-1, frame)).square().mean(-1) for y in (x, steps)]
        return torch.stack([*bands, *own], 1)

    def features(self, powers: Tensor) -> Tensor:
        """-> `[batch, 2 * powers, frame]`."""
        log = torch.log(powers + FLOOR)
        past = F.pad(log, (self.spec.level_frames, 0), value=math.log(FLOOR))[..., :-1]
        level = F.avg_pool1d(past, self.spec.level_frames, 1)
        return torch.cat([(log - level).clamp(*LARGEST) / 3, (level - level.mean(1, keepdim=True)) / 6], 1)

    def forward(self, x: Tensor, rate_hz: int = degrade.RATE_HZ, lacking: Tensor | None = None) -> Tensor:
        """`x [batch, samples]`, whole frames -> `[batch, look-ahead, (log-odds, depth), frame]`, each as many frames behind as its look-ahead says."""
        h = self.input(self.features(self.powers(x, rate_hz, lacking)))
        for layer in self.layers:
            h = h + layer(h)
        out = self.head(h).unflatten(1, (-1, 2))
        return torch.stack([out[:, :, 0], F.softplus(out[:, :, 1]).clamp(max=MOST)], 2)

    def aligned(self, x: Tensor, rate_hz: int = degrade.RATE_HZ, lacking: Tensor | None = None) -> Tensor:
        """The same, each frame's answers at its own place."""
        frame, most = frame_of(rate_hz), max(self.spec.lookaheads)
        out = self(F.pad(x, (0, most * frame)), rate_hz, lacking)
        frames = x.shape[1] // frame
        return torch.stack([out[:, i, :, ahead : ahead + frames] for i, ahead in enumerate(self.spec.lookaheads)], 1)

    def repair(self, x: Tensor, rate_hz: int = degrade.RATE_HZ, threshold: float = THRESHOLD) -> Tensor:
        """`x [batch, samples]`, whole frames -> repaired `[batch, look-ahead, samples]`, as the engine does it."""
        odds, depth = self.aligned(x, rate_hz).unbind(2)
        odds = self.settled(odds)
        silent = (x.unflatten(1, (-1, frame_of(rate_hz))).square().mean(-1) < SILENCE).to(x.dtype)
        # Whether silence is heard by the time that a frame is decided about.
        cut = torch.stack([F.max_pool1d(F.pad(silent, (0, ahead)), ahead + 1, 1) for ahead in self.spec.lookaheads], 1) > 0
        return x[:, None] * torch.exp(curve(torch.where((odds > threshold) & ~cut, depth, torch.zeros_like(depth)), x.shape[1]))


    def settled(self, odds: Tensor) -> Tensor:
        """Log-odds that the threshold is for, `[batch, look-ahead, frame]` -> the same: means over a frame, the one before and, where the shortest
        look-ahead has spoken of it by then, the one after. A frame alone is seldom a dropout."""
        before = F.pad(odds, (1, 0))[..., :-1]
        after = F.pad(odds[:, :1], (0, 1))[..., 1:]
        shortest, *others = self.spec.lookaheads
        known = torch.tensor([0.0, *(float(ahead > shortest) for ahead in others)], dtype=odds.dtype)[:, None]
        return (before + odds + known * after) / (2 + known)


def frame_of(rate_hz: int) -> int:
    """Samples per frame."""
    return max(1, round(rate_hz / FRAMES_PER_S))


def curve(depth: Tensor, samples: int) -> Tensor:
    """Depths `[..., frame]`, each that of its frame's middle, -> lines between them `[..., samples]`."""
    shape = depth.shape[:-1]
    return F.interpolate(depth.reshape(-1, 1, depth.shape[-1]), size=samples, mode="linear", align_corners=False).reshape(*shape, samples)


class DropoutDegrader(ClickDegrader):
    """As `ClickDegrader`, with recipes for what is taken for dropouts: clicks after which the level falls, speech, noise. As yet without dropouts."""

    STREAM = 6

    def _draw_recipe(self, rng: np.random.Generator, kind: str, source_band_hz: float) -> degrade.Recipe:
        recipe = degrade.Recipe(kind, peak_db=rng.uniform(-30, 0))
        self._draw_band(rng, recipe, source_band_hz)
        if rng.random() < 0.35:
            recipe.wear = degrade.draw_wear(rng) - {"dropouts"}
        draw = rng.random()
        if draw < 0.45:
            return recipe
        if draw < 0.65:
            names, snr_db = [str(rng.choice(["hiss", "hum", "rumble", "everyday"], p=[0.4, 0.15, 0.15, 0.3]))], (5, 60)
        elif draw < 0.85:
            names, snr_db = [str(rng.choice(["clicks", "scratches", "thumps", "crackle"]))], (-2, 40)
        else:
            names, snr_db = [name for name, chance in degrade.DISC_CHANCES.items() if rng.random() < chance], (5, 40)
        recipe.noise = {name: rng.uniform(*snr_db) for name in names if self._pools.has(name)}
        return recipe


@dataclass
class Labelled:
    """One batch."""

    heard: Tensor
    """With dropouts and noise, `[batch, samples]`."""
    wanted: Tensor
    """Without the dropouts."""
    depth: Tensor
    """In nepers, `[batch, frame]`."""
    lacking: Tensor
    """Bins that are hidden from the network, bool `[batch, bins]`."""


def labelled(made: degrade.Batch, rng: np.random.Generator) -> Labelled:
    """Puts dropouts under the noise of some items."""
    worn, noisy = made.worn, made.noisy
    samples = worn.shape[1] // frame_of(degrade.RATE_HZ) * frame_of(degrade.RATE_HZ)
    worn, noisy = worn[:, :samples].clone(), noisy[:, :samples].clone()
    for row in np.flatnonzero(rng.random(len(worn)) < GATED_SHARE):
        gate = torch.as_tensor(gated(rng, samples))
        worn[row] *= gate
        noisy[row] *= gate
    gain = torch.ones_like(worn)
    rows = np.flatnonzero(rng.random(len(worn)) < DROPPED_SHARE)
    if len(rows):
        gain[rows] = wear.dropouts(gain[rows], rng)
    depth = -torch.log(gain).unflatten(1, (-1, frame_of(degrade.RATE_HZ))).mean(-1)
    spec = Spec()
    lacking = torch.zeros((len(worn), spec.window_frames * frame_of(degrade.RATE_HZ) // 2 + 1), dtype=torch.bool)
    bin_hz = FRAMES_PER_S / spec.window_frames
    for row in np.flatnonzero(rng.random(len(worn)) < LOW_RATE_SHARE):
        lacking[row, int(rng.choice(LOW_RATES_HZ) / 2 / bin_hz) + 1 :] = True
    return Labelled(noisy - worn * (1 - gain), noisy, depth, lacking)


def gated(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Gain of a gate that closes a few times, for 70-400 ms each, to silence or 20-90 dB down, float32 `[samples]`."""
    gain = np.ones(samples, dtype=np.float32)
    for _ in range(int(rng.integers(1, 5))):
        length = int(rng.uniform(0.07, 0.4) * degrade.RATE_HZ)
        edge = int(rng.uniform(0.0002, 0.01) * degrade.RATE_HZ)
        closed = np.ones(length, dtype=np.float32)
        closed[:edge] = np.linspace(0, 1, edge)
        closed[length - edge :] = closed[:edge][::-1]
        depth = 1.0 if rng.random() < 0.3 else 1 - 10 ** (rng.uniform(-90, -20) / 20)
        start = int(rng.integers(0, samples - length))
        gain[start : start + length] *= 1 - depth * closed
    return gain


def loss_of(out: Tensor, batch: Labelled, progress: float) -> Tensor:
    """`out` as of `aligned`. Cross entropy and the depth's error, frames weighted by how loud they should be, and the repaired clip's error
    relative to that of the clip as it came: what counts, but alone it never leaves the answer that there are no dropouts."""
    odds, depth = out.unbind(2)
    true = batch.depth[:, None].expand_as(depth)
    hit = (true > LEAST).float()
    power = batch.wanted.unflatten(1, (-1, frame_of(degrade.RATE_HZ))).square().mean(-1)
    weight = (power / (power.mean(1, keepdim=True) + 1e-9)).clamp(1e-4, 4).sqrt()[:, None]
    entropy = F.binary_cross_entropy_with_logits(odds, hit, reduction="none") * (1 + 3 * hit)
    error = F.smooth_l1_loss(depth, true, reduction="none", beta=0.2) * hit
    repaired = batch.heard[:, None] * torch.exp(curve(torch.sigmoid(odds) * depth, batch.heard.shape[1]))
    wanted = batch.wanted.square().sum(1) + 1e-6

    def ratio(y: Tensor, z: Tensor, power: Tensor) -> Tensor:
        return 10 * torch.log10((y - z).square().sum(-1) / power + 1e-4)

    gained = ratio(repaired, batch.wanted[:, None], wanted[:, None]) - ratio(batch.heard, batch.wanted, wanted)[:, None]
    return 4 * (weight * (entropy + 3 * error)).mean() + (0.02 if progress < 0.3 else 0.06) * gained.clamp(max=20).mean()


class Run:
    """Network, average, optimiser and counts: what a checkpoint holds."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.net = Dropouts()
        self.average = copy.deepcopy(self.net).eval()
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=0.001)
        self.step, self.skipped, self.elapsed_s = 0, 0, 0.0

    @property
    def hours(self) -> float:
        """Audio trained on."""
        return self.step * BATCH * SECONDS / 3600

    def save(self) -> None:
        """Writes the checkpoint; a reader sees the old one or the new one, never a part."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / (NAME + ".part")
        torch.save({"spec": asdict(self.net.spec), "weights": self.net.state_dict(), "average": self.average.state_dict(),
                    "optimiser": self.optimiser.state_dict(), "step": self.step, "skipped": self.skipped, "elapsed_s": self.elapsed_s}, part)
        os.replace(part, self.folder / NAME)

    def load(self) -> None:
        """Goes on from the folder's checkpoint."""
        path = self.folder / NAME
        if not path.exists():
            raise DropoutError(f"no checkpoint at {path}; train a run there first")
        saved = torch.load(path, map_location="cpu")
        if Spec(**saved["spec"]) != self.net.spec:
            raise DropoutError(f"{path} holds a network of another kind")
        self.net.load_state_dict(saved["weights"])
        self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step, self.skipped, self.elapsed_s = saved["step"], saved["skipped"], saved["elapsed_s"]

    def train_step(self, batch: Labelled, progress: float) -> float:
        """One step. One that isn't finite changes nothing."""
        self.net.train(progress < FREEZE_FROM)
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (self.step + 1) / WARMUP_STEPS) * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))
        loss = loss_of(self.net.aligned(batch.heard, lacking=batch.lacking), batch, progress)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.net.parameters(), 1.0))
        value = float(loss.detach())
        if math.isfinite(value) and math.isfinite(norm):
            self.optimiser.step()
            keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                for mean, now in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
                    mean.lerp_(now, 1 - keep) if mean.is_floating_point() else mean.copy_(now)
        else:
            self.skipped += 1
        self.step += 1
        return value


def train(options: argparse.Namespace) -> None:
    """Trains until the budget is used up; Ctrl-C saves first."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    run = Run(options.run)
    if options.resume:
        run.load()
    elif (options.run / NAME).exists():
        raise DropoutError(f"{options.run} already holds a run: --resume goes on with it, another --run begins anew")
    feed = DropoutDegrader(Cache(options.cache, "train"), seed=options.seed + run.step, refresh_s=600.0)
    rng = np.random.default_rng([options.seed, 7, run.step])
    started, before = time.monotonic(), run.elapsed_s
    saved = said = started
    losses: list[float] = []
    try:
        while (progress := run.step / options.steps if options.steps else run.elapsed_s / (60 * options.minutes)) < 1:
            losses.append(run.train_step(labelled(feed.batch(BATCH, SECONDS), rng), progress))
            now = time.monotonic()
            run.elapsed_s = before + now - started
            if now - said > LINE_S:
                print(f"{time.strftime('%H:%M:%S')} {100 * progress:5.1f} %  step {run.step}  {run.hours:.2f} h  loss {np.mean(losses):.4f}  "
                      f"{len(losses) * BATCH * SECONDS / (now - said):.0f} audio-s/s  skipped {run.skipped}", flush=True)
                said, losses = now, []
            if now - saved > CHECKPOINT_S:
                run.save()
                saved = now
    finally:
        run.save()


def folded(net: Dropouts) -> Dropouts:
    """The same function without batch norms: what is exported."""
    plain = Dropouts(net.spec, folded=True).eval()
    state = {key: value.detach().clone() for key, value in net.state_dict().items() if ".norm." not in key}
    for name, module in net.named_modules():
        if isinstance(module, Conv) and not isinstance(module.norm, nn.Identity):
            weight, bias = fold(module.conv.weight.detach(), module.norm, 0)
            state[f"{name}.conv.weight"], state[f"{name}.conv.bias"] = weight.detach(), bias.detach()
    plain.load_state_dict(state)
    return plain


def read(path: Path) -> Dropouts:
    """A network from a run or an exported file. Raises `DropoutError` if there is none."""
    if path.suffix != ".safetensors":
        run = Run(path)
        run.load()
        return run.average.eval()
    if not path.exists():
        raise DropoutError(f"no weights at {path}")
    with safe_open(str(path), "np") as file:
        net = Dropouts(Spec.from_metadata(json.loads(file.metadata()["spec"])), folded=True).eval()
        net.load_state_dict({key: torch.from_numpy(file.get_tensor(key.replace(".conv.", "."))) for key in net.state_dict()})
    return net


def golden_clip(rate_hz: int) -> np.ndarray:
    """Tones and noise after a pause, with two dropouts, float32 `[samples]`, half a second: the input of the golden tests."""
    rng = np.random.default_rng(12)
    frame = frame_of(rate_hz)
    time_s = np.arange(500 * frame) / (frame * FRAMES_PER_S)
    clip = sum(np.sin(2 * np.pi * 220 * k * time_s + k) / k for k in range(1, 20)) * 0.15 + 0.002 * rng.standard_normal(time_s.size)
    clip[: 20 * frame] = 0
    for start, length, gain in ((200, 25, 0.05), (350, 9, 0.2)):
        clip[start * frame : (start + length) * frame] *= gain
    return clip.astype(np.float32)


def export(net: Dropouts, out: Path, golden: Path | None, origin: dict[str, object]) -> None:
    """Writes the file that the engine embeds, and what it must compute from `golden_clip` at two rates. `origin`: commit, data, hours.

    Raises `DropoutError` if a value isn't finite or the file doesn't read back to the same function.
    """
    plain = folded(net)
    values = {key.replace(".conv.", "."): np.ascontiguousarray(value.numpy(), dtype=np.float32) for key, value in plain.state_dict().items()}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise DropoutError(f"tensor {name} holds values that are not finite: the training has diverged, use an earlier checkpoint")
    spec = {"format": FORMAT, "name": "dropouts", "version": __version__, **asdict(net.spec), **origin}
    write(out, values, {"spec": json.dumps(spec)})
    vectors: dict[str, np.ndarray] = {}
    for rate_hz in (44_100, 48_000):
        clip = torch.from_numpy(golden_clip(rate_hz))[None]
        with torch.no_grad():
            expected, found, original = (n.eval()(clip, rate_hz) for n in (plain, read(out), net))
        for name, other in (("the trained network", original), ("the file read back", found)):
            if float((expected - other).abs().max()) > 1e-3:
                raise DropoutError(f"{name} differs from the folded one by {float((expected - other).abs().max()):.1e}, expected rounding")
        vectors |= {f"clip.{rate_hz}": clip[0].numpy(), f"out.{rate_hz}": expected[0].numpy()}
    if golden:
        write(golden, vectors, {})


SCORED = ("dropouts", "clean", "drums", "saturation", "everyday-speech", "hiss", "clicks", "crackle", "thumps", "mixed-music", "mixed-speech")
"""What `score` takes: in all but the first nothing is to be repaired."""


def score(options: argparse.Namespace) -> None:
    """Prints the gain on dropouts, and how well clips without any are kept, for each look-ahead and some thresholds."""
    torch.set_num_threads(options.threads)
    net, cache = read(options.weights), Cache(options.cache, "valid")
    print(f"{options.count} clips of {options.seconds:g} s per kind of the validation split; SI-SDR in dB, mean and worst (100 is untouched)")
    for kind in SCORED:
        made = degrade.fixed_set(cache, kind, options.count, options.seconds, options.seed)
        samples = made.noisy.shape[1] // frame_of(degrade.RATE_HZ) * frame_of(degrade.RATE_HZ)
        heard = made.noisy[:, :samples]
        wanted = made.clean[:, :samples] if kind == "dropouts" else heard
        for index, ahead in enumerate(net.spec.lookaheads):
            cells = []
            for threshold in options.thresholds:
                with torch.no_grad():
                    repaired = net.repair(heard, threshold=threshold)[:, index]
                value = metrics.si_sdr(repaired, wanted).clamp(max=100)
                if kind == "dropouts":
                    value = value - metrics.si_sdr(heard, wanted)
                cells.append(f"{threshold:g}: {float(value.mean()):+6.2f}, {float(value.min()):+6.1f}")
            print(f"{kind:16s} {ahead} ms ahead   " + "   ".join(cells), flush=True)


def main(argv: list[str] | None = None) -> int:
    """Command line; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m dualstep_training.dropouts", description="Trains, scores and exports the dropout network.")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    commands = parser.add_subparsers(dest="command", required=True)
    trainer = commands.add_parser("train", help="trains a run, or goes on with it")
    trainer.add_argument("--minutes", type=float, required=True, help="budget over all resumed calls")
    trainer.add_argument("--steps", type=int, help="budget in steps instead: what tests use")
    trainer.add_argument("--seed", type=int, default=1)
    trainer.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    scorer = commands.add_parser("score", help="scores a run or an exported file on validation clips")
    scorer.add_argument("--weights", type=Path, required=True)
    scorer.add_argument("--count", type=int, default=16)
    scorer.add_argument("--seconds", type=float, default=8.0)
    scorer.add_argument("--seed", type=int, default=77)
    scorer.add_argument("--thresholds", type=float, nargs="+", default=[THRESHOLD])
    exporter = commands.add_parser("export", help="writes the engine's file and the golden vectors")
    exporter.add_argument("--out", type=Path, required=True)
    exporter.add_argument("--golden", type=Path)
    for command in (trainer, exporter):
        command.add_argument("--run", type=Path, required=True, help="folder of the run")
    for command in (trainer, scorer, exporter):
        command.add_argument("--cache", type=Path, required=True, help="data cache, see dualstep_training.data")
    options = parser.parse_args(argv)
    try:
        if options.command == "train":
            train(options)
        elif options.command == "score":
            score(options)
        else:
            from .checkpoint import manifest_hash

            run = Run(options.run)
            run.load()
            export(run.average, options.out, options.golden, {"commit": commit(), "data": manifest_hash(options.cache), "hours": round(run.hours, 2)})
            print(f"{options.out}: {options.out.stat().st_size:,} bytes, {run.net.spec.macs():,} multiply-adds per frame of 1 ms")
    except (DropoutError, FileNotFoundError) as error:
        print(f"dropouts: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
