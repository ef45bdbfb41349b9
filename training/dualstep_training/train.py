"""Trains a network: stage 1, then stage 2 behind the frozen stage 1, then both together at a low rate; and the speech network.

    python -m dualstep_training.train --config studio --cache CACHE --run runs/studio --stage 1 --minutes 60

A run is a folder: `checkpoint.pt`, `train.csv`, `validation.csv` (`speech.csv` for the speech network), `curves.png`. `--resume` goes
on exactly where the last checkpoint was taken; with another `--stage` it starts that phase from the averaged weights of the one before.
A run has no speech network until a phase trains it (`--stage speech`): there it begins as stage 1.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import dataclasses
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from . import curves, validate
from .checkpoint import Checkpoint, declared, initialise, manifest_hash, with_speech
from .config import Config, ConfigError, Spec
from .export import ExportError
from .feed import Echo, Feed, FeedEnded
from .loss import Loss, run
from .model import Dualstep
from .recorded import Recorded
from .screening import MissingTool
from .stft import Stft

CHECKPOINT_S = 180.0
PLAIN_LINE_S = 30.0
LAST_RATE = 0.02
"""The learning rate at the end of the budget, relative to the highest."""

TRAINED = {"1": ("stage1",), "2": ("stage2",), "both": ("stage1", "stage2"), "speech": ("speech",)}
"""The U-Nets that each `--stage` trains."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What one call of the trainer is to do."""

    run: Path
    stage: str
    """One of `TRAINED`."""
    minutes: float
    """Budget of this stage's phase, over all its resumed calls."""
    steps: int | None = None
    """A budget in steps instead: what tests use, since time isn't repeatable."""
    validate_minutes: float = 10.0
    freeze_norm: bool = False
    """Keeps the batch norms' statistics from the start, as if folded: for low rates."""
    compile: bool = False
    """Has torch fuse kernels; takes a minute at first and whenever norms freeze."""
    half: bool = False
    """Computes in bfloat16 where that is safe on a CPU too. A GPU always does."""


class Trainer:
    """One phase of a run. Everything that decides the next step is in its checkpoint."""

    def __init__(self, config: Config, options: Options, feed: Feed | Echo, items: list[validate.Item], device: str, data: str):
        self.config, self.options, self.feed, self.items, self.device = config, options, feed, items, device
        self.data = data
        self.net = Dualstep(config.spec).to(device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net).eval()
        self.net.half = options.half or torch.device(device).type == "cuda"
        self.stft = Stft(config.spec, validate.RATE_HZ, device)
        self.loss = Loss(config.spec, device=device)
        self.hours, self.step = 0.0, 0
        self.phase_steps, self.skipped, self.elapsed_s = 0, 0, 0.0
        self.frozen = False
        """Whether the batch norms' statistics have been frozen, see `Recipe.freeze_from`."""
        if options.compile:
            self._losses = torch.compile(self._losses)
        self._recorded: Recorded | None = None
        self._recorded_frozen = False
        self._begin_phase()

    def _begin_phase(self) -> None:
        recipe, stage = self.config.recipe, self.options.stage
        for name, part in self.net.named_children():
            part.requires_grad_(name in TRAINED[stage])
        trained = [p for p in self.net.parameters() if p.requires_grad]
        plain = [p for p in trained if p.dim() < 2]
        decayed = [p for p in trained if p.dim() >= 2]
        groups = [{"params": decayed, "weight_decay": recipe.decay}, {"params": plain, "weight_decay": 0.0}]
        # The batch norms' counters are whole numbers, and nobody reads them.
        pairs = zip(self.average.state_dict().values(), self.net.state_dict().values())
        self._floating = tuple(map(list, zip(*(pair for pair in pairs if pair[0].is_floating_point()))))
        self.rate = recipe.joint_rate if stage == "both" else recipe.rate
        on_gpu = torch.device(self.device).type == "cuda"
        self.optimiser = torch.optim.AdamW(groups, lr=self.rate, **({"fused": True} if on_gpu else {}))
        self._trained = trained

    def start_from(self, weights: Path) -> None:
        """Takes the weights of another run or of an exported file."""
        state = self.feed.state
        spectrum = self._spectrum(self.feed.take().noisy.to(self.device))
        self.feed.load_state(state)
        self.hours = initialise(self.net, weights, spectrum)
        self.average.load_state_dict(self.net.state_dict())

    def resume(self) -> None:
        """Goes on from the run's checkpoint: exactly, or into another stage's phase."""
        saved = Checkpoint.load(self.options.run, self.device)
        spec = Spec.from_metadata(saved.spec)
        average = saved.average
        if self.options.stage == "speech" and not spec.speech:
            spec, average = dataclasses.replace(spec, speech=True), with_speech(average)
        if spec != self.config.spec:
            raise ConfigError(f"{self.options.run} holds a run of another spec; give another --run")
        self.hours, self.step = saved.hours, saved.step
        phase = saved.phase
        self.feed.load_state(phase["feed"])
        for name in ("train.csv", "validation.csv", "speech.csv"):
            curves.truncate(self.options.run / name, self.step)
        self.average.load_state_dict(average)
        if phase["stage"] != self.options.stage:
            self.net.load_state_dict(average)
            return
        self.net.load_state_dict(saved.weights)
        self.optimiser.load_state_dict(phase["optimiser"])
        self.phase_steps, self.skipped, self.elapsed_s = phase["steps"], phase["skipped"], phase["elapsed_s"]
        self.frozen = phase.get("frozen", False)
        torch.set_rng_state(phase["random"].cpu())

    def save(self) -> None:
        """Writes the checkpoint and the curves."""
        phase = {
            "stage": self.options.stage,
            "feed": self.feed.state,
            "optimiser": self.optimiser.state_dict(),
            "steps": self.phase_steps,
            "skipped": self.skipped,
            "elapsed_s": self.elapsed_s,
            "frozen": self.frozen,
            "random": torch.get_rng_state(),
        }
        weights, average = self.net.state_dict(), self.average.state_dict()
        spec = self.config.spec.metadata()
        Checkpoint(spec, weights, average, self.data, self.hours, self.step, phase).save(self.options.run)

    def progress(self) -> float:
        """Share of the phase's budget that is used up."""
        if self.options.steps is not None:
            return self.phase_steps / self.options.steps
        return self.elapsed_s / (60.0 * self.options.minutes)

    def _set_rate(self) -> None:
        warm = min(1.0, (self.phase_steps + 1) / max(self.config.recipe.warmup_steps, 1))
        cosine = 0.5 * (1 + math.cos(math.pi * min(self.progress(), 1.0)))
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * warm * (LAST_RATE + (1 - LAST_RATE) * cosine)

    def _mode(self) -> None:
        self.net.train()
        for name, part in self.net.named_children():
            part.train(name in TRAINED[self.options.stage])
        if not (self.options.freeze_norm or self.progress() >= self.config.recipe.freeze_from):
            # A phase that was made longer may have been frozen before.
            self.frozen = False
            return
        if not self.frozen:
            self.frozen = True
            for mean, now in zip(self.average.buffers(), self.net.buffers()):
                now.copy_(mean)
        for module in self.net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def _spectrum(self, clip: torch.Tensor) -> torch.Tensor:
        return self.stft.network(self.stft.forward(clip))

    def _gradients(self, noisy: torch.Tensor, worn: torch.Tensor, clean: torch.Tensor) -> dict[str, torch.Tensor]:
        """Leaves the clipped gradients of a batch in the weights; returns the parts of the loss and the gradient's norm."""
        if torch.device(self.device).type != "cuda":
            return self._compute_gradients(noisy, worn, clean)
        # Which norms are frozen is part of what a graph has recorded.
        if self._recorded is None or self._recorded_frozen != self.frozen:
            self._recorded, self._recorded_frozen = Recorded(self._compute_gradients, (noisy, worn, clean)), self.frozen
        return self._recorded(noisy, worn, clean)

    def _compute_gradients(self, *clips: torch.Tensor) -> dict[str, torch.Tensor]:
        noisy, worn, clean = map(self._spectrum, clips)
        parts = self._losses(noisy, worn, clean)
        self.optimiser.zero_grad(set_to_none=True)
        parts["total"].backward()
        parts["norm"] = nn.utils.clip_grad_norm_(self._trained, self.config.recipe.clip)
        return parts

    def _losses(self, noisy: torch.Tensor, worn: torch.Tensor, clean: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.loss(run(self.net, noisy, self.options.stage), noisy, worn, clean, self.options.stage)

    def train_step(self) -> dict[str, float]:
        """One step on the next batch; returns the parts of the loss. A step that isn't finite changes nothing."""
        self._mode()
        self._set_rate()
        clips = self.feed.take()
        parts = self._gradients(*(part.to(self.device) for part in (clips.noisy, clips.worn, clips.clean)))
        # All values at once: each one read from a GPU by itself would wait for it.
        values = dict(zip(parts, torch.stack([value.detach() for value in parts.values()]).tolist()))
        if math.isfinite(values["total"]) and math.isfinite(values["norm"]):
            self.optimiser.step()
            self._update_average()
        else:
            self.skipped += 1
            self._mend_statistics()
        self.step += 1
        self.phase_steps += 1
        self.hours += clips.noisy.numel() / validate.RATE_HZ / 3600
        return values

    def _mend_statistics(self) -> None:
        """Takes back what a step that wasn't finite put into the batch norms' statistics."""
        with torch.no_grad():
            for mean, now in zip(self.average.buffers(), self.net.buffers()):
                if not torch.isfinite(now).all():
                    now.copy_(mean)

    def _update_average(self) -> None:
        keep = min(self.config.recipe.average, (1 + self.phase_steps) / (10 + self.phase_steps))
        with torch.no_grad():
            mean, now = self._floating
            torch._foreach_add_(mean, torch._foreach_sub(now, mean), alpha=1 - keep)

    def validate(self) -> dict[str, float]:
        """Scores the averaged network on the fixed set, and writes it down."""
        if not self.items:
            return {}
        speech = self.options.stage == "speech"
        table = validate.score(self.average, self.items, speech)
        validate.append(self.options.run / ("speech.csv" if speech else "validation.csv"), self.step, self.hours, table)
        curves.plot(self.options.run)
        return validate.summary(table)

    def train(self, log: Log, stop: Sequence[int] = ()) -> bool:
        """Trains until the budget is used up, with checkpoints and validation in between.

        As soon as `stop` holds something it saves and ends: between two steps, for half a step can't be resumed. Returns whether the budget is used up.
        """
        last = saved = time.monotonic()
        validated = self.elapsed_s
        while self.progress() < 1.0:
            if stop:
                self.save()
                log.say(f"stopped at step {self.step}; --resume goes on from here")
                return False
            started, fed = time.perf_counter(), self.feed.spent_s
            try:
                values = self.train_step()
            except FeedEnded:
                # What asks a whole group of processes to end has ended those that make batches, too.
                if not stop:
                    raise
                continue
            log.step(self, values, time.perf_counter() - started, self.feed.spent_s - fed)
            if self.options.steps is None and self.elapsed_s - validated > 60 * self.options.validate_minutes:
                validated = self.elapsed_s
                log.say(f"validation at {self.hours:.2f} h: {_listed(self.validate())}")
            now = time.monotonic()
            self.elapsed_s += now - last
            last = now
            if now - saved > CHECKPOINT_S:
                self.save()
                saved = now
        self.save()
        log.say(f"validation at {self.hours:.2f} h: {_listed(self.validate())}")
        log.say(f"done: {self.phase_steps} steps, {self.hours:.2f} h of audio in all, {self.skipped} steps skipped")
        return True


class Log:
    """Progress: one line that renews itself on a terminal, a plain line now and then elsewhere, and `train.csv`."""

    EVERY = 10
    """Steps per row of the CSV."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._terminal = sys.stdout.isatty()
        self._said = 0.0
        self._sums: dict[str, float] = {}
        self._count = 0
        self._took = self._fed = 0.0

    def say(self, text: str) -> None:
        """A line of its own."""
        print(f"{chr(13) if self._terminal else ''}{time.strftime('%H:%M:%S')} {text}", flush=True)

    def step(self, trainer: Trainer, values: dict[str, float], took_s: float, fed_s: float) -> None:
        """Notes a step; says something if it is time to."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        self._took, self._fed = self._took + took_s, self._fed + fed_s
        means = {name: value / self._count for name, value in self._sums.items()}
        due = time.monotonic() - self._said > (1.0 if self._terminal else PLAIN_LINE_S)
        if due:
            self._said = time.monotonic()
            recipe = trainer.config.recipe
            audio = recipe.batch * recipe.seconds * self._count / self._took
            line = (
                f"{100 * trainer.progress():5.1f} %  step {trainer.step}  {trainer.hours:.3f} h  {_listed(means)}  "
                f"rate {trainer.optimiser.param_groups[0]['lr']:.1e}  step {self._took / self._count:.2f} s of which data "
                f"{100 * self._fed / self._took:.0f} %  {audio:.1f} audio-s/s  skipped {trainer.skipped}"
            )
            if self._terminal:
                print(f"\r{line}", end="", flush=True)
            else:
                self.say(line)
        if self._count >= self.EVERY:
            self._write(trainer, means)
            self._sums, self._count, self._took, self._fed = {}, 0, 0.0, 0.0

    def _write(self, trainer: Trainer, means: dict[str, float]) -> None:
        fields = ("total", "spectrum1", "ratio1", "spectrum2", "ratio2", "norm")
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                names = ("loss", *fields[1:])
                writer.writerow(("step", "hours", "stage", "rate", "skipped", *names))
            rate = trainer.optimiser.param_groups[0]["lr"]
            values = (f"{means[f]:.6f}" if f in means else "" for f in fields)
            writer.writerow(
                (trainer.step, f"{trainer.hours:.5f}", trainer.options.stage, f"{rate:.3e}", trainer.skipped, *values)
            )


def _listed(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in values.items())


def fixed_items(cache_path: Path, count: int, seconds: float, device: str, speech: bool = False) -> list[validate.Item]:
    """The fixed validation set, or only the `speech` in it; kinds that the cache has no material for are left out."""
    from .data import Cache
    from .degrade import fixed_set, is_of

    cache = Cache(cache_path, "valid")
    items = []
    for kind in validate.KINDS:
        batch = fixed_set(cache, kind, count, seconds, seed=7)
        rows = [row for row, tags in enumerate(batch.tags) if "speech" in tags or not speech]
        if rows and is_of(batch, kind):
            items.append(validate.Item(kind, *(c[rows].to(device) for c in (batch.noisy, batch.worn, batch.clean))))
    return items


def spec_of_phase(spec: Spec, stage: str, start: Path | None) -> Spec:
    """A config's spec, with a speech network only if the phase trains it or what it starts from (a run or weights) has one."""
    if stage != "speech":
        return dataclasses.replace(spec, speech=spec.speech and start is not None and declared(start).speech)
    if not spec.speech:
        raise ConfigError(f'{spec.name} has no speech network: its config must say "speech": true')
    return spec


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Trains one of the networks.")
    parser.add_argument("--config", required=True, help="name in configs/, or a path")
    material = parser.add_mutually_exclusive_group(required=True)
    material.add_argument("--cache", type=Path, help="data cache, see dualstep_training.data")
    material.add_argument("--folder", type=Path, metavar="CLEAN", help="your own clean recordings instead, see dualstep_training.own")
    parser.add_argument("--noise", type=Path, help="with --folder: your own recordings of noise")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoints and curves")
    parser.add_argument("--stage", choices=tuple(TRAINED), required=True, help="what is trained; speech: a second stage 1, on speech alone")
    parser.add_argument("--minutes", type=float, required=True, help="budget of this stage, over all resumed calls")
    parser.add_argument("--steps", type=int, help="budget in steps instead of minutes")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    parser.add_argument("--init", type=Path, help="start from a weights file, a checkpoint or another run")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    parser.add_argument("--batch", type=int, help="clips per step")
    parser.add_argument("--seconds", type=float, help="length of a clip")
    parser.add_argument("--rate", type=float, help="highest learning rate")
    parser.add_argument("--freeze-norm", action="store_true", help="keep the batch norms' statistics from the start of the phase, not only at its end")
    parser.add_argument(
        "--wear-only", type=float, metavar="SHARE", help="share of clips that are worn but carry no noise (default: as in degrade.py)"
    )
    parser.add_argument("--compile", action="store_true", help="have torch fuse kernels: faster after the first minute (torch 2)")
    parser.add_argument("--half", action="store_true", help="compute in bfloat16 on a CPU too: 1.7 times as fast where it knows the format (avx512_bf16, amx)")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches (0: the trainer makes them)")
    parser.add_argument("--echo", type=float, metavar="TIMES", help="use each clip so many times, its noise moved: for a GPU that waits for batches")
    parser.add_argument("--refresh", type=float, help="seconds of audio after which a slice of synthetic noise is made anew")
    parser.add_argument("--validate-minutes", type=float, default=10.0)
    parser.add_argument("--validate-count", type=int, default=4, help="clips per kind of the fixed set; 0 for none")
    parser.add_argument("--validate-seconds", type=float, default=11.0)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(argv)


def build(args: argparse.Namespace) -> Trainer:
    """The trainer that the command line asks for, weights loaded."""
    from . import everyday
    from .data import Cache
    from .degrade import Degrader
    from .own import own_cache

    config = Config.load(args.config)
    changes = {k: getattr(args, k) for k in ("batch", "seconds", "rate") if getattr(args, k) is not None}
    if args.rate is not None:
        changes["joint_rate"] = args.rate
    if not args.resume and (args.run / "checkpoint.pt").exists():
        raise ConfigError(f"{args.run} already holds a run: give --resume or another --run")
    spec = spec_of_phase(config.spec, args.stage, args.run if args.resume else args.init)
    config = Config(spec, dataclasses.replace(config.recipe, **changes))
    if args.noise is not None and args.folder is None:
        raise ConfigError("--noise goes with --folder; a cache has its noise")
    args.run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    cache = args.cache or own_cache(args.folder, args.noise, args.run / "cache")
    material, speech = Cache(cache, "train"), args.stage == "speech"
    if speech and "speech" not in material.kinds():
        raise ConfigError(f"{args.folder or cache} has no speech to train on")
    if speech and not everyday.kinds(material):
        raise ConfigError(
            f"{args.noise or args.folder or cache} has no everyday noise, which --stage speech learns to take away: "
            f"give {'--noise with' if args.folder else 'dualstep_training.data --noise with'} recordings of noise that goes on, such as a street or a fan"
        )
    items = []
    if args.validate_count:
        items = fixed_items(cache, args.validate_count, args.validate_seconds, args.device, speech)
    degrader = Degrader(material, seed=args.seed, refresh_s=args.refresh, wear_only=args.wear_only, speech_alone=speech)
    feed = Feed(degrader, config.recipe.batch, config.recipe.seconds, args.workers)
    if args.echo is not None:
        if args.echo < 1:
            raise ConfigError(f"--echo is {args.echo:g}, expected 1 or more: how often each clip is used")
        feed = Echo(feed, args.echo, config.recipe.batch, args.device, args.seed)
    options = Options(args.run, args.stage, args.minutes, args.steps, args.validate_minutes, args.freeze_norm, args.compile, args.half)
    trainer = Trainer(config, options, feed, items, args.device, manifest_hash(cache))
    if args.resume:
        trainer.resume()
    elif args.init:
        trainer.start_from(args.init)
    return trainer


@contextlib.contextmanager
def requests_to_end() -> Iterator[list[int]]:
    """Signals from a terminal or a supervisor that ask the run to end. The first is only noted; a second one raises `KeyboardInterrupt`."""
    asked: list[int] = []

    def note(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: list[str] | None = None) -> int:
    """Command line; see `--help`."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    # TensorFloat-32 where a GPU has it: the noise of ten bits of mantissa lies far under that of a batch.
    torch.set_float32_matmul_precision("high")
    try:
        trainer = build(args)
    except (ConfigError, ExportError, FileNotFoundError, MissingTool) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    log = Log(args.run / "train.csv")
    try:
        with requests_to_end() as stop:
            return 0 if trainer.train(log, stop) else 130
    except KeyboardInterrupt:
        log.say("ended at once; --resume goes on from the last checkpoint")
        return 130
    finally:
        trainer.feed.close()


if __name__ == "__main__":
    sys.exit(main())
