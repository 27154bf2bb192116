//! What attacks are made of: a bundle that the attacker has filled, a container of it that
//! runs, and the same moves without a runtime.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{TempDir, minirun, rootfs, skipped, without_root};

/// A bundle with a root filesystem of its own, busybox and nothing else, beside a directory
/// `outside` that stands for the host's files.
pub struct Bundle {
    pub dir: TempDir,
    pub config: Value,
}

impl Bundle {
    /// `None` when only root could do this, which is said.
    pub fn new(name: &str) -> Option<Bundle> {
        if skipped(without_root()) {
            return None;
        }
        let dir = TempDir::new(name);
        let root = dir.path().join("rootfs");
        for made in ["bin", "proc", "dev", "sys", "tmp", "../outside"] {
            fs::create_dir_all(root.join(made)).unwrap();
        }
        fs::copy(rootfs().join("bin/busybox"), root.join("bin/busybox")).unwrap();
        for applet in "sh cat ls echo head id kill mkdir mkfifo mount mv readlink sleep stat touch \
                       wc grep cut tty true"
            .split_whitespace()
        {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(dir.path().join("outside/secret"), "secret\n").unwrap();
        let namespaces = ["pid", "mount", "ipc", "uts", "network"];
        let config = json!({
            "ociVersion": "1.3.0",
            "root": { "path": "rootfs" },
            "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"] },
            "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
            "linux": {
                "namespaces": namespaces.map(|kind| json!({ "type": kind })),
                "resources": {},
            },
        });
        Some(Bundle { dir, config })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn id(&self) -> &str {
        self.dir.path().file_name().unwrap().to_str().unwrap()
    }

    /// Makes a symlink in the root filesystem, in the place of what is there.
    pub fn link(&self, target: impl AsRef<Path>, name: &str) {
        let link = self.path("rootfs").join(name);
        let _ = fs::remove_dir_all(&link).or_else(|_| fs::remove_file(&link));
        symlink(target, link).unwrap();
    }

    pub fn write(&self, args: &[&str]) {
        let mut config = self.config.clone();
        config["process"]["args"] = json!(args);
        fs::write(self.path("config.json"), config.to_string()).unwrap();
    }

    /// A verb on this test's own store.
    pub fn verb(&self, verb: &str, words: &[&str]) -> Command {
        let mut command = minirun(&["--root", &self.dir.file("state"), verb]);
        command.args(words);
        command
    }

    /// `run` to the container's end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.write(args);
        let bundle = self.dir.path().to_str().unwrap();
        self.verb("run", &["--bundle", bundle, self.id()]).output().unwrap()
    }

    /// The container in the background, running this script.
    pub fn start(&self, script: &str) -> Running<'_> {
        self.write(&["/bin/sh", "-c", script]);
        let bundle = self.dir.path().to_str().unwrap();
        // To a file: pipes would be held open by the container.
        let log = fs::File::create(self.path("log")).unwrap();
        let status = self
            .verb("run", &["--detach", "--bundle", bundle, self.id()])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .status()
            .unwrap();
        assert!(status.success(), "{}", fs::read_to_string(self.path("log")).unwrap());
        Running(self)
    }

    /// A script of the host's in a mount namespace of its own: what the attack does where
    /// nothing stands in its way. `$1` is the bundle.
    pub fn undefended(&self, script: &str) -> Output {
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// A container that runs, deleted at the end.
pub struct Running<'a>(pub &'a Bundle);

impl Running<'_> {
    pub fn exec(&self, options: &[&str], words: &[&str]) -> Output {
        self.0.verb("exec", options).arg(self.0.id()).args(words).output().unwrap()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.0.verb("delete", &["--force", self.0.id()]).output();
    }
}
