//! Word of processes killed because the memory limit was reached.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::Tree;
use super::stats::value_of;
use crate::error::{Error, Result};

/// A watch over a cgroup's memory. Its descriptor polls readable when something may have
/// happened; [`look`](Self::look) tells what.
#[derive(Debug)]
pub(crate) struct OutOfMemory {
    source: Source,
    /// Where kills are counted.
    file: PathBuf,
    kills: u64,
}

#[derive(Debug)]
enum Source {
    /// v1 writes to an eventfd that was registered (cgroup-v1/memory.rst, "OOM Control").
    /// The registration lasts as long as memory.oom_control is open.
    Event(File, #[allow(dead_code)] File),
    /// v2 touches memory.events.
    Watch(Inotify),
}

/// What a watch has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Nothing,
    /// The limit was reached, or a process was killed for it.
    OutOfMemory,
    /// The cgroup is gone, and nothing more will come.
    End,
}

impl OutOfMemory {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the container has no cgroup with the memory controller.
    pub(crate) fn watch(tree: &Tree) -> Result<Self> {
        let step = "watch the container's memory limit";
        let failed = |error: io::Error| Error::io(step, &error);
        if let Some(dir) = tree.v1("memory") {
            let file = dir.join("memory.oom_control");
            let control = File::open(&file).map_err(failed)?;
            let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
            let event = event.map_err(|errno| Error::system(step, errno))?;
            let event = File::from(OwnedFd::from(event));
            let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
            let mut register = OpenOptions::new();
            let register = register.write(true).open(dir.join("cgroup.event_control"));
            register.and_then(|mut file| file.write_all(line.as_bytes())).map_err(failed)?;
            let kills = 0;
            return Ok(OutOfMemory { source: Source::Event(event, control), file, kills });
        }
        let Some(dir) = tree.v2().filter(|dir| dir.join("memory.events").exists()) else {
            return Err(Error::said(step, "it has no cgroup with the memory controller"));
        };
        let file = dir.join("memory.events");
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .and_then(|watch| {
                watch.add_watch(&file, AddWatchFlags::IN_MODIFY)?;
                // The file itself goes without a word; with the container, this one changes.
                watch.add_watch(&dir.join("cgroup.events"), AddWatchFlags::IN_MODIFY)?;
                Ok(watch)
            })
            .map_err(|errno| Error::system(step, errno))?;
        let mut seen = OutOfMemory { source: Source::Watch(watch), file, kills: 0 };
        seen.kills = seen.count().unwrap_or(0);
        Ok(seen)
    }

    fn count(&self) -> Option<u64> {
        value_of(&fs::read_to_string(&self.file).ok()?, "oom_kill")
    }

    /// What has happened since the last look; doesn't wait.
    pub(crate) fn look(&mut self) -> Seen {
        match &mut self.source {
            Source::Event(event, _) => {
                let mut bytes = [0; 8];
                let came = matches!(event.read(&mut bytes), Ok(8));
                // The kernel's last word is that the cgroup has been removed.
                match (self.file.exists(), came) {
                    (false, _) => Seen::End,
                    (true, true) => Seen::OutOfMemory,
                    (true, false) => Seen::Nothing,
                }
            }
            Source::Watch(watch) => {
                // Which of the two files it was doesn't matter: both are read.
                let _ = watch.read_events();
                let Some(kills) = self.count() else {
                    return Seen::End;
                };
                let more = kills > self.kills;
                self.kills = kills;
                let populated = self.file.with_file_name("cgroup.events");
                let text = fs::read_to_string(populated).unwrap_or_default();
                match (more, value_of(&text, "populated")) {
                    (true, _) => Seen::OutOfMemory,
                    (false, Some(1)) => Seen::Nothing,
                    (false, _) => Seen::End,
                }
            }
        }
    }
}

impl AsFd for OutOfMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.source {
            Source::Event(event, _) => event.as_fd(),
            Source::Watch(watch) => watch.as_fd(),
        }
    }
}
