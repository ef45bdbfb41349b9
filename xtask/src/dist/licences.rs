//! The licence texts of everything that is linked into the plugin.
//!
//! Which packages those are cargo says; the texts are the files that the packages carry, or, where one carries none, the licence's own text from the SPDX list.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use spdx::Expression;

use crate::bundle::{PACKAGE, cargo};

/// Beginnings of the names of files that hold licences, in capitals.
const LICENCE_FILES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// A package that the plugin is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence as an SPDX expression.
    pub licence: String,
    /// Where it is developed; may be empty.
    pub repository: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// All packages but this workspace's own that are linked into the plugin for `triple`, in order of their names. What only builds it isn't among them.
///
/// # Errors
/// If cargo fails, or a package doesn't say under which licence it is.
pub fn dependencies(triple: &str) -> Result<Vec<Dependency>> {
    let tree = run(&[
        "tree",
        "--package",
        PACKAGE,
        "--edges",
        "normal,no-proc-macro",
        "--target",
        triple,
        "--prefix",
        "none",
        "--format",
        "{p}",
    ])?;
    let metadata: Value = serde_json::from_str(&run(&["metadata", "--format-version=1"])?).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let own = metadata["workspace_members"]
        .as_array()
        .context("cargo metadata names no members")?;
    let mut found = Vec::new();
    // `name v1.2.3`, for packages in folders with a path behind.
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next().and_then(|version| version.strip_prefix('v'))) else {
            continue;
        };
        let package = packages
            .iter()
            .find(|package| package["name"] == name && package["version"] == version)
            .with_context(|| format!("cargo metadata doesn't know {name} {version}"))?;
        if own.contains(&package["id"]) {
            continue;
        }
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let manifest = PathBuf::from(text("manifest_path"));
        let dependency = Dependency {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: text("license"),
            repository: text("repository"),
            folder: manifest.parent().map(Path::to_owned).unwrap_or_default(),
        };
        if dependency.licence.is_empty() {
            bail!("{name} {version} names no licence: its Cargo.toml was expected to have an SPDX expression");
        }
        found.push(dependency);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// One document with a list of the packages and every licence text once, each with the packages that carry it.
///
/// # Errors
/// If a package carries no text and its licence isn't in the SPDX list.
pub fn third_party_text(dependencies: &[Dependency]) -> Result<String> {
    let mut carriers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut list = String::new();
    for dependency in dependencies {
        let name = format!("{} {}", dependency.name, dependency.version);
        list += &format!("{name}: {} {}\n", dependency.licence, dependency.repository);
        for text in texts(dependency)? {
            carriers.entry(text).or_default().push(name.clone());
        }
    }
    let mut document = format!("Dualstep contains these packages, under these licences:\n\n{list}");
    let mut ordered: Vec<_> = carriers.into_iter().collect();
    ordered.sort_by(|(_, a), (_, b)| a.cmp(b));
    for (text, names) in ordered {
        document += &format!("\n{}\n{}:\n\n{text}\n", "=".repeat(100), names.join(", "));
    }
    Ok(document)
}

/// The licence texts of one package, without what differs in nothing but white space at the ends of lines.
fn texts(dependency: &Dependency) -> Result<Vec<String>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(&dependency.folder)
        .with_context(|| format!("can't read {}", dependency.folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && is_licence(path))
        .collect();
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let text = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
        texts.push(tidy(&String::from_utf8_lossy(&text)));
    }
    if texts.is_empty() {
        texts = standard_texts(dependency)?;
    }
    Ok(texts)
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    LICENCE_FILES.iter().any(|begin| name.starts_with(begin)) && !name.ends_with(".RS")
}

/// The SPDX list's texts of all licences in the package's expression.
fn standard_texts(dependency: &Dependency) -> Result<Vec<String>> {
    let Dependency {
        name, version, licence, ..
    } = dependency;
    let expression = Expression::parse_mode(licence, spdx::ParseMode::LAX)
        .with_context(|| format!("{name} {version}: {licence:?} is no SPDX expression"))?;
    let mut texts = Vec::new();
    for requirement in expression.requirements() {
        let id = requirement.req.license.id();
        let id = id.with_context(|| format!("{name} {version} carries no licence file, and {licence:?} isn't in the SPDX list"))?;
        texts.push(tidy(id.text()));
    }
    Ok(texts)
}

fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

fn run(arguments: &[&str]) -> Result<String> {
    let output = cargo().args(arguments).arg("--locked").output().context("can't run cargo")?;
    if !output.status.success() {
        bail!("cargo {} failed: {}", arguments[0], String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("cargo's output is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_of_the_plugin_has_its_licence_on_every_system() -> Result<()> {
        for triple in ["x86_64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"] {
            let found = dependencies(triple)?;
            let has = |name: &str| found.iter().any(|dependency| dependency.name == name);
            for name in ["nice-plug", "candle-core", "realfft", "egui", "epaint_default_fonts"] {
                assert!(has(name), "{triple}: no {name} among {} packages", found.len());
            }
            // A macro, a tool of the tests, our own.
            for name in ["serde_derive", "clack-host", "dualstep-engine"] {
                assert!(!has(name), "{triple}: {name} isn't linked in, or is ours");
            }
            let text = third_party_text(&found)?;
            for dependency in &found {
                assert!(
                    text.contains(&format!("\n{} {}: ", dependency.name, dependency.version)),
                    "{triple}: {dependency:?}"
                );
                assert!(!texts(dependency)?.is_empty(), "{triple}: {dependency:?}");
            }
            assert!(
                text.contains("Permission is hereby granted") && text.contains("Apache License") && text.contains("SIL OPEN FONT LICENSE")
            );
        }
        Ok(())
    }

    #[test]
    fn a_package_without_a_licence_file_gets_the_standard_texts() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut dependency = Dependency {
            name: "bare".to_owned(),
            version: "1.0.0".to_owned(),
            licence: "MIT OR Apache-2.0".to_owned(),
            repository: String::new(),
            folder: folder.path().to_owned(),
        };
        let found = texts(&dependency)?;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().any(|text| text.contains("Permission is hereby granted")));
        dependency.licence = "LicenseRef-secret".to_owned();
        assert!(texts(&dependency).is_err_and(|error| error.to_string().contains("bare 1.0.0")));
        fs::write(folder.path().join("LICENSE.txt"), "as you like \r\n")?;
        assert_eq!(texts(&dependency)?, ["as you like"]);
        Ok(())
    }

    #[test]
    fn equal_texts_are_given_once() -> Result<()> {
        let (a, b) = (tempfile::tempdir()?, tempfile::tempdir()?);
        fs::write(a.path().join("LICENSE"), "words\n")?;
        fs::write(b.path().join("license.md"), "words  \n\n")?;
        let dependency = |name: &str, folder: &Path| Dependency {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: "MIT".to_owned(),
            repository: "https://example.org".to_owned(),
            folder: folder.to_owned(),
        };
        let text = third_party_text(&[dependency("a", a.path()), dependency("b", b.path())])?;
        assert_eq!(text.matches("words").count(), 1, "{text}");
        assert!(text.contains("a 1.0.0, b 1.0.0:\n\nwords"), "{text}");
        Ok(())
    }
}
