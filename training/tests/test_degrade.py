"""The degradation: each generator's statistics, the order of wear and noise, levels, determinism. All audio is generated."""

import hashlib

import numpy as np
import pytest
import scipy.signal
import scipy.stats
import torch

from dualstep_training import defects, report, wear
from dualstep_training.data import Cache, CacheWriter
from dualstep_training.degrade import DISC_CHANCES, FIXED_KINDS, Degrader, Recipe, fixed_set
from dualstep_training.screening import RATE_HZ

LONG = 6 * RATE_HZ
SEEDS = range(6)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A small cache: chords, bursts of coloured noise as speech, decaying hits, recorded noise."""
    folder = tmp_path_factory.mktemp("cache")
    writer, rng = CacheWriter(folder), np.random.default_rng(0)
    time = np.arange(8 * RATE_HZ) / RATE_HZ

    def add(kind, index, audio, band=24_000):
        writer.add(np.round(audio / np.abs(audio).max() * 29_000).astype(np.int16), kind, f"{index}", kind, f"{kind}/{index}", "train", bandwidth_hz=band)

    for index in range(4):
        add("music", index, sum(np.sin(2 * np.pi * f * (index + 2) * time) / n for n, f in enumerate((110, 165, 220, 331, 1760), 1)))
        syllables = np.clip(np.sin(2 * np.pi * 3 * time), 0, 1)
        add("speech", index, scipy.signal.lfilter([1], [1, -0.9], rng.standard_normal(len(time))) * syllables, 24_000 if index else 8000)
        add("drums", index, np.exp(-time[: RATE_HZ // 3] * 20) * rng.standard_normal(RATE_HZ // 3))
    for kind in ("disc", "everyday", "machine"):
        add(f"noise-{kind}", 0, rng.standard_normal(3 * RATE_HZ))
    writer.flush()
    return Cache(folder, "train")


@pytest.fixture(autouse=True)
def _small_pools(monkeypatch):
    """Pools of a few rows: they are what takes time to make."""
    monkeypatch.setattr("dualstep_training.degrade.POOL_ROWS", 2)
    monkeypatch.setattr("dualstep_training.degrade.POOL_SECONDS", 5.0)


def power_db(audio: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log10(audio.square().mean(dim=1) + 1e-20)


def spectrum_db(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    frequency, power = scipy.signal.welch(audio, RATE_HZ, nperseg=8192)
    return frequency, 10 * np.log10(power + 1e-20)


def onsets(peaks: np.ndarray) -> np.ndarray:
    """First samples of the events in a track of peaks."""
    return np.flatnonzero(np.diff((peaks > 0).astype(int), prepend=0) == 1)


@pytest.mark.parametrize("name", list(defects.GENERATORS))
def test_generators_are_seeded_finite_and_of_unit_level(name):
    for seed in SEEDS:
        first = defects.GENERATORS[name](np.random.default_rng(seed), LONG)
        again = defects.GENERATORS[name](np.random.default_rng(seed), LONG)
        assert np.array_equal(first.audio, again.audio)
        assert first.audio.shape == (LONG,)
        assert first.audio.dtype == np.float32
        assert np.isfinite(first.audio).all()
        assert np.sqrt(np.mean(first.audio.astype(np.float64) ** 2)) == pytest.approx(1, rel=1e-3)


def test_hiss_is_broadband_gaussian_and_smooth_in_frequency():
    for seed in SEEDS:
        audio = defects.hiss(np.random.default_rng(seed), LONG).audio
        frequency, level = spectrum_db(audio)
        octaves = [level[(frequency > low) & (frequency < 2 * low)].mean() for low in (500, 1000, 2000, 4000)]
        assert np.abs(np.diff(octaves)).max() < 13, "steeper than worn-groove noise with its equaliser"
        assert abs(scipy.stats.kurtosis(audio[:: 7])) < 1.5, "hiss has no impulses"


def test_crackle_is_dense_and_heavy_tailed():
    for seed in SEEDS:
        defect = defects.crackle(np.random.default_rng(seed), LONG)
        assert scipy.stats.kurtosis(defect.audio) > 4
        loud = scipy.signal.find_peaks(np.abs(defect.audio), height=0.5, distance=24)[0]
        assert len(loud) / 6 > 15, "events per second"


def test_clicks_are_sparse_and_their_gaps_are_irregular():
    rates, spread = [], []
    for seed in range(20):
        at = onsets(defects.clicks(np.random.default_rng(seed), LONG).peaks)
        rates.append(len(at) / 6)
        if len(at) > 8:
            gaps = np.diff(at)
            spread.append(gaps.std() / gaps.mean())
    assert 0.3 < np.median(rates) < 12
    assert np.median(spread) > 0.6, "a Poisson process has 1, a periodic one 0"


def test_a_click_has_a_fast_edge_a_ringing_tail_and_a_length_in_range():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shape, died = defects.click_shape(rng, defects.Pickup.draw(rng))
        assert np.abs(shape).max() == pytest.approx(1, abs=1e-6)
        assert 2 <= died <= 0.0045 * RATE_HZ + 24
        assert np.argmax(np.abs(shape)) <= max(12, 0.75 * died)
        assert np.square(shape[died:]).sum() < 0.06 * np.square(shape).sum()


def test_the_marked_samples_hold_a_clicks_energy():
    for seed in SEEDS:
        defect = defects.clicks(np.random.default_rng(seed), LONG)
        inside = np.square(defect.audio[defect.peaks > 0]).sum() / np.square(defect.audio).sum()
        assert inside > 0.97


@pytest.mark.parametrize("rpm", defects.SPEEDS_RPM)
def test_scratches_come_back_once_per_revolution(rpm):
    class OneSpeed(np.random.Generator):
        """A generator that always picks `rpm`."""

        def choice(self, values, *arguments, **named):
            return rpm if values is defects.SPEEDS_RPM else super().choice(values, *arguments, **named)

    period = 60 / rpm * RATE_HZ
    for seed in SEEDS:
        defect = defects.scratches(OneSpeed(np.random.PCG64(seed)), 2 * LONG)
        envelope = np.convolve((defect.peaks > 0).astype(float), np.ones(480), "same")[::48]
        envelope -= envelope.mean()
        correlation = scipy.signal.correlate(envelope, envelope, "full", "fft")[len(envelope) - 1 :]
        near = correlation[int(period / 48 * 0.99) : int(period / 48 * 1.01)].max()
        between = correlation[int(period / 48 * 1.4) : int(period / 48 * 1.45)].max()
        assert near > 0.4 * correlation[0]
        assert near > between


def test_thumps_are_low_and_die_away():
    for seed in SEEDS:
        shape = defects.thump_shape(np.random.default_rng(seed))
        frequency = np.fft.rfftfreq(1 << 16, 1 / RATE_HZ)
        power = np.abs(np.fft.rfft(shape, 1 << 16)) ** 2
        assert power[frequency < 400].sum() > 0.9 * power.sum()
        assert np.abs(shape[len(shape) // 2 :]).max() < 0.25 * np.abs(shape).max()
        assert 0.010 * RATE_HZ < len(shape) <= 0.6 * RATE_HZ


def test_rumble_is_low():
    for seed in SEEDS:
        frequency, level = spectrum_db(defects.rumble(np.random.default_rng(seed), LONG).audio)
        power = 10 ** (level / 10)
        assert power[frequency < 300].sum() > 0.85 * power.sum()


def test_hum_is_harmonic_at_mains_frequency():
    for seed in SEEDS:
        frequency, power = scipy.signal.periodogram(defects.hum(np.random.default_rng(seed), LONG).audio, RATE_HZ, "hann")
        near = {mains: sum(power[np.abs(frequency - mains * k) < 1 + 0.02 * mains * k].sum() for k in range(1, 5)) for mains in (50.0, 60.0)}
        assert max(near.values()) > 0.5 * power.sum()


def test_clicks_in_recorded_noise_are_found_by_their_height():
    rng = np.random.default_rng(0)
    audio = 0.01 * rng.standard_normal(LONG).astype(np.float32)
    places = rng.integers(1000, LONG - 1000, 12)
    for at in places:
        shape, _ = defects.click_shape(rng, defects.Pickup.draw(rng), (0.05, 0.3))
        audio[at : at + len(shape)] += shape
    peaks = defects.mark_clicks(audio)
    assert all(peaks[at : at + 24].max() > 0.4 for at in places)
    assert (peaks > 0).mean() < 0.01


def test_wear_touches_only_its_rows_and_each_kind_does_something(cache):
    clean = torch.as_tensor(cache.sample_clean(np.random.default_rng(1), 7, 1.0, ["music"] * 7)[0])
    worn = wear.apply(clean, [{kind} for kind in wear.KINDS] + [set()], np.random.default_rng(2))
    assert torch.equal(worn[-1], clean[-1])
    for row, kind in enumerate(wear.KINDS):
        damage_db = float(power_db((worn - clean)[row : row + 1]) - power_db(clean[row : row + 1]))
        assert -70 < damage_db < 3, f"{kind}: {damage_db:.1f} dB"


def test_wear_has_the_signature_of_its_kind():
    rng = np.random.default_rng(3)
    noise = torch.as_tensor(rng.standard_normal((1, RATE_HZ)).astype(np.float32)) * 0.1
    frequency, before = spectrum_db(noise[0].numpy())
    change = {kind: spectrum_db(wear.apply(noise, [{kind}], rng)[0].numpy())[1] - before for kind in ("dull", "narrow")}
    assert change["dull"][frequency > 15_000].mean() < -12
    assert abs(change["dull"][(frequency > 50) & (frequency < 300)].mean()) < 2
    assert change["narrow"][frequency > 15_000].mean() < -15
    assert change["narrow"][frequency < 30].mean() < -4
    clipped = wear.apply(noise, [{"clipping"}], rng)
    assert (clipped.abs() > 0.999 * clipped.abs().max()).float().mean() > 1e-4
    dropped = wear.apply(torch.ones(1, 4 * RATE_HZ), [{"dropouts"}], rng)
    assert dropped.min() < 0.6
    assert (dropped == 1).float().mean() > 0.5


def test_tracing_distortion_makes_even_harmonics():
    time = torch.arange(RATE_HZ) / RATE_HZ
    worn = wear.apply(0.5 * torch.sin(2 * np.pi * 1000 * time)[None], [{"tracing"}], np.random.default_rng(1))
    spectrum = torch.fft.rfft(worn[0]).abs()
    assert spectrum[2000] > 3 * spectrum[3000]
    assert spectrum[2000] > 0.005 * spectrum[1000]


def test_unknown_wear_is_refused():
    with pytest.raises(ValueError, match="mould"):
        wear.apply(torch.zeros(1, 100), [{"mould"}], np.random.default_rng(0))


@pytest.mark.parametrize("name", [*defects.GENERATORS, "disc", "everyday"])
def test_the_snr_asked_for_is_reached(cache, name):
    rng = np.random.default_rng(1)
    clean, _ = cache.sample_clean(rng, 1, 4.0, ["music"])
    batch = Degrader(cache, seed=2).render(rng, clean, [Recipe("music", noise={name: 10.0}, exact_snr=True)])
    assert float(power_db(batch.worn) - power_db(batch.noisy - batch.worn)) == pytest.approx(10, abs=0.8)
    assert batch.tags == [{"music", name}]


def test_wear_comes_before_noise(cache):
    rng = np.random.default_rng(4)
    clean, _ = cache.sample_clean(rng, 1, 2.0, ["music"])
    batch = Degrader(cache, seed=1).render(rng, clean, [Recipe("music", wear={"clipping"}, noise={"clicks": 0.0}, exact_snr=True)])
    assert float(batch.noisy.abs().max()) > 1.05 * float(batch.worn.abs().max()), "clicks were clipped with the signal"
    assert not torch.equal(batch.worn, batch.clean)


def test_band_limits_hold_for_all_three_and_keep_equal_signals_equal(cache):
    rng = np.random.default_rng(5)
    clean, _ = cache.sample_clean(rng, 3, 2.0, ["speech"] * 3)
    recipes = [Recipe("speech", band_hz=4000, band_order=60),
               Recipe("speech", wear={"saturation"}, noise={"hiss": 5.0}, band_hz=4000, band_order=60),
               Recipe("speech", noise={"hiss": 5.0}, band_hz=4000, band_order=60)]
    batch = Degrader(cache, seed=1).render(rng, clean, recipes)
    assert torch.equal(batch.clean[0], batch.worn[0])
    assert torch.equal(batch.clean[0], batch.noisy[0])
    assert torch.equal(batch.clean[2], batch.worn[2])
    for signal in (batch.clean, batch.worn, batch.noisy):
        for row in signal:
            power = torch.fft.rfft(row).abs().square()
            assert power[2 * 6000 :].sum() < 1e-4 * power.sum()


def test_the_mask_covers_audible_clicks_and_nothing_else(cache):
    rng = np.random.default_rng(6)
    clean, _ = cache.sample_clean(rng, 2, 4.0, ["speech"] * 2)
    batch = Degrader(cache, seed=3).render(rng, clean, [Recipe("speech", noise={"clicks": 5.0}, exact_snr=True), Recipe("speech", noise={"hiss": 5.0})])
    added = (batch.noisy - batch.worn)[0]
    assert added[batch.click_mask[0]].square().sum() > 0.95 * added.square().sum()
    assert 0 < batch.click_mask[0].float().mean() < 0.1
    assert not batch.click_mask[1].any()
    assert batch.click_mask.dtype == torch.bool


def test_a_batch_keeps_its_promises(cache):
    degrader = Degrader(cache, seed=11)
    clean_items = unworn = total = high = 0
    for _ in range(25):
        batch = degrader.batch(16, 0.5)
        for signal in (batch.clean, batch.worn, batch.noisy):
            assert signal.shape == (16, RATE_HZ // 2)
            assert signal.dtype == torch.float32
            assert torch.isfinite(signal).all()
        assert (torch.stack([batch.clean, batch.worn, batch.noisy]).abs().amax(dim=(0, 2)) <= 1.0001).all()
        for row, tags in enumerate(batch.tags):
            total += 1
            clean_items += "clean" in tags
            unworn += "worn" not in tags
            assert ("worn" in tags) or torch.equal(batch.clean[row], batch.worn[row])
            if "clean" in tags:
                assert torch.equal(batch.noisy[row], batch.clean[row])
            elif "worn" not in tags:
                snr = float(power_db(batch.worn[row : row + 1]) - power_db((batch.noisy - batch.worn)[row : row + 1]))
                high += snr > 20
    assert 0.07 < clean_items / total < 0.16
    assert 0.4 < unworn / total < 0.6
    assert high > 0


def test_silence_breaks_into_all_signals_alike(cache):
    degrader = Degrader(cache, seed=5)
    clean = degrader.cache.sample_clean_bands(np.random.default_rng(1), 3, 1.0, ["music"] * 3)[0]

    def rendered(silences):
        recipes = [Recipe("music", noise={"clicks": 3.0, "hiss": 5.0}, silence=silence) for silence in silences]
        return degrader.render(np.random.default_rng(2), clean, recipes)

    whole, broken = rendered([None] * 3), rendered([(0, 9000, 0), (20_000, 30_000, 400), (40_000, 48_000, 100_000)])
    for before, after in zip((whole.clean, whole.worn, whole.noisy), (broken.clean, broken.worn, broken.noisy), strict=True):
        assert (after[0, :9000] == 0).all() and torch.equal(after[0, 9000:], before[0, 9000:])
        assert (after[1, 20_000:30_000] == 0).all()
        assert torch.equal(after[1, :19_600], before[1, :19_600]) and torch.equal(after[1, 30_400:], before[1, 30_400:])
        assert torch.allclose(after[1, 19_800], before[1, 19_800] * 199 / 400) and torch.allclose(after[1, 30_100], before[1, 30_100] / 4)
        assert (after[2, 40_000:] == 0).all() and after[2, 39_000].abs() < 0.02 * before[2, 39_000].abs() + 1e-9
    assert whole.click_mask[:, :9000].any() and not broken.click_mask[0, :9000].any()
    assert torch.equal(whole.click_mask[0, 9000:], broken.click_mask[0, 9000:])


def test_what_comes_out_of_silence_is_clean_or_not(cache):
    """As often noisy as what begins without: a network that hears only clean sound come out of silence leaves all noise behind it."""
    degrader = Degrader(cache, seed=13)
    noisy = {True: [], False: []}
    for _ in range(40):
        batch = degrader.batch(16, 0.25)
        for row, tags in enumerate(batch.tags):
            first = int((batch.noisy[row] != 0).float().argmax())
            noisy[first > 40].append(bool(tags & {"everyday", *DISC_CHANCES}))
    assert 0.1 < len(noisy[True]) / 640 < 0.35
    assert abs(np.mean(noisy[True]) - np.mean(noisy[False])) < 0.12


def test_for_speech_alone_all_is_speech_and_most_noise_is_everyday(cache):
    shares = {}
    for alone in (False, True):
        degrader = Degrader(cache, seed=12, speech_alone=alone)
        tags = [tags for _ in range(25) for tags in degrader.batch(16, 0.25).tags]
        assert all("speech" in each for each in tags) == alone
        noisy = [each for each in tags if "speech" in each and each & {"everyday", *DISC_CHANCES}]
        shares[alone] = np.mean(["everyday" in each for each in noisy])
    assert 0.5 < shares[False] < 0.66 < shares[True] < 0.86


def test_without_recorded_noise_no_more_items_are_clean(cache, tmp_path):
    """What can't be drawn is replaced; what can be is drawn as ever, to the last bit of the generator's state."""
    writer = CacheWriter(tmp_path)
    for kind in ("music", "speech"):
        writer.add(np.full(2 * RATE_HZ, 9000, np.int16), kind, "0", kind, kind, "train")
    writer.flush()
    full, bare = Degrader(cache, seed=4), Degrader(Cache(tmp_path, "train"), seed=4)
    for kind in ("music", "speech"):
        shares = []
        for degrader in (full, bare):
            rng = np.random.default_rng(5)
            recipes = [degrader._draw_recipe(rng, kind, 24_000) for _ in range(2000)]
            shares.append(sum(bool(recipe.noise) for recipe in recipes) / 2000)
            assert degrader is full or not any({"disc", "everyday"} & set(recipe.noise) for recipe in recipes)
        assert shares[1] == pytest.approx(shares[0], abs=0.03) and shares[0] > 0.75
    digest = hashlib.sha256()
    rng = np.random.default_rng(6)
    for index in range(400):
        digest.update(repr(sorted(full._draw_recipe(rng, ("music", "speech")[index % 2], 24_000).noise.items())).encode())
    assert digest.hexdigest()[:12] == "cd71712f5980", "another sequence: batches and validation sets would change"


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(cache):
    first, again, other = (Degrader(cache, seed=seed) for seed in (1, 1, 2))
    for _ in range(3):
        a, b, c = first.batch(4, 1.0), again.batch(4, 1.0), other.batch(4, 1.0)
        assert torch.equal(a.noisy, b.noisy)
        assert torch.equal(a.click_mask, b.click_mask)
        assert a.tags == b.tags
        assert not torch.equal(a.noisy, c.noisy)


def test_resuming_is_exact_even_across_renewed_pools(cache, monkeypatch):
    monkeypatch.setattr("dualstep_training.degrade.REFRESH_SECONDS", 1.0)
    monkeypatch.setattr("dualstep_training.degrade.POOL_ROWS", 2)
    running = Degrader(cache, seed=9)
    for _ in range(5):
        running.batch(4, 1.0)
    resumed = Degrader(cache, seed=9)
    resumed.load_state_dict(running.state_dict())
    for _ in range(4):
        assert torch.equal(running.batch(4, 1.0).noisy, resumed.batch(4, 1.0).noisy)


def test_pools_are_renewed(cache, monkeypatch):
    monkeypatch.setattr("dualstep_training.degrade.REFRESH_SECONDS", 1.0)
    monkeypatch.setattr("dualstep_training.degrade.POOL_ROWS", 1)
    pools = Degrader(cache, seed=1)._pools
    before = pools._row("hum", 0)[0].clone()
    pools.refresh(3.0)
    assert torch.equal(pools._row("hum", 0)[0], before), "hum isn't due yet"
    pools.refresh(20.0)
    assert not torch.equal(pools._row("hum", 0)[0], before)


def test_wrong_seed_rate_and_length_are_refused(cache):
    with pytest.raises(ValueError, match="seed 1"):
        Degrader(cache, seed=2).load_state_dict(Degrader(cache, seed=1).state_dict())
    with pytest.raises(ValueError, match="expected 48000"):
        Degrader(cache, sample_rate=44_100)
    with pytest.raises(ValueError, match="expected at most"):
        Degrader(cache)._pools.take(np.random.default_rng(0), "hiss", 60 * RATE_HZ)


@pytest.mark.parametrize("kind", FIXED_KINDS)
def test_fixed_sets_are_fixed_and_hold_their_kind(cache, kind):
    batch, again = (fixed_set(cache, kind, 4, 1.0, seed=3) for _ in range(2))
    assert torch.equal(batch.noisy, again.noisy)
    noisy = not torch.equal(batch.noisy, batch.worn)
    worn = not torch.equal(batch.worn, batch.clean)
    assert noisy == (kind in ("hiss", "crackle", "clicks", "thumps", "hum", "mixed-music", "mixed-speech", "everyday-speech", "worn+noise"))
    assert worn == (kind in ("saturation", "clipping", "dull", "narrow", "dropouts", "worn+noise"))
    if kind.endswith("-speech"):
        assert all("speech" in tags for tags in batch.tags)
    if kind == "drums":
        assert all({"drums", "clean"} <= tags for tags in batch.tags)


def test_unknown_fixed_kind_is_refused(cache):
    with pytest.raises(ValueError, match="expected one of hiss"):
        fixed_set(cache, "wobble", 1, 1.0, 0)


def test_the_report_measures_what_was_put_in():
    rng = np.random.default_rng(0)
    audio = 0.01 * rng.standard_normal(10 * RATE_HZ)
    period = round(60 / 78 * RATE_HZ)
    for at in range(1000, len(audio) - 200, period):
        audio[at : at + 48] += np.hanning(48) * np.cos(np.arange(48) * 1.2)  # 1 ms
    found = report.measure("made", audio)
    assert found.rates[report.HEIGHTS.index(20)] == pytest.approx(78 / 60, abs=0.2)
    assert 0.3 < np.median(found.widths_ms) < 1.5
    assert found.periodicity[defects.SPEEDS_RPM.index(78.0)] > 0.6 > 0.3 > abs(found.periodicity[0])
    assert np.abs(found.octaves_db[2:8]).max() < 1, "white noise is flat up to 4 kHz; the pulses ring at 9 kHz"


def test_generators_lie_within_the_spread_of_real_discs():
    """The values are those of the four recordings that `defects.py` quotes, with room on both sides."""
    rows = [report.measure("", report.synthetic_disc(np.random.default_rng(seed), 8)) for seed in range(8)]
    octave = {hertz: np.median([row.octaves_db[index] for row in rows]) for index, hertz in enumerate(report.OCTAVES_HZ)}
    assert -29 <= octave[8000] <= -7
    assert -47 <= octave[14_000] <= -12
    assert 0.9 <= np.median([row.tail for row in rows]) <= 2.1
    assert 1.2 <= np.nanmedian([row.gap_spread for row in rows]) <= 2.1
    assert 0.4 <= np.median(np.concatenate([row.widths_ms for row in rows])) <= 2.1


def test_the_report_says_that_there_is_no_recorded_noise(tmp_path, capsys):
    assert report.main(["degradation", "--noise", str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    assert "report: no folder disc in" in capsys.readouterr().err


def test_the_report_writes_a_table_and_a_figure(tmp_path):
    import soundfile

    (tmp_path / "disc").mkdir()
    soundfile.write(tmp_path / "disc/a.wav", report.synthetic_disc(np.random.default_rng(1), 3) * 0.05, RATE_HZ)
    text = report.degradation(tmp_path, tmp_path / "out", count=1)
    assert text.count("\n| ") == 2
    assert (tmp_path / "out/degradation.png").stat().st_size > 10_000
    with pytest.raises(FileNotFoundError, match="no folder disc"):
        report.degradation(tmp_path / "disc", tmp_path / "out")
