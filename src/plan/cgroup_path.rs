//! Where the container's cgroup lies: `linux.cgroupsPath`, and a directory in each hierarchy.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Steps;
use crate::error::{Error, Result};
use crate::host::{CgroupLayout, Hierarchy, Host};

/// Where cgroups are mounted.
pub(super) const ROOT: &str = "/sys/fs/cgroup";
/// The field that says where this one is.
pub(super) const PATH: &str = "linux.cgroupsPath";

/// The cgroup's directory in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dir {
    /// As in /proc/self/cgroup: `cpu,cpuacct`, `name=systemd`, or empty for v2.
    pub(super) controllers: String,
    /// Where the hierarchy is mounted.
    pub(super) root: String,
    /// Below the root, with a slash in front.
    pub(super) path: String,
    /// What a v2 hierarchy has to offer. Beside v1 nothing is taken from it: a controller
    /// that is used there can't be mounted as v1 any more, which other programs may need.
    pub(super) v2_controllers: Vec<String>,
}

impl Dir {
    pub(super) fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    pub(super) fn has(&self, controller: &str) -> bool {
        match self.is_v2() {
            // No controller of their own on v2: a BPF hook, and files of every cgroup.
            true if matches!(controller, "devices" | "cgroup") => true,
            true => self.v2_controllers.iter().any(|found| found == controller),
            // A longer one is a list.
            false if self.controllers.len() > controller.len() => {
                self.controllers.split(',').any(|found| found == controller)
            }
            false => self.controllers == controller,
        }
    }

    pub(super) fn text(&self) -> String {
        [self.root.as_str(), &self.path].concat()
    }

    /// The hierarchy of a controller. Devices have a hook in every v2 hierarchy, which is
    /// for hosts without their v1 controller.
    pub(super) fn of<'a>(dirs: &'a [Dir], controller: &str) -> Option<&'a Dir> {
        let found = |v2: bool| dirs.iter().find(|dir| dir.is_v2() == v2 && dir.has(controller));
        found(false).or_else(|| found(true))
    }

    /// The directories of a running container, from its state.
    pub(super) fn existing(host: &Host, dirs: &[(String, PathBuf)]) -> Vec<Dir> {
        let offered = |controllers: &str| match &host.cgroup {
            _ if !controllers.is_empty() => Vec::new(),
            CgroupLayout::V2 { controllers, .. } => {
                host.systemd.as_ref().map_or(controllers, |systemd| &systemd.controllers).clone()
            }
            CgroupLayout::V1 { .. } | CgroupLayout::Absent => Vec::new(),
        };
        let root = |controllers: &str| match &host.cgroup {
            CgroupLayout::V1 { hierarchies, .. } => {
                let found = hierarchies.iter().find(|found| found.controllers == controllers);
                found.map(|found| [ROOT, "/", &found.directory].concat())
            }
            CgroupLayout::V2 { .. } | CgroupLayout::Absent => None,
        };
        let dir = |(controllers, path): &(String, PathBuf)| {
            let root = root(controllers).filter(|root| path.starts_with(root)).unwrap_or_default();
            Dir {
                controllers: controllers.clone(),
                path: path.to_string_lossy()[root.len()..].to_owned(),
                root,
                v2_controllers: offered(controllers),
            }
        };
        dirs.iter().map(dir).collect()
    }
}

/// What `linux.cgroupsPath` says, with a slash in front of each component.
pub(super) enum Location {
    /// From the root of each hierarchy.
    Absolute(String),
    /// From where minirun's own cgroups are made.
    Below(String),
    /// Where systemd has its unit, from the root of each hierarchy.
    OfUnit(String),
}

impl Location {
    pub(super) fn parse(path: &Path, steps: &Steps) -> Result<Location> {
        let refuse = |reason: &str| -> Error { steps.error(PATH, "find the cgroup", reason) };
        let bytes = path.as_os_str().as_bytes();
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(refuse("it isn't UTF-8"));
        };
        if !text.contains('/') && text.split(':').count() == 3 {
            let reason = "slice:prefix:name is a path for systemd, and this is without it";
            return Err(refuse(reason)
                .hint("add --systemd-cgroup, or have the engine manage cgroups by cgroupfs"));
        }
        let parts = || text.split('/').filter(|part| !matches!(*part, "" | "."));
        if parts().any(|part| part == "..") {
            return Err(refuse("it has .. in it"));
        }
        let clean: String = parts().flat_map(|part| ["/", part]).collect();
        if clean.is_empty() {
            return Err(refuse("the root cgroup is the host's"));
        }
        Ok(if text.starts_with('/') { Location::Absolute(clean) } else { Location::Below(clean) })
    }
}

/// The directory in every hierarchy of the host.
pub(super) fn all_dirs(path: &Location, host: &Host) -> Vec<Dir> {
    match &host.cgroup {
        CgroupLayout::Absent => Vec::new(),
        CgroupLayout::V1 { hierarchies, .. } => {
            let dir = |found: &Hierarchy| Dir {
                controllers: found.controllers.clone(),
                root: [ROOT, "/", &found.directory].concat(),
                path: match path {
                    Location::Absolute(path) | Location::OfUnit(path) => path.clone(),
                    Location::Below(path) => [found.own.trim_end_matches('/'), path].concat(),
                },
                v2_controllers: Vec::new(),
            };
            hierarchies.iter().map(dir).collect()
        }
        CgroupLayout::V2 { own, controllers, .. } => {
            let parent = Host::v2_parent(host.is_real_root(), own).trim_end_matches('/');
            // What was delegated to a user is the root of all for them.
            let below = |path: &str| match path.strip_prefix(parent) {
                Some(rest) if rest.starts_with('/') => path.to_owned(),
                _ => format!("{parent}{path}"),
            };
            let path = match path {
                Location::Absolute(path) => below(path),
                Location::Below(path) => format!("{parent}{path}"),
                Location::OfUnit(path) => path.clone(),
            };
            let systemd = host.systemd.as_ref().map(|systemd| &systemd.controllers);
            let v2_controllers = systemd.unwrap_or(controllers).clone();
            vec![Dir { controllers: String::new(), root: ROOT.to_owned(), path, v2_controllers }]
        }
    }
}
