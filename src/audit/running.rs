//! What a running container is like, by what the kernel says of its first process. Only what
//! its filter of system calls says is taken from its Spec, since the kernel doesn't tell.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstatat, major, minor};
use oci_spec::runtime::Spec;

use super::Facts;
use super::facts::{Device, HostFiles, NAMESPACES, Seccomp};
use super::planned;
use crate::host::Host;
use crate::oci::defaults;

/// The facts of a container whose first process has this pid; limits are its cgroup's, which
/// the caller knows. What can't be read (of a process that just ends) stays unknown.
pub(crate) fn running(pid: i32, spec: &Spec, host: &Host) -> Facts {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let status = read("status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    let identity = |pid: &str, name: &str| {
        fs::metadata(format!("/proc/{pid}/ns/{name}")).ok().map(|found| found.ino())
    };
    let id = pid.to_string();
    let is_shared = |name: &str| identity(&id, name) == identity("self", name);
    let outside = field("Uid").split_ascii_whitespace().next().and_then(|uid| uid.parse().ok());
    let uid_map = (!is_shared("user")).then(|| id_map(&read("uid_map")));
    let uid = inside(outside.unwrap_or(0), uid_map.as_deref());
    let mounts = Mounts::parse(&read("mountinfo"));
    let hosts = Mounts::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    let planned = planned(spec, host, true);
    let filter = match field("Seccomp").as_str() {
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
        capabilities: u64::from_str_radix(&field("CapPrm"), 16).unwrap_or(0),
        no_new_privileges: field("NoNewPrivs") == "1",
        seccomp: filter,
        confined: (host.apparmor || host.selinux)
            .then_some(!matches!(label, "" | "unconfined" | "kernel")),
        shared: NAMESPACES.iter().map(|row| row.1).filter(|name| is_shared(name)).collect(),
        interfaces: interfaces(&read("net/dev")),
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

/// The names in proc_pid_net(5)'s dev, below its two lines of titles.
fn interfaces(text: &str) -> Vec<String> {
    let name = |line: &str| Some(line.split_once(':')?.0.trim().to_owned());
    text.lines().skip(2).filter_map(name).collect()
}

/// Lines of `inside outside count` (user_namespaces(7)).
fn id_map(text: &str) -> Vec<(u32, u32, u32)> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    text.lines().filter_map(line).collect()
}

/// A uid as the container numbers it.
fn inside(uid: u32, map: Option<&[(u32, u32, u32)]>) -> u32 {
    let within = |&(inside, outside, count): &(u32, u32, u32)| {
        let offset = uid.checked_sub(outside).filter(|offset| *offset < count)?;
        inside.checked_add(offset)
    };
    map.map_or(uid, |map| map.iter().find_map(within).unwrap_or(uid))
}

/// /proc/PID/mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug, Default)]
struct Mounts(Vec<Mount>);

#[derive(Debug, Clone, PartialEq)]
struct Mount {
    id: String,
    /// `major:minor` of the filesystem.
    device: String,
    /// Which directory of the filesystem is mounted.
    root: PathBuf,
    point: PathBuf,
    readonly: bool,
    kind: String,
}

/// Filesystems without files of the host's.
const KERNEL: &[&str] = &["proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "bpf", "nsfs"];

impl Mounts {
    fn parse(text: &str) -> Mounts {
        let mount = |line: &str| {
            let (before, after) = line.split_once(" - ")?;
            let fields: Vec<&str> = before.split(' ').collect();
            let [id, _, device, root, point, options, ..] = fields.as_slice() else { return None };
            let mut after = after.split(' ');
            let kind = after.next()?;
            let readonly = |options: &str| options.split(',').any(|option| option == "ro");
            Some(Mount {
                id: (*id).to_owned(),
                device: (*device).to_owned(),
                root: unescaped(root),
                point: unescaped(point),
                readonly: readonly(options) || after.nth(1).is_some_and(readonly),
                kind: kind.to_owned(),
            })
        };
        Mounts(text.lines().filter_map(mount).collect())
    }

    /// The mount that a path is in; the last one at a place is on top.
    fn covering(&self, path: &Path) -> Option<&Mount> {
        let around = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        around.max_by_key(|mount| mount.point.components().count())
    }

    /// Which files of the host a mount of a container's shows, if any: its filesystem is
    /// mounted on the host too.
    fn files(&self, mount: &Mount) -> Option<HostFiles> {
        let is_same =
            |own: &&Mount| own.device == mount.device && mount.root.starts_with(&own.root);
        // The most special place says most.
        let own = self.0.iter().filter(is_same).max_by_key(|own| own.root.components().count())?;
        let below = mount.root.strip_prefix(&own.root).ok()?;
        let source = if below == Path::new("") { own.point.clone() } else { own.point.join(below) };
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

/// mountinfo has spaces and the like as `\040`.
fn unescaped(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                path.push(code.into());
                path.push_str(&part[3..]);
            }
            None => path.extend(["\\", part]),
        }
    }
    path.into()
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

    #[test]
    fn ids_are_turned_back() {
        let map = id_map("         0       1000          1\n         1     100000      65536\n");
        assert_eq!(map, [(0, 1000, 1), (1, 100_000, 65536)]);
        assert_eq!((inside(1000, Some(&map)), inside(100_004, Some(&map))), (0, 5));
        assert_eq!(inside(7, None), 7);
    }
}
