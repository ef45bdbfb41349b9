//! The samples that the editor draws: input, restored signal and output side by side, for as long as somebody looks.
//!
//! The audio thread writes into a single-producer single-consumer ring; the editor reads it, frame by frame. Nobody reading means that nothing is written: a
//! reader buys [`WATCH_S`] of samples with each look, and the audio thread spends them.

use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Samples of the ring, in seconds: the largest blocks of a host plus the time between two looks. Memory is touched only once somebody looks.
const RING_S: f64 = 0.5;
/// Moments in the ring at most, whatever the sample rate.
const MOST: usize = 1 << 18;
/// How long the audio thread goes on writing after the last look, in seconds of audio.
const WATCH_S: f64 = 0.5;
/// Moments that are written to the ring together.
const BATCH: usize = 64;

/// What is at one sample position of the output: all three are of the same instant. A mono stream leaves the second channel at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    /// The input, delayed by the latency.
    pub input: [f32; 2],
    /// The restored signal, before mix and gain.
    pub restored: [f32; 2],
    /// What is heard.
    pub output: [f32; 2],
}

/// The reader's side, in [`super::Status`].
#[derive(Default)]
pub(super) struct Scope {
    /// Samples the audio thread is still to write.
    credit: AtomicI64,
    /// What one look buys.
    watch: AtomicI64,
    /// Moments there was no room for.
    lost: AtomicU64,
    /// Never touched by the audio thread.
    reader: Mutex<Option<HeapCons<Moment>>>,
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Scope")
            .field("credit", &self.credit)
            .finish_non_exhaustive()
    }
}

impl Scope {
    /// A new stream begins: gives the end to write to.
    pub(super) fn connect(&self, sample_rate_hz: f64) -> ScopeWriter {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "half a second at a rate of at most 10 MHz"
        )]
        let samples = |seconds: f64| (seconds * sample_rate_hz).max(1.0) as usize;
        let (ring, reader) = HeapRb::new(samples(RING_S).clamp(BATCH, MOST)).split();
        self.watch.store(i64::try_from(samples(WATCH_S)).unwrap_or(i64::MAX), Relaxed);
        self.credit.store(0, Relaxed);
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(reader);
        ScopeWriter {
            ring,
            batch: [Moment::default(); BATCH],
            filled: 0,
            on: false,
        }
    }

    /// See [`super::Status::look`].
    pub(super) fn look(&self, mut see: impl FnMut(&[Moment])) -> u64 {
        self.credit.store(self.watch.load(Relaxed), Relaxed);
        if let Some(reader) = &mut *self.reader.lock().unwrap_or_else(PoisonError::into_inner) {
            let mut chunk = [Moment::default(); 256];
            loop {
                let count = reader.pop_slice(&mut chunk);
                if count == 0 {
                    break;
                }
                see(&chunk[..count]);
            }
        }
        self.lost.load(Relaxed)
    }
}

/// The audio thread's side.
///
/// # Real-time
/// No call allocates, locks or waits.
pub(super) struct ScopeWriter {
    ring: HeapProd<Moment>,
    batch: [Moment; BATCH],
    filled: usize,
    on: bool,
}

impl ScopeWriter {
    /// To be called before the first [`ScopeWriter::write`] of a block of `length` samples.
    pub(super) fn begin_block(&mut self, scope: &Scope, length: usize) {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        self.on = scope.credit.load(Relaxed) > 0;
        if self.on {
            scope.credit.fetch_sub(length, Relaxed);
        }
    }

    /// Whether anybody looks in this block.
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// Notes one moment, if anybody looks.
    pub(super) fn write(&mut self, scope: &Scope, moment: Moment) {
        if self.on {
            self.batch[self.filled] = moment;
            self.filled += 1;
            if self.filled == BATCH {
                self.flush(scope);
            }
        }
    }

    /// Hands over what was noted.
    pub(super) fn flush(&mut self, scope: &Scope) {
        if self.filled > 0 {
            let written = self.ring.push_slice(&self.batch[..self.filled]);
            if written < self.filled {
                scope.lost.fetch_add((self.filled - written) as u64, Relaxed);
            }
            self.filled = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(value: usize) -> Moment {
        Moment {
            input: [value as f32; 2],
            ..Moment::default()
        }
    }

    fn write(writer: &mut ScopeWriter, scope: &Scope, range: std::ops::Range<usize>) {
        writer.begin_block(scope, range.len());
        range.for_each(|value| writer.write(scope, moment(value)));
        writer.flush(scope);
    }

    #[test]
    fn nothing_is_written_unless_somebody_looks() {
        let scope = Scope::default();
        let mut writer = scope.connect(1000.0);
        let mut seen = 0;
        write(&mut writer, &scope, 0..100);
        scope.look(|moments| seen += moments.len());
        assert_eq!(seen, 0, "before the first look");
        // One look buys 500 samples of credit, spent in whole blocks.
        for block in 0..20 {
            write(&mut writer, &scope, block * 100..(block + 1) * 100);
        }
        let lost = scope.look(|moments| seen += moments.len());
        assert_eq!((seen, lost), (500, 0));
    }

    #[test]
    fn moments_arrive_in_order_and_lost_ones_are_counted() {
        let scope = Scope::default();
        let mut writer = scope.connect(1000.0);
        scope.look(|_| {});
        write(&mut writer, &scope, 0..300);
        write(&mut writer, &scope, 300..900);
        let mut next = 0;
        let lost = scope.look(|moments| {
            for seen in moments {
                assert_eq!(*seen, moment(next));
                next += 1;
            }
        });
        assert_eq!(next as u64 + lost, 900);
        assert_eq!(next, 500, "the ring's size");
    }
}
