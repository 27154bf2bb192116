//! Files that a verb writes its results to.

use std::fs::{self, File};
use std::io::Write;

use minirun::Error;

/// A file for a result that comes later. One that was there keeps its content until
/// then, one that wasn't is removed again if the result never comes.
pub struct ResultFile {
    path: String,
    option: &'static str,
    file: File,
    is_new: bool,
    written: std::cell::Cell<bool>,
}

impl ResultFile {
    pub fn create(path: &str, option: &'static str) -> Result<Self, Error> {
        let open = |new| File::options().write(true).create_new(new).open(path);
        let (file, is_new) = match open(true) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => (open(false), false),
            opened => (opened, true),
        };
        let file = file.map_err(|error| Error::io(format!("create {path}"), &error).at(option))?;
        Ok(ResultFile { path: path.to_owned(), option, file, is_new, written: false.into() })
    }

    pub fn write(&self, json: &impl std::fmt::Display) -> Result<(), Error> {
        self.written.set(true);
        let text = format!("{json:#}\n");
        // Neither a pipe nor a terminal can be cut, nor need it be.
        let _ = self.file.set_len(0);
        (&self.file)
            .write_all(text.as_bytes())
            .map_err(|error| Error::io(format!("write {}", self.path), &error).at(self.option))
    }
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        if self.is_new && !self.written.get() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
