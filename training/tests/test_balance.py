"""The balance: what it sees, that it starts as nothing, and that training teaches it to widen a narrow band."""

import numpy as np
import pytest
import tiny
import torch

from dualstep_training import balance, wear
from dualstep_training.balance import LOOKS_S, Looks, Trainer, Wear, judged, reduced, table
from dualstep_training.checkpoint import Checkpoint
from dualstep_training.model import Balance, Dualstep, decaying_sum


def spectrum(frames: int, seed: int = 0, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, frames, tiny.spec().bins, 2, generator=generator)


def looks(clips: int, seed: int) -> Looks:
    """Clips whose bands fall off by 0-6 dB per octave, all seen before and after a stage 1 that does nothing."""
    rng = np.random.default_rng(seed)
    hertz = Wear(tiny.spec(), 0).hertz.clamp_min(25.0)
    slope = torch.tensor(rng.uniform(-6, 0, (clips, 1, 1)), dtype=torch.float32)
    power = 10 ** (slope * torch.log2(hertz / 1000) / 10) * torch.tensor(rng.uniform(0.7, 1.4, (clips, len(LOOKS_S), hertz.shape[1])))
    sizes = torch.tensor([s for n, s in tiny.spec().segments for _ in range(n)])
    energy = (power * sizes).float()
    return Looks(before=(power**0.3 * sizes).float(), after=(power**0.3 * sizes).float(), cc=energy, sc=energy, ss=energy)


def test_decaying_sum_is_the_recursion():
    x = torch.randn(2, 1100, 3, dtype=torch.float64)
    want, now = [], torch.zeros(2, 3, dtype=torch.float64)
    for k in range(x.shape[1]):
        now = 0.99 * now + x[:, k]
        want.append(now)
    torch.testing.assert_close(decaying_sum(x, 0.99), torch.stack(want, 1))


def test_starts_as_nothing():
    z = spectrum(20)
    assert torch.equal(Balance(tiny.spec())(z, z), torch.ones(2, 20, tiny.spec().bins))


def test_level_and_pauses_say_nothing():
    """The same recording ten times as loud, or after a second of silence, looks the same but for its age."""
    net, z = Balance(tiny.spec()), spectrum(60)
    age = torch.zeros(2, 1)
    first = net.seen(net.heard(z)[:, -1], net.heard(z)[:, -1], age)
    loud = net.seen(net.heard(10 * z)[:, -1], net.heard(10 * z)[:, -1], age)
    torch.testing.assert_close(first, loud, atol=1e-4, rtol=0)
    paused = torch.cat((z, torch.zeros_like(z[:, :50])), 1)
    torch.testing.assert_close(first, net.seen(net.heard(paused)[:, -1], net.heard(paused)[:, -1], age), atol=0.02, rtol=0)


def test_bands_are_sums_of_their_bins():
    net = Balance(tiny.spec())
    x = torch.arange(64.0)
    want = torch.cat((x[:16], x[16:].reshape(16, 3).sum(-1)))
    assert torch.equal(net.banded(x), want)


def test_energies_say_what_a_gain_does():
    """The error that `judged` computes of three energies is that of the spectra themselves."""
    net = Dualstep(tiny.spec())
    clean, worn = spectrum(600, 1), spectrum(600, 2)
    got = reduced(net, worn, worn, clean)
    gain = torch.rand(2, 32, generator=torch.Generator().manual_seed(3)) * 2
    _, ratio = judged(net.spec, got.pick(torch.arange(2), torch.full((2,), 3)), gain)
    start = round(LOOKS_S[3] / net.spec.hop_s) + 1
    part = slice(start, start + round(balance.JUDGED_S / net.spec.hop_s))
    wide = torch.repeat_interleave(gain, net.balance.sizes, -1)[:, None, :, None]
    noise = (wide * worn[:, part] - clean[:, part]).square().sum((1, 2, 3))
    want = -10 * torch.log10(noise / clean[:, part].square().sum((1, 2, 3)) + 1e-4)
    torch.testing.assert_close(ratio, want, atol=1e-3, rtol=0)


def test_curves_are_those_of_wear():
    hertz = torch.linspace(0, 24_000, 500)[None]
    dull = wear.dull_gain(hertz, 20, np.random.default_rng(1))
    assert float(dull[:, 0].min()) > 0.99 and float(dull[:, -1].max()) < 0.2
    mixed = Wear(tiny.spec(), 1).mixed(192)
    unworn = (mixed == 1).all(-1).float().mean()
    assert float(unworn) == pytest.approx(1 - balance.DULL_SHARE - balance.NARROW_SHARE - balance.BOTH_SHARE, abs=0.1)


def test_learns_to_widen_a_narrow_band():
    torch.manual_seed(0)
    train, valid = looks(200, 1), looks(40, 2)
    trainer = Trainer(Dualstep(tiny.spec()), train, train)
    before = table(trainer, valid, valid)
    for step in range(600):
        trainer.train_step(step / 600)
    after = table(trainer, valid, valid)
    assert before["narrow"]["difference"] == pytest.approx(before["narrow"]["difference_in"])
    assert after["narrow"]["difference"] < 0.7 * before["narrow"]["difference"]


def test_the_command_puts_it_into_the_checkpoint(tmp_path, monkeypatch):
    run = tmp_path / "run"
    net = Dualstep(tiny.spec())
    state = {key: value.clone() for key, value in net.state_dict().items()}
    Checkpoint(tiny.spec().metadata(), state, {key: value.clone() for key, value in state.items()}).save(run)
    kept = {"train": [vars(looks(20, 1))] * 2, "valid": [vars(looks(8, 2))] * 2}
    torch.save(kept, run / "balance.pt")
    monkeypatch.setattr(balance, "BATCH", (32, 16))
    assert balance.main(["--cache", str(tmp_path), "--run", str(run), "--steps", "5"]) == 0
    found = Checkpoint.load(run)
    assert not torch.equal(found.average["balance.2.weight"], state["balance.2.weight"])
    assert torch.equal(found.average["stage2.position"], state["stage2.position"])
    assert (run / "balance.csv").read_text().startswith("kind,ratio_in")


def test_says_what_is_missing(tmp_path, capsys):
    assert balance.main(["--cache", str(tmp_path), "--run", str(tmp_path / "none")]) == 1
    assert "no checkpoint at" in capsys.readouterr().err
