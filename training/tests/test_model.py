"""The network does what plugin/engine/ARCHITECTURE.md says: geometry, causality, level, starts."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from dualstep_training import metrics
from dualstep_training.config import Config, ConfigError, Spec
from dualstep_training.export import randomise
from dualstep_training.loss import Loss, Weights, bin_weights, compressed_loss
from dualstep_training.model import SUM_BLOCK, Dualstep, compress, costs, decompress, noise_floor, running_level
from dualstep_training.recurrent import gru
from dualstep_training.stft import Stft, windows


def spectrum(spec: Spec, seconds: float = 0.6, seed: int = 0, gain: float = 1.0) -> torch.Tensor:
    stft = Stft(spec, tiny.RATE_HZ)
    return stft.network(stft.forward(gain * tiny.clips(2, round(seconds * tiny.RATE_HZ), seed)))


@pytest.mark.parametrize("hop, analysis_hops", [(960, 2), (320, 6), (882, 2), (294, 6)])
def test_windows_multiply_to_a_hann_window_that_adds_up_to_one(hop, analysis_hops):
    analysis, synthesis = windows(hop, analysis_hops)
    product = analysis[-2 * hop :] * synthesis
    np.testing.assert_allclose(product[:hop] + product[hop:], 1.0, atol=1e-9)
    if analysis_hops == 2:
        np.testing.assert_allclose(analysis, synthesis, atol=1e-9)


@pytest.mark.parametrize("name", ["studio", "live"])
def test_stft_reconstructs_and_scales_a_sine_to_one(name):
    stft = Stft(Config.load(name).spec, tiny.RATE_HZ)
    clip = tiny.clips(2, 48_000, 1)
    back = stft.inverse(stft.forward(clip))
    end = back.shape[1] - stft.hop
    assert end > 40_000
    torch.testing.assert_close(back[:, :end], clip[:, :end], atol=1e-5, rtol=0)
    sine = torch.sin(2 * torch.pi * 1000 * torch.arange(48_000) / tiny.RATE_HZ)[None]
    assert stft.forward(sine)[0, 20].abs().max() == pytest.approx(1.0, abs=1e-3)
    assert int(stft.forward(sine)[0, 20].abs().argmax()) == 40


def test_frame_k_ends_with_hop_k():
    for name in ("studio", "live"):
        stft = Stft(Config.load(name).spec, tiny.RATE_HZ)
        clip = torch.zeros(1, 20 * stft.hop)
        clip[0, 10 * stft.hop + 7] = 1.0
        loud = stft.forward(clip)[0].abs().sum(-1) > 1e-9
        assert int(loud.nonzero()[0]) == 10
        assert int(loud.sum()) == stft.spec.analysis_hops


def test_shipped_configs_have_the_sizes_of_the_contract():
    for name, latency_hops, widths, hidden in (("studio", 1, (32, 48, 64, 96, 128), 288), ("live", 0, (24, 32, 40, 56, 80), 240)):
        spec = Config.load(name).spec
        assert (spec.bands, spec.lookahead_hops, spec.analysis_hops * spec.hop_units) == (192, latency_hops, 12)
        low, *_, below, high = widths
        shapes = {k: tuple(v.shape) for k, v in Dualstep(spec, folded=True).stage2.state_dict().items()}
        assert shapes["stem.3.weight"] == (low, 6, 1, 15)
        assert shapes["encoder.4.1.weight"] == (high, high, 2, 3)
        assert shapes["decoder.0.0.weight"] == (low, 2 * low, 2, 3)
        assert shapes["up.3.weight"] == (high, below, 1, 2)
        assert shapes["gru.weight_ih_l0"] == (3 * hidden, hidden)
        assert shapes["head.3.weight"] == (low, 8, 1, 15) and shapes["head.3.bias"] == (8,)


def test_counted_parameters_are_those_of_the_folded_network():
    spec = Config.load("studio").spec
    net = Dualstep(spec, folded=True)
    for name, (weights, _) in costs(spec).items():
        assert weights == sum(p.numel() for p in getattr(net, name).parameters())


def test_a_spec_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="cover 64 bins"):
        Spec(**{**tiny.spec().__dict__, "bins": 65})
    with pytest.raises(ConfigError, match="there are: live, studio"):
        Config.load("stadium")


@pytest.mark.parametrize("lookahead", [0, 1])
def test_no_output_hears_more_than_the_look_ahead(lookahead):
    spec = tiny.spec(lookahead)
    net = randomise(Dualstep(spec))
    x = spectrum(spec)
    changed_at = 15
    y = x.clone()
    y[:, changed_at:] *= -0.3
    with torch.no_grad():
        before, after = net(x), net(y)
    # Row k is about frame k - L and may hear frame k: rows before the change are bit-equal, later ones are not.
    for field in ("gain", "stage1", "compressed2"):
        a, b = getattr(before, field), getattr(after, field)
        assert torch.equal(a[:, :changed_at], b[:, :changed_at]), field
        assert not torch.equal(a[:, changed_at:], b[:, changed_at:]), field


def test_row_k_is_about_frame_k_minus_look_ahead():
    spec = tiny.spec(1)
    net = Dualstep(spec).eval()
    x = spectrum(spec)
    with torch.no_grad():
        out = net(x)
    torch.testing.assert_close(out.stage1[:, 1:], out.gain[:, 1:, :, None] * x[:, :-1])
    assert out.stage1[:, 0].abs().max() == 0
    torch.testing.assert_close(out.level[:, 1:], running_level(x, spec)[:, :-1])
    torch.testing.assert_close(out.level[:, 0], running_level(x, spec)[:, 0])


def test_the_network_does_not_hear_the_level():
    # Without look-ahead: the silence before the start, which stage 2 sees with it, has no level to divide by.
    spec = tiny.spec(0)
    net = randomise(Dualstep(spec)).double()
    x = spectrum(spec).double()
    with torch.no_grad():
        loud, quiet = net(x), net(x * 10 ** (-30 / 20))
    torch.testing.assert_close(loud.gain, quiet.gain, atol=3e-4, rtol=0)
    torch.testing.assert_close(loud.compressed2, quiet.compressed2, atol=1e-3, rtol=1e-3)


def test_the_speech_network_takes_the_place_of_stage_one():
    """And stage 2 follows it as it would a stage 1 that says the same."""
    spec = tiny.spec()
    net, other = randomise(Dualstep(spec)), Dualstep(replace(spec, speech=False)).eval()
    assert other.speech is None
    other.load_state_dict({name: value for name, value in net.state_dict().items() if not name.startswith("speech.")})
    other.stage1.load_state_dict(net.speech.state_dict())
    x = spectrum(spec)
    with torch.no_grad():
        speech, expected, usual = net(x, speech=True), other(x), net(x)
        alone = net(x, stages=1, speech=True)
    for field in ("gain", "stage1", "compressed2"):
        torch.testing.assert_close(getattr(speech, field), getattr(expected, field))
        assert not torch.allclose(getattr(speech, field), getattr(usual, field), atol=1e-4), field
    assert torch.equal(alone.gain, speech.gain) and alone.compressed2 is None


def test_a_spec_says_whether_there_is_a_speech_network():
    for speech in (False, True):
        spec = replace(tiny.spec(), speech=speech)
        assert spec.metadata()["speech"] is speech and Spec.from_metadata(spec.metadata()) == spec
    older = {key: value for key, value in tiny.spec().metadata().items() if key != "speech"}
    assert not Spec.from_metadata(older).speech


def test_level_rises_fast_and_falls_slowly():
    spec = tiny.spec()
    x = torch.zeros(1, 300, spec.bins, 2)
    x[:, 50:150] = 0.1
    level = running_level(x, spec)[0]
    goal = float((2 * 0.1**2) ** 0.15)
    assert level[49] == pytest.approx(0.01)
    rise = int((level[50:150] > goal * (1 - np.exp(-1))).nonzero()[0])
    fall = int((level[150:] < goal * np.exp(-1)).nonzero()[0])
    assert rise == pytest.approx(10, abs=1) and fall == pytest.approx(100, abs=2)


def test_recurrent_layer_is_pytorchs():
    layer = torch.nn.GRU(5, 7, batch_first=True).double()
    x = torch.randn(3, 9, 5, dtype=torch.double, requires_grad=True)
    wanted = torch.randn(3, 9, 7, dtype=torch.double)
    found = []
    for out in (layer(x)[0], gru(layer, x)):
        inputs = (x, *layer.parameters())
        found.append((out, *torch.autograd.grad((out * wanted).sum(), inputs)))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b)


def test_stage_two_starts_as_the_identity_and_stage_one_takes_little():
    spec = tiny.spec()
    net = Dualstep(spec).train()
    x = spectrum(spec)
    out = net(x)
    torch.testing.assert_close(out.stage2, out.stage1, atol=1e-6, rtol=1e-4)
    assert 0.8 < float(out.gain.mean()) < 0.96


def test_stage_two_can_learn_from_the_identity():
    spec = tiny.spec()
    net = Dualstep(spec).train()
    x = spectrum(spec)
    Loss(spec)(net(x), x, 0.5 * x, 0.5 * x, "2")["total"].backward()
    assert all(float(head.weight.grad.abs().max()) > 0 for head in net.stage2.head)


def test_compression_round_trip_and_zero():
    z = torch.randn(100, 2, dtype=torch.double) * 10.0 ** torch.linspace(-4, 0, 100, dtype=torch.double)[:, None]
    torch.testing.assert_close(decompress(compress(z)), z, rtol=1e-6, atol=1e-12)
    assert decompress(torch.zeros(3, 2)).abs().max() == 0
    x = torch.zeros(3, 2, requires_grad=True)
    decompress(compress(x)).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_missing_energy_costs_more_than_left_over_noise():
    spec = tiny.spec()
    target = torch.ones(1, 4, spec.bins, 3)
    weights = Weights(complex=0.0)
    less = compressed_loss(target - 0.2, target, bin_weights(spec), weights)
    more = compressed_loss(target + 0.2, target, bin_weights(spec), weights)
    assert float(less) == pytest.approx(weights.missing * float(more), rel=1e-4)


def test_loss_does_not_depend_on_the_level_of_the_item():
    spec = tiny.spec()
    net = Dualstep(spec).eval()
    clean, noisy = spectrum(spec, seed=1), spectrum(spec, seed=2)
    values = []
    for gain in (1.0, 0.01):
        x = gain * noisy
        with torch.no_grad():
            values.append(Loss(spec)(net(x), x, gain * clean, gain * clean, "both")["total"])
    assert float(values[0]) == pytest.approx(float(values[1]), rel=1e-2)


def test_silent_items_give_finite_losses_and_gradients():
    spec = tiny.spec()
    net = Dualstep(spec).train()
    x = torch.zeros(1, 20, spec.bins, 2)
    loss = Loss(spec)(net(x), x, x, x, "both")["total"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_metrics_on_known_signals():
    reference = tiny.clips(2, 48_000, 3)
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    noise = noise * (reference.square().mean(-1, keepdim=True).sqrt() * 0.1)
    torch.testing.assert_close(metrics.snr(reference + noise, reference), torch.full((2,), 20.0), atol=0.2, rtol=0)
    torch.testing.assert_close(metrics.si_sdr(3 * (reference + noise), reference), torch.full((2,), 20.0), atol=0.2, rtol=0)
    torch.testing.assert_close(metrics.level_change(0.5 * reference, reference), torch.full((2,), -6.02), atol=0.01, rtol=0)
    assert float(metrics.log_spectral_distance(reference, reference).max()) == 0
    assert float(metrics.si_sdr(reference, reference).min()) > 90
    lost = metrics.over_suppression(0.5 * reference, reference, reference + noise)
    torch.testing.assert_close(lost, torch.full((2,), 6.02), atol=0.01, rtol=0)


def test_noise_floor_is_the_recursion():
    """What the matrix products give, over more than one block, is the engine's recursion."""
    spec = tiny.spec()
    generator = torch.Generator().manual_seed(4)
    spectrum = torch.randn(2, SUM_BLOCK + 40, spec.bins, 2, generator=generator, dtype=torch.float64)
    inverse = (spectrum.square().sum(-1) + 1e-18) ** -0.3
    total, weight, expected = torch.zeros_like(inverse[:, 0]), 0.0, []
    for k in range(spectrum.shape[1]):
        total = spec.floor_keep * total + inverse[:, k]
        weight = spec.floor_keep * weight + 1.0
        expected.append((total / weight) ** -0.5)
    torch.testing.assert_close(noise_floor(spectrum, spec), torch.stack(expected, 1))


def test_digital_silence_is_no_noise():
    """A gap between two edits doesn't change the floor, and before anything is heard a frame is its own."""
    spec = tiny.spec()
    spectrum = torch.full((1, 120, spec.bins, 2), 1e-3)
    before = noise_floor(spectrum[:, 5:40], spec)[0, -1, 0]
    spectrum[:, :5] = 0
    spectrum[:, 40:80] = 0
    floor = noise_floor(spectrum, spec)[0, :, 0]
    torch.testing.assert_close(floor[[60, 119]], before.expand(2))
    assert float(floor[0]) == pytest.approx(1e-18**0.15)


def test_noise_floor_stays_at_the_noise_under_a_sound():
    """Notes that sound half of the time hardly raise it."""
    spec = tiny.spec()
    spectrum = torch.full((1, 200, spec.bins, 2), 1e-3)
    before = noise_floor(spectrum, spec)[0, -1, 0]
    spectrum[:, 20::40] = 0.3
    spectrum[:, 21::40] = 0.3
    assert float(noise_floor(spectrum, spec)[0, -1, 0] / before) < 1.05
