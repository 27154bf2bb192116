//! What a running container is like, by what the kernel says of its first process. Only what
//! its filter of system calls says is taken from its Spec, since the kernel doesn't tell.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstatat, major, minor};
use oci_spec::runtime::Spec;

use super::Facts;
use super::facts::{Device, HostFiles, NAMESPACES, Seccomp};
use super::planned;
use crate::host::Host;
use crate::oci::defaults;
use crate::proc::{self, Mount, Mounts, Status};

/// The facts of a container whose first process has this pid; limits are its cgroup's, which
/// the caller knows. What can't be read (of a process that just ends) stays unknown.
pub(crate) fn running(pid: i32, spec: &Spec, host: &Host) -> Facts {
    let read = |file: &str| proc::read(pid, file).unwrap_or_default();
    let status = Status(read("status"));
    let field = |name: &str| status.field(name).unwrap_or_default();
    let is_shared =
        |name: &str| proc::namespace(pid, name).ok() == proc::namespace(proc::OWN, name).ok();
    let outside = field("Uid").split_ascii_whitespace().next().and_then(|uid| uid.parse().ok());
    let uid_map = (!is_shared("user")).then(|| proc::id_map(&read("uid_map")));
    let uid = outside.unwrap_or(0);
    let uid = uid_map.as_deref().map_or(Some(uid), |map| proc::inside(uid, map)).unwrap_or(uid);
    let mounts = Mounts::parse(&read("mountinfo"));
    let hosts = Mounts::parse(&proc::read(proc::OWN, "mountinfo").unwrap_or_default());
    let planned = planned(spec, host, true);
    let filter = match field("Seccomp") {
        "" | "0" => Seccomp::None,
        _ if planned.seccomp == Seccomp::None => Seccomp::Filter {
            words: "a filter that isn't of its config.json".to_owned(),
            permits: Vec::new(),
        },
        _ => planned.seccomp,
    };
    let label = read("attr/current");
    let label = label.trim_end_matches(['\0', '\n']);
    Facts {
        bundle: true,
        uid,
        uid_map,
        capabilities: u64::from_str_radix(field("CapPrm"), 16).unwrap_or(0),
        no_new_privileges: field("NoNewPrivs") == "1",
        seccomp: filter,
        confined: (host.apparmor || host.selinux)
            .then_some(!matches!(label, "" | "unconfined" | "kernel")),
        shared: NAMESPACES.iter().map(|row| row.1).filter(|name| is_shared(name)).collect(),
        interfaces: proc::interfaces(&read("net/dev")),
        root: mounts.covering(Path::new("/")).and_then(|mount| hosts.files(mount)),
        mounts: mounts.of_the_host(&hosts),
        devices: devices(pid),
        any_device: planned.any_device,
        exposed: mounts.open(defaults::MASKED_PATHS),
        writable: mounts.writable(),
        memory_limit: None,
        pids_limit: None,
        descriptors: descriptors(pid, &mounts),
    }
}

/// Filesystems without files of the host's.
const KERNEL: &[&str] = &["proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "bpf", "nsfs"];

impl Mounts {
    /// Which files of the host a mount of a container's shows, if any: its filesystem is
    /// mounted on the host too.
    fn files(&self, mount: &Mount) -> Option<HostFiles> {
        let source = self.place_of(mount)?;
        let (destination, writable) = (mount.point.clone(), !mount.readonly);
        Some(HostFiles { source, destination, writable })
    }

    /// What of the host's files is mounted besides the root filesystem.
    fn of_the_host(&self, hosts: &Mounts) -> Vec<HostFiles> {
        let is_seen =
            |mount: &&Mount| self.covering(&mount.point).is_some_and(|top| top.id == mount.id);
        let others = self.0.iter().filter(is_seen).filter(|mount| {
            // Single nodes of the host's /dev mask files, or are devices, which is another row.
            let is_node = mount.kind == "devtmpfs" && mount.root != Path::new("/");
            mount.point != Path::new("/") && !is_node && !KERNEL.contains(&mount.kind.as_str())
        });
        let files = others.filter_map(|mount| hosts.files(mount));
        files.filter(|files| !is_masked_node(&files.source)).collect()
    }

    /// Those paths of the kernel's that the container sees.
    fn open(&self, paths: &[&str]) -> Vec<String> {
        let is_open = |path: &&&str| {
            let path = Path::new(**path);
            let top = self.covering(path);
            path.exists()
                && top.is_some_and(|m| matches!(m.kind.as_str(), "proc" | "sysfs"))
                && top.is_some_and(|mount| mount.point != path)
        };
        paths.iter().filter(is_open).map(|path| (*path).to_owned()).collect()
    }

    fn writable(&self) -> Vec<String> {
        let paths = defaults::READONLY_PATHS.iter().chain(&["/sys", "/sys/fs/cgroup"]);
        let is_writable = |path: &&&str| {
            let path = Path::new(**path);
            let kinds = ["proc", "sysfs", "cgroup", "cgroup2"];
            let kernels = |mount: &&Mount| kinds.contains(&mount.kind.as_str());
            path.exists() && self.covering(path).filter(kernels).is_some_and(|m| !m.readonly)
        };
        paths.filter(is_writable).map(|path| (*path).to_owned()).collect()
    }
}

/// /dev/null over a masked file, on hosts whose /dev isn't the kernel's own.
fn is_masked_node(source: &Path) -> bool {
    source.starts_with("/dev")
        && fs::symlink_metadata(source)
            .is_ok_and(|found| found.mode() & libc::S_IFMT == libc::S_IFCHR)
}

/// The nodes in the container's /dev, found without following any of its symlinks out of it.
fn devices(pid: i32) -> Vec<Device> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = nix::fcntl::open(
        format!("/proc/{pid}/root").as_str(),
        flags | OFlag::O_PATH,
        Mode::empty(),
    );
    let how = OpenHow::new()
        .flags(flags | OFlag::O_RDONLY)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut found = Vec::new();
    if let Ok(dev) = root.and_then(|root| openat2(root, "dev", how))
        && let Ok(dir) = Dir::from_fd(dev)
    {
        look_for_devices(dir, Path::new("/dev"), &mut found);
    }
    found
}

fn look_for_devices(mut dir: Dir, path: &Path, found: &mut Vec<Device>) {
    let entries: Vec<_> = dir.iter().flatten().map(|entry| entry.file_name().to_owned()).collect();
    for name in entries {
        let Ok(text) = name.to_str().map(str::to_owned) else { continue };
        if matches!(text.as_str(), "." | "..") {
            continue;
        }
        let Ok(stat) = fstatat(&dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else {
            continue;
        };
        let kind = SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT);
        let path = path.join(text);
        if kind == SFlag::S_IFBLK || kind == SFlag::S_IFCHR {
            let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
            found.push(Device { path, block: kind == SFlag::S_IFBLK, major, minor });
        } else if kind == SFlag::S_IFDIR && path.components().count() < 6 {
            let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
            if let Ok(fd) = openat(&dir, name.as_c_str(), flags, Mode::empty())
                && let Ok(below) = Dir::from_fd(fd)
            {
                look_for_devices(below, &path, found);
            }
        }
    }
}

/// Open files that none of the container's own mounts has, the standard ones aside, and
/// directories among those too. Pipes, sockets and the like have no place.
fn descriptors(pid: i32, mounts: &Mounts) -> Vec<String> {
    let own: HashMap<&str, &Mount> =
        mounts.0.iter().map(|mount| (mount.id.as_str(), mount)).collect();
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let number = entry.file_name().to_string_lossy().into_owned();
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
        let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
        let is_foreign = target.is_absolute() && mount.is_some_and(|id| !own.contains_key(id));
        let is_standard = matches!(number.as_str(), "0" | "1" | "2");
        let is_directory = || fs::metadata(entry.path()).is_ok_and(|found| found.is_dir());
        if is_foreign && (!is_standard || is_directory()) {
            found.push(format!("{number} ({})", target.display()));
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "\
20 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
21 20 8:2 / /srv/my\\040data rw - ext4 /dev/sda2 rw
22 20 0:5 / /dev rw - devtmpfs udev rw
23 20 0:20 / /proc rw - proc proc rw
";
    const CONTAINER: &str = "\
90 80 8:1 /boxes/a / rw - ext4 /dev/sda1 rw
91 90 0:60 / /proc rw,nosuid - proc proc rw
92 91 0:60 /sys /proc/sys ro - proc proc rw
93 91 0:5 /null /proc/kcore rw - devtmpfs udev rw
94 90 8:2 /app /data ro - ext4 /dev/sda2 rw
95 90 8:1 /etc /mnt rw - ext4 /dev/sda1 rw
96 90 0:61 / /tmp rw - tmpfs tmpfs rw
97 95 0:62 / /mnt rw - tmpfs tmpfs rw
";

    #[test]
    fn the_hosts_files_are_told_by_their_filesystem() {
        let (hosts, mounts) = (Mounts::parse(HOST), Mounts::parse(CONTAINER));
        let files = |source: &str, destination: &str, writable| HostFiles {
            source: source.into(),
            destination: destination.into(),
            writable,
        };
        let root = mounts.covering(Path::new("/")).and_then(|mount| hosts.files(mount));
        assert_eq!(root, Some(files("/boxes/a", "/", true)));
        // /mnt was covered by a filesystem of its own.
        assert_eq!(mounts.of_the_host(&hosts), [files("/srv/my data/app", "/data", false)]);
    }

    #[test]
    fn masked_and_read_only_paths_are_told_by_what_covers_them() {
        let mounts = Mounts::parse(CONTAINER);
        assert_eq!(mounts.open(&["/proc/kcore", "/proc/interrupts", "/srv"]), ["/proc/interrupts"]);
        assert!(!mounts.writable().contains(&"/proc/sys".to_owned()), "{:?}", mounts.writable());
        assert!(mounts.writable().contains(&"/proc/irq".to_owned()), "{:?}", mounts.writable());
    }
}
