"""Where the bundles are, and the CLAP host to compare with."""

import os
import pathlib
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def bundles():
    """The folder that holds Dualstep.vst3 and Dualstep.clap."""
    folder = pathlib.Path(os.environ.get("DUALSTEP_BUNDLE", ROOT / "target" / "bundled")).resolve()
    if not (folder / "Dualstep.vst3").exists():
        pytest.fail(f"no Dualstep.vst3 in {folder}: `cargo xtask test` builds the bundles and runs all tests")
    return folder


@pytest.fixture(scope="session")
def clap_render(bundles, tmp_path_factory):
    """Renders `[channel, frame]` through the .clap and leaves out its latency, as a host with delay compensation does."""
    cargo = os.environ.get("CARGO", "cargo")
    program = [cargo, "run", "--quiet", "--package", "dualstep-tests", "--bin", "clap-render", "--"]
    folder = tmp_path_factory.mktemp("clap")

    def render(plugin_id, audio, rate_hz, latency, block=512, **values):
        channels, frames = audio.shape
        padded = np.concatenate([audio, np.zeros((channels, latency), np.float32)], axis=1)
        padded.astype(np.float32).tofile(folder / "in")
        arguments = [plugin_id, str(rate_hz), str(channels), str(block), "offline", str(folder / "in"), str(folder / "out")]
        arguments += [f"{name}={text}" for name, text in values.items()]
        environment = {**os.environ, "DUALSTEP_BUNDLE": str(bundles)}
        subprocess.run(program + arguments, cwd=ROOT, env=environment, check=True)
        return np.fromfile(folder / "out", np.float32).reshape(channels, -1)[:, latency : latency + frames]

    return render
