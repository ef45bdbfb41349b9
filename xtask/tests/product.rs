//! What users get and do, with the built bundles: the release archive, and an interrupted rendering.

use std::error::Error;
use std::fs;
use std::io::{Cursor, Read};
use std::path::PathBuf;

type Outcome = Result<(), Box<dyn Error>>;

/// The folder of the bundles that users get.
fn bundles() -> PathBuf {
    let folder = std::env::var_os("DUALSTEP_BUNDLE").map_or_else(|| xtask::bundle::workspace_root().join("target/bundled"), PathBuf::from);
    assert!(
        folder.join(xtask::bundle::CLAP).exists(),
        "no bundle in {}: `cargo xtask test` builds the bundles and runs all tests",
        folder.display()
    );
    folder
}

#[test]
fn the_archive_holds_what_users_need_and_can_be_made_again() -> Outcome {
    let triple = xtask::dist::host_triple()?;
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let mut archives = Vec::new();
    for folder in &folders {
        archives.push(fs::read(xtask::dist::pack(&bundles(), &triple, folder.path())?)?);
    }
    assert!(archives[0] == archives[1], "the same bundles give other bytes");

    let mut zip = zip::ZipArchive::new(Cursor::new(&archives[0]))?;
    let root = format!("Dualstep-{}/", env!("CARGO_PKG_VERSION"));
    let names: Vec<String> = zip
        .file_names()
        .map(|name| name.map(std::borrow::Cow::into_owned))
        .collect::<Result<_, _>>()?;
    assert!(
        names.iter().all(|name| name.starts_with(&root) && !name.contains("..")),
        "{names:?}"
    );
    for wanted in [
        "INSTALL.txt",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "MANUAL.md",
        "THIRD-PARTY.txt",
        "WEIGHTS.md",
        "detector.md",
        "dropouts.md",
    ] {
        let mut text = String::new();
        zip.by_name(&format!("{root}{wanted}"))?.read_to_string(&mut text)?;
        assert!(text.len() > 500, "{wanted} is nearly empty");
    }
    for bundle in ["Dualstep.clap", "Dualstep.vst3"] {
        let files: Vec<&String> = names.iter().filter(|name| name.starts_with(&format!("{root}{bundle}"))).collect();
        assert!(!files.is_empty(), "no {bundle} among {names:?}");
        let mut largest = 0;
        for file in files {
            largest = largest.max(zip.by_name(file)?.size());
        }
        assert!(
            largest > 1_000_000,
            "{bundle} holds no plugin: its largest file has {largest} bytes"
        );
    }
    #[cfg(target_os = "linux")]
    {
        let mut packed = Vec::new();
        zip.by_name(&format!("{root}Dualstep.clap"))?.read_to_end(&mut packed)?;
        assert!(
            packed == fs::read(bundles().join("Dualstep.clap"))?,
            "the packed plugin isn't the built one"
        );
    }
    let sums = fs::read_to_string(xtask::dist::write_checksums(folders[0].path())?)?;
    assert!(
        sums.ends_with(".zip\n") && sums.lines().count() == 1 && sums.find("  ") == Some(64),
        "{sums}"
    );
    Ok(())
}

/// Exit status and files left in the output's folder after an interrupt in the middle of a rendering.
#[cfg(unix)]
fn interrupt(signal: &str) -> Result<(Option<i32>, Vec<String>), Box<dyn Error>> {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    use xtask::audio::{Encoding, Planar, Writer};

    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    fs::create_dir(&out)?;
    // Three minutes: no machine is done with it before the signal comes.
    let input = folder.path().join("long.wav");
    let mut writer = Writer::create(&input, 48_000, 2, Encoding::Float, None, false)?;
    let second: Planar = vec![(0..48_000u16).map(|n| (f32::from(n) * 0.05).sin() * 0.3).collect(); 2];
    for _ in 0..180 {
        writer.write(&second, 0, 48_000)?;
    }
    writer.finish()?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["render", "--bundle"])
        .arg(bundles().join(xtask::bundle::CLAP))
        .args([&input, &out.join("restored.wav")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let listed = || -> Vec<String> {
        let names = fs::read_dir(&out).into_iter().flatten();
        names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    };
    let begun = Instant::now();
    while listed().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no file was begun");
        assert!(child.try_wait()?.is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status()?.success());
    let status = child.wait()?;
    Ok((status.code(), listed()))
}

#[test]
#[cfg(unix)]
fn an_interrupted_rendering_leaves_nothing_behind() -> Outcome {
    for signal in ["-INT", "-TERM"] {
        let (status, left) = interrupt(signal)?;
        assert_eq!((status, left), (Some(130), Vec::new()), "{signal}");
    }
    Ok(())
}
