//! `--pid-file`.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file for a pid, written whole or not at all: a reader never sees half a number. Dropping it
/// before removes what there is of it.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl PidFile {
    /// Makes the file under another name beside `path`, to know beforehand that it can be made.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}", std::process::id()));
        // One that is there is of a process long dead, or leads where this mustn't write.
        let _ = fs::remove_file(&temporary);
        let file = File::create_new(&temporary)?;
        Ok(PidFile { path: path.to_owned(), temporary: temporary.into(), file })
    }

    /// Where the pid will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the pid, and gives the file its name.
    ///
    /// # Errors
    /// Those of write(2) and rename(2).
    pub fn write(mut self, pid: impl Display) -> io::Result<()> {
        write!(self.file, "{pid}")?;
        fs::rename(&self.temporary, &self.path)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Gone already when it has become the pid file.
        let _ = fs::remove_file(&self.temporary);
    }
}
