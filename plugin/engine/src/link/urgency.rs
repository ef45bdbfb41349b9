//! The worker's rank among the threads of the computer.

use std::time::{Duration, Instant};

/// Longest time that the worker computes in real time without a pause. Linux lets a process have a limit on that (`RLIMIT_RTTIME`, 200 ms where
/// PipeWire sets it) and ends the process, which is the host, beyond it.
const MOST_BUSY: Duration = Duration::from_millis(50);

/// The pause: any call that sleeps counts as one.
const PAUSE: Duration = Duration::from_micros(50);

/// Asks the system to run this thread before ordinary ones while the host works in real time, and as one of them while it renders offline: a
/// render takes a whole core for minutes, and nothing waits for it.
///
/// A wish: where the system refuses (on Linux without `rtprio` in the user's limits), the thread goes on as it is. On macOS it isn't asked for yet.
#[derive(Debug)]
pub(super) struct Urgency {
    real_time: bool,
    busy_since: Instant,
}

impl Urgency {
    /// Of a thread that has just begun.
    pub(super) fn new() -> Self {
        Self {
            real_time: false,
            busy_since: Instant::now(),
        }
    }

    /// To be called before each hop.
    pub(super) fn follow(&mut self, real_time: bool) {
        if self.real_time != real_time {
            self.real_time = real_time;
            ask(real_time);
        }
        if self.real_time && self.busy_since.elapsed() > MOST_BUSY {
            std::thread::sleep(PAUSE);
            self.rested();
        }
    }

    /// Tells that the thread has slept.
    pub(super) fn rested(&mut self) {
        self.busy_since = Instant::now();
    }
}

/// Real-time or ordinary scheduling for this thread, if the system agrees.
#[cfg(target_os = "linux")]
fn ask(real_time: bool) {
    use thread_priority::{
        NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id,
    };
    // 2 is low among real-time priorities (1-99), so that every host's audio thread stays above it. 48 of 0-99 is an ordinary thread's niceness, 0.
    let (policy, value) = if real_time {
        (ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin), 2)
    } else {
        (ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other), 48)
    };
    if let Ok(value) = ThreadPriorityValue::try_from(value) {
        // Refused or not, there is nothing else to try.
        let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), policy);
    }
}

/// Before all other threads of the process, but for those of the Multimedia Class Scheduler, among them hosts' audio threads; or an ordinary one.
#[cfg(windows)]
fn ask(real_time: bool) {
    use thread_priority::{WinAPIThreadPriority, set_winapi_thread_priority, thread_native_id};
    let priority = if real_time {
        WinAPIThreadPriority::TimeCritical
    } else {
        WinAPIThreadPriority::Normal
    };
    let _ = set_winapi_thread_priority(thread_native_id(), priority);
}

#[cfg(not(any(target_os = "linux", windows)))]
fn ask(_real_time: bool) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_is_before_others_in_real_time_alone() {
        use thread_priority::{NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy};
        let mut urgency = Urgency::new();
        urgency.follow(true);
        let raised = thread_schedule_policy();
        urgency.follow(false);
        let lowered = thread_schedule_policy();
        let ordinary = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        assert_eq!(lowered, Ok(ordinary));
        // Whether the system agrees depends on the user's limits.
        assert!(
            [
                Ok(ordinary),
                Ok(ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin))
            ]
            .contains(&raised),
            "{raised:?}"
        );
    }

    #[test]
    #[cfg(windows)]
    fn a_thread_is_before_others_in_real_time_alone() {
        use thread_priority::{ThreadPriority, WinAPIThreadPriority, get_current_thread_priority};
        let mut urgency = Urgency::new();
        for (real_time, expected) in [(true, WinAPIThreadPriority::TimeCritical), (false, WinAPIThreadPriority::Normal)] {
            urgency.follow(real_time);
            assert_eq!(get_current_thread_priority(), Ok(ThreadPriority::Os(expected.into())));
        }
    }

    #[test]
    fn a_busy_thread_pauses() {
        let mut urgency = Urgency::new();
        urgency.follow(true);
        std::thread::sleep(MOST_BUSY + Duration::from_millis(1));
        urgency.follow(true);
        assert!(urgency.busy_since.elapsed() < MOST_BUSY, "no pause was made");
        urgency.follow(false);
    }
}
