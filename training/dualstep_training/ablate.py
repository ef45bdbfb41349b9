"""Short runs of equal budget: what each part of the networks and of the loss is worth.

    python -m dualstep_training.ablate --cache CACHE --out DIR --steps 1500 --seconds-each 90 --device cuda --jobs 4

Every variant (`variants.py`) is trained from scratch on the very same batches, as many `--steps` each, and scored on the
fixed validation set. The batches are rendered once, by `--workers` processes, into memory that all runs share. Each run
is a process of its own; one that fails is reported and the others go on. After each of them `ablation.json` and
`ablation.md` are written anew, so that a call that is cut off has lost only what was running.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import mmap
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from . import validate
from .config import Config, ConfigError, Recipe
from .data import Cache
from .degrade import Degrader, fixed_set, is_of
from .feed import Clips, made
from .macs import macs_per_frame
from .train import Options, Trainer
from .variants import VARIANTS, Variant

PROCESSES = multiprocessing.get_context("fork")
"""Children share the parent's memory and imports. The parent never touches the device, so each child may."""

SPLITS = ("valid", "train")
"""What runs are scored on; the difference tells what is learned by heart."""


READY, LACKING = 1, 2
"""Of a batch or a fixed set: rendered; or the cache has no material for it."""


class Failed(RuntimeError):
    """The batches can't be rendered."""


def shared(shape: tuple[int, ...], kind: type) -> np.ndarray:
    """Zeros that forked processes see each other write."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    return np.frombuffer(mmap.mmap(-1, max(size, 1)), dtype=kind, count=math.prod(shape)).reshape(shape)


@dataclass(frozen=True)
class Plan:
    """What is rendered and trained: the same for every variant."""

    cache: Path
    config: Config
    steps: int
    seconds_each: float
    device: str
    workers: int
    count: int
    """Clips per kind of the fixed sets."""
    count_seconds: float
    refresh_s: float
    """As of `degrade.Degrader`. Each worker makes all slices of noise, so that more than a few cost."""
    seed: int


class Material:
    """The batches and the fixed sets, rendered by worker processes into shared memory."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        recipe = plan.config.recipe
        samples = round(recipe.seconds * validate.RATE_HZ)
        # 16 bits per sample, each clip at full scale; noisy, worn, clean.
        self._audio = shared((plan.steps, 3, recipe.batch, samples), np.int16)
        self._scale = shared((plan.steps, recipe.batch), np.float32)
        self._sets = shared((len(SPLITS), len(validate.KINDS), 3, plan.count, round(plan.count_seconds * validate.RATE_HZ)), np.float32)
        self._ready = shared((plan.steps + self._sets.shape[0] * self._sets.shape[1] + 1,), np.uint8)
        self.spent_s = 0.0
        self.state: dict[str, object] = {}
        self._taken = 0

    def start(self) -> list:
        """Starts the workers."""
        processes = [PROCESSES.Process(target=self._work, args=(n,), name=f"render-{n}", daemon=True) for n in range(self.plan.workers)]
        for process in processes:
            process.start()
        return processes

    def _work(self, worker: int) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._render(worker)
        except Exception:
            traceback.print_exc()
            self._ready[-1] = READY

    def _render(self, worker: int) -> None:
        plan, recipe = self.plan, self.plan.config.recipe
        degrader = Degrader(Cache(plan.cache, "train"), seed=plan.seed, refresh_s=plan.refresh_s)
        start = degrader.state_dict()
        for step in range(worker, plan.steps, plan.workers):
            degrader.load_state_dict({**start, "batches": step, "seconds": step * recipe.batch * recipe.seconds})
            clips = made(degrader, recipe.batch, recipe.seconds)
            audio = torch.stack((clips.noisy, clips.worn, clips.clean))
            scale = audio.abs().amax((0, 2)).clamp_min(1e-6) / 32767.0
            self._audio[step] = (audio / scale[:, None]).round().numpy().astype(np.int16)
            self._scale[step] = scale.numpy()
            self._ready[step] = READY
        for number in range(worker, len(self._ready) - 1 - plan.steps, plan.workers):
            split, kind = divmod(number, len(validate.KINDS))
            batch = fixed_set(Cache(plan.cache, SPLITS[split]), validate.KINDS[kind], plan.count, plan.count_seconds, seed=7)
            for part, audio in enumerate((batch.noisy, batch.worn, batch.clean)):
                self._sets[split, kind, part] = audio.numpy()
            self._ready[plan.steps + number] = READY if is_of(batch, validate.KINDS[kind]) else LACKING

    def _wait(self, number: int) -> int:
        started = time.perf_counter()
        while not self._ready[number]:
            if self._ready[-1]:
                raise Failed("rendering the batches failed, see above")
            time.sleep(0.002)
        self.spent_s += time.perf_counter() - started
        return int(self._ready[number])

    def take(self) -> Clips:
        """The next batch, as `feed.Feed` gives them; on the device."""
        self._wait(self._taken)
        audio = torch.from_numpy(self._audio[self._taken]).to(self.plan.device).float()
        audio *= torch.from_numpy(self._scale[self._taken]).to(self.plan.device)[:, None]
        self._taken += 1
        return Clips(*audio, {})

    def items(self, split: str) -> list[validate.Item]:
        """The fixed set of a split, on the device."""
        place, items = SPLITS.index(split), []
        for number, kind in enumerate(validate.KINDS):
            if self._wait(self.plan.steps + place * len(validate.KINDS) + number) == LACKING:
                continue
            items.append(validate.Item(kind, *torch.from_numpy(self._sets[place, number]).to(self.plan.device)))
        return items


class Run(Trainer):
    """Trains one variant until its steps or its seconds are used up; the learning rate falls along whichever is nearer."""

    def __init__(self, variant: Variant, plan: Plan, material: Material) -> None:
        self.variant, self.seconds_each = variant, plan.seconds_each
        recipe = replace(plan.config.recipe, joint_rate=plan.config.recipe.rate)
        config = Config(variant.spec(plan.config.spec), recipe)
        options = Options(Path(), variant.stage, 0.0, plan.steps)
        net = variant.net(config.spec)
        # The spec that is trained by is the network's: one that isn't streaming has no look-ahead.
        super().__init__(replace(config, spec=net.spec), options, material, [], plan.device, "")
        self.net = net.to(plan.device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net).eval()
        self.net.half = torch.device(plan.device).type == "cuda"
        self.loss = variant.loss(net.spec, variant.weights, plan.device)
        self._begin_phase()

    def progress(self) -> float:
        return max(super().progress(), self.elapsed_s / self.seconds_each)

    def run(self) -> None:
        started, waited = time.monotonic(), self.feed.spent_s
        while self.progress() < 1.0:
            self.train_step()
            # Waiting for batches, as the first run does while they are rendered, is no one's budget.
            self.elapsed_s = time.monotonic() - started - (self.feed.spent_s - waited)


def trained(variant: Variant, plan: Plan, material: Material) -> dict[str, object]:
    """Trains and scores one variant. Returns a row of the table."""
    torch.manual_seed(plan.seed)
    row: dict[str, object] = {"name": variant.name, "says": variant.says, "status": "ok"}
    run = Run(variant, plan, material)
    row["parameters"] = sum(p.numel() for p in run.net.parameters())
    clip = round(plan.config.recipe.seconds * validate.RATE_HZ)
    row["mmac_per_frame"] = macs_per_frame(variant.net(run.config.spec).eval(), run.config.spec, run.stft.frames(clip)) / 1e6
    row["widths"] = [list(stage.widths) for stage in run.config.spec.stages]
    run.run()
    row |= {"steps": run.phase_steps, "audio_hours": run.hours, "seconds": run.elapsed_s, "skipped": run.skipped}
    for split in SPLITS:
        table = validate.score(run.average, material.items(split))
        summary = validate.summary(table)
        summary["gain_worn"] = sum(table[kind]["gain2"] for kind in validate.WEAR) / len(validate.WEAR)
        row[split] = {"summary": summary, "kinds": table}
    if run.skipped * 2 > run.phase_steps or not math.isfinite(row["valid"]["summary"]["gain2"]):
        row["status"] = f"not finite: {run.skipped} of {run.phase_steps} steps skipped"
        for split in SPLITS:
            del row[split]
    return row


def child(variant: Variant, plan: Plan, material: Material, path: Path) -> None:
    """A process: writes its row, or why there is none."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    try:
        row = trained(variant, plan, material)
    except Exception as error:
        traceback.print_exc()
        row = {"name": variant.name, "says": variant.says, "status": f"failed: {type(error).__name__}: {error}"[:300]}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(row))
    os.replace(part, path)


def ablate(plan: Plan, chosen: list[Variant], out: Path, jobs: int) -> list[dict[str, object]]:
    """Runs the variants, `jobs` at once; writes the tables after each. Returns the rows in the variants' order."""
    out.mkdir(parents=True, exist_ok=True)
    material = Material(plan)
    workers = material.start()
    rows: dict[str, dict[str, object]] = {}
    running: dict[str, object] = {}
    waiting = list(chosen)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                variant = waiting.pop(0)
                path = out / f"{variant.name}.json"
                path.unlink(missing_ok=True)
                running[variant.name] = PROCESSES.Process(target=child, args=(variant, plan, material, path), daemon=True)
                running[variant.name].start()
            multiprocessing.connection.wait([process.sentinel for process in running.values()])
            for name in [name for name, process in running.items() if not process.is_alive()]:
                process, path = running.pop(name), out / f"{name}.json"
                died = {"name": name, "says": "", "status": f"failed: its process ended with {process.exitcode}"}
                rows[name] = json.loads(path.read_text()) if path.exists() else died
                table = [rows[v.name] for v in chosen if v.name in rows]
                write(out, plan, table)
                print(f"{time.strftime('%H:%M:%S')} {line(rows[name])}", flush=True)
    finally:
        for process in (*running.values(), *workers):
            process.terminate()
    return [rows[v.name] for v in chosen if v.name in rows]


def write(out: Path, plan: Plan, rows: list[dict[str, object]]) -> None:
    """`ablation.json` and `ablation.md`."""
    recipe = plan.config.recipe
    budget = {
        "config": plan.config.spec.name, "steps": plan.steps, "batch": recipe.batch, "clip_seconds": recipe.seconds, "rate": recipe.rate,
        "audio_hours": plan.steps * recipe.batch * recipe.seconds / 3600, "seconds_each_at_most": plan.seconds_each, "seed": plan.seed,
        "refresh_s": plan.refresh_s,
        "validation_clips_per_kind": plan.count, "validation_clip_seconds": plan.count_seconds, "device": plan.device,
    }  # fmt: skip
    for name, text in (("ablation.json", json.dumps({"budget": budget, "rows": rows}, indent=1)), ("ablation.md", markdown(rows))):
        part = out / (name + ".part")
        part.write_text(text)
        os.replace(part, out / name)


COLUMNS = (
    ("steps", lambda r: f"{r['steps']}"),
    ("audio, h", lambda r: f"{r['audio_hours']:.1f}"),
    ("parameters, k", lambda r: f"{r['parameters'] / 1e3:.0f}"),
    ("MMAC/frame", lambda r: f"{r['mmac_per_frame']:.1f}"),
    ("noise: stage 1", lambda r: f"{r['valid']['summary']['gain1']:+.2f}"),
    ("noise: both", lambda r: f"{r['valid']['summary']['gain2']:+.2f}"),
    ("wear: both", lambda r: f"{r['valid']['summary']['gain_worn']:+.2f}"),
    ("wear: stage 2 adds", lambda r: f"{r['valid']['summary']['added2_wear']:+.2f}"),
    ("clean in", lambda r: f"{r['valid']['summary']['clean_in']:.1f}"),
    ("lost", lambda r: f"{r['valid']['summary']['lost_db']:.2f}"),
    ("gap", lambda r: f"{r['train']['summary']['gain2'] - r['valid']['summary']['gain2']:+.2f}"),
)
"""Columns of the table; `docs/ablation.md` says what they mean."""


def against(row: dict[str, object], first: dict[str, object], kinds: tuple[str, ...]) -> tuple[float, float]:
    """Mean difference of both stages' gain from the first row's over `kinds` of both fixed sets, dB, and its standard error.

    The error is that of a few clips, kind by kind; what another seed would change is not in it.
    """
    pairs = [(row[split]["kinds"].get(kind), first[split]["kinds"].get(kind)) for split in SPLITS for kind in kinds]
    differences = np.array([ours["gain2"] - theirs["gain2"] for ours, theirs in pairs if ours and theirs])
    return float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(len(differences)))


COMPARED = (("noise, against first", validate.NOISE), ("wear, against first", validate.WEAR))


def markdown(rows: list[dict[str, object]]) -> str:
    """The table; a run that failed says so in its row."""
    names = [name for name, _ in (*COLUMNS, *COMPARED)]
    lines = ["| variant | what differs | " + " | ".join(names) + " |", "|---|---" + "|---:" * len(names) + "|"]
    for row in rows:
        if row["status"] != "ok":
            cells = [str(row["status"])] + [""] * (len(names) - 1)
        else:
            cells = [text(row) for _, text in COLUMNS]
            for _, kinds in COMPARED:
                known = row is not rows[0] and rows[0]["status"] == "ok"
                cells.append("{:+.2f} ± {:.2f}".format(*against(row, rows[0], kinds)) if known else "")
        lines.append(f"| {row['name']} | {row['says']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def line(row: dict[str, object]) -> str:
    """A row for the terminal."""
    if row["status"] != "ok":
        return f"{row['name']}: {row['status']}"
    return f"{row['name']}: " + ", ".join(f"{name} {text(row)}" for name, text in COLUMNS) + f" ({row['seconds']:.0f} s)"


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m dualstep_training.ablate", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="data cache, see dualstep_training.data")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--config", default="studio", help="what the first row trains: name in configs/, or a path")
    parser.add_argument("--steps", type=int, default=1000, help="steps of each variant")
    parser.add_argument("--seconds-each", type=float, default=math.inf, help="a variant that needs longer ends here, its learning rate at its lowest")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batch", type=int, default=Recipe.batch, help="clips per step")
    parser.add_argument("--clip-seconds", type=float, default=Recipe.seconds, help="length of a clip")
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="highest learning rate")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="processes that render batches")
    parser.add_argument("--refresh", type=float, default=600.0, help="seconds of audio after which a slice of synthetic noise is made anew")
    parser.add_argument("--jobs", type=int, default=1, help="variants that train at once")
    parser.add_argument("--only", help=f"comma-separated, of: {', '.join(v.name for v in VARIANTS)}")
    parser.add_argument("--validate-count", type=int, default=6, help="clips per kind of the fixed set")
    parser.add_argument("--validate-seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Command line; see `--help`."""
    args = parse(argv)
    torch.set_num_threads(1)  # so that no threads are lost in forking
    known = {v.name: v for v in VARIANTS}
    names = args.only.split(",") if args.only else list(known)
    try:
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConfigError(f"no variant {', '.join(unknown)}; there are: {', '.join(known)}")
        if args.steps < 1 or args.jobs < 1 or args.workers < 1:
            raise ConfigError(f"--steps {args.steps}, --jobs {args.jobs} and --workers {args.workers} must be at least 1")
        config = Config.load(args.config)
        recipe = replace(config.recipe, batch=args.batch, seconds=args.clip_seconds, rate=args.rate)
        Cache(args.cache, "train"), Cache(args.cache, "valid")
    except (ConfigError, FileNotFoundError) as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 1
    plan = Plan(args.cache, replace(config, recipe=recipe), args.steps, args.seconds_each, args.device, args.workers,
                args.validate_count, args.validate_seconds, args.refresh, args.seed)  # fmt: skip
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        rows = ablate(plan, [known[name] for name in names], args.out, args.jobs)
    except KeyboardInterrupt:
        print(f"ablate: stopped; the finished variants are in {args.out}", file=sys.stderr)
        return 130
    print((args.out / "ablation.md").read_text())
    return 0 if all(row["status"] == "ok" for row in rows) else 2


if __name__ == "__main__":
    sys.exit(main())
