//! The vocabulary: every operation that a container is made of.
//!
//! An [`Op`] is data, rendered so far that carrying it out needs no allocation
//! and no decision. What it does in words stands in `words.rs`, how it is done
//! in `launch`.

// Fields bear the names that the arguments have in the man page of the call.
#![allow(missing_docs)]

use std::ffi::CString;

use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use nix::sys::resource::Resource;

use crate::seccomp::{Filter, Listener};

/// One operation. Those of the runtime come first, then the container's, in the
/// order in which a plan uses them.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Make a cgroup v2 directory, parents included, and let it hand controllers down
    /// to its children as far as it can.
    EnableControllers { dir: CString, controllers: Vec<String> },
    /// mkdir(2) of a cgroup, parents included; unless `adopt`, it must not exist yet.
    CreateCgroup { dir: CString, controllers: String, adopt: bool },
    /// Give a v1 cpuset below `root` the processors and memory nodes of its parents:
    /// nothing can join an empty one.
    InheritCpuset { root: CString, dir: CString },
    /// Write a limit or another setting to a cgroup's file.
    WriteCgroup { file: CString, value: String },
    /// Move the processes of a cgroup into one of another hierarchy as well.
    MoveProcesses { from: CString, to: CString },
    /// Write to the first of these files that the kernel has.
    WriteFirst { choices: Vec<(CString, String)> },
    /// Refuse a limit that is already exceeded: the number in `file` must not be above it.
    CheckUsage { file: CString, limit: u64 },
    /// Attach a BPF program that says which devices may be used, in place of a former one.
    DeviceFilter { dir: CString, program: Vec<u64> },
    /// Make sure that systemd has no unit of this name yet; one that failed is forgotten.
    CheckUnit { name: String, user: bool },
    /// Have systemd start a transient unit, which makes the cgroup (StartTransientUnit of
    /// org.freedesktop.systemd1(5)).
    StartUnit(Unit),
    /// Have systemd move the cloned process into a unit, or into a cgroup `below` its own.
    JoinUnit { name: String, user: bool, below: String },
    /// Change what systemd knows of a unit's limits (SetUnitProperties).
    SetUnit { name: String, user: bool, properties: Vec<(String, String)> },
    /// Open the socket on which the container's process will wait for `start`.
    Listen { dir: CString },
    /// Open a namespace that the container joins, and check its type.
    OpenNamespace { namespace: CloneFlags, path: CString },
    /// Fork the process that joins namespaces and clones the container's from there.
    Intermediate,
    /// setns(2) into a namespace that was opened before.
    JoinNamespace { namespace: CloneFlags },
    /// setns(2) into namespaces of a running container's first process, all at once.
    JoinProcess { namespaces: CloneFlags },
    /// Open the kernel's own mount namespace, which has next to nothing in it.
    OpenKernelMounts,
    /// Begin to make a network namespace with `lo` up, in a thread that ends with that.
    MakeNetwork,
    /// clone3(2): the container's first process starts here.
    Clone { namespaces: CloneFlags, cgroup: Option<CString> },
    /// Write down which process is the container's.
    Record,
    /// Map the ids of the new user namespace from outside (user_namespaces(7)).
    MapIds { map: IdMap, ranges: Vec<IdRange>, by: Mapper },
    /// Make a time namespace, set its clocks and enter it (time_namespaces(7)).
    EnterTime { offsets: String },
    /// Join the session keyring of this name, made if it isn't there, and add permissions
    /// (keyctl(2)).
    SessionKeyring { name: CString, permissions: u32 },
    /// Run what is executed next under this profile (aa_change_onexec(2)).
    AppArmor { profile: CString },
    /// Run what is executed next with this label (setexeccon(3)).
    SelinuxLabel { label: CString },
    /// Write oom_score_adj of the container's process (proc(5)); by either side.
    OomScore { score: String },
    /// Open a mount tree of the host's, and perhaps give it an id map (mount_setattr(2)).
    OpenTree(OpenTree),
    /// Move a network device of the host into the container's namespace (rtnetlink(7)).
    MoveNetDevice { name: String, inside: String },
    /// Show the steps so far to a reader, before the target's own output begins.
    Narrate,
    /// Write the container's state for the hooks that its own process runs.
    RenderState,
    /// Run a hook, on either side.
    Hook(Hook),

    /// Map this process's own id in its new user namespace.
    MapOwnId { map: IdMap, line: String },
    /// Connect standard input, output and error to what the caller chose.
    Stdio,
    /// The container's own null device in place of the caller's on 0, 1 and 2, for reading
    /// and writing.
    NullDevice,
    /// Be killed when the runtime dies.
    DieWithParent,
    /// Close /proc/PID of this process to others until execve.
    Undumpable,
    /// Enter a cgroup v1 hierarchy by writing 0 to its `tasks`.
    JoinCgroup { tasks: CString },
    /// unshare(2), for what clone3 would have done too early.
    Unshare { namespaces: CloneFlags },
    /// Wait until the runtime's network namespace is made, and join it.
    JoinNetwork,
    /// Bring up `lo` in the new network namespace.
    LoopbackUp,
    /// Make a mount namespace from the kernel's own instead of from the host's.
    NewMounts,
    /// Say how mounts travel between the host and this mount namespace.
    PropagateMounts { propagation: Propagation },
    /// Make the mount that holds the root filesystem private.
    PrivateParent { path: CString },
    /// Open the root filesystem where it is, in a mount namespace that isn't new.
    OpenRootfs { path: CString },
    /// Bind the root filesystem onto itself, so that it is a mount to pivot into; with
    /// `nodev` the device nodes in it can't be opened. With `tree` it is the tree that this
    /// [`Op::OpenTree`], counted from 0, has opened, and comes to lie over `/`.
    BindRootfs { path: CString, nodev: bool, tree: Option<usize> },
    /// Cover the root filesystem by a throw-away layer in memory.
    OverlayRootfs { path: CString, nodev: bool, userxattr: bool },
    /// Mount a filesystem below the root filesystem.
    Mount(NewMount),
    /// Bind a host path below the root filesystem.
    Bind(Bind),
    /// Change what is mounted at a path.
    Remount(Remount),
    /// A device node below the root filesystem.
    Device(Device),
    /// symlink(2) below the root filesystem.
    Symlink { path: CString, target: CString },
    /// Open a pty inside, bind it to /dev/console and send its master out.
    Console { size: Option<TerminalSize>, owner: u32 },
    /// Open a pty of a running container and send its master out.
    Terminal { size: Option<TerminalSize>, owner: u32 },
    /// Hide a path: /dev/null over a file, an empty directory over a directory.
    Mask { path: CString },
    /// Make a path read-only.
    ReadonlyPath { path: CString },
    /// Make a directory below the root filesystem, parents included.
    MakeDir { path: CString },
    /// Make the mount of the root filesystem read-only.
    ReadonlyRootfs,
    /// Write a namespaced kernel parameter, named by its path below /proc/sys.
    Sysctl { file: CString, value: String },
    /// setdomainname(2).
    Domainname { name: String },
    /// Make the root filesystem `/`, and let go of the host's (pivot_root(2)). Where mounts
    /// travel to the host, unmounts would too: `cut` stops that before.
    PivotRoot { cut: bool },
    /// The same where pivot_root can't: move the root filesystem's mount over `/`, chroot(2).
    MoveRoot,
    /// chroot(2) alone, in a mount namespace that isn't new.
    Chroot,
    /// Say how mounts travel to and from the mount at `/`.
    PropagateRoot { propagation: Propagation },
    /// sethostname(2).
    Hostname { name: String },
    /// setrlimit(2).
    Rlimit { resource: Resource, soft: u64, hard: u64 },
    /// sched_setaffinity(2): a bit for each processor, and the list as it was given.
    CpuAffinity { cpus: Vec<u64>, words: String },
    /// sched_setattr(2).
    Schedule(Schedule),
    /// ioprio_set(2).
    IoPriority { class: u8, priority: u8 },
    /// personality(2).
    Personality { linux32: bool },
    /// set_mempolicy(2).
    MemoryPolicy(MemoryPolicy),
    /// Drop every capability but `keep` (a bit each) from the bounding set.
    LimitBounding { keep: u64 },
    /// Let the permitted capabilities outlive the change of uid.
    KeepCapabilities,
    /// Clear the caller's securebits.
    ClearSecurebits,
    /// setgroups(2).
    SetGroups { gids: Vec<u32> },
    /// setresgid(2).
    SetGid { gid: u32 },
    /// Install a filter of system calls (seccomp(2)), and let somebody have its notifications.
    Seccomp { filter: Filter, listener: Option<Listener> },
    /// setresuid(2).
    SetUid { uid: u32 },
    /// capset(2).
    SetCapabilities { sets: CapabilitySets },
    /// Raise ambient capabilities, a bit each.
    RaiseAmbient { set: u64 },
    /// umask(2); without a mask, back to the caller's.
    Umask { mask: Option<u32> },
    /// Give up gaining privileges by execve.
    NoNewPrivs,
    /// fchown(2) of those of standard input, output and error that are pipes.
    OwnPipes { uid: u32 },
    /// Find HOME of a user in the container's /etc/passwd (passwd(5)).
    Home { uid: u32 },
    /// chdir(2) inside.
    Chdir { path: CString },
    /// Make sure that this process stands in its directory, and that it lies inside.
    CheckDir { path: CString },
    /// Close every descriptor from `first` on that no later step needs.
    CloseInherited { first: u32 },
    /// Make sure that the program is there and can be executed.
    FindProgram { candidates: Vec<CString> },
    /// Tell the runtime that all is ready, and wait until `start` connects.
    HandOver,
    /// Fork: this process stays behind as init, the child goes on.
    Fork,
    /// setsid(2), and take the pty as controlling terminal.
    Session { controlling_terminal: bool },
    /// Reset signals and execve(2) the first candidate that exists.
    Exec(Exec),
}

impl Op {
    /// Whether it is one of those that make and limit the container's cgroup.
    pub(crate) fn sets_up_cgroup(&self) -> bool {
        matches!(
            self,
            Op::EnableControllers { .. }
                | Op::CreateCgroup { .. }
                | Op::InheritCpuset { .. }
                | Op::WriteCgroup { .. }
                | Op::MoveProcesses { .. }
                | Op::WriteFirst { .. }
                | Op::CheckUsage { .. }
                | Op::DeviceFilter { .. }
        )
    }
}

/// A transient unit of systemd, for a container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub name: String,
    /// The user's systemd has it, not the machine's.
    pub user: bool,
    /// Its cgroup in systemd's own hierarchy, and the controllers of that as in
    /// /proc/PID/cgroup.
    pub dir: CString,
    pub controllers: String,
    /// A scope begins with the container's process in it; a slice begins empty.
    pub is_scope: bool,
    /// Names, and values in the text format of GVariant.
    pub properties: Vec<(String, String)>,
}

/// Which id map of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdMap {
    Uid,
    Gid,
}

/// One line of an id map (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id inside the user namespace.
    pub container: u32,
    /// First id outside.
    pub host: u32,
    /// How many ids.
    pub size: u32,
}

/// Who writes an id map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapper {
    /// The runtime itself, which is root.
    Runtime,
    /// The set-uid tools newuidmap(1) and newgidmap(1).
    Tool,
}

/// The arguments of mount(2) for a new filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMount {
    pub source: CString,
    pub target: CString,
    pub fstype: CString,
    pub flags: MsFlags,
    pub data: CString,
    /// What is set once it is mounted.
    pub settings: Settings,
    pub takes_over: TakesOver,
}

/// What a new filesystem takes over from the directory that it covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TakesOver {
    #[default]
    Nothing,
    /// The permissions of a directory that was there before.
    Mode,
    /// Everything in it, by copying.
    Content,
}

/// A bind mount: open_tree(2), mount_setattr(2), move_mount(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    pub source: CString,
    pub target: CString,
    pub recursive: bool,
    pub settings: Settings,
    /// The source is the tree that this [`Op::OpenTree`], counted from 0, has opened.
    pub tree: Option<usize>,
    /// The source is known to be a directory.
    pub is_dir: bool,
}

/// A detached mount tree, which the container's process binds later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTree {
    pub source: CString,
    pub recursive: bool,
    pub ids: Option<MountIds>,
    pub is_rootfs: bool,
    /// The tree comes from the host's mount namespace, so it is told here what the
    /// container's was told as a whole.
    pub propagation: Option<Propagation>,
}

/// The id map of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountIds {
    pub uids: Vec<IdRange>,
    pub gids: Vec<IdRange>,
    /// Also for the mounts below.
    pub recursive: bool,
}

/// Changes to what is mounted already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remount {
    pub target: CString,
    /// Flags and options of the whole filesystem; `None` changes the mount alone.
    pub filesystem: Option<(MsFlags, CString)>,
    pub settings: Settings,
}

/// What mount_setattr(2) is to do to a mount and those below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Attributes (`MOUNT_ATTR_*`) of the top mount.
    pub attributes: Attributes,
    /// The same, for the mounts below it too.
    pub recursive: Attributes,
    /// In this order.
    pub propagation: Vec<Propagation>,
}

/// How mounts and unmounts travel between copies of a mount (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// `MS_PRIVATE`, `MS_SHARED`, `MS_SLAVE` or `MS_UNBINDABLE`.
    pub kind: MsFlags,
    /// Also for the mounts below.
    pub recursive: bool,
}

/// A device node or a FIFO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub path: CString,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub from: DeviceSource,
}

/// What kind of node a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    Character,
    Block,
    Fifo,
}

/// Where a device node comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceSource {
    /// mknod(2); a node of the same kind that is there already will do.
    New,
    /// The host's node of the same path, bound: in a user namespace mknod is refused.
    Host,
}

/// Mount attributes to set and to clear (mount_setattr(2)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    pub set: u64,
    pub clear: u64,
}

/// A program of the engine's (runtime-spec, "POSIX-platform Hooks"); it gets the
/// container's state on standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub stage: HookStage,
    pub path: CString,
    pub argv: Vec<CString>,
    pub envp: Vec<CString>,
    /// In seconds; without one it may take for ever.
    pub timeout: Option<u32>,
}

/// At which point of a container's life a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookStage {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

/// The arguments of execve(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// Paths to try in this order, made from PATH when the command has no slash.
    pub candidates: Vec<CString>,
    pub argv: Vec<CString>,
    pub envp: Vec<CString>,
}

/// The arguments of sched_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// The arguments of set_mempolicy(2); the mode has its flags in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    pub mode: u32,
    /// A bit for each node, the first word for the nodes below 64.
    pub nodes: Vec<u64>,
    /// Mode and nodes as the specification names them.
    pub words: String,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    pub rows: u16,
    pub columns: u16,
}

/// The three sets that capset(2) takes, a bit for each capability number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}
