"""The click detector: causal, level invariant, learns, exports to the same function; the scoring's interpolator and events."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch

from dualstep_training import degrade, detector, detector_events, detector_feed, detector_score, detector_train

RATE_HZ = detector.RATE_HZ


def trained_looking(spec: detector.Spec | None = None) -> detector.Detector:
    """A network whose batch norms have seen something."""
    net = detector.Detector(spec)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = 1.0
    net.train()(torch.randn(2, 4800))
    return net.eval()


def options(cache: Path, run: Path, **changes) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    detector_train.arguments(parser)
    values = parser.parse_args(["--cache", str(cache), "--run", str(run), "--minutes", "1", "--steps", "3", "--batch", "2", "--seconds", "0.3"])
    return argparse.Namespace(**{**vars(values), **changes})


@pytest.mark.parametrize("waits", [(0, 0, 0, 0), (0, 2, 0, 1)])
def test_answers_know_the_past_and_the_lookahead_only(waits: tuple[int, ...]):
    net = trained_looking(detector.Spec(waits=waits, lookahead_frames=3 + sum(waits)))
    x = torch.randn(1, 4800)
    changed = x.clone()
    changed[:, 3203:] = torch.randn(1, 1597)
    with torch.no_grad():
        one, two = net(x), net(changed)
    assert torch.equal(one[:, :3200], two[:, :3200])
    p, q = net.probability(x), net.probability(changed)
    ahead = 3203 - net.spec.lookahead - net.spec.frame
    assert torch.allclose(p[:, :ahead], q[:, :ahead], atol=1e-6)
    assert float((p[:, ahead:] - q[:, ahead:]).abs().max()) > 1e-3


def test_level_does_not_matter():
    net = trained_looking()
    x = torch.randn(1, 9600)
    quiet = net.probability(0.003 * x)
    # At the very start there is no level yet.
    assert torch.allclose(net.probability(x)[:, 4000:], quiet[:, 4000:], atol=1e-4)


def test_probability_takes_any_length():
    net = trained_looking()
    x = torch.randn(1, 1000)
    whole = net.probability(x)
    assert whole.shape == (1, 1000)
    assert torch.allclose(net.probability(x[:, :777])[:, :700], whole[:, :700], atol=1e-6)


def test_budget():
    assert detector.Spec().macs() < 2200


def test_labels_mark_the_clicks_and_spare_the_uncertain(cache: Path):
    maker = detector_feed.Maker(cache, "train", 1, 8, 0.5)
    seen = set()
    for _ in range(6):
        made = maker.make()
        assert made.audio.shape == made.labels.shape and made.audio.shape[1] % 16 == 0
        assert made.audio.dtype == np.int16 and np.abs(made.audio).max() == 32_767
        assert (made.hard == ~(made.labels == detector_events.DESTROYED).any(1)).all()
        seen |= set(np.unique(made.labels))
    assert seen == {detector_events.INTACT, detector_events.DESTROYED, detector_events.IGNORED}


def test_digital_clicks_are_marked_where_they_are():
    audio, labels = np.full(4800, 0.01, np.float32), np.zeros(4800, np.uint8)
    detector_events.add_digital_clicks(np.random.default_rng(1), audio, labels)
    changed = audio != np.float32(0.01)
    assert changed.any() and np.array_equal(changed, labels == detector_events.DESTROYED)


def test_pops_are_cut_from_a_disc_and_marked_where_they_are_added():
    rng = np.random.default_rng(1)
    disc = 1e-3 * rng.standard_normal(48_000)
    swing = np.sin(2 * np.pi * np.arange(96) / 48) * np.hanning(96)
    for at in range(5000, 45_000, 5000):
        disc[at : at + 96] += swing
    cut = detector_events.cut_pops(disc)
    assert len(cut) == 8
    for pop in cut:
        assert 60 <= len(pop) <= 130 and np.abs(pop).max() == pytest.approx(1, abs=0.01)
        assert np.correlate(pop, swing, "full").max() > 0.9 * swing @ swing
    for of in ([], cut):
        audio = (0.01 * rng.standard_normal(24_000)).astype(np.float32)
        labels, before = np.zeros(24_000, np.uint8), audio.copy()
        detector_events.add_pops(rng, audio, labels, of)
        assert (labels[np.abs(audio - before) > 0.01] == detector_events.DESTROYED).all() and (labels == detector_events.DESTROYED).any()
        assert np.array_equal(audio[labels == detector_events.INTACT], before[labels == detector_events.INTACT])


def test_drawn_pops_begin_and_end_at_nothing():
    rng = np.random.default_rng(2)
    for _ in range(200):
        pop = detector_events.drawn_pop(rng)
        assert pop.dtype == np.float32 and len(pop) <= 0.0056 * 48_000 + 16
        assert 0.5 < np.abs(pop).max() <= 1 and abs(pop[0]) < 0.2 and abs(pop[-1]) < 0.2


def test_hits_are_intact_and_so_is_what_they_cover():
    rng = np.random.default_rng(3)
    audio = rng.standard_normal(48_000).astype(np.float32)
    labels, peak = np.ones(48_000, np.uint8), np.abs(audio).max()
    detector_events.add_hits(rng, audio, labels)
    over = np.abs(audio) > 0.32 * peak  # more than 10 dB under it nothing else is left
    assert over.any() and (labels[over] == detector_events.INTACT).all() and (labels == detector_events.DESTROYED).any()


def test_sticks_build_up_and_swing():
    """What tells them from clicks, which begin at once, and from pops, which swing once or twice."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        hit = detector_events.drawn_stick(rng)
        assert np.abs(hit).max() == pytest.approx(1.0) and np.abs(hit[:4]).max() < 0.5
        loud = hit[: np.flatnonzero(np.abs(hit) > 0.1)[-1] + 1]
        assert (np.diff(np.sign(loud)) != 0).sum() >= 4


def test_labels_keep_their_place_at_other_rates():
    audio, labels = np.zeros((1, 4800), np.float32), np.zeros((1, 4800), np.uint8)
    audio[0, 2400:2420] = 1.0
    labels[0, 2400:2420] = 1
    for factor in (2 / 3, 44.1 / 48, 4 / 3):
        other, marked = detector_feed.resampled(audio, labels, factor)
        assert other.shape == marked.shape == (1, round(4800 * factor))
        assert abs(np.flatnonzero(marked).mean() / factor - 2409.5) < 1.5
        assert abs(np.average(np.arange(other.shape[1]), weights=other[0] ** 2) / factor - 2409.5) < 1.5


def test_worker_processes_make_batches(cache: Path):
    feed = detector_feed.Feed(cache, 2, 0.3, 2, 1)
    try:
        assert all(feed.take().audio.shape[0] == 2 for _ in range(4))
    finally:
        feed.close()


def test_a_worker_that_fails_says_why(tmp_path: Path):
    feed = detector_feed.Feed(tmp_path / "nothing", 2, 0.3, 1, 1)
    try:
        with pytest.raises(RuntimeError, match="worker 1000"):
            feed.take()
    finally:
        feed.close()


def test_pool_rows_are_renewed_as_rarely_as_asked(cache: Path):
    often, rarely = (degrade.Degrader(degrade.Cache(cache, "train"), refresh_s=seconds) for seconds in (1.0, 1e6))
    for one in (often, rarely):
        one.batch(2, 2.0)
        one.batch(2, 2.0)
    assert often._pools._refreshes == 4
    assert rarely._pools._refreshes == 0


def test_trains_saves_resumes_and_exports(cache: Path, tmp_path: Path):
    run = tmp_path / "run"
    detector_train.train(options(cache, run))
    with pytest.raises(detector.DetectorError, match="--resume"):
        detector_train.train(options(cache, run))
    detector_train.train(options(cache, run, steps=5, resume=True))
    net, state = detector_train.load(run)
    assert state["step"] == 5 and state["skipped"] == 0 and state["hours"] > 0
    out, golden = tmp_path / "d.safetensors", tmp_path / "g.safetensors"
    assert detector.main(["export", "--run", str(run), "--cache", str(cache), "--out", str(out), "--golden", str(golden)]) == 0
    from safetensors.numpy import load_file

    vectors = load_file(str(golden))
    found = detector.read(out).probability(torch.from_numpy(vectors["clip"])[None])[0].numpy()
    assert np.abs(found - vectors["probability"]).max() < 1e-5
    assert np.abs(net.probability(torch.from_numpy(vectors["clip"])[None])[0].numpy() - found).max() < 1e-4


def test_goes_on_from_a_file_with_more_layers(cache: Path, tmp_path: Path):
    """A run begun with exported weights computes what they do, whatever layers are put on top, and trains those too."""
    shaken, first = detector.Detector().eval(), tmp_path / "first.safetensors"
    with torch.no_grad():
        for module in shaken.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_()
                module.weight.uniform_(0.5, 2.0)
                module.bias.normal_(0.0, 0.3)
    detector.export(shaken, first, None, {"commit": "abc", "data": "none", "hours": 3.0})
    clip = torch.from_numpy(detector.golden_clip())[None]
    begun = detector.unfolded(detector.read(first), ((1, 0), (9, 2)))
    assert begun.spec.dilations == (1, 3, 9, 27, 1, 9)
    assert begun.spec.lookahead_frames == shaken.spec.lookahead_frames + 2
    torch.testing.assert_close(begun.probability(clip), shaken.probability(clip), atol=1e-4, rtol=0)
    run = tmp_path / "run"
    detector_train.train(options(cache, run, init=first, more=[(1, 0), (9, 2)], rate=1e-3))
    detector_train.train(options(cache, run, steps=5, resume=True))
    net, state = detector_train.load(run)
    assert state["step"] == 5 and state["hours"] > 3.0 and state["frozen"]
    assert net.layers[5].conv.weight.any(), "what was put on top has been trained"
    out = tmp_path / "waits.safetensors"
    detector.export(net, out, None, {"commit": "abc", "data": "none", "hours": 3.0})
    assert detector.read(out).spec.waits == (0, 0, 0, 0, 0, 2)
    with pytest.raises(detector.DetectorError, match="--init"):
        detector_train.train(options(cache, tmp_path / "other", more=[(1, 0)]))
    with pytest.raises(FileNotFoundError, match="no weights at"):
        detector_train.train(options(cache, tmp_path / "other", init=tmp_path / "none"))


@pytest.mark.parametrize("text", ["", "0", "-3", "3:x", "1.5", ":2"])
def test_layers_that_are_none_are_refused(text: str, capsys: pytest.CaptureFixture[str]):
    argv = ["train", "--cache", "c", "--run", "r", "--minutes", "1", "--init", "i", f"--more={text}"]
    with pytest.raises(SystemExit):
        detector.main(argv)
    assert "DILATION:WAIT" in capsys.readouterr().err


def test_learns_obvious_clicks():
    """Pulses over noise: after some steps they are told from it."""
    generator = np.random.default_rng(0)
    run = detector_train.Run(Path("unused"), "cpu")
    for step in range(60):
        audio, labels = _pulses(generator)
        batch = detector_feed.Labelled((audio * 3000).astype(np.int16), labels, np.zeros(len(audio), bool))
        run.train_step(batch, step / 60)
    audio, labels = _pulses(generator)
    p = run.net.eval().probability(torch.from_numpy(audio)).numpy()
    assert p[labels == 1].mean() > 5 * p[labels == 0].mean()


def _pulses(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    audio, labels = generator.standard_normal((4, 4800)).astype(np.float32), np.zeros((4, 4800), np.uint8)
    for row in range(4):
        for start in generator.integers(500, 4700, 5):
            audio[row, start : start + 6] += 8
            labels[row, start : start + 6] = 1
    return audio, labels


def test_a_step_that_is_not_finite_changes_nothing():
    run = detector_train.Run(Path("unused"), "cpu")
    audio, labels = _pulses(np.random.default_rng(0))
    batch = detector_feed.Labelled((audio * 3000).astype(np.int16), labels, np.zeros(4, bool))
    run.train_step(batch, 0.1)
    before = {key: value.clone() for key, value in run.net.state_dict().items() if "num_batches" not in key and "running" not in key}
    with torch.no_grad():
        run.net.head.bias.fill_(float("nan"))
    run.train_step(batch, 0.1)
    assert run.skipped == 1
    after = run.net.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items() if key != "head.bias")


def test_events():
    marked = np.zeros(200, bool)
    marked[[3, 4, 10]] = True
    marked[100:120] = True
    assert detector_score.events(marked) == [(3, 11), (100, 120)]


def test_interpolation_of_a_known_process():
    rng = np.random.default_rng(0)
    poles = [0.99 * np.exp(0.1j), 0.99 * np.exp(-0.1j), 0.95 * np.exp(1j), 0.95 * np.exp(-1j)]
    x = scipy.signal.lfilter([1], np.poly(poles).real, rng.standard_normal(9600)).astype(np.float32)
    marked = np.zeros(9600, bool)
    for start in (3000, 3060, 5000):
        marked[start : start + 20] = True
    marked[7000:7300] = True
    damaged = np.where(marked, np.float32(40), x)
    out = detector_score.interpolated(damaged, marked)
    short = marked.copy()
    short[7000:7300] = False
    assert 10 * np.log10(np.square(x[short]).sum() / np.square((x - out)[short]).sum()) > 12
    assert np.array_equal(out[~short], damaged[~short]), "intact samples and what is too long stay"


def test_scores_count_what_was_found():
    worn = torch.full((1, 9600), 0.1)
    mask = torch.zeros(1, 9600, dtype=torch.bool)
    mask[0, 1000:1010] = mask[0, 5000:5020] = True
    noisy = torch.where(mask, worn + torch.where(torch.arange(9600) < 2000, 0.05, 5.0), worn)
    batch = degrade.Batch(worn, worn, noisy, mask, [{"music", "clicks"}])
    probability = np.zeros((1, 9600))
    probability[0, 5002:5020] = 0.9
    probability[0, 8000:8003] = 0.9
    counts = detector_score.event_scores(probability, batch, 0.5)
    assert (counts["marks"], counts["false"]) == (2, 1)
    assert [counts[f"there{i}"] for i in range(4)] == [1, 0, 0, 1]
    assert [counts[f"found{i}"] for i in range(4)] == [0, 0, 0, 1]
