"""The streaming U-Nets, for whole clips. `plugin/engine/ARCHITECTURE.md`, "Network, exactly", is the contract.

Planes are `[batch, channel, frame, bin or band]` in memory order channels_last: what a band's channels cost is then
one contiguous read. Spectra are `[batch, frame, bin, 2]` (real, imaginary), levels `[batch, frame]`.

`python -m dualstep_training.model` prints sizes and costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .config import Config, Spec, StageSpec
from .recurrent import gru

EPSILON = 1e-18
"""Added to squared magnitudes: keeps powers of zero finite, -180 dB below full scale."""

SLOPE = 0.1
"""Slope of the leaky ReLU below zero."""

INITIAL_GAIN = 0.9
"""Stage 1's gain before training: a network that knows nothing should take little away."""

NORM_MOMENTUM = 0.05


def power(x: Tensor, exponent: float) -> Tensor:
    """`x^exponent` of positive numbers; the backward pass of torch's own `pow` is several times slower on a CPU."""
    return torch.exp(exponent * torch.log(x))


def compressed_magnitude(z: Tensor) -> Tensor:
    """`|z|^0.3` of reals-and-imaginaries `[..., 2]` -> `[...]`."""
    return power(z[..., 0].square() + z[..., 1].square() + EPSILON, 0.15)


def compress(z: Tensor) -> Tensor:
    """0.3-power compression of magnitudes, phases kept: `[..., 2]` -> `[..., 2]`."""
    return z * power(z[..., 0].square() + z[..., 1].square() + EPSILON, -0.35).unsqueeze(-1)


def decompress(z: Tensor) -> Tensor:
    """The inverse of `compress`; 0 at 0."""
    return z * ((z[..., 0].square() + z[..., 1].square()) ** (7.0 / 6.0)).unsqueeze(-1)


def uncompiled(function):
    """Keeps `function` as it is where torch would compile it: a recursion over frames would become one kernel that takes minutes to compile."""
    return torch.compiler.disable(function) if hasattr(torch, "compiler") else function


@uncompiled
def running_level(spectrum: Tensor, spec: Spec) -> Tensor:
    """Level that the networks are normalised by: `[batch, frame, bins, 2]` -> `[batch, frame]`, no gradient.

    All bins are taken to be there, as they are at 44.1 and 48 kHz.
    """
    with torch.no_grad():
        now = compressed_magnitude(spectrum).mean(-1)
        if now.is_cuda:
            return _level_on_device(now, spec)
    # The recursion is sequential: a few numpy operations per frame beat as many torch kernels.
    steps = now.cpu().numpy()
    out = np.empty_like(steps)
    level = steps[:, 0]
    for k in range(steps.shape[1]):
        change = steps[:, k] - level
        level = level + np.where(change > 0, spec.level_rise, spec.level_fall) * change
        out[:, k] = level
    return torch.from_numpy(np.maximum(out, spec.level_floor).astype(steps.dtype)).to(spectrum.device)


def _level_on_device(steps: Tensor, spec: Spec) -> Tensor:
    """The same without leaving the device, so that a CUDA graph can hold it: many small kernels cost little in one."""
    level, out = steps[:, 0], []
    for step in steps.unbind(1):
        level = torch.maximum(torch.lerp(level, step, spec.level_rise), torch.lerp(level, step, spec.level_fall))
        out.append(level)
    return torch.stack(out, 1).clamp_min(spec.level_floor)


SUM_BLOCK = 512
"""Frames that `decaying_sum` takes at once."""

SILENT_LEVEL = 0.004
"""Mean compressed magnitude of a frame below which it is digital silence, and no noise: all bins at -160 dBFS."""


def decaying_sum(x: Tensor, keep: float) -> Tensor:
    """`s_k = keep s_(k-1) + x_k` over the second axis: `[batch, frame, ...]` -> the same. As matrix products."""
    age = torch.arange(min(x.shape[1], SUM_BLOCK), dtype=x.dtype, device=x.device)
    decay = torch.tril(keep ** (age[:, None] - age[None, :]).clamp_min(0.0))
    sums, carried = [], torch.zeros_like(x[:, :1])
    for block in x.split(SUM_BLOCK, dim=1):
        n = block.shape[1]
        faded = keep ** (age[:n] + 1)
        now = torch.einsum("jk,bk...->bj...", decay[:n, :n], block)
        sums.append(now + faded.view(-1, *[1] * (x.dim() - 2)) * carried)
        carried = sums[-1][:, -1:]
    return torch.cat(sums, 1)


def noise_floor(spectrum: Tensor, spec: Spec) -> Tensor:
    """Compressed magnitude of the noise floor: `[batch, frame, bins, 2]` -> `[batch, frame, bins]`, no gradient.

    A power mean of the compressed magnitudes, with exponent -2 and weights that decay into the past, per bin: it stays
    near the quietest that was heard lately, which is what noise leaves between notes and words. A mean of logarithms or
    a tracked minimum would do as well; this one is a linear recursion, so that training computes it as a matrix product.
    Frames of digital silence don't count: one of them would outweigh minutes of noise.
    """
    with torch.no_grad(), torch.autocast(spectrum.device.type, enabled=False):
        magnitude = compressed_magnitude(spectrum)
        heard = (magnitude.mean(-1) >= SILENT_LEVEL).to(magnitude.dtype)
        sums = decaying_sum(heard.unsqueeze(-1) * magnitude.pow(-2.0), spec.floor_keep)
        weight = decaying_sum(heard, spec.floor_keep).unsqueeze(-1)
        return torch.where(weight > 0, torch.sqrt(weight / sums.clamp_min(1e-30)), magnitude)


def features(spectrum: Tensor, level: Tensor) -> Tensor:
    """Compressed real part, imaginary part and magnitude over the level: -> `[batch, 3, frame, bin]`, channels_last."""
    squared = spectrum[..., 0].square() + spectrum[..., 1].square() + EPSILON
    log = torch.log(squared) - (level.log() / 0.15).unsqueeze(-1)
    magnitude = torch.exp(0.15 * log).unsqueeze(-1)
    ratio = magnitude / squared.sqrt().unsqueeze(-1)
    return torch.cat((spectrum * ratio, magnitude), -1).permute(0, 3, 1, 2)


def delay(x: Tensor, frames: int, first: Tensor | None = None) -> Tensor:
    """Moves `[batch, frame, ...]` back by `frames`; what comes before is 0, or `first [batch, 1, ...]`."""
    if frames == 0:
        return x
    if first is None:
        first = torch.zeros_like(x[:, :1])
    return torch.cat((first.expand(-1, frames, *x.shape[2:]), x[:, :-frames]), 1)


class _Pool(torch.autograd.Function):
    """Maximum of two neighbouring bands. Far cheaper on a CPU than max_pool2d, and than autograd of the two slices."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        first, second = x[..., 0::2], x[..., 1::2]
        ctx.save_for_backward(first >= second)
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (first,) = ctx.saved_tensors
        batch, channels, frames, bands = grad.shape
        out = grad.new_empty((batch, channels, frames, 2 * bands)).contiguous(memory_format=torch.channels_last)
        out[..., 0::2] = grad * first
        out[..., 1::2] = grad * ~first
        return out


class Stage(nn.Module):
    """One U-Net: features per bin in, `outs` values per bin out. Causal; pooled over frequency only.

    With `folded`, the batch norms (`*_norm`) are folded into the weights, as in an exported file: the names and
    shapes of the parameters are then exactly the file's.
    """

    def __init__(self, spec: Spec, sizes: StageSpec, cin: int, outs: int, folded: bool = False) -> None:
        super().__init__()
        self.spec, self.cin, self.outs = spec, cin, outs

        def norm(channels: int) -> nn.Module:
            return nn.Identity() if folded else nn.BatchNorm2d(channels, momentum=NORM_MOMENTUM)

        def pair(before: int, after: int) -> nn.ModuleList:
            # Two causal convolutions of 2 frames x 3 bands; `_two` pads the frame before the first.
            return nn.ModuleList(nn.Conv2d(n, after, (2, 3), padding=(0, 1), bias=folded) for n in (before, after))

        c = sizes.widths
        top = len(c) - 1
        strides = [stride for _, stride in spec.segments]
        self.stem = nn.ModuleList(nn.Conv2d(cin, c[0], (1, s), (1, s), bias=folded) for s in strides)
        self.stem_norm = norm(c[0])
        self.position = nn.Parameter(torch.zeros(c[0], spec.bands))
        before = (c[0], *c[:-1])
        self.encoder = nn.ModuleList(pair(before[i], c[i]) for i in range(top + 1))
        self.encoder_norm = nn.ModuleList(nn.ModuleList((norm(w), norm(w))) for w in c)
        self.squeeze = nn.Conv2d(c[top], sizes.squeeze, 1)
        hidden = sizes.squeeze * (spec.bands >> top)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.expand = nn.Conv2d(sizes.squeeze, c[top], 1)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(c[i + 1], c[i], (1, 2), (1, 2), bias=folded) for i in range(top)
        )
        self.up_norm = nn.ModuleList(norm(c[i]) for i in range(top))
        self.decoder = nn.ModuleList(pair(2 * c[i], c[i]) for i in range(top))
        self.decoder_norm = nn.ModuleList(nn.ModuleList((norm(c[i]), norm(c[i]))) for i in range(top))
        self.head = nn.ModuleList(nn.ConvTranspose2d(c[0], outs, (1, s), (1, s)) for s in strides)

    def pool(self, x: Tensor) -> Tensor:
        """Halves the bands."""
        return _Pool.apply(x)

    def forward(self, x: Tensor) -> Tensor:
        """`x [batch, cin, frame, bin]` -> `[batch, frame, bin, outs]`."""
        x = self.stem_norm(self._stem(x)) + self.position[:, None, :]
        x = functional.leaky_relu(x, SLOPE)
        skips = []
        for level, (convs, norms) in enumerate(zip(self.encoder, self.encoder_norm)):
            if level:
                x = self.pool(x)
            x = _two(x, convs, norms)
            skips.append(x)
        x = x + self._recurrent(x)
        for level in reversed(range(len(self.up))):
            x = _widen(x, self.up[level])
            x = functional.leaky_relu(self.up_norm[level](x), SLOPE)
            x = _two(torch.cat((x, skips[level]), 1), self.decoder[level], self.decoder_norm[level])
        return self._head(x)

    def _stem(self, x: Tensor) -> Tensor:
        """`[batch, cin, frame, bin]` -> `[batch, C0, frame, band]`. As matrix products: a convolution of such a
        stride over channels_last is one, and libraries are slow at so few channels."""
        x = x.permute(0, 2, 3, 1)
        batch, frames = x.shape[:2]
        parts, start = [], 0
        for (bands, stride), conv in zip(self.spec.segments, self.stem):
            piece = x[:, :, start : start + bands * stride].reshape(batch, frames, bands, stride * self.cin)
            weight = conv.weight[:, :, 0].permute(0, 2, 1).reshape(-1, stride * self.cin)
            parts.append(functional.linear(piece, weight, conv.bias))
            start += bands * stride
        return torch.cat(parts, 2).permute(0, 3, 1, 2)

    def _recurrent(self, x: Tensor) -> Tensor:
        batch, _, frames, bands = x.shape
        low = functional.leaky_relu(_pointwise(x, self.squeeze), SLOPE)
        flat = low.permute(0, 2, 3, 1).reshape(batch, frames, -1)
        return _pointwise(gru(self.gru, flat).reshape(batch, frames, bands, -1).permute(0, 3, 1, 2), self.expand)

    def _head(self, x: Tensor) -> Tensor:
        """`[batch, C0, frame, band]` -> `[batch, frame, bin, outs]`."""
        x = x.permute(0, 2, 3, 1)
        batch, frames = x.shape[:2]
        parts, start = [], 0
        for (bands, stride), conv in zip(self.spec.segments, self.head):
            weight = conv.weight[:, :, 0].permute(2, 1, 0).reshape(stride * self.outs, -1)
            piece = functional.linear(x[:, :, start : start + bands], weight, conv.bias.repeat(stride))
            parts.append(piece.reshape(batch, frames, bands * stride, self.outs))
            start += bands
        return torch.cat(parts, 2)


def _two(x: Tensor, convs: nn.ModuleList, norms: nn.ModuleList) -> Tensor:
    for conv, norm in zip(convs, norms):
        x = functional.leaky_relu(norm(conv(functional.pad(x, (0, 0, 1, 0)))), SLOPE, inplace=True)
    return x


def _pointwise(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """A 1 x 1 convolution as the matrix product that it is in channels_last."""
    return functional.linear(x.permute(0, 2, 3, 1), conv.weight[:, :, 0, 0], conv.bias).permute(0, 3, 1, 2)


def _widen(x: Tensor, conv: nn.ConvTranspose2d) -> Tensor:
    """Transposed convolution of kernel and stride 2 over bands, as a matrix product."""
    batch, _, frames, bands = x.shape
    cin, cout = conv.weight.shape[:2]
    bias = None if conv.bias is None else conv.bias.repeat(2)
    wide = functional.linear(x.permute(0, 2, 3, 1), conv.weight[:, :, 0].permute(2, 1, 0).reshape(-1, cin), bias)
    return wide.reshape(batch, frames, 2 * bands, cout).permute(0, 3, 1, 2)


BALANCE_LIMIT = math.log(10.0 ** (24.0 / 20.0))
"""Most that the balance raises or lowers a band: 24 dB, as a natural logarithm."""

BALANCE_FLOOR = 1e-4
"""Long-term power of a band, relative to the mean, that counts as none: -67 dB before compression."""


LEAST_TRUST = 0.01
"""Trust under which stage 2's U-Net adds nothing: it would be 40 dB less than it says. After 2 s of that the engine doesn't compute it any more."""


class Balance(nn.ModuleList):
    """Stage 2's slow part: an equaliser that follows what the recording has sounded like lately, and how far stage 2's U-Net is trusted.

    Wear that dulls or narrows the band does the same to every frame, so seconds tell what one frame can't: how loud each
    band has been (with frames weighted by how loud they are, so that pauses say nothing), before and after stage 1.
    Three dense layers make a gain per band of that, and one number: the share of what the U-Net adds. Trained by `balance.py`,
    apart from the U-Nets.
    """

    def __init__(self, spec: Spec) -> None:
        hidden, bands = spec.balance, spec.bands
        super().__init__((nn.Linear(2 * bands + 1, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, bands + 1)))
        self.keep = spec.balance_keep
        sizes = torch.tensor([stride for count, stride in spec.segments for _ in range(count)])
        self.register_buffer("sizes", sizes, persistent=False)
        nn.init.zeros_(self[2].weight)
        nn.init.zeros_(self[2].bias)

    def banded(self, x: Tensor) -> Tensor:
        """Sums over the bins of each band: `[..., bin]` -> `[..., band]`."""
        out = x.new_zeros((*x.shape[:-1], len(self.sizes)))
        bands = torch.repeat_interleave(torch.arange(len(self.sizes), device=x.device), self.sizes, output_size=x.shape[-1])
        return out.index_add_(-1, bands, x)

    def heard(self, spectrum: Tensor) -> Tensor:
        """Long-term power of each band, compressed: `[batch, frame, bins, 2]` -> `[batch, frame, band]`."""
        return decaying_sum(self.banded(compressed_magnitude(spectrum).square()), self.keep)

    def seen(self, dry: Tensor, stage1: Tensor, age: Tensor) -> Tensor:
        """What the layers see of long-term powers `[..., band]` that are `age [..., 1]` old: 1 after many seconds, 0 before the first."""
        def shape(power: Tensor) -> Tensor:
            power = power / self.sizes
            return 0.5 * torch.log(power / power.mean(-1, keepdim=True).clamp_min(1e-12) + BALANCE_FLOOR)

        after = shape(stage1)
        return torch.cat((after, shape(dry) - after, age), -1)

    def said(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Gain per band, `[..., band]`, and trust in the U-Net (0..1), `[..., 1]`."""
        for layer in (self[0], self[1]):
            seen = functional.leaky_relu(layer(seen), SLOPE)
        gain, trust = self[2](seen).split((len(self.sizes), 1), -1)
        return torch.exp(BALANCE_LIMIT * torch.tanh(gain / BALANCE_LIMIT)), torch.sigmoid(trust)

    def forward(self, dry: Tensor, stage1: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra `[batch, frame, bins, 2]` before and after stage 1 -> gain `[batch, frame, bin]` and trust `[batch, frame, 1]`, no gradient."""
        with torch.no_grad(), torch.autocast(dry.device.type, enabled=False):
            frames = torch.arange(1, dry.shape[1] + 1, dtype=dry.dtype, device=dry.device)
            age = (1.0 - self.keep**frames)[None, :, None].expand(len(dry), -1, 1)
            gain, trust = self.said(self.seen(self.heard(dry), self.heard(stage1), age))
            return torch.repeat_interleave(gain, self.sizes, -1, output_size=dry.shape[-2]), trust


@dataclass
class Restored:
    """What the network says, row `k` being about frame `k - L` of its input."""

    gain: Tensor
    """Stage 1's gain, `[batch, frame, bin]`, 0..1."""
    stage1: Tensor
    """Stage 1's spectrum S1, `[batch, frame, bin, 2]`."""
    compressed1: Tensor
    """S1, 0.3-power compressed and divided by the level, with its magnitude third: `[batch, frame, bin, 3]`."""
    compressed2: Tensor | None
    """Stage 2's spectrum Y2, 0.3-power compressed and divided by the level. None if stage 2 was left out."""
    level: Tensor
    """The running level of the frame that the row is about, `[batch, frame]`."""

    @property
    def stage2(self) -> Tensor:
        """Stage 2's spectrum Y2, `[batch, frame, bin, 2]`."""
        return decompress(self.compressed2 * self.level[..., None, None])


STAGE1_INPUTS = 4
"""Features per bin that stage 1 sees: compressed spectrum, its magnitude, the noise floor."""

STAGE2_INPUTS = 6
"""Features per bin that stage 2 sees: compressed spectrum and its magnitude, of the input and of stage 1's output."""


class Dualstep(nn.Module):
    """Stage 1 (gain) and stage 2 (multi-frame complex filter and an additive term, both as far as the balance trusts them, and its gain behind them).

    There may be a speech network besides: a second stage 1, for recordings of speech alone.
    """

    def __init__(self, spec: Spec, folded: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self.half = False
        """Whether the stages compute in bfloat16 where that is safe: for training on a GPU."""
        self.stage1 = self.make_stage(spec.stages[0], STAGE1_INPUTS, 1, folded)
        self.stage2 = self.make_stage(spec.stages[1], STAGE2_INPUTS, 2 * spec.taps + 2, folded)
        self.balance = Balance(spec).requires_grad_(False)
        self.speech = self.make_stage(spec.stages[0], STAGE1_INPUTS, 1, folded) if spec.speech else None
        with torch.no_grad():
            for head in (*self.stage1.head, *(self.speech.head if self.speech is not None else ())):
                head.weight.mul_(0.1)
                head.bias.fill_(float(np.log(INITIAL_GAIN / (1.0 - INITIAL_GAIN))))
            # Stage 2 begins as the identity: what it changes, it has learned to change.
            for head in self.stage2.head:
                head.weight.zero_()
                head.bias.zero_()

    def make_stage(self, sizes: StageSpec, cin: int, outs: int, folded: bool) -> nn.Module:
        """One of the U-Nets. This and the methods up to `forward` are what the ablation's variants replace."""
        return Stage(self.spec, sizes, cin, outs, folded)

    def seen(self, spectrum: Tensor, level: Tensor) -> Tensor:
        """What stage 1 sees, `[batch, STAGE1_INPUTS, frame, bin]`, no gradient."""
        with torch.no_grad():
            floor = noise_floor(spectrum, self.spec) / level.unsqueeze(-1)
            return torch.cat((features(spectrum, level), floor.unsqueeze(1)), 1)

    def mask(self, out: Tensor, here: Tensor) -> tuple[Tensor, Tensor]:
        """Stage 1's gain `[batch, frame, bin]` and spectrum, from its head and the input's spectrum."""
        gain = torch.sigmoid(out[..., 0])
        return gain, gain.unsqueeze(-1) * here

    def forward(self, spectrum: Tensor, stages: int = 2, speech: bool = False) -> Restored:
        """`spectrum [batch, frame, bins, 2]` of the damaged input; with `stages` 1 only stage 1 runs, with `speech` the speech network in its place."""
        gain, here, stage1, seen1, level = self._first(spectrum, speech)
        compressed1 = seen1.permute(0, 2, 3, 1)
        if stages == 1:
            return Restored(gain, stage1, compressed1, None, level)
        gain2, trust = (x.unsqueeze(-1) for x in self.balance(here, stage1))
        # A U-Net in training is trusted: one that isn't would have nothing to learn from.
        trust = torch.ones_like(trust) if self.training else trust * (trust >= LEAST_TRUST)
        compressed2 = self._second(self._see(here, seen1, level) * trust, stage1, level) * power(gain2, 0.3)
        return Restored(gain, stage1, compressed1, compressed2, level)

    def run_each(self, spectrum: Tensor) -> None:
        """Runs every U-Net once, for those that listen in and for what batch norms measure."""
        self(spectrum)
        if self.speech is not None:
            self(spectrum, stages=1, speech=True)

    def trusting(self, spectrum: Tensor, trusts: tuple[float, ...]) -> list[Tensor]:
        """Spectra `[batch, frame, bin, 2]` of stage 1, and of stage 2 without its gain and with each of these trusts everywhere."""
        _, here, stage1, seen1, level = self._first(spectrum)
        out = self._see(here, seen1, level)
        return [stage1, *(decompress(self._second(out * trust, stage1, level) * level[..., None, None]) for trust in trusts)]

    def _first(self, spectrum: Tensor, speech: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Stage 1's gain, the input it is about, its spectrum and features, and the level."""
        ahead = self.spec.lookahead_hops
        level = running_level(spectrum, self.spec)
        out = self._run(self.speech if speech else self.stage1, self.seen(spectrum, level))
        here = delay(spectrum, ahead)
        level = delay(level, ahead, first=level[:, :1])
        gain, stage1 = self.mask(out, here)
        return gain, here, stage1, features(stage1, level), level

    def _see(self, here: Tensor, seen1: Tensor, level: Tensor) -> Tensor:
        """What stage 2's U-Net says of the input and stage 1's features, `[batch, frame, bin, 2 taps + 2]`."""
        with torch.no_grad():
            seen = features(here, level)
        return self._run(self.stage2, torch.cat((seen, seen1), 1))

    def _run(self, stage: Stage, seen: Tensor) -> Tensor:
        # Spectra span too many decades for half precision; what the stages see and say does not.
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=self.half):
            out = stage(seen.contiguous(memory_format=torch.channels_last))
        return out if out.dtype == seen.dtype else out.to(seen.dtype)

    def _second(self, out: Tensor, stage1: Tensor, level: Tensor) -> Tensor:
        """Stage 2's compressed spectrum from its head `[batch, frame, bin, 2 taps + 2]`."""
        filtered = stage1
        for tap in range(self.spec.taps):
            t, past = out[..., 2 * tap : 2 * tap + 2], delay(stage1, tap)
            real = t[..., 0] * past[..., 0] - t[..., 1] * past[..., 1]
            imaginary = t[..., 0] * past[..., 1] + t[..., 1] * past[..., 0]
            filtered = filtered + torch.stack((real, imaginary), -1)
        return compress(filtered) / level[..., None, None] + out[..., -2:]


def costs(spec: Spec) -> dict[str, tuple[int, int]]:
    """Parameters (folded, as exported) and multiply-adds per frame, of each U-Net and of the balance. The speech network runs in place of stage 1."""
    found = {}
    for name, sizes in spec.unets.items():
        cin, outs = (STAGE2_INPUTS, 2 * spec.taps + 2) if name == "stage2" else (STAGE1_INPUTS, 1)
        c, bands, top = sizes.widths, spec.bands, len(sizes.widths) - 1
        weights = macs = 0

        def layer(size: int, bias: int, times: int) -> None:
            nonlocal weights, macs
            weights += size + bias
            macs += size * times

        for n, stride in spec.segments:
            layer(c[0] * cin * stride, c[0], n)
            layer(c[0] * outs * stride, outs, n)
        weights += c[0] * bands
        for level in range(top + 1):
            before = c[max(level - 1, 0)]
            for a in (before, c[level]):
                layer(6 * a * c[level], c[level], bands >> level)
        hidden = sizes.squeeze * (bands >> top)
        layer(c[top] * sizes.squeeze, sizes.squeeze + c[top], bands >> top)
        layer(c[top] * sizes.squeeze, 0, bands >> top)
        layer(6 * hidden * hidden, 6 * hidden, 1)
        for level in range(top):
            layer(2 * c[level + 1] * c[level], c[level], bands >> (level + 1))
            for a in (2 * c[level], c[level]):
                layer(6 * a * c[level], c[level], bands >> level)
        found[name] = (weights, macs)
    sizes = ((2 * spec.bands + 1, spec.balance), (spec.balance, spec.balance), (spec.balance, spec.bands + 1))
    found["balance"] = (sum((a + 1) * b for a, b in sizes), sum(a * b for a, b in sizes))
    return found


def main() -> None:
    """Prints the sizes and costs of the shipped configs."""
    print(f"{'config':8} {'stage':8} {'parameters':>12} {'MAC/frame':>12} {'MMAC/s, mono':>13}")
    for name in ("studio", "live"):
        spec = Config.load(name).spec
        for stage, (weights, macs) in costs(spec).items():
            print(f"{name:8} {stage:8} {weights:12,} {macs:12,} {macs / spec.hop_s / 1e6:13.0f}")


if __name__ == "__main__":
    main()
