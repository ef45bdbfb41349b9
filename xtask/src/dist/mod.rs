//! `cargo xtask dist`: what is given to users: a zip file per system, and checksums.
//!
//! ```text
//! target/dist/Dualstep-0.1.0-linux-x86_64.zip
//!   Dualstep-0.1.0/Dualstep.clap, Dualstep.vst3, INSTALL.txt, MANUAL.md with ardour.png, WEIGHTS.md, detector.md, dropouts.md, LICENSE-APACHE, LICENSE-MIT, THIRD-PARTY.txt
//! target/dist/SHA256SUMS
//! ```

mod archive;
mod licences;

pub use archive::{Entry, write_zip};
pub use licences::{Dependency, dependencies, third_party_text};

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::bundle::{self, CLAP, VST3, workspace_root};

/// How to install, for all systems.
const INSTALL: &str = include_str!("INSTALL.txt");

/// Builds the plugin and packs it with its manual, licences and install notes into target/dist
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Build for another system, e.g. aarch64-apple-darwin; its toolchain must be installed
    #[arg(long, value_name = "TRIPLE")]
    pub target: Option<String>,
    /// Pack the bundles in DUALSTEP_BUNDLE or target/bundled as they are
    #[arg(long)]
    pub no_build: bool,
}

/// Runs the command.
///
/// # Errors
/// If the build fails, a licence's text is missing, or a file can't be written.
pub fn run(args: &Args) -> Result<()> {
    let triple = match &args.target {
        Some(triple) => triple.clone(),
        None => host_triple()?,
    };
    let bundles = if args.no_build {
        let clap = bundle::find_or_build()?;
        clap.parent().context("the bundle has no folder")?.to_owned()
    } else {
        let mut options = vec!["--release".to_owned()];
        if let Some(target) = &args.target {
            options.extend(["--target".to_owned(), target.clone()]);
        }
        bundle::build(&options)?
    };
    let folder = bundle::target_folder()?.join("dist");
    let zip = pack(&bundles, &triple, &folder)?;
    println!("{}", zip.display());
    println!("{}", write_checksums(&folder)?.display());
    Ok(())
}

/// Packs the bundles in `bundles`, built for `triple`, into a zip file in `folder`. The same bundles give the same bytes.
///
/// # Errors
/// If something that belongs in it is missing, or it can't be written.
pub fn pack(bundles: &Path, triple: &str, folder: &Path) -> Result<PathBuf> {
    let version = env!("CARGO_PKG_VERSION");
    let root = format!("Dualstep-{version}");
    let mut entries = Vec::new();
    for name in [CLAP, VST3] {
        entries.extend(Entry::tree(&bundles.join(name), &format!("{root}/{name}"))?);
    }
    let workspace = workspace_root();
    for (name, path) in [
        ("LICENSE-APACHE", "LICENSE-APACHE"),
        ("LICENSE-MIT", "LICENSE-MIT"),
        ("MANUAL.md", "docs/manual.md"),
        ("ardour.png", "docs/ardour.png"),
        ("WEIGHTS.md", "assets/weights/README.md"),
        ("detector.md", "assets/weights/detector.md"),
        ("dropouts.md", "assets/weights/dropouts.md"),
    ] {
        entries.push(Entry::file(&workspace.join(path), &format!("{root}/{name}"))?);
    }
    let third_party = third_party_text(&dependencies(triple)?)?;
    for (name, text) in [("INSTALL.txt", INSTALL), ("THIRD-PARTY.txt", &third_party)] {
        entries.push(Entry {
            name: format!("{root}/{name}"),
            content: text.as_bytes().to_vec(),
            executable: false,
        });
    }
    fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    let path = folder.join(format!("{root}-{}.zip", system_name(triple)?));
    fs::write(&path, write_zip(entries)?).with_context(|| format!("can't write {}", path.display()))?;
    Ok(path)
}

/// Writes `SHA256SUMS` for all zip files in `folder`, as `sha256sum --check` reads it. Returns its path.
///
/// # Errors
/// If a file can't be read or written.
pub fn write_checksums(folder: &Path) -> Result<PathBuf> {
    let mut names: Vec<String> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".zip"))
        .collect();
    names.sort();
    let mut sums = String::new();
    for name in names {
        let content = fs::read(folder.join(&name)).with_context(|| format!("can't read {name}"))?;
        for byte in Sha256::digest(&content) {
            write!(sums, "{byte:02x}")?;
        }
        writeln!(sums, "  {name}")?;
    }
    let path = folder.join("SHA256SUMS");
    fs::write(&path, sums).with_context(|| format!("can't write {}", path.display()))?;
    Ok(path)
}

/// The triple that `rustc` builds for here.
///
/// # Errors
/// If `rustc` doesn't say.
pub fn host_triple() -> Result<String> {
    let output = std::process::Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("-vV")
        .output()
        .context("can't run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// `linux-x86_64` for `x86_64-unknown-linux-gnu`.
fn system_name(triple: &str) -> Result<String> {
    let processor = triple.split('-').next().unwrap_or_default();
    let system = [("linux", "linux"), ("darwin", "macos"), ("windows", "windows")]
        .into_iter()
        .find_map(|(part, name)| triple.contains(part).then_some(name));
    match system {
        Some(system) => Ok(format!("{system}-{processor}")),
        None => bail!("{triple:?} is no system that Dualstep is built for: expected one with linux, darwin or windows in its name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_named_as_users_call_them() -> Result<()> {
        assert_eq!(system_name("x86_64-unknown-linux-gnu")?, "linux-x86_64");
        assert_eq!(system_name("aarch64-apple-darwin")?, "macos-aarch64");
        assert_eq!(system_name("x86_64-pc-windows-msvc")?, "windows-x86_64");
        assert!(system_name("x86_64-unknown-freebsd").is_err());
        assert!(system_name(&host_triple()?).is_ok());
        Ok(())
    }

    #[test]
    fn checksums_are_sha_256_in_the_usual_form() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("b.zip"), "abc")?;
        fs::write(folder.path().join("a.zip"), "")?;
        fs::write(folder.path().join("not.txt"), "")?;
        let sums = fs::read_to_string(write_checksums(folder.path())?)?;
        // The digests of "" and "abc" (FIPS 180-2, appendix B.1).
        assert_eq!(
            sums,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a.zip\n\
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b.zip\n"
        );
        Ok(())
    }
}
