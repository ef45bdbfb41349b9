"""The dropout network: causal, level invariant, the same at all rates, learns, exports to the same function."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dualstep_training import degrade, dropouts

RATE_HZ = degrade.RATE_HZ


def trained_looking() -> dropouts.Dropouts:
    """A network whose batch norms have seen something."""
    torch.manual_seed(5)
    net = dropouts.Dropouts()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = 1.0
    net.train()(0.1 * torch.randn(2, RATE_HZ // 2))
    return net.eval()


def test_answers_know_the_past_only_and_aligned_ones_the_lookahead():
    net = trained_looking()
    x = 0.1 * torch.randn(1, 200 * 48)
    changed = x.clone()
    changed[:, 120 * 48 :] = 0.1 * torch.randn(1, 80 * 48)
    with torch.no_grad():
        one, two = net(x), net(changed)
        assert torch.equal(one[..., :120], two[..., :120])
        assert not torch.equal(one[..., 120], two[..., 120])
        one, two = net.aligned(x), net.aligned(changed)
    for index, ahead in enumerate(net.spec.lookaheads):
        assert torch.equal(one[:, index, :, : 120 - ahead], two[:, index, :, : 120 - ahead])
        assert not torch.equal(one[:, index, :, 120 - ahead], two[:, index, :, 120 - ahead])


def test_level_does_not_matter():
    net = trained_looking()
    x = 0.5 * torch.randn(1, 300 * 48)
    with torch.no_grad():
        loud, quiet = net(x), net(0.01 * x)
    # At the very start there is no level yet: 64 frames, and as far as the layers reach.
    past = net.spec.level_frames + 2 * sum(net.spec.dilations) + 2
    assert torch.allclose(loud[..., past:], quiet[..., past:], atol=0.02)


def test_powers_are_those_of_a_sine_at_every_rate():
    net = trained_looking()
    for rate_hz in (16_000, 44_100, 48_000, 96_000):
        frame = dropouts.frame_of(rate_hz)
        time = torch.arange(100 * frame) / rate_hz
        x = torch.sin(2 * np.pi * 1000 * time)[None]
        powers = net.powers(x, rate_hz)[0, :, 50:].mean(1)
        # 1 kHz is bin 4, alone in the band from bin 4 to 5; the window's neighbours are 6 dB down.
        assert abs(float(powers[3]) - 1.0) < 0.05, rate_hz
        assert float(powers[8:15].max()) < 1e-3
        assert abs(float(powers[-2]) - 0.5) < 0.02
        assert abs(float(powers[-1]) - 0.5 * (2 * np.pi * 1000 / RATE_HZ) ** 2) < 2e-3


def test_bands_that_a_rate_lacks_are_silent_like_hidden_ones():
    net = trained_looking()
    x = 0.1 * torch.randn(1, 100 * 16)
    powers = net.powers(x, 16_000)
    first = next(i for i, edge in enumerate(net.spec.edges) if edge > 32)
    assert float(powers[:, first:-2].max()) == 0.0
    lacking = torch.zeros((1, 97), dtype=torch.bool)
    lacking[:, 33:] = True
    assert float(net.powers(0.1 * torch.randn(1, 100 * 48), RATE_HZ, lacking)[:, first:-2].max()) == 0.0


def test_the_curve_holds_depths_in_the_middles_of_frames():
    depth = torch.tensor([[0.0, 2.0, 2.0, 0.0]])
    line = dropouts.curve(depth, 4 * 48)[0]
    assert line[24].item() == pytest.approx(2 / 96, abs=1e-6) and line[72].item() == pytest.approx(2.0, abs=0.03)
    assert float(line.max()) <= 2.0 and line[-1].item() == 0.0


def test_labels_follow_the_dropouts_and_noise_does_not_drop():
    rng = np.random.default_rng(2)
    worn = 0.3 * torch.sin(torch.arange(96_000) * 0.05).repeat(8, 1)
    noise = 0.05 * torch.randn(8, 96_000)
    made = degrade.Batch(worn, worn.clone(), worn + noise, torch.zeros(8, 96_000, dtype=torch.bool), [set()] * 8)
    batch = dropouts.labelled(made, rng)
    hit = batch.depth.amax(1) > dropouts.LEAST
    assert 1 < int(hit.sum()) < 8
    gone = batch.wanted - batch.heard
    for row in range(8):
        if hit[row]:
            deepest = int(batch.depth[row].argmax())
            place = slice(48 * deepest, 48 * (deepest + 1))
            share = 1 - float(torch.exp(-batch.depth[row, deepest]))
            assert torch.allclose(gone[row, place], share * worn[row, place], atol=0.05)
        else:
            assert float(gone[row].abs().max()) == 0.0
    assert torch.equal(made.worn, worn), "what came in is as it was"


def test_gates_close_for_longer_than_dropouts_last():
    rng = np.random.default_rng(1)
    for _ in range(20):
        gate = dropouts.gated(rng, 96_000)
        assert gate.dtype == np.float32 and gate.min() >= -1e-6 and gate.max() == 1.0
        closed = gate < 0.5 * (1 + gate.min())
        assert closed.sum() > 0.06 * RATE_HZ


def test_silence_that_follows_is_no_dropout():
    net = trained_looking()
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.copy_(torch.tensor([9.0, 1.0] * len(net.spec.lookaheads)))
    x = 0.1 * torch.randn(1, 100 * 48)
    x[:, 60 * 48 : 80 * 48] = 0
    out = net.repair(x)
    for index, ahead in enumerate(net.spec.lookaheads):
        changed = (out[0, index] != x[0]).view(100, 48).any(1)
        assert changed[: 60 - ahead - 1].all() and changed[81:].all()
        # A line leads from the last frame before to the first that is left alone.
        assert not changed[60 - ahead + 1 : 79].any()


def test_a_frame_is_judged_with_its_neighbours():
    net = dropouts.Dropouts()
    odds = torch.zeros(1, 2, 9)
    odds[0, 0, 5], odds[0, 1, 4] = 6.0, 3.0
    settled = net.settled(odds)
    # The shortest look-ahead knows of no frame after; the other hears of it from the shortest.
    assert settled[0, 0].tolist() == [0, 0, 0, 0, 0, 3, 3, 0, 0]
    assert settled[0, 1].tolist() == [0, 0, 0, 0, 3, 1, 0, 0, 0]


def test_a_run_goes_on_and_exports_the_same_function(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    run, out, golden = tmp_path / "run", tmp_path / "dropouts.safetensors", tmp_path / "golden.safetensors"
    arguments = ["train", "--cache", str(cache), "--run", str(run), "--minutes", "1"]
    assert dropouts.main([*arguments, "--steps", "1"]) == 0
    assert dropouts.main([*arguments, "--steps", "2"]) == 1
    assert "--resume goes on with it" in capsys.readouterr().err
    assert dropouts.main([*arguments, "--steps", "2", "--resume"]) == 0
    assert dropouts.main(["export", "--cache", str(cache), "--run", str(run), "--out", str(out), "--golden", str(golden)]) == 0
    x = 0.1 * torch.randn(1, 100 * 48)
    with torch.no_grad():
        assert torch.allclose(dropouts.read(out)(x), dropouts.read(run)(x), atol=1e-3)
    assert dropouts.main(["score", "--cache", str(cache), "--weights", str(out), "--count", "1", "--seconds", "1"]) == 0
    assert "8 ms ahead" in capsys.readouterr().out


def test_training_learns_what_a_dropout_is():
    torch.manual_seed(1)
    rng = np.random.default_rng(4)
    run = dropouts.Run(Path("unused"))
    time = torch.arange(RATE_HZ) / RATE_HZ
    losses = []
    for step in range(60):
        notes = torch.stack([sum(torch.sin(2 * np.pi * float(f) * time) for f in rng.uniform(100, 4000, 6)) for _ in range(4)]) * 0.1
        nothing = torch.zeros(4, RATE_HZ, dtype=torch.bool)
        batch = dropouts.labelled(degrade.Batch(notes, notes, notes + 0.001 * torch.randn_like(notes), nothing, [set()] * 4), rng)
        losses.append(run.train_step(batch, step / 60))
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert run.skipped == 0


def test_a_step_that_is_not_finite_changes_nothing():
    run = dropouts.Run(Path("unused"))
    before = {key: value.clone() for key, value in run.net.named_parameters()}
    x = torch.full((2, 4800), float("nan"))
    run.train_step(dropouts.Labelled(x, x, torch.zeros(2, 100), torch.zeros(2, 97, dtype=torch.bool)), 0.8)
    assert run.skipped == 1 and all(torch.equal(before[key], value) for key, value in run.net.named_parameters())


def test_wrong_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture):
    missing = tmp_path / "none.safetensors"
    assert dropouts.main(["score", "--cache", str(tmp_path), "--weights", str(missing)]) == 1
    assert str(missing) in capsys.readouterr().err
    with pytest.raises(dropouts.DropoutError, match="format 9"):
        dropouts.Spec.from_metadata({"format": 9})
