//! Tests in a process of their own, and what a process holds.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Names the test that a child process was started for.
const CHILD: &str = "DUALSTEP_TEST_CHILD";

/// A child that runs longer than this hangs; where `DUALSTEP_CASES` asks for more cases, that many times as long.
const HANG: Duration = Duration::from_secs(600);

/// Runs the calling test again in a process of its own, with `variables` in its environment, and checks that it passed there.
///
/// Returns whether this *is* that process. For tests that count threads, set the worker's hooks, or would end the process when they fail:
///
/// ```no_run
/// # use dualstep_tests::process::in_child;
/// # fn body() {}
/// fn worker_fails() {
///     if in_child("worker_fails", &[("DUALSTEP_WORKER_PANIC_AT_HOP", "20")]) {
///         body();
///     }
/// }
/// ```
///
/// # Panics
/// If the test failed, ended its process, hung, or didn't run at all.
#[must_use]
pub fn in_child(test: &str, variables: &[(&str, &str)]) -> bool {
    if std::env::var(CHILD).is_ok_and(|name| name == test) {
        return true;
    }
    let program = std::env::current_exe().expect("the test's own program");
    let mut child = Command::new(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .envs(variables.iter().copied())
        .env(CHILD, test)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child process");
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let factor = std::env::var("DUALSTEP_CASES").ok().and_then(|factor| factor.parse().ok());
    let hang = HANG.saturating_mul(factor.unwrap_or(1));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child's status") {
            break Some(status);
        }
        if begun.elapsed() > hang {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = format!("{}\n{}", stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    match status {
        None => panic!("{test} hangs:\n{said}"),
        Some(status) => assert!(status.success(), "{test} ended with {status}:\n{said}"),
    }
    assert!(said.contains("1 passed"), "the child process ran no test called {test}:\n{said}");
    false
}

/// Reads a pipe to its end beside the caller, so that the child never waits for it.
fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut said);
        }
        String::from_utf8_lossy(&said).into_owned()
    })
}

/// How long [`threads`] looks. A thread that was joined is listed until the kernel has taken it down, for some ms on a busy machine.
const SETTLING: Duration = Duration::from_millis(300);

/// Threads of this process that stay, where the system tells: the fewest seen in a third of a second.
#[must_use]
pub fn threads() -> Option<usize> {
    let begun = Instant::now();
    let mut fewest = usize::MAX;
    while begun.elapsed() < SETTLING {
        fewest = fewest.min(std::fs::read_dir("/proc/self/task").ok()?.count());
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(fewest)
}

/// Resident memory of this process in KiB, where the system tells.
#[must_use]
pub fn resident_kib() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
