//! What the contenders need around them, and its removal: the binaries, a temporary
//! directory with the bundles, and a cgroup layout that all of them accept.

use std::env;
use std::env::consts::ARCH;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, TMPFS_MAGIC, statfs};

use crate::Result;
use crate::contenders::{Peer, Program, find};
use crate::workloads::WORKLOADS;

/// Directories of bundles, whose config.json each begins with, and what is asked of the
/// payload there.
const BUNDLES: [(&str, &str, &str); 9] = [
    ("plain", "plain", ""),
    ("plain-lean", "plain", ""),
    ("engine-default", "engine-default", ""),
    ("engine-default-lean", "engine-default", ""),
    ("limited", "plain", ""),
    ("pausing", "plain", "pause"),
    ("ending", "plain", "now"),
    ("getppid", "engine-default", "getppid"),
    ("openat", "engine-default", "openat"),
];

/// Where copies of all programs are. How a file's pages lie in memory depends on how it came
/// there, by a linker or a package, and makes up to 6 % of a start.
const PROGRAMS: &str = "programs";

/// How many copies there are of each, since they differ as well: every round takes the next.
const COPIES: usize = 8;

/// The programs that are built here.
pub const MINIRUN: &str = "minirun";
pub const FLOOR: &str = "floor";
pub const PAYLOAD: &str = "payload";

/// The parent of the cgroup that engine-default/config.json names.
const CGROUP: &str = "minirun-bench";

/// Dropping it removes everything that the benchmark or a killed contender left behind.
pub struct Site {
    pub is_root: bool,
    /// What a reader of the figures should know.
    pub facts: Vec<String>,
    dir: PathBuf,
    /// In memory, as /run is on most machines.
    states: PathBuf,
    /// Directories made for cgroup hierarchies.
    hierarchies: Vec<PathBuf>,
    /// The memory limit to start with, in bytes.
    memory: AtomicU64,
    /// Which copies of the programs are run.
    turn: AtomicUsize,
}

impl Site {
    /// Builds and sets up.
    ///
    /// # Errors
    /// When the build fails, or the temporary directory can't be made.
    pub fn prepare() -> Result<Self> {
        let dir = env::temp_dir().join(format!("minirun-bench-{}", std::process::id()));
        let (minirun, examples, build) = binaries()?;
        // Never a directory that was there before: what lies in it is run as root.
        let copies = (0..COPIES).map(|turn| dir.join(PROGRAMS).join(turn.to_string()));
        for dir in [dir.clone(), dir.join(PROGRAMS)].into_iter().chain(copies) {
            fs::create_dir(&dir).map_err(|error| format!("create {}: {error}", dir.display()))?;
        }
        let memory = Path::new("/dev/shm");
        let is_memory = statfs(memory).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC);
        let states = if is_memory {
            memory.join(dir.file_name().unwrap_or_default())
        } else {
            dir.join("states")
        };
        let is_root = nix::unistd::geteuid().is_root();
        let facts = vec![machine(), build];
        let hierarchies = Vec::new();
        let (memory, turn) = (AtomicU64::new(0), AtomicUsize::new(0));
        let mut site = Site { is_root, facts, dir, states, hierarchies, memory, turn };
        for turn in 0..COPIES {
            site.turn_to(turn);
            copy(&minirun, &site.program(MINIRUN))?;
            for name in [FLOOR, PAYLOAD] {
                copy(&examples.join(name), &site.program(name))?;
            }
            site.copy_peers()?;
        }
        site.copy_bundles()?;
        if is_root && find("crun").is_some() {
            site.leave_hybrid_mode();
        }
        site.name_versions();
        Ok(site)
    }

    pub fn rootfs(&self) -> OsString {
        self.dir.join("plain/rootfs").into()
    }

    pub fn bundle(&self, name: &str) -> OsString {
        self.dir.join(name).into()
    }

    /// Where the containers of a lane have their pid written.
    pub fn pid_file(&self, lane: usize) -> PathBuf {
        self.dir.join(format!("pid-{lane}"))
    }

    /// Where system calls are written down.
    pub fn trace(&self) -> PathBuf {
        self.dir.join("strace")
    }

    /// Where mounts may be made.
    pub fn mounts(&self) -> PathBuf {
        self.dir.join("mounts")
    }

    /// Where an OCI runtime keeps its state.
    pub fn state(&self, program: &str) -> OsString {
        self.states.join(program).into()
    }

    /// Where the standard error of a run goes.
    pub fn complaints(&self, lane: usize) -> PathBuf {
        self.dir.join(format!("stderr-{lane}"))
    }

    pub fn complaint(&self, lane: usize) -> String {
        let text = fs::read(self.complaints(lane)).unwrap_or_default();
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// The limit that the bundle `limited` has.
    pub fn memory(&self) -> u64 {
        self.memory.load(Relaxed)
    }

    /// Gives the bundle `limited` this memory limit.
    ///
    /// # Errors
    /// When its config.json can't be written.
    pub fn limit_memory(&self, bytes: u64) -> Result<()> {
        self.memory.store(bytes, Relaxed);
        let file = self.dir.join("limited/config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&file)?)?;
        config["linux"]["resources"]["memory"]["limit"] = bytes.into();
        Ok(fs::write(&file, config.to_string())?)
    }

    /// Has other copies of all programs run.
    pub fn turn_to(&self, round: usize) {
        self.turn.store(round % COPIES, Relaxed);
    }

    /// Where a program's copy is, or would be if this machine had the program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(PROGRAMS).join(self.turn.load(Relaxed).to_string()).join(name)
    }

    /// The copy of a program, if this machine has it.
    pub fn found(&self, program: &str) -> Option<PathBuf> {
        Some(self.program(program)).filter(|copy| copy.is_file())
    }

    fn copy_peers(&self) -> Result<()> {
        for contender in WORKLOADS.iter().flat_map(|workload| workload.contenders) {
            if let Program::Peer(Peer { program, .. }) = &contender.program
                && self.found(program).is_none()
                && let Some(path) = find(program)
            {
                copy(&path, &self.program(program))?;
            }
        }
        Ok(())
    }

    fn copy_bundles(&self) -> Result<()> {
        let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/bundles");
        for (name, model, asked) in BUNDLES {
            let to = self.dir.join(name);
            for dir in ["bin", "dev", "proc", "sys"] {
                fs::create_dir_all(to.join("rootfs").join(dir))?;
            }
            let config = fs::read(bundles.join(model).join("config.json"))?;
            let mut config: serde_json::Value = serde_json::from_slice(&config)?;
            let arguments = [Some("/bin/true"), Some(asked).filter(|word| !word.is_empty())];
            config["process"]["args"] = arguments.into_iter().flatten().collect();
            if name.ends_with("-lean") {
                config["annotations"]["io.minirun.lean-cgroup"] = "true".into();
            }
            fs::write(to.join("config.json"), config.to_string())?;
            copy(&self.program(PAYLOAD), &to.join("rootfs/bin/true"))?;
        }
        Ok(())
    }

    /// crun refuses a machine where v1 hierarchies and a v2 with controllers stand side
    /// by side, so those controllers become v1 too, for all contenders alike.
    fn leave_hybrid_mode(&mut self) {
        let Ok(unified) = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers") else {
            return;
        };
        // A hierarchy that was unmounted a moment ago, as by the last benchmark, goes back
        // to v2 some time later.
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let unmounted = own.lines().filter_map(|line| line.split(':').nth(1)).filter(|&name| {
            let is_v1 = !name.is_empty() && !name.starts_with("name=");
            // A directory may be left over from such a mount.
            let mounted = statfs(&Path::new("/sys/fs/cgroup").join(name));
            is_v1 && !mounted.is_ok_and(|found| found.filesystem_type() == CGROUP_SUPER_MAGIC)
        });
        let controllers: Vec<_> = unified.split_whitespace().chain(unmounted).collect();
        if controllers.is_empty() {
            return;
        }
        let names = controllers.join(", ");
        let fact = match self.mount_on_v1(&controllers) {
            Ok(()) => format!("cgroup v2 lends {names} to v1: crun refuses hybrid mode"),
            Err(error) => format!("crun will refuse this machine's hybrid cgroups: {error}"),
        };
        self.facts.push(fact);
    }

    /// The mounts are in a namespace of this process, so that they can't outlive it.
    fn mount_on_v1(&mut self, controllers: &[&str]) -> Result<()> {
        let none = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        for &controller in controllers {
            let dir = Path::new("/sys/fs/cgroup").join(controller);
            if fs::create_dir(&dir).is_ok() {
                self.hierarchies.push(dir.clone());
            }
            let kind = Some("cgroup");
            mount(kind, &dir, kind, MsFlags::empty(), Some(controller))
                .map_err(|errno| format!("mount {}: {errno}", dir.display()))?;
        }
        Ok(())
    }

    fn name_versions(&mut self) {
        let mut seen = Vec::new();
        for contender in WORKLOADS.iter().flat_map(|workload| workload.contenders) {
            let program = &contender.program;
            let has_version = matches!(program, Program::Minirun | Program::Peer(_));
            let is_here = has_version && program.absence().is_none();
            let path = program.path(self).filter(|path| is_here && !seen.contains(path));
            let Some(path) = path else { continue };
            let output = Command::new(&path).arg("--version").output();
            let text = output.map(|output| output.stdout).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let version = text.lines().next().unwrap_or("a program without a version");
            self.facts.push(version.to_owned());
            seen.push(path);
        }
    }

    /// Containers of a runtime that was killed, or that forgot one.
    pub fn delete_containers(&self) {
        for program in ["crun", "runc", MINIRUN] {
            let Some(path) = self.found(program) else { continue };
            let state = self.state(program);
            for entry in fs::read_dir(&state).into_iter().flatten().flatten() {
                let mut delete = Command::new(&path);
                delete.arg("--root").arg(&state).args(["delete", "--force"]).arg(entry.file_name());
                let _ = delete.stdout(Stdio::null()).status();
            }
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.delete_containers();
        // Most of it isn't there most of the time.
        for dir in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(dir.path().join(CGROUP));
        }
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(CGROUP));
        for dir in &self.hierarchies {
            let _ = umount2(dir, MntFlags::MNT_DETACH);
            let _ = fs::remove_dir(dir);
        }
        let _ = fs::remove_dir_all(&self.states);
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("bench: remove {}: {error}", self.dir.display());
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = fs::copy(from, to);
    copied.map_err(|error| format!("copy {} to {}: {error}", from.display(), to.display()))?;
    Ok(())
}

fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().count();
    let (kernel, user) = (kernel.trim(), nix::unistd::geteuid());
    format!("Linux {kernel}, {ARCH}, {processors} processors, {mounts} mounts, uid {user}")
}

/// Cargo's target directory: it gives benches a folder in it.
pub fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("")
}

/// Builds minirun and the examples statically; gives the one's path and the others' directory
/// and says how.
fn binaries() -> Result<(PathBuf, PathBuf, String)> {
    let musl = format!("{ARCH}-unknown-linux-musl");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", &musl])
        .output()
        .map_err(|error| format!("run rustc: {error}"))?;
    let has_musl = Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).is_dir();
    let target = if has_musl { musl } else { format!("{ARCH}-unknown-linux-gnu") };

    let dir = target_dir();
    let chosen = env::var_os("MINIRUN").map(fs::canonicalize).transpose();
    let chosen = chosen.map_err(|error| format!("find MINIRUN: {error}"))?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--example", "floor", "--example", "payload"]);
    cargo.args(["--target", &target]);
    cargo.arg("--target-dir").arg(&dir);
    cargo.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    if !has_musl {
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    }
    if chosen.is_none() {
        cargo.args(["--bin", "minirun"]);
    }
    if !cargo.status()?.success() {
        return Err("the build failed".into());
    }
    let built = dir.join(&target).join("release");
    let (minirun, mut build) = match chosen {
        Some(path) => {
            let build = format!("minirun is {}, the floor a static {target}", path.display());
            (path, build)
        }
        None => (built.join("minirun"), format!("minirun and the floor are static, {target}")),
    };
    if !has_musl {
        build.push_str(" (the musl target isn't installed; it starts faster)");
    }
    Ok((minirun, built.join("examples"), build))
}
