//! A container that runs while it is looked at.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{TempDir, minirun, rootfs, said};

/// A container of a bundle that `spec` wrote, deleted at the end.
pub struct Running {
    pub dir: TempDir,
}

impl Running {
    pub fn start(
        name: &str,
        options: &[&str],
        script: &str,
        change: impl Fn(&mut Value),
    ) -> Running {
        let running = Running { dir: TempDir::new(name) };
        let mut spec = minirun(&["spec", "--no-tty", "--print"]);
        let output = spec.args(options).arg(rootfs()).args(["sh", "-c", script]).output().unwrap();
        let mut config: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        change(&mut config);
        fs::write(running.dir.path().join("config.json"), config.to_string()).unwrap();
        // What runs on would keep a pipe open.
        let errors = fs::File::create(running.dir.file("errors")).unwrap();
        let bundle = running.dir.file("");
        let mut run = running.minirun(&["run", "--detach", "--bundle", &bundle, running.id()]);
        let status = run.stdout(Stdio::null()).stderr(errors).status().unwrap();
        assert!(status.success(), "{}", fs::read_to_string(running.dir.file("errors")).unwrap());
        running
    }

    pub fn id(&self) -> &str {
        self.dir.path().file_name().unwrap().to_str().unwrap()
    }

    /// minirun with the directory that this container is in.
    pub fn minirun(&self, words: &[&str]) -> Command {
        let root = self.dir.file("state");
        minirun(&[&["--root", &root], words].concat())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.minirun(&["delete", "--force", self.id()]).output();
    }
}
