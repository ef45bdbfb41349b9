//! The thread that restores.

use super::hop::{Hop, Outcome};
use super::status::{Status, WorkerState};
use super::urgency::Urgency;
use super::wire::{Shared, Wire};
use super::{LinkConfig, Processor};
use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest the worker sleeps without looking for work: at rest nobody wakes it, and a wake-up might get lost. Less than half of what the hops hold
/// ([`LinkConfig::hops`]), or the audio thread would have to wake it.
const NAP: Duration = Duration::from_millis(200);

/// Owns the worker thread. Dropping it ends the thread and waits for that: the hop in hand is finished first.
#[derive(Debug)]
pub struct Worker {
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Worker {
    /// Whether the thread has ended although nobody asked it to.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread catches panics: there is no error to pass on.
            let _ = thread.join();
        }
    }
}

/// Starts the thread. Gives the audio thread's end of the rings with it.
pub(super) fn start(config: LinkConfig, processor: impl Processor, status: Arc<Status>) -> std::io::Result<(Worker, Wire)> {
    let hops = config.hops();
    let (to_worker, inbox) = HeapRb::new(hops).split();
    let (outbox, from_worker) = HeapRb::new(hops).split();
    let shared = Arc::new(Shared::default());
    status.enter(WorkerState::Running, "");
    let task = Task {
        processor,
        inbox,
        outbox,
        shared: Arc::clone(&shared),
        status,
        place: None,
        settling: 0,
        settle_hops: config.restorer_delay.div_ceil(config.hop) + 1,
        hop_s: config.hop as f64 / config.sample_rate_hz,
    };
    let thread = std::thread::Builder::new()
        .name("dualstep-worker".to_owned())
        .spawn(move || guard(task))?;
    let free = (0..hops).map(|_| Hop::new(config.channels, config.hop)).collect();
    let wire = Wire::new(
        to_worker,
        from_worker,
        free,
        Arc::clone(&shared),
        thread.thread().clone(),
        config.most_wait(),
    );
    let worker = Worker {
        thread: Some(thread),
        shared,
    };
    Ok((worker, wire))
}

/// Runs the task; a panic ends in the status, not in the host.
fn guard<P: Processor>(task: Task<P>) {
    let shared = Arc::clone(&task.shared);
    let status = Arc::clone(&task.status);
    let mut task = AssertUnwindSafe(task);
    // The task is dropped inside too, for the processor's destructor may panic as well.
    let outcome = catch_unwind(move || {
        task.run();
        drop(task);
    });
    if let Err(payload) = outcome {
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        status.enter(
            WorkerState::Failed,
            &format!(
                "The restoration stopped because of an internal error ({}). The signal passes unrestored until the host activates the plugin again.",
                message.unwrap_or("no message")
            ),
        );
        // A payload's destructor may panic too; it isn't worth the risk.
        std::mem::forget(payload);
    }
    shared.ended.store(true, Ordering::Release);
}

/// What the worker thread works with.
struct Task<P> {
    processor: P,
    inbox: HeapCons<Hop>,
    outbox: HeapProd<Hop>,
    shared: Arc<Shared>,
    status: Arc<Status>,
    /// Epoch and index that the processor expects next; none before the first hop.
    place: Option<(u32, u64)>,
    /// Hops until the processor's output may be heard again.
    settling: usize,
    /// Hops the processor needs after a gap until its output no longer holds anything from before it.
    settle_hops: usize,
    /// Duration of a hop, in seconds.
    hop_s: f64,
}

impl<P: Processor> Task<P> {
    fn run(&mut self) {
        let mut urgency = Urgency::new();
        while !self.shared.stop.load(Ordering::Acquire) {
            let Some(mut hop) = self.inbox.try_pop() else {
                std::thread::park_timeout(NAP);
                urgency.rested();
                continue;
            };
            urgency.follow(!self.shared.offline.load(Ordering::Relaxed));
            hop.outcome = if hop.epoch == self.shared.epoch.load(Ordering::Acquire) {
                self.work(&mut hop)
            } else {
                Outcome::Unusable
            };
            // The ring has room for all hops.
            let _ = self.outbox.try_push(hop);
        }
    }

    fn work(&mut self, hop: &mut Hop) -> Outcome {
        if self.place != Some((hop.epoch, hop.index)) {
            self.processor.reset();
            // At a stream's start there is nothing missing; after a gap the processor lacks what came before.
            self.settling = if hop.index == 0 { 0 } else { self.settle_hops };
        }
        self.place = Some((hop.epoch, hop.index + 1));
        if hop.blank {
            hop.audio.fill(0.0);
        }
        let late = hop.index < self.shared.due.load(Ordering::Acquire);
        let start = Instant::now();
        let report = if late {
            self.processor.skip(&mut hop.audio, &hop.controls)
        } else {
            self.processor.process(&mut hop.audio, &hop.controls)
        };
        #[expect(clippy::cast_possible_truncation, reason = "a meter")]
        let load = (start.elapsed().as_secs_f64() / self.hop_s) as f32;
        // Of a skipped hop nothing is heard: its report would speak of rest where there is too much to do.
        if !late {
            self.status.report(&report, load);
        }
        let settled = self.settling == 0;
        self.settling = self.settling.saturating_sub(1);
        if settled && !late { Outcome::Restored } else { Outcome::Unusable }
    }
}
