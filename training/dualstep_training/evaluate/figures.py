"""Log-spectrograms of one clip through several systems, side by side with input and original: `OUT/figures/KIND.png`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from ..screening import RATE_HZ
from .report import LIVE, STUDIO, Results
from .scoring import trimmed
from .stimuli import Clip
from .systems import slug

KINDS = ("mixed-music", "mixed-speech", "crackle", "hiss", "everyday-nonstationary", "dull+noise", "drums")
RANGE_DB = 90.0


def _levels(samples: np.ndarray) -> np.ndarray:
    """dB `[bin, frame]`; a full-scale sine is at 0."""
    spectrum = scipy.signal.stft(samples, RATE_HZ, nperseg=2048, noverlap=1536)[2]
    return 20 * np.log10(2 * np.abs(spectrum) + 1e-9)


def draw(path: Path, results: Results, clip: Clip, out: Path, names: list[str]) -> None:
    """One picture: input, systems, original; frequency on a logarithmic axis from 50 Hz."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = {"input": results.test.read("noisy", [clip])[0]}
    for name in names:
        file = out / "restored" / slug(name) / f"{clip.name}.wav"
        if file.exists():
            panels[name] = soundfile.read(file, dtype="float32")[0]
    panels["original"] = results.test.read("clean", [clip])[0]
    levels = {name: _levels(trimmed(samples)) for name, samples in panels.items()}
    top = max(found.max() for found in levels.values())
    columns = min(4, len(panels))
    figure, axes = pyplot.subplots(-(-len(panels) // columns), columns, figsize=(3.6 * columns, 2.6 * -(-len(panels) // columns)), squeeze=False,
                                   sharex=True, sharey=True)
    for axis, (name, found) in zip(axes.flat, levels.items()):
        times, hertz = np.arange(found.shape[1]) * 512 / RATE_HZ, np.arange(found.shape[0]) * RATE_HZ / 2048
        axis.pcolormesh(times, hertz[2:], found[2:], vmin=top - RANGE_DB, vmax=top, cmap="magma", shading="nearest", rasterized=True)
        axis.set_yscale("log")
        axis.set_ylim(50, 20_000)
        axis.set_title(name, fontsize=9)
    for axis in axes.flat[len(panels):]:
        axis.set_visible(False)
    figure.supxlabel("s", fontsize=8)
    figure.supylabel("Hz", fontsize=8)
    figure.suptitle(f"{clip.name}: {', '.join(clip.damage) or 'nothing'} on {clip.item}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def write(out: Path, results: Results) -> list[Path]:
    """A picture of the first clip of each kind of `KINDS`, with Dualstep and the three best others."""
    folder = out / "figures"
    folder.mkdir(exist_ok=True)
    paths = []
    for kind in results.present(KINDS):
        clip = next(clip for clip in results.test.clips if clip.kind == kind)
        rivals = sorted((name for name in results.rivals() if results.values(name, kind, "si_sdr")), key=lambda name: -results.mean(name, kind, "si_sdr"))
        paths.append(folder / f"{slug(kind)}.png")
        draw(paths[-1], results, clip, out, [STUDIO, LIVE, *rivals[:3]])
    return paths
