//! What the target's standard descriptors are connected to.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Error, Result};

/// Where a target reads from or writes to, like [`std::process::Stdio`].
#[derive(Debug, Default)]
pub enum Stdio {
    /// What the caller's own descriptor is connected to.
    #[default]
    Inherit,
    /// /dev/null.
    Null,
    /// A new pipe, whose other end is in the [`Child`](crate::Child).
    Piped,
    /// An open file, pipe or socket.
    Fd(OwnedFd),
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Stdio::Fd(file.into())
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Stdio::Fd(fd)
    }
}

/// The target's end of one descriptor (`None` to inherit), and the caller's end.
pub(super) type Ends = (Option<OwnedFd>, Option<File>);

impl Stdio {
    /// Opens what has to be opened; `reads` says that the target reads from it.
    pub(super) fn open(&self, reads: bool) -> Result<Ends> {
        let failed = |error: std::io::Error| Error::io("connect standard input and output", &error);
        Ok(match self {
            Stdio::Inherit => (None, None),
            Stdio::Null => {
                let null = OpenOptions::new().read(true).write(true).open("/dev/null");
                (Some(null.map_err(failed)?.into()), None)
            }
            Stdio::Piped => {
                let (reader, writer) = std::io::pipe().map_err(failed)?;
                let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
                let (inner, outer) = if reads { (reader, writer) } else { (writer, reader) };
                (Some(inner), Some(outer.into()))
            }
            Stdio::Fd(fd) => (Some(fd.as_fd().try_clone_to_owned().map_err(failed)?), None),
        })
    }
}
