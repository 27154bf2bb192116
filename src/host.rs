//! The facts about this machine and this user that a plan depends on.
//!
//! [`Host::read`] is the only gatherer; everything above it takes the value, so
//! that a decision about an old kernel or a user without root is a row in a
//! table test rather than an `if` in the middle of a step.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::stat;
use nix::unistd::{User, getegid, geteuid};

use crate::error::{Error, Result};
use crate::sys;

/// The oldest kernel that has all that minirun is written for: mount_setattr of 5.12, and of 5.14
/// its `nosymfollow` and cgroup.kill.
pub const OLDEST_KERNEL: (u32, u32) = (5, 14);

/// From how many mounts on a copy of all of them (1.5 us each) takes longer than the calls
/// that avoid it.
const MANY_MOUNTS: usize = 200;

/// A snapshot of this machine, as one process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// The capabilities that this process may use, a bit for each number.
    pub capabilities: u64,
    /// This process's securebits (capabilities(7)), which others inherit from it.
    pub securebits: u32,
    /// Kernel version: major and minor.
    pub kernel: (u32, u32),
    /// Whether this process is in a user namespace other than the first, where
    /// mknod(2) is refused even to its root.
    pub in_user_namespace: bool,
    /// Whether group 5 (tty) exists for this process; not in every user namespace.
    pub has_tty_group: bool,
    /// Whether setgroups(2) is allowed; not in a user namespace of one mapped id.
    pub can_set_groups: bool,
    /// The subordinate ids of an ordinary user, when newuidmap can map them.
    pub subordinate: Option<Subordinate>,
    /// Whether AppArmor is enabled, so that profiles can be applied.
    pub apparmor: bool,
    /// Whether SELinux is enabled and has a policy, so that labels can be applied.
    pub selinux: bool,
    /// Whether there are so many mounts that a mount namespace is sooner made from the kernel's
    /// own, with next to nothing in it, than from a copy of this one; and that one can be had.
    pub many_mounts: bool,
    /// How the kernel's cgroups are mounted.
    pub cgroup: CgroupLayout,
    /// The systemd that is to make the container's cgroup; looked at only for callers who
    /// want that.
    pub systemd: Option<Systemd>,
}

/// systemd as the maker of cgroups: the machine's, or the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Systemd {
    /// Whether it is the user's.
    pub user: bool,
    /// The number of its version.
    pub version: u32,
    /// The cgroup below which it keeps its units, empty for the top.
    pub cgroup: String,
    /// The controllers of cgroup v2 to be had there.
    pub controllers: Vec<String>,
}

/// A user's first ranges in /etc/subuid and /etc/subgid (subuid(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subordinate {
    /// First subordinate uid and how many follow.
    pub uids: (u32, u32),
    /// First subordinate gid and how many follow.
    pub gids: (u32, u32),
}

/// How cgroups are mounted, and where this process stands in them (cgroups(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupLayout {
    /// One unified hierarchy at /sys/fs/cgroup.
    V2 {
        /// This process's path in it.
        own: String,
        /// The controllers to be had where this process makes cgroups (`Host::v2_parent`).
        controllers: Vec<String>,
        /// Whether this process may make cgroups there.
        delegated: bool,
    },
    /// A hierarchy a controller below /sys/fs/cgroup, with or without a v2 beside them.
    V1 {
        /// In the order in which they were mounted.
        hierarchies: Vec<Hierarchy>,
        /// Whether this process may make cgroups in any of them.
        delegated: bool,
    },
    /// Nothing is mounted at /sys/fs/cgroup.
    Absent,
}

/// One cgroup v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Controllers as in /proc/self/cgroup: `cpu,cpuacct`, `name=systemd`, or empty for v2.
    pub controllers: String,
    /// Directory below /sys/fs/cgroup.
    pub directory: String,
    /// This process's path in it, `/` at the top.
    pub own: String,
}

impl Host {
    /// Reads the facts.
    ///
    /// # Errors
    /// When the kernel is older than [`OLDEST_KERNEL`].
    pub fn read() -> Result<Host> {
        let host = Self::read_but_cgroups()?;
        let cgroup = cgroup_layout(host.is_real_root());
        let many_mounts = host.is_real_root() && has_many_mounts();
        Ok(Host { cgroup, many_mounts, ..host })
    }

    /// The facts for who makes no cgroup: a twentieth of a start would go into how they are
    /// mounted.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn read_but_cgroups() -> Result<Host> {
        let kernel = kernel_version()?;
        let uid = geteuid().as_raw();
        let in_user_namespace = is_in_user_namespace();
        Ok(Host {
            uid,
            gid: getegid().as_raw(),
            capabilities: crate::sys::identity::permitted().unwrap_or_default(),
            securebits: crate::sys::identity::securebits(),
            kernel,
            in_user_namespace,
            has_tty_group: !in_user_namespace || maps(&read("/proc/self/gid_map"), 5),
            can_set_groups: !in_user_namespace || read("/proc/self/setgroups").trim() != "deny",
            subordinate: if uid == 0 { None } else { subordinate_ids(uid) },
            apparmor: Path::new("/sys/kernel/security/apparmor").exists()
                && read("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
            // Before a policy is loaded everything has the label "kernel".
            selinux: Path::new("/sys/fs/selinux/enforce").exists()
                && read("/proc/self/attr/current").trim_end_matches('\0') != "kernel",
            many_mounts: false,
            cgroup: CgroupLayout::Absent,
            systemd: None,
        })
    }

    /// Reads the facts about systemd, too: the machine's for root, else the user's.
    ///
    /// # Errors
    /// When there is none, or it can't be reached.
    pub fn with_systemd(self) -> Result<Host> {
        let user = !self.is_real_root();
        let asked = crate::systemd::Systemd::connect(user).and_then(|mut systemd| systemd.facts());
        let (version, cgroup) = asked.map_err(|error| error.at("--systemd-cgroup"))?;
        let controllers = controllers(&format!("/sys/fs/cgroup{cgroup}"));
        Ok(Host { systemd: Some(Systemd { user, version, cgroup, controllers }), ..self })
    }

    /// Whether this process is root with no user namespace in between.
    pub fn is_real_root(&self) -> bool {
        self.uid == 0 && !self.in_user_namespace
    }

    /// The v2 cgroup below which this process makes others, `/` or a path without a slash
    /// at its end. Only leaves may hold processes, so it can't be the process's own: root
    /// takes the top, everybody else the parent of their own, which a session manager may
    /// have delegated to them.
    pub(crate) fn v2_parent(is_real_root: bool, own: &str) -> &str {
        match own.rsplit_once('/') {
            Some((parent, _)) if !is_real_root && !parent.is_empty() => parent,
            _ => "/",
        }
    }
}

/// As [`Host::is_real_root`], for those who need no other fact.
pub(crate) fn is_real_root() -> bool {
    geteuid().is_root() && !is_in_user_namespace()
}

fn has_many_mounts() -> bool {
    sys::namespace::own_mounts().is_ok_and(|count| count >= MANY_MOUNTS)
        && sys::namespace::kernel_mounts().is_ok()
}

fn read(path: &str) -> String {
    // A file of /proc has no length that could be asked for; a usual one fits at once.
    const LIMIT: u64 = 1 << 20;
    let mut text = String::with_capacity(1024);
    let file = sys::file::open(path, OFlag::O_RDONLY).map(File::from);
    let read = file.map(|file| file.take(LIMIT).read_to_string(&mut text));
    if matches!(read, Ok(Ok(_))) { text } else { String::new() }
}

fn kernel_version() -> Result<(u32, u32)> {
    let step = "look at the kernel's version";
    let uname = nix::sys::utsname::uname().map_err(|errno| Error::system(step, errno))?;
    let release = uname.release().to_string_lossy().into_owned();
    let version = parse_release(&release)
        .ok_or_else(|| Error::said(step, format!("release {release:?} starts with no number")))?;
    if version < OLDEST_KERNEL {
        let (major, minor) = OLDEST_KERNEL;
        return Err(Error::said(step, format!("Linux {release} is too old"))
            .hint(format!("minirun needs Linux {major}.{minor} or newer")));
    }
    Ok(version)
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether it is another user namespace than the first, whose inode number is the same on every
/// machine (`PROC_USER_INIT_INO` of linux/proc_ns.h). A kernel without them has no such file.
fn is_in_user_namespace() -> bool {
    const FIRST: u64 = 0xefff_fffd;
    stat("/proc/self/ns/user").is_ok_and(|found| found.st_ino != FIRST)
}

/// Whether an id map has `id` inside (user_namespaces(7)).
fn maps(id_map: &str, id: u64) -> bool {
    id_map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
        match (numbers.next().flatten(), numbers.nth(1).flatten()) {
            (Some(first), Some(count)) => id.checked_sub(first).is_some_and(|nth| nth < count),
            _ => false,
        }
    })
}

fn subordinate_ids(uid: u32) -> Option<Subordinate> {
    let tools = ["newuidmap", "newgidmap"].map(find_tool);
    if tools.iter().any(Option::is_none) {
        return None;
    }
    let name = User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
    let range = |file: &str| parse_subordinate(&read(file), name.as_deref(), uid);
    Some(Subordinate { uids: range("/etc/subuid")?, gids: range("/etc/subgid")? })
}

/// Looks for a program in the fixed places where a distribution installs set-uid tools.
pub(crate) fn find_tool(name: &str) -> Option<String> {
    ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"]
        .iter()
        .map(|dir| format!("{dir}/{name}"))
        .find(|path| Path::new(path).exists())
}

fn parse_subordinate(text: &str, name: Option<&str>, uid: u32) -> Option<(u32, u32)> {
    let uid = uid.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        if Some(owner) != name && owner != uid {
            return None;
        }
        let range: (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
        (range.1 > 0).then_some(range)
    })
}

fn controllers(dir: &str) -> Vec<String> {
    let text = read(&format!("{dir}/cgroup.controllers"));
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn cgroup_layout(is_real_root: bool) -> CgroupLayout {
    use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, TMPFS_MAGIC, statfs};
    use nix::unistd::{AccessFlags, eaccess};
    match statfs("/sys/fs/cgroup").map(|found| found.filesystem_type()) {
        Ok(CGROUP2_SUPER_MAGIC) => {
            let own = parse_cgroups(&read("/proc/self/cgroup"))
                .into_iter()
                .find(|hierarchy| hierarchy.controllers.is_empty())
                .map_or_else(|| "/".to_owned(), |hierarchy| hierarchy.own);
            let parent = format!("/sys/fs/cgroup{}", Host::v2_parent(is_real_root, &own));
            let (controllers, delegated) =
                (controllers(&parent), eaccess(parent.as_str(), AccessFlags::W_OK).is_ok());
            CgroupLayout::V2 { own, controllers, delegated }
        }
        Ok(TMPFS_MAGIC) => {
            let mut hierarchies = parse_cgroups(&read("/proc/self/cgroup"));
            // The list is the kernel's; some may be mounted elsewhere, and go any moment.
            let top = Path::new("/sys/fs/cgroup");
            let dir = sys::file::open(c"/sys/fs/cgroup", PATH).ok();
            hierarchies.retain(|found| {
                dir.as_ref().is_some_and(|dir| is_mounted_on(dir.as_fd(), &found.directory))
            });
            let writable =
                |found: &Hierarchy| eaccess(&top.join(&found.directory), AccessFlags::W_OK).is_ok();
            let delegated = hierarchies.iter().any(writable);
            CgroupLayout::V1 { hierarchies, delegated }
        }
        _ => CgroupLayout::Absent,
    }
}

const PATH: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Whether a mount is on a directory; to ask for more than the way there would have the kernel
/// look at its inode too.
fn is_mounted_on(dir: BorrowedFd<'_>, name: &str) -> bool {
    let how = OpenHow::new().flags(PATH).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    matches!(openat2(dir, name, how), Err(Errno::EXDEV))
}

/// Reads /proc/self/cgroup: `ID:controllers:path` a line, `0::path` for v2 (cgroups(7)).
pub(crate) fn parse_cgroups(text: &str) -> Vec<Hierarchy> {
    let mut hierarchies: Vec<Hierarchy> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, own) = (fields.next()?, fields.next()?);
            let directory = match controllers.strip_prefix("name=") {
                Some(name) => name,
                None if controllers.is_empty() => "unified",
                None => controllers,
            };
            Some(Hierarchy {
                controllers: controllers.to_owned(),
                directory: directory.to_owned(),
                own: own.to_owned(),
            })
        })
        .collect();
    hierarchies.reverse();
    hierarchies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_parse() {
        assert_eq!(parse_release("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(parse_release("5.15.167.4-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(parse_release("linux"), None);
    }

    #[test]
    fn an_id_is_mapped_or_not() {
        assert!(maps("         0       1000          1\n         1     100000      65536\n", 5));
        assert!(!maps("         0       1000          1\n", 5));
        assert!(!maps("", 0));
    }

    #[test]
    fn subordinate_ranges_are_found_by_name_or_number() {
        let text = "root:1:2\nann:100000:65536\n1001:165536:65536\nbad:x:1\n";
        assert_eq!(parse_subordinate(text, Some("ann"), 1000), Some((100_000, 65536)));
        assert_eq!(parse_subordinate(text, None, 1001), Some((165_536, 65536)));
        assert_eq!(parse_subordinate(text, Some("eve"), 1002), None);
        assert_eq!(parse_subordinate(text, Some("bad"), 1003), None);
    }

    #[test]
    fn hybrid_cgroups_parse_in_kernel_order() {
        let found = parse_cgroups("2:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/\n");
        let names: Vec<_> = found.iter().map(|h| (h.directory.as_str(), h.own.as_str())).collect();
        assert_eq!(names, [("unified", "/"), ("systemd", "/b:c"), ("cpu,cpuacct", "/a")]);
    }

    #[test]
    fn any_text_of_ids_or_cgroups_is_read_or_passed_over() {
        let pieces =
            ["ann", "1001", ":", "65536", "0 0 1", "memory", "name=systemd", "0::/", "6.1"];
        crate::chance::fuzz(20_000, |_, chance| {
            let text = chance.text(&pieces);
            let range = parse_subordinate(&text, Some("ann"), 1001);
            assert!(range.is_none_or(|(_, count)| count > 0), "{text:?}");
            maps(&text, chance.next());
            parse_release(&text);
            assert!(parse_cgroups(&text).len() <= text.lines().count(), "{text:?}");
        });
    }
}
