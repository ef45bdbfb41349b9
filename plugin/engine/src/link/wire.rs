//! The audio thread's end of the rings: sending collected hops, fetching restored ones, and waiting within bounds.

use super::hop::{Hop, Outcome};
use ringbuf::traits::{Consumer, Producer};
use ringbuf::{HeapCons, HeapProd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How fast the host asks for audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// In real time, or faster without saying so: waiting is bounded by half the duration of the audio asked for.
    RealTime,
    /// As fast as it gets done: waits for the worker as long as it lives.
    Offline,
}

/// How long the audio thread sleeps between two looks for a hop.
const POLL: Duration = Duration::from_micros(50);

/// What both threads read and write beside the rings.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Current epoch, written by the audio thread.
    pub(super) epoch: AtomicU32,
    /// Hops below this index come too late in the current epoch; written by the audio thread.
    pub(super) due: AtomicU64,
    /// Whether the host renders offline; written by the audio thread.
    pub(super) offline: AtomicBool,
    /// Asks the worker to end.
    pub(super) stop: AtomicBool,
    /// Set by the worker when it has ended, whatever the reason.
    pub(super) ended: AtomicBool,
}

/// The time the audio thread may still spend waiting.
///
/// Each block adds half its duration; time that passes between blocks is taken off. A host in real time thus lends half of each block, however often
/// automation splits it, and a host that runs ahead of real time lends half of what it runs ahead.
#[derive(Debug)]
struct Credit {
    left: Duration,
    most: Duration,
    block_end: Option<Instant>,
}

impl Credit {
    fn begin_block(&mut self, duration: Duration) {
        let idle = self.block_end.map_or(Duration::MAX, |end| end.elapsed());
        self.left = (self.left.saturating_sub(idle) + duration / 2).min(self.most);
    }

    /// Sleeps a moment. `false`: the credit is spent.
    fn sleep(&mut self) -> bool {
        if self.left.is_zero() {
            return false;
        }
        let start = Instant::now();
        std::thread::sleep(POLL.min(self.left));
        self.left = self.left.saturating_sub(start.elapsed());
        true
    }
}

/// The audio thread's end of the rings.
pub(super) struct Wire {
    to_worker: HeapProd<Hop>,
    from_worker: HeapCons<Hop>,
    /// Empty hops at hand. Has room for all that circulate.
    free: Vec<Hop>,
    /// A restored hop that came before its time, because one before it was never sent.
    early: Option<Hop>,
    /// Whether the hop before the last one and the last one were sent.
    sent: [bool; 2],
    shared: Arc<Shared>,
    worker: Thread,
    credit: Credit,
}

/// What [`Wire::fetch`] found.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The restored hop, in time.
    Hop(Hop),
    /// It isn't there or may not be heard.
    Missed,
    /// There is no worker any more.
    Dead,
}

impl Wire {
    pub(super) fn new(
        to_worker: HeapProd<Hop>,
        from_worker: HeapCons<Hop>,
        free: Vec<Hop>,
        shared: Arc<Shared>,
        worker: Thread,
        most_wait: Duration,
    ) -> Self {
        Self {
            to_worker,
            from_worker,
            free,
            early: None,
            sent: [false; 2],
            shared,
            worker,
            credit: Credit {
                left: Duration::ZERO,
                most: most_wait,
                block_end: None,
            },
        }
    }

    /// Sets the longest wait a host can run up by asking for audio ahead of time.
    pub(super) fn set_most_wait(&mut self, most: Duration) {
        self.credit.most = most;
    }

    /// Tells that a block of this duration begins.
    pub(super) fn begin_block(&mut self, duration: Duration) {
        self.credit.begin_block(duration);
    }

    /// Tells that the block ends here.
    pub(super) fn end_block(&mut self) {
        self.credit.block_end = Some(Instant::now());
    }

    /// Starts a new stream: all hops on their way become stale.
    pub(super) fn restart(&mut self, epoch: u32) {
        self.shared.due.store(0, Ordering::Release);
        self.shared.epoch.store(epoch, Ordering::Release);
        self.sent = [false; 2];
        if let Some(hop) = self.early.take() {
            self.recycle(hop);
        }
    }

    /// An empty hop, waiting for it as `pace` allows: a host that runs ahead of real time in silence, where nothing else holds it up, would leave the
    /// worker behind and hear the next sound unrestored.
    pub(super) fn take_free(&mut self, pace: Pace) -> Option<Hop> {
        while self.free.is_empty() {
            if let Some(hop) = self.from_worker.try_pop() {
                if self.early.is_none() && hop.epoch == self.shared.epoch.load(Ordering::Relaxed) {
                    self.early = Some(hop);
                    continue;
                }
                self.recycle(hop);
            } else if self.is_dead() {
                return None;
            } else if pace == Pace::Offline {
                std::thread::sleep(POLL);
            } else if !self.credit.sleep() {
                return None;
            }
        }
        self.free.pop()
    }

    /// Takes back a hop that is done with.
    pub(super) fn recycle(&mut self, hop: Hop) {
        debug_assert!(self.free.len() < self.free.capacity());
        self.free.push(hop);
    }

    /// Sends a collected hop, or notes that there was none to send. Wakes the worker for it, unless the stream is at rest.
    pub(super) fn send(&mut self, hop: Option<Hop>, resting: bool) {
        self.sent = [self.sent[1], hop.is_some()];
        let Some(hop) = hop else { return };
        // At rest the worker looks for work by itself now and then, which costs less than to be woken for each hop; unless hops might run out.
        let wake = !resting || self.free.len() < self.free.capacity() / 2;
        if let Err(hop) = self.to_worker.try_push(hop) {
            // The ring has room for all hops: not reached.
            self.sent[1] = false;
            self.recycle(hop);
        }
        if wake {
            self.worker.unpark();
        }
    }

    /// The restored hop `want`, waiting for it as `pace` allows. Afterwards it is too late for this hop and all before it.
    ///
    /// To be called after hop `want + 1` was sent.
    pub(super) fn fetch(&mut self, want: u64, pace: Pace) -> Fetched {
        self.shared.offline.store(pace == Pace::Offline, Ordering::Relaxed);
        let fetched = self.wait_for(want, pace);
        self.shared.due.store(want + 1, Ordering::Release);
        fetched
    }

    /// Does without hop `want`, as its result is known. Afterwards it is too late for this hop and all before it.
    pub(super) fn pass_over(&mut self, want: u64, pace: Pace) {
        self.shared.offline.store(pace == Pace::Offline, Ordering::Relaxed);
        self.shared.due.store(want + 1, Ordering::Release);
        let epoch = self.shared.epoch.load(Ordering::Relaxed);
        while let Some(hop) = self.early.take().or_else(|| self.from_worker.try_pop()) {
            if hop.epoch == epoch && hop.index > want {
                self.early = Some(hop);
                return;
            }
            self.recycle(hop);
        }
    }

    fn wait_for(&mut self, want: u64, pace: Pace) -> Fetched {
        let epoch = self.shared.epoch.load(Ordering::Relaxed);
        loop {
            // Read before the ring: what the worker sent before it ended is still found.
            let dead = self.is_dead();
            while let Some(hop) = self.early.take().or_else(|| self.from_worker.try_pop()) {
                if hop.epoch != epoch || hop.index < want {
                    self.recycle(hop);
                } else if hop.index > want {
                    self.early = Some(hop);
                    return Fetched::Missed;
                } else if hop.outcome == Outcome::Restored {
                    return Fetched::Hop(hop);
                } else {
                    self.recycle(hop);
                    return Fetched::Missed;
                }
            }
            if dead {
                return Fetched::Dead;
            }
            if !self.sent[0] {
                return Fetched::Missed;
            }
            match pace {
                Pace::Offline => std::thread::sleep(POLL),
                Pace::RealTime => {
                    if !self.credit.sleep() {
                        return Fetched::Missed;
                    }
                }
            }
        }
    }

    fn is_dead(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }
}
