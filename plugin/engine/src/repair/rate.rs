//! Brings any sample rate near the one the detector was trained at, by a whole factor, so that it sees the same picture everywhere.

/// Zero crossings of the filter on each side of its middle, in samples of the lower rate: its delay. With 4 the network sees less of the highs, and clicks gain
/// 0.3 dB less at 96 kHz, 1.4 at 192.
pub const REACH: usize = 6;

/// Pass band of the filter, as a share of the lower rate's Nyquist frequency.
const BAND: f64 = 0.95;

/// How many samples of which rate make one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// So many samples become one.
    Down(usize),
    /// One sample becomes so many.
    Up(usize),
}

impl Factor {
    /// The factor that brings `rate_hz` nearest to `wanted_hz`.
    #[must_use]
    pub fn between(rate_hz: f64, wanted_hz: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are at most 384 kHz")]
        let whole = |x: f64| x.round().max(1.0) as usize;
        if rate_hz < wanted_hz {
            Self::Up(whole(wanted_hz / rate_hz))
        } else {
            Self::Down(whole(rate_hz / wanted_hz))
        }
    }

    /// Most samples that `samples` can become.
    #[must_use]
    pub fn most(self, samples: usize) -> usize {
        match self {
            Self::Down(factor) => samples / factor + 1,
            Self::Up(factor) => samples * factor,
        }
    }
}

/// A stream at another rate. Windowed-sinc interpolation; the result is [`Resampler::delay`] late.
#[derive(Clone, Debug)]
pub struct Resampler {
    factor: Factor,
    /// Taps by phase: `[phase][tap]`, the oldest sample's first.
    filter: Vec<f32>,
    taps: usize,
    /// The last `taps - 1` samples, then those of the call.
    past: Vec<f32>,
    /// Samples to skip before the next output, going down.
    skip: usize,
    out: Vec<f32>,
}

impl Resampler {
    /// At the start of a stream that comes in pieces of at most `samples` samples.
    #[must_use]
    pub fn new(factor: Factor, samples: usize) -> Self {
        let (phases, down) = match factor {
            Factor::Down(down) => (1, down),
            Factor::Up(up) => (up, 1),
        };
        let identity = phases == 1 && down == 1;
        let taps = if identity { 1 } else { 2 * REACH * down + 1 };
        let middle = (taps / 2) as f64;
        let mut filter = vec![0.0; phases * taps];
        for (phase, filter) in filter.chunks_exact_mut(taps).enumerate() {
            let at = |tap: usize| {
                // Distance in samples of the lower rate.
                let x = (tap as f64 - middle - phase as f64 / phases as f64) / down as f64;
                let reach = (REACH + usize::from(phases > 1)) as f64;
                let window = (std::f64::consts::FRAC_PI_2 * x / reach).cos().powi(2);
                let y = std::f64::consts::PI * BAND * x;
                window * if y.abs() < 1e-9 { 1.0 } else { y.sin() / y }
            };
            let sum: f64 = (0..taps).map(at).sum();
            for (tap, filter) in filter.iter_mut().enumerate() {
                #[expect(clippy::cast_possible_truncation, reason = "filters run in single precision")]
                let value = (at(tap) / sum) as f32;
                *filter = if identity { 1.0 } else { value };
            }
        }
        Self {
            factor,
            filter,
            taps,
            past: vec![0.0; taps - 1 + samples],
            skip: 0,
            out: vec![0.0; factor.most(samples)],
        }
    }

    /// Samples of the incoming rate between the newest one and the one that the newest result is about.
    #[must_use]
    pub fn delay(&self) -> usize {
        self.taps / 2
    }

    /// Back to the start of a stream.
    pub fn reset(&mut self) {
        self.past.fill(0.0);
        self.skip = 0;
    }

    /// Takes the next samples, returns what they complete. The first result of a stream is about the sample [`Resampler::delay`] before its start.
    ///
    /// # Panics
    /// If there are more samples than [`Resampler::new`] was told.
    ///
    /// # Real-time
    /// No allocation, lock or system call.
    pub fn process(&mut self, samples: &[f32]) -> &[f32] {
        let kept = self.taps - 1;
        self.past[kept..][..samples.len()].copy_from_slice(samples);
        let (phases, step) = match self.factor {
            Factor::Down(down) => (1, down),
            Factor::Up(up) => (up, 1),
        };
        let mut count = 0;
        let mut at = self.skip;
        while at < samples.len() {
            let window = &self.past[at..][..self.taps];
            for filter in self.filter.chunks_exact(self.taps).take(phases) {
                self.out[count] = dot(window, filter);
                count += 1;
            }
            at += step;
        }
        self.skip = at - samples.len();
        self.past.copy_within(samples.len()..samples.len() + kept, 0);
        &self.out[..count]
    }
}

/// Scalar product in a fixed order with eight running sums, so that it runs in vector registers.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f32 = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in xs.zip(ys) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_come_near_the_detectors() {
        for (rate_hz, factor) in [
            (8e3, Factor::Up(6)),
            (11_025.0, Factor::Up(4)),
            (16e3, Factor::Up(3)),
            (22_050.0, Factor::Up(2)),
            (44_100.0, Factor::Up(1)),
            (48e3, Factor::Down(1)),
            (64e3, Factor::Down(1)),
            (88_200.0, Factor::Down(2)),
            (192e3, Factor::Down(4)),
            (384e3, Factor::Down(8)),
        ] {
            assert_eq!(Factor::between(rate_hz, 48e3), factor, "{rate_hz}");
        }
        let mut rate_hz = 8e3;
        while rate_hz < 384e3 {
            let near = match Factor::between(rate_hz, 48e3) {
                Factor::Down(factor) => rate_hz / factor as f64,
                Factor::Up(factor) => rate_hz * factor as f64,
            };
            assert!((32e3..=72.1e3).contains(&near), "{rate_hz} becomes {near}");
            rate_hz *= 1.003;
        }
    }

    /// A tone comes out as the same tone at the other rate, in time, whatever the pieces.
    #[test]
    fn tones_stay_in_place() {
        for factor in [
            Factor::Down(1),
            Factor::Down(2),
            Factor::Down(8),
            Factor::Up(1),
            Factor::Up(2),
            Factor::Up(6),
        ] {
            let (phases, step) = match factor {
                Factor::Down(down) => (1, down),
                Factor::Up(up) => (up, 1),
            };
            #[expect(clippy::cast_possible_truncation, reason = "samples are f32")]
            let tone = |n: f64| (0.11 * n / step as f64).sin() as f32;
            let input: Vec<f32> = (0..4000).map(|n| tone(f64::from(n))).collect();
            let mut resampler = Resampler::new(factor, 700);
            let delay = resampler.delay();
            let mut out = Vec::new();
            let (mut at, mut size) = (0, 1);
            while at < input.len() {
                let end = (at + size).min(input.len());
                out.extend_from_slice(resampler.process(&input[at..end]));
                at = end;
                size = size * 7 % 691;
            }
            assert_eq!(out.len(), input.len().div_ceil(step) * phases, "{factor:?}");
            for (k, y) in out.iter().enumerate().skip(100) {
                let n = (k / phases * step) as f64 + (k % phases) as f64 / phases as f64 - delay as f64;
                assert!((y - tone(n)).abs() < 0.02, "{factor:?} {k}: {y} {}", tone(n));
            }
        }
    }
}
