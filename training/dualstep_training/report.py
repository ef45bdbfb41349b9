"""Reports with figures, no notebook needed. `python -m dualstep_training.report degradation --noise DIR --out DIR` compares the
synthetic defects with real recordings, by the statistics that `defects.py` is fitted to.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.ndimage
import scipy.signal

from . import defects
from .screening import RATE_HZ, MissingTool, decode, to_rate

#: Centres of the octaves of the spectra, Hz.
OCTAVES_HZ = (31, 63, 125, 250, 500, 1000, 2000, 4000, 8000, 14_000)

#: Heights, in units of the background's standard deviation, at which events are counted.
HEIGHTS = (5, 8, 12, 20, 40)

#: Events closer than this are one event, s.
_EVENT_GAP_S = 0.0005

#: Longest stretch of a recording that is measured, s.
_MEASURED_S = 60.0


@dataclass(frozen=True)
class Statistics:
    """What is compared between real and synthetic noise."""

    name: str
    #: Level per octave relative to 1 kHz, dB.
    octaves_db: np.ndarray
    #: Events per second above each of `HEIGHTS`.
    rates: np.ndarray
    #: Heights of events above 6, in units of the background.
    heights: np.ndarray
    #: Exponent of the power law that the heights follow (Hill's estimator); NaN with under 10 events.
    tail: float
    #: Standard deviation over mean of the gaps between events above 8: 1 for a Poisson process, more if they cluster.
    gap_spread: float
    #: Times from first to last sample above a fifth of the peak, ms, of the events above 20.
    widths_ms: np.ndarray
    #: Correlation of the event envelope with itself one revolution later, per speed of `defects.SPEEDS_RPM`.
    periodicity: np.ndarray


def measure(name: str, audio: np.ndarray) -> Statistics:
    """Statistics of noise without signal, float `[samples]` at 48 kHz."""
    audio = np.asarray(audio[: int(_MEASURED_S * RATE_HZ)], dtype=np.float64)
    frequency, power = scipy.signal.welch(audio, RATE_HZ, nperseg=16_384)
    level = 10 * np.log10(power + 1e-20)
    octaves = np.array([level[(frequency > centre / 1.4) & (frequency < centre * 1.4)].mean() for centre in OCTAVES_HZ])
    # Events stand out above 1 kHz, where rumble and hum don't hide them.
    high = np.abs(scipy.signal.sosfilt(scipy.signal.butter(4, 1000, "high", output="sos", fs=RATE_HZ), audio))
    # 0.6745 is the median of |x| for a standard normal x. The floor serves synthetic clicks, which have no background.
    background = max(np.median(high) / 0.6745, 1e-3 * float(np.sqrt(np.mean(high**2))))
    peaks, _ = scipy.signal.find_peaks(high / background, height=6, distance=int(_EVENT_GAP_S * RATE_HZ))
    heights = high[peaks] / background
    seconds = len(audio) / RATE_HZ
    rates = np.array([np.sum(heights > limit) / seconds for limit in HEIGHTS], dtype=np.float64)
    gaps = np.diff(peaks[heights > 8])
    return Statistics(
        name=name,
        octaves_db=octaves - octaves[OCTAVES_HZ.index(1000)],
        rates=rates,
        heights=heights,
        tail=float(len(heights) / np.sum(np.log(heights / 6))) if len(heights) >= 10 else float("nan"),
        gap_spread=float(gaps.std() / gaps.mean()) if len(gaps) >= 10 else float("nan"),
        widths_ms=_widths_ms(high / background, peaks[heights > 20]),
        periodicity=np.array([_periodicity(high / background, 60 / rpm) for rpm in defects.SPEEDS_RPM]),
    )


def _widths_ms(high: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """How long each event stays above a fifth of its peak without a pause of 0.3 ms."""
    pause = int(0.0003 * RATE_HZ)
    widths = []
    for at in peaks[:1000]:
        loud = np.flatnonzero(high[max(0, at - 480) : at + 480] > 0.2 * high[at]) + max(0, at - 480)
        here = int(np.searchsorted(loud, at))
        breaks = np.flatnonzero(np.diff(loud) > pause)
        first = loud[max((int(b) + 1 for b in breaks if b < here), default=0)]
        last = loud[min((int(b) for b in breaks if b >= here), default=len(loud) - 1)]
        widths.append((last - first + 1) / RATE_HZ * 1000)
    return np.array(widths)


def _periodicity(high: np.ndarray, period_s: float) -> float:
    """Highest normalised autocorrelation of the clipped envelope within 1 % of a revolution."""
    step = RATE_HZ // 500
    envelope = scipy.ndimage.maximum_filter1d(np.minimum(high, 20), 2 * step)[::step]
    envelope = envelope - envelope.mean()
    lag = period_s * 500
    if len(envelope) < 2.5 * lag or not envelope.any():
        return float("nan")
    near = range(int(0.99 * lag), int(1.01 * lag) + 2)
    return float(max(np.dot(envelope[shift:], envelope[:-shift]) / np.dot(envelope, envelope) for shift in near))


def measure_folder(folder: Path) -> list[Statistics]:
    """Statistics of every recording in a folder of real noise."""
    measured = []
    for path in sorted(folder.iterdir()):
        audio, rate_hz = decode(path)
        audio = to_rate(audio, rate_hz)
        measured.append(measure(path.stem, audio - audio.mean()))
    return measured


def synthetic_disc(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """What the generators make of a disc's surface: groove noise, crackle, clicks and rumble, at levels as in the real recordings."""
    samples = int(seconds * RATE_HZ)
    audio = np.zeros(samples, np.float32)
    for name, low_db, high_db in (("hiss", -6, 0), ("crackle", -3, 8), ("clicks", -4, 8), ("rumble", 0, 15)):
        audio += defects.GENERATORS[name](rng, samples).audio * np.float32(10 ** (rng.uniform(low_db, high_db) / 20))
    return audio


def table(rows: list[Statistics]) -> str:
    """Markdown table of statistics."""
    lines = ["| noise | 63 Hz | 250 Hz | 4 kHz | 8 kHz | 14 kHz | events/s > 8 | > 20 | > 40 | tail | gap spread | width ms 10/50/90 % | 33/45/78 rpm |",
             "|---|" + "---|" * 12]
    for row in rows:
        octave = dict(zip(OCTAVES_HZ, row.octaves_db, strict=True))
        rate = dict(zip(HEIGHTS, row.rates, strict=True))
        width = "/".join(f"{value:.2f}" for value in np.percentile(row.widths_ms, [10, 50, 90])) if len(row.widths_ms) else "-"
        cells = [row.name, *(f"{octave[c]:+.0f}" for c in (63, 250, 4000, 8000, 14_000)), *(f"{rate[h]:.1f}" for h in (8, 20, 40)),
                 f"{row.tail:.2f}", f"{row.gap_spread:.2f}", width, "/".join(f"{value:.2f}" for value in row.periodicity)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(real: list[Statistics], synthetic: list[Statistics], out: Path) -> None:
    """Four panels: spectra, event rates, heights, widths; real in colour, synthetic in grey."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(12, 9), constrained_layout=True)
    for index, row in enumerate(synthetic + real):
        is_real = index >= len(synthetic)
        style = {"color": f"C{index - len(synthetic)}", "label": row.name, "zorder": 3} if is_real else {"color": "0.75", "lw": 0.8}
        axes[0, 0].semilogx(OCTAVES_HZ, row.octaves_db, **style)
        axes[0, 1].loglog(HEIGHTS, np.maximum(row.rates, 0.01), **style)
        if len(row.heights):
            axes[1, 0].loglog(np.sort(row.heights)[::-1], np.arange(1, len(row.heights) + 1) / len(row.heights), **style)
        if len(row.widths_ms):
            axes[1, 1].semilogx(np.sort(row.widths_ms), np.linspace(0, 1, len(row.widths_ms)), **style)
    titles = ("Spectrum: dB relative to 1 kHz against Hz", "Events per second against height (background = 1)",
              "Share of events higher than", "Width of events above 20, ms: cumulative share")
    for axis, title in zip(axes.flat, titles, strict=True):
        axis.set_title(title)
        axis.grid(alpha=0.3)
    axes[0, 0].plot([], [], color="0.75", label="synthetic")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def degradation(noise: Path, out: Path, count: int = 24, seed: int = 0) -> str:
    """Writes `degradation.png` and `degradation.md` to `out`; returns the table."""
    if not (noise / "disc").is_dir():
        raise FileNotFoundError(f"no folder disc in {noise}; expected your folder of recorded noise, as `data --noise` takes it, with surface noise in disc/")
    out.mkdir(parents=True, exist_ok=True)
    real = measure_folder(noise / "disc")
    synthetic = [measure(f"synthetic disc {index}", synthetic_disc(np.random.default_rng([seed, index]), 15)) for index in range(count)]
    plot(real, synthetic, out / "degradation.png")
    text = table(real + synthetic)
    (out / "degradation.md").write_text(text)
    return text


def main(arguments: list[str] | None = None) -> int:
    """Command line: see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m dualstep_training.report")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("degradation", help="plots real against synthetic defects")
    command.add_argument("--noise", type=Path, required=True, help="folder of recorded noise with a sub-folder disc")
    command.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        print(degradation(options.noise, options.out), end="")
    except (FileNotFoundError, MissingTool) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
