"""Classical baselines against what their papers' formulas say, and on signals whose answer is known."""

import numpy as np
import pytest
import scipy.signal

from dualstep_training.baselines import BASELINES, frames, lsa, lsar, minimum_statistics, priori, subtraction, wiener

RATE_HZ = 16_000


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def syllables(seconds: float = 4.0) -> np.ndarray:
    """A harmonic tone that comes and goes three times a second."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return sum(np.sin(2 * np.pi * 200 * h * t) / h for h in range(1, 6)) * np.clip(np.sin(2 * np.pi * 3 * t), 0, 1)


def snr_db(estimate: np.ndarray, clean: np.ndarray) -> float:
    late = slice(2 * RATE_HZ, None)  # running estimates have settled
    return 10 * np.log10(np.sum(clean[late] ** 2) / np.sum((estimate - clean)[late] ** 2))


@pytest.mark.parametrize("samples", [1, 255, 256, 5000])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_frames_reconstruct(rng, samples, rate_hz):
    clip = rng.standard_normal(samples)
    assert np.allclose(frames.synthesise(frames.analyse(clip, rate_hz), samples, rate_hz), clip)


def noise_estimate_db(clip: np.ndarray) -> np.ndarray:
    """Estimate per frame, mean over bins, dB against white noise of variance one."""
    power = minimum_statistics.noise_power(np.abs(frames.analyse(clip, RATE_HZ)) ** 2)
    return 10 * np.log10(power.mean(1) / frames.hop_of(RATE_HZ))  # the squared window sums to one hop


def test_minimum_statistics_measure_white_noise_without_bias(rng):
    estimate = noise_estimate_db(rng.standard_normal(6 * RATE_HZ))
    assert np.abs(estimate[100:-2]).max() < 1.0
    assert abs(estimate[100:-2].mean()) < 0.5


def test_minimum_statistics_see_noise_under_sound_and_follow_it(rng):
    noise = rng.standard_normal(8 * RATE_HZ) * np.where(np.arange(8 * RATE_HZ) < 4 * RATE_HZ, 1, 4)
    estimate = noise_estimate_db(noise + 10 * syllables(8))
    hops = RATE_HZ // frames.hop_of(RATE_HZ)
    assert estimate[2 * hops : 4 * hops - 2].mean() == pytest.approx(0, abs=2.5)
    assert estimate[7 * hops : -2].mean() == pytest.approx(12, abs=2.5)


def test_lsa_gain_is_the_expected_log_amplitude(rng):
    # Given Y, X is Gaussian around the Wiener estimate with variance xi / (1 + xi) of the noise's (Ephraim & Malah 1984).
    for xi, gamma in ((0.1, 0.5), (1.0, 2.0), (10.0, 5.0)):
        share = xi / (1 + xi)
        noise = rng.standard_normal((2, 400_000))
        x = share * np.sqrt(gamma) + np.sqrt(share / 2) * (noise[0] + 1j * noise[1])
        expected = np.exp(np.mean(np.log(np.abs(x)))) / np.sqrt(gamma)
        assert lsa.gain(np.array(xi), np.array(gamma)) == pytest.approx(min(expected, 1), rel=0.01)


def test_lsa_becomes_wiener_at_high_snr():
    xi, gamma = np.array([1e3, 1e4]), np.array([1e3, 1e4])
    assert np.allclose(lsa.gain(xi, gamma), wiener.gain(xi, gamma), rtol=1e-6)
    low = np.array([1e-2])
    assert lsa.gain(low, np.array([1.0])) > wiener.gain(low, np.array([1.0]))


def test_subtraction_takes_the_noise_off_and_keeps_a_floor():
    noise = np.ones((1, 4))
    loud = subtraction.gain(np.array([[1000.0, 1000, 1000, 1000]]), noise)  # 30 dB: no over-subtraction
    assert np.allclose(loud**2, 1 - 1 / 1000)
    equal = subtraction.gain(np.ones((1, 4)), noise)
    assert np.allclose(equal**2, subtraction.FLOOR)


@pytest.mark.parametrize("name", ["spectral subtraction", "Wiener", "LSA", "wavelet shrinkage"])
def test_hiss_falls_and_sound_stays(name, rng):
    if name == "wavelet shrinkage":
        pytest.importorskip("pywt", reason="PyWavelets is not installed")
    clean = syllables()
    noisy = clean + 0.2 * rng.standard_normal(len(clean))
    restored = BASELINES[name](noisy, RATE_HZ)
    assert restored.shape == clean.shape
    assert snr_db(restored, clean) > snr_db(noisy, clean) + 3
    alone = BASELINES[name](0.2 * rng.standard_normal(len(clean)), RATE_HZ)[2 * RATE_HZ :]
    assert 10 * np.log10(np.mean(alone**2) / 0.04) < -8


def test_a_priori_snr_has_a_floor():
    seen = []
    priori.decision_directed(np.random.default_rng(1).standard_normal(RATE_HZ), RATE_HZ, lambda xi, gamma: seen.append(xi.min()) or wiener.gain(xi, gamma))
    assert min(seen) >= priori.XI_MIN


def resonance(rng, samples: int = 8000) -> np.ndarray:
    """An AR(2) process, poles at 0.98 and 0.05 of the rate."""
    return scipy.signal.lfilter([1], np.poly(0.98 * np.exp(2j * np.pi * 0.05 * np.array([1, -1]))).real, rng.standard_normal(samples))


def test_ar_model_of_a_known_process(rng):
    clip = resonance(rng, 200_000)
    assert np.allclose(lsar.ar_model(clip, 2), np.poly(0.98 * np.exp(2j * np.pi * 0.05 * np.array([1, -1]))).real, atol=0.01)


def test_interpolation_minimises_the_prediction_error(rng):
    clip, missing = resonance(rng), np.array([4000, 4001, 4002, 4010, 4500])
    model = lsar.ar_model(clip, 2)

    def error(samples: np.ndarray) -> float:
        return float(np.sum(np.convolve(samples, model) ** 2))

    filled = lsar.interpolate(clip, missing, model)
    untouched = np.setdiff1d(np.arange(len(clip)), missing)
    assert np.array_equal(filled[untouched], clip[untouched])
    for index in missing:
        for step in (-1e-3, 1e-3):
            other = filled.copy()
            other[index] += step
            assert error(other) > error(filled)


def test_interpolation_recovers_a_tone():
    t = np.arange(2000)
    clip = np.sin(0.11 * t) + 0.5 * np.sin(0.3 * t + 1)
    # Two tones are a process of order four that predicts itself without error.
    model = np.poly(np.exp(1j * np.array([0.11, -0.11, 0.3, -0.3]))).real
    missing = np.arange(1000, 1040)
    assert np.abs(lsar.interpolate(clip, missing, model) - clip)[missing].max() < 1e-4


def test_clicks_are_found_and_little_else(rng):
    t = np.arange(60_000) / 48_000
    tones = sum(np.sin(2 * np.pi * f * t) for f in (220, 331, 500, 1200))
    clip = np.minimum(1, 20 * t) * np.minimum(1, 20 * t[::-1]) * tones + 0.01 * rng.standard_normal(len(t))
    places = np.arange(1000, len(clip) - 1000, 3000)
    damaged = clip.copy()
    damaged[places] += np.where(rng.random(len(places)) < 0.5, -1, 1)
    restored = lsar.restore(damaged, 48_000)
    changed = np.flatnonzero(restored != damaged)
    assert np.isin(places, changed).all()
    assert np.count_nonzero(np.abs(changed[:, None] - places[None]).min(1) > 2 * lsar.ORDER) < 2e-3 * len(clip)
    assert np.sum((restored - clip) ** 2) < 0.3 * np.sum((damaged - clip) ** 2)


def test_a_damaged_stretch_longer_than_a_click_is_left_alone(rng):
    clip = resonance(rng)
    clip[3000:6000] += 50 * rng.standard_normal(3000)
    assert np.array_equal(lsar.restore(clip, 48_000)[4000:5000], clip[4000:5000])
    assert np.array_equal(lsar.restore(np.zeros(5000), RATE_HZ), np.zeros(5000))
