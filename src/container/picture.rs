//! A process, or a container, from both sides: what the kernel shows of it here, and what it
//! sees itself.

use std::collections::BTreeMap;

use serde::Serialize;

use super::status::Status;
use crate::cgroup::Usage;

/// What there is to see of a process and its kin. What can't be read is `None`, and
/// `unreadable` says why.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Picture {
    /// The container that it is the first process of, or the one that it is in.
    pub container: Option<String>,
    /// What that container does.
    pub status: Option<Status>,
    /// The process.
    pub pid: i32,
    /// Its namespaces beside this process's own.
    pub namespaces: Vec<Namespace>,
    /// The processes of its pid namespace, where that isn't this process's own; its
    /// descendants. A parent stands before its children.
    pub processes: Vec<Process>,
    /// Which uids of its user namespace are which here; `None` where that is this process's.
    pub uid_map: Option<Vec<IdRange>>,
    /// The same of gids.
    pub gid_map: Option<Vec<IdRange>>,
    /// What it sees mounted, in the order in which it was.
    pub mounts: Option<Vec<Mount>>,
    /// What it is allowed to do; of a container, its program.
    pub privileges: Option<Privileges>,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
    /// What couldn't be read, and why.
    pub unreadable: BTreeMap<&'static str, String>,
}

/// One namespace of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Namespace {
    /// As /proc/PID/ns names it.
    pub kind: &'static str,
    /// Its inode number, by which the kernel names it.
    pub inode: Option<u64>,
    /// That of this process's own.
    pub own: Option<u64>,
    /// What can be seen of what is in it: the network's devices.
    pub content: Option<String>,
}

impl Namespace {
    /// Whether it is this process's own; `None` where that can't be told.
    pub fn is_shared(&self) -> Option<bool> {
        Some(self.inode? == self.own?)
    }
}

/// One process of those in a picture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Process {
    /// As it is numbered here.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// As the process that the picture is of would see it.
    pub pid_inside: Option<i32>,
    /// Its user here.
    pub uid: u32,
    /// The same inside.
    pub uid_inside: Option<u32>,
    /// In the kernel's word: running, sleeping, zombie.
    pub state: String,
    /// How many ancestors of it are in the picture.
    pub depth: usize,
    /// Its command line, or its name where it has none.
    pub command: String,
}

/// A part of an id map (user_namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id here.
    pub outside: u32,
    /// How many follow, the first included.
    pub count: u32,
}

/// One mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mount {
    /// Where it is inside.
    pub destination: String,
    /// The filesystem's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where the same files are here; `None` where they aren't.
    pub outside: Option<String>,
    /// What the filesystem calls its source.
    pub source: String,
    /// As mount(8) has them.
    pub options: String,
}

/// What a process is allowed to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Privileges {
    /// Of which process this is.
    pub pid: i32,
    /// The permitted ones, without CAP_.
    pub capabilities: Vec<String>,
    /// Those that no execve can go beyond.
    pub bounding: Vec<String>,
    /// Whether execve gives nothing more.
    pub no_new_privileges: bool,
    /// Whether a filter looks at its system calls.
    pub seccomp: bool,
}

/// The cgroup of a process.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Cgroup {
    /// Its directories, one a hierarchy.
    pub directories: Vec<String>,
    /// Whether this process is in the very same.
    pub is_shared: bool,
    /// What all in it use, and may.
    pub usage: Usage,
}

/// Processes that have the same namespaces, of which some aren't this process's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Group {
    /// The container that they are in.
    pub container: Option<String>,
    /// The first of them.
    pub pid: i32,
    /// All of them.
    pub pids: Vec<i32>,
    /// The inode numbers of those namespaces that differ.
    pub namespaces: BTreeMap<&'static str, u64>,
    /// The command line of the first.
    pub command: String,
}

/// What [`fn@super::namespaces`] finds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Overview {
    /// In the order of their first processes.
    pub groups: Vec<Group>,
    /// How many processes wouldn't show theirs.
    pub unreadable: usize,
}
