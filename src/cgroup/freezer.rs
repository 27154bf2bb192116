//! Stopping all processes of a cgroup where they are, and letting them go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Tree;
use super::stats::value_of;
use super::tree::{PAUSE, write};
use crate::error::{Error, Result};
use crate::sys;

/// How long the kernel may take to stop every process.
const FREEZING: Duration = Duration::from_secs(2);
/// What freezer.state takes and says.
const V1_FROZEN: &str = "FROZEN";

impl Tree<'_> {
    /// Stops every process until [`thaw`](Self::thaw).
    ///
    /// # Errors
    /// When there is no freezer, or a process won't stop within two seconds; then all of
    /// them run again.
    pub(crate) fn freeze(&self) -> Result<()> {
        let (file, word) = self.freezer("freeze the container")?;
        let dir = file.parent().unwrap_or(&file);
        let failed = |error| Error::io(format!("freeze cgroup {}", dir.display()), &error);
        let deadline = Instant::now() + FREEZING;
        let mut rounds = 0u32;
        while Instant::now() < deadline {
            if rounds == 0 || word == V1_FROZEN {
                // A process that forks at the wrong moment escapes v1's freezer, which then
                // stays FREEZING until it is asked again (freezer-subsystem.rst).
                write(&file, word).map_err(failed)?;
            }
            if is_stopped(dir) {
                return Ok(());
            }
            rounds += 1;
            if rounds.is_multiple_of(50) && word == V1_FROZEN {
                self.ask_to_thaw();
            }
            std::thread::sleep(PAUSE / 2);
        }
        self.ask_to_thaw();
        let reason = "a process in it can't be stopped now";
        Err(Error::said(format!("freeze cgroup {}", dir.display()), reason))
    }

    /// Lets every process run again.
    ///
    /// # Errors
    /// When there is no freezer, or the kernel refuses.
    pub(crate) fn thaw(&self) -> Result<()> {
        let (file, word) = self.freezer("thaw the container")?;
        let dir = file.parent().unwrap_or(&file);
        let step = || format!("thaw cgroup {}", dir.display());
        let word = if word == V1_FROZEN { "THAWED" } else { "0" };
        write(&file, word).map_err(|error| Error::io(step(), &error))?;
        let deadline = Instant::now() + FREEZING;
        while is_stopped(dir) {
            if Instant::now() > deadline {
                return Err(Error::said(step(), "a cgroup above it is frozen"));
            }
            std::thread::sleep(PAUSE / 2);
        }
        Ok(())
    }

    /// Thawing where there may be nothing to thaw.
    pub(super) fn ask_to_thaw(&self) {
        if let Ok((file, word)) = self.freezer("") {
            let _ = write(&file, if word == V1_FROZEN { "THAWED" } else { "0" });
        }
    }

    /// The freezer's file, and the word to stop processes with.
    fn freezer(&self, step: &str) -> Result<(PathBuf, &'static str)> {
        if let Some(dir) = self.v1("freezer") {
            return Ok((dir.join("freezer.state"), V1_FROZEN));
        }
        match self.v2() {
            Some(dir) => Ok((dir.join("cgroup.freeze"), "1")),
            None => Err(Error::said(step, "it has no cgroup with a freezer")
                .hint("for ordinary users that takes cgroup v2 and delegation")),
        }
    }

    /// Whether its processes are stopped by the freezer, or are about to be.
    pub(crate) fn is_frozen(&self) -> bool {
        let Ok((file, word)) = self.freezer("") else {
            return false;
        };
        let mut buffer = [0; 16];
        let state = sys::file::read_start(&file, &mut buffer).unwrap_or_default();
        matches!((word, state.trim_ascii()), (V1_FROZEN, b"FROZEN" | b"FREEZING") | ("1", b"1"))
    }
}

/// Whether all processes in a cgroup have been stopped.
fn is_stopped(dir: &Path) -> bool {
    let read = |file: &str| fs::read_to_string(dir.join(file));
    match read("freezer.state") {
        Ok(state) => state.trim() == V1_FROZEN,
        Err(_) => read("cgroup.events").is_ok_and(|text| value_of(&text, "frozen") == Some(1)),
    }
}
