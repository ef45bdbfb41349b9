"""The balance: what it sees, that it starts as nothing, and that training teaches it to widen a narrow band and whom to trust."""

import numpy as np
import pytest
import tiny
import torch

from dualstep_training import balance, wear
from dualstep_training.balance import LOOKS_S, TRUSTS, Looks, Trainer, Wear, judged, reduced, table
from dualstep_training.checkpoint import Checkpoint
from dualstep_training.export import export, folded_network, golden, randomise, read
from dualstep_training.model import Balance, Dualstep, decaying_sum


def spectrum(frames: int, seed: int = 0, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, frames, tiny.spec().bins, 2, generator=generator)


def looks(clips: int, seed: int) -> Looks:
    """Clips whose bands fall off by 0-6 dB per octave, all seen before and after stages that do nothing."""
    rng = np.random.default_rng(seed)
    hertz = Wear(tiny.spec(), 0).hertz.clamp_min(25.0)
    slope = torch.tensor(rng.uniform(-6, 0, (clips, 1, 1)), dtype=torch.float32)
    power = 10 ** (slope * torch.log2(hertz / 1000) / 10) * torch.tensor(rng.uniform(0.7, 1.4, (clips, len(LOOKS_S), hertz.shape[1])))
    sizes = torch.tensor([s for n, s in tiny.spec().segments for _ in range(n)])
    energy = (power * sizes).float()
    thrice = torch.stack((energy,) * len(TRUSTS), 2)
    return Looks(before=(power**0.3 * sizes).float(), after=(power**0.3 * sizes).float(), cc=energy, yc=thrice, yy=thrice)


def test_decaying_sum_is_the_recursion():
    x = torch.randn(2, 1100, 3, dtype=torch.float64)
    want, now = [], torch.zeros(2, 3, dtype=torch.float64)
    for k in range(x.shape[1]):
        now = 0.99 * now + x[:, k]
        want.append(now)
    torch.testing.assert_close(decaying_sum(x, 0.99), torch.stack(want, 1))


def test_starts_as_nothing():
    z = spectrum(20)
    gain, trust = Balance(tiny.spec())(z, z)
    assert torch.equal(gain, torch.ones(2, 20, tiny.spec().bins)) and torch.equal(trust, torch.full((2, 20, 1), 0.5))


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
    """The error that `judged` computes of a few energies is that of the spectra themselves, here of a U-Net that adds something linear."""
    net = Dualstep(tiny.spec())
    clean, worn, added = spectrum(600, 1), spectrum(600, 2), spectrum(600, 4)
    got = reduced(net, worn, worn, tuple(worn + trust * added for trust in TRUSTS), clean)
    gain = torch.rand(2, 33, generator=torch.Generator().manual_seed(3))
    gain, trust = 2 * gain[:, :-1], gain[:, -1:]
    _, ratio = judged(net.spec, got.pick(torch.arange(2), torch.full((2,), 3)), gain, trust)
    start = round(LOOKS_S[3] / net.spec.hop_s) + 1
    part = slice(start, start + round(balance.JUDGED_S / net.spec.hop_s))
    gain, trust = torch.repeat_interleave(gain, net.balance.sizes, -1)[:, None, :, None], trust[:, None, :, None]
    noise = (gain * (worn + trust * added)[:, part] - clean[:, part]).square().sum((1, 2, 3))
    want = -10 * torch.log10(noise / clean[:, part].square().sum((1, 2, 3)) + 1e-4)
    torch.testing.assert_close(ratio, want, atol=1e-3, rtol=0)


def test_curves_are_those_of_wear():
    hertz = torch.linspace(0, 24_000, 500)[None]
    dull = wear.dull_gain(hertz, 20, np.random.default_rng(1))
    assert float(dull[:, 0].min()) > 0.99 and float(dull[:, -1].max()) < 0.2
    mixed = Wear(tiny.spec(), 1).mixed(192)
    unworn = (mixed == 1).all(-1).float().mean()
    assert float(unworn) == pytest.approx(1 - balance.DULL_SHARE - balance.NARROW_SHARE - balance.BOTH_SHARE, abs=0.1)


def test_learns_to_widen_a_narrow_band(monkeypatch):
    """As far as it dares: these clips have little to tell a narrowed one by."""
    monkeypatch.setattr(balance, "HARM_WEIGHT", 0.1)
    torch.manual_seed(0)
    train, valid = looks(200, 1), looks(40, 2)
    trainer = Trainer(Dualstep(tiny.spec()), train, train, train)
    before = table(trainer, valid, valid, valid)
    for step in range(600):
        trainer.train_step(step / 600)
    after = table(trainer, valid, valid, valid)
    assert before["narrow"]["difference"] == pytest.approx(before["narrow"]["difference_in"])
    assert after["narrow"]["difference"] < 0.7 * before["narrow"]["difference"]


def test_learns_whom_to_trust():
    """To thin clips the U-Net adds noise of a tenth of their energy, to full ones the half that they lack: trust follows."""
    torch.manual_seed(0)

    def with_u_net(clips: int, seed: int) -> tuple[Looks, torch.Tensor]:
        made = looks(clips, seed)
        thin = torch.arange(clips) % 2 == 0
        made.before[thin, :, :8] *= 0.05
        made.after[thin, :, :8] *= 0.05
        part = torch.tensor([0.5, 0.75, 1.0])
        alike = torch.where(thin[:, None], torch.tensor(1.0), part)[:, None, :, None]
        energy = torch.where(thin[:, None], 1 + torch.tensor([0.0, 0.025, 0.1]), part)[:, None, :, None]
        return Looks(made.before, made.after, made.cc, alike * made.yc, energy * made.yy), thin

    train, valid = with_u_net(200, 1)[0], with_u_net(40, 2)
    trainer = Trainer(Dualstep(tiny.spec()), looks(200, 1), train, train)
    for step in range(400):
        trainer.train_step(step / 400)
    picked = valid[0].pick(torch.arange(40), torch.full((40,), len(LOOKS_S) - 1))
    _, trust = trainer.said(picked, trainer.age[torch.full((40,), len(LOOKS_S) - 1)])
    trust = trust.mean(-1)
    assert float(trust[~valid[1]].mean()) > 0.8 and float(trust[valid[1]].mean()) < 0.2
    worn = table(trainer, looks(40, 2), valid[0], valid[0])["worn"]
    assert worn["ratio"] > max(worn["ratio_in"], worn["ratio_full"])


def test_trust_scales_what_the_u_net_adds():
    """All trust is the U-Net's output, none stage 1's."""
    torch.manual_seed(0)
    net, z = randomise(Dualstep(tiny.spec())), spectrum(30)
    stage1, none, full = net.trusting(z, (0.0, 1.0))
    torch.testing.assert_close(none, stage1, atol=1e-6, rtol=1e-4)
    assert not torch.allclose(full, stage1, atol=1e-4)
    with torch.no_grad():
        net.balance[2].weight.zero_()
        net.balance[2].bias.zero_()[net.spec.bands :] = 40.0
    torch.testing.assert_close(net(z).stage2, full, atol=1e-6, rtol=1e-4)


def test_a_u_net_in_training_is_trusted():
    """A balance that trusts it with nothing, as for most recordings, takes no gradient from it."""
    torch.manual_seed(0)
    net, z = randomise(Dualstep(tiny.spec())), spectrum(30)
    with torch.no_grad():
        net.balance[2].weight.zero_()
        net.balance[2].bias.zero_()[net.spec.bands :] = -20.0
    out = net.eval()(z)
    torch.testing.assert_close(out.stage2, out.stage1, atol=1e-6, rtol=1e-4)
    net.train()(z).compressed2.square().sum().backward()
    assert all(head.weight.grad.abs().max() > 1e-3 for head in net.stage2.head)


def test_the_command_puts_it_into_the_checkpoint(tmp_path, monkeypatch):
    run = tmp_path / "run"
    net = Dualstep(tiny.spec())
    state = {key: value.clone() for key, value in net.state_dict().items()}
    Checkpoint(tiny.spec().metadata(), state, {key: value.clone() for key, value in state.items()}).save(run)
    monkeypatch.setattr(balance, "Cache", lambda path, split: None)
    monkeypatch.setattr(balance, "collect", lambda net, cache, counts, seed: (looks(20, 1),) * 3)
    monkeypatch.setattr(balance, "BATCH", (32, 16, 16))
    assert balance.main(["--cache", str(tmp_path), "--run", str(run), "--steps", "5"]) == 0
    found = Checkpoint.load(run)
    assert not torch.equal(found.average["balance.2.weight"], state["balance.2.weight"])
    assert torch.equal(found.average["stage2.position"], state["stage2.position"])
    assert (run / "balance.csv").read_text().startswith("kind,ratio_in")


def test_clips_are_reduced_anew_when_what_made_them_has_changed(tmp_path, monkeypatch, capsys):
    run, made = tmp_path / "run", []

    def train(*options: str) -> int:
        """How often clips were reduced: once per split."""
        made.clear()
        assert balance.main(["--cache", str(tmp_path), "--run", str(run), "--steps", "1", *options]) == 0
        return len(made)

    def change(part: str) -> None:
        saved = Checkpoint.load(run)
        name = next(name for name in saved.average if name.startswith(f"{part}.") and name.endswith("weight"))
        saved.average[name] = saved.average[name] + 0.01
        saved.save(run)

    net = randomise(Dualstep(tiny.spec()))
    Checkpoint(tiny.spec().metadata(), net.state_dict(), net.state_dict()).save(run)
    monkeypatch.setattr(balance, "Cache", lambda path, split: None)
    monkeypatch.setattr(balance, "collect", lambda *arguments: made.append(arguments) or (looks(20, 1),) * 3)
    monkeypatch.setattr(balance, "BATCH", (32, 16, 16))
    assert train() == 2 and train() == 0
    change("speech")
    assert train() == 0, "neither it nor the balance itself has a part in them"
    for part in ("stage1", "stage2"):
        change(part)
        assert train() == 2 and train() == 0
    assert train("--clean", "400") == 2 and train("--clean", "400", "--seed", "2") == 2
    (tmp_path / "manifest.json").write_text("{}")
    assert train("--clean", "400", "--seed", "2") == 2, "another cache"
    kept = run / "balance.pt"
    old = {split: part for split, part in torch.load(kept).items() if split != "origin"}
    torch.save(old, kept)
    capsys.readouterr()
    assert train("--looks", str(kept)) == 0
    assert "taken all the same, since --looks names it" in capsys.readouterr().err
    assert train() == 2, "of clips from before this was noted nothing is known"
    exported = tmp_path / "w.safetensors"
    export(Checkpoint.load(run).network(), exported, None, {"commit": "c", "data": "d", "hours": 1.0})
    assert balance.main(["--cache", str(tmp_path), "--weights", str(exported), "--looks", str(kept), "--steps", "1"]) == 0
    assert not capsys.readouterr().err, "an exported file is the network that it was exported from"


def test_the_command_rewrites_a_weights_file_with_its_golden_vectors(tmp_path, monkeypatch):
    path, kept, vectors = tmp_path / "tiny.safetensors", tmp_path / "looks" / "tiny.pt", tmp_path / "golden.safetensors"
    export(randomise(Dualstep(tiny.spec())), path, None, {"commit": "abc", "data": "none", "hours": 1.5})
    before, fields = read(path)
    kept.parent.mkdir()
    torch.save({"train": [vars(looks(20, 1))] * 3, "valid": [vars(looks(8, 2))] * 3}, kept)
    monkeypatch.setattr(balance, "BATCH", (32, 16, 16))
    arguments = ["--cache", str(tmp_path), "--weights", str(path), "--looks", str(kept), "--golden", str(vectors), "--steps", "5"]
    assert balance.main(arguments) == 0
    after, same = read(path)
    assert same == fields
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("balance.") for name in changed)
    expected = golden(folded_network(tiny.spec(), after))
    assert any(name.startswith("speech.") for name in after)
    for name in ("stage2", "speech_gain"):
        assert torch.equal(read(vectors)[0][name], torch.from_numpy(expected[name]))


def test_says_what_is_missing(tmp_path, capsys):
    assert balance.main(["--cache", str(tmp_path), "--run", str(tmp_path / "none")]) == 1
    assert "no checkpoint at" in capsys.readouterr().err
