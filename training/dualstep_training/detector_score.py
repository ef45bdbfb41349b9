"""Scores a click detector on fixed validation sets: events found and falsely marked, and what interpolating the marks gains or costs.

The interpolator is the engine's (plugin/engine/src/repair) for whole clips: least-squares autoregressive interpolation of order 30
over 60 ms (Janssen et al. 1986; Godsill & Rayner 1998, section 5.2), marks of up to 4 ms.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import scipy.linalg
import torch

from . import metrics
from .data import Cache
from .degrade import Batch, fixed_set, levels
from .detector import RATE_HZ, Detector, read
from .detector_events import DESTROYED, INTACT, add_pops, recorded_pops
from .detector_feed import labels_of

JOIN = 12
"""Marks closer than this many samples (0.25 ms) are one event."""

LONGEST = 192
"""Longest event that is interpolated, in samples."""

ORDER, BLOCK, AFTER = 30, 2400, 480
"""Of the model, in samples: its order, what it is estimated from before an event, and after."""

HEIGHTS_DB = (-np.inf, 0, 10, 20, np.inf)
"""Edges of the classes of events: peak of the click over the music's local RMS (20 ms)."""

CLICK_KINDS = ("clicks", "mixed-music", "mixed-speech", "crackle", "pops")
SEED = 7


def events(marked: np.ndarray) -> list[tuple[int, int]]:
    """Runs of `marked [samples]` as `(start, end)`; those closer than `JOIN` are joined."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    runs: list[tuple[int, int]] = []
    for start, end in edges.reshape(-1, 2):
        if runs and start - runs[-1][1] < JOIN:
            runs[-1] = (runs[-1][0], int(end))
        else:
            runs.append((int(start), int(end)))
    return runs


def ar_model(block: np.ndarray) -> np.ndarray:
    """Prediction-error filter of order `ORDER` by the autocorrelation method, `a[0] = 1`."""
    lags = np.array([block[lag:] @ block[: len(block) - lag] for lag in range(ORDER + 1)])
    lags[0] = lags[0] * (1 + 1e-9) + 1e-20
    return np.concatenate([[1.0], scipy.linalg.solve_toeplitz(lags[:-1], -lags[1:])])


def fill(signal: np.ndarray, runs: list[tuple[int, int]], a: np.ndarray) -> None:
    """Replaces the samples of `runs` in place by those that make the energy of the prediction error least."""
    unknown = np.concatenate([np.arange(start, end) for start, end in runs])
    signal[unknown] = 0
    first, last = unknown[0], unknown[-1] + 1
    padded = np.pad(signal, ORDER)[first : last + 2 * ORDER]  # of sample n - ORDER at n - first
    error = np.convolve(padded, a, "valid")  # of samples first .. last + ORDER - 1
    pull = np.correlate(np.pad(error, (0, ORDER)), a, "valid")[unknown - first]
    b = np.correlate(a, a, "full")[ORDER:]
    distance = unknown[:, None] - unknown[None]
    matrix = np.where(np.abs(distance) <= ORDER, b[np.minimum(np.abs(distance), ORDER)], 0.0)
    signal[unknown] = scipy.linalg.solve(matrix + 1e-12 * b[0] * np.eye(len(unknown)), -pull, assume_a="pos")


def interpolated(noisy: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """`noisy [samples]` with its marked events interpolated; those that are too long stay."""
    signal = noisy.astype(np.float64)
    runs = [run for run in events(marked) if run[1] - run[0] <= LONGEST]
    index = 0
    while index < len(runs):
        group = [runs[index]]
        while index + 1 < len(runs) and runs[index + 1][0] - group[-1][1] < ORDER and runs[index + 1][1] - group[0][0] <= 4 * LONGEST:
            index += 1
            group.append(runs[index])
        index += 1
        low, high = max(0, group[0][0] - BLOCK), min(len(signal), group[-1][1] + AFTER)
        block = signal[low:high].copy()
        # What follows may hold damage too: straight lines over every mark for the first model.
        for start, end in (run for run in runs if run[1] > low and run[0] < high):
            start, end = max(start - low, 1), min(end - low, len(block) - 1)
            if end > start:
                block[start:end] = np.linspace(block[start - 1], block[end], end - start + 2)[1:-1]
        near = [(start - low, end - low) for start, end in group]
        for _ in range(2):
            fill(block, near, ar_model(block))
        for start, end in group:
            signal[start:end] = block[start - low : end - low]
    return signal.astype(np.float32)


def event_scores(probability: np.ndarray, batch: Batch, threshold: float) -> dict[str, float]:
    """Counts over a set: events there, found (half of their samples), per class of height; marks, and false ones."""
    labels, (_, local) = labels_of(batch).numpy(), levels(batch.worn)
    height = ((batch.noisy - batch.worn).abs() / local.clamp_min(1e-6)).numpy()
    counts = dict.fromkeys(["marks", "false"] + [f"{part}{index}" for part in ("there", "found") for index in range(len(HEIGHTS_DB) - 1)], 0)
    for row in range(len(labels)):
        marked = probability[row] > threshold
        for start, end in events(labels[row] == DESTROYED):
            peak_db = 20 * np.log10(height[row, start:end].max() + 1e-9)
            index = int(np.searchsorted(HEIGHTS_DB, peak_db)) - 1
            counts[f"there{index}"] += 1
            counts[f"found{index}"] += int(marked[start:end].mean() >= 0.5)
        for start, end in events(marked):
            counts["marks"] += 1
            counts["false"] += int((labels[row, max(start - JOIN, 0) : end + JOIN] == INTACT).all())
    return counts


def score(net: Detector, cache: Cache, count: int, seconds: float, threshold: float) -> list[str]:
    """Lines of a table."""
    lines = [f"threshold {threshold}, {count} clips of {seconds} s per kind"]
    lines.append("kind | precision | recall by height <0, 0-10, 10-20, >20 dB | SI-SDR in -> out, gain dB")
    for kind in CLICK_KINDS:
        batch = pops_set(cache, count, seconds) if kind == "pops" else fixed_set(cache, kind, count, seconds, SEED)
        probability = probabilities(net, batch.noisy)
        c = event_scores(probability, batch, threshold)
        recall = ", ".join(f"{100 * c[f'found{i}'] / max(c[f'there{i}'], 1):.0f} % of {c[f'there{i}']}" for i in range(len(HEIGHTS_DB) - 1))
        precision = f"{100 * (1 - c['false'] / max(c['marks'], 1)):.1f} % of {c['marks']}"
        # Against the worn signal, so a mix's other noise counts too: what perfect repair would leave there isn't known.
        before, after = _si_sdr(batch, probability, threshold)
        lines.append(f"{kind} | {precision} | {recall} | {before:.1f} -> {after:.1f}, {after - before:+.1f}")
    lines.append("kind | false marks per second | SI-SDR of what comes out, mean and least dB")
    for name, batch in intact_sets(cache, count, seconds):
        probability = probabilities(net, batch.noisy)
        c = event_scores(probability, batch, threshold)
        out = np.stack([interpolated(x, p > threshold) for x, p in zip(batch.noisy.numpy(), probability, strict=True)])
        kept = metrics.si_sdr(torch.from_numpy(out), batch.noisy)
        lines.append(f"{name} | {c['marks'] / (count * seconds):.3f} | {float(kept.mean()):.1f}, {float(kept.min()):.1f}")
    return lines


def pops_set(cache: Cache, count: int, seconds: float) -> Batch:
    """Clean music and speech with clicks that were cut from the split's recorded discs."""
    batch, rng, cut = fixed_set(cache, "clean", count, seconds, SEED), np.random.default_rng(SEED), recorded_pops(cache)
    noisy, labels = batch.worn.numpy().copy(), np.zeros(batch.worn.shape, np.uint8)
    for row in range(count):
        for _ in range(round(seconds)):
            add_pops(rng, noisy[row], labels[row], cut, 1.0)
    return Batch(batch.clean, batch.worn, torch.from_numpy(noisy), torch.from_numpy(labels == DESTROYED), batch.tags)


def intact_sets(cache: Cache, count: int, seconds: float) -> list[tuple[str, Batch]]:
    """Clean music, speech and drums."""
    both = fixed_set(cache, "clean", 2 * count, seconds, SEED)
    sets = []
    for name, rows in (("music", slice(0, None, 2)), ("speech", slice(1, None, 2))):
        sets.append((name, Batch(both.clean[rows], both.worn[rows], both.noisy[rows], both.click_mask[rows], both.tags[rows])))
    return [*sets, ("drums", fixed_set(cache, "drums", count, seconds, SEED))]


def probabilities(net: Detector, audio: torch.Tensor) -> np.ndarray:
    """`[batch, samples]`, clip by clip."""
    return np.concatenate([net.probability(row[None]).numpy() for row in audio])


def _si_sdr(batch: Batch, probability: np.ndarray, threshold: float) -> tuple[float, float]:
    out = np.stack([interpolated(x, p > threshold) for x, p in zip(batch.noisy.numpy(), probability, strict=True)])
    return float(metrics.si_sdr(batch.noisy, batch.worn).mean()), float(metrics.si_sdr(torch.from_numpy(out), batch.worn).mean())


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `score`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="folder of a run")
    source.add_argument("--weights", type=Path, help="an exported file")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--split", default="valid")
    parser.add_argument("--count", type=int, default=16, help="clips per kind")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--threshold", type=float, nargs="*", default=[0.3, 0.5, 0.7, 0.9])


def report(options: argparse.Namespace) -> None:
    """Prints the table for each threshold."""
    from .detector_train import load

    torch.set_num_threads(1)
    net = read(options.weights) if options.weights else load(options.run)[0]
    cache = Cache(options.cache, options.split)
    print(f"{RATE_HZ} Hz, {net.spec.macs():.0f} multiply-adds per sample")
    for threshold in options.threshold:
        print("\n".join(score(net, cache, options.count, options.seconds, threshold)), flush=True)
