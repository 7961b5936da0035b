//! The clock that a program sees, which a test moves while the program runs (libfaketime). What is measured, not told, goes on as it is.

use anyhow::{Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
/// A day, in seconds.
pub const DAY: i64 = 24 * 60 * 60;

/// See the module.
#[derive(Clone, Debug)]
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// A clock that is right so far; `file` says how far it is off, and is made.
    ///
    /// # Errors
    /// libfaketime is not installed.
    pub fn new(file: PathBuf) -> Result<Self> {
        let folders = ["/usr/lib", &format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH), "/usr/local/lib"];
        let library = folders.iter().map(|folder| Path::new(folder).join(LIBRARY)).find(|path| path.exists());
        ensure!(library.is_some(), "libfaketime is not installed (on Debian and Ubuntu: apt install faketime)");
        let clock = Self { library: library.unwrap_or_default(), file };
        clock.set(0)?;
        Ok(clock)
    }

    /// Puts it so many seconds before or behind the true time. Programs see it within about a second.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&self, seconds: i64) -> Result<()> {
        // In one step: a program may read it at any moment.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n"))?;
        Ok(fs::rename(new, &self.file)?)
    }

    /// What a program needs in its environment to see it.
    pub fn variables(&self) -> [(&'static str, String); 5] {
        let path = |path: &Path| path.display().to_string();
        [
            ("LD_PRELOAD", path(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", path(&self.file)),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}
