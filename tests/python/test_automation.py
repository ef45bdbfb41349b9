"""Automation of the VST3 in DawDreamer, which sets parameters at the start of each block, against `cargo xtask render --automation`, which uses the CLAP."""

import os
import pathlib
import subprocess
import wave

import dawdreamer
import numpy as np
import pedalboard.io
import pytest
from conftest import ROOT
from test_vst3 import IDS, STUDIO, disc, latency, same_bits

RATE_HZ, BLOCK = 48_000, 480
# Values on the host's scale, 0 to 1, that are exact as percentages, from a block on.
STEPS = {"stage1": {0: 0.75, 60: 0.25, 130: 1}, "mix": {0: 1, 40: 0.5, 90: 0, 110: 1}}


@pytest.fixture
def recording():
    """Two seconds, as exact in 16 bits as in floating point."""
    return np.round(disc(2, 2 * RATE_HZ, RATE_HZ) * 2**15).clip(-(2**15), 2**15 - 1).astype(np.float32) / 2**15


def rendered(bundles, folder, recording, steps):
    """What `cargo xtask render` makes of it, in time with the recording."""
    with wave.open(str(folder / "in.wav"), "wb") as file:
        file.setparams((2, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes((recording.T * 2**15).astype("<i2").tobytes())
    lines = [f"{block * BLOCK / RATE_HZ},{name},{100 * value}\n" for name, values in steps.items() for block, value in values.items()]
    (folder / "automation").write_text("".join(lines))
    command = [os.environ.get("CARGO", "cargo"), "run", "--quiet", "--package", "xtask", "--", "render", folder / "in.wav", folder / "out.wav"]
    command += ["--automation", folder / "automation", "--bundle", bundles / "Dualstep.clap", "--force"]
    subprocess.run(command, cwd=ROOT, check=True)
    with pedalboard.io.AudioFile(str(folder / "out.wav")) as file:
        return file.read(file.frames)


def automated(bundles, recording, steps):
    """What DawDreamer makes of it, later by the latency."""
    engine = dawdreamer.RenderEngine(RATE_HZ, BLOCK)
    plugin = engine.make_plugin_processor("dualstep", str(bundles / "Dualstep.vst3"))
    for name, values in steps.items():
        curve = np.zeros(recording.shape[1], np.float32)
        for block, value in values.items():
            curve[block * BLOCK :] = value
        assert plugin.set_automation(IDS.index(name), curve)
    engine.load_graph([(engine.make_playback_processor("recording", recording), []), (plugin, ["recording"])])
    engine.render(recording.shape[1] / RATE_HZ)
    assert plugin.get_latency_samples() == latency(STUDIO, RATE_HZ)
    return np.ascontiguousarray(engine.get_audio())


def test_automation_lands_on_its_sample(bundles, tmp_path, recording):
    late = latency(STUDIO, RATE_HZ)
    heard = automated(bundles, recording, STEPS)[:, late:]
    same_bits(heard, rendered(bundles, tmp_path, recording, STEPS)[:, : heard.shape[1]])
    for name in STEPS:
        still = {**STEPS, name: {0: STEPS[name][0]}}
        assert np.abs(automated(bundles, recording, still)[:, late:] - heard).max() > 1e-3, f"{name} was not automated"


def test_a_render_waits_for_a_slow_worker(recording, monkeypatch):
    folder = os.environ.get("DUALSTEP_DEBUG_BUNDLE")
    if not folder:
        pytest.skip("DUALSTEP_DEBUG_BUNDLE names no folder: `cargo xtask test` builds the bundle whose worker can be slowed down")
    expected = automated(pathlib.Path(folder), recording, STEPS)
    # A hop is 20 ms, of which a host in real time lends half.
    monkeypatch.setenv("DUALSTEP_WORKER_DELAY_MS", "15")
    same_bits(automated(pathlib.Path(folder), recording, STEPS), expected)
