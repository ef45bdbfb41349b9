"""Learning curves of a run: CSV files into one PNG."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path

from .validate import KINDS, NOISE, UNTOUCHED, WEAR


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV; none if it isn't there yet."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def truncate(path: Path, last_step: int) -> None:
    """Drops the rows of steps that a resumed run will do again."""
    kept = [row for row in rows(path) if int(row["step"]) <= last_step]
    if not path.exists():
        return
    with path.open(newline="") as file:
        header = next(csv.reader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(kept)


def means(validation: list[dict[str, str]], kinds: tuple[str, ...], field: str) -> tuple[list[float], list[float]]:
    """Hours and the mean of one field over some kinds, pass by pass."""
    passes: dict[float, list[float]] = defaultdict(list)
    for row in validation:
        if row["kind"] in kinds:
            passes[float(row["hours"])].append(float(row[field]))
    hours = sorted(passes)
    return hours, [sum(passes[h]) / len(passes[h]) for h in hours]


def slope_per_doubling(hours: list[float], values: list[float]) -> float:
    """Least-squares slope of a value per doubling of the audio trained on; NaN with fewer than two points."""
    points = [(math.log2(h), v) for h, v in zip(hours, values) if h > 0]
    if len(points) < 2:
        return math.nan
    mx = sum(x for x, _ in points) / len(points)
    my = sum(y for _, y in points) / len(points)
    spread = sum((x - mx) ** 2 for x, _ in points)
    return sum((x - mx) * (y - my) for x, y in points) / spread if spread else math.nan


def plot(run: Path) -> None:
    """Writes `curves.png` from `train.csv`, `validation.csv` and `speech.csv`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    train, validation, speech = (rows(run / f"{name}.csv") for name in ("train", "validation", "speech"))
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8))
    for stage in sorted({r["stage"] for r in train}):
        mine = [r for r in train if r["stage"] == stage]
        axes[0, 0].plot([float(r["hours"]) for r in mine], [float(r["loss"]) for r in mine], lw=0.8, label=f"stage {stage}" if stage.isdigit() else stage)
    axes[0, 0].set(title="Training loss", xlabel="hours of audio")
    for field, kinds, label in (
        ("gain1", NOISE, "stage 1, noise"),
        ("gain2", NOISE, "both, noise"),
        ("added2", WEAR, "stage 2 over stage 1, wear"),
    ):
        axes[0, 1].plot(*means(validation, kinds, field), marker=".", label=label)
    if speech:
        axes[0, 1].plot(*means(speech, NOISE, "gain1"), marker=".", label="speech network, noise over speech")
    axes[0, 1].set(title="SI-SDR gain, dB", xlabel="hours of audio")
    for kind in KINDS:
        field = "added2" if kind in WEAR else "gain1"
        if kind not in UNTOUCHED:
            axes[1, 0].plot(*means(validation, (kind,), field), marker=".", lw=0.8, label=kind)
    axes[1, 0].set(title="SI-SDR gain by kind (wear: stage 2 over stage 1), dB", xlabel="hours of audio")
    for kind in UNTOUCHED:
        axes[1, 1].plot(*means(validation, (kind,), "stage1"), marker=".", label=f"{kind}, stage 1")
        axes[1, 1].plot(*means(validation, (kind,), "stage2"), marker=".", label=f"{kind}, both")
    axes[1, 1].set(title="Untouched input: SI-SDR, dB", xlabel="hours of audio")
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=6)
    figure.tight_layout()
    part = run / "curves.part.png"
    figure.savefig(part, dpi=110)
    part.replace(run / "curves.png")
    pyplot.close(figure)
