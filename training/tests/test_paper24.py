"""A test per statement of the paper about its network."""

import pytest
import tiny
import torch
from torch import nn

from dualstep_training.loss import Loss
from dualstep_training.paper24 import DOUBLED, QUADRUPLED, Paper24, Tile, UNet, crop, two
from dualstep_training.stft import Stft
from dualstep_training.validate import Item, score


def unet(growth=DOUBLED, base=2) -> UNet:
    return UNet(tiny.spec(0), cin=3, outs=1, base=base, growth=growth)


def sizes(net: UNet, frames: int) -> dict[str, list]:
    """Shapes that went into and came out of each layer of a run."""
    seen = {}

    def note(name):
        return lambda _, given, out: seen.setdefault(name, []).append((tuple(given[0].shape), out))

    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note(name))
    with torch.no_grad():
        net(torch.randn(1, 3, frames, 64))
    return seen


def test_two_3x3_convolutions_with_leaky_relu_per_level():
    net = unet()
    for convs in (*net.encoder, *net.decoder):
        assert [conv.kernel_size for conv in convs] == [(3, 3), (3, 3)]
        assert [conv.padding for conv in convs] == [(0, 0), (0, 0)], "unpadded: hence the cropping"
    convs, norms = nn.ModuleList(nn.Conv2d(1, 1, 3, bias=False) for _ in range(2)), nn.ModuleList((nn.Identity(), nn.Identity()))
    for conv in convs:
        nn.init.constant_(conv.weight, 0.0)
        conv.weight.data[0, 0, 1, 1] = 1.0
    out = two(torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2).repeat(1, 1, 5, 3), convs, norms)
    assert sorted({round(v, 6) for v in out.flatten().tolist()}) == [-0.01, 1.0], "two leaky ReLUs of slope 0.1"


def test_pooling_is_the_maximum_of_2x2_with_stride_2():
    """The loudest point of a square, and only it, is heard below."""
    net = unet().eval()
    seen = sizes(net, 20)
    for level in range(1, 5):
        above = seen[f"encoder.{level - 1}.1"][0][1].shape
        below = seen[f"encoder.{level}.0"][0][0]
        assert tuple(below[2:]) == (above[2] // 2, above[3] // 2)
    heard = []
    net.encoder[1][0].register_forward_hook(lambda _, given, out: heard.append(given[0]))
    before = []
    net.encoder_norm[0][1].register_forward_hook(lambda _, given, out: before.append(nn.functional.leaky_relu(out, 0.1)))
    with torch.no_grad():
        net(torch.randn(1, 3, 20, 64))
    squares = before[0].unfold(2, 2, 2).unfold(3, 2, 2)
    assert torch.equal(heard[0], squares.amax((4, 5)))


@pytest.mark.parametrize("growth, widths", [(DOUBLED, (2, 4, 8, 16, 32)), (QUADRUPLED, (2, 8, 32, 32, 32))])
def test_channels_multiply_on_the_way_down(growth, widths):
    net = unet(growth)
    assert net.widths == widths
    assert tuple(convs[1].out_channels for convs in net.encoder) == widths


def test_upsampling_and_a_2x2_convolution_that_reduces_channels():
    net = unet()
    seen = sizes(net, 20)
    for level, conv in enumerate(net.up):
        assert conv.kernel_size == (2, 2) and conv.out_channels < conv.in_channels
        assert conv.out_channels == net.widths[level]
        given, out = seen[f"up.{level}"][0]
        below = seen["encoder.4.1" if level == 3 else f"decoder.{level + 1}.1"][0][1].shape
        assert tuple(out.shape[2:]) == (2 * below[2], 2 * below[3])


def test_concatenation_with_the_cropped_contracting_features():
    x, like = torch.arange(64.0).view(1, 1, 8, 8), torch.zeros(1, 5, 4, 2)
    assert torch.equal(crop(x, like), x[:, :, 2:6, 3:5])
    net = unet().eval()
    seen = sizes(net, 20)
    for level in range(4):
        given = seen[f"decoder.{level}.0"][0][0]
        skip = seen[f"encoder.{level}.1"][0][1].shape
        assert given[1] == 2 * net.widths[level]
        assert skip[2] > given[2] and skip[3] > given[3], "there is something to crop"


@pytest.mark.parametrize("growth", [DOUBLED, QUADRUPLED])
def test_24_convolutional_layers(growth):
    """In each of the two networks; all of them are run, once."""
    net = unet(growth)
    seen = sizes(net, 20)
    assert len([m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]) == 24
    assert len(seen) == 24 and all(len(runs) == 1 for runs in seen.values())


@pytest.mark.parametrize("wanted", [1, 20, 64, 125, 800])
def test_tile_sizes_stay_even(wanted):
    tile = Tile(4)
    size = tile.into(wanted)
    for _ in range(4):
        size -= 4
        assert size > 0 and size % 2 == 0, "pooling would drop a row"
        size //= 2
    assert size - 4 == tile.bottom(wanted) > 0
    assert wanted <= tile.out(wanted) < wanted + 100
    assert tile.into(wanted) - tile.out(wanted) == 184, "of the U-Net's paper: 572 in, 388 out"


def test_the_tile_of_the_unets_paper():
    assert (Tile(4).into(388), Tile(4).bottom(388), Tile(4).out(388)) == (572, 28, 388)


def test_convolutional_and_recurrent_layers_are_combined():
    """The GRU carries what was heard far beyond the reach of the convolutions, and only forwards."""
    net = unet().eval().double()
    hidden, reach = net.gru.hidden_size, 184
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        net.gru.bias_ih_l0[hidden : 2 * hidden] = 4.0  # an update gate that keeps the state
        x = torch.randn(1, 3, 3 * reach, 64, dtype=torch.double)
        early, late = x.clone(), x.clone()
        early[:, :, :8] += 3.0
        late[:, :, -8:] += 3.0
        out = net(x)
        assert (net(early) - out)[0, reach + 16 :].abs().max() > 1e-3 * out.abs().max()
        assert torch.equal(net(late)[0, : 2 * reach - 16], out[0, : 2 * reach - 16])
        net.gru.weight_ih_l0[hidden : 2 * hidden] = 0.0
        net.gru.bias_ih_l0[hidden : 2 * hidden] = -1e3  # and one that keeps nothing
        net.gru.weight_hh_l0.zero_()
        assert torch.equal(net(early)[0, reach + 16 :], net(x)[0, reach + 16 :])


def test_the_second_network_sees_the_noisy_input_and_the_firsts_output():
    spec = tiny.spec(1)
    net = Paper24(spec, base=2).eval()
    assert net.stage2.encoder[0][0].in_channels >= 6
    seen = []
    net.stage2.register_forward_hook(lambda _, given, out: seen.append(given[0]))
    stft = Stft(spec, tiny.RATE_HZ)
    x = stft.network(stft.forward(tiny.clips(1, 19_200, 0)))
    with torch.no_grad():
        out = net(x)
    torch.testing.assert_close(seen[0][:, -3:].permute(0, 2, 3, 1), out.compressed1)
    torch.testing.assert_close(out.stage1, out.gain[..., None] * x, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("growth", [DOUBLED, QUADRUPLED])
def test_it_trains_and_is_scored_like_the_streaming_network(growth):
    net = Paper24(tiny.spec(1), base=2, growth=growth).train()
    clean = tiny.clips(2, 19_200, 0)
    noisy = clean + 0.05 * torch.randn(clean.shape)
    stft = Stft(net.spec, tiny.RATE_HZ)
    x, y = (stft.network(stft.forward(clip)) for clip in (noisy, clean))
    total = Loss(net.spec)(net(x), x, y, y, "both")["total"]
    total.backward()
    grads = {name: p.grad for name, p in net.named_parameters() if p.requires_grad}
    assert all(g is not None and torch.isfinite(g).all() for g in grads.values())
    assert float(grads["stage1.gru.weight_hh_l0"].abs().max()) > 0
    row = score(net.eval(), [Item("hiss", noisy, clean, clean)])["hiss"]
    assert row["in_worn"] > 0 and row["change_db"] < -60, "stage 2 starts as the identity"
