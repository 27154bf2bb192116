//! Every operation in words: what it does, and what that is for.
//!
//! `plan`, `--explain`, `--trace` and the errors all take their words from here.

use std::fmt;

use nix::sched::CloneFlags;

use super::mount_options::propagation_word;
use super::namespaces::NEWTIME;
use super::op::{DeviceSource, Exec, HookStage, IdMap, IdRange, Mapper, Op, Propagation, Schedule};
use super::{Plan, Side, Step};

/// Namespace flags by the name that `lsns` and /proc/PID/ns give them.
pub(crate) const NAMESPACE_WORDS: &[(CloneFlags, &str)] = &[
    (CloneFlags::CLONE_NEWUSER, "user"),
    (CloneFlags::CLONE_NEWPID, "pid"),
    (CloneFlags::CLONE_NEWNET, "net"),
    (CloneFlags::CLONE_NEWIPC, "ipc"),
    (CloneFlags::CLONE_NEWNS, "mnt"),
    (CloneFlags::CLONE_NEWUTS, "uts"),
    (CloneFlags::CLONE_NEWCGROUP, "cgroup"),
    (NEWTIME, "time"),
];

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::EnableControllers { dir, controllers } => {
                write!(f, "enable {} below cgroup {}", controllers.join(" "), text(dir))
            }
            Op::CreateCgroup { dir, .. } => write!(f, "create cgroup {}", text(dir)),
            Op::InheritCpuset { dir, .. } => {
                write!(f, "copy processors and memory nodes from the parent to {}", text(dir))
            }
            Op::MoveProcesses { from, to } => {
                write!(f, "move the processes of cgroup {} into {} too", text(from), text(to))
            }
            Op::WriteCgroup { file, value } => write!(f, "write {value:?} to {}", text(file)),
            Op::WriteFirst { choices } => {
                for (number, (file, value)) in choices.iter().enumerate() {
                    let or = if number == 0 { "" } else { ", or else " };
                    write!(f, "{or}write {value:?} to {}", text(file))?;
                }
                Ok(())
            }
            Op::CheckUsage { file, limit } => {
                write!(f, "make sure that {} is not above {limit}", text(file))
            }
            Op::DeviceFilter { dir, program } => {
                let count = program.len();
                write!(f, "attach a device filter of {count} instructions to {}", text(dir))
            }
            Op::CheckUnit { name, .. } => {
                write!(f, "make sure that systemd has no unit {name} yet")
            }
            Op::StartUnit(unit) => {
                let user = if unit.user { "the user's " } else { "" };
                write!(f, "have {user}systemd start unit {}: ", unit.name)?;
                properties(f, &unit.properties)
            }
            Op::JoinUnit { name, .. } => write!(f, "have systemd move the process into {name}"),
            Op::SetUnit { name, properties: changes, .. } => {
                write!(f, "have systemd change unit {name}: ")?;
                properties(f, changes)
            }
            Op::MakeNetwork => f.write_str("begin to make a network namespace with lo up"),
            Op::Clone { namespaces, cgroup } => {
                match namespaces.is_empty() {
                    true => f.write_str("clone3 the process")?,
                    false => {
                        write!(f, "clone3 into new namespaces: {}", namespace_words(*namespaces))?;
                    }
                }
                match cgroup {
                    Some(dir) => write!(f, "; into cgroup {}", text(dir)),
                    None => Ok(()),
                }
            }
            Op::MapIds { map, ranges, by } => {
                let by = match by {
                    Mapper::Runtime => String::new(),
                    Mapper::Tool => format!(" with {}", map.tool()),
                };
                write!(f, "map {}{by}: {}", map.words(), range_words(ranges))
            }
            Op::MoveNetDevice { name, inside } if name == inside => {
                write!(f, "move network device {name} into the container")
            }
            Op::MoveNetDevice { name, inside } => {
                write!(f, "move network device {name} into the container as {inside}")
            }
            Op::EnterTime { offsets } => {
                let offsets = offsets.trim_end().replace('\n', ", ");
                write!(f, "enter a new time namespace ({offsets})")
            }
            Op::SessionKeyring { name, .. } => write!(f, "join session keyring {}", text(name)),
            Op::AppArmor { profile } => {
                write!(f, "apply the AppArmor profile {} at execve", text(profile))
            }
            Op::SelinuxLabel { label } => {
                write!(f, "apply the SELinux label {} at execve", text(label))
            }
            Op::OomScore { score } => write!(f, "set the OOM score adjustment to {score}"),
            Op::Record => f.write_str("write down which process is the container's"),
            Op::Listen { dir } => write!(f, "listen for start on {}/start.sock", text(dir)),
            Op::OpenNamespace { namespace, path } => {
                write!(f, "open the {} namespace {}", namespace_words(*namespace), text(path))
            }
            Op::Intermediate => f.write_str("fork a process that joins namespaces"),
            Op::JoinNamespace { namespace } => {
                write!(f, "join the {} namespace", namespace_words(*namespace))
            }
            Op::JoinProcess { namespaces } => {
                write!(f, "join the container's namespaces: {}", namespace_words(*namespaces))
            }
            Op::Narrate => f.write_str("let the reader catch up"),
            Op::RenderState => f.write_str("write the container's state for its hooks"),
            Op::Hook(hook) => write!(f, "run {} hook {}", hook.stage.words(), text(&hook.path)),
            Op::MapOwnId { map, line } => write!(f, "map {}: {line}", map.words()),
            Op::Stdio => f.write_str("connect standard input, output and error"),
            Op::NullDevice => {
                f.write_str("open /dev/null again where it is standard input, output or error")
            }
            Op::DieWithParent => f.write_str("die with the runtime"),
            Op::Undumpable => f.write_str("close /proc/PID of this process to others"),
            Op::JoinCgroup { tasks } => write!(f, "join cgroup {}", text(tasks)),
            Op::Unshare { namespaces } => {
                write!(f, "unshare namespaces: {}", namespace_words(*namespaces))
            }
            Op::JoinNetwork => f.write_str("join the network namespace"),
            Op::LoopbackUp => f.write_str("bring up lo"),
            Op::OpenKernelMounts => f.write_str("open the kernel's own mount namespace"),
            Op::NewMounts => f.write_str("make a mount namespace from the kernel's own"),
            Op::PropagateMounts { propagation } => {
                let how = Propagation { recursive: false, ..*propagation };
                write!(f, "make all mounts {}", propagation_word(how))
            }
            Op::PrivateParent { path } => {
                write!(f, "make the mount private that holds {}", text(path))
            }
            Op::OpenRootfs { path } => write!(f, "open the root directory {}", text(path)),
            Op::BindRootfs { path, .. } => write!(f, "open the root filesystem {}", text(path)),
            Op::OverlayRootfs { path, .. } => {
                write!(f, "open the root filesystem {} below a throw-away overlay", text(path))
            }
            Op::Mount(mount) => mount.fmt(f),
            Op::OpenTree(tree) => tree.fmt(f),
            Op::Bind(bind) => bind.fmt(f),
            Op::Remount(remount) => remount.fmt(f),
            Op::Device(device) => device.fmt(f),
            Op::Symlink { path, target } => {
                write!(f, "link {} to {}", text(path), text(target))
            }
            Op::Console { .. } => f.write_str("open a pty on /dev/console"),
            Op::Terminal { .. } => f.write_str("open a pty of the container"),
            Op::Mask { path } => write!(f, "mask {}", text(path)),
            Op::ReadonlyPath { path } => write!(f, "make {} read-only", text(path)),
            Op::MakeDir { path } => write!(f, "make directory {}", text(path)),
            Op::ReadonlyRootfs => f.write_str("make the root filesystem read-only"),
            Op::Sysctl { file, value } => write!(f, "write {value:?} to /proc/sys/{}", text(file)),
            Op::Domainname { name } => write!(f, "set domain name {name}"),
            Op::PivotRoot { .. } => f.write_str("pivot_root into the root filesystem"),
            Op::MoveRoot => f.write_str("move the root filesystem over / and chroot into it"),
            Op::Chroot => f.write_str("chroot into the root directory"),
            Op::PropagateRoot { propagation } => {
                write!(f, "make / {}", propagation_word(*propagation))
            }
            Op::Hostname { name } => write!(f, "set hostname {name}"),
            Op::Rlimit { resource, soft, hard } => {
                write!(f, "limit {resource:?} to {}:{}", limit(*soft), limit(*hard))
            }
            Op::CpuAffinity { words, cpus } => {
                write!(f, "run on the processors {words} (CPU affinity: 0x")?;
                let mut high_first = cpus.iter().rev().skip_while(|word| **word == 0);
                write!(f, "{:x}", high_first.next().unwrap_or(&0))?;
                high_first.try_for_each(|word| write!(f, "{word:016x}"))?;
                f.write_str(")")
            }
            Op::Schedule(schedule) => schedule.fmt(f),
            Op::IoPriority { class, priority } => {
                let class = ["none", "real-time", "best-effort", "idle"][usize::from(class & 3)];
                write!(f, "set I/O priority {priority} ({class})")
            }
            Op::Personality { linux32: true } => f.write_str("set the personality to LINUX32"),
            Op::Personality { linux32: false } => f.write_str("set the personality to LINUX"),
            Op::MemoryPolicy(policy) => write!(f, "set the memory policy {}", policy.words),
            Op::LimitBounding { keep } => {
                write!(f, "limit the bounding set to {} capabilities", keep.count_ones())
            }
            Op::ClearSecurebits => f.write_str("clear the caller's securebits"),
            Op::KeepCapabilities => f.write_str("keep capabilities over the change of uid"),
            Op::SetGroups { gids } => write!(f, "set supplementary groups {gids:?}"),
            Op::SetGid { gid } => write!(f, "set gid {gid}"),
            Op::Seccomp { filter, listener } => {
                write!(f, "install seccomp filter: {filter}")?;
                match listener {
                    Some(listener) => write!(f, ", listener at {}", listener.path.display()),
                    None => Ok(()),
                }
            }
            Op::SetUid { uid } => write!(f, "set uid {uid}"),
            Op::SetCapabilities { sets } => {
                let [effective, permitted, inheritable] =
                    [sets.effective, sets.permitted, sets.inheritable].map(u64::count_ones);
                write!(
                    f,
                    "set capabilities: {effective} effective, {permitted} permitted, \
                     {inheritable} inheritable"
                )
            }
            Op::RaiseAmbient { set } => {
                write!(f, "raise {} ambient capabilities", set.count_ones())
            }
            Op::Umask { mask: Some(mask) } => write!(f, "set umask {mask:04o}"),
            Op::Umask { mask: None } => f.write_str("set umask back to the caller's"),
            Op::NoNewPrivs => f.write_str("set no_new_privs"),
            Op::OwnPipes { uid } => write!(f, "give the pipes of standard output to uid {uid}"),
            Op::Home { uid } => write!(f, "find the home of uid {uid}"),
            Op::CheckDir { path } => write!(f, "check the working directory {}", text(path)),
            Op::Chdir { path } => write!(f, "change directory to {}", text(path)),
            Op::CloseInherited { first: 3 } => f.write_str("close inherited descriptors"),
            Op::CloseInherited { first } => {
                write!(f, "close inherited descriptors from {first} on")
            }
            Op::FindProgram { candidates } => match candidates.first() {
                Some(first) if candidates.len() == 1 => write!(f, "find {}", text(first)),
                _ => f.write_str("find the program in PATH"),
            },
            Op::HandOver => f.write_str("wait for start"),
            Op::Fork => f.write_str("fork: stay behind as init (PID 1)"),
            Op::Session { controlling_terminal } => f.write_str(match controlling_terminal {
                true => "start a session with the pty as controlling terminal",
                false => "start a session",
            }),
            Op::Exec(exec) => write!(f, "execute {}", exec.program()),
        }
    }
}

impl Op {
    /// The short kind of the operation, for JSON and traces: `mount`, `pivot_root` …
    pub fn kind(&self) -> &'static str {
        match self {
            Op::CreateCgroup { .. } => "create_cgroup",
            Op::EnableControllers { .. } => "enable_controllers",
            Op::InheritCpuset { .. } => "inherit_cpuset",
            Op::MoveProcesses { .. } => "move_processes",
            Op::WriteCgroup { .. } | Op::WriteFirst { .. } => "write_cgroup",
            Op::CheckUsage { .. } => "check_usage",
            Op::DeviceFilter { .. } => "device_filter",
            Op::CheckUnit { .. } => "check_unit",
            Op::StartUnit(_) => "start_unit",
            Op::JoinUnit { .. } => "join_unit",
            Op::SetUnit { .. } => "set_unit",
            Op::MakeNetwork => "make_network",
            Op::Clone { .. } => "clone3",
            Op::MapIds { map: IdMap::Uid, .. } | Op::MapOwnId { map: IdMap::Uid, .. } => "uid_map",
            Op::MapIds { map: IdMap::Gid, .. } | Op::MapOwnId { map: IdMap::Gid, .. } => "gid_map",
            Op::MoveNetDevice { .. } => "net_device",
            Op::EnterTime { .. } => "time_namespace",
            Op::SessionKeyring { .. } => "session_keyring",
            Op::AppArmor { .. } => "apparmor",
            Op::SelinuxLabel { .. } => "selinux",
            Op::OomScore { .. } => "oom_score",
            Op::Record => "record",
            Op::Listen { .. } => "listen",
            Op::OpenNamespace { .. } => "open_namespace",
            Op::Intermediate => "intermediate",
            Op::JoinNamespace { .. } | Op::JoinProcess { .. } => "setns",
            Op::Narrate => "narrate",
            Op::RenderState => "render_state",
            Op::Hook(_) => "hook",
            Op::Stdio => "stdio",
            Op::NullDevice => "null_device",
            Op::DieWithParent => "die_with_parent",
            Op::Undumpable => "undumpable",
            Op::JoinCgroup { .. } => "join_cgroup",
            Op::Unshare { .. } => "unshare",
            Op::JoinNetwork => "join_network",
            Op::LoopbackUp => "loopback",
            Op::OpenKernelMounts => "kernel_mounts",
            Op::NewMounts => "new_mounts",
            Op::PropagateMounts { .. } => "propagate_mounts",
            Op::PrivateParent { .. } => "private_parent",
            Op::OpenRootfs { .. } => "rootfs",
            Op::BindRootfs { .. } => "rootfs",
            Op::OverlayRootfs { .. } => "overlay",
            Op::Mount(_) => "mount",
            Op::OpenTree(_) => "open_tree",
            Op::Bind(_) => "bind",
            Op::Remount(_) => "remount",
            Op::Device(device) if device.from == DeviceSource::Host => "bind",
            Op::Device(_) => "device",
            Op::Symlink { .. } => "symlink",
            Op::Console { .. } => "console",
            Op::Terminal { .. } => "terminal",
            Op::Mask { .. } => "mask",
            Op::ReadonlyPath { .. } => "readonly_path",
            Op::MakeDir { .. } => "mkdir",
            Op::ReadonlyRootfs => "readonly_rootfs",
            Op::Sysctl { .. } => "sysctl",
            Op::Domainname { .. } => "domainname",
            Op::PivotRoot { .. } => "pivot_root",
            Op::MoveRoot => "move_root",
            Op::Chroot => "chroot",
            Op::PropagateRoot { .. } => "propagate_root",
            Op::Hostname { .. } => "hostname",
            Op::Rlimit { .. } => "rlimit",
            Op::CpuAffinity { .. } => "cpu_affinity",
            Op::Schedule(_) => "scheduler",
            Op::IoPriority { .. } => "io_priority",
            Op::Personality { .. } => "personality",
            Op::MemoryPolicy(_) => "memory_policy",
            Op::LimitBounding { .. } => "bounding_set",
            Op::ClearSecurebits => "clear_securebits",
            Op::KeepCapabilities => "keep_capabilities",
            Op::SetGroups { .. } => "setgroups",
            Op::SetGid { .. } => "setgid",
            Op::Seccomp { .. } => "seccomp",
            Op::SetUid { .. } => "setuid",
            Op::SetCapabilities { .. } => "capset",
            Op::RaiseAmbient { .. } => "ambient",
            Op::Umask { .. } => "umask",
            Op::NoNewPrivs => "no_new_privs",
            Op::OwnPipes { .. } => "own_pipes",
            Op::Home { .. } => "home",
            Op::CheckDir { .. } => "check_dir",
            Op::Chdir { .. } => "chdir",
            Op::CloseInherited { .. } => "close_range",
            Op::FindProgram { .. } => "find_program",
            Op::HandOver => "hand_over",
            Op::Fork => "fork",
            Op::Session { .. } => "setsid",
            Op::Exec(_) => "execve",
        }
    }
}

fn properties(f: &mut fmt::Formatter<'_>, properties: &[(String, String)]) -> fmt::Result {
    for (number, (name, value)) in properties.iter().enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        write!(f, "{comma}{name}={value}")?;
    }
    Ok(())
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policies = ["OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE"];
        let policy = policies.get(self.policy as usize).copied().unwrap_or("unknown");
        write!(f, "set scheduler SCHED_{policy}")?;
        let numbers = [
            ("nice", i64::from(self.nice)),
            ("priority", i64::from(self.priority)),
            ("runtime", self.runtime as i64),
            ("deadline", self.deadline as i64),
            ("period", self.period as i64),
        ];
        for (name, number) in numbers.into_iter().filter(|(_, number)| *number != 0) {
            write!(f, ", {name} {number}")?;
        }
        Ok(())
    }
}

impl Exec {
    /// The program as its caller named it.
    pub fn program(&self) -> String {
        self.argv.first().map_or_else(String::new, |program| text(program))
    }
}

impl HookStage {
    /// The stage as the runtime-spec names it, `createRuntime` for example.
    pub fn words(self) -> &'static str {
        match self {
            HookStage::Prestart => "prestart",
            HookStage::CreateRuntime => "createRuntime",
            HookStage::CreateContainer => "createContainer",
            HookStage::StartContainer => "startContainer",
            HookStage::Poststart => "poststart",
            HookStage::Poststop => "poststop",
        }
    }
}

impl IdMap {
    /// `uids` or `gids`.
    fn words(self) -> &'static str {
        match self {
            IdMap::Uid => "uids",
            IdMap::Gid => "gids",
        }
    }

    /// The set-uid program that maps ranges for ordinary users.
    pub fn tool(self) -> &'static str {
        match self {
            IdMap::Uid => "newuidmap",
            IdMap::Gid => "newgidmap",
        }
    }
}

impl Side {
    /// `runtime`, `joiner` or `container`.
    pub fn words(self) -> &'static str {
        match self {
            Side::Runtime => "runtime",
            Side::Intermediate => "joiner",
            Side::Container => "container",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.op.fmt(f)?;
        if self.place.is_empty() { Ok(()) } else { write!(f, " [{}]", self.place) }
    }
}

/// The plan as text, a step a line: number, side, what, and where it came from.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>3}  {:9}  {step}", number + 1, step.side.words())?;
        }
        Ok(())
    }
}

impl Plan {
    /// The plan as JSON: an array of objects with `side`, `kind`, `what`,
    /// `purpose`, `place` (may be empty) and `tolerates` (errno names).
    pub fn to_json(&self) -> serde_json::Value {
        let step = |step: &Step| {
            serde_json::json!({
                "side": step.side.words(),
                "kind": step.op.kind(),
                "what": step.op.to_string(),
                "purpose": step.op.purpose(),
                "place": step.place,
                "tolerates": step.tolerates.iter().map(|e| format!("{e:?}")).collect::<Vec<_>>(),
            })
        };
        self.steps.iter().map(step).collect()
    }
}

pub(super) fn text(path: &std::ffi::CStr) -> String {
    path.to_string_lossy().into_owned()
}

fn limit(value: u64) -> String {
    if value == libc::RLIM_INFINITY { "unlimited".to_owned() } else { value.to_string() }
}

fn namespace_words(namespaces: CloneFlags) -> String {
    let words: Vec<_> = NAMESPACE_WORDS
        .iter()
        .filter(|(flag, _)| namespaces.contains(*flag))
        .map(|(_, word)| *word)
        .collect();
    if words.is_empty() { "none".to_owned() } else { words.join(" ") }
}

pub(super) fn range_words(ranges: &[IdRange]) -> String {
    let words = ranges.iter().map(|r| format!("{} is {} (x{})", r.container, r.host, r.size));
    words.collect::<Vec<_>>().join(", ")
}
