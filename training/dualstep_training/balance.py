"""Trains the balance: stage 2's slow equaliser and its trust in the U-Net (`model.Balance`), for a run whose U-Nets are trained.

    python -m dualstep_training.balance --cache CACHE --run runs/studio --minutes 10
    python -m dualstep_training.balance --cache CACHE --weights ../assets/weights/studio.safetensors --looks runs/studio/balance.pt

It needs no audio at each step. What it sees are long-term spectra, and what gains per band and a trust do to the error follows from
a few energies per band. So clips are reduced to those once, `balance.pt` in the run's folder, and a step costs
milliseconds. They are reduced anew when the stages, the data or the options have changed since. Clean clips are dulled and
narrowed anew in every step, by the very curves of `wear.py`, and teach the gains; worn, unworn and degraded clips went
through both stages, and teach what those leave behind not to be lifted and where the U-Net errs. The result goes into the
run's checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import csv
import dataclasses
import hashlib
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from . import degrade, wear
from .checkpoint import Checkpoint, manifest_hash
from .config import ConfigError, Spec
from .data import Cache
from .export import ExportError, fold_network, folded_network, golden, read, write
from .loss import bin_weights
from .model import Dualstep
from .stft import Stft

CLIP_S = 10.0
"""Length of a clip."""

LOOKS_S = (0.2, 0.5, 1.0, 2.0, 4.0, 7.9)
"""Times at which the balance's word is asked for: how much it may do must grow with what it has heard."""

JUDGED_S = 2.0
"""Time after each look over which its word is judged."""

SHARES = {"music": 0.5, "speech": 0.35, "drums": 0.15}
"""Of the clean clips."""

DULL_SHARE, NARROW_SHARE, BOTH_SHARE = 0.35, 0.2, 0.05
"""Of the clean clips in a step; the rest stay as they are."""

TILT_DB, THROUGH_TILT_DB = 1.2, 3.0
"""Clean clips are tilted by up to so many dB per octave, target and all: recordings differ, and there are few. Those that went through the stages by
more: a U-Net that takes a recording for worn that isn't must be known by more than the tone of the recordings it has met."""

BATCH = (192, 160, 128)
"""Clean, worn and degraded looks per step."""

UNWORN_SHARE = 0.45
"""Of the clips without noise that go through both stages."""

TRUSTS = (0.0, 0.5, 1.0)
"""Trusts for which energies are taken. What the U-Net adds is compressed, so an error is no parabola of the trust, but one through three points is close."""

RATE, LAST_RATE = 2e-3, 0.01
DROPOUT = 0.1
AVERAGE = 0.999

SPECTRUM_WEIGHT, RATIO_WEIGHT, HARM_WEIGHT = 10.0, 0.03, 0.5
"""Of the difference of compressed band spectra, per dB of signal-to-noise ratio, and per dB by which that falls. The first
wants the lost band back as it sounds, and is asked of clips without noise alone: behind noise it would lift what is left of the
noise. The second weighs what is loud. The third is the physician's: recordings that are dark by themselves stay so. At 0.1, and with a trust for
each band, unworn recordings of the validation split lost 1.1 dB on the mean and the worst hundredth 13; now they lose 0.2 and 0.1, and worn ones gain
0.16 in place of 0.29."""

RATIO_CEILING_DB = 40.0
"""Beyond this ratio nothing more is to be gained: unworn recordings may change that little."""

MISSING = 1.5
"""Times that a missing band counts more than one too loud, as in `loss.py`."""


@dataclass
class Looks:
    """What clips are reduced to, `[clip, look, band]` each."""

    before: Tensor
    """Long-term power before stage 1, `Balance.heard`."""
    after: Tensor
    """The same after it."""
    cc: Tensor
    """Energy of the clean signal over the judged time."""
    yc: Tensor
    """Product of stage 2's output with the clean signal, for each of `TRUSTS`: `[clip, look, trust, band]`."""
    yy: Tensor
    """Energy of stage 2's output, likewise."""

    def __len__(self) -> int:
        return len(self.cc)

    def pick(self, clips: Tensor, looks: Tensor) -> Looks:
        """One look of each of the clips, `[pick, band]`."""
        return Looks(*(value[clips, looks] for value in vars(self).values()))

    def filtered(self, gain: Tensor) -> Looks:
        """As if all but the clean signal had gone through `gain [clip, band]`."""
        power, wide = gain**0.6, gain.unsqueeze(-2)
        return Looks(self.before * power, self.after * power, self.cc, self.yc * wide, self.yy * wide**2)

    def tilted(self, gain: Tensor) -> Looks:
        """As if everything had gone through `gain [clip, band]`: nearly what the stages would have made of it."""
        return dataclasses.replace(self.filtered(gain), cc=self.cc * gain**2, yc=self.yc * gain.unsqueeze(-2) ** 2)

    def trusted(self, trust: Tensor) -> tuple[Tensor, Tensor]:
        """`yc` and `yy` of picked looks for trusts in between, `[pick, 1]` -> `[pick, band]`: parabolas through those of `TRUSTS`."""
        weights = ((1 - trust) * (1 - 2 * trust), 4 * trust * (1 - trust), trust * (2 * trust - 1))
        return tuple(sum(w * value[:, k] for k, w in enumerate(weights)) for value in (self.yc, self.yy))


def reduced(net: Dualstep, dry: Tensor, stage1: Tensor, stage2: tuple[Tensor, ...], clean: Tensor) -> Looks:
    """Spectra `[clip, frame, bins, 2]`, row for row, to what the balance learns from; `stage2` without gains, for each of `TRUSTS`."""
    hop = net.spec.hop_s
    at = torch.tensor([round(t / hop) for t in LOOKS_S])
    judged = round(JUDGED_S / hop)

    def energies(a: Tensor, b: Tensor) -> Tensor:
        bands = net.balance.banded((a * b).sum(-1))
        return torch.stack([bands[:, k + 1 : k + 1 + judged].sum(1) for k in at], 1)

    before, after = (net.balance.heard(z)[:, at] for z in (dry, stage1))
    yc, yy = (torch.stack(parts, 2) for parts in zip(*((energies(y, clean), energies(y, y)) for y in stage2)))
    return Looks(before, after, energies(clean, clean), yc, yy)


class Worn(degrade.Degrader):
    """Clips without noise, unworn or worn."""

    def _draw_recipe(self, rng: np.random.Generator, kind: str, source_band_hz: float) -> degrade.Recipe:
        recipe = degrade.Recipe(kind, peak_db=rng.uniform(-20, 0))
        self._draw_band(rng, recipe, source_band_hz)
        if rng.random() > UNWORN_SHARE:
            recipe.wear = degrade.draw_wear(rng)
        return recipe


def collect(net: Dualstep, cache: Cache, counts: tuple[int, int, int], seed: int) -> tuple[Looks, Looks, Looks]:
    """So many clean, worn (or unworn) and degraded clips, reduced. The latter two went through both stages."""
    rng = np.random.default_rng([seed, 6])
    stft = Stft(net.spec)
    kinds = [kind for kind in SHARES if kind in cache.kinds()]
    shares = np.array([SHARES[kind] for kind in kinds])
    count, ahead = counts[0], net.spec.lookahead_hops
    clean, through = [], []
    net.half = True  # twice as fast, and these are statistics
    with torch.no_grad(), tqdm(total=sum(counts), unit="clip", desc="clips") as progress:
        while sum(map(len, clean)) < count:
            drawn = [str(kind) for kind in rng.choice(kinds, 8, p=shares / shares.sum())]
            clips = torch.as_tensor(cache.sample_clean_bands(rng, 8, CLIP_S, drawn)[0])
            level = torch.as_tensor(10 ** (rng.uniform(-20, 0, (8, 1)) / 20), dtype=torch.float32)
            z = stft.network(stft.forward(clips / clips.abs().amax(1, keepdim=True).clamp_min(1e-5) * level))
            clean.append(reduced(net, z, z, (z,) * len(TRUSTS), z))
            progress.update(8)
        for degrader, wanted in zip((Worn(cache, seed=seed), degrade.Degrader(cache, seed=seed)), counts[1:]):
            through.append([])
            while sum(map(len, through[-1])) < wanted:
                made = degrader.batch(4, CLIP_S)
                dry, goal = (stft.network(stft.forward(clip)) for clip in (made.noisy, made.clean))
                stage1, *stage2 = (y[:, ahead:] for y in net.trusting(dry, TRUSTS))
                frames = stage1.shape[1]
                through[-1].append(reduced(net, dry[:, :frames], stage1, tuple(stage2), goal[:, :frames]))
                progress.update(4)
    net.half = False
    return tuple(Looks(*(torch.cat(values) for values in zip(*(vars(x).values() for x in part)))) for part in (clean, *through))


class Wear:
    """Random curves of `wear.py` at the middle of each band, and the tilts of clean clips."""

    def __init__(self, spec: Spec, seed: int) -> None:
        sizes = np.repeat([s for _, s in spec.segments], [n for n, _ in spec.segments])
        self.hertz = torch.tensor((np.cumsum(sizes) - 0.5 * (sizes + 1)) * 25.0, dtype=torch.float32)[None]
        self.rng = np.random.default_rng([seed, 7])

    def tilt(self, rows: int, most_db: float = TILT_DB) -> Tensor:
        """A slope about 1 kHz, `[rows, band]`."""
        slope = torch.as_tensor(self.rng.uniform(-most_db, most_db, (rows, 1)), dtype=torch.float32)
        return 10 ** (slope * torch.log2(self.hertz.clamp_min(25.0) / 1000.0) / 20)

    def of(self, kinds: set[str], rows: int) -> Tensor:
        """Gains `[rows, band]` of some of "dull" and "narrow"."""
        gain = torch.ones(rows, self.hertz.shape[1])
        for kind, curve in (("narrow", wear.narrow_gain), ("dull", wear.dull_gain)):
            if kind in kinds:
                gain = gain * curve(self.hertz, rows, self.rng)
        return gain

    def mixed(self, rows: int) -> Tensor:
        """Gains `[rows, band]` of all kinds in their shares."""
        draw = torch.as_tensor(self.rng.random((rows, 1)))
        dull = (draw < DULL_SHARE) | (draw > 1 - BOTH_SHARE)
        narrow = ((draw >= DULL_SHARE) & (draw < DULL_SHARE + NARROW_SHARE)) | (draw > 1 - BOTH_SHARE)
        gain = torch.where(dull, self.of({"dull"}, rows), 1.0)
        # Every clip its own number of resonances: `narrow_gain` draws one for all its rows.
        parts = [self.of({"narrow"}, len(part)) for part in torch.arange(rows).chunk(16)]
        return gain * torch.where(narrow, torch.cat(parts), 1.0)


def judged(spec: Spec, looks: Looks, gain: Tensor, trust: Tensor) -> tuple[Tensor, Tensor]:
    """What gains `[look, band]` and trusts `[look, 1]` come to: difference of compressed band spectra, and signal-to-noise ratio in dB, per look."""
    sizes = torch.tensor([float(s) for n, s in spec.segments for _ in range(n)])
    signal = looks.cc.sum(-1) + 1e-9
    yc, yy = looks.trusted(trust)
    noise = (looks.cc - 2 * gain * yc + gain**2 * yy).sum(-1).clamp_min(0.0)
    ratio = -10 * torch.log10(noise / signal + 10 ** (-RATIO_CEILING_DB / 10))
    goal, have = ((x / sizes + 1e-14) ** 0.15 for x in (looks.cc, gain**2 * yy.clamp_min(0.0)))
    difference = (have - goal) / goal.mean(-1, keepdim=True)
    weights = torch.zeros(spec.bands).index_add_(0, torch.repeat_interleave(torch.arange(spec.bands), sizes.long()), bin_weights(spec))
    squared = difference.square() * torch.where(difference < 0, MISSING, 1.0)
    return (weights / weights.sum() * squared).sum(-1), ratio


class Trainer:
    """Trains the balance of one network on reduced clips."""

    def __init__(self, net: Dualstep, clean: Looks, worn: Looks, degraded: Looks, seed: int = 1) -> None:
        self.spec, self.net = net.spec, net.balance
        self.average = copy.deepcopy(net.balance).eval()
        self.clean, self.worn, self.degraded = clean, worn, degraded
        self.wear = Wear(net.spec, seed)
        self.rng = np.random.default_rng([seed, 8])
        frames = torch.tensor([round(t / net.spec.hop_s) + 1 for t in LOOKS_S], dtype=torch.float32)
        self.age = (1.0 - net.balance.keep**frames)[:, None]
        self.net.requires_grad_(True)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=0.01)
        self.step = 0

    def _drawn(self, looks: Looks, count: int) -> tuple[Looks, Tensor]:
        """So many looks and their ages."""
        clips, which = (torch.as_tensor(self.rng.integers(0, size, count)) for size in (len(looks), len(LOOKS_S)))
        return looks.pick(clips, which), self.age[which]

    def batch(self) -> tuple[Looks, Tensor]:
        """The next step's looks and their ages."""
        looks, age = self._drawn(self.clean, BATCH[0])
        tilt = self.wear.tilt(BATCH[0])
        tilted = looks.filtered(tilt)
        filtered = dataclasses.replace(tilted, cc=tilted.yy[:, 0], yc=tilted.yy).filtered(self.wear.mixed(BATCH[0]))
        through = (self._drawn(looks, count) for looks, count in ((self.worn, BATCH[1]), (self.degraded, BATCH[2])))
        parts = [(filtered, age), *((part.tilted(self.wear.tilt(len(part), THROUGH_TILT_DB)), age) for part, age in through)]
        looks = Looks(*map(torch.cat, zip(*(vars(part).values() for part, _ in parts))))
        return looks, torch.cat([age for _, age in parts])

    def said(self, looks: Looks, age: Tensor) -> tuple[Tensor, Tensor]:
        """The averaged network's gain `[look, band]` and trust `[look, 1]`."""
        with torch.no_grad():
            return self.average.said(self.average.seen(looks.before, looks.after, age))

    def train_step(self, progress: float) -> float:
        """One step; returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * progress)))
        looks, age = self.batch()
        gain, trust = self.net.said(functional.dropout(self.net.seen(looks.before, looks.after, age), DROPOUT))
        difference, ratio = judged(self.spec, looks, gain, trust)
        harm = functional.relu(judged(self.spec, looks, *nothing(gain))[1] - ratio)
        clean = torch.arange(len(ratio)) < BATCH[0] + BATCH[1]
        loss = (SPECTRUM_WEIGHT * clean * difference - RATIO_WEIGHT * ratio + HARM_WEIGHT * harm).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.net.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
        return float(loss.detach())


def nothing(like: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and trust that leave stage 1's output as it is."""
    return torch.ones_like(like), torch.zeros_like(like[..., :1])


def table(trainer: Trainer, clean: Looks, worn: Looks, degraded: Looks) -> dict[str, dict[str, float]]:
    """Scores of the averaged balance, per kind: ratio and spectral difference without stage 2 and with it, after eight seconds.

    Of *unworn*, *dull* and *narrow* the gain alone, of *worn* (or unworn) and *degraded* clips all of stage 2, and its U-Net with full trust beside.
    """
    rows = {}
    for kind in ("unworn", "dull", "narrow", "worn", "degraded"):
        looks = {"worn": worn, "degraded": degraded}.get(kind, clean)
        last = torch.full((len(looks),), len(LOOKS_S) - 1)
        looks = looks.pick(torch.arange(len(looks)), last)
        if kind in ("dull", "narrow"):
            looks = looks.filtered(Wear(trainer.spec, 9).of({kind}, len(looks)))
        gain, trust = trainer.said(looks, trainer.age[last])
        one, none = nothing(gain)
        before, full, after = (judged(trainer.spec, looks, *said) for said in ((one, none), (one, 1 - none), (gain, trust)))
        rows[kind] = {
            "ratio_in": float(before[1].mean()), "ratio_full": float(full[1].mean()), "ratio": float(after[1].mean()),
            "worst_tenth": float((after[1] - before[1]).quantile(0.1)),
            "difference_in": float(before[0].mean()), "difference": float(after[0].mean()),
        }  # fmt: skip
    return rows


def main(argv: list[str] | None = None) -> int:
    """Command line; see `--help`."""
    parser = argparse.ArgumentParser(description="Trains stage 2's balance for a run whose U-Nets are trained.")
    parser.add_argument("--cache", type=Path, required=True, help="data cache, see dualstep_training.data")
    parser.add_argument("--run", type=Path, help="folder of the run; its checkpoint gets the balance")
    parser.add_argument("--weights", type=Path, help="a weights file to rewrite instead; needs --looks")
    parser.add_argument("--golden", type=Path, help="golden vectors to write anew with the weights file")
    parser.add_argument("--minutes", type=float, default=10.0, help="time to train, after the clips are reduced")
    parser.add_argument("--steps", type=int, help="a budget in steps instead: what tests use")
    parser.add_argument("--clean", type=int, default=8000, help="clean clips")
    parser.add_argument("--worn", type=int, default=1600, help="clips without noise, worn or not, that go through both stages")
    parser.add_argument("--degraded", type=int, default=800, help="degraded clips")
    parser.add_argument("--looks", type=Path, help="file that keeps the reduced clips, made if it isn't there (default: balance.pt in the run's folder)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    if (args.run is None) == (args.weights is None):
        parser.error("give one of --run and --weights")
    if args.weights and not args.looks:
        parser.error("--weights needs --looks: the file that keeps the reduced clips")
    try:
        net = Checkpoint.load(args.run).network() if args.run else folded_network(*_weights(args.weights))
    except (ConfigError, ExportError, FileNotFoundError) as error:
        print(f"balance: {error}; train the stages first", file=sys.stderr)
        return 1
    try:
        looks = _kept(args, net)
    except (FileNotFoundError, ValueError) as error:
        print(f"balance: {error}", file=sys.stderr)
        return 1
    trainer = Trainer(net, *looks["train"], args.seed)
    started, said, progress = time.monotonic(), 0.0, 0.0
    while progress < 1.0:
        loss = trainer.train_step(progress)
        now = time.monotonic()
        progress = trainer.step / args.steps if args.steps else (now - started) / (60 * args.minutes)
        if now - said > 30 or progress >= 1.0:
            said = now
            print(f"{time.strftime('%H:%M:%S')} {100 * progress:5.1f} %  step {trainer.step}  loss {loss:.3f}", flush=True)
    rows = table(trainer, *looks["valid"])
    folder = args.run or args.looks.parent
    with (folder / "balance.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("kind", *rows["dull"]))
        writer.writerows((kind, *(f"{value:.4f}" for value in row.values())) for kind, row in rows.items())
    for kind, row in rows.items():
        print(f"{kind:9} " + "  ".join(f"{name} {value:.3f}" for name, value in row.items()))
    _save(args, {f"balance.{name}": value for name, value in trainer.average.state_dict().items()})
    return 0


def _weights(path: Path) -> tuple[Spec, dict[str, Tensor]]:
    tensors, fields = read(path)
    return Spec.from_metadata(fields), tensors


def _save(args: argparse.Namespace, found: dict[str, Tensor]) -> None:
    """Puts the balance into the run's checkpoint or the weights file, whose golden vectors are written anew if asked for."""
    if args.run:
        saved = Checkpoint.load(args.run)
        dataclasses.replace(saved, weights={**saved.weights, **found}, average={**saved.average, **found}).save(args.run)
        return
    tensors, fields = read(args.weights)
    tensors.update(found)
    spec = json.dumps(fields)
    vectors = golden(folded_network(Spec.from_metadata(fields), tensors))
    write(args.weights, {name: value.numpy() for name, value in tensors.items()}, {"spec": spec})
    if args.golden:
        write(args.golden, vectors, {"weights": args.weights.name, "spec": spec})


def _origin(args: argparse.Namespace, net: Dualstep) -> str:
    """Hash of what decides how clips are reduced: both stages, the data, and which clips are drawn."""
    # Folded, since a checkpoint and the file exported from it are the same network.
    tensors = fold_network(net) if isinstance(net.stage1.stem_norm, nn.BatchNorm2d) else net.state_dict()
    data = manifest_hash(args.cache) if (args.cache / "manifest.json").exists() else "none"
    digest = hashlib.sha256(repr((data, args.clean, args.worn, args.degraded, args.seed)).encode())
    for name in sorted(name for name in tensors if name.startswith(("stage1.", "stage2."))):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()[:16]


def _kept(args: argparse.Namespace, net: Dualstep) -> dict[str, tuple[Looks, ...]]:
    """The reduced clips of both splits: those of the file if they are still what would be made, or if `--looks` names it."""
    path = args.looks or args.run / "balance.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    counts, origin = (args.clean, args.worn, args.degraded), _origin(args, net)
    if path.exists():
        kept = torch.load(path)
        same = kept.get("origin") == origin
        if same or args.looks:
            if not same:
                print(f"balance: {path} holds clips that other stages, data or options have made; taken all the same, since --looks names it", file=sys.stderr)
            return {split: tuple(Looks(**part) for part in kept[split]) for split in ("train", "valid")}
        print(f"{path} holds clips that other stages, data or options have made: reducing them anew", flush=True)
    cache = {"train": counts, "valid": tuple(max(8, count // share) for count, share in zip(counts, (10, 5, 5)))}
    looks = {split: collect(net, Cache(args.cache, split), counts, args.seed) for split, counts in cache.items()}
    part = path.with_suffix(".part")
    torch.save({"origin": origin, **{split: [vars(x) for x in parts] for split, parts in looks.items()}}, part)
    os.replace(part, path)
    return looks


if __name__ == "__main__":
    sys.exit(main())
