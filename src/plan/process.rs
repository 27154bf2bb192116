//! The process: limits, identity, privileges, and the program itself.
//!
//! Everything is set in PID 1 before it forks, so init has no more rights than
//! the target that it looks after.

use std::ffi::CString;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::resource::Resource;
use oci_spec::runtime::{Capabilities, Capability, PosixRlimitType, Process, Spec};

use super::environment::Environment;
use super::namespaces::Layout;
use super::op::{CapabilitySets, Exec, Op, TerminalSize};
use super::{Lifecycle, Options, Side, Steps, element, hooks, labels, schedule, seccomp};
use crate::error::Result;
use crate::host::Host;

/// `start` will knock at a socket that is open before the container's process is cloned.
pub(super) fn listen(steps: &mut Steps, options: &Options) -> Result<()> {
    if options.lifecycle != Lifecycle::Created {
        return Ok(());
    }
    let Some(dir) = &options.start_dir else {
        return Err(steps.error("", "create a container", "it has no directory to wait in"));
    };
    let dir = steps.c_string("--root", dir.as_os_str().as_encoded_bytes())?;
    steps.runtime(Op::Listen { dir }, "");
    Ok(())
}

/// Nothing of the caller's may run that nobody could find: the container's process waits for
/// this before what could run any.
pub(super) fn record(steps: &mut Steps, options: &Options) {
    if options.start_dir.is_some() {
        steps.runtime(Op::Record, "");
    }
}

/// The container's process makes itself independent of its surroundings.
pub(super) fn settle_in(steps: &mut Steps, options: &Options) {
    if options.lifecycle == Lifecycle::Attached {
        steps.container(Op::DieWithParent, "");
    }
    // Only now: while a process isn't dumpable, its id maps can be written by root alone.
    steps.container(Op::Undumpable, "");
    if options.stdio {
        steps.container(Op::Stdio, "");
    }
}

/// AppArmor profile and SELinux label.
pub(super) fn labels(steps: &mut Steps, spec: &Spec, host: &Host) -> Result<()> {
    labels::on_exec(steps, Side::Container, required(steps, spec)?, host)
}

/// Resource limits of the process itself (setrlimit(2)), and how it is scheduled.
///
/// Raising a hard limit takes CAP_SYS_RESOURCE over the machine, which root of a new user
/// namespace hasn't, so there the runtime does it.
pub(super) fn limits(steps: &mut Steps, spec: &Spec, host: &Host, layout: &Layout) -> Result<()> {
    let process = required(steps, spec)?;
    // It is checked here, but holds for `exec` only.
    schedule::exec_cpus(steps, process)?;
    schedule::apply(steps, spec, process)?;
    let rlimits = process.rlimits().as_deref().unwrap_or_default();
    for (index, rlimit) in rlimits.iter().enumerate() {
        let path = element("process.rlimits", index);
        if rlimits[..index].iter().any(|before| before.typ() == rlimit.typ()) {
            let reason = format!("{} is limited twice", rlimit.typ());
            return Err(steps.error(&path, "limit a resource", reason));
        }
        let (soft, hard) = (rlimit.soft(), rlimit.hard());
        if soft > hard {
            let reason = format!("the soft limit {soft} is above the hard limit {hard}");
            return Err(steps.error(&path, "limit a resource", reason));
        }
        let by_runtime = layout.has_user() && host.is_real_root();
        let side = if by_runtime { Side::Runtime } else { Side::Container };
        let op = Op::Rlimit { resource: resource(rlimit.typ()), soft, hard };
        steps.push(side, op, &path, &[]);
    }
    Ok(())
}

/// Where the program starts: its directory and HOME, looked for while this process still
/// may look everywhere. What the target's user alone may enter is entered later.
pub(super) fn surroundings(steps: &mut Steps, spec: &Spec, options: &Options) -> Result<()> {
    let process = required(steps, spec)?;
    let uid = process.user().uid();
    if options.oci && uid != 0 {
        // In a user namespace they may be somebody's who isn't in it.
        steps.tolerant(Op::OwnPipes { uid }, "process.user", &[Errno::EPERM]);
    }
    if Environment::new(steps, process)?.wants_home {
        steps.container(Op::Home { uid }, "process.env");
    }
    if let Some(path) = cwd(steps, process)? {
        steps.tolerant(Op::Chdir { path }, "process.cwd", &[Errno::EACCES]);
    }
    Ok(())
}

/// The size that its terminal is to have.
pub(super) fn terminal_size(process: &Process) -> Option<TerminalSize> {
    process.console_size().map(|size| TerminalSize {
        rows: size.height().try_into().unwrap_or(u16::MAX),
        columns: size.width().try_into().unwrap_or(u16::MAX),
    })
}

/// The working directory; none for `/`, where pivot_root leads.
fn cwd(steps: &Steps, process: &Process) -> Result<Option<CString>> {
    let cwd = process.cwd();
    if !cwd.is_absolute() {
        let reason = "the working directory must be an absolute path";
        return Err(steps.error("process.cwd", "change directory", reason));
    }
    let path = steps.c_string("process.cwd", cwd.as_os_str().as_encoded_bytes())?;
    Ok(Some(path).filter(|_| cwd != Path::new("/")))
}

/// What an engine connected to /dev/null.
pub(super) fn null_device(steps: &mut Steps, options: &Options) {
    if options.oci {
        // A root filesystem may do without; then the engine's own stays.
        let without = &[Errno::ENOENT, Errno::ENOTDIR, Errno::ENODEV, Errno::EACCES, Errno::ELOOP];
        steps.tolerant(Op::NullDevice, "", without);
    }
}

/// Before the first path of the container's that may lead through /proc/self/fd, and before
/// the filter: profiles older than close_range(2) forbid it. What is opened later closes itself.
pub(super) fn close_inherited(steps: &mut Steps, options: &Options) {
    let first = options.preserve_fds.saturating_add(3);
    steps.container(Op::CloseInherited { first }, "");
}

/// User, groups, capabilities; the order is the kernel's demand, see capabilities(7).
pub(super) fn identity(
    steps: &mut Steps,
    spec: &Spec,
    options: &Options,
    host: &Host,
    layout: &Layout,
) -> Result<()> {
    let process = required(steps, spec)?;
    let user = process.user();
    let gids = user.additional_gids().clone().unwrap_or_default();
    // setresuid(2) and its like leave an id as it is then.
    if gids.iter().chain([&user.uid(), &user.gid()]).any(|id| *id == u32::MAX) {
        let reason = format!("{} means no id at all", u32::MAX);
        return Err(steps.error("process.user", "set the user", reason));
    }
    let sets = process.capabilities().as_ref();
    let bits = |set: Option<&Option<Capabilities>>| -> Result<u64> {
        let set = set.and_then(Option::as_ref).into_iter().flatten();
        set.map(|capability| bit(steps, *capability)).sum()
    };
    let bounding = bits(sets.map(|sets| sets.bounding()))?;
    let effective = bits(sets.map(|sets| sets.effective()))?;
    let permitted = bits(sets.map(|sets| sets.permitted()))?;
    let inheritable = bits(sets.map(|sets| sets.inheritable()))?;
    let ambient = bits(sets.map(|sets| sets.ambient()))?;
    if effective & !permitted != 0 || ambient & !permitted != 0 {
        let reason = "effective and ambient capabilities must be permitted ones";
        return Err(steps.error("process.capabilities", "set capabilities", reason));
    }
    // In a new user namespace its root has them all. What can't be granted is left out, and
    // no reason to fail (runtime-spec, "Linux Process").
    let grantable = if layout.has_user() { u64::MAX } else { host.capabilities };
    let missing = (permitted | inheritable) & !grantable;
    if missing != 0 {
        let reason = "minirun itself doesn't have these capabilities, and leaves them out";
        steps.warn("process.capabilities", format!("{reason}: {}", names(missing)));
    }
    // The kernel raises no others; to root, execve gives what is permitted anyway.
    let unraised = ambient & !inheritable;
    if unraised != 0 && user.uid() != 0 {
        let reason = "a capability that isn't inheritable can't be ambient, and is left out";
        steps.warn("process.capabilities.ambient", format!("{reason}: {}", names(unraised)));
    }
    let [effective, permitted, inheritable, ambient] =
        [effective, permitted, inheritable, ambient & inheritable].map(|set| set & grantable);

    // Both need CAP_SETPCAP, so they come before the uid changes. A new user namespace begins
    // without securebits.
    if host.securebits != 0 && !layout.has_user() {
        steps.container(Op::ClearSecurebits, "process.capabilities");
    }
    steps.container(Op::LimitBounding { keep: bounding }, "process.capabilities.bounding");
    if user.uid() != 0 && permitted != 0 {
        steps.container(Op::KeepCapabilities, "process.capabilities.permitted");
    }
    // Groups before the uid, which takes CAP_SETGID away.
    if layout.can_set_groups(host) {
        steps.container(Op::SetGroups { gids }, "process.user.additionalGids");
    } else if !gids.is_empty() {
        let reason = "without subordinate ids no groups can be set";
        let path = "process.user.additionalGids";
        return Err(steps.error(path, "set supplementary groups", reason));
    }
    steps.container(Op::SetGid { gid: user.gid() }, "process.user");
    seccomp::while_privileged(steps, spec, options, process)?;
    steps.container(Op::SetUid { uid: user.uid() }, "process.user");
    let sets = CapabilitySets { effective, permitted, inheritable };
    steps.container(Op::SetCapabilities { sets }, "process.capabilities");
    if ambient != 0 {
        steps.container(Op::RaiseAmbient { set: ambient }, "process.capabilities.ambient");
    }
    Ok(())
}

/// The last steps, from the target's surroundings to execve.
pub(super) fn start(steps: &mut Steps, spec: &Spec, options: &Options) -> Result<()> {
    let process = required(steps, spec)?;
    steps.container(Op::Umask { mask: process.user().umask() }, "process.user.umask");
    if process.no_new_privileges().unwrap_or(false) {
        steps.container(Op::NoNewPrivs, "process.noNewPrivileges");
    }
    if let Some(path) = cwd(steps, process)? {
        steps.container(Op::CheckDir { path }, "process.cwd");
    }
    if options.lifecycle == Lifecycle::Attached {
        // The change of uid and capabilities cleared it.
        steps.container(Op::DieWithParent, "");
    }
    if options.narrate {
        steps.push(Side::Runtime, Op::Narrate, "", &[]);
    }
    let exec = exec(steps, process)?;
    if options.oci {
        let candidates = exec.candidates.clone();
        steps.container(Op::FindProgram { candidates }, "process.args[0]");
    }
    seccomp::with_listener(steps, spec, options, process)?;
    if options.lifecycle == Lifecycle::Created {
        steps.container(Op::HandOver, "");
    }
    hooks::start(steps, spec)?;
    if options.init {
        steps.container(Op::Fork, "");
    }
    let controlling_terminal = process.terminal().unwrap_or(false);
    steps.container(Op::Session { controlling_terminal }, "process.terminal");
    seccomp::at_last(steps, spec, options, process)?;
    steps.container(Op::Exec(exec), "process.args");
    Ok(())
}

pub(super) fn required<'a>(steps: &Steps, spec: &'a Spec) -> Result<&'a Process> {
    let missing = || steps.error("process", "read the process", "none is given");
    spec.process().as_ref().ok_or_else(missing)
}

fn exec(steps: &Steps, process: &Process) -> Result<Exec> {
    let args = process.args().as_deref().unwrap_or_default();
    let Some(program) = args.first().filter(|program| !program.is_empty()) else {
        return Err(steps.error("process.args", "execute", "no program is named"));
    };
    let argv = args
        .iter()
        .enumerate()
        .map(|(i, arg)| steps.c_string(format_args!("process.args[{i}]"), arg.as_str()));
    let environment = Environment::new(steps, process)?;
    let candidates = candidates(program, environment.path);
    let candidates = candidates.into_iter().map(|path| steps.c_string("process.args[0]", path));
    Ok(Exec {
        candidates: candidates.collect::<Result<_>>()?,
        argv: argv.collect::<Result<_>>()?,
        envp: environment.entries,
    })
}

/// The search of execvp(3), spelt out: the container's PATH, not the host's.
fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let dirs = path.split(':').map(|dir| if dir.is_empty() { "." } else { dir });
    dirs.map(|dir| format!("{}/{program}", dir.trim_end_matches('/'))).collect()
}

/// In the order of their numbers in linux/capability.h.
#[rustfmt::skip]
const CAPABILITIES: &[Capability] = {
    use Capability::*;
    &[
        Chown, DacOverride, DacReadSearch, Fowner, Fsetid, Kill, Setgid, Setuid, Setpcap,
        LinuxImmutable, NetBindService, NetBroadcast, NetAdmin, NetRaw, IpcLock, IpcOwner,
        SysModule, SysRawio, SysChroot, SysPtrace, SysPacct, SysAdmin, SysBoot, SysNice,
        SysResource, SysTime, SysTtyConfig, Mknod, Lease, AuditWrite, AuditControl, Setfcap,
        MacOverride, MacAdmin, Syslog, WakeAlarm, BlockSuspend, AuditRead, Perfmon, Bpf,
        CheckpointRestore,
    ]
};

/// The names of capabilities, a bit each.
fn names(set: u64) -> String {
    let held = CAPABILITIES.iter().enumerate().filter(|(number, _)| set >> number & 1 != 0);
    held.map(|(_, name)| format!("CAP_{name}")).collect::<Vec<_>>().join(" ")
}

/// A capability as a bit, by its number.
fn bit(steps: &Steps, capability: Capability) -> Result<u64> {
    let number = CAPABILITIES.iter().position(|known| *known == capability);
    number.map(|number| 1 << number).ok_or_else(|| {
        let reason = format!("CAP_{capability} has no number here");
        steps.error("process.capabilities", "set capabilities", reason)
    })
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => Resource::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => Resource::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => Resource::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => Resource::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => Resource::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => Resource::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => Resource::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => Resource::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => Resource::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => Resource::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => Resource::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => Resource::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => Resource::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => Resource::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => Resource::RLIMIT_RTTIME,
    }
}

#[cfg(test)]
mod tests {
    use super::CAPABILITIES;

    #[test]
    fn every_capability_has_its_number() {
        let all = caps::all();
        assert_eq!(CAPABILITIES.len(), all.len());
        for capability in all {
            let ours = CAPABILITIES[usize::from(capability.index())];
            assert_eq!(format!("CAP_{ours}"), capability.to_string());
        }
    }
}
