"""Command line of the evaluation: see `--help` and `training/README.md`."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import torch

from ..data import Cache
from . import figures, listening, quick, report, scoring, stimuli
from .stimuli import TestSet
from .systems import REPOSITORY, Missing, System, Weights, everything, slug


def _set(options: argparse.Namespace) -> int:
    """Writes the test set."""
    test = stimuli.write(Cache(options.cache, options.split), options.out / "set", options.clips, options.seconds, options.seed)
    print(f"{len(test.clips)} clips, fingerprint {test.fingerprint}, in {test.folder}")
    return 0


def _chosen(options: argparse.Namespace) -> list[System]:
    systems = everything()
    if options.weights:
        systems.append(Weights(f"weights {options.weights.name}", options.weights))
    known = [system.name for system in systems]
    for name in options.only:
        if name not in known and name not in ("input", "baseline", "peer", "dualstep"):
            raise SystemExit(f"no system {name!r}; there are {', '.join(known)}, and the groups input, baseline, peer, dualstep")
    return [system for system in systems if not options.only or system.name in options.only or system.group in options.only]


def _run(options: argparse.Namespace) -> int:
    """Restores and scores."""
    test = TestSet.load(options.out / "set", options.first)
    ready = []
    for system in _chosen(options):
        folder = options.out / "restored" / slug(system.name)
        clips = system.wanted(test)
        try:
            version = system.version()
            if not options.force and scoring.is_current(options.out, test, system, version):
                continue
            _prepare(folder, test, version, options.force)
            notes = system.render(test, clips, folder)
            if system.version() != version:
                raise Missing(f"{system.name} was replaced by another version on the way: run this again")
        except Missing as reason:
            print(f"LEFT OUT: {reason}", file=sys.stderr)
            continue
        ready.append((system, version, clips, folder, notes))
        if system.companion is None:
            _score(options.out, test, ready.pop())
    for system, *entry in ready:  # those that are compared with another one's clips
        own, other = (options.out / "restored" / slug(name) / "set.txt" for name in (system.name, system.companion))
        if other.exists() and own.read_text() == other.read_text():
            _score(options.out, test, (system, *entry))
        else:
            print(f"LEFT OUT: {system.name} is compared with {system.companion}, which isn't there in this version: run that, too", file=sys.stderr)
    return 0


def _prepare(folder: Path, test: TestSet, version: str, force: bool) -> None:
    """Empties the folder of a system's clips unless they are of this set and this version."""
    path, wanted = folder / "set.txt", f"{test.fingerprint} {version}".strip()
    if not force and path.exists() and path.read_text() == wanted:
        return
    if path.exists() and not force:
        print(f"{folder}: restored from another set or by another version, so it begins anew", file=sys.stderr)
    for old in (folder, folder.with_name(folder.name + ".raw")):
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(parents=True)
    path.write_text(wanted)


def _score(out: Path, test: TestSet, entry: tuple[System, str, list[stimuli.Clip], Path, dict[str, object]]) -> None:
    system, version, clips, folder, notes = entry
    scoring.save(out, test, system, scoring.score(test, system, clips, folder), notes, version)


def _report(options: argparse.Namespace) -> int:
    """Writes the page, the pictures and the listening test."""
    results = report.write(options.out, options.docs, options.first)
    pictures = figures.write(options.out, results)
    page = listening.write(options.out, results)
    print(f"{options.docs}, {options.out / 'report.json'}, {len(pictures)} pictures in {options.out / 'figures'}, {page}")
    return 0


def _quick(options: argparse.Namespace) -> int:
    """Compares trainings."""
    for weights in options.run_folder + options.weights:
        quick.run(options.cache, weights, options.clips)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dualstep_training.evaluate", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    out = argparse.ArgumentParser(add_help=False)
    out.add_argument("--out", type=Path, default=Path("out/evaluation"), help="folder of the evaluation (default: out/evaluation)")
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--first", type=int, metavar="N", help="the first N clips of each kind: less to do, wider intervals (default: all)")
    cache = argparse.ArgumentParser(add_help=False)
    cache.add_argument("--cache", type=Path, default=Path(__file__).resolve().parents[2] / "cache", help="folder of the training cache")

    command = commands.add_parser("set", parents=[out, cache], help="write the test set")
    command.add_argument("--clips", type=int, default=12, help="clips per kind (default: 12)")
    command.add_argument("--seconds", type=float, default=10.0, help="seconds that are scored of each (default: 10)")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--split", default="test", choices=("test", "valid"), help="split of the cache (default: test)")
    command.set_defaults(run=_set)

    command = commands.add_parser("run", parents=[out, first], help="restore and score the set with every system that is installed")
    command.add_argument("--only", nargs="*", default=[], metavar="SYSTEM", help="names or groups (input, baseline, peer, dualstep)")
    command.add_argument("--weights", type=Path, help="score these weights too (a run, a checkpoint, a .safetensors), in PyTorch")
    command.add_argument("--force", action="store_true", help="do again what is done already")
    command.set_defaults(run=_run)

    command = commands.add_parser("report", parents=[out, first], help="write docs/sound.md, pictures and the listening test")
    command.add_argument("--docs", type=Path, default=REPOSITORY / "docs" / "sound.md", help="the page to write (default: docs/sound.md)")
    command.set_defaults(run=_report)

    command = commands.add_parser("quick", parents=[cache], help="score trainings on the validation split, in PyTorch, on one thread")
    command.add_argument("--run", dest="run_folder", type=Path, action="append", default=[], help="folder of a run, or a checkpoint")
    command.add_argument("--weights", type=Path, action="append", default=[], help="a .safetensors file")
    command.add_argument("--clips", type=int, default=quick.CLIPS, help=f"clips per kind (default: {quick.CLIPS})")
    command.set_defaults(run=_quick)

    options = parser.parse_args(arguments)
    if options.run is _quick and not options.run_folder + options.weights:
        parser.error("quick: give --run or --weights")
    torch.set_num_threads(1)
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
