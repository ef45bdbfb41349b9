//! Where the built bundles are, and how they are loaded.

use clack_host::prelude::PluginEntry;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// CLAP id of Dualstep, the studio plugin.
pub const STUDIO: &str = "org.dualstep.studio";

/// CLAP id of Dualstep Live.
pub const LIVE: &str = "org.dualstep.live";

/// Both plugins.
pub const PLUGINS: [&str; 2] = [STUDIO, LIVE];

/// File name of the CLAP bundle.
const CLAP_FILE: &str = "Dualstep.clap";

/// A loaded CLAP bundle. It stays loaded until the process ends, as it does in most hosts.
#[derive(Clone)]
pub struct Bundle {
    /// The library's entry point.
    pub(crate) entry: PluginEntry,
}

impl From<PluginEntry> for Bundle {
    /// A bundle that was loaded in another way, or is linked.
    fn from(entry: PluginEntry) -> Self {
        Self { entry }
    }
}

impl Bundle {
    /// The bundle that users get: in `DUALSTEP_BUNDLE`, else in the workspace's `target/bundled`.
    ///
    /// # Panics
    /// If it isn't there or can't be loaded.
    #[must_use]
    pub fn release() -> Self {
        Self::open(&release_folder().join(CLAP_FILE))
    }

    /// The bundle built without optimisation of the shell, with the features `assert_process_allocs` (an allocation in `process` ends the process)
    /// and `fault-injection` (a slow or failing worker): in `DUALSTEP_DEBUG_BUNDLE`.
    ///
    /// # Panics
    /// If it isn't there or can't be loaded.
    #[must_use]
    pub fn debug() -> Self {
        Self::open(&debug_folder().join(CLAP_FILE))
    }

    /// Loads the bundle at `path`.
    ///
    /// # Panics
    /// If it isn't there or can't be loaded.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        static LOADED: OnceLock<Mutex<HashMap<PathBuf, PluginEntry>>> = OnceLock::new();
        let path = path.canonicalize().unwrap_or_else(|error| {
            panic!(
                "no bundle at {}: {error}. `cargo xtask test` builds the bundles and runs all tests",
                path.display()
            )
        });
        let mut loaded = LOADED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        let entry = loaded.entry(path).or_insert_with_key(|path| {
            #[expect(unsafe_code, reason = "a plugin is a foreign library")]
            // SAFETY: the file is the bundle this workspace built; its entry point is the framework's, written to the CLAP standard.
            unsafe { PluginEntry::load(path) }.unwrap_or_else(|error| panic!("{} doesn't load: {error}", path.display()))
        });
        Self { entry: entry.clone() }
    }

    /// Ids and names of the plugins in the bundle.
    ///
    /// # Panics
    /// If the bundle has no plugin factory.
    #[must_use]
    pub fn plugins(&self) -> Vec<(String, String)> {
        let factory = self.entry.get_plugin_factory().expect("a plugin factory");
        let text = |text: Option<&std::ffi::CStr>| text.unwrap_or_default().to_string_lossy().into_owned();
        factory
            .plugin_descriptors()
            .map(|found| (text(found.id()), text(found.name())))
            .collect()
    }
}

/// The folder of the bundles that users get.
pub(crate) fn release_folder() -> PathBuf {
    std::env::var_os("DUALSTEP_BUNDLE").map_or_else(|| workspace().join("target/bundled"), PathBuf::from)
}

/// The folder of the bundles with test hooks.
pub(crate) fn debug_folder() -> PathBuf {
    let folder = std::env::var_os("DUALSTEP_DEBUG_BUNDLE");
    PathBuf::from(folder.expect("DUALSTEP_DEBUG_BUNDLE names no folder: run the tests with `cargo xtask test`"))
}

/// Frames of one hop, the networks' step in time: 20 ms in the studio plugin, 20/3 ms in the live one.
///
/// # Panics
/// If there is no plugin called `id`.
#[must_use]
pub fn hop(id: &str, rate_hz: f64) -> usize {
    let units = match id {
        STUDIO => 6.0,
        LIVE => 2.0,
        _ => panic!("no plugin {id}"),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of frames")]
    let hop = (rate_hz * units / 300.0).round() as usize;
    hop
}

/// The workspace's root folder.
///
/// # Panics
/// Never: this package lies in the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the workspace")
        .to_path_buf()
}
