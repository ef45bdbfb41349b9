//! Finds the mains line in the signal and follows it.
//!
//! Four times a second, in the spectrum of the last two seconds, a fundamental near 50 or 60 Hz is sought whose harmonics stand out of their
//! surroundings; how fast their phases turn tells its frequency. Hum stays where it is and as loud as it is, and music doesn't. A clear line where the mains
//! are is believed after three such finds, 2.8 seconds into the sound. What is less clear, or so far from them that it might be a note, has to last for
//! eight seconds. A line is given up after twenty seconds without a trace.
//!
//! What that trades: a tone that holds within 0.4 % of 50 or 60 Hz (or of their octaves and twelfths), neither fading nor wavering, is taken for hum if it
//! lasts for two seconds, and within 1.5 % if it lasts for eight. At A = 440 Hz no note lies there; on instruments tuned otherwise an organ's pedal or a drone may.

use super::super::Frame;
use super::spectrum::{EVERY_S, LowSpectrum};
use std::fmt;

/// Harmonics that are looked at, the fundamental included: up to 305 Hz.
const HARMONICS: usize = 5;
/// Mains frequencies of the world.
const NOMINAL_HZ: [f64; 2] = [50.0, 60.0];
/// How far a transfer at the wrong speed may have moved them: a quarter of a semitone. No note of equal temperament at A = 440 Hz has its fundamental, or
/// its octave or twelfth, so near to theirs.
const RANGE: f64 = 0.015;
/// How far the mains themselves stray: 200 mHz of 50 Hz at most (Commission Regulation (EU) 2017/1485, annex III, table 1, continental Europe).
const MAINS_RANGE: f64 = 0.004;
/// Step of the search in Hz.
const STEP_HZ: f64 = 0.05;
/// A harmonic is there if it stands out by so much, in dB. Noise does so in one bin of several thousand.
const THERE_DB: f32 = 12.0;
/// A line is clear if one of its first three harmonics stands out by so much, in dB. Then that one alone is enough.
const CLEAR_DB: f32 = 20.0;
/// More doesn't make it more likely, in dB.
const ENOUGH_DB: f32 = 40.0;
/// A harmonic further than this from its multiple of the fundamental, in Hz, is something else.
const BESIDE_HZ: f64 = 0.2;
/// A line found again lies within this of the last time, in Hz.
const SAME_HZ: f64 = 0.15;
/// What a steady line's level may seem to change by, in dB: at once, and per second. Plucked strings and held piano notes fade faster.
const UNSTEADY_DB: f32 = 0.75;
const UNSTEADY_DB_PER_S: f32 = 1.0;
/// How far from a steady sine a line may seem in one spectrum: of itself, and times the noise about it over its magnitude: about what that noise does.
const UNSTEADY: f32 = 0.1;
const UNSTEADY_NOISE: f32 = 3.0;
/// Finds that make a clear line at the mains frequency.
const FINDS: u32 = 3;
/// Finds that make any other.
const MANY_FINDS: u32 = 24;
/// Finds that a line's frequency is the average of: two seconds.
const MEMORY: u32 = 8;
/// Searches in vain that end it.
const MISSES: u32 = 80;

/// What listens for the mains line.
pub(super) struct LineFinder {
    spectrum: LowSpectrum,
    candidate: Candidate,
    misses: u32,
    line_hz: Option<f64>,
}

/// A harmonic that is there.
#[derive(Clone, Copy, Debug)]
struct Line {
    frequency_hz: f64,
    level_db: f32,
    /// How far it stands out of its surroundings, in dB, at most [`ENOUGH_DB`].
    out_db: f32,
    /// Whether it was a steady sine for two seconds, as far as its surroundings let one tell.
    steady: bool,
}

/// The first harmonics, the fundamental first.
type Lines = [Option<Line>; HARMONICS];

/// One successful search.
#[derive(Clone, Copy, Debug, Default)]
struct Find {
    fundamental_hz: f64,
    lines: Lines,
    /// Whether it is as clear and as near to the mains frequency as can be asked for.
    plain: bool,
}

/// A line that was found and isn't believed yet, or is.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    /// How often it was found again, less how often it wasn't. 0: there is none.
    finds: u32,
    /// How often in a row it was found and plain.
    plain: u32,
    /// Average of its finds, in Hz.
    fundamental_hz: f64,
    /// As it was found first.
    first: Find,
}

impl fmt::Debug for LineFinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineFinder")
            .field("line_hz", &self.line_hz)
            .field("candidate", &self.candidate)
            .finish_non_exhaustive()
    }
}

impl LineFinder {
    pub(super) fn new(sample_rate_hz: f64) -> Self {
        Self {
            spectrum: LowSpectrum::new(sample_rate_hz, (HARMONICS as f64 + 0.5) * NOMINAL_HZ[1]),
            candidate: Candidate::default(),
            misses: 0,
            line_hz: None,
        }
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        self.spectrum.reset();
        self.candidate = Candidate::default();
        self.misses = 0;
        self.line_hz = None;
    }

    /// Lets states that have faded away be zero.
    pub(super) fn flush(&mut self) {
        self.spectrum.flush();
    }

    /// Fundamental of the line in Hz, if there is one.
    pub(super) fn line_hz(&self) -> Option<f64> {
        self.line_hz
    }

    /// Takes one frame.
    ///
    /// # Real-time
    /// Allocates nothing. Four times a second it takes as long as two transforms of 4096 samples.
    pub(super) fn push(&mut self, frame: Frame) {
        if self.spectrum.push(frame) {
            let find = self.search();
            self.judge(find);
        }
    }

    /// The fundamental whose harmonics stand out most, if they stand out enough.
    fn search(&self) -> Option<Find> {
        let mut best = None;
        let mut best_score = 0.0f32;
        for nominal_hz in NOMINAL_HZ {
            #[expect(clippy::cast_possible_truncation, reason = "some tens of steps")]
            let steps = (nominal_hz * RANGE / STEP_HZ).floor() as i32;
            for step in -steps..=steps {
                let fundamental_hz = nominal_hz + f64::from(step) * STEP_HZ;
                let peaks = (1..=HARMONICS).filter_map(|harmonic| self.spectrum.peak_near(harmonic as f64 * fundamental_hz));
                let score = peaks.map(|peak| peak.out_db.clamp(0.0, ENOUGH_DB)).sum();
                if score > best_score {
                    best = Some((nominal_hz, fundamental_hz));
                    best_score = score;
                }
            }
        }
        let (nominal_hz, rough_hz) = best?;
        let lines = self.lines(rough_hz);
        // A partial of the music may lie near a harmonic: those count that agree, and of several choices the one in which they stand out most.
        let agreeing = (0..HARMONICS).filter_map(|one| agreeing_with(&lines, one));
        let lines = agreeing.max_by(|a, b| prominence_db(a).total_cmp(&prominence_db(b)))?;
        let clear = lines.iter().take(3).flatten().any(|line| line.out_db >= CLEAR_DB);
        let fundamental_hz = fundamental_hz(&lines);
        let away = (fundamental_hz / nominal_hz - 1.0).abs();
        let found = lines.iter().flatten().count() >= 2 || clear;
        // Peaks at the edge of the search may belong to a note beyond it.
        (found && away < RANGE).then_some(Find {
            fundamental_hz,
            lines,
            plain: clear && away < MAINS_RANGE,
        })
    }

    /// What is there of the harmonics of a fundamental.
    fn lines(&self, fundamental_hz: f64) -> Lines {
        std::array::from_fn(|index| {
            let peak = self.spectrum.peak_near((index + 1) as f64 * fundamental_hz)?;
            (peak.out_db >= THERE_DB).then(|| Line {
                frequency_hz: self.spectrum.frequency_hz(peak.bin),
                level_db: self.spectrum.level_db(peak.bin),
                out_db: peak.out_db.min(ENOUGH_DB),
                steady: self.spectrum.unsteadiness(peak.bin) < UNSTEADY + UNSTEADY_NOISE * 10.0f32.powf(-peak.out_db / 20.0),
            })
        })
    }

    /// Makes up its mind.
    fn judge(&mut self, find: Option<Find>) {
        let near = |a_hz: f64, b_hz: f64| (a_hz - b_hz).abs() < SAME_HZ;
        let traced = find.is_some_and(|find| self.line_hz.is_none_or(|line_hz| near(find.fundamental_hz, line_hz)));
        self.misses = if traced { 0 } else { self.misses + 1 };
        if self.misses >= MISSES {
            self.line_hz = None;
        }
        let candidate = &mut self.candidate;
        let Some(find) = find else {
            candidate.finds = candidate.finds.saturating_sub(1);
            candidate.plain = 0;
            return;
        };
        if candidate.finds == 0 || !near(find.fundamental_hz, candidate.fundamental_hz) || !candidate.is_steady(&find) {
            *candidate = Candidate {
                finds: 1,
                plain: u32::from(find.plain),
                fundamental_hz: find.fundamental_hz,
                first: find,
            };
            return;
        }
        candidate.finds = (candidate.finds + 1).min(2 * MANY_FINDS);
        candidate.plain = if find.plain { (candidate.plain + 1).min(FINDS) } else { 0 };
        candidate.fundamental_hz += (find.fundamental_hz - candidate.fundamental_hz) / f64::from(candidate.finds.min(MEMORY));
        match &mut self.line_hz {
            Some(line_hz) if near(find.fundamental_hz, *line_hz) => *line_hz += (find.fundamental_hz - *line_hz) / f64::from(MEMORY),
            _ if candidate.plain >= FINDS || candidate.finds >= MANY_FINDS => self.line_hz = Some(candidate.fundamental_hz),
            _ => {}
        }
    }
}

impl Candidate {
    /// Whether half of the harmonics that are there now are steady, and as loud as they were when they were found first.
    fn is_steady(&self, find: &Find) -> bool {
        let allowed_db = UNSTEADY_DB + UNSTEADY_DB_PER_S * EVERY_S * self.finds as f32;
        let (mut steady, mut there) = (0, 0);
        for (now, first) in find.lines.iter().zip(&self.first.lines) {
            if let (Some(now), Some(first)) = (now, first) {
                there += 1;
                steady += u32::from(now.steady && (now.level_db - first.level_db).abs() <= allowed_db);
            }
        }
        2 * steady >= there && there > 0
    }
}

/// Those lines whose fundamental is that of the line `one`, counted from 0.
fn agreeing_with(lines: &Lines, one: usize) -> Option<Lines> {
    let fundamental_hz = lines[one]?.frequency_hz / (one + 1) as f64;
    let agrees = |(index, line): (usize, &Option<Line>)| {
        line.filter(|line| (line.frequency_hz - (index + 1) as f64 * fundamental_hz).abs() < BESIDE_HZ)
    };
    let mut agreeing = [None; HARMONICS];
    agreeing
        .iter_mut()
        .zip(lines.iter().enumerate().map(agrees))
        .for_each(|(to, from)| *to = from);
    Some(agreeing)
}

fn prominence_db(lines: &Lines) -> f32 {
    lines.iter().flatten().map(|line| line.out_db).sum()
}

/// The fundamental that fits its harmonics best, in Hz: least squares, each weighted by its power over that of its surroundings, to which the variance of
/// its frequency is inversely proportional. Not a number if there are none.
fn fundamental_hz(lines: &Lines) -> f64 {
    let (mut above, mut below) = (0.0, 0.0);
    for (harmonic, line) in (1..).zip(lines) {
        let Some(line) = line else { continue };
        let (harmonic, weight) = (f64::from(harmonic), 10.0f64.powf(f64::from(line.out_db) / 10.0));
        above += weight * harmonic * line.frequency_hz;
        below += weight * harmonic * harmonic;
    }
    above / below
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    /// Feeds `seconds` of a signal given by time in seconds, in noise. Returns when the line was believed first, in seconds.
    fn feed(finder: &mut LineFinder, sample_rate_hz: f64, seconds: f64, signal: impl Fn(f64) -> f64) -> Option<f64> {
        let mut noise = 7u32;
        let mut time = 0.0;
        let mut found = None;
        while time < seconds {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = 0.02 * (f64::from(noise) / f64::from(u32::MAX) - 0.5);
            let x = signal(time) + hiss;
            finder.push([x, 0.0]);
            time += 1.0 / sample_rate_hz;
            found = found.or_else(|| finder.line_hz().map(|_| time));
        }
        found
    }

    fn hum(fundamental_hz: f64, time: f64) -> f64 {
        (1..=4)
            .map(|k| 0.003 / f64::from(k) * (TAU * f64::from(k) * fundamental_hz * time).sin())
            .sum()
    }

    #[test]
    fn hum_is_found_within_three_seconds_to_a_hundredth_of_a_hertz_at_every_rate() {
        for sample_rate_hz in [8_000.0, 44_100.0, 48_000.0, 192_000.0] {
            for fundamental_hz in [49.96, 50.1, 60.0, 59.9] {
                let mut finder = LineFinder::new(sample_rate_hz);
                let found = feed(&mut finder, sample_rate_hz, 3.0, |time| hum(fundamental_hz, time));
                let found_hz = finder.line_hz().expect("hum");
                assert!(
                    (found_hz - fundamental_hz).abs() < 0.01,
                    "{fundamental_hz} Hz at {sample_rate_hz}: {found_hz:.4} Hz after {found:?} s"
                );
            }
        }
    }

    #[test]
    fn hum_of_another_speed_is_found_later() {
        for fundamental_hz in [50.6, 50.31, 59.4, 60.7] {
            let mut finder = LineFinder::new(8_000.0);
            let found = feed(&mut finder, 8_000.0, 9.0, |time| hum(fundamental_hz, time)).expect("hum");
            let found_hz = finder.line_hz().expect("hum");
            assert!(
                found > 7.5 && (found_hz - fundamental_hz).abs() < 0.01,
                "{fundamental_hz} Hz: {found_hz:.4} Hz after {found:.1} s"
            );
        }
    }

    #[test]
    fn a_single_steady_line_is_enough() {
        for (line_hz, fundamental_hz) in [(100.0, 50.0), (60.1, 60.1), (179.7, 59.9)] {
            let mut finder = LineFinder::new(8_000.0);
            feed(&mut finder, 8_000.0, 3.0, |time| 0.004 * (TAU * line_hz * time).sin());
            assert!(
                finder.line_hz().is_some_and(|found_hz| (found_hz - fundamental_hz).abs() < 0.01),
                "{line_hz} Hz: {finder:?}"
            );
        }
    }

    #[test]
    fn drift_is_followed() {
        let mut finder = LineFinder::new(8_000.0);
        // From 50.0 to 50.2 Hz in 40 seconds.
        feed(&mut finder, 8_000.0, 40.0, |time| {
            0.01 * (TAU * (50.0 * time + 0.0025 * time * time)).sin()
        });
        // The window's middle is a second old, and what was found is averaged over two.
        assert!(
            finder.line_hz().is_some_and(|found_hz| (50.175..50.2).contains(&found_hz)),
            "{finder:?}"
        );
    }

    #[test]
    fn noise_and_bass_notes_are_no_hum() {
        let mut finder = LineFinder::new(8_000.0);
        feed(&mut finder, 8_000.0, 60.0, |_| 0.0);
        assert_eq!(finder.line_hz(), None, "noise");
        // G1, A flat 1, B flat 1, B1, the octaves above and the note whose fifth harmonic is next to that of 50 Hz, held for twelve seconds each.
        for note_hz in [48.999, 51.913, 58.270, 61.735, 97.999, 116.54, 123.47, 146.83, 246.94] {
            for loudness in [1.0, 100.0] {
                let mut finder = LineFinder::new(8_000.0);
                feed(&mut finder, 8_000.0, 12.0, |time| loudness * hum(note_hz, time));
                assert_eq!(finder.line_hz(), None, "{note_hz} Hz");
            }
        }
    }

    #[test]
    fn held_notes_far_above_are_no_hum() {
        // At the low rate of 1 kHz that was used once they came down beside the mains' harmonics.
        let (a5, d6, g4, f3) = (880.0, 1_174.66, 391.995, 174.614);
        for (sample_rate_hz, note_hz, partials) in [
            (8_000.0, a5, &[1.0][..]),
            (16_000.0, a5, &[1.0]),
            (44_100.0, d6, &[1.0]),
            (44_100.0, g4, &[1.0, 3.0, 5.0, 7.0]),
            (48_000.0, f3, &[1.0, 2.0, 3.0, 4.0, 5.0]),
        ] {
            let mut finder = LineFinder::new(sample_rate_hz);
            let tone = |time: f64| partials.iter().map(|k| 0.3 / k * (TAU * k * note_hz * time).sin()).sum();
            feed(&mut finder, sample_rate_hz, 10.0, tone);
            assert_eq!(finder.line_hz(), None, "{note_hz} Hz at {sample_rate_hz}");
        }
    }

    #[test]
    fn a_line_that_is_plain_now_and_then_has_to_last() {
        let find = |plain| {
            let line = Line {
                frequency_hz: 50.2,
                level_db: 0.0,
                out_db: CLEAR_DB,
                steady: true,
            };
            Some(Find {
                fundamental_hz: 50.2,
                lines: [Some(line); HARMONICS],
                plain,
            })
        };
        let mut finder = LineFinder::new(8_000.0);
        for n in 0..MANY_FINDS - 1 {
            finder.judge(find(n % 3 != 0));
            assert_eq!(finder.line_hz(), None, "after {n}");
        }
        finder.judge(find(false));
        assert!(finder.line_hz().is_some());
        finder.reset();
        for _ in 0..FINDS {
            assert_eq!(finder.line_hz(), None);
            finder.judge(find(true));
        }
        assert!(finder.line_hz().is_some());
    }

    #[test]
    fn a_note_at_the_mains_frequency_is_no_hum_if_it_fades_or_is_short() {
        for mains_hz in NOMINAL_HZ {
            // As if tuned to it. A piano's lowest octave fades by some 3 dB per second, a plucked string faster.
            for fade_db_per_s in [3.0, 8.0, 20.0] {
                let mut finder = LineFinder::new(8_000.0);
                let faded = |time: f64| 10.0f64.powf(-fade_db_per_s * time / 20.0);
                feed(&mut finder, 8_000.0, 12.0, |time| 100.0 * faded(time % 6.0) * hum(mains_hz, time));
                assert_eq!(finder.line_hz(), None, "{mains_hz} Hz, {fade_db_per_s} dB per second");
            }
            // A line of notes that don't fade, every other one at the mains frequency.
            for length_s in [0.5, 1.0, 1.5] {
                let mut finder = LineFinder::new(8_000.0);
                let note_hz = |time: f64| {
                    if time % (2.0 * length_s) < length_s {
                        mains_hz
                    } else {
                        1.122 * mains_hz
                    }
                };
                feed(&mut finder, 8_000.0, 24.0, |time| 100.0 * hum(note_hz(time), time));
                assert_eq!(finder.line_hz(), None, "{mains_hz} Hz, notes of {length_s} s");
            }
            // G1 of an orchestra at A = 443 Hz, held for six seconds: near the mains frequency, but not where mains are.
            let mut finder = LineFinder::new(8_000.0);
            feed(&mut finder, 8_000.0, 12.0, |time| {
                let held = if time % 7.0 < 6.0 { 100.0 } else { 0.0 };
                held * hum(0.9867 * mains_hz, time)
            });
            assert_eq!(finder.line_hz(), None, "{mains_hz} Hz less 1.3 %, held for six seconds");
        }
    }

    #[test]
    fn a_line_outlasts_a_loud_passage_and_is_given_up_in_the_end() {
        let mut finder = LineFinder::new(8_000.0);
        feed(&mut finder, 8_000.0, 8.0, |time| hum(50.0, time));
        assert!(finder.line_hz().is_some());
        feed(&mut finder, 8_000.0, 10.0, |_| 0.0);
        assert!(finder.line_hz().is_some(), "given up too early");
        feed(&mut finder, 8_000.0, 20.0, |_| 0.0);
        assert_eq!(finder.line_hz(), None);
        finder.reset();
        feed(&mut finder, 8_000.0, 2.5, |time| hum(60.0, time));
        assert_eq!(finder.line_hz(), None, "too early to say");
        feed(&mut finder, 8_000.0, 1.0, |time| hum(60.0, time + 2.5));
        assert!(finder.line_hz().is_some());
    }
}
