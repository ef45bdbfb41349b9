"""Writes the model card beside the weights: data with licences, hours, scores at both taps, curve, limits.

    python -m dualstep_training.card --cache CACHE --run runs/studio --run runs/live --out ../assets/weights/README.md
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

from . import curves, validate
from .checkpoint import Checkpoint
from .config import ConfigError, Spec
from .model import costs

HEAD = """# Weights

`studio.safetensors` and `live.safetensors` are the networks that the plugin carries: two streaming U-Nets each,
{sizes}, batch norms folded, 32-bit floats. `plugin/engine/ARCHITECTURE.md` says what every
tensor is; the files' `spec` metadata says geometry, commit, data and hours. They were made by `training/` from nothing but the
data listed here. So were `detector-studio.safetensors` and `detector-live.safetensors`, which find the clicks ([their card](detector.md)),
and `dropouts.safetensors`, which finds dropouts in both ([its card](dropouts.md)).

Stage 1 is trained against the worn but noise-free signal (it takes noise away), stage 2 against the unworn one.
"""

COLUMNS = """Fixed validation set: a few clips of each kind from recordings that training never saw, with the same degradation
as in training. SI-SDR in dB. *in* and *stage 1* before and after stage 1 against the worn signal; *in, unworn*, *stage 1, unworn* and
*stage 2* against the unworn one; *added* is what stage 2 adds to stage 1; *change* is `|Y2 - S1| / |S1|`; *lost* is energy that stage 1
took away where the signal dominates. Where the input is the target already, *in* says "same" and there is nothing to gain:
the SI-SDR after it says how little was changed.
"""

BALANCE = """Balance (`balance.py`), the slow part of stage 2, on reduced validation clips after eight seconds of listening: its gains alone
on clean clips, and on such as are dulled or narrowed; all of stage 2 on clips without noise, worn or not (*worn*), and on degraded
ones, with the U-Net fully trusted beside. Signal-to-noise ratio in dB (soft ceiling of 40), its change for the tenth of the clips
that are served worst, and the difference of compressed band spectra:
"""

SPEECH = """Speech network: a third U-Net of {parameters:,} parameters, as wide as stage 1, trained like it but on speech alone. It takes stage 1's place
where speech is all that is wanted.
"""

SPEECH_COLUMNS = """Columns as above, *stage 1* being the speech network, on the speech of that set:
"""

LIMITS = """## Limits

- Trained for {hours} of audio in all.
- Validation uses synthetic degradation and few clips per kind: differences under half a decibel are noise.
- No human has listened to a whole set. Nothing here was measured with listeners.
- Clicks are scored here without the click repair that runs before the network in the plugin.
- Music in the data is mostly game music and rendered scores, speech mostly prompts and game voices.
"""


def scores(path: Path) -> str:
    """The last validation pass of a CSV as a Markdown table; nothing if there is none."""
    names = {
        "in_worn": "in", "stage1": "stage 1", "gain1": "gain", "in_clean": "in, unworn", "stage1_clean": "stage 1, unworn",
        "stage2": "stage 2", "gain2": "gain", "added2": "added", "change_db": "change", "lost_db": "lost",
    }  # fmt: skip
    found = curves.rows(path)
    if not found:
        return ""
    names = {field: name for field, name in names.items() if field in found[-1]}
    last = [r for r in found if r["step"] == found[-1]["step"]]
    lines = ["| kind | " + " | ".join(names.values()) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {r['kind']} | " + " | ".join(_cell(r, f) for f in names) + " |" for r in last]
    return "\n".join(lines)


def _cell(row: dict[str, str], field: str) -> str:
    source = {"in_worn": "in_worn", "gain1": "in_worn", "in_clean": "in_clean", "gain2": "in_clean"}.get(field)
    if source and float(row[source]) > 90:
        return "same" if field == source else ""
    return f"{float(row[field]):.1f}"


def curve(run: Path) -> str:
    """Hours against gains, pass by pass, and the slope per doubling."""
    found = curves.rows(run / "validation.csv")
    series = {
        "stage 1, noise": curves.means(found, validate.NOISE, "gain1"),
        "both, noise": curves.means(found, validate.NOISE, "gain2"),
        "stage 2 over stage 1, wear": curves.means(found, validate.WEAR, "added2"),
        "untouched, both": curves.means(found, validate.UNTOUCHED, "stage2"),
    }
    hours = series["both, noise"][0]
    lines = ["| hours | " + " | ".join(series) + " |", "|---" * (len(series) + 1) + "|"]
    for i, h in enumerate(hours):
        lines.append(f"| {h:.2f} | " + " | ".join(f"{values[i]:.2f}" for _, values in series.values()) + " |")
    slope = curves.slope_per_doubling(*series["stage 1, noise"])
    if not math.isnan(slope):
        lines += ["", f"Slope of stage 1 on noise: {slope:.1f} dB per doubling of the audio."]
    return "\n".join(lines)


def balance(run: Path) -> str:
    """What the balance does per kind, as a Markdown table; nothing for a run without one of its own."""
    digits = {"ratio_in": 1, "ratio_full": 1, "ratio": 1, "worst_tenth": 1, "difference_in": 3, "difference": 3}
    found = curves.rows(run / "balance.csv")
    if not found:
        return ""
    lines = ["| kind | ratio, without | U-Net trusted | with | worst tenth | difference, without | with |", "|---|---|---|---|---|---|---|"]
    lines += [f"| {r['kind']} | " + " | ".join(f"{float(r[name]):.{n}f}" for name, n in digits.items()) + " |" for r in found]
    return BALANCE + "\n" + "\n".join(lines) + "\n"


def speech(spec: Spec, table: str) -> str:
    """What there is to say of the speech network and its scores; nothing for a run without one."""
    if not spec.speech:
        return ""
    return SPEECH.format(parameters=costs(spec)["speech"][0]) + (f"\n{SPEECH_COLUMNS}\n{table}\n" if table else "")


def data(cache: Path) -> str:
    """Sources with licences and hours, from the cache's manifest."""
    manifest = json.loads((cache / "manifest.json").read_text())
    lines = ["| source | kind | licence | training, h | validation, h |", "|---|---|---|---|---|"]
    for name, entry in manifest["sources"].items():
        hours = entry["hours"]
        lines.append(f"| {name} | {entry['kind']} | {entry['licence']} | {hours['train']:.2f} | {hours['valid']:.2f} |")
    return "\n".join(lines)


def card(cache: Path, runs: list[Path], notes: list[str]) -> str:
    """The whole model card."""
    saved = [Checkpoint.load(run) for run in runs]
    specs = [Spec.from_metadata(one.spec) for one in saved]
    widths = [" and ".join(f"{stage.widths[0]}-{stage.widths[-1]}" for stage in s.stages) for s in specs]
    stages = [costs(replace(s, speech=False)).values() for s in specs]
    sizes = [f"{sum(n for n, _ in c):,} parameters in {s.name} (widths {w})" for s, w, c in zip(specs, widths, stages)]
    parts = [HEAD.format(sizes=" and ".join(sizes))]
    for run, one, spec in zip(runs, saved, specs):
        trained = f"{one.hours:.2f} hours of audio (degraded on the fly; hours of weights it started from included)"
        parts.append(f"## {spec.name}\n\n{trained}, {one.step} steps in this run.\n")
        both, alone = (scores(run / name) for name in ("validation.csv", "speech.csv"))
        if not both and not alone:
            raise FileNotFoundError(f"{run} holds no validation to show")
        parts.append(COLUMNS)
        # A run may have trained the speech network alone.
        if both:
            parts.append(f"{both}\n")
            parts.append(f"Curve (the averaged weights, at each validation pass):\n\n{curve(run)}\n")
        parts.extend(filter(None, [balance(run), speech(spec, alone)]))
    parts.append("## Data\n\nDrawn at random with new degradation each time.\n\n" + data(cache) + "\n")
    hours = ", ".join(f"{one.hours:.1f} h ({one.spec['name']})" for one in saved)
    parts.append(LIMITS.format(hours=hours) + "".join(f"- {note}\n" for note in notes))
    return "\n".join(parts)


def main(argv: list[str] | None = None) -> int:
    """Command line; see `--help`."""
    parser = argparse.ArgumentParser(description="Writes the model card of a set of weights.")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--run", type=Path, action="append", required=True, help="once per weights file")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--note", action="append", default=[], help="a limit to add to the list")
    args = parser.parse_args(argv)
    try:
        text = card(args.cache, args.run, args.note)
    except (ConfigError, FileNotFoundError, KeyError) as error:
        print(f"card: {error}", file=sys.stderr)
        return 1
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
