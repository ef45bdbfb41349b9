"""Shrinks what stage 2's U-Net adds, as an estimate is shrunk that is right on the mean and far off now and then.

    python -m dualstep_training.shrink score --cache CACHE --weights assets/weights/studio.safetensors
    python -m dualstep_training.shrink apply --weights assets/weights/studio.safetensors --share 0.5 --golden tests/data/golden/studio.safetensors

What the U-Net adds, taps and additive term alike, is linear in its head, so a share of it is the head's weights times that share: the engine needs to know
nothing of it. `score` tells what each share gains and costs, on validation clips as long as recordings are.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from torch import Tensor

from . import metrics, validate
from .config import ConfigError, Spec
from .data import Cache
from .degrade import fixed_set
from .export import folded_network, golden, read, write

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
KINDS = (*validate.UNTOUCHED, *validate.WEAR, "hiss", "clicks", "thumps")
CLIPS, SECONDS, LEAD_S = 16, 9.0, 1.0
SEED = 100
"""Another one than `train.fixed_items` has, so that a training isn't judged by the clips that chose its share."""


def shrunk(tensors: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The tensors of a weights file with `share` (0..=1) of what stage 2's U-Net adds.

    Raises `ConfigError` if the share isn't one.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share is {share}, expected 0 (nothing of it) to 1 (all of it)")
    return {name: value * share if name.startswith("stage2.head.") else value for name, value in tensors.items()}


def apply(weights: Path, share: float, golden_out: Path | None) -> None:
    """Rewrites a weights file, and its golden vectors if asked for. Hours, data and commit stay those of the training."""
    tensors, fields = read(weights)
    tensors = shrunk(tensors, share)
    vectors = golden(folded_network(Spec.from_metadata(fields), tensors))
    spec = json.dumps(fields)
    write(weights, {name: value.numpy() for name, value in tensors.items()}, {"spec": spec})
    if golden_out is not None:
        write(golden_out, vectors, {"weights": weights.name, "spec": spec})


def score(cache: Cache, weights: Path, clips: int) -> None:
    """Prints, per kind and share, what stage 2 adds to stage 1, SI-SDR in dB against the unworn clip: mean over clips, and the worst one."""
    tensors, fields = read(weights)
    spec = Spec.from_metadata(fields)
    nets = [folded_network(spec, shrunk(tensors, share)).eval() for share in SHARES]
    synthesis = validate.Synthesis(spec)
    print("| kind | stage 1 | " + " | ".join(f"{share:g}, mean | worst" for share in SHARES) + " |")
    print("|---" * (2 + 2 * len(SHARES)) + "|")
    for kind in KINDS:
        batch = fixed_set(cache, kind, clips, SECONDS, SEED)
        part = slice(round(LEAD_S * validate.RATE_HZ), batch.clean.shape[1] - (spec.lookahead_hops + 1) * synthesis.stft.hop)
        before, added = [], [[] for _ in SHARES]
        for row in range(clips):
            clean = batch.clean[row : row + 1, part]
            for net, sums in zip(nets, added):
                first, second, _ = synthesis(net, batch.noisy[row : row + 1])
                alone = float(metrics.si_sdr(first[:, part], clean))
                sums.append(float(metrics.si_sdr(second[:, part], clean)) - alone)
            before.append(alone)
        cells = " | ".join(f"{sum(sums) / clips:+.2f} | {min(sums):+.1f}" for sums in added)
        print(f"| {kind} | {sum(before) / clips:.1f} | {cells} |", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Command line; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m dualstep_training.shrink", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    scoring = commands.add_parser("score", help="what shares gain and cost")
    scoring.add_argument("--cache", type=Path, required=True)
    scoring.add_argument("--clips", type=int, default=CLIPS, help=f"clips per kind (default: {CLIPS})")
    applying = commands.add_parser("apply", help="rewrite a weights file")
    applying.add_argument("--share", type=float, required=True, help="share that stays, 0 to 1")
    applying.add_argument("--golden", type=Path, help="golden vectors to write anew")
    for command in (scoring, applying):
        command.add_argument("--weights", type=Path, required=True, help="a .safetensors file")
    options = parser.parse_args(argv)
    try:
        if options.command == "score":
            score(Cache(options.cache, "valid"), options.weights, options.clips)
        else:
            apply(options.weights, options.share, options.golden)
    except (ConfigError, FileNotFoundError) as error:
        print(f"shrink: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
