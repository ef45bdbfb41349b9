//! From the samples that the audio thread shows to what the panel draws: spectra, levels, noise floors. Runs in the editor, and only while it is open.

use dualstep_engine::link::{Moment, Status};
use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};
use std::collections::VecDeque;
use std::f32::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

/// Rows of a column, lowest frequency first.
pub(super) const ROWS: usize = 256;
/// Frequencies of the first and the last row, in Hz.
pub(super) const RANGE_HZ: [f32; 2] = [20.0, 20_000.0];
/// Levels at the ends of the colour scale, in dBFS.
pub(super) const RANGE_DB: [f32; 2] = [-90.0, -10.0];
/// Columns per second of audio.
pub(super) const COLUMNS_HZ: f32 = 60.0;
/// Length of a spectrum's window in seconds, before rounding up to a power of two: 2048 samples at 44.1 and 48 kHz.
const WINDOW_S: f64 = 0.042;
/// Time constant of the RMS meters, in seconds (IEC 60268-17's VU reaches its reading in as much).
const RMS_S: f32 = 0.3;
/// Fall of the peak meters, in dB per second (IEC 60268-10 type I: 20 dB in 1.7 s).
const PEAK_FALL_DB: f32 = 11.8;
/// Windows of the noise floor: 50 ms each, the last 10 s, the level of the quietest tenth. As in the README's table.
const FLOOR_WINDOW_S: f64 = 0.05;
const FLOOR_WINDOWS: usize = 200;
/// Mean square below which a window is digital silence: -120 dBFS.
const SILENCE: f64 = 1e-12;
/// Time between two looks beyond which what was played in between isn't all there.
const GAP: Duration = Duration::from_millis(500);
/// Windows that are needed to speak of a noise floor: one second.
const FEWEST_WINDOWS: usize = 20;

/// The three signals a column shows, by index: input, restored signal's difference to it, output.
pub(super) const INPUT: usize = 0;
pub(super) const OUTPUT: usize = 1;
pub(super) const REMOVED: usize = 2;

/// One step of the picture.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Position on the colour scale of each row, for [`INPUT`], [`OUTPUT`] and [`REMOVED`].
    pub(super) levels: [[u8; ROWS]; 3],
    /// What stage 1 took away, in dB.
    pub(super) removed_db: f32,
    /// Clicks repaired since the column before.
    pub(super) clicks: u32,
}

/// Level of one channel, linear.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Level {
    /// Falls slowly.
    pub(super) peak: f32,
    mean_square: f32,
    /// Greatest magnitude since the last reset.
    pub(super) most: f32,
}

impl Level {
    pub(super) fn rms(&self) -> f32 {
        self.mean_square.sqrt()
    }

    fn take(&mut self, sample: f32, fall: f32, share: f32) {
        let size = sample.abs();
        self.most = self.most.max(size);
        self.approach(size, fall, share);
    }

    fn approach(&mut self, size: f32, fall: f32, share: f32) {
        self.peak = (self.peak * fall).max(size);
        self.mean_square += share * (size * size - self.mean_square);
        if self.mean_square < 1e-20 {
            self.mean_square = 0.0;
        }
        if self.peak < 1e-10 {
            self.peak = 0.0;
        }
    }
}

/// Level of the quietest tenth of windows.
#[derive(Debug, Default)]
struct Floor {
    /// Mean squares before and after, newest last.
    windows: VecDeque<[f64; 2]>,
    sum: [f64; 2],
    count: usize,
}

impl Floor {
    fn take(&mut self, moment: &Moment, window: usize, channels: usize) {
        for (sum, signal) in self.sum.iter_mut().zip([moment.input, moment.restored]) {
            *sum += signal.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        }
        self.count += 1;
        if self.count >= window {
            let means = self.sum.map(|sum| sum / (self.count * channels) as f64);
            (self.sum, self.count) = ([0.0; 2], 0);
            if means[0] > SILENCE {
                self.windows.push_back(means);
                if self.windows.len() > FLOOR_WINDOWS {
                    self.windows.pop_front();
                }
            }
        }
    }

    /// In dBFS, before and after; none before there is enough audio.
    fn level_db(&self) -> Option<[f64; 2]> {
        if self.windows.len() < FEWEST_WINDOWS {
            return None;
        }
        Some([0, 1].map(|side| {
            let mut levels: Vec<f64> = self.windows.iter().map(|means| means[side]).collect();
            levels.sort_by(f64::total_cmp);
            10.0 * levels[levels.len() / 10].max(SILENCE).log10()
        }))
    }
}

/// What one stream is measured with: made anew when the sample rate changes.
struct Stream {
    sample_rate_hz: f64,
    fft: Arc<dyn Fft<f32>>,
    scratch: Vec<Complex32>,
    /// Hann window, scaled so that a full-scale sine has magnitude 1.
    window: Vec<f32>,
    spectrum: Vec<Complex32>,
    /// Bins of each row.
    rows: Vec<Row>,
    /// The newest samples, oldest first.
    recent: VecDeque<Moment>,
    /// Samples until the next column.
    until_column: f64,
    floor: Floor,
}

/// Where a row finds its level.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Row {
    /// Above half the sample rate.
    Nothing,
    /// Between a bin and the next: narrow rows at low frequencies.
    Between(usize, f32),
    /// The largest of these bins.
    Largest(usize, usize),
}

impl Stream {
    fn new(sample_rate_hz: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some milliseconds at a supported rate"
        )]
        let size = ((sample_rate_hz * WINDOW_S) as usize).next_power_of_two().clamp(256, 1 << 15);
        let fft = FftPlanner::new().plan_fft_forward(size);
        let window = (0..size)
            .map(|n| (1.0 - (TAU * n as f32 / size as f32).cos()) / 2.0)
            // The window's sum is size / 2; half of a sine's magnitude is at the negative frequency.
            .map(|w| w * 4.0 / size as f32)
            .collect();
        Self {
            sample_rate_hz,
            scratch: vec![Complex32::default(); fft.get_inplace_scratch_len()],
            fft,
            window,
            spectrum: vec![Complex32::default(); size],
            rows: rows(size, sample_rate_hz),
            recent: VecDeque::with_capacity(size + 1),
            until_column: 0.0,
            floor: Floor::default(),
        }
    }

    /// Levels of all rows for a signal of the newest samples.
    fn levels(&mut self, signal: impl Fn(&Moment) -> [f32; 2], channels: usize) -> [u8; ROWS] {
        let size = self.spectrum.len();
        for ((bin, moment), w) in self.spectrum.iter_mut().zip(&self.recent).zip(&self.window) {
            let [left, right] = signal(moment);
            *bin = Complex32::new(left * w, right * w);
        }
        self.fft.process_with_scratch(&mut self.spectrum, &mut self.scratch);
        // One transform for two channels: for z = l + i r of real l and r, |Z(k)|^2 + |Z(-k)|^2 = 2 |L(k)|^2 + 2 |R(k)|^2.
        let power_db = |bin: usize| {
            let power = self.spectrum[bin].norm_sqr() + self.spectrum[(size - bin) % size].norm_sqr();
            10.0 * (power / (2 * channels) as f32).max(1e-20).log10()
        };
        let mut levels = [0; ROWS];
        for (level, row) in levels.iter_mut().zip(&self.rows) {
            let db = match *row {
                Row::Nothing => continue,
                Row::Between(bin, share) => (1.0 - share) * power_db(bin) + share * power_db(bin + 1),
                Row::Largest(first, last) => (first..=last).map(power_db).fold(f32::NEG_INFINITY, f32::max),
            };
            *level = scale(db);
        }
        levels
    }
}

/// Position on the colour scale.
fn scale(db: f32) -> u8 {
    let share = ((db - RANGE_DB[0]) / (RANGE_DB[1] - RANGE_DB[0])).clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
    let level = (share * 255.0).round() as u8;
    level
}

/// Frequency at a height of the picture, 0..=1 from the bottom.
pub(super) fn frequency_hz(height: f32) -> f32 {
    RANGE_HZ[0] * (RANGE_HZ[1] / RANGE_HZ[0]).powf(height)
}

/// Height of a frequency in the picture, 0..=1 from the bottom.
pub(super) fn height(frequency_hz: f32) -> f32 {
    (frequency_hz / RANGE_HZ[0]).ln() / (RANGE_HZ[1] / RANGE_HZ[0]).ln()
}

fn rows(size: usize, sample_rate_hz: f64) -> Vec<Row> {
    #[expect(clippy::cast_possible_truncation, reason = "a frequency")]
    let bin_hz = (sample_rate_hz / size as f64) as f32;
    (0..ROWS)
        .map(|row| {
            let position = |offset: f32| frequency_hz((row as f32 + offset) / ROWS as f32) / bin_hz;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bin of the transform")]
            let (first, last) = (position(0.0).ceil() as usize, position(1.0).ceil() as usize);
            if last + 1 >= size / 2 {
                return Row::Nothing;
            }
            if last > first {
                Row::Largest(first, last - 1)
            } else {
                let centre = position(0.5);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bin of the transform")]
                let bin = centre as usize;
                Row::Between(bin, centre - bin as f32)
            }
        })
        .collect()
}

/// What the peak is multiplied with after so many seconds, and how far the mean square goes towards a new value.
fn ballistics(seconds: f32) -> [f32; 2] {
    [10f32.powf(-PEAK_FALL_DB / 20.0 * seconds), 1.0 - (-seconds / RMS_S).exp()]
}

/// All measurements of one instance.
#[derive(Default)]
pub(super) struct Analysis {
    stream: Option<Stream>,
    /// Input and output, per channel.
    pub(super) levels: [[Level; 2]; 2],
    /// Channels of the stream, as far as can be heard.
    pub(super) channels: usize,
    /// See [`Analysis::floor_db`].
    floor_db: Option<[f64; 2]>,
    lost: u64,
    clicks: Option<u64>,
    /// Clicks of the last second, per column.
    recent_clicks: VecDeque<u32>,
}

impl Analysis {
    /// Takes the samples that came since the last call, which was `passed` ago, and returns the columns they make, oldest first.
    pub(super) fn update(&mut self, status: &Status, passed: Duration) -> Vec<Column> {
        let sample_rate_hz = status.sample_rate_hz();
        if sample_rate_hz <= 0.0 {
            return Vec::new();
        }
        let mut stream = match self.stream.take() {
            Some(stream) if stream.sample_rate_hz == sample_rate_hz => stream,
            _ => Stream::new(sample_rate_hz),
        };
        let mut columns = Vec::new();
        #[expect(clippy::cast_possible_truncation, reason = "coefficients of meters")]
        let [fall, share] = ballistics(1.0 / sample_rate_hz as f32);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "50 ms of samples")]
        let floor_window = ((sample_rate_hz * FLOOR_WINDOW_S) as usize).max(1);
        let size = stream.spectrum.len();
        let gap = passed > GAP;
        if gap {
            // When they were repaired isn't known.
            self.clicks = None;
            self.recent_clicks.clear();
        }
        let clicks = status.clicks();
        let mut new_clicks = clicks.saturating_sub(self.clicks.replace(clicks).unwrap_or(clicks));
        let lost = status.look(|moments| {
            for moment in moments {
                for channel in 0..2 {
                    self.levels[0][channel].take(moment.input[channel], fall, share);
                    self.levels[1][channel].take(moment.output[channel], fall, share);
                }
                if moment.input[1] != 0.0 || moment.output[1] != 0.0 {
                    self.channels = 2;
                }
                stream.floor.take(moment, floor_window, self.channels.max(1));
                if stream.recent.len() == size {
                    stream.recent.pop_front();
                }
                stream.recent.push_back(*moment);
                stream.until_column -= 1.0;
                if stream.until_column <= 0.0 {
                    stream.until_column += sample_rate_hz / f64::from(COLUMNS_HZ);
                    if stream.recent.len() == size {
                        let channels = self.channels.max(1);
                        columns.push(Column {
                            levels: [
                                stream.levels(|moment| moment.input, channels),
                                stream.levels(|moment| moment.output, channels),
                                stream.levels(|moment| [0, 1].map(|c| moment.input[c] - moment.restored[c]), channels),
                            ],
                            removed_db: status.removed_db(),
                            clicks: u32::try_from(std::mem::take(&mut new_clicks)).unwrap_or(u32::MAX),
                        });
                    }
                }
            }
        });
        // Clicks that met no column belong to the next one.
        self.clicks = self.clicks.map(|clicks| clicks - new_clicks);
        if gap || lost != std::mem::replace(&mut self.lost, lost) {
            // What comes next doesn't follow what was last.
            stream.recent.clear();
        }
        for column in &columns {
            self.recent_clicks.push_back(column.clicks);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "60")]
            while self.recent_clicks.len() > COLUMNS_HZ as usize {
                self.recent_clicks.pop_front();
            }
        }
        self.floor_db = stream.floor.level_db();
        self.stream = Some(stream);
        columns
    }

    /// Nothing was played for some time: meters fall, and the last second has no clicks.
    pub(super) fn rest(&mut self, passed: Duration) {
        let [fall, share] = ballistics(passed.as_secs_f32());
        for level in self.levels.as_flattened_mut() {
            level.approach(0.0, fall, share);
        }
        self.recent_clicks.clear();
    }

    /// Noise floor of input and restored signal in dBFS; none before a second of audio.
    pub(super) fn floor_db(&self) -> Option<[f64; 2]> {
        self.floor_db
    }

    /// Clicks repaired in the last second of audio.
    pub(super) fn clicks_per_second(&self) -> u32 {
        self.recent_clicks.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dualstep_engine::link::{AudioPort, LinkConfig, Pace, Processor, Settings, connect};
    use dualstep_engine::{Controls, HopReport};

    const RATE_HZ: u16 = 48_000;
    /// Duration of a block.
    const BLOCK: Duration = Duration::from_millis(10);

    /// What a panel sees of `seconds` of `signal` that pass through unrestored.
    fn watch(seconds: f32, signal: impl Fn(f32) -> [f32; 2]) -> (Analysis, Vec<Column>) {
        let status = Arc::new(Status::default());
        let mut port = AudioPort::pass_through(f64::from(RATE_HZ), 2, &status, "a test");
        let mut analysis = Analysis::default();
        let mut columns = analysis.update(&status, Duration::ZERO);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some seconds")]
        let blocks = (seconds * 100.0) as usize;
        for block in 0..blocks {
            let [mut left, mut right] = [0, 1].map(|channel| {
                (0..480)
                    .map(|i| signal((block * 480 + i) as f32 / f32::from(RATE_HZ))[channel])
                    .collect::<Vec<f32>>()
            });
            port.process(&mut [&mut left, &mut right], &Settings::default(), Pace::RealTime);
            columns.extend(analysis.update(&status, BLOCK));
        }
        (analysis, columns)
    }

    fn sine(time: f32, frequency_hz: f32) -> f32 {
        (TAU * (time * frequency_hz).fract()).sin()
    }

    #[test]
    fn a_sine_is_seen_at_its_frequency_and_level() {
        for (frequency_hz, gain_db) in [(100.0, -20.0f32), (1000.0, -40.0), (9000.0, -60.0)] {
            let gain = 10f32.powf(gain_db / 20.0);
            let (_, columns) = watch(1.0, |time| [gain * sine(time, frequency_hz); 2]);
            let levels = columns.last().expect("a second of columns").levels[INPUT];
            let row = (0..ROWS).max_by_key(|row| levels[*row]).expect("rows");
            let seen = frequency_hz_of(row);
            assert!((seen / frequency_hz - 1.0).abs() < 0.15, "{frequency_hz} Hz is seen at {seen} Hz");
            let db = RANGE_DB[0] + f32::from(levels[row]) / 255.0 * (RANGE_DB[1] - RANGE_DB[0]);
            assert!((db - gain_db).abs() < 1.6, "{gain_db} dB is seen as {db} dB");
        }
    }

    fn frequency_hz_of(row: usize) -> f32 {
        frequency_hz((row as f32 + 0.5) / ROWS as f32)
    }

    #[test]
    fn both_channels_count_alike() {
        let left = watch(0.5, |time| [0.1 * sine(time, 1000.0), 1e-9]).1;
        let right = watch(0.5, |time| [1e-9, 0.1 * sine(time, 1000.0)]).1;
        let opposed = watch(0.5, |time| [0.1 * sine(time, 1000.0), -0.1 * sine(time, 1000.0)]).1;
        let most = |columns: &[Column]| *columns.last().expect("columns").levels[INPUT].iter().max().expect("rows");
        assert_eq!(most(&left), most(&right));
        assert!(most(&opposed) > most(&left), "what is opposed doesn't cancel");
    }

    #[test]
    fn columns_come_at_their_rate_and_pass_through_removes_nothing() {
        let (analysis, columns) = watch(3.0, |time| [0.5 * sine(time, 440.0); 2]);
        // The first window has to fill: 43 ms.
        assert!((175..=180).contains(&columns.len()), "{} columns in 3 s", columns.len());
        let last = columns.last().expect("columns");
        assert!(last.levels[REMOVED].iter().all(|level| *level == 0));
        assert_eq!(last.levels[INPUT], last.levels[OUTPUT]);
        let level = analysis.levels[1][0];
        assert!((level.peak - 0.5).abs() < 0.01 && (level.rms() - 0.5 / 2f32.sqrt()).abs() < 0.01);
    }

    #[test]
    fn spectra_have_the_same_length_at_related_rates() {
        for (rate_hz, size) in [
            (8_000.0, 512),
            (44_100.0, 2048),
            (48_000.0, 2048),
            (96_000.0, 4096),
            (192_000.0, 8192),
            (384_000.0, 16_384),
        ] {
            assert_eq!(Stream::new(rate_hz).spectrum.len(), size, "{rate_hz} Hz");
        }
    }

    #[test]
    fn meters_fall_while_nothing_plays() {
        let (mut analysis, _) = watch(1.0, |time| [0.5 * sine(time, 440.0); 2]);
        let before = analysis.levels[1][0];
        for _ in 0..10 {
            analysis.rest(Duration::from_millis(170));
        }
        let after = analysis.levels[1][0];
        assert!((20.0 * (before.peak / after.peak).log10() - 20.0).abs() < 0.2, "20 dB in 1.7 s");
        assert!(after.rms() < 0.1 * before.rms() && after.most == before.most);
    }

    /// Repairs a click in each hop.
    struct Ticking;

    impl Processor for Ticking {
        fn process(&mut self, _audio: &mut [f32], _controls: &Controls) -> HopReport {
            HopReport {
                clicks: 1,
                active: true,
                ..HopReport::default()
            }
        }

        fn skip(&mut self, audio: &mut [f32], controls: &Controls) -> HopReport {
            self.process(audio, controls)
        }

        fn reset(&mut self) {}
    }

    #[test]
    fn clicks_that_nobody_saw_belong_to_no_column() {
        let status = Arc::new(Status::default());
        let config = LinkConfig {
            sample_rate_hz: f64::from(RATE_HZ),
            channels: 1,
            hop: 480,
            restorer_delay: 0,
            max_block: 480,
        };
        let (mut port, _worker) = connect(config, Ticking, &status).expect("a thread can be started");
        let mut block = || port.process(&mut [&mut [0.1; 480]], &Settings::default(), Pace::Offline);
        let mut analysis = Analysis::default();
        let mut most = 0;
        for _ in 0..150 {
            block();
            let columns = analysis.update(&status, BLOCK);
            most = columns.iter().map(|column| column.clicks).fold(most, u32::max);
        }
        let clicks = analysis.clicks_per_second();
        assert!((95..=105).contains(&clicks), "{clicks} clicks in a second");
        // The first column may have those of the time before.
        assert!(most < 20, "{most} clicks in a column");
        for _ in 0..300 {
            block();
        }
        let mut passed = BLOCK * 300;
        for _ in 0..10 {
            let columns = analysis.update(&status, std::mem::replace(&mut passed, BLOCK));
            assert!(columns.iter().all(|column| column.clicks < 20), "{:?}", analysis.recent_clicks);
            block();
        }
        assert!(analysis.clicks_per_second() < 20);
        analysis.rest(BLOCK);
        assert_eq!(analysis.clicks_per_second(), 0);
    }

    #[test]
    fn the_noise_floor_is_that_of_the_pauses() {
        // A tone that pauses every other half second, over a floor of -60 dBFS (RMS).
        let floor = 1e-3 * 2f32.sqrt();
        let (analysis, _) = watch(8.0, |time| [if time.fract() < 0.5 { 0.5 } else { floor } * sine(time, 500.0); 2]);
        let [before, after] = analysis.floor_db().expect("8 s of audio");
        assert!((before + 60.0).abs() < 0.5 && (after - before).abs() < 1e-6, "{before} dBFS");
        assert!(
            watch(8.0, |_| [0.0; 2]).0.floor_db().is_none(),
            "digital silence has no noise floor"
        );
    }
}
