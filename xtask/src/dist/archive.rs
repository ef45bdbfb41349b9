//! Zip files that are the same whenever they are made of the same files.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use anyhow::{Context, Result};
use walkdir::WalkDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// A file in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path, with `/` between folders.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Whether it may be run.
    pub executable: bool,
}

impl Entry {
    /// The file at `path`, to be called `name`.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn file(path: &Path, name: &str) -> Result<Self> {
        let failed = || format!("can't read {}", path.display());
        Ok(Self {
            name: name.to_owned(),
            content: fs::read(path).with_context(failed)?,
            executable: is_executable(&fs::metadata(path).with_context(failed)?),
        })
    }

    /// The file at `path`, or all files in the folder there, below `name`.
    ///
    /// # Errors
    /// If one can't be read.
    pub fn tree(path: &Path, name: &str) -> Result<Vec<Self>> {
        let mut entries = Vec::new();
        for found in WalkDir::new(path).sort_by_file_name() {
            let found = found.with_context(|| format!("can't read {}", path.display()))?;
            if found.file_type().is_dir() {
                continue;
            }
            let mut inside = name.to_owned();
            for part in found.path().strip_prefix(path)?.components() {
                inside.push('/');
                inside.push_str(&part.as_os_str().to_string_lossy());
            }
            entries.push(Self::file(found.path(), &inside)?);
        }
        Ok(entries)
    }
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_metadata: &fs::Metadata) -> bool {
    false
}

/// The bytes of a zip file. Order and times of the files make no difference: entries are sorted by name and dated 1 January 1980, the format's first day.
///
/// # Errors
/// If two entries have one name.
pub fn write_zip(mut entries: Vec<Entry>) -> Result<Vec<u8>> {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for entry in &entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(9))
            .last_modified_time(DateTime::default())
            .unix_permissions(if entry.executable { 0o755 } else { 0o644 });
        zip.start_file(&entry.name, options)
            .with_context(|| format!("can't pack {}", entry.name))?;
        zip.write_all(&entry.content)?;
    }
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn entry(name: &str, content: &str, executable: bool) -> Entry {
        Entry {
            name: name.to_owned(),
            content: content.as_bytes().to_vec(),
            executable,
        }
    }

    #[test]
    fn the_same_files_give_the_same_bytes_in_any_order() -> Result<()> {
        let entries = [
            entry("d/b.so", "machine code", true),
            entry("d/a.txt", "words", false),
            entry("z", "", false),
        ];
        let first = write_zip(entries.to_vec())?;
        let mut turned = entries.to_vec();
        turned.reverse();
        assert_eq!(write_zip(turned)?, first);
        let mut archive = zip::ZipArchive::new(Cursor::new(first))?;
        let names: Vec<_> = archive.file_names().map(Result::unwrap).collect();
        assert_eq!(names, ["d/a.txt", "d/b.so", "z"]);
        for expected in &entries {
            let mut found = archive.by_name(&expected.name)?;
            // Elsewhere a zip file says nothing about that.
            assert_eq!(
                found.unix_mode().is_some_and(|mode| mode & 0o111 != 0),
                expected.executable && cfg!(unix),
                "{}",
                expected.name
            );
            let mut content = Vec::new();
            found.read_to_end(&mut content)?;
            assert_eq!(content, expected.content);
        }
        Ok(())
    }

    #[test]
    fn folders_are_taken_whole_whatever_their_files_times() -> Result<()> {
        let mut zips = Vec::new();
        for round in 0..2 {
            let folder = tempfile::tempdir()?;
            let bundle = folder.path().join("it.vst3");
            fs::create_dir_all(bundle.join("Contents/linux"))?;
            fs::write(bundle.join("Contents/linux/it.so"), "code")?;
            fs::write(bundle.join("Contents/moduleinfo.json"), "{}")?;
            let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000 + round * 86_400);
            fs::File::options()
                .write(true)
                .open(bundle.join("Contents/moduleinfo.json"))?
                .set_modified(time)?;
            let entries = Entry::tree(&bundle, "Dualstep/it.vst3")?;
            let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
            assert_eq!(
                names,
                ["Dualstep/it.vst3/Contents/linux/it.so", "Dualstep/it.vst3/Contents/moduleinfo.json"]
            );
            zips.push(write_zip(entries)?);
        }
        assert_eq!(zips[0], zips[1]);
        Ok(())
    }

    #[test]
    fn a_single_file_is_a_tree_and_a_missing_one_is_an_error() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("it.clap"), "code")?;
        assert_eq!(
            Entry::tree(&folder.path().join("it.clap"), "d/it.clap")?,
            [entry("d/it.clap", "code", false)]
        );
        assert!(Entry::tree(&folder.path().join("none.clap"), "d").is_err_and(|error| error.to_string().contains("none.clap")));
        assert!(write_zip(vec![entry("a", "1", false), entry("a", "2", false)]).is_err());
        Ok(())
    }
}
