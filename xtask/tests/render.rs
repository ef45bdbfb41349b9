//! `render` when the world breaks: a damaged recording, a full disk, a killed process. Never half a file under the final name.

#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use xtask::audio::{Encoding, Planar, Writer};

/// The bundle that users get: in `DUALSTEP_BUNDLE`, else in the workspace's `target/bundled`.
fn bundle() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the workspace");
    let folder = std::env::var_os("DUALSTEP_BUNDLE").map_or_else(|| root.join("target/bundled"), PathBuf::from);
    let path = folder.join("Dualstep.clap");
    assert!(
        path.exists(),
        "no bundle at {}: `cargo xtask test` builds the bundles and runs all tests",
        path.display()
    );
    path
}

/// A recording of noise, `seconds` long.
fn record(path: &Path, seconds: usize) {
    let mut state = 1u32;
    let noise = (0..48_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap_or(0)) / 65_536.0 - 0.5
    });
    let second: Planar = vec![noise.collect()];
    let mut writer = Writer::create(path, 48_000, 1, Encoding::Float, None, false).expect("a new file");
    for _ in 0..seconds {
        writer.write(&second, 0, 48_000).expect("room for it");
    }
    writer.finish().expect("room for it");
}

/// `xtask render input output`, not yet started.
fn render(input: &Path, output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("render").args([input, output]).arg("--bundle").arg(bundle());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_damaged_recording_is_named_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (folder.path().join("damaged.wav"), folder.path().join("out.wav"));
    record(&input, 2);
    let whole = std::fs::read(&input).expect("it was just written");
    std::fs::write(&input, &whole[..whole.len() / 2]).expect("room for it");
    let result = render(&input, &output).output().expect("xtask runs");
    assert!(!result.status.success());
    assert!(
        said(&result).contains("damaged.wav") && said(&result).contains("cut short"),
        "{}",
        said(&result)
    );
    assert_eq!(names(folder.path()), ["damaged.wav"]);
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (folder.path().join("in.wav"), folder.path().join("out.wav"));
    record(&input, 4);
    // A limit on file sizes fails the same write calls as a disk without room, and needs no disk of its own.
    let command = render(&input, &output);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\""]);
    limited.arg(command.get_program()).args(command.get_args());
    let result = limited.output().expect("a shell");
    assert!(!result.status.success(), "{}", said(&result));
    assert!(
        said(&result).contains("can't write") && said(&result).contains("out.wav"),
        "{}",
        said(&result)
    );
    assert_eq!(names(folder.path()), ["in.wav"]);
}

#[test]
fn a_killed_render_leaves_no_half_file_under_the_final_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (folder.path().join("in.wav"), folder.path().join("out.wav"));
    record(&input, 120);
    let mut child = render(&input, &output)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("xtask runs");
    // Until it writes: something beside the recording that has grown.
    let begin = Instant::now();
    let grown = |folder: &Path| {
        let entries = std::fs::read_dir(folder).expect("the folder").flatten();
        let mut others = entries.filter(|entry| entry.path() != input);
        others.any(|entry| entry.metadata().is_ok_and(|data| data.len() > 100_000))
    };
    while !grown(folder.path()) {
        assert!(begin.elapsed() < Duration::from_secs(120), "nothing is written");
        assert_eq!(child.try_wait().expect("its status"), None, "it ended too early");
        std::thread::sleep(Duration::from_millis(1));
    }
    // SIGKILL: no destructor runs.
    child.kill().expect("it lives");
    assert!(!child.wait().expect("its status").success());
    assert!(!output.exists(), "half a file: {:?}", names(folder.path()));
    // And what is left doesn't stand in the way of another try.
    let short = folder.path().join("short.wav");
    record(&short, 1);
    assert!(render(&short, &output).status().expect("xtask runs").success());
    assert!(output.exists());
}
