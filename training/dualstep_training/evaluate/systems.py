"""What is compared: the input itself, classical baselines, peers, Dualstep through its built bundle, and bare weights."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from ..baselines import BASELINES, Baseline
from ..checkpoint import NAME as CHECKPOINT
from ..screening import RATE_HZ
from . import peers
from .stimuli import DISC, NOISE, SPEECH, UNTOUCHED, Clip, TestSet

REPOSITORY = Path(__file__).resolve().parents[3]


class Missing(RuntimeError):
    """A system can't run here; the message says what to install or build."""


def slug(name: str) -> str:
    """A system's name as a folder's."""
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-").replace("--", "-")


class System(ABC):
    """Something that restores recordings."""

    name: str
    #: `input`, `baseline`, `peer` or `dualstep`.
    group: str
    #: Kinds it is run on; None is all of them. What knows nothing of wear isn't run on it.
    kinds: tuple[str, ...] | None = None
    #: The system whose output this one is compared with, to say how much a stage changes.
    companion: str | None = None

    def version(self) -> str:
        """Short hash of what decides its output, if that may change under its name: what another version restored or scored is of no use.

        Raises:
            Missing: it isn't there.
        """
        return ""

    @abstractmethod
    def render(self, test: TestSet, clips: list[Clip], folder: Path) -> dict[str, object]:
        """Restores clips into `folder/KIND/NN.wav`, in time with the input. Returns what is worth noting.

        Raises:
            Missing: it isn't installed.
        """

    def wanted(self, test: TestSet) -> list[Clip]:
        """The clips it is run on."""
        return [clip for clip in test.clips if self.kinds is None or clip.kind in self.kinds]


def _hash(path: Path) -> str:
    """Short hash of a file, or of all files of a folder."""
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _write(folder: Path, clip: Clip, samples: np.ndarray) -> None:
    path = folder / f"{clip.name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    soundfile.write(part, samples.astype(np.float32), RATE_HZ, subtype="FLOAT", format="WAV")
    os.replace(part, path)


def _todo(clips: list[Clip], folder: Path) -> list[Clip]:
    return [clip for clip in clips if not (folder / f"{clip.name}.wav").exists()]


class Input(System):
    """The degraded recording itself."""

    name, group = "input", "input"

    def render(self, test: TestSet, clips: list[Clip], folder: Path) -> dict[str, object]:
        for clip, samples in zip(clips, test.read("noisy", clips)):
            _write(folder, clip, samples)
        return {}


@dataclass
class Classical(System):
    """A baseline of `dualstep_training.baselines`, on the recordings or on what another system has made of them."""

    name: str
    function: Baseline
    after: str | None = None
    group = "baseline"
    kinds = (*NOISE, *UNTOUCHED)

    def render(self, test: TestSet, clips: list[Clip], folder: Path) -> dict[str, object]:
        from tqdm import tqdm

        try:
            for clip in tqdm(_todo(clips, folder), desc=self.name, unit="clip"):
                _write(folder, clip, self.function(self._input(test, clip, folder).astype(np.float64), RATE_HZ))
        except ModuleNotFoundError as error:
            raise Missing(f"{self.name} needs {error.name}: pip install -e 'training[evaluate]'") from error
        return {}

    def _input(self, test: TestSet, clip: Clip, folder: Path) -> np.ndarray:
        if self.after is None:
            return test.read("noisy", [clip])[0]
        path = folder.with_name(slug(self.after)) / f"{clip.name}.wav"
        if not path.exists():
            raise Missing(f"{self.name} works on what {self.after} has restored: run that first")
        return soundfile.read(path, dtype="float32")[0]


@dataclass
class Other(System):
    """A program of `peers`."""

    name: str
    program: peers.Peer
    group = "peer"
    kinds = (*NOISE, *UNTOUCHED)

    def render(self, test: TestSet, clips: list[Clip], folder: Path) -> dict[str, object]:
        from tqdm import tqdm

        if not self.program.installed():
            raise Missing(f"{self.name} is not installed: {self.program.hint}")
        raw = folder.with_name(folder.name + ".raw")
        for clip in tqdm(_todo(clips, raw), desc=self.name, unit="clip"):
            _write(raw, clip, self.program(test.read("noisy", [clip])[0]))
        outputs = [soundfile.read(raw / f"{clip.name}.wav", dtype="float32")[0] for clip in clips]
        inputs = test.read("noisy", clips)
        lag = peers.delay(outputs, inputs)
        for clip, output, samples in zip(clips, outputs, inputs):
            _write(folder, clip, peers.in_time(output, lag, len(samples)))
        return {"delay_samples": lag}


@dataclass
class Plugin(System):
    """Dualstep as users get it: `cargo xtask render` hosts the built bundle."""

    name: str
    live: bool
    settings: tuple[str, ...] = ()
    companion: str | None = None
    kinds: tuple[str, ...] | None = None
    group = "dualstep"

    def version(self) -> str:
        path = bundle()
        if not path.exists():
            raise Missing(f"{self.name}: no bundle at {path}: build it with `cargo xtask bundle`")
        return _hash(path)

    def render(self, test: TestSet, clips: list[Clip], folder: Path) -> dict[str, object]:
        options = ["--bundle", str(bundle()), "--to", "wav", "--force"] + (["--live"] if self.live else [])
        for setting in self.settings:
            options += ["--set", setting]
        todo = _todo(clips, folder)
        with tempfile.TemporaryDirectory() as inputs:
            for clip in todo:
                target = Path(inputs) / f"{clip.name}.flac"
                target.parent.mkdir(exist_ok=True)
                shutil.copy(test.folder / "noisy" / f"{clip.name}.flac", target)
            command = ["cargo", "--quiet", "xtask", "render", inputs, str(folder.resolve()), *options]
            try:
                done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True) if todo else None
            except FileNotFoundError as error:
                raise Missing(f"{self.name} needs cargo, to host the built plugin: install Rust") from error
        if done is not None and done.returncode:
            raise Missing(f"{self.name}: {' '.join(command)} failed: {done.stderr.strip()[-600:]}")
        return {"settings": list(self.settings), "weights": self._weights()}

    def _weights(self) -> str:
        """Which weights the workspace's bundle carries; another bundle (`DUALSTEP_BUNDLE`) must be built from the same."""
        from ..export import read

        name = "live" if self.live else "studio"
        fields = read(REPOSITORY / "assets" / "weights" / f"{name}.safetensors")[1]
        return f"{name} after {fields['hours']:.0f} hours of audio, commit {fields['commit']}"


def bundle() -> Path:
    """The built plugin: in the folder `DUALSTEP_BUNDLE`, relative to the repository, else the workspace's."""
    built = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "bundled"
    return REPOSITORY / os.environ.get("DUALSTEP_BUNDLE", built) / "Dualstep.clap"


@dataclass
class Weights(System):
    """Bare networks in PyTorch, without click repair: a training run, a checkpoint or a weights file. Quick, and not what users get."""

    name: str
    path: Path
    group = "dualstep"

    def version(self) -> str:
        path = self.path / CHECKPOINT if self.path.is_dir() else self.path
        if not path.exists():
            raise Missing(f"{self.name}: no weights at {path}; give a run's folder, a checkpoint or a .safetensors file")
        return _hash(path)

    def render(self, test: TestSet, clips: list[Clip], folder: Path) -> dict[str, object]:
        from ..validate import Synthesis

        net = load_network(self.path)
        synthesis = Synthesis(net.spec)
        for clip in clips:
            noisy = torch.from_numpy(test.read("noisy", [clip])[0])[None]
            restored = synthesis(net, noisy)[1][0]
            _write(folder, clip, torch.nn.functional.pad(restored, (0, noisy.shape[1] - len(restored))).numpy())
        return {}


def load_network(path: Path):
    """A network in evaluation mode, from a run's folder, a checkpoint or a `.safetensors` file."""
    from ..checkpoint import Checkpoint
    from ..config import Spec
    from ..export import folded_network, read

    if path.suffix == ".safetensors":
        tensors, fields = read(path)
        return folded_network(Spec.from_metadata(fields), tensors)
    return Checkpoint.load(path).network()


def dualstep() -> list[System]:
    """Both plugins as they come, and with parts switched off, which tells what each part wins."""
    unworn, repaired = (*NOISE, *UNTOUCHED), ("clicks", "crackle", "mixed-music", "mixed-speech", DISC, "drums", "clipping", "dropouts")
    voices = (*SPEECH, "clean-speech")
    return [
        Plugin("Dualstep", False, companion="Dualstep, stage 2 off"),
        Plugin("Dualstep, speech only", False, ("speech=on",), kinds=voices),
        Plugin("Dualstep, stage 2 off", False, ("stage2=0",)),
        Plugin("Dualstep, click repair off", False, ("declick=0",), kinds=repaired),
        Plugin("Dualstep, repair alone", False, ("stage1=0", "stage2=0"), kinds=repaired),
        Plugin("Dualstep Live", True, kinds=unworn),
        Plugin("Dualstep Live, speech only", True, ("speech=on",), kinds=voices),
        Plugin("Dualstep Live, stage 2 off", True, ("stage2=0",), kinds=unworn),
    ]


def everything() -> list[System]:
    """All systems in the order of the tables."""
    return [Input(), *(Classical(name, function) for name, function in BASELINES.items()),
            Classical("AR + LSAR, LSA", BASELINES["LSA"], after="AR + LSAR"),
            *(Other(name, program) for name, program in peers.PEERS.items()), *dualstep()]
