//! The container's cgroup: where it is, how it is made, how it is entered.
//!
//! The steps are plain mkdir and write calls, rendered here and in `resources`: a reader
//! of the plan sees each limit as the kernel gets it. What the cgroup counted is read,
//! and the cgroup removed, in the room `cgroup`.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxResources, Spec};

use super::op::Op;
use super::resources::{Action, Setting, Settings};
use super::{Options, Steps};
use crate::error::{Error, Result};
use crate::host::{CgroupLayout, Hierarchy, Host};

const ROOT: &str = "/sys/fs/cgroup";
const PATH: &str = "linux.cgroupsPath";

/// The container's cgroup: a directory in each hierarchy that it has one in.
pub(super) struct Cgroup {
    dirs: Vec<Dir>,
    /// Whether an empty cgroup of this name may be there already.
    adopt: bool,
    settings: Vec<Setting>,
    /// What the steps that make it came from.
    place: &'static str,
}

/// The cgroup's directory in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dir {
    /// As in /proc/self/cgroup: `cpu,cpuacct`, `name=systemd`, or empty for v2.
    controllers: String,
    /// Where the hierarchy is mounted.
    root: String,
    /// Below the root, with a slash in front.
    path: String,
    /// What a v2 hierarchy has to offer. Beside v1 nothing is taken from it: a controller
    /// that is used there can't be mounted as v1 any more, which other programs may need.
    v2_controllers: Vec<String>,
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
            false => self.controllers.split(',').any(|found| found == controller),
        }
    }

    pub(super) fn text(&self) -> String {
        format!("{}{}", self.root, self.path)
    }

    /// The hierarchy of a controller. Devices have a hook in every v2 hierarchy, which is
    /// for hosts without their v1 controller.
    pub(super) fn of<'a>(dirs: &'a [Dir], controller: &str) -> Option<&'a Dir> {
        let found = |v2: bool| dirs.iter().find(|dir| dir.is_v2() == v2 && dir.has(controller));
        found(false).or_else(|| found(true))
    }

    /// The directories of a running container, from its state.
    fn existing(host: &Host, dirs: &[(String, PathBuf)]) -> Vec<Dir> {
        let offered = |controllers: &str| match &host.cgroup {
            _ if !controllers.is_empty() => Vec::new(),
            CgroupLayout::V2 { controllers, .. } => controllers.clone(),
            CgroupLayout::V1 { .. } | CgroupLayout::Absent => Vec::new(),
        };
        let dir = |(controllers, path): &(String, PathBuf)| Dir {
            controllers: controllers.clone(),
            root: String::new(),
            path: path.to_string_lossy().into_owned(),
            v2_controllers: offered(controllers),
        };
        dirs.iter().map(dir).collect()
    }
}

/// The steps that change the limits of a running container. `dirs` are its cgroup's, as
/// [`Plan::cgroup`](super::Plan::cgroup) gave them.
///
/// # Errors
/// As for a new container, by the field's path.
pub(super) fn update(
    resources: &LinuxResources,
    now: &LinuxResources,
    host: &Host,
    dirs: &[(String, PathBuf)],
    steps: &mut Steps,
) -> Result<()> {
    let dirs = Dir::existing(host, dirs);
    let mut settings = Settings::of_update(&dirs, steps, now, host.is_real_root());
    settings.add(resources)?;
    let cgroup = Cgroup { settings: settings.list, dirs, adopt: true, place: "" };
    cgroup.limit(steps)
}

impl Cgroup {
    /// Finds the cgroup's place and turns `linux.resources` into what is written there.
    ///
    /// # Errors
    /// When limits are asked for and this user or host can't set them.
    pub(super) fn new(spec: &Spec, options: &Options, host: &Host, steps: &Steps) -> Result<Self> {
        let linux = spec.linux().as_ref();
        let path = linux.and_then(|linux| linux.cgroups_path().as_deref());
        let path = path.filter(|path| !path.as_os_str().is_empty());
        let path = path.map(|path| Location::parse(path, steps)).transpose()?;
        let place = if path.is_some() { PATH } else { "linux.resources" };
        let path = path.unwrap_or_else(|| {
            // Those who look after a bundle's container expect its id, as runc has it.
            let kind = if options.oci { "" } else { "minirun-" };
            Location::Below(format!("/{kind}{}", options.name))
        });

        let mut dirs = all_dirs(&path, host);
        let mut settings = Settings::of_new(&dirs, steps, host.is_real_root());
        let resources = linux.and_then(|linux| linux.resources().as_ref());
        if let Some(resources) = resources {
            settings.add(resources)?;
        }
        let mut settings = settings.list;
        let refuse = |reason: &str, hint: &str| -> Result<()> {
            match settings.iter().find(|setting| !setting.optional) {
                None => Ok(()),
                Some(asked) => {
                    let error = steps.error(&asked.path, "limit resources", reason);
                    Err(error.hint(hint))
                }
            }
        };
        match &host.cgroup {
            CgroupLayout::Absent => {
                refuse(
                    "no cgroups are mounted at /sys/fs/cgroup",
                    "mount cgroup2 there, or run without limits",
                )?;
                dirs.clear();
            }
            CgroupLayout::V1 { .. } if !host.is_real_root() => {
                refuse(
                    "cgroup v1 can't be delegated to ordinary users",
                    "run as root, or without limits; --ulimit works for everybody",
                )?;
                dirs.clear();
            }
            CgroupLayout::V2 { delegated: false, .. } if options.oci && !host.is_real_root() => {
                refuse(
                    "this user's cgroup isn't delegated to them",
                    "try systemd-run --user --scope -p Delegate=yes, or run without limits",
                )?;
                dirs.clear();
            }
            _ => {}
        }
        if !options.oci {
            // A plain run keeps out of hierarchies that it has no limits in: each costs time.
            settings.retain(|setting| !setting.optional);
            let needed = |dir: &Dir| {
                settings.iter().any(|setting| Dir::of(&dirs, setting.controller) == Some(dir))
            };
            dirs = dirs.iter().filter(|dir| needed(dir)).cloned().collect();
        }
        settings.retain(|setting| Dir::of(&dirs, setting.controller).is_some());
        Ok(Cgroup { dirs, adopt: options.oci, settings, place })
    }

    /// mkdir and the limits, before anything can run inside.
    pub(super) fn create(&self, steps: &mut Steps) -> Result<()> {
        let place = match (self.adopt, self.settings.first()) {
            (false, Some(first)) => first.path.clone(),
            _ => self.place.to_owned(),
        };
        for dir in &self.dirs {
            if dir.is_v2() {
                self.enable(dir, &place, steps)?;
            }
            let op = Op::CreateCgroup {
                dir: steps.c_string(&place, dir.text())?,
                controllers: dir.controllers.clone(),
                adopt: self.adopt,
            };
            steps.runtime(op, &place);
            if dir.has("cpuset") && !dir.is_v2() {
                let root = steps.c_string(&place, dir.root.as_str())?;
                let dir = steps.c_string(&place, dir.text())?;
                steps.runtime(Op::InheritCpuset { root, dir }, &place);
            }
        }
        self.limit(steps)
    }

    /// On v2 every level above has to hand the controllers down. Containers of engines
    /// get all there are, for their counters; a plain run asks for what it needs.
    fn enable(&self, dir: &Dir, place: &str, steps: &mut Steps) -> Result<()> {
        if !self.adopt {
            let mut wanted: Vec<_> =
                self.settings.iter().map(|setting| format!("+{}", setting.controller)).collect();
            wanted.dedup();
            let parent = dir.text();
            let parent = parent.rsplit_once('/').map_or(ROOT, |(parent, _)| parent);
            let file = steps.c_string(place, format!("{parent}/cgroup.subtree_control"))?;
            steps.runtime(Op::WriteCgroup { file, value: wanted.join(" ") }, place);
            return Ok(());
        }
        if dir.v2_controllers.is_empty() {
            return Ok(());
        }
        let levels = dir.path.match_indices('/').map(|(end, _)| &dir.path[..end]);
        for level in levels {
            let op = Op::EnableControllers {
                dir: steps.c_string(place, format!("{}{level}", dir.root))?,
                controllers: dir.v2_controllers.clone(),
            };
            steps.runtime(op, place);
        }
        Ok(())
    }

    fn limit(&self, steps: &mut Steps) -> Result<()> {
        for setting in &self.settings {
            let Some(dir) = Dir::of(&self.dirs, setting.controller) else {
                continue;
            };
            let dir = dir.text();
            let path = setting.path.as_str();
            let file = |name: &str| steps.c_string(path, format!("{dir}/{name}"));
            let (op, tolerates) = match &setting.action {
                Action::Write { file: name, value, tolerates } => {
                    (Op::WriteCgroup { file: file(name)?, value: value.clone() }, *tolerates)
                }
                Action::WriteFirst(choices) => {
                    let choices = choices.iter();
                    let choices = choices.map(|(name, value)| Ok((file(name)?, value.clone())));
                    (Op::WriteFirst { choices: choices.collect::<Result<_>>()? }, &[][..])
                }
                Action::CheckUsage { file: name, limit } => {
                    (Op::CheckUsage { file: file(name)?, limit: *limit }, &[][..])
                }
                Action::DeviceFilter(program) => {
                    let dir = steps.c_string(path, dir)?;
                    (Op::DeviceFilter { dir, program: program.clone() }, &[][..])
                }
            };
            steps.push(super::Side::Runtime, op, path, tolerates);
        }
        Ok(())
    }

    /// The v2 directory that clone3 starts the container in.
    pub(super) fn born_in(&self) -> Option<CString> {
        let v2 = self.dirs.iter().find(|dir| dir.is_v2())?;
        CString::new(v2.text()).ok()
    }

    /// On v1 the container's process enters each hierarchy itself: a single-threaded
    /// writer of 0 to `tasks` doesn't wait for an RCU grace period, a pid written to
    /// `cgroup.procs` does.
    pub(super) fn join(&self, steps: &mut Steps) {
        let place = match (self.adopt, self.settings.first()) {
            (false, Some(first)) => first.path.clone(),
            _ => self.place.to_owned(),
        };
        for dir in self.dirs.iter().filter(|dir| !dir.is_v2()) {
            if let Ok(tasks) = CString::new(format!("{}/tasks", dir.text())) {
                steps.container(Op::JoinCgroup { tasks }, &place);
            }
        }
    }

    /// The container's directory in the hierarchy of these controllers.
    pub(super) fn dir(&self, controllers: &str) -> Option<String> {
        self.dirs.iter().find(|dir| dir.controllers == controllers).map(Dir::text)
    }

    /// Whether there is one at all.
    pub(super) fn exists(&self) -> bool {
        !self.dirs.is_empty()
    }
}

/// What `linux.cgroupsPath` says, with a slash in front of each component.
enum Location {
    /// From the root of each hierarchy.
    Absolute(String),
    /// From where minirun's own cgroups are made.
    Below(String),
}

impl Location {
    fn parse(path: &Path, steps: &Steps) -> Result<Location> {
        let refuse = |reason: &str| -> Error { steps.error(PATH, "find the cgroup", reason) };
        let bytes = path.as_os_str().as_bytes();
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(refuse("it isn't UTF-8"));
        };
        if !text.contains('/') && text.split(':').count() == 3 {
            let reason = "slice:prefix:name is a path for systemd, and this is without it";
            return Err(refuse(reason).hint(
                "have the engine manage cgroups by cgroupfs, which gives a path with slashes",
            ));
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
fn all_dirs(path: &Location, host: &Host) -> Vec<Dir> {
    match &host.cgroup {
        CgroupLayout::Absent => Vec::new(),
        CgroupLayout::V1 { hierarchies } => {
            let dir = |found: &Hierarchy| Dir {
                controllers: found.controllers.clone(),
                root: format!("{ROOT}/{}", found.directory),
                path: match path {
                    Location::Absolute(path) => path.clone(),
                    Location::Below(path) => format!("{}{path}", found.own.trim_end_matches('/')),
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
            };
            let v2_controllers = controllers.clone();
            vec![Dir { controllers: String::new(), root: ROOT.to_owned(), path, v2_controllers }]
        }
    }
}
