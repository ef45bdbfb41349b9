"""Training: resume is exact, phases follow each other, broken batches are skipped, and a tiny run from end to end."""

import collections
import csv
import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import tiny
import torch

from dualstep_training import card, curves, train, validate
from dualstep_training import export as exporter
from dualstep_training.checkpoint import Checkpoint
from dualstep_training.config import Config, ConfigError
from dualstep_training.feed import Echo, Feed, FeedEnded, moved, repaired, spared
from dualstep_training.model import Dualstep
from dualstep_training.stft import Stft
from dualstep_training.train import Log, Options, Trainer, spec_of_phase


def trainer(path, stage="1", steps=8, workers=0, items=(), broken=frozenset(), half=False, **recipe) -> Trainer:
    torch.manual_seed(0)
    config = tiny.config(**recipe)
    start = path if (path / "checkpoint.pt").exists() else None
    config = dataclasses.replace(config, spec=spec_of_phase(config.spec, stage, start))
    feed = Feed(tiny.FakeDegrader(broken=broken), config.recipe.batch, config.recipe.seconds, workers)
    path.mkdir(exist_ok=True)
    return Trainer(config, Options(path, stage, 0.0, steps, half=half), feed, list(items), "cpu", "test")


def items() -> list[validate.Item]:
    batch = tiny.FakeDegrader(seed=9).batch(2, 0.8)
    return [validate.Item("hiss", batch.noisy, batch.worn, batch.clean)]


@pytest.mark.parametrize("stage, workers", [("1", 0), ("1", 2), ("speech", 0)])
def test_resume_is_exact(tmp_path, stage, workers):
    whole = trainer(tmp_path / "whole", stage, workers=workers)
    expected = [whole.train_step()["total"] for _ in range(8)]
    first = trainer(tmp_path / "cut", stage, workers=workers)
    losses = [first.train_step()["total"] for _ in range(5)]
    first.save()
    first.train_step()  # lost: it came after the checkpoint
    second = trainer(tmp_path / "cut", stage, workers=workers)
    second.resume()
    losses += [second.train_step()["total"] for _ in range(3)]
    assert losses == expected
    for a, b in zip(whole.average.state_dict().values(), second.average.state_dict().values()):
        assert torch.equal(a, b)
    for one in (whole, first, second):
        one.feed.close()


@pytest.mark.parametrize("stage", ["1", "speech"])
def test_statistics_freeze_towards_the_end(tmp_path, stage):
    """And a run that is cut off just then goes on exactly."""
    one = trainer(tmp_path / "run", stage, steps=10, freeze_from=0.5)
    begun = [b.clone() for b in one.net.buffers()]
    for _ in range(6):
        one.train_step()
    one.save()
    kept = [b.clone() for b in one.net.buffers()]
    assert not all(torch.equal(a, b) for a, b in zip(begun, kept))
    expected = [one.train_step()["total"] for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(kept, one.net.buffers()))
    again = trainer(tmp_path / "run", stage, steps=10, freeze_from=0.5)
    again.resume()
    assert [again.train_step()["total"] for _ in range(2)] == expected


def test_a_phase_that_is_made_longer_freezes_anew(tmp_path):
    """It learns with live statistics again, and then keeps the averages of that time."""
    one = trainer(tmp_path / "run", steps=10, freeze_from=0.5)
    for _ in range(8):
        one.train_step()
    one.save()
    assert one.frozen
    longer = trainer(tmp_path / "run", steps=40, freeze_from=0.5)
    longer.resume()
    longer.train_step()
    assert not longer.frozen
    while longer.progress() < 0.5:
        longer.train_step()
    mean = [b.clone() for b in longer.average.buffers()]
    assert not all(torch.equal(a, b) for a, b in zip(mean, longer.net.buffers()))
    longer.train_step()
    assert longer.frozen and all(torch.equal(a, b) for a, b in zip(mean, longer.net.buffers()))


@pytest.mark.parametrize("stage", ["1", "speech"])
def test_half_precision_learns_the_same_on_a_cpu(tmp_path, stage):
    losses = {}
    for half in (False, True):
        one = trainer(tmp_path / str(half), stage, half=half)
        losses[half] = [one.train_step()["total"] for _ in range(4)]
        assert all(p.dtype == torch.float32 for p in one.net.parameters())
    assert losses[True] != losses[False]
    np.testing.assert_allclose(losses[True], losses[False], atol=0.02)


def test_training_lowers_the_loss(tmp_path):
    """On one batch again and again: what is tested is the trainer, not the data."""
    one = trainer(tmp_path / "run", steps=100, rate=5e-3)
    losses = []
    for _ in range(60):
        losses.append(one.train_step()["spectrum1"])
        one.feed.load_state({"seed": 0, "batches": 0})
    assert losses[-1] < 0.9 * losses[0]


def test_stages_follow_each_other(tmp_path):
    """Stage 2's phase leaves stage 1 as the average of its own phase, and changes stage 2; then both move."""
    path = tmp_path / "run"
    one = trainer(path, "1", 4)
    one.train(Log(path / "train.csv"))
    before = {k: v.clone() for k, v in one.average.state_dict().items()}
    two = trainer(path, "2", 4)
    two.resume()
    assert two.phase_steps == 0 and two.step == 4 and two.hours == one.hours
    two.train(Log(path / "train.csv"))
    after = two.average.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if k.startswith("stage1."))
    assert any(not torch.equal(after[k], v) for k, v in before.items() if k.startswith("stage2.head"))
    both = trainer(path, "both", 2)
    both.resume()
    both.train(Log(path / "train.csv"))
    assert not torch.equal(both.average.state_dict()["stage1.squeeze.weight"], before["stage1.squeeze.weight"])
    assert both.step == 10


def trained(path, stage, steps, **options) -> dict[str, torch.Tensor]:
    """The averaged weights after a phase of the run."""
    one = trainer(path, stage, steps, **options)
    if (path / "checkpoint.pt").exists():
        one.resume()
    one.train(Log(path / "train.csv"))
    return {k: v.clone() for k, v in one.average.state_dict().items()}


def changed(before, after) -> set[str]:
    """The parts of the network in which tensors differ."""
    return {k.split(".")[0] for k, v in after.items() if not torch.equal(v, before[k])}


def said(net, speech: bool) -> torch.Tensor:
    """Gains for a noisy clip."""
    stft = Stft(net.spec, tiny.RATE_HZ)
    with torch.no_grad():
        return net.eval()(stft.network(stft.forward(tiny.clips(1, 9600, 3))), stages=1, speech=speech).gain


def test_a_speech_network_begins_as_stage_one_and_goes_its_own_way(tmp_path):
    path = tmp_path / "run"
    before = trained(path, "1", 6)
    assert changed(before, trained(path, "2", 2)) == {"stage2"}
    assert not Checkpoint.load(path).spec["speech"] and not [k for k in before if k.startswith("speech.")]
    before = Checkpoint.load(path).average
    one = trainer(path, "speech", 3)
    one.resume()
    for net in (one.net, one.average):
        assert torch.equal(said(net, True), said(net, False)), "batch norms and all"
    before |= {k: v.clone() for k, v in one.average.state_dict().items() if k.startswith("speech.")}
    after = trained(path, "speech", 3)
    assert changed(before, after) == {"speech"}
    assert any(not torch.equal(v, before[k]) for k, v in after.items() if k.startswith("speech.") and "running" in k)
    assert Checkpoint.load(path).spec["speech"] is True
    for stage, part in (("both", {"stage1", "stage2"}), ("1", {"stage1"}), ("2", {"stage2"})):
        before, after = after, trained(path, stage, 2)
        assert changed(before, after) == part, "the speech network stays as it was"
    # It goes on from itself, not from stage 1 once more.
    again = trainer(path, "speech", 2)
    again.resume()
    assert not changed(after, again.average.state_dict()) and not torch.equal(said(again.net, True), said(again.net, False))


def test_a_run_from_before_there_were_speech_networks_gets_one(tmp_path):
    path = tmp_path / "run"
    trained(path, "1", 2)
    old = Checkpoint.load(path)
    del old.spec["speech"]
    old.save(path)
    assert changed(old.average, trained(path, "1", 3)) == {"stage1"}, "it can do without, too"
    stage1 = Checkpoint.load(path).average
    after = trained(path, "speech", 1, rate=1e-9)
    for name, value in stage1.items():
        if name.startswith("stage1.") and value.dtype.is_floating_point and "running" not in name:
            torch.testing.assert_close(after[name.replace("stage1.", "speech.")], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize("has", [False, True])
@pytest.mark.parametrize("stage", ["1", "speech"])
def test_a_run_starts_from_weights_with_and_without_a_speech_network(tmp_path, stage, has, exported):
    spec = dataclasses.replace(tiny.spec(), speech=has)
    net = exporter.randomise(Dualstep(spec))
    start = tmp_path / "w.safetensors" if exported else tmp_path
    if exported:
        exporter.export(net, start, None, {"commit": "c", "data": "d", "hours": 2.0})
    else:
        Checkpoint(spec.metadata(), net.state_dict(), net.state_dict()).save(start)
    config = tiny.config()
    config = dataclasses.replace(config, spec=spec_of_phase(config.spec, stage, start))
    one = Trainer(config, Options(tmp_path / "run", stage, 0.0, 2), Feed(tiny.FakeDegrader(), 2, 0.4), [], "cpu", "test")
    one.start_from(start)
    torch.testing.assert_close(said(one.average, False), said(net, False), atol=1e-4, rtol=0)
    assert (one.net.speech is not None) == (has or stage == "speech")
    if one.net.speech is not None:
        torch.testing.assert_close(said(one.net, True), said(net, has), atol=1e-4, rtol=0)
    before = {k: v.clone() for k, v in one.net.state_dict().items() if "num_batches" not in k}
    one.train_step()
    assert changed(before, {k: v for k, v in one.net.state_dict().items() if k in before}) == {"speech" if stage == "speech" else "stage1"}


def test_a_config_without_a_speech_network_trains_none(tmp_path):
    mute = dataclasses.replace(tiny.spec(), speech=False)
    with pytest.raises(ConfigError, match='tiny has no speech network: its config must say "speech": true'):
        spec_of_phase(mute, "speech", None)
    trained(tmp_path, "speech", 1)
    assert spec_of_phase(tiny.spec(), "1", tmp_path).speech and not spec_of_phase(mute, "1", tmp_path).speech
    one = Trainer(dataclasses.replace(tiny.config(), spec=mute), Options(tmp_path, "1", 0.0, 2), Feed(tiny.FakeDegrader(), 2, 0.4), [], "cpu", "test")
    with pytest.raises(ConfigError, match="holds a run of another spec"):
        one.resume()


def test_a_step_that_is_not_finite_changes_nothing(tmp_path):
    one = trainer(tmp_path / "run", broken=frozenset({1}))
    one.train_step()
    before = {k: v.clone() for k, v in one.average.state_dict().items()}
    weights = [p.clone() for p in one.net.parameters()]
    one.train_step()
    assert one.skipped == 1
    assert all(torch.equal(a, b) for a, b in zip(weights, one.net.parameters()))
    assert all(torch.equal(v, before[k]) for k, v in one.average.state_dict().items())
    assert np.isfinite(one.train_step()["total"])
    assert all(torch.isfinite(b).all() for b in one.net.buffers())


def test_learning_rate_follows_the_budget(tmp_path):
    one = trainer(tmp_path / "run", steps=20)
    rates = []
    for _ in range(20):
        one.train_step()
        rates.append(one.optimiser.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.5 * 2e-3, rel=0.01)
    assert max(rates) <= 2e-3 and rates[-1] < 0.1 * 2e-3 and rates[1:] == sorted(rates[1:], reverse=True)


def test_repair_replaces_masked_samples_of_about_half_of_the_items():
    worn = tiny.clips(200, 64, 0)
    mask = torch.zeros(worn.shape, dtype=torch.bool)
    mask[:, 20:30] = True
    noisy = worn + mask * 1.0
    out = repaired(noisy, worn, mask, torch.Generator().manual_seed(0))
    assert torch.equal(out[~mask], noisy[~mask])
    mended = (out - worn)[:, 20:30].abs().amax(1) < 0.5
    assert 70 < int(mended.sum()) < 130
    assert torch.equal(out[~mended], noisy[~mended])


def test_half_of_the_drums_arrive_without_noise():
    worn = tiny.clips(200, 64, 0)
    noisy = worn + 1.0
    drums = [i % 2 == 0 for i in range(200)]
    out = spared(noisy, worn, drums, torch.Generator().manual_seed(0))
    without = (out == worn).all(1)
    assert not bool(without[1::2].any()) and 30 < int(without[0::2].sum()) < 70
    assert torch.equal(out[~without], noisy[~without])


@pytest.mark.parametrize("stage, name", [("1", "validation.csv"), ("speech", "speech.csv")])
def test_curves_forget_what_a_resumed_run_does_again(tmp_path, stage, name):
    path = tmp_path / "run"
    one = trainer(path, stage, 4, items=items())
    one.train(Log(path / "train.csv"))
    one.validate()
    assert len(curves.rows(path / name)) == 2
    with (path / name).open("a", newline="") as file:
        csv.writer(file).writerow((99, 1.0, "hiss", *([0.0] * (len(curves.rows(path / name)[0]) - 3))))
    again = trainer(path, stage, 6, items=items())
    again.resume()
    assert [int(r["step"]) for r in curves.rows(path / name)] == [4, 4]
    assert (path / "curves.png").stat().st_size > 1000


def test_validation_of_the_identity_gains_nothing(tmp_path):
    """A gain of one everywhere: both taps are the input, sample by sample."""
    one = trainer(tmp_path / "run")
    with torch.no_grad():
        for head in one.average.stage1.head:
            head.weight.zero_()
            head.bias.fill_(20.0)
    row = validate.score(one.average, items())["hiss"]
    assert row["in_worn"] < 20
    for field in ("gain1", "gain2", "added2"):
        assert row[field] == pytest.approx(0, abs=1e-3)
    assert row["change_db"] < -80


def test_validation_of_the_speech_network_leaves_the_stages_out(tmp_path):
    """A gain of one in the speech network, and stages that take everything away."""
    one = trainer(tmp_path / "run", "speech", items=items())
    with torch.no_grad():
        for stage, bias in ((one.average.stage1, -20.0), (one.average.speech, 20.0)):
            for head in stage.head:
                head.weight.zero_()
                head.bias.fill_(bias)
    summary = one.validate()
    assert set(summary) == {"gain1", "clean_in1", "lost_db"} and summary["gain1"] == pytest.approx(0, abs=1e-3)
    (row,) = curves.rows(tmp_path / "run/speech.csv")
    assert row["kind"] == "hiss" and float(row["stage1"]) == pytest.approx(float(row["in_worn"]), abs=2e-3)
    assert not [field for field in row if "2" in field] and not (tmp_path / "run/validation.csv").exists()
    assert (tmp_path / "run/curves.png").stat().st_size > 1000


def test_slope_per_doubling():
    assert curves.slope_per_doubling([1, 2, 4], [3.0, 4.5, 6.0]) == pytest.approx(1.5)


def write_cache(path):
    """A cache of generated clips, by the cache's own writer."""
    from dualstep_training.data import CacheWriter

    writer = CacheWriter(path)
    seed = 0
    for split in ("train", "valid", "test"):
        for kind in ("music", "speech", "drums", "noise-everyday"):
            audio = tiny.clips(1, 3 * tiny.RATE_HZ, seed)[0].numpy()
            if kind.startswith("noise"):
                audio = 0.05 * np.random.default_rng(seed).standard_normal(audio.size)
            seed += 1
            writer.add((audio * 20_000).astype(np.int16), "generated", f"{kind}-{split}", kind, kind, split, licence="CC0-1.0")
    writer.flush()


def test_end_to_end(tmp_path, capsys):
    """Cache of generated clips, both stages and the speech network for a few steps, resume, export, golden vectors."""
    cache, run = tmp_path / "cache", tmp_path / "run"
    write_cache(cache)
    base = ["--config", "studio", "--cache", str(cache), "--run", str(run), "--minutes", "1", "--threads", "1"]
    base += ["--batch", "2", "--seconds", "0.4", "--validate-seconds", "1", "--validate-count"]
    assert train.main([*base, "0", "--stage", "1", "--steps", "2"]) == 0
    assert train.main([*base, "0", "--stage", "1", "--steps", "2"]) == 1, "a run must not be overwritten by accident"
    assert "--resume" in capsys.readouterr().err
    assert train.main([*base, "0", "--stage", "1", "--steps", "3", "--resume"]) == 0
    assert train.main([*base, "1", "--stage", "2", "--steps", "1", "--resume"]) == 0
    assert train.main([*base, "2", "--stage", "speech", "--steps", "1", "--resume"]) == 0
    saved = Checkpoint.load(run)
    assert saved.step == 5 and saved.hours == pytest.approx(5 * 2 * 0.4 / 3600)
    weights, vectors = tmp_path / "studio.safetensors", tmp_path / "golden.safetensors"
    assert exporter.main(["--run", str(run), "--out", str(weights), "--golden", str(vectors)]) == 0
    tensors, fields = exporter.read(weights)
    assert fields["name"] == "studio" and fields["hours"] == pytest.approx(saved.hours, abs=1e-3)
    assert len(tensors) > 100 and fields["speech"] is True
    assert {k.split(".")[0] for k in tensors} == {"stage1", "stage2", "speech", "balance"}
    assert exporter.read(vectors)[0]["speech_gain"].shape == (exporter.GOLDEN_FRAMES, 800)
    kinds = {r["kind"] for r in curves.rows(run / "validation.csv")}
    assert kinds == set(validate.KINDS)
    assert {r["kind"] for r in curves.rows(run / "speech.csv")} == set(validate.KINDS) - {"mixed-music", "drums"}
    text = tmp_path / "README.md"
    assert card.main(["--cache", str(cache), "--run", str(run), "--out", str(text)]) == 0
    assert "| generated |" in text.read_text() and "| worn+noise |" in text.read_text()
    assert "2,564,917 parameters in studio" in text.read_text() and "a third U-Net of 1,205,068 parameters" in text.read_text()
    (run / "validation.csv").unlink()
    assert card.main(["--cache", str(cache), "--run", str(run), "--out", str(text)]) == 0, "a run may be about the speech network alone"
    assert "| everyday-speech |" in text.read_text() and "| mixed-music |" not in text.read_text()
    live = ["--run", str(tmp_path / "live"), "--init", str(weights), "--stage", "both", "--steps", "1", *base[2:4], *base[6:], "0", "--config"]
    assert train.main([*live, "live"]) == 1, "of other widths"
    assert "live asks for" in capsys.readouterr().err
    wide = tmp_path / "wide.json"
    studio, narrow = Config.load("studio").spec, Config.load("live").spec
    wide.write_text(json.dumps({"spec": dataclasses.asdict(dataclasses.replace(narrow, stages=studio.stages))}))
    whole = weights.read_bytes()
    weights.write_bytes(whole.replace(b'"speech.position"', b'"speech.positioN"'))
    assert train.main([*live, str(wide)]) == 1, "weights that aren't whole"
    assert "tensor speech.positioN is not one of this network" in capsys.readouterr().err
    weights.write_bytes(whole)
    assert train.main([*live, str(wide)]) == 0, "another hop is no hindrance"
    assert "speech.position" in Checkpoint.load(tmp_path / "live").average
    assert card.main(["--cache", str(cache), "--run", str(tmp_path / "live"), "--out", str(text)]) == 1
    assert "live holds no validation to show" in capsys.readouterr().err


def echo(times=3.0, batch=2, rows=8, seed=0) -> Echo:
    return Echo(Feed(tiny.FakeDegrader(), batch, 0.4), times, batch, "cpu", seed, rows)


def test_an_echo_uses_each_clip_so_many_times_and_moves_its_noise():
    one = echo()
    taken = [one.take() for _ in range(30)]
    one.close()
    # Clips are told apart by their clean signal, which stays as it is.
    uses = collections.Counter(row.numpy().tobytes() for clips in taken for row in clips.clean)
    assert 30 * 2 <= 3.0 * 2 * taken[-1].state["batches"], "more often than asked for"
    assert max(uses.values()) > 1
    noises = {(clips.noisy - clips.worn)[row].numpy().tobytes() for clips in taken for row in range(2)}
    assert len(noises) > 1.3 * len(uses)
    assert all(torch.isfinite(clips.noisy).all() for clips in taken)


def test_noise_that_an_echo_moves_leaves_digital_silence_alone():
    class BegunInSilence(tiny.FakeDegrader):
        def batch(self, batch, seconds):
            drawn = super().batch(batch, seconds)
            for part in (drawn.clean, drawn.worn, drawn.noisy):
                part[:, :4000] = 0.0
            return drawn

    one = Echo(Feed(BegunInSilence(), 2, 0.4), 3.0, 2, "cpu", 0, 8)
    taken = [one.take() for _ in range(12)]
    one.close()
    assert all((clips.noisy[:, :4000] == 0).all() for clips in taken)
    assert all((clips.noisy[:, 4000:] != clips.worn[:, 4000:]).any() for clips in taken)


def run_of(path) -> list[str]:
    config = path / "tiny.json"
    config.write_text(json.dumps({"spec": dataclasses.asdict(tiny.spec())}))
    if not (path / "cache").exists():
        write_cache(path / "cache")
    base = ["--config", str(config), "--cache", str(path / "cache"), "--stage", "1", "--minutes", "1", "--steps", "4", "--threads", "1"]
    return [*base, "--batch", "2", "--seconds", "0.4", "--validate-count", "0", "--run"]


def signalled(monkeypatch, *numbers: int) -> None:
    """Signals in the middle of the third step."""
    whole = Trainer._update_average

    def update(self):
        if self.step == 2:
            for number in numbers:
                os.kill(os.getpid(), number)
        whole(self)

    monkeypatch.setattr(Trainer, "_update_average", update)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_end_waits_for_the_step(tmp_path, monkeypatch, capsys, number):
    command, before = run_of(tmp_path), signal.getsignal(number)
    assert train.main([*command, str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        signalled(patch, number)
        assert train.main([*command, str(tmp_path / "cut")]) == 130
    assert "stopped at step 3; --resume goes on from here" in capsys.readouterr().out
    assert Checkpoint.load(tmp_path / "cut").phase["feed"]["batches"] == 3, "no batch is lost"
    assert signal.getsignal(number) is before
    assert train.main([*command, str(tmp_path / "cut"), "--resume"]) == 0
    expected, found = (Checkpoint.load(tmp_path / name) for name in ("whole", "cut"))
    assert all(torch.equal(value, found.average[name]) for name, value in expected.average.items())
    assert all(torch.equal(value, found.weights[name]) for name, value in expected.weights.items())


def test_a_second_request_ends_at_once(tmp_path, monkeypatch, capsys):
    signalled(monkeypatch, signal.SIGTERM, signal.SIGINT)
    assert train.main([*run_of(tmp_path), str(tmp_path / "run")]) == 130
    assert "ended at once; --resume goes on from the last checkpoint" in capsys.readouterr().out
    assert not (tmp_path / "run/checkpoint.pt").exists(), "half a step is nothing to go on from"


def test_a_worker_that_is_gone_is_not_waited_for(tmp_path):
    """A signal to the whole group ends it; the trainer, which was asked to end too, saves."""
    one = trainer(tmp_path / "run", workers=1)
    one.train_step()
    (process,) = one.feed._processes
    process.terminate()
    process.join()
    with pytest.raises(FeedEnded, match="feed-0, which makes batches, ended with exit code -15"):
        for _ in range(8):
            one.train_step()
    step = one.step
    with pytest.raises(FeedEnded):
        one.train(Log(tmp_path / "train.csv"))

    class Asked(list):
        """A request that comes while a batch is waited for."""

        def __bool__(self) -> bool:
            self.append(15)
            return len(self) > 1

    assert not one.train(Log(tmp_path / "train.csv"), Asked())
    assert Checkpoint.load(tmp_path / "run").step == step
    one.feed.close()


def test_an_echo_hands_on_what_goes_wrong():
    broken = Feed(tiny.FakeDegrader(), 2, 0.4)
    broken.take = lambda: (_ for _ in ()).throw(OSError("the cache is gone"))
    with pytest.raises(OSError, match="the cache is gone"):
        Echo(broken, 2.0, 2, "cpu").take()


def test_moved_noise_is_the_same_noise_elsewhere():
    noise = 0.1 * torch.randn(200, 4800, generator=torch.Generator().manual_seed(1))
    noise[0] = 0.0
    after = moved(noise, torch.Generator().manual_seed(2))
    kept = [torch.equal(a, b) for a, b in zip(noise[1:], after[1:])]
    assert 0.15 < sum(kept) / len(kept) < 0.35
    assert torch.equal(after[0], noise[0]), "what is silent stays silent"
    ratio_db = 20 * torch.log10(after[1:].std(1) / noise[1:].std(1))
    assert ratio_db.max() < 5.1 and ratio_db.min() > -6.5 and ratio_db.std() > 1.5
    # Turned back, one of them is the noise that it was but for level, sign and the fades.
    row = 1 + kept.index(False)
    best = max(abs(float(torch.corrcoef(torch.stack((after[row].roll(-k), noise[row])))[0, 1])) for k in range(4800))
    assert best > 0.93
    assert torch.equal(after, moved(noise, torch.Generator().manual_seed(2)))


def test_a_run_with_an_echo_goes_on(tmp_path):
    one = trainer(tmp_path / "run", steps=6)
    one.feed = Echo(one.feed, 2.0, 2, "cpu", rows=8)
    for _ in range(3):
        one.train_step()
    one.save()
    again = trainer(tmp_path / "run", steps=6)
    again.feed = Echo(again.feed, 2.0, 2, "cpu", rows=8)
    again.resume()
    assert again.step == 3 and np.isfinite(again.train_step()["total"])
    assert again.feed.state["batches"] > 3, "the next clips, not the first ones again"
    one.feed.close()
    again.feed.close()
