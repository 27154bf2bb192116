//! A shell in the container of a bundle, for what only a config.json can ask for.
//!
//! The verbs of an OCI runtime hand their own standard input on; the shell reads named pipes
//! instead, from a directory that is bound to /mnt.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use minirun::Container;
use minirun::container::{self, Request, Store};
use nix::sys::stat::Mode;
use serde_json::Value;

use super::{Result, ask};

/// What the shell is told at first: its pipes, by their names inside.
const SHELL: &str = "exec /bin/sh < /mnt/commands > /mnt/answers";

pub struct BundledShell {
    dir: Directory,
    store: Store,
    id: String,
    input: File,
    output: File,
}

impl BundledShell {
    /// Starts a shell in what `container` comes to after `change` to its config.json.
    pub fn start(container: &Container, change: impl FnOnce(&mut Value)) -> Result<BundledShell> {
        let dir = Directory::make()?;
        let shared = dir.0.join("shared");
        let pipe = |name: &str| -> Result<File> {
            let path = shared.join(name);
            nix::unistd::mkfifo(&path, Mode::empty())?;
            fs::set_permissions(&path, Permissions::from_mode(0o666))?;
            // Open for both, so that neither side waits for the other to open it.
            Ok(OpenOptions::new().read(true).write(true).open(&path)?)
        };
        let (input, output) = (pipe("commands")?, pipe("answers")?);

        let mut command = container.clone().bind(&shared, "/mnt", false).command("/bin/sh");
        command.args(["-c", SHELL]);
        let mut config = serde_json::to_value(command.spec()?)?;
        change(&mut config);
        fs::write(dir.0.join("config.json"), config.to_string())?;

        let id = format!("lab-{}", std::process::id());
        let store = Store::new(Some(&dir.0.join("containers")))?;
        let shell = BundledShell { dir, store, id, input, output };
        let bundle = shell.dir.0.clone();
        let request = Request { id: shell.id.clone(), bundle, ..Request::default() };
        container::create(&shell.store, &request, &mut |_| ())?;
        container::start(&shell.store, &shell.id)?;
        Ok(shell)
    }

    /// Has a command carried out inside; what it wrote, its errors included.
    pub fn run(&mut self, command: &str) -> Result<String> {
        ask(&mut self.input, &mut self.output, command)
    }

    /// The pid of the container's PID 1, as the host numbers it.
    pub fn pid1(&self) -> Result<u32> {
        Ok(u32::try_from(container::state(&self.store, &self.id)?.pid)?)
    }

    /// The directory that is /mnt inside.
    pub fn shared(&self) -> PathBuf {
        self.dir.0.join("shared")
    }
}

impl Drop for BundledShell {
    fn drop(&mut self) {
        let _ = container::delete(&self.store, &self.id, true);
    }
}

/// A directory that other ids than the caller's can reach as well; removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn make() -> Result<Directory> {
        let path = std::env::temp_dir().join(format!("minirun-lab-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("make {}: {error}", path.display()))?;
        let directory = Directory(path);
        let open_to_all = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o777));
        fs::create_dir(directory.0.join("shared"))?;
        open_to_all(&directory.0.join("shared"))?;
        Ok(directory)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
