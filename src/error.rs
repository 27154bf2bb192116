//! What went wrong: one sentence that names the step, its place in the
//! configuration, the errno, and what to do about it.

use std::fmt;

use nix::errno::Errno;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of minirun itself, as opposed to a target that ran and failed.
///
/// ```
/// use minirun::Container;
/// let error = Container::new("/nowhere").command("/bin/true").status().unwrap_err();
/// assert_eq!(error.exit_code(), 125);
/// assert!(error.to_string().starts_with("open the root filesystem /nowhere"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    step: String,
    place: Option<String>,
    reason: Reason,
    hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    System(Errno),
    Exec(Errno),
    Said(String),
}

impl Error {
    /// A system call that `step` needed failed with `errno`.
    pub fn system(step: impl Into<String>, errno: Errno) -> Self {
        Error { step: step.into(), place: None, reason: Reason::System(errno), hint: None }
    }

    /// The target couldn't be executed.
    pub fn exec(step: impl Into<String>, errno: Errno) -> Self {
        Error { step: step.into(), place: None, reason: Reason::Exec(errno), hint: None }
    }

    /// `step` can't be done, for a reason that no system call gave.
    pub fn said(step: impl Into<String>, reason: impl Into<String>) -> Self {
        Error { step: step.into(), place: None, reason: Reason::Said(reason.into()), hint: None }
    }

    /// An [`std::io::Error`] met in `step`.
    pub fn io(step: impl Into<String>, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Error::system(step, Errno::from_raw(errno)),
            None => Error::said(step, error.to_string()),
        }
    }

    /// Names the option or the config.json path that the step came from.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into()).filter(|place: &String| !place.is_empty());
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether another one says the same, hints aside.
    pub(crate) fn is_like(&self, other: &Error) -> bool {
        (&self.step, &self.place, &self.reason) == (&other.step, &other.place, &other.reason)
    }

    /// The option or config.json path that the failing step came from.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// The errno of the system call that failed, if one did.
    pub fn errno(&self) -> Option<Errno> {
        match self.reason {
            Reason::System(errno) | Reason::Exec(errno) => Some(errno),
            Reason::Said(_) => None,
        }
    }

    /// The exit status that stands for this error, as `docker run` gives it:
    /// 127 when the target wasn't found, 126 when it couldn't be executed,
    /// 125 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self.reason {
            Reason::Exec(Errno::ENOENT | Errno::ENOTDIR) => 127,
            Reason::Exec(_) => 126,
            Reason::System(_) | Reason::Said(_) => 125,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.step)?;
        if let Some(place) = &self.place {
            write!(f, " ({place})")?;
        }
        match &self.reason {
            Reason::System(errno) | Reason::Exec(errno) => {
                write!(f, ": {}", errno_in_words(*errno))?;
            }
            Reason::Said(reason) => write!(f, ": {reason}")?,
        }
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// An errno by name and in the system's words: `EPERM (operation not permitted)`.
pub fn errno_in_words(errno: Errno) -> String {
    format!("{errno:?} ({})", errno.desc().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_step_place_errno_and_hint() {
        let error = Error::system("mount proc on /proc", Errno::EPERM)
            .at("mounts[0]")
            .hint("a new pid namespace is needed to mount proc");
        assert_eq!(
            error.to_string(),
            "mount proc on /proc (mounts[0]): EPERM (operation not permitted); \
             a new pid namespace is needed to mount proc"
        );
    }

    #[test]
    fn exit_codes_are_those_of_docker_run() {
        assert_eq!(Error::exec("execute x", Errno::ENOENT).exit_code(), 127);
        assert_eq!(Error::exec("execute x", Errno::EACCES).exit_code(), 126);
        assert_eq!(Error::exec("execute x", Errno::ENOEXEC).exit_code(), 126);
        assert_eq!(Error::system("mount", Errno::ENOENT).exit_code(), 125);
        assert_eq!(Error::said("read", "no").exit_code(), 125);
    }
}
