//! What the integration tests share: where the binary and the root filesystem are, and
//! what a run leaves behind.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod chance;
pub mod person;
pub mod running;

use std::collections::BTreeSet;
use std::fs;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The binary under test; MINIRUN_BIN names one that an ordinary user can reach.
pub fn binary() -> PathBuf {
    std::env::var_os("MINIRUN_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_minirun").into(), PathBuf::from)
}

/// The demo root filesystem, built when it isn't there.
pub fn rootfs() -> PathBuf {
    static BUILT: Once = Once::new();
    if let Some(path) = std::env::var_os("MINIRUN_ROOTFS") {
        return path.into();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs");
    BUILT.call_once(|| {
        if !path.join("bin/busybox").exists() {
            let status = Command::new(path.join("build.sh")).status().expect("run rootfs/build.sh");
            assert!(status.success(), "rootfs/build.sh failed");
        }
    });
    path
}

/// `minirun` with arguments.
pub fn minirun(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).stdin(Stdio::null());
    command
}

/// `minirun run [options] ROOTFS command…` to its end.
pub fn run(options: &[&str], words: &[&str]) -> Output {
    run_command(options, words).output().expect("start minirun")
}

pub fn run_command(options: &[&str], words: &[&str]) -> Command {
    let mut command = minirun(&["run"]);
    command.args(options).arg(rootfs()).args(words);
    command
}

/// A shell script in a container; its standard output, after it has succeeded.
pub fn script(options: &[&str], script: &str) -> String {
    let output = run(options, &["/bin/sh", "-c", script]);
    assert!(output.status.success(), "{script:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Status and both outputs, for messages.
pub fn said(output: &Output) -> String {
    format!(
        "{:?} (signal {:?})\n{}{}",
        output.status.code(),
        output.status.signal(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says loudly that a test didn't run; true if so.
pub fn skipped(reason: Option<&str>) -> bool {
    if let Some(reason) = reason {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        // Written past the test harness, which would keep it to itself, and in one piece.
        let line = format!("SKIPPED: {test}: {reason}\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    reason.is_some()
}

pub fn without_root() -> Option<&'static str> {
    (!is_root()).then_some("only root can do this")
}

/// Whether an ordinary user here has subordinate ids that newuidmap can map.
pub fn has_subordinate_ids() -> bool {
    minirun::host::Host::read().expect("host").subordinate.is_some()
}

/// A directory of this test's own, removed at the end.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("minirun-test-{name}-{process}-{count}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("make a temporary directory");
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Tests that compare the whole machine before and after take turns.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes one system call, through the ABI asked for, and prints what the kernel answered.
const PROBE: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    unsigned long arg[4] = {0};
    for (int i = 2; i < argc && i < 6; i++) arg[i - 2] = strtoul(argv[i], NULL, 0);
    long answer;
    if (!strcmp(argv[1], "i386"))
        __asm__ volatile("int $0x80" : "=a"(answer)
                         : "a"(arg[0]), "b"(arg[1]), "c"(arg[2]), "d"(arg[3])
                         : "memory", "r8", "r9", "r10", "r11");
    else
        __asm__ volatile("syscall" : "=a"(answer)
                         : "a"(arg[0]), "D"(arg[1]), "S"(arg[2]), "d"(arg[3])
                         : "memory", "rcx", "r11");
    printf("%ld\n", answer);
    return 0;
}
"#;

/// The probe as a program without libraries, in a directory.
pub fn probe(dir: &Path) -> Option<PathBuf> {
    let (source, probe) = (dir.join("probe.c"), dir.join("probe"));
    fs::write(&source, PROBE).unwrap();
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O1", "-o"]).arg(&probe).arg(&source).stderr(Stdio::null());
    let built = cfg!(target_arch = "x86_64") && gcc.status().is_ok_and(|s| s.success());
    (!skipped((!built).then_some("gcc, a static libc and x86_64 are needed"))).then_some(probe)
}

/// Copies a program by another process: what this one opens for writing, children of other
/// tests' threads would have open for a moment too, and nobody could execute it.
pub fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("--remove-destination").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

/// Fills a bundle's directory with a root filesystem of busybox under these names, and gives
/// a config.json for it.
pub fn busybox_bundle(dir: &TempDir, applets: &str) -> Value {
    let bin = dir.path().join("rootfs/bin");
    fs::create_dir_all(&bin).unwrap();
    copy_program(&rootfs().join("bin/busybox"), &bin.join("busybox"));
    for applet in applets.split_whitespace() {
        symlink("busybox", bin.join(applet)).unwrap();
    }
    let namespaces = ["pid", "mount", "ipc", "uts", "network"];
    json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"] },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": {
            "namespaces": namespaces.map(|kind| json!({ "type": kind })),
            "resources": {},
        },
    })
}

/// What a run could leave behind: mounts, cgroups, processes, temporary files.
#[derive(Debug)]
pub struct Traces(BTreeSet<String>);

impl Traces {
    pub fn now() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let mut found: BTreeSet<String> =
            mounts.lines().map(|line| format!("mount {line}")).collect();
        let named = |kind: &str, path: PathBuf| format!("{kind} {}", path.display());
        found.extend(
            cgroups(Path::new("/sys/fs/cgroup"), 4).into_iter().map(|p| named("cgroup", p)),
        );
        let files = entries(&std::env::temp_dir());
        let ours = |path: &PathBuf| path.to_string_lossy().contains("minirun");
        found.extend(files.into_iter().filter(ours).map(|path| named("file", path)));
        found.extend(processes());
        Traces(found)
    }

    /// Waits a little for what is still on its way out; what stays is left behind.
    pub fn assert_nothing_new(&self, after: &str) {
        let mut new = &Traces::now().0 - &self.0;
        let patience = Instant::now() + Duration::from_secs(5);
        while !new.is_empty() {
            assert!(Instant::now() < patience, "left behind after {after}:\n{new:#?}");
            std::thread::sleep(Duration::from_millis(10));
            // Other programs come and go meanwhile; only what was there all the time counts.
            new = &new & &Traces::now().0;
        }
    }
}

fn entries(dir: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn cgroups(dir: &Path, depth: u32) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for path in entries(dir).into_iter().filter(|path| path.is_dir() && !path.is_symlink()) {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("minirun-")) {
            found.insert(path.clone());
        }
        if depth > 0 {
            found.extend(cgroups(&path, depth - 1));
        }
    }
    found
}

/// Processes of minirun and its containers, zombies included, other than the tests'.
fn processes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for process in entries(Path::new("/proc")) {
        let Ok(stat) = fs::read_to_string(process.join("stat")) else { continue };
        let own = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        let name = stat.split(['(', ')']).nth(1).unwrap_or_default();
        if name.starts_with("minirun") || own.contains("sleep\x0098765") {
            found.insert(format!("process {} {name} {own}", process.display()));
        }
    }
    found
}

/// The descriptor that comes with the next message (SCM_RIGHTS).
pub fn receive_fd(socket: RawFd) -> OwnedFd {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
    let (mut bytes, mut control) = ([0; 4096], nix::cmsg_space!(RawFd));
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(socket, &mut buffers, Some(&mut control), flags);
    let fds = message.expect("a message").cmsgs().expect("control messages").find_map(|control| {
        match control {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        }
    });
    let fd = fds.expect("a descriptor");
    // SAFETY: the kernel has just made it for this process, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Reads until this has come, for ten seconds at most; gives all that was read.
pub fn read_until(file: &mut (impl Read + AsFd), word: &str) -> String {
    let mut read = String::new();
    let patience = Instant::now() + Duration::from_secs(10);
    while !read.contains(word) && Instant::now() < patience {
        read += &read_some(file);
    }
    read
}

/// What comes within a tenth of a second, if anything does.
pub fn read_some(file: &mut (impl Read + AsFd)) -> String {
    use nix::poll::{PollFd, PollFlags, poll};
    let mut bytes = [0; 4096];
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    let count = match poll(&mut fds, 100u16) {
        // A pty without a writer gives EIO.
        Ok(1..) => file.read(&mut bytes).unwrap_or(0),
        _ => 0,
    };
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}
