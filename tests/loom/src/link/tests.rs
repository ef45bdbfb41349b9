use super::hop::Hop;
use super::status::Status;
use super::wire::{Fetched, Pace, Wire};
use super::worker::{Worker, start};
use super::{HOPS, HopReport, LinkConfig, ON_PURPOSE, Processor};
use crate::{Content, Controls, LIVING};
use core::{array, time::Duration};
use loom::sync::Arc;

/// Marks each hop as restored, and fails if it gets them out of order without a reset between.
struct Mark {
    next: Option<(u32, u64)>,
    /// Index of the hop to panic at.
    panics_at: Option<u64>,
}

impl Mark {
    fn take(&mut self, controls: &Controls, restored: bool) -> HopReport {
        let place = controls.get().place;
        assert!(
            self.next.is_none_or(|next| next == place),
            "{place:?} follows, without reset, what {:?} should",
            self.next
        );
        self.next = Some((place.0, place.1 + 1));
        if self.panics_at == Some(place.1) {
            std::panic::resume_unwind(Box::new(ON_PURPOSE));
        }
        controls.set(Content { place, restored });
        HopReport
    }
}

impl Processor for Mark {
    fn process(&mut self, _: &mut [f32], controls: &Controls) -> HopReport {
        self.take(controls, true)
    }

    fn skip(&mut self, _: &mut [f32], controls: &Controls) -> HopReport {
        self.take(controls, false)
    }

    fn reset(&mut self) {
        self.next = None;
    }
}

/// Runs `scenario` in all orders with at most `preemptions` switches away from a thread that could go on; `None`, in all. `LOOM_MAX_PREEMPTIONS` sets another
/// bound for every test.
fn check(preemptions: Option<usize>, scenario: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(preemptions);
    model.check(move || {
        scenario();
        assert_eq!(LIVING.get(), 0, "hops are left when both threads have ended");
    });
}

/// A running worker and the audio thread's end, in epoch 1. The worker panics at hop `panics_at`.
fn connect(panics_at: Option<u64>) -> (Worker, Wire) {
    let config = LinkConfig {
        sample_rate_hz: 1.0,
        channels: 1,
        hop: 1,
        restorer_delay: 0,
    };
    let processor = Mark { next: None, panics_at };
    let (worker, mut wire) = start(config, processor, Arc::new(Status)).expect("loom starts threads");
    wire.restart(1);
    (worker, wire)
}

/// Stops the worker. Every hop must still be there, but one that a panic took along.
fn stop(worker: Worker, panicked: bool) {
    drop(worker);
    assert_eq!(LIVING.get(), HOPS - usize::from(panicked), "hops in the rings and at hand");
}

/// Sends hop `index` of `epoch`, if there is an empty one.
fn send(wire: &mut Wire, pace: Pace, epoch: u32, index: u64) {
    send_of(wire, pace, epoch, index, false);
}

/// The same, of a stream that is `resting` or not.
fn send_of(wire: &mut Wire, pace: Pace, epoch: u32, index: u64, resting: bool) {
    let place = (epoch, index);
    let mut hop = wire.take_free(pace);
    if let Some(hop) = &mut hop {
        (hop.epoch, hop.index) = place;
        hop.controls.set(Content { place, restored: false });
    }
    wire.send(hop, resting);
}

/// Fetches a hop, and gives it back. Whether it is to be heard: then it must be restored, and the one asked for.
fn hear(wire: &mut Wire, pace: Pace, epoch: u32, index: u64) -> bool {
    let Fetched::Hop(hop) = wire.fetch(index, pace) else { return false };
    let place = (epoch, index);
    assert_eq!((hop.epoch, hop.index), place);
    assert_eq!(hop.controls.get(), Content { place, restored: true });
    wire.recycle(hop);
    true
}

#[test]
fn every_hop_comes_back() {
    check(Some(4), || {
        let (worker, mut wire) = connect(None);
        for index in 0..HOPS as u64 {
            send(&mut wire, Pace::Offline, 1, index);
        }
        // The first stays at hand, for it is still to be heard.
        let hops: [Hop; HOPS - 1] = array::from_fn(|_| wire.take_free(Pace::Offline).expect("the worker lives"));
        assert_eq!(hops.each_ref().map(|hop| hop.index), [1, 2]);
        hops.into_iter().for_each(|hop| wire.recycle(hop));
        assert!(hear(&mut wire, Pace::Offline, 1, 0));
        stop(worker, false);
    });
}

#[test]
fn offline_every_hop_is_heard() {
    check(Some(3), || {
        let (worker, mut wire) = connect(None);
        for index in 0..4 {
            if index >= 2 {
                assert!(hear(&mut wire, Pace::Offline, 1, index - 2));
            }
            send(&mut wire, Pace::Offline, 1, index);
        }
        stop(worker, false);
    });
}

#[test]
fn in_real_time_a_hop_is_heard_in_its_place_or_not() {
    check(Some(2), || {
        let (worker, mut wire) = connect(None);
        for index in 0..5 {
            wire.begin_block(Duration::from_micros(100));
            if index >= 2 {
                hear(&mut wire, Pace::RealTime, 1, index - 2);
            }
            send(&mut wire, Pace::RealTime, 1, index);
            wire.end_block();
        }
        stop(worker, false);
    });
}

#[test]
fn nothing_is_heard_of_a_former_epoch() {
    check(Some(2), || {
        let (worker, mut wire) = connect(None);
        send(&mut wire, Pace::Offline, 1, 0);
        send(&mut wire, Pace::Offline, 1, 1);
        // Without waiting: there is no block to lend time.
        hear(&mut wire, Pace::RealTime, 1, 0);
        wire.restart(2);
        send(&mut wire, Pace::Offline, 2, 0);
        send(&mut wire, Pace::Offline, 2, 1);
        assert!(hear(&mut wire, Pace::Offline, 2, 0));
        stop(worker, false);
    });
}

#[test]
fn what_came_before_the_worker_died_is_heard() {
    check(Some(4), || {
        let (worker, mut wire) = connect(Some(1));
        send(&mut wire, Pace::Offline, 1, 0);
        send(&mut wire, Pace::Offline, 1, 1);
        assert!(hear(&mut wire, Pace::Offline, 1, 0));
        assert!(matches!(wire.fetch(1, Pace::Offline), Fetched::Dead));
        assert!(worker.has_failed());
        let hops: [Option<Hop>; HOPS] = array::from_fn(|_| wire.take_free(Pace::Offline));
        assert_eq!(hops.iter().flatten().count(), HOPS - 1);
        hops.into_iter().flatten().for_each(|hop| wire.recycle(hop));
        stop(worker, true);
    });
}

#[test]
fn the_worker_stops_whatever_it_does() {
    for panics_at in [None, Some(0)] {
        check(None, move || {
            let (worker, mut wire) = connect(panics_at);
            send(&mut wire, Pace::Offline, 1, 0);
            send(&mut wire, Pace::Offline, 1, 1);
            // What is left in the rings is the worker's to free.
            drop(wire);
            drop(worker);
        });
    }
}

/// Nobody wakes the worker for a hop at rest, and here it never wakes by itself.
#[test]
fn after_a_rest_hops_are_heard_again() {
    check(Some(2), || {
        let (worker, mut wire) = connect(None);
        send_of(&mut wire, Pace::RealTime, 1, 0, true);
        send_of(&mut wire, Pace::RealTime, 1, 1, true);
        wire.pass_over(0, Pace::RealTime);
        send(&mut wire, Pace::RealTime, 1, 2);
        wire.pass_over(1, Pace::Offline);
        send(&mut wire, Pace::Offline, 1, 3);
        assert!(hear(&mut wire, Pace::Offline, 1, 2));
        stop(worker, false);
    });
}

#[test]
fn at_rest_offline_does_not_run_out_of_hops() {
    check(Some(2), || {
        let (worker, mut wire) = connect(None);
        for index in 0..5 {
            if index >= 2 {
                wire.pass_over(index - 2, Pace::Offline);
            }
            // For lack of an empty hop, this waits for the worker.
            send_of(&mut wire, Pace::Offline, 1, index, true);
        }
        stop(worker, false);
    });
}
