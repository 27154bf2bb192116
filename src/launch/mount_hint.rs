//! What a user can do about a failed step of the file system.

use nix::errno::Errno;

use crate::plan::op::Op;

/// Why the kernel refuses proc to a user namespace made in a container (mount_too_revealing
/// in fs/namespace.c).
const COVERED: &str = "parts of /proc are covered here, as in most containers, so no new user \
                       namespace may mount another one";
const UNCOVER: &str = "give the outer container a whole /proc (podman: --security-opt unmask=ALL, \
                       Docker: --security-opt systempaths=unconfined)";
const PRIVILEGE: &str = "the capabilities SYS_ADMIN, NET_ADMIN and MKNOD, with which no user \
                         namespace is needed";

/// What root without CAP_SYS_ADMIN can do, which is mostly root inside a container.
pub(super) fn unprivileged_root() -> String {
    match parts_of_proc_are_covered() {
        true => format!("root needs CAP_SYS_ADMIN for this; give the outer container {PRIVILEGE}"),
        false => "root needs CAP_SYS_ADMIN for this; try --userns single".to_owned(),
    }
}

/// Whether something is mounted below /proc, as on masked paths; what systemd mounts on an
/// empty directory made for that doesn't count.
fn parts_of_proc_are_covered() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut targets = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    targets.any(|target| target.starts_with("/proc/") && target != "/proc/sys/fs/binfmt_misc")
}

fn opens_rootfs(op: &Op) -> bool {
    match op {
        Op::BindRootfs { .. } | Op::OverlayRootfs { .. } => true,
        Op::OpenTree(tree) => tree.is_rootfs,
        _ => false,
    }
}

pub(super) fn hint(op: &Op, errno: Errno) -> Option<String> {
    let words = match (op, errno) {
        (op, Errno::ENOENT) if opens_rootfs(op) => {
            "there is no such directory; rootfs/build.sh makes one with a busybox userland"
        }
        (op, Errno::ENOTDIR) if opens_rootfs(op) => {
            "a root filesystem is a directory; unpack images and archives first"
        }
        (op, Errno::EACCES) if opens_rootfs(op) => {
            "this user can't reach the directory; every directory above it must be searchable (x)"
        }
        (Op::Mount(new), Errno::EPERM) if new.fstype.to_bytes() == b"proc" => {
            return Some(match parts_of_proc_are_covered() {
                true => format!("{COVERED}; {UNCOVER}, or {PRIVILEGE}"),
                false => "a new pid namespace is needed to mount proc".to_owned(),
            });
        }
        (Op::Mount(new), Errno::EPERM) if new.fstype.to_bytes() == b"sysfs" => {
            "a new network namespace is needed to mount sysfs"
        }
        (Op::Mount(_), Errno::EPERM) => "in a user namespace only some filesystems can be mounted",
        (Op::Bind(bind), Errno::EPERM) if bind.target.as_c_str() == c"/proc" => {
            "only procfs can be bound to /proc"
        }
        (Op::Bind(_), Errno::EPERM) => {
            "in a user namespace what the host mounted with nosuid, nodev, noexec, ro or another \
             access time stays so"
        }
        (Op::Remount(_), Errno::EINVAL) => "a mount must be there, and know these options",
        (Op::OpenTree(tree), Errno::EINVAL) if tree.ids.is_some() => {
            "the filesystem of the source, or one below it, can't have mapped ids"
        }
        (Op::OpenTree(tree), Errno::EPERM) if tree.ids.is_some() => {
            "only root of the host may map ids, and only once for a mount"
        }
        (Op::OpenTree(_), Errno::ENOENT) => "the source must exist on the host",
        (Op::Device(_), Errno::EEXIST) => "the root filesystem has something else of that name",
        (Op::Device(_), Errno::ENXIO) => {
            "in a user namespace the host's device of the same path is bound, and that is another"
        }
        (Op::Device(_), Errno::ENOENT) => {
            "in a user namespace the host's device of the same path is bound, and there is none"
        }
        (Op::Device(_), Errno::EPERM) => {
            "minirun needs CAP_MKNOD, and the devices cgroup that it runs in must allow mknod"
        }
        (Op::Sysctl { .. }, Errno::ENOENT) => "this kernel has no such parameter",
        (Op::Sysctl { .. }, Errno::EROFS | Errno::EXDEV) => {
            "/proc/sys is read-only here, as it is inside most containers"
        }
        (Op::Sysctl { .. }, Errno::EACCES | Errno::EPERM) => {
            "it isn't writable in the container's namespaces"
        }
        (Op::Sysctl { .. }, Errno::EINVAL | Errno::ERANGE) => {
            "the kernel finds the value out of range"
        }
        (Op::PivotRoot { .. }, Errno::EINVAL) => {
            "the host's root is a ramfs, perhaps; --no-pivot does without pivot_root"
        }
        (Op::Mount(_), Errno::ELOOP) => {
            "it must be mounted on ordinary directory, and the root filesystem has a symlink there, \
             which could lead astray"
        }
        (Op::Mount(_), Errno::ENODEV) => "the kernel doesn't know this filesystem type",
        (Op::Mount(_) | Op::Bind(_) | Op::MakeDir { .. }, Errno::EROFS) => {
            "the target isn't there and can't be made on a read-only filesystem; make it beforehand"
        }
        (Op::Mount(_) | Op::Bind(_), Errno::EACCES) => {
            "the target isn't there and this user can't make it; make it beforehand, or use --ephemeral"
        }
        (Op::Bind(_) | Op::MakeDir { .. }, Errno::ELOOP) => {
            "symlinks in the way go in a circle, or into /proc"
        }
        (Op::Bind(_), Errno::ENOENT) => "the source must exist on the host",
        (Op::Mount(new), Errno::EINVAL) if !new.data.is_empty() => {
            "the filesystem doesn't know one of these options, or not this value"
        }
        (Op::Bind(_), Errno::ENOTDIR | Errno::EINVAL) => {
            "the source is a file and the target a directory, or the reverse; or mounts below the \
             source can't be left out here (use rbind)"
        }
        (Op::OverlayRootfs { .. }, Errno::EBUSY) => {
            "the host's own root can't be covered; copy or bind it to another directory first"
        }
        (Op::OverlayRootfs { .. }, Errno::ENODEV) => {
            "the kernel has no overlay filesystem; as root: modprobe overlay"
        }
        (Op::OverlayRootfs { .. }, Errno::EINVAL) => {
            "the root filesystem's own filesystem can't be the lower layer of an overlay here"
        }
        (Op::MakeDir { .. } | Op::Chdir { .. }, Errno::ENOTDIR) => "there is a file of that name",
        (Op::Mount(_) | Op::Bind(_) | Op::Mask { .. }, Errno::ESTALE) => {
            "somebody has put another directory in its place meanwhile"
        }
        (Op::Mask { .. }, Errno::ENODEV) => "/dev/null of this host is not the null device",
        _ => return None,
    };
    Some(words.to_owned())
}
