//! The profile of containers whose user named none, as data.
//!
//! It permits what Docker's and containerd's default does and refuses the rest, which is some
//! hundred calls: those that reach the whole machine, and old ones with a history of holes.
//! A test compares it with the profiles of engines that are installed. Names that an ABI
//! doesn't have are left out by the compiler, so nothing here depends on the machine but its
//! list of ABIs.

use std::collections::HashSet;

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall,
};

use super::{Filter, Machine, Refusal, ready};

/// What every container may call.
#[rustfmt::skip]
pub(super) const ALWAYS: &[&[&str]] = &[
    // Files by path and by descriptor, and what is known about them.
    &[
        "access", "chdir", "chmod", "chown", "chown32", "close", "close_range", "copy_file_range",
        "creat", "dup", "dup2", "dup3", "faccessat", "faccessat2", "fallocate", "fchdir", "fchmod",
        "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl", "fcntl64", "flock",
        "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "ftruncate", "ftruncate64",
        "futimesat", "getcwd", "getdents", "getdents64", "lchown", "lchown32", "link", "linkat",
        "lstat", "lstat64", "mkdir", "mkdirat", "mknod", "mknodat", "name_to_handle_at",
        "newfstatat", "open", "openat", "openat2", "readlink", "readlinkat", "rename", "renameat",
        "renameat2", "rmdir", "stat", "stat64", "statfs", "statfs64", "statx", "symlink",
        "symlinkat", "truncate", "truncate64", "umask", "unlink", "unlinkat", "utime", "utimensat",
        "utimensat_time64", "utimes",
    ],
    // Reading and writing; what a descriptor of a device understands is the device's matter.
    &[
        "_llseek", "cachestat", "fadvise64", "fadvise64_64", "fdatasync", "fsync", "io_cancel",
        "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_setup",
        "io_submit", "ioctl", "lseek", "pipe", "pipe2", "pread64", "preadv", "preadv2", "pwrite64",
        "pwritev", "pwritev2", "read", "readahead", "readv", "sendfile", "sendfile64", "splice",
        "sync", "sync_file_range", "syncfs", "tee", "vmsplice", "write", "writev",
    ],
    // Extended attributes.
    &[
        "fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "getxattr", "getxattrat",
        "lgetxattr", "listxattr", "listxattrat", "llistxattr", "lremovexattr", "lsetxattr",
        "removexattr", "removexattrat", "setxattr", "setxattrat",
    ],
    // Waiting for descriptors and being told of changes.
    &[
        "_newselect", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait",
        "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "fanotify_mark",
        "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "poll", "ppoll",
        "ppoll_time64", "pselect6", "pselect6_time64", "select", "signalfd", "signalfd4",
    ],
    // Memory.
    &[
        "brk", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret",
        "mincore", "mlock", "mlock2", "mlockall", "mmap", "mmap2", "mprotect", "mremap", "mseal",
        "msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect",
        "remap_file_pages",
    ],
    // Processes and threads of the container's own.
    &[
        "execve", "execveat", "exit", "exit_group", "fork", "get_robust_list", "get_thread_area",
        "getpgid", "getpgrp", "getpid", "getppid", "getsid", "gettid", "kill", "pidfd_open",
        "pidfd_send_signal", "prctl", "process_mrelease", "process_vm_readv", "process_vm_writev",
        "ptrace", "restart_syscall", "rseq", "seccomp", "set_robust_list", "set_thread_area",
        "set_tid_address", "setpgid", "setsid", "tgkill", "tkill", "vfork", "wait4", "waitid",
        "waitpid",
    ],
    // Locks in memory.
    &[
        "futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake",
    ],
    // Signals.
    &[
        "pause", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo",
        "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64",
        "rt_tgsigqueueinfo", "sigaltstack", "sigprocmask", "sigreturn",
    ],
    // Who a process is, within its capabilities.
    &[
        "capget", "capset", "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32",
        "getgroups", "getgroups32", "getresgid", "getresgid32", "getresuid", "getresuid32",
        "getuid", "getuid32", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid",
        "setgid32", "setgroups", "setgroups32", "setregid", "setregid32", "setresgid",
        "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32", "setuid", "setuid32",
    ],
    // Scheduling and limits.
    &[
        "getcpu", "getpriority", "getrlimit", "getrusage", "ioprio_get", "ioprio_set", "prlimit64",
        "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr",
        "sched_getparam", "sched_getscheduler", "sched_rr_get_interval",
        "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr", "sched_setparam",
        "sched_setscheduler", "sched_yield", "setpriority", "setrlimit", "times", "ugetrlimit",
    ],
    // Clocks and timers; the kernel lets holders of CAP_SYS_TIME alone change them.
    &[
        "adjtimex", "alarm", "clock_adjtime", "clock_adjtime64", "clock_getres",
        "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
        "clock_nanosleep_time64", "getitimer", "gettimeofday", "nanosleep", "setitimer", "time",
        "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64",
        "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime",
        "timerfd_gettime64", "timerfd_settime", "timerfd_settime64",
    ],
    // Sockets that are there; making them is below.
    &[
        "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt",
        "listen", "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", "send", "sendmmsg",
        "sendmsg", "sendto", "setsockopt", "shutdown", "socketcall", "socketpair",
    ],
    // System V and POSIX IPC, which has a namespace.
    &[
        "ipc", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64",
        "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd",
        "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "shmat", "shmctl", "shmdt",
        "shmget",
    ],
    // What a program gives up by itself, and looks at: Landlock, mounts, the machine.
    &[
        "getrandom", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
        "listmount", "statmount", "sysinfo", "uname", "uretprobe",
    ],
    // What some machines alone have.
    &[
        "arch_prctl", "arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush",
        "modify_ldt", "riscv_flush_icache", "riscv_hwprobe", "set_tls", "sync_file_range2",
    ],
];

/// What only holders of a capability may call, whom the kernel asks for it as well. The filter
/// keeps everybody else away from that code.
#[rustfmt::skip]
pub(super) const BY_CAPABILITY: &[(Capability, &[&str])] = &[
    // A number stands for a file, the host's too.
    (Capability::DacReadSearch, &["open_by_handle_at"]),
    // Mounts, namespaces, and what reaches the whole machine.
    (
        Capability::SysAdmin,
        &[
            "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick",
            "lookup_dcookie", "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "mount",
            "mount_setattr", "move_mount", "open_tree", "perf_event_open", "quotactl",
            "quotactl_fd", "setdomainname", "sethostname", "setns", "syslog", "umount", "umount2",
            "unshare",
        ],
    ),
    (Capability::SysBoot, &["reboot"]),
    (Capability::SysChroot, &["chroot"]),
    (Capability::SysModule, &["delete_module", "finit_module", "init_module"]),
    (Capability::SysPacct, &["acct"]),
    // Other processes' descriptors and memory.
    (Capability::SysPtrace, &["kcmp", "pidfd_getfd", "process_madvise"]),
    (Capability::SysRawio, &["ioperm", "iopl"]),
    (Capability::SysTime, &["clock_settime", "clock_settime64", "settimeofday", "stime"]),
    (Capability::SysTtyConfig, &["vhangup"]),
    // On which node memory lies, of other processes too.
    (Capability::SysNice, &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    (Capability::Syslog, &["syslog"]),
    (Capability::Bpf, &["bpf"]),
    (Capability::Perfmon, &["perf_event_open"]),
];

/// Each of these conditions on the first argument is enough.
const BY_ARGUMENT: &[(&str, LinuxSeccompOperator, u64)] = &[
    // Domains of personality(2): Linux, its 32-bit uname (PER_LINUX32), both with UNAME26,
    // and the question for the present one. No others: some switch off protections of memory.
    ("personality", LinuxSeccompOperator::ScmpCmpEq, 0),
    ("personality", LinuxSeccompOperator::ScmpCmpEq, 0x8),
    ("personality", LinuxSeccompOperator::ScmpCmpEq, 0x2_0000),
    ("personality", LinuxSeccompOperator::ScmpCmpEq, 0x2_0008),
    ("personality", LinuxSeccompOperator::ScmpCmpEq, 0xffff_ffff),
    // All families but AF_ALG (38), the kernel's own cryptography, and AF_VSOCK (40), which
    // leads to the hypervisor and has no namespace.
    ("socket", LinuxSeccompOperator::ScmpCmpLt, 38),
    ("socket", LinuxSeccompOperator::ScmpCmpEq, 39),
    ("socket", LinuxSeccompOperator::ScmpCmpGt, 40),
];

/// The flags of clone(2) that make namespaces. What clone3(2) is asked for lies in memory,
/// where no filter can look, so it seems not to exist: C libraries then take clone.
const CLONE_NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// The filter for a container with this bounding set: that of [`default_profile`].
///
/// # Errors
/// On a machine whose system calls aren't known.
pub(crate) fn default_filter(
    machine: Option<Machine>,
    bounding: Option<&HashSet<Capability>>,
) -> Result<Filter, Refusal> {
    let held =
        BY_CAPABILITY.iter().map(|row| row.0).filter(|capability| holds(bounding, *capability));
    match machine {
        Some(Machine::X86_64) if held.eq(ready::FOR) => Ok(ready::filter()),
        Some(machine) => {
            let profile = default_profile(machine, bounding)
                .map_err(|error| Refusal::new("linux.seccomp", error.to_string()))?;
            super::compile(&profile, Some(machine))
        }
        None => super::compile(&LinuxSeccomp::default(), None),
    }
}

fn holds(bounding: Option<&HashSet<Capability>>, capability: Capability) -> bool {
    bounding.is_some_and(|bounding| bounding.contains(&capability))
}

/// The profile for a container with this bounding set.
///
/// # Errors
/// None but what the builder of conditions declares.
pub(crate) fn default_profile(
    machine: Machine,
    bounding: Option<&HashSet<Capability>>,
) -> Result<LinuxSeccomp, OciSpecError> {
    let mut rules = Vec::with_capacity(40);
    rules.extend(ALWAYS.iter().copied().map(allow));
    let held = BY_CAPABILITY.iter().filter(|(capability, _)| holds(bounding, *capability));
    rules.extend(held.map(|(_, names)| allow(names)));
    for &(name, operator, value) in BY_ARGUMENT {
        rules.push(allow_if(name, operator, value)?);
    }
    if !holds(bounding, Capability::SysAdmin) {
        let flags = CLONE_NAMESPACES as u64;
        rules.push(allow_if("clone", LinuxSeccompOperator::ScmpCmpMaskedEq, flags)?);
        let mut clone3 = allow(&["clone3"]);
        clone3
            .set_action(LinuxSeccompAction::ScmpActErrno)
            .set_errno_ret(Some(libc::ENOSYS as u32));
        rules.push(clone3);
    }
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(libc::EPERM as u32))
        .set_architectures(Some(architectures(machine)))
        .set_syscalls(Some(rules));
    Ok(profile)
}

fn allow(names: &[&str]) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    let names = names.iter().map(|&name| name.to_owned()).collect();
    rule.set_names(names).set_action(LinuxSeccompAction::ScmpActAllow);
    rule
}

/// With a condition on the first argument; what a mask covers must be 0.
fn allow_if(
    name: &str,
    operator: LinuxSeccompOperator,
    value: u64,
) -> Result<LinuxSyscall, OciSpecError> {
    let arg = LinuxSeccompArgBuilder::default().index(0_usize).op(operator).value(value);
    let mut rule = allow(&[name]);
    rule.set_args(Some(vec![arg.build()?]));
    Ok(rule)
}

/// The machine's own ABI and those of its 32-bit programs.
fn architectures(machine: Machine) -> Vec<Arch> {
    match machine {
        Machine::X86_64 => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        Machine::Aarch64 => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        Machine::Riscv64 => vec![Arch::ScmpArchRiscv64],
    }
}
