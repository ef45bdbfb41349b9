//! `cargo xtask test`: every test, with what the tests need.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use crate::bundle::{self, DEBUG_FEATURES, cargo, workspace_root};

/// Builds the bundles, sets up what the tests need and runs them all: Rust, Python hosts, training code.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the Python tests out
    #[arg(long)]
    pub no_python: bool,
}

/// Tests that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

/// Runs the command.
///
/// # Errors
/// If anything failed.
pub fn run(args: &Args) -> Result<()> {
    let begin = Instant::now();
    let mut steps = Steps::default();
    let root = workspace_root();
    let folders = steps.setup("bundles for users and for tests", build_bundles);
    if let Some((release, debug)) = &folders {
        let environment = [("DUALSTEP_BUNDLE", release.as_path()), ("DUALSTEP_DEBUG_BUNDLE", debug.as_path())];
        let mut rust = cargo();
        rust.args(["test", "--workspace", "--no-fail-fast", "--features", DEBUG_FEATURES]);
        steps.tests("Rust tests", rust.envs(environment), cargo_tally);
        if !args.no_python {
            python(&mut steps, &root, &environment);
        }
    }
    let Tally { passed, failed } = steps.total;
    println!("\n{}", steps.table);
    println!("All in {}", minutes(begin));
    println!("{passed} passed, {failed} failed");
    if failed > 0 || passed == 0 {
        bail!("not everything passed");
    }
    Ok(())
}

/// The Python hosts' tests and the training code's.
fn python(steps: &mut Steps, root: &Path, environment: &[(&str, &Path)]) {
    if has_tests(&root.join("tests"))
        && let Some(python) = steps.setup("virtual environment for the Python hosts", || environment_for(root))
    {
        let mut hosts = Command::new(python);
        hosts.current_dir(root).args(["-m", "pytest", "-q", "tests"]);
        steps.tests("Python hosts", hosts.envs(environment.iter().copied()), pytest_tally);
    }
    if has_tests(&root.join("training")) {
        let candidates = [venv_python(root), base_python().unwrap_or_default()];
        let able = candidates.into_iter().find(|python| imports(python, "torch, pytest"));
        if let Some(python) = able {
            let mut training = Command::new(python);
            training.current_dir(root.join("training")).args(["-m", "pytest", "-q"]);
            steps.tests("training code", &mut training, pytest_tally);
        } else {
            let how = format!(
                "skipped: no PyTorch; to run them: {} -m pip install './training[test]'",
                venv_python(root).display()
            );
            println!("\ntraining code: {how}");
            steps.note("training code", &how);
        }
    }
}

/// What has been done, for the closing summary.
#[derive(Default)]
struct Steps {
    total: Tally,
    table: String,
    count: usize,
}

impl Steps {
    fn begin(&mut self, name: &str) -> Instant {
        self.count += 1;
        println!("\n=== {}. {name}", self.count);
        let _ = std::io::stdout().flush();
        Instant::now()
    }

    fn note(&mut self, name: &str, what: &str) {
        self.table += &format!("  {name:<42} {what}\n");
    }

    /// Does what later steps need. A failure counts as a failed test.
    fn setup<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        let begin = self.begin(name);
        match work() {
            Ok(made) => {
                self.note(name, &format!("ready in {}", minutes(begin)));
                Some(made)
            }
            Err(error) => {
                println!("error: {error:#}");
                self.total.failed += 1;
                self.note(name, &format!("FAILED: {error:#}"));
                None
            }
        }
    }

    /// Runs a test program, shows its output and counts its tests. One that fails without naming a test counts as one failure.
    fn tests(&mut self, name: &str, command: &mut Command, tally: fn(&str) -> Option<Tally>) {
        let begin = self.begin(name);
        let (mut found, succeeded) = match watch(command, tally) {
            Ok(result) => result,
            Err(error) => {
                println!("error: {error:#}");
                (Tally::default(), false)
            }
        };
        if !succeeded && found.failed == 0 {
            found.failed = 1;
        }
        self.total.passed += found.passed;
        self.total.failed += found.failed;
        let time = minutes(begin);
        self.note(name, &format!("{} ok, {} not, in {time}", found.passed, found.failed));
    }
}

/// Minutes and seconds since `begin`.
fn minutes(begin: Instant) -> String {
    let seconds = begin.elapsed().as_secs();
    format!("{}:{:02} min", seconds / 60, seconds % 60)
}

/// Runs `command`, passes its output through and adds up what `tally` finds in its lines.
fn watch(command: &mut Command, tally: fn(&str) -> Option<Tally>) -> Result<(Tally, bool)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't run {program}"))?;
    let output = child.stdout.take().context("no output")?;
    let mut total = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(found) = tally(&line) {
            total.passed += found.passed;
            total.failed += found.failed;
        }
    }
    Ok((total, child.wait()?.success()))
}

/// Reads `test result: ok. 12 passed; 0 failed; …`.
fn cargo_tally(line: &str) -> Option<Tally> {
    let counts = line.trim().strip_prefix("test result: ")?;
    Some(Tally {
        passed: count_before(counts, "passed"),
        failed: count_before(counts, "failed"),
    })
}

/// Reads pytest's last line: `1 failed, 12 passed, 2 skipped in 3.45s`, with or without `=` around it.
fn pytest_tally(line: &str) -> Option<Tally> {
    let counts = line.trim().trim_matches('=').trim();
    let is_summary = counts.starts_with(|c: char| c.is_ascii_digit()) && counts.contains(" in ");
    is_summary.then(|| Tally {
        passed: count_before(counts, "passed"),
        failed: count_before(counts, "failed") + count_before(counts, "error") + count_before(counts, "errors"),
    })
}

/// The number in front of `word`, or 0.
fn count_before(text: &str, word: &str) -> u64 {
    let words: Vec<&str> = text.split_whitespace().collect();
    let position = words.iter().position(|w| w.trim_end_matches([';', ',', '.']) == word);
    position.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
}

/// Builds the bundle for users and the one with test hooks. Returns their folders.
fn build_bundles() -> Result<(PathBuf, PathBuf)> {
    let target = bundle::target_folder()?;
    // All packages at once, so that the Rust tests find everything built with the same features.
    // With the tests, as `cargo test` resolves them: their dependencies' features would else make it build most crates a second time.
    let options = ["build", "--workspace", "--lib", "--bins", "--tests", "--features", DEBUG_FEATURES];
    if !cargo().args(options).status().context("can't run cargo")?.success() {
        bail!("the debug build failed");
    }
    let bundled = bundle::wrap(&target, &[])?;
    let debug = target.join("debug").join("bundled");
    bundle::move_bundles(&bundled, &debug)?;
    let release = bundle::build(&["--release".to_owned()])?;
    Ok((release, debug))
}

/// Whether a folder has Python tests.
fn has_tests(folder: &Path) -> bool {
    let is_test = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with("test_") && name.ends_with(".py")
    };
    WalkDir::new(folder).into_iter().flatten().any(|e| is_test(e.file_name()))
}

fn venv_python(root: &Path) -> PathBuf {
    let venv = root.join(".venv");
    if cfg!(windows) {
        venv.join("Scripts").join("python.exe")
    } else {
        venv.join("bin").join("python")
    }
}

/// A Python of the system that is new enough.
fn base_python() -> Option<PathBuf> {
    ["python3", "python"]
        .into_iter()
        .map(PathBuf::from)
        .find(|python| is_new_enough(python))
}

/// Whether it is the Python that the packages in `tests/requirements.txt` ask for: 3.11 or later.
fn is_new_enough(python: &Path) -> bool {
    imports(python, "sys; assert sys.version_info >= (3, 11)")
}

fn imports(python: &Path, what: &str) -> bool {
    let code = format!("import {what}");
    let status = Command::new(python)
        .args(["-c", &code])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|s| s.success())
}

/// Makes `.venv` with what `tests/requirements.txt` names, if it isn't there yet. Returns its Python.
pub(crate) fn environment_for(root: &Path) -> Result<PathBuf> {
    let python = venv_python(root);
    let requirements = root.join("tests").join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).with_context(|| format!("can't read {}", requirements.display()))?;
    let stamp = root.join(".venv").join("dualstep-requirements.txt");
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
        return Ok(python);
    }
    if !is_new_enough(&python) {
        let base = base_python().context(
            "no Python 3.11 or later found as python3 or python: install one, e.g. `apt-get install python3 python3-venv` on Debian 12 or later",
        )?;
        let made = Command::new(base)
            .args(["-m", "venv", "--clear"])
            .arg(root.join(".venv"))
            .status()?;
        if !made.success() {
            let _ = fs::remove_dir_all(root.join(".venv"));
            bail!("can't make a virtual environment: on Debian, `apt-get install python3-venv`");
        }
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    if !Command::new(&python).args(install).arg(&requirements).status()?.success() {
        bail!("can't install {}", requirements.display());
    }
    fs::write(&stamp, wanted)?;
    Ok(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64) -> Option<Tally> {
        Some(Tally { passed, failed })
    }

    #[test]
    fn cargo_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s";
        assert_eq!(cargo_tally(line), tally(12, 3));
        assert_eq!(cargo_tally("test result: ok. 0 passed; 0 failed; 0 ignored;"), tally(0, 0));
        assert_eq!(cargo_tally("test passed::failed ... ok"), None);
    }

    #[test]
    fn pytest_lines_are_counted() {
        assert_eq!(pytest_tally("1 failed, 12 passed, 2 skipped in 3.45s"), tally(12, 1));
        assert_eq!(pytest_tally("===== 7 passed, 1 error in 0.10s ====="), tally(7, 1));
        assert_eq!(pytest_tally("no tests ran in 0.01s"), None);
        assert_eq!(pytest_tally("tests/test_vst3.py .... [100%]"), None);
    }

    #[test]
    fn a_program_that_dies_counts_as_a_failure() {
        let mut steps = Steps::default();
        let mut missing = Command::new("no-such-program-of-dualstep");
        steps.tests("nothing", &mut missing, cargo_tally);
        assert_eq!(steps.total, Tally { passed: 0, failed: 1 });
        assert!(steps.setup("nothing", || bail!("no") as Result<()>).is_none());
        assert_eq!(steps.total.failed, 2);
    }
}
