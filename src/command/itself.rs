//! This program as the command of a container, and a root filesystem that needs nothing else.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use nix::unistd::mkdtemp;

use super::{Command, Container};
use crate::error::{Error, Result};
use crate::sys;

/// Where a container's root filesystem is.
#[derive(Debug, Clone)]
pub(super) enum Rootfs {
    Path(PathBuf),
    /// A directory that is made when a container needs it.
    Empty(Arc<OnceLock<EmptyDir>>),
}

impl Default for Rootfs {
    fn default() -> Self {
        Rootfs::Empty(Arc::default())
    }
}

impl Rootfs {
    pub(super) fn path(&self) -> Result<&Path> {
        Ok(match self {
            Rootfs::Path(path) => path,
            Rootfs::Empty(dir) => match dir.get() {
                Some(dir) => &dir.0,
                None => {
                    let made = EmptyDir::make()?;
                    &dir.get_or_init(|| made).0
                }
            },
        })
    }
}

/// Removed at the end. Nothing is ever written to it: writes go to a layer in memory.
#[derive(Debug)]
pub(super) struct EmptyDir(PathBuf);

impl EmptyDir {
    fn make() -> Result<Self> {
        let place = std::env::temp_dir();
        let step = format!("make an empty directory in {}", place.display());
        let path = mkdtemp(&place.join("minirun-empty-XXXXXX"))
            .map_err(|errno| Error::system(&step, errno).hint("TMPDIR names another place"))?;
        let dir = EmptyDir(path);
        // For users inside other than its owner.
        fs::set_permissions(&dir.0, Permissions::from_mode(0o755))
            .map_err(|error| Error::io(step, &error))?;
        Ok(dir)
    }
}

impl Drop for EmptyDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

impl Container {
    /// This very program, to be run once more in a container like this; arguments are to be
    /// added. Its file and the shared libraries that it has loaded appear at their own paths,
    /// read-only, and the container is [`ephemeral`](Self::ephemeral): a root filesystem keeps
    /// nothing of it. With [`Container::empty`] there is nothing else in it.
    ///
    /// The program learns by an argument or a variable what it is there for, best in the first
    /// lines of its `main`.
    ///
    /// ```standalone_crate
    /// use minirun::Container;
    ///
    /// if let Some(name) = std::env::args().nth(1) {
    ///     println!("hello {name}, this is process {}", std::process::id());
    ///     return Ok(());
    /// }
    /// let output = Container::empty().itself()?.arg("there").output()?;
    /// assert_eq!(output.stdout, b"hello there, this is process 2\n");
    /// # Ok::<(), minirun::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the program's file can't be told, since it has been removed or replaced, or isn't
    /// UTF-8.
    pub fn itself(&self) -> Result<Command> {
        let step = "find this program's own file";
        let program = std::env::current_exe().map_err(|error| Error::io(step, &error))?;
        if !program.is_file() {
            let reason = format!("there is no {}", program.display());
            return Err(
                Error::said(step, reason).hint("it must not be removed or replaced while it runs")
            );
        }
        let mut container = self.clone();
        container.ephemeral(true).bind(&program, &program, true);
        let mut folders: Vec<String> = Vec::new();
        for library in loaded_libraries() {
            container.bind(&library, &library, true);
            let folder = library.parent().unwrap_or(&library).to_string_lossy().into_owned();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        let program = program.into_os_string().into_string().map_err(|program| {
            Error::said(step, format!("{} is not UTF-8", program.to_string_lossy()))
        })?;
        let mut command = container.command(program);
        if !folders.is_empty() {
            // Inside there is no /etc/ld.so.cache that would say where they are.
            command.env("LD_LIBRARY_PATH", folders.join(":"));
        }
        Ok(command)
    }
}

/// Without what the kernel maps into each process, which has no path.
fn loaded_libraries() -> Vec<PathBuf> {
    let mut found = Vec::new();
    sys::library::each_loaded(&mut |name| {
        let path = Path::new(OsStr::from_bytes(name.to_bytes()));
        if name.to_bytes().contains(&b'/') {
            found.push(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_root_is_there_while_a_container_or_its_copy_is() {
        let container = Container::empty();
        let path = container.rootfs.path().unwrap().to_owned();
        let copy = container.clone();
        assert_eq!(copy.rootfs.path().unwrap(), path);
        drop(container);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        drop(copy);
        assert!(!path.exists());
    }

    #[test]
    fn libraries_are_files_by_the_names_that_programs_ask_for() {
        let libraries = loaded_libraries();
        assert!(libraries.iter().all(|path| path.is_absolute() && path.is_file()), "{libraries:?}");
        if cfg!(target_env = "gnu") {
            let has = |name: &str| {
                libraries.iter().any(|path| path.file_name().is_some_and(|file| file == name))
            };
            assert!(has("libc.so.6") && libraries.len() > 2, "{libraries:?}");
        }
    }
}
