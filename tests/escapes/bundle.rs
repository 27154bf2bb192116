//! What attacks are made of: a bundle that the attacker has filled, a container of it that
//! runs, and the same moves without a runtime.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{
    TempDir, binary, busybox_bundle, minirun, said, skipped, stderr, without_root,
};

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
        let applets = "sh cat ls echo head id kill mkdir mkfifo mount mv readlink sleep stat touch \
                       wc grep cut tty true";
        let config = busybox_bundle(&dir, applets);
        fs::write(dir.path().join("outside/secret"), "secret\n").unwrap();
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

    pub fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) {
        let mount = json!({ "destination": destination, "type": kind, "source": source,
            "options": options });
        self.config["mounts"].as_array_mut().unwrap().push(mount);
    }

    /// Shows the host's programs inside, and what they need to run.
    pub fn bind_programs(&mut self) {
        for dir in ["/usr", "/lib", "/lib64"].into_iter().filter(|dir| Path::new(dir).exists()) {
            self.mount(dir, "bind", dir, &["rbind", "ro"]);
        }
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

    pub fn script(&self, script: &str) -> Output {
        self.run(&["/bin/sh", "-c", script])
    }

    /// What minirun says about a container that can't be; it says this, among other words.
    pub fn assert_refused(&self, words: &[&str]) {
        let output = self.script("echo it runs");
        let text = stderr(&output);
        assert!(!output.status.success() && output.stdout.is_empty(), "{}", said(&output));
        assert!(words.iter().all(|word| text.contains(word)), "not {words:?}: {text}");
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

    /// What is in the host's directory, and who owns it.
    pub fn outside(&self) -> BTreeMap<String, (u32, u32, String)> {
        let entries = fs::read_dir(self.path("outside")).unwrap().map(Result::unwrap);
        let seen = |entry: fs::DirEntry| {
            let found = entry.metadata().unwrap();
            // A device that an attack has made may be endless.
            let content = found.is_file().then(|| fs::read_to_string(entry.path()).unwrap());
            let content = content.unwrap_or_default();
            (entry.file_name().into_string().unwrap(), (found.mode(), found.uid(), content))
        };
        entries.map(seen).collect()
    }

    /// A script of the host's in a mount namespace of its own: what the attack does where
    /// nothing stands in its way. `$1` is the bundle, `$2` minirun, `$3` the container's id.
    pub fn undefended(&self, script: &str) -> Output {
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(self.dir.path())
            .arg(binary())
            .arg(self.id())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The same on a peer, if it is installed and can run anything here.
    pub fn peer(&self, runtime: &str, args: &[&str]) -> Option<Output> {
        let run = |bundle: &Bundle| {
            let mut command = Command::new("timeout");
            command.args(["--kill-after=1", "10", runtime, "--root", &bundle.dir.file("peer")]);
            command.args(["run", "--bundle", bundle.dir.path().to_str().unwrap()]);
            command.arg(format!("{}-peer", bundle.id())).stdin(Stdio::null()).output()
        };
        let plain = Bundle::new("peer")?;
        plain.write(&["/bin/true"]);
        if !run(&plain).is_ok_and(|output| output.status.success()) {
            skipped(Some(&format!("on the peer: there is no {runtime} that runs here")));
            return None;
        }
        self.write(args);
        run(self).ok()
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
