"""The paper's network to the letter, for the ablation: a U-Net over tiles, pooled over time and frequency. Not streaming.

What the paper says of it, each sentence with a test in `tests/test_paper24.py`:

- two 3 x 3 convolutions, each with a leaky ReLU, per level; unpadded, as in the U-Net it follows (Ronneberger et al. 2015);
- 2 x 2 max-pooling with stride 2 on the way down, channels multiplied at each step;
- upsampling and a 2 x 2 convolution that reduces the channels on the way up;
- concatenation with the features of the contracting path, cropped to size;
- 24 convolutional layers: five levels have 23, the last a 1 x 1 one, and one more leads into the recurrent layer;
- tiles whose sizes stay even, so that no pooling drops a row;
- convolutional and recurrent layers combined: a GRU along time at the bottom, beside whose features its states are laid.

Silent about: batch norm (here after each 3 x 3 and 2 x 2 convolution, as in the streaming network, so that layouts are
compared and not the art of training without it) and what the two networks say (here what the streaming ones say: stage 1
a gain, stage 2, which sees the noisy input and stage 1's output, complex taps and an additive term).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from .config import Spec, StageSpec
from .model import NORM_MOMENTUM, SLOPE, Dualstep
from .recurrent import gru

DOUBLED = (2, 2, 2, 2)
QUADRUPLED = (4, 4, 1, 1)
"""The paper multiplies channels by four at each step; over all four steps that is 256 times the first level's."""

SQUEEZE = 4
"""Channels per row of the bottom that enter the recurrent layer."""


class Tile:
    """Sizes along one axis, for a number of poolings."""

    def __init__(self, poolings: int) -> None:
        self.poolings = poolings

    def bottom(self, wanted: int) -> int:
        """Size at the bottom, after its convolutions, of the smallest tile that gives `wanted` or more."""
        lost = 4 * ((1 << self.poolings) - 1)
        return max(-(-(wanted + lost) // (1 << self.poolings)), 1 + 4 // 2)

    def into(self, wanted: int) -> int:
        """Size of the tile that goes in."""
        size = self.bottom(wanted) + 4
        for _ in range(self.poolings):
            size = 2 * size + 4
        return size

    def out(self, wanted: int) -> int:
        """Size of what comes out: `wanted` or a little more."""
        size = self.bottom(wanted)
        for _ in range(self.poolings):
            size = 2 * size - 4
        return size


def crop(x: Tensor, like: Tensor) -> Tensor:
    """The middle of `x [batch, channel, frame, bin]` in the size of `like`."""
    top, left = (x.shape[2] - like.shape[2]) // 2, (x.shape[3] - like.shape[3]) // 2
    return x[:, :, top : top + like.shape[2], left : left + like.shape[3]]


class UNet(nn.Module):
    """One of the two networks; takes and gives what `model.Stage` does."""

    def __init__(self, spec: Spec, cin: int, outs: int, base: int, growth: tuple[int, ...]) -> None:
        super().__init__()
        self.tile = Tile(len(growth))
        c = [base]
        for factor in growth:
            c.append(c[-1] * factor)
        self.widths = tuple(c)
        top = len(growth)
        before = (cin, *c[:-1])

        def pair(first: int, after: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(n, after, 3, bias=False) for n in (first, after))

        def norms(channels: int) -> nn.ModuleList:
            return nn.ModuleList(nn.BatchNorm2d(channels, momentum=NORM_MOMENTUM) for _ in range(2))

        self.encoder = nn.ModuleList(pair(a, b) for a, b in zip(before, c))
        self.encoder_norm = nn.ModuleList(norms(n) for n in c)
        self.squeeze = nn.Conv2d(c[top], SQUEEZE, 1)
        hidden = SQUEEZE * self.tile.bottom(spec.bins)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        below = [*c[1:top], c[top] + SQUEEZE]
        self.up = nn.ModuleList(nn.Conv2d(below[i], c[i], 2, bias=False) for i in range(top))
        self.up_norm = nn.ModuleList(nn.BatchNorm2d(c[i], momentum=NORM_MOMENTUM) for i in range(top))
        self.decoder = nn.ModuleList(pair(2 * c[i], c[i]) for i in range(top))
        self.decoder_norm = nn.ModuleList(norms(c[i]) for i in range(top))
        # A list, as the streaming network's, so that both start alike.
        self.head = nn.ModuleList((nn.Conv2d(c[0], outs, 1),))

    def forward(self, x: Tensor) -> Tensor:
        """`x [batch, cin, frame, bin]` -> `[batch, frame, bin, outs]`. Around the clip there is silence."""
        frames, bins = x.shape[2:]
        x = self._pad(x)
        skips = []
        for level, (convs, norms) in enumerate(zip(self.encoder, self.encoder_norm)):
            if level:
                skips.append(x)
                x = functional.max_pool2d(x, 2, 2)
            x = two(x, convs, norms)
        x = torch.cat((x, self._recurrent(x)), 1)
        for level in reversed(range(len(self.up))):
            x = self._widen(x, level)
            x = two(torch.cat((x, crop(skips[level], x)), 1), self.decoder[level], self.decoder_norm[level])
        return self.head[0](x)[:, :, :frames, :bins].permute(0, 2, 3, 1)

    def _pad(self, x: Tensor) -> Tensor:
        """To the tile's size. What comes out begins where the clip begins."""
        sides = []
        for size in (x.shape[3], x.shape[2]):
            whole = self.tile.into(size)
            start = (whole - self.tile.out(size)) // 2
            sides += [start, whole - size - start]
        return functional.pad(x, sides).contiguous(memory_format=torch.channels_last)

    def _recurrent(self, x: Tensor) -> Tensor:
        batch, _, frames, rows = x.shape
        low = functional.leaky_relu(self.squeeze(x), SLOPE)
        states = gru(self.gru, low.permute(0, 2, 1, 3).reshape(batch, frames, -1))
        return states.reshape(batch, frames, SQUEEZE, rows).permute(0, 2, 1, 3).to(x.dtype)

    def _widen(self, x: Tensor, level: int) -> Tensor:
        """Twice the size, fewer channels. One row of padding keeps the size even."""
        x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.up[level](functional.pad(x, (0, 1, 0, 1)))
        return functional.leaky_relu(self.up_norm[level](x), SLOPE)


def two(x: Tensor, convs: nn.ModuleList, norms: nn.ModuleList) -> Tensor:
    """Two 3 x 3 convolutions, each with a leaky ReLU: takes two rows and two columns from each side."""
    for conv, norm in zip(convs, norms):
        x = functional.leaky_relu(norm(conv(x)), SLOPE)
    return x


class Paper24(Dualstep):
    """Both networks. Gives row `k` for frame `k`: it hears the whole clip, so there is no look-ahead to wait for."""

    def __init__(self, spec: Spec, base: int = 8, growth: tuple[int, ...] = DOUBLED) -> None:
        self.base, self.growth = base, growth
        super().__init__(replace(spec, lookahead_hops=0, speech=False))

    def make_stage(self, sizes: StageSpec, cin: int, outs: int, folded: bool) -> nn.Module:
        return UNet(self.spec, cin, outs, self.base, self.growth)
