//! The defaults of `run ROOTFS`, as data: the same ones that container engines use,
//! or less.

use std::path::Path;

use oci_spec::runtime::{Capability, LinuxNamespace, LinuxNamespaceType, Mount};

/// Capabilities of a default container; podman's list, which is Docker's without
/// AUDIT_WRITE, MKNOD and NET_RAW.
pub(crate) const CAPABILITIES: &[Capability] = &[
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::NetBindService,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// What leaks or harms below /proc and /sys, hidden as runc and the engines do.
pub(crate) const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What belongs to the whole machine.
pub(crate) const READONLY_PATHS: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Destination, type, options.
const MOUNTS: &[(&str, &str, &[&str])] = &[
    ("/proc", "proc", &["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
    ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
];

/// The group that owns terminals on every common distribution (`tty`).
pub(crate) const TTY_GID: u32 = 5;

/// The usual mounts. `tty_gid` says whether group 5 exists in the container's id map,
/// `fresh_sysfs` whether this user may mount sysfs (else the host's is bound).
pub(crate) fn mounts(tty_gid: bool, fresh_sysfs: bool) -> Vec<Mount> {
    let one = |&(destination, kind, options): &(&str, &str, &[&str])| match (kind, fresh_sysfs) {
        ("sysfs", false) => mount(
            destination,
            "bind",
            "/sys",
            &["rbind", "rprivate", "nosuid", "noexec", "nodev", "rro"],
        ),
        ("devpts", _) if tty_gid => {
            let gid = format!("gid={TTY_GID}");
            let options: Vec<&str> = options.iter().copied().chain([gid.as_str()]).collect();
            mount(destination, kind, kind, &options)
        }
        _ => mount(destination, kind, kind, options),
    };
    // Below a bound /sys there is the host's cgroup tree already.
    MOUNTS.iter().filter(|row| fresh_sysfs || row.1 != "cgroup").map(one).collect()
}

/// One mount of a specification.
pub(crate) fn mount(
    destination: impl AsRef<Path>,
    kind: &str,
    source: impl AsRef<Path>,
    options: &[&str],
) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination.as_ref().to_owned())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.as_ref().to_owned()))
        .set_options(Some(options.iter().map(|&option| option.to_owned()).collect()));
    mount
}

/// The new namespaces: all of them, but for what the caller shares with the host.
pub(crate) fn namespaces(user: bool, network: bool) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};
    [
        (User, user),
        (Pid, true),
        (Network, network),
        (Ipc, true),
        (Mount, true),
        (Uts, true),
        (Cgroup, true),
    ]
    .into_iter()
    .filter(|(_, new)| *new)
    .map(|(kind, _)| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind);
        namespace
    })
    .collect()
}
