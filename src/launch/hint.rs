//! What a user can do about a failed step.
//!
//! Hints are looked for after the fact, so they cost a successful run nothing; they
//! may read files to find the cause.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, SFlag, fstat};

use super::{Journal, hook, inside, mount_hint};
use crate::error::Error;
use crate::plan::op::{Exec, Op};
use crate::plan::{Plan, Step};

/// The error for a step of the container that failed with `errno`.
pub(super) fn failed_step(plan: &Plan, journal: &Journal, step: &Step, errno: Errno) -> Error {
    let error = match (&step.op, plan.exec()) {
        (Op::Exec(_) | Op::FindProgram { .. }, Some(exec)) => {
            let error = Error::exec(execute(exec), errno);
            let found = journal.program().and_then(|index| exec.candidates.get(index));
            match rootfs(plan).and_then(|root| exec_hint(root, exec, found, errno)) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        }
        (op @ Op::Hook(_), _) => {
            match hook::outcome(errno, journal.hook_status().unwrap_or_default()) {
                Some(reason) => Error::said(op.to_string(), reason),
                None => Error::system(op.to_string(), errno),
            }
        }
        (op, _) => {
            let error = Error::system(op.to_string(), errno);
            match hint(op, errno) {
                Some(hint) => error.hint(hint),
                None if is_filtered(plan, step) => error.hint(FILTERED),
                None => under_filter(error, errno),
            }
        }
    };
    error.at(step.place.as_str())
}

/// What to say where a seccomp filter was in force and may be the cause.
pub(super) const FILTERED: &str = "linux.seccomp may forbid a system call that this step needs; \
                                   with noNewPrivileges it is in force later";

fn is_filtered(plan: &Plan, step: &Step) -> bool {
    let is_filter = |step: &&Step| matches!(step.op, Op::Seccomp { .. });
    plan.steps.iter().take_while(|before| !std::ptr::eq(*before, step)).find(is_filter).is_some()
}

/// What execve attempts, in words.
pub(super) fn execute(exec: &Exec) -> String {
    format!("execute {} in the container", exec.program())
}

pub(super) const NO_FORMAT: &str = "it is neither a program for this machine nor a script with #!";

fn rootfs(plan: &Plan) -> Option<&CStr> {
    plan.steps.iter().find_map(|step| match &step.op {
        Op::BindRootfs { path, .. } | Op::OverlayRootfs { path, .. } => Some(path.as_c_str()),
        _ => None,
    })
}

/// The error of an operation that the runtime carries out, with the known way out.
pub(super) fn failed(op: &Op, errno: Errno) -> Error {
    explain(Error::system(op.to_string(), errno), op)
}

/// Adds the known way out to an error of an operation.
pub(super) fn explain(error: Error, op: &Op) -> Error {
    let Some(errno) = error.errno() else {
        return error;
    };
    match hint(op, errno) {
        Some(hint) => error.hint(hint),
        None => under_filter(error, errno),
    }
}

/// A filter that minirun was started under refuses what the kernel would allow.
fn under_filter(error: Error, errno: Errno) -> Error {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    match errno {
        Errno::EPERM | Errno::ENOSYS if status.contains("Seccomp:\t2") => error.hint(
            "minirun is under a seccomp filter here, as in most containers; start the outer one \
             with --security-opt seccomp=unconfined",
        ),
        _ => error,
    }
}

fn hint(op: &Op, errno: Errno) -> Option<String> {
    let words = match (op, errno) {
        (Op::OpenNamespace { .. }, Errno::EINVAL) => "it is a namespace of another type",
        (Op::OpenNamespace { .. }, Errno::ENOTTY) => "this file is no namespace",
        (Op::OpenNamespace { .. }, Errno::ENOENT) => {
            "the process whose namespace it was has ended, or nobody has made it"
        }
        (Op::JoinProcess { .. }, Errno::ESRCH) => "container not running",
        (Op::JoinNamespace { .. } | Op::JoinProcess { .. }, Errno::EPERM) => {
            "whoever joins it needs CAP_SYS_ADMIN in the user namespace that owns it"
        }
        (Op::Clone { namespaces, .. }, Errno::EPERM) => return Some(clone_eperm(*namespaces)),
        (Op::Clone { cgroup: Some(_), .. }, Errno::EACCES) => {
            "the kernel lets a user into a cgroup only from another one that is delegated to them; \
             try systemd-run --user --scope -p Delegate=yes minirun …"
        }
        (Op::Clone { namespaces, .. }, Errno::ENOSPC)
            if namespaces.contains(CloneFlags::CLONE_NEWUSER)
                && holds(MAX_USER_NAMESPACES, "0") =>
        {
            return Some(restricted_user_namespace());
        }
        (Op::Clone { .. } | Op::MakeNetwork, Errno::ENOSPC) => {
            "a limit on namespaces is reached; see /proc/sys/user/max_*_namespaces"
        }
        (Op::Clone { .. } | Op::MakeNetwork, Errno::EAGAIN) => {
            "a limit on processes is reached; see ulimit -u and pids.max of the cgroup"
        }
        (Op::LimitBounding { .. }, Errno::EPERM) => "minirun needs CAP_SETPCAP for this",
        (Op::LoopbackUp | Op::MakeNetwork, Errno::EPERM) if crate::host::is_real_root() => {
            "minirun needs CAP_NET_ADMIN for this"
        }
        (
            Op::LoopbackUp | Op::PropagateMounts { .. } | Op::MapOwnId { .. },
            Errno::EPERM | Errno::EACCES,
        ) => {
            return Some(restricted_user_namespace());
        }
        (Op::Fork, Errno::EAGAIN) => {
            "a limit on processes is reached; --pids must leave room for init and the command"
        }
        (Op::CreateCgroup { .. } | Op::EnableControllers { .. }, Errno::EACCES | Errno::EPERM) => {
            NOT_DELEGATED
        }
        (Op::CreateCgroup { .. }, Errno::EEXIST) => {
            "a container of this name is running; choose another with --name"
        }
        (Op::WriteCgroup { file, .. }, errno) => return limit(file, errno).map(str::to_owned),
        (Op::WriteFirst { .. }, Errno::ENOENT) => {
            "the kernel has no scheduler of block devices with weights here; see modprobe bfq"
        }
        (Op::WriteFirst { .. }, Errno::EOPNOTSUPP) => {
            "this device's I/O scheduler knows no weights; bfq does (/sys/block/NAME/queue/scheduler)"
        }
        (Op::WriteFirst { .. }, Errno::ENODEV) => "this host has no block device of that number",
        (Op::JoinCgroup { .. }, Errno::ENOSPC) => {
            "the cpuset has no processors or no memory nodes in it"
        }
        (Op::DeviceFilter { .. }, Errno::EPERM) => {
            "root needs CAP_BPF or CAP_SYS_ADMIN for this, and the kernel may forbid it by lockdown"
        }
        (Op::DeviceFilter { .. }, Errno::EINVAL | Errno::ENOSYS) => {
            "the kernel must be built with CONFIG_CGROUP_BPF"
        }
        (Op::Rlimit { .. }, Errno::EPERM) => {
            "only a process with CAP_SYS_RESOURCE may raise a hard limit; choose a lower one"
        }
        (Op::MoveNetDevice { .. }, Errno::ENODEV) => "the host has no network device of this name",
        (Op::MoveNetDevice { .. }, Errno::EEXIST) => {
            "the container has one of this name already; append %d to get a free one"
        }
        (Op::MoveNetDevice { .. }, Errno::EINVAL) => {
            "a device of this kind can't leave its network namespace"
        }
        (Op::EnterTime { .. }, Errno::ERANGE) => "no clock may go below zero or beyond 146 years",
        (Op::EnterTime { .. }, Errno::EINVAL) => "the kernel has no time namespaces",
        (Op::EnterTime { .. }, Errno::EPERM) => "CAP_SYS_TIME is needed",
        (Op::SessionKeyring { .. }, Errno::EDQUOT) => {
            "this user has too many keys (/proc/key-users); --no-new-keyring does without"
        }
        (Op::AppArmor { .. }, Errno::ENOENT) => {
            "no such profile is loaded; see /sys/kernel/security/apparmor/profiles"
        }
        (Op::SelinuxLabel { .. }, Errno::EINVAL) => "the policy of this host has no such label",
        (Op::SetGroups { .. }, Errno::EINVAL) => "the user namespace doesn't map one of the groups",
        (Op::OomScore { .. }, Errno::EACCES | Errno::EPERM) => {
            "only a process with CAP_SYS_RESOURCE may lower it below the caller's own; \
             see /proc/self/oom_score_adj"
        }
        (Op::CpuAffinity { .. }, Errno::EINVAL) => {
            "none of them is there and in the container's cpuset (linux.resources.cpu.cpus)"
        }
        (Op::Terminal { .. } | Op::Console { .. }, Errno::ENOENT | Errno::ENODEV) => {
            "the container needs a devpts on /dev/pts"
        }
        (Op::Schedule(_), Errno::EPERM) => {
            "CAP_SYS_NICE over the whole machine is needed, for SCHED_FIFO and SCHED_RR a \
             linux.resources.cpu.realtimeRuntime too where cgroups share real time out, and \
             for SCHED_DEADLINE a cpuset that isn't restricted"
        }
        (Op::Schedule(_), Errno::EBUSY) => "the processors have no such time left to promise",
        (Op::IoPriority { .. }, Errno::EPERM) => {
            "the real-time class needs CAP_SYS_NICE over the whole machine"
        }
        (Op::MemoryPolicy(_), Errno::EINVAL) => {
            "the nodes must be there and allowed (/sys/devices/system/node/online), and the \
             flags fit the mode"
        }
        (Op::Seccomp { .. }, Errno::EACCES) => {
            "without process.noNewPrivileges only a process with CAP_SYS_ADMIN may do that"
        }
        (Op::Seccomp { listener: Some(_), .. }, Errno::EBUSY) => {
            "minirun itself is under a filter with a listener, and the kernel allows one only"
        }
        (Op::SetUid { .. } | Op::SetGid { .. }, Errno::EINVAL) => {
            "the user namespace doesn't map this id; subordinate ids (subuid(5)) give it more"
        }
        (Op::SetGroups { .. }, Errno::EPERM) => "setgroups is denied in this user namespace",
        (Op::SetCapabilities { .. }, Errno::EPERM) => {
            "minirun itself doesn't have all of these; drop what is missing with --cap-drop"
        }
        (Op::CheckDir { .. }, Errno::EACCES) => "the user of the container may not enter it",
        (Op::CheckDir { .. }, Errno::ENOENT) => {
            "it leads out of the container, which is refused (CVE-2024-21626)"
        }
        _ => return mount_hint::hint(op, errno),
    };
    Some(words.to_owned())
}

const NOT_DELEGATED: &str = "this cgroup isn't delegated to you; try systemd-run --user --scope \
     -p Delegate=yes minirun run …, or run without limits";

/// The "no internal processes" rule of cgroups(7), which a shell in a container or in a
/// delegated cgroup meets.
const INTERNAL_PROCESSES: &str = "processes stand in the cgroup above, and cgroup v2 hands \
     controllers down only from one without: mkdir a child of it, write each pid of its \
     cgroup.procs to the child's, and try again; or run without limits";

/// Whether one of the cgroups above, the host's root aside, has processes of its own.
fn processes_stand_above(file: &CStr) -> bool {
    let file = Path::new(OsStr::from_bytes(file.to_bytes()));
    file.ancestors().skip(2).any(|dir| {
        let procs = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        !procs.is_empty() && dir.join("cgroup.type").exists()
    })
}

/// Why a cgroup's file couldn't be written.
fn limit(file: &CStr, errno: Errno) -> Option<&'static str> {
    let name = file.to_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    Some(match (name, errno) {
        (b"devices.allow", Errno::EPERM) => {
            "the cgroup above doesn't allow this device either; give the outer container more"
        }
        (_, Errno::EACCES | Errno::EPERM) => NOT_DELEGATED,
        (b"cgroup.subtree_control", Errno::EBUSY) => INTERNAL_PROCESSES,
        (_, Errno::EBUSY) => "more than that is in use now",
        (b"cpuset.cpus" | b"cpuset.mems", Errno::EINVAL | Errno::ERANGE) => {
            "this host hasn't got all of them"
        }
        (b"memory.memsw.limit_in_bytes", Errno::EINVAL) => {
            "memory and swap together can't be limited to less than memory"
        }
        (b"memory.limit_in_bytes", Errno::EINVAL) => {
            "memory can't get more than memory and swap together; raise memory.swap as well"
        }
        (_, Errno::ENODEV) => "this host has no device of that number",
        (_, Errno::EINVAL | Errno::ERANGE) => "the kernel finds the value out of range",
        (_, Errno::ENOENT) if processes_stand_above(file) => INTERNAL_PROCESSES,
        (_, Errno::ENOENT) => {
            "the kernel has no such file here, or its controller isn't enabled; see \
             cgroup.controllers of the parent cgroup"
        }
        _ => return None,
    })
}

const MAX_USER_NAMESPACES: &str = "/proc/sys/user/max_user_namespaces";

fn holds(file: &str, value: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|found| found.trim() == value)
}

fn clone_eperm(namespaces: CloneFlags) -> String {
    if !namespaces.contains(CloneFlags::CLONE_NEWUSER) {
        return mount_hint::unprivileged_root();
    }
    restricted_user_namespace()
}

/// Which switch of this system stands against user namespaces of ordinary users.
fn restricted_user_namespace() -> String {
    if holds(MAX_USER_NAMESPACES, "0") {
        "user namespaces are switched off; as root: sysctl user.max_user_namespaces=10000"
    } else if holds("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "user namespaces are for root only here; as root: sysctl kernel.unprivileged_userns_clone=1"
    } else if holds("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor restricts user namespaces here; as root: \
         sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give minirun a profile with userns"
    } else {
        "this system forbids user namespaces, as most containers do; run minirun as root, \
         or the outer container with a seccomp profile that allows clone3"
    }
    .to_owned()
}

/// Why execve failed. `found` exists in the container; a look into the root filesystem
/// tells more, unless the program lies on another mount.
fn exec_hint(rootfs: &CStr, exec: &Exec, found: Option<&CString>, errno: Errno) -> Option<String> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(rootfs, flags, Mode::empty()).ok()?;
    let has = |path: &CStr| inside::open(root.as_fd(), path, OFlag::O_PATH).is_ok();
    let words = match (errno, found) {
        (Errno::ENOENT | Errno::ENOTDIR, Some(found)) => {
            match open_regular(root.as_fd(), found).and_then(interpreter) {
                Some(name) => {
                    return Some(format!("it is there, but its interpreter {name} is not"));
                }
                None => {
                    "it is there, but the interpreter that it names (behind #! or as dynamic \
                         linker) is not"
                }
            }
        }
        (Errno::ENOENT | Errno::ENOTDIR, None) if !has(c"/bin") && !has(c"/usr/bin") => {
            let rootfs = rootfs.to_string_lossy();
            return Some(format!(
                "{rootfs} has no programs in it; rootfs/build.sh fills one with a busybox userland"
            ));
        }
        (Errno::ENOENT | Errno::ENOTDIR, None) => {
            return Some(what_is_there(&has, &exec.program()));
        }
        (Errno::EACCES, Some(path)) if is_directory(&root, path) => "it is a directory",
        (Errno::EACCES, _) => {
            "it must be a file with execute permission (chmod +x), on a mount without noexec"
        }
        (Errno::ENOEXEC, _) => NO_FORMAT,
        (Errno::E2BIG, _) => {
            "one argument or variable (process.env) may have 128 KiB, all together a quarter of \
             the stack's limit (process.rlimits)"
        }
        _ => return None,
    };
    Some(words.to_owned())
}

/// Opens a file of the image's, which could be a FIFO or a device.
fn open_regular(root: BorrowedFd<'_>, path: &CStr) -> Option<File> {
    let found = inside::open(root, path, OFlag::O_PATH).ok()?;
    let is_regular = inside::file_type(fstat(&found).ok()?.st_mode) == SFlag::S_IFREG;
    is_regular.then(|| File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok())?
}

fn is_directory(root: &impl AsFd, path: &CStr) -> bool {
    inside::open(root.as_fd(), path, OFlag::O_PATH | OFlag::O_DIRECTORY).is_ok()
}

fn what_is_there(has: &dyn Fn(&CStr) -> bool, program: &str) -> String {
    let shells = [c"/bin/bash", c"/bin/sh", c"/bin/ash", c"/bin/busybox", c"/usr/bin/env"];
    let there: Vec<_> =
        shells.iter().filter(|path| has(path)).map(|path| path.to_string_lossy()).collect();
    match there.is_empty() {
        true => format!("executable file not found in the root filesystem: {program}"),
        false => format!("not in the root filesystem, which has {}", there.join(", ")),
    }
}

/// What a program needs to start: the path after `#!`, or an ELF file's PT_INTERP.
fn interpreter(file: File) -> Option<String> {
    let mut head = Vec::new();
    file.take(4096).read_to_end(&mut head).ok()?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        return String::from_utf8_lossy(line).split_whitespace().next().map(str::to_owned);
    }
    head.starts_with(b"\x7fELF").then_some(())?;
    // The name stands in the first page as an absolute path that ends in NUL; every
    // linker puts it right behind the program headers (elf(5), PT_INTERP).
    let start = head.windows(4).position(|bytes| matches!(bytes, b"/lib" | b"/nix" | b"/usr"))?;
    let name = head[start..].split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}
