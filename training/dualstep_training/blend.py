"""Blends the averaged weights of two runs, of which one went on from the other: what the later one learnt, without all that it forgot.

    python -m dualstep_training.blend --earlier runs/studio --later runs/studio-more --share 0.6 --run runs/studio-blend

Between a network and what training made of it on other material lie networks that do both better than either end (Wortsman et al., "Robust
fine-tuning of zero-shot models", CVPR 2022). The result is a run's folder: to validate, to export, and to train on from with `--init`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from .checkpoint import Checkpoint, with_speech
from .config import ConfigError, Spec


def blend(earlier: Checkpoint, later: Checkpoint, share: float) -> Checkpoint:
    """`share` (0..=1) of the later run's averaged weights, the rest of the earlier one's. Hours and data are the later one's.

    A speech network that the earlier run hasn't got began as stage 1, and is blended with that. Raises `ConfigError` if the networks differ or
    the share isn't one.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share is {share}, expected 0 (all of the earlier run) to 1 (all of the later one)")
    before, after, start = Spec.from_metadata(earlier.spec), Spec.from_metadata(later.spec), earlier.average
    if after.speech and not before.speech:
        before, start = dataclasses.replace(before, speech=True), with_speech(start)
    if before != after:
        raise ConfigError(f"the runs are of different networks: {before} and {after}")
    average = {
        name: weight + share * (later.average[name] - weight) if weight.is_floating_point() else later.average[name]
        for name, weight in start.items()
    }
    return Checkpoint(later.spec, average, average, later.data, later.hours, later.step)


def main(argv: list[str] | None = None) -> int:
    """Command line; see `--help`."""
    parser = argparse.ArgumentParser(description="Blends the averaged weights of two runs into a new run.")
    parser.add_argument("--earlier", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--later", type=Path, required=True, help="folder of a run that went on from it")
    parser.add_argument("--share", type=float, required=True, help="the later run's, 0 to 1")
    parser.add_argument("--run", type=Path, required=True, help="folder to write, which holds no run yet")
    args = parser.parse_args(argv)
    try:
        if args.run.exists():
            raise ConfigError(f"{args.run} exists already; give another --run")
        blend(Checkpoint.load(args.earlier), Checkpoint.load(args.later), args.share).save(args.run)
    except (ConfigError, FileNotFoundError) as error:
        print(f"blend: {error}", file=sys.stderr)
        return 1
    print(f"{args.run}: {args.share:g} of {args.later}, the rest of {args.earlier}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
