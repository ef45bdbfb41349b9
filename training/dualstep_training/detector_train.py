"""Trains the click detector. A run is a folder with `checkpoint.pt` and `train.csv`; `detector.py` has the commands."""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from .detector import Detector, DetectorError, Spec, read, unfolded
from .detector_events import DESTROYED, IGNORED
from .detector_feed import Feed, Labelled

NAME = "checkpoint.pt"
CHECKPOINT_S = 45.0
LINE_S = 15.0

RATE = 4e-3
LAST_RATE = 0.01
"""Highest learning rate of AdamW, and the last one relative to it."""

WARMUP_STEPS = 50
AVERAGE = 0.999
"""Decay per step of the averaged weights."""

FREEZE_FROM = 0.7
"""Share of the budget after which the batch norms keep their averaged statistics."""

HARD_WEIGHT = 8.0
"""Weight of items without any click: a false mark there damages clean audio."""

EDGE_WEIGHT = 4.0
"""Weight of destroyed samples: a missed one costs more than one too many beside it."""

SHORT = 8
"""Destroyed samples weigh as if their click had at least about twice as many samples: else one of a single sample counts for nothing beside one of 50."""

FOCUS = 1.0
"""Exponent of the focal loss (Lin et al. 2017): easy samples, nearly all, count little."""


def loss_of(logits: Tensor, batch: Labelled, lookahead: int, device: str) -> Tensor:
    """Focal cross entropy over the scored samples, `logits` being `lookahead` behind the labels."""
    labels = torch.from_numpy(batch.labels).to(device, non_blocking=True)[:, : labels_end(batch, lookahead)]
    logits = logits[:, lookahead:]
    destroyed = (labels == DESTROYED).float()
    hard = torch.from_numpy(batch.hard).to(device)[:, None]
    share = F.avg_pool1d(destroyed[:, None], 2 * SHORT + 1, 1, SHORT)[:, 0].clamp_min(1 / (2 * SHORT + 1))
    weight = (labels != IGNORED).float() * (1 + (HARD_WEIGHT - 1) * hard.float()) * (1 + (EDGE_WEIGHT / share - 1) * destroyed)
    entropy = F.binary_cross_entropy_with_logits(logits, destroyed, reduction="none")
    missed = (torch.sigmoid(logits) - destroyed).abs() ** FOCUS
    return 100 * (weight * missed * entropy).mean()


def labels_end(batch: Labelled, lookahead: int) -> int:
    """Samples that there is an answer for."""
    return batch.labels.shape[1] - lookahead


def audio_of(batch: Labelled, device: str) -> Tensor:
    """float32 `[batch, samples]` within -1..1."""
    return torch.from_numpy(batch.audio).to(device, non_blocking=True).float() / 32_768


class Run:
    """Network, average, optimiser and counts: what a checkpoint holds."""

    def __init__(self, folder: Path, device: str, net: Detector | None = None, rate: float = RATE):
        self.folder, self.device, self.rate = folder, device, rate
        self.net = (net or Detector()).to(device)
        self.average = copy.deepcopy(self.net).eval()
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=rate, weight_decay=0.001)
        self.step, self.skipped, self.calls, self.hours, self.elapsed_s = 0, 0, 0, 0.0, 0.0
        self.frozen = False

    def save(self) -> None:
        """Writes the checkpoint; a reader sees the old one or the new one, never a part."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / (NAME + ".part")
        state = {name: getattr(self, name) for name in ("step", "skipped", "calls", "hours", "elapsed_s", "frozen")}
        torch.save({"spec": asdict(self.net.spec), "weights": self.net.state_dict(), "average": self.average.state_dict(),
                    "optimiser": self.optimiser.state_dict(), **state}, part)
        os.replace(part, self.folder / NAME)

    def resume(self) -> None:
        """Goes on from the folder's checkpoint. Batches are new ones: workers don't keep step with each other."""
        saved = _saved(self.folder, self.device)
        self.net.load_state_dict(saved["weights"])
        self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        for name in ("step", "skipped", "calls", "hours", "elapsed_s", "frozen"):
            setattr(self, name, saved[name])

    def train_step(self, batch: Labelled, progress: float) -> float:
        """One step. One that isn't finite changes nothing."""
        self._mode(progress)
        rate = self.rate * min(1.0, (self.step + 1) / WARMUP_STEPS) * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(self.net(audio_of(batch, self.device)), batch, self.net.spec.lookahead, self.device)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.net.parameters(), 1.0))
        value = float(loss.detach())
        if math.isfinite(value) and math.isfinite(norm):
            self.optimiser.step()
            self._follow()
        else:
            self.skipped += 1
            for mean, now in zip(self.average.buffers(), self.net.buffers(), strict=True):
                now.copy_(mean)
        self.step += 1
        self.hours += batch.labels.size / 48_000 / 3600
        return value

    def _mode(self, progress: float) -> None:
        """Freezes the batch norms' statistics in the last part of the budget."""
        self.net.train()
        if progress < FREEZE_FROM and not self.frozen:
            return
        if not self.frozen:
            self.frozen = True
            for mean, now in zip(self.average.buffers(), self.net.buffers(), strict=True):
                now.copy_(mean)
        for module in self.net.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()

    def _follow(self) -> None:
        keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, now in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(now, 1 - keep)
                else:
                    mean.copy_(now)


def _saved(run: Path, device: str = "cpu") -> dict:
    path = run / NAME if run.is_dir() else run
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint at {path}; train a run there first")
    saved = torch.load(path, map_location=device)
    if saved["spec"] != asdict(Spec(**saved["spec"])):
        raise DetectorError(f"{path} holds a detector of another kind")
    return saved


def load(run: Path) -> tuple[Detector, dict]:
    """The averaged network of a run, in evaluation mode, and the checkpoint's other entries."""
    saved = _saved(run)
    net = Detector(Spec(**saved["spec"]))
    net.load_state_dict(saved["average"])
    return net.eval(), saved


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `train`."""
    parser.add_argument("--cache", type=Path, required=True, help="data cache, see dualstep_training.data")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--minutes", type=float, required=True, help="budget over all resumed calls")
    parser.add_argument("--call-minutes", type=float, default=math.inf, help="save and end this call then, though the budget isn't used up")
    parser.add_argument("--steps", type=int, help="budget in steps instead: what tests use")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batch", type=int, default=32, help="clips per step")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a clip")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches; 0: this one")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the network; 0: torch's choice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    parser.add_argument("--init", type=Path, help="exported file to begin with; its batch norms are folded, so they stay frozen")
    parser.add_argument("--more", type=more, nargs="+", default=[], metavar="DILATION[:WAIT]", help="with --init: residual layers to put on top")
    parser.add_argument("--rate", type=float, default=RATE, help=f"highest learning rate (default: {RATE})")


def more(text: str) -> tuple[int, int]:
    """A residual layer to put on top: its dilation and, after a colon, the frames that it waits."""
    dilation, _, wait = text.partition(":")
    if not (dilation.isdecimal() and int(dilation) > 0 and (wait or "0").isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is no layer; expected DILATION or DILATION:WAIT in frames, such as 3 or 3:3")
    return int(dilation), int(wait or 0)


def train(options: argparse.Namespace) -> None:
    """Trains until the budget is used up; SIGTERM and Ctrl-C save first."""
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    if options.more and not options.init:
        raise DetectorError("--more puts layers on top of the weights of --init, and there is no --init")
    net, hours = _begun(options)
    run = Run(options.run, options.device, net, options.rate)
    run.hours, run.frozen = hours, net is not None
    if options.resume:
        run.resume()
    elif (options.run / NAME).exists():
        raise DetectorError(f"{options.run} already holds a run: --resume goes on with it, another --run begins anew")
    options.run.mkdir(parents=True, exist_ok=True)
    stop: list[int] = []
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda number, _: stop.append(number))
    feed = Feed(options.cache, options.batch, options.seconds, options.workers, options.seed + 100 * run.calls)
    run.calls += 1
    try:
        _loop(run, feed, options, stop)
    finally:
        feed.close()
        run.save()
    print(f"{time.strftime('%H:%M:%S')} saved: {run.step} steps, {run.hours:.2f} h of audio, {run.skipped} steps skipped", flush=True)


def _begun(options: argparse.Namespace) -> tuple[Detector | None, float]:
    """What a run begins with, and the hours behind it."""
    if options.resume:
        return Detector(Spec(**_saved(options.run)["spec"])), 0.0
    if not options.init:
        return None, 0.0
    if not options.init.exists():
        raise FileNotFoundError(f"no weights at {options.init}")
    with safe_open(str(options.init), "np") as file:
        hours = float(json.loads(file.metadata()["spec"]).get("hours", 0.0))
    return unfolded(read(options.init), tuple(options.more)), hours


def _loop(run: Run, feed: Feed, options: argparse.Namespace, stop: list[int]) -> None:
    started = last = saved = said = time.monotonic()
    total, count, waited = 0.0, 0, 0.0
    while not stop:
        progress = run.step / options.steps if options.steps else run.elapsed_s / (60 * options.minutes)
        if progress >= 1 or time.monotonic() - started > 60 * options.call_minutes:
            return
        asked = time.monotonic()
        batch = feed.take()
        waited += time.monotonic() - asked
        total, count = total + run.train_step(batch, progress), count + 1
        now = time.monotonic()
        run.elapsed_s, last = run.elapsed_s + now - last, now
        if now - said > LINE_S:
            audio = count * options.batch * options.seconds / (now - said)
            print(f"{time.strftime('%H:%M:%S')} {100 * progress:5.1f} %  step {run.step}  {run.hours:.2f} h  loss {total / count:.4f}  {audio:.0f} audio-s/s  "
                  f"waited for data {100 * waited / (now - said):.0f} %  skipped {run.skipped}", flush=True)
            with (run.folder / "train.csv").open("a", newline="") as file:
                csv.writer(file).writerow((run.step, f"{run.hours:.4f}", f"{total / count:.6f}"))
            said, total, count, waited = now, 0.0, 0, 0.0
        if now - saved > CHECKPOINT_S:
            run.save()
            saved = now
