//! Which recordings become which files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use walkdir::WalkDir;

use super::same_file;
use crate::audio::READABLE;

/// What the recordings of a folder become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// WAV files.
    Wav,
    /// FLAC files.
    Flac,
}

/// One recording and its results.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Short name for messages.
    pub name: String,
    /// The recording.
    pub input: PathBuf,
    /// The restored recording.
    pub output: PathBuf,
    /// What was removed.
    pub removed: Option<PathBuf>,
    /// The picture.
    pub spectrogram: Option<PathBuf>,
    /// Whether it belongs to a tree, whose folders are made as needed.
    pub in_tree: bool,
}

/// Lists what is to be rendered. A folder's recordings are found by their endings; hidden files and whatever lies in `output` are left out.
///
/// # Errors
/// If `input` doesn't exist or holds no recordings, or two results would have the same name.
pub fn plan(input: &Path, output: &Path, removed: Option<&Path>, spectrogram: Option<&Path>, to: Option<Format>) -> Result<Vec<Item>> {
    if !input.exists() {
        bail!("{} does not exist", input.display());
    }
    let items = if input.is_dir() {
        tree(input, output, removed, spectrogram, to)?
    } else {
        vec![single(input, output, removed, spectrogram)?]
    };
    // What is there and is read by this run, so that no result replaces it before or after.
    let inputs: BTreeMap<PathBuf, &str> = items
        .iter()
        .filter_map(|item| Some((item.input.canonicalize().ok()?, item.name.as_str())))
        .collect();
    let mut taken: BTreeMap<&Path, &str> = BTreeMap::new();
    for item in &items {
        for target in [Some(&item.output), item.removed.as_ref(), item.spectrogram.as_ref()]
            .into_iter()
            .flatten()
        {
            if same_file(target, &item.input) {
                bail!("{} would replace the recording itself", target.display());
            }
            if let Some(other) = target.canonicalize().ok().and_then(|path| inputs.get(&path)) {
                bail!("{}, made of {}, would replace the recording {other}", target.display(), item.name);
            }
            if let Some(other) = taken.insert(target, &item.name) {
                bail!("{} and {other} would both be written to {}", item.name, target.display());
            }
        }
    }
    Ok(items)
}

fn single(input: &Path, output: &Path, removed: Option<&Path>, spectrogram: Option<&Path>) -> Result<Item> {
    let Some(name) = input.file_name() else {
        bail!("{} is not a file", input.display());
    };
    let output = if output.is_dir() {
        output.join(name).with_extension(format_of(input, None))
    } else {
        output.to_owned()
    };
    Ok(Item {
        name: name.to_string_lossy().into_owned(),
        input: input.to_owned(),
        output,
        removed: removed.map(Path::to_owned),
        spectrogram: spectrogram.map(Path::to_owned),
        in_tree: false,
    })
}

fn tree(input: &Path, output: &Path, removed: Option<&Path>, spectrogram: Option<&Path>, to: Option<Format>) -> Result<Vec<Item>> {
    for folder in [Some(output), removed, spectrogram].into_iter().flatten() {
        if folder.is_file() {
            bail!("{} is a file, but {} is a folder", folder.display(), input.display());
        }
    }
    let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
    let results = [Some(output), removed, spectrogram];
    let is_result = |path: &Path| results.iter().flatten().any(|folder| same_file(folder, path));
    let files = WalkDir::new(input)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|e| e.depth() == 0 || !(hidden(e.file_name()) || (e.file_type().is_dir() && is_result(e.path()))));
    let mut recordings = Vec::new();
    for file in files {
        let file = file?;
        let relative = file.path().strip_prefix(input)?;
        if file.path().is_file() && is_recording(relative) {
            recordings.push(relative.to_owned());
        }
    }
    let mut stems: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for recording in &recordings {
        *stems.entry(recording.with_extension("")).or_default() += 1;
    }
    let items: Vec<Item> = recordings
        .iter()
        .map(|recording| {
            let ending = format_of(recording, to);
            // "side.mp3" next to "side.wav" becomes "side.mp3.wav".
            let shared = stems.get(&recording.with_extension("")).is_some_and(|count| *count > 1);
            let kept_before = |ending: &str| {
                if shared && ending_of(recording) != ending {
                    format!("{}.{ending}", ending_of(recording))
                } else {
                    ending.to_owned()
                }
            };
            Item {
                name: recording.display().to_string(),
                input: input.join(recording),
                output: output.join(recording).with_extension(kept_before(ending)),
                removed: removed.map(|folder| folder.join(recording).with_extension(kept_before(ending))),
                spectrogram: spectrogram.map(|folder| folder.join(recording).with_extension(kept_before("png"))),
                in_tree: true,
            }
        })
        .collect();
    if items.is_empty() {
        bail!("{} holds no recordings ({})", input.display(), READABLE.join(", "));
    }
    Ok(items)
}

fn ending_of(path: &Path) -> String {
    path.extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default()
}

fn is_recording(path: &Path) -> bool {
    READABLE.contains(&ending_of(path).as_str())
}

fn format_of(path: &Path, to: Option<Format>) -> &'static str {
    match to {
        Some(Format::Flac) => "flac",
        None if ending_of(path) == "flac" => "flac",
        Some(Format::Wav) | None => "wav",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    #[test]
    fn a_tree_is_repeated_without_hidden_files_and_results() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        fs::create_dir_all(root.join("side a"))?;
        fs::create_dir_all(root.join("restored"))?;
        for name in ["b.MP3", "side a/a.flac", "cover.jpg", "._b.wav", "restored/old.wav"] {
            fs::write(root.join(name), "x")?;
        }
        let out = root.join("restored");
        let items = plan(root, &out, Some(&root.join("gone")), None, None)?;
        let found: Vec<_> = items.iter().map(|i| (Path::new(&i.name), i.output.clone())).collect();
        assert_eq!(
            found,
            [
                (Path::new("b.MP3"), out.join("b.wav")),
                (Path::new("side a/a.flac"), out.join("side a/a.flac"))
            ]
        );
        assert_eq!(items[0].removed, Some(root.join("gone").join("b.wav")));
        assert!(items.iter().all(|i| i.in_tree));
        let items = plan(root, &out, None, None, Some(Format::Flac))?;
        assert_eq!(items[0].output, out.join("b.flac"));
        Ok(())
    }

    #[test]
    fn mistakes_are_found_before_any_work() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        let says = |result: Result<Vec<Item>>, part: &str| result.is_err_and(|e| e.to_string().contains(part));
        assert!(says(
            plan(&root.join("none.wav"), Path::new("out.wav"), None, None, None),
            "does not exist"
        ));
        assert!(says(plan(root, &root.join("out"), None, None, None), "holds no recordings"));
        let one = root.join("one.wav");
        fs::write(&one, "x")?;
        assert!(says(plan(&one, &one, None, None, None), "replace the recording itself"));
        assert!(says(plan(root, &one, None, None, None), "is a file"));
        let out = root.join("out.wav");
        assert!(says(plan(&one, &out, Some(&out), None, None), "both be written"));
        fs::write(root.join("one.aiff"), "x")?;
        let names: Vec<_> = plan(root, &root.join("out"), None, None, None)?
            .into_iter()
            .map(|i| i.output)
            .collect();
        assert_eq!(names, [root.join("out/one.aiff.wav"), root.join("out/one.wav")]);
        fs::write(root.join("one.flac"), "x")?;
        let pictures: BTreeSet<_> = plan(root, &root.join("out"), None, Some(&root.join("pictures")), None)?
            .into_iter()
            .filter_map(|i| i.spectrogram)
            .collect();
        assert_eq!(pictures.len(), 3, "{pictures:?}");
        // A result that would lie where another recording of the run is.
        fs::create_dir_all(root.join("side/side"))?;
        fs::write(root.join("side/x.wav"), "x")?;
        fs::write(root.join("side/side/x.wav"), "x")?;
        assert!(says(
            plan(&root.join("side"), root, None, None, None),
            "would replace the recording x.wav"
        ));
        let to_folder = tempfile::tempdir()?;
        let items = plan(&root.join("one.aiff"), to_folder.path(), None, None, None)?;
        assert_eq!(items[0].output, to_folder.path().join("one.wav"));
        Ok(())
    }
}
