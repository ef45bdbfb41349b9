//! What the system tells about this process. Linux only: elsewhere nothing is measured.

use clock::process_seconds;
pub(super) use clock::thread_seconds;
use std::fs;
use std::path::Path;

/// Name of the plugin's own thread, as the system knows it.
const WORKER: &str = "dualstep-worker";

/// Processor time of this process in seconds.
#[derive(Clone, Copy)]
pub(super) struct Cpu {
    /// Of all its threads.
    pub(super) all: f64,
    /// Of the calling thread.
    pub(super) this_thread: f64,
}

/// Processor time so far, not wall-clock time: what other programs take doesn't count.
pub(super) fn cpu_seconds() -> Option<Cpu> {
    Some(Cpu {
        all: process_seconds()?,
        this_thread: thread_seconds()?,
    })
}

/// Seconds that a thread has run (the first number of its `schedstat`, in nanoseconds). Exact while it sleeps.
fn on_cpu(task: &Path) -> Option<f64> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}

#[cfg(target_os = "linux")]
mod clock {
    use rustix::time::{ClockId, clock_gettime};

    fn seconds(clock: ClockId) -> Option<f64> {
        let time = clock_gettime(clock);
        Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    }

    /// Seconds that all threads have run, to the moment.
    pub(in super::super) fn process_seconds() -> Option<f64> {
        seconds(ClockId::ProcessCPUTime)
    }

    /// Seconds that the calling thread has run, to the moment. Costs a system call.
    pub(in super::super) fn thread_seconds() -> Option<f64> {
        seconds(ClockId::ThreadCPUTime)
    }
}

/// Not measured.
#[cfg(not(target_os = "linux"))]
mod clock {
    pub(in super::super) fn process_seconds() -> Option<f64> {
        None
    }

    pub(in super::super) fn thread_seconds() -> Option<f64> {
        None
    }
}

/// Resident memory of this process in MiB.
pub(super) fn resident_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// The worker thread of the only active instance in this process.
pub(super) struct WorkerThread(std::path::PathBuf);

impl WorkerThread {
    /// Waits a second for it, for a thread gets its name only once it runs.
    pub(super) fn find() -> Option<Self> {
        (0..100).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            Self::look()
        })
    }

    fn look() -> Option<Self> {
        let tasks = fs::read_dir("/proc/self/task").ok()?.flatten().map(|task| task.path());
        let named = |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == WORKER);
        let mut workers = tasks.filter(|path| named(path));
        let found = workers.next()?;
        workers.next().is_none().then_some(Self(found))
    }

    /// Waits until the thread has nothing to do, and gives the seconds that it has run by then.
    pub(super) fn settle(&self) -> Option<f64> {
        loop {
            let stat = fs::read_to_string(self.0.join("stat")).ok()?;
            // The state comes after the name, which stands in brackets.
            if stat.rsplit(')').next()?.trim_start().starts_with('S') {
                return on_cpu(&self.0);
            }
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
    }
}

/// Name of the processor.
pub(super) fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Programs that wanted a core on average in the last minute.
pub(super) fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn processor_time_and_memory_are_found() {
        let (before, begin) = (cpu_seconds(), thread_seconds());
        let sum: u64 = (0..3_000_000u64).fold(1, |a, b| a.wrapping_mul(31).wrapping_add(b));
        let (after, end) = (cpu_seconds(), thread_seconds());
        assert_ne!(sum, 0);
        assert!(matches!((begin, end), (Some(begin), Some(end)) if end > begin));
        assert!(matches!((before, after), (Some(b), Some(a)) if a.all >= b.all && a.this_thread >= b.this_thread));
        assert!(resident_mib().is_some_and(|mib| mib > 1.0));
    }

    #[test]
    fn a_worker_is_found_by_its_name_and_waited_for() {
        let (wake, work) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::Builder::new().name(WORKER.to_owned()).spawn(move || {
            while work.recv().is_ok() {
                let begin = std::time::Instant::now();
                while begin.elapsed().as_millis() < 20 {}
            }
        });
        let found = WorkerThread::find().expect("the worker");
        let before = found.settle().expect("a time");
        wake.send(()).expect("it listens");
        std::thread::sleep(std::time::Duration::from_millis(1));
        let after = found.settle().expect("a time");
        assert!(after > before, "{after} s after {before} s");
        drop(wake);
        assert!(worker.expect("a thread").join().is_ok());
    }
}
