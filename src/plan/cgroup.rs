//! The container's cgroup: how it is made, how it is entered, what is changed later.
//!
//! The steps are plain mkdir and write calls, rendered here and in `resources`: a reader
//! of the plan sees each limit as the kernel gets it. What the cgroup counted is read,
//! and the cgroup removed, in the room `cgroup`.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxResources, Spec};

use super::cgroup_path::{Dir, Location, PATH, ROOT, all_dirs};
use super::namespaces::Layout;
use super::op::{self, Op};
use super::resources::{Action, Setting, Settings};
use super::unit::{self, Property, Unit};
use super::{Current, Options, Steps};
use crate::error::Result;
use crate::host::{CgroupLayout, Host};

/// The kernel's own for a quota, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// The v1 controllers of a container that nobody has chosen a cgroup for: those that count what
/// couldn't be found out later. Each hierarchy takes its time, so into others it comes when
/// something there is limited, and into the freezer when it is paused.
const COUNTING: &[&str] = &["cpuacct", "memory", "blkio"];
/// That of one whose counters nobody asks for, so that it has a cgroup to be found by.
const LEAN: &[&str] = &["devices"];

/// The v1 controllers that a container has all of when it is limited in one: where one isn't
/// mounted, Java sees no limit at all, and takes the machine's memory for its own.
const SEEN_TOGETHER: &[&str] = &["cpu", "cpuacct", "cpuset", "memory"];

/// The container's cgroup: a directory in each hierarchy that it has one in.
pub(super) struct Cgroup {
    dirs: Vec<Dir>,
    /// Those that it may have later.
    later: Vec<Dir>,
    /// Whether an empty cgroup of this name may be there already.
    adopt: bool,
    settings: Vec<Setting>,
    /// What the steps that make it came from.
    place: &'static str,
    /// The unit that systemd makes it for, and the unit's properties.
    unit: Option<(Unit, Vec<Property>)>,
    /// Why there is none although a path for it was given.
    left_out: Option<&'static str>,
    /// Whether the limits are set, and the v1 directories made, while the container's process
    /// is at work already, which enters those only then.
    meanwhile: bool,
}

/// The steps that change the limits of a running container.
///
/// # Errors
/// As for a new container, by the field's path.
pub(super) fn update(
    resources: &LinuxResources,
    current: &Current,
    host: &Host,
    steps: &mut Steps,
) -> Result<()> {
    let mut dirs = Dir::existing(host, current.dirs);
    let (joined, later) = (dirs.len(), Dir::existing(host, current.later));
    dirs.extend(later);
    let mut settings = Settings::of_update(&dirs, steps, current.limits, host.is_real_root());
    settings.add(resources)?;
    let (settings, rules) = (settings.list, settings.device_rules);
    if let (Some(name), Some(systemd)) = (current.unit, &host.systemd) {
        let period = current.limits.cpu().as_ref().and_then(|cpu| cpu.period());
        let period = period.unwrap_or(DEFAULT_PERIOD);
        let properties = unit::limits(&settings, rules.as_deref(), period, systemd);
        if !properties.is_empty() {
            let (name, user) = (name.to_owned(), systemd.user);
            steps.runtime(Op::SetUnit { name, user, properties }, "linux.resources");
        }
    }
    let is_needed = |dir: &&Dir| settings.iter().any(|s| Dir::of(&dirs, s.controller) == Some(dir));
    let later: Vec<Dir> = dirs.iter().skip(joined).filter(is_needed).cloned().collect();
    const PLACE: &str = "linux.resources";
    let cgroup = Cgroup {
        settings,
        dirs,
        later: Vec::new(),
        adopt: true,
        place: PLACE,
        unit: None,
        left_out: None,
        meanwhile: false,
    };
    cgroup.make_dirs(|dir| later.contains(dir), steps)?;
    cgroup.limit(steps)?;
    let from = cgroup.dirs.first().map_or_else(String::new, Dir::text);
    for dir in &later {
        let from = steps.c_string(PLACE, from.as_str())?;
        let to = steps.c_string(PLACE, dir.text())?;
        steps.runtime(Op::MoveProcesses { from, to }, PLACE);
    }
    Ok(())
}

/// Why this process can make no cgroup, and what to do about it; `None` when it can.
fn hindrance(host: &Host) -> Option<(&'static str, &'static str)> {
    Some(match &host.cgroup {
        CgroupLayout::Absent => (
            "no cgroups are mounted at /sys/fs/cgroup",
            "mount cgroup2 there, or run without limits",
        ),
        CgroupLayout::V1 { .. } if !host.is_real_root() => (
            "cgroup v1 can't be delegated to ordinary users",
            "run as root, or without limits; --ulimit works for everybody",
        ),
        CgroupLayout::V1 { delegated: true, .. } | CgroupLayout::V2 { delegated: true, .. } => {
            return None;
        }
        _ if host.uid == 0 => (
            "cgroups are read-only here, as they are inside most containers",
            "give the outer container writable ones, or run this one without limits",
        ),
        _ => (
            "this user's cgroup isn't delegated to them",
            "try systemd-run --user --scope -p Delegate=yes, or run without limits",
        ),
    })
}

impl Cgroup {
    /// Finds the cgroup's place and turns `linux.resources` into what is written there.
    ///
    /// # Errors
    /// When limits are asked for and this user or host can't set them.
    pub(super) fn new(
        spec: &Spec,
        options: &Options,
        host: &Host,
        layout: &Layout,
        steps: &Steps,
    ) -> Result<Self> {
        let linux = spec.linux().as_ref();
        let path = linux.and_then(|linux| linux.cgroups_path().as_deref());
        let path = path.filter(|path| !path.as_os_str().is_empty());
        let place = match (path, &host.systemd) {
            (Some(_), _) => PATH,
            (None, Some(_)) => "--systemd-cgroup",
            (None, None) => "linux.resources",
        };
        let unit = match &host.systemd {
            Some(systemd) => {
                let path = path.map(Path::to_string_lossy);
                Some((Unit::new(path.as_deref(), &options.name, systemd, steps)?, systemd))
            }
            None => None,
        };
        let location = match (&unit, path) {
            (Some((unit, _)), _) => Location::OfUnit(unit.path.clone()),
            (None, Some(path)) => Location::parse(path, steps)?,
            (None, None) => {
                // Those who look after a bundle's container expect its id, as runc has it.
                let kind = if options.oci { "" } else { "minirun-" };
                Location::Below(format!("/{kind}{}", options.name))
            }
        };

        let mut dirs = all_dirs(&location, host);
        if unit.is_some() && Self::of_systemd(&dirs, host).is_none() {
            let reason = match host.cgroup {
                CgroupLayout::V1 { .. } if !host.is_real_root() => {
                    "for ordinary users this takes cgroup v2, and this host has v1"
                }
                _ => "systemd's cgroup hierarchy isn't mounted at /sys/fs/cgroup",
            };
            return Err(steps.error("--systemd-cgroup", "have systemd make the cgroup", reason));
        }
        let mut settings = Settings::of_new(&dirs, steps, host.is_real_root());
        let resources = linux.and_then(|linux| linux.resources().as_ref());
        if let Some(resources) = resources {
            settings.add(resources)?;
        }
        let (mut settings, device_rules) = (settings.list, settings.device_rules);
        let (mut left_out, mut later) = (None, Vec::new());
        if let Some((reason, hint)) = hindrance(host).filter(|_| unit.is_none()) {
            if let Some(asked) = settings.iter().find(|setting| !setting.optional) {
                return Err(steps.error(&asked.path, "limit resources", reason).hint(hint));
            }
            left_out = path.map(|_| reason);
            dirs.clear();
        }
        let is_v1 = matches!(host.cgroup, CgroupLayout::V1 { .. });
        if !options.oci {
            // A plain run keeps out of hierarchies that it has no limits in: each costs time.
            settings.retain(|setting| !setting.optional);
        }
        let is_seen = |setting: &Setting| SEEN_TOGETHER.contains(&setting.controller);
        let sees = is_v1 && settings.iter().any(is_seen);
        let needed = |dir: &Dir| {
            settings.iter().any(|setting| Dir::of(&dirs, setting.controller) == Some(dir))
                || sees && SEEN_TOGETHER.iter().any(|name| dir.has(name))
        };
        if !options.oci {
            dirs = dirs.iter().filter(|dir| needed(dir)).cloned().collect();
        } else if unit.is_none() && is_v1 && (path.is_none() || options.lean_cgroup) {
            let usual = if options.lean_cgroup { LEAN } else { COUNTING };
            let usual = |dir: &Dir| usual.iter().any(|name| dir.has(name));
            // Those that don't end with a first process are stopped to be killed.
            let has_own_pids = layout.new.contains(CloneFlags::CLONE_NEWPID);
            let freezes = |dir: &Dir| dir.has("freezer") && !has_own_pids;
            let first = |dir: &Dir| !dir.is_v2() && (usual(dir) || freezes(dir));
            let (now, rest) = dirs.iter().cloned().partition(|dir| first(dir) || needed(dir));
            (dirs, later) = (now, rest);
            // The first of those that it is in tells who is to be moved into others.
            let can_be_limited = |dir: &Dir| !dir.is_v2() && !dir.controllers.contains('=');
            later.retain(|dir| !dirs.is_empty() && can_be_limited(dir));
        }
        settings.retain(|setting| Dir::of(&dirs, setting.controller).is_some());
        let unit = match unit {
            Some((unit, systemd)) => {
                let rules = device_rules.as_deref();
                let limits = unit::limits(&settings, rules, DEFAULT_PERIOD, systemd);
                let properties = unit.properties(spec, &options.name, limits, steps)?;
                Some((unit, properties))
            }
            None => None,
        };
        // What is in a user namespace, or on its way into others, finds no way back to v1's.
        let stays = !layout.has_user() && !layout.joins() && !layout.from_kernel;
        let meanwhile = unit.is_none() && (stays || !is_v1);
        let adopt = options.oci;
        Ok(Cgroup { dirs, later, adopt, settings, place, unit, left_out, meanwhile })
    }

    /// The directory in the hierarchy that systemd keeps its units in.
    fn of_systemd<'a>(dirs: &'a [Dir], host: &Host) -> Option<&'a Dir> {
        match host.cgroup {
            CgroupLayout::V2 { .. } => dirs.first(),
            CgroupLayout::V1 { .. } if !host.is_real_root() => None,
            _ => dirs.iter().find(|dir| dir.controllers == "name=systemd"),
        }
    }

    /// What the container's process is born into, or all of it if it can't wait. A scope of
    /// systemd needs a process to begin with, so here is only seen to it that there can be one.
    pub(super) fn create(&self, steps: &mut Steps) -> Result<()> {
        if let Some(reason) = self.left_out {
            steps.warn(PATH, format!("the container has no cgroup, since {reason}"));
        }
        match &self.unit {
            None => {
                self.make_dirs(|dir| !self.meanwhile || dir.is_v2(), steps)?;
                if self.meanwhile { Ok(()) } else { self.limit(steps) }
            }
            Some((unit, _)) => {
                let op = Op::CheckUnit { name: unit.name.clone(), user: unit.user };
                steps.runtime(op, self.place);
                if unit.is_slice() { self.start_unit(unit, steps) } else { Ok(()) }
            }
        }
    }

    /// systemd moves the cloned process into its cgroup, which gets its limits; until then
    /// the process waits.
    pub(super) fn start_scope(&self, steps: &mut Steps) -> Result<()> {
        match &self.unit {
            Some((unit, _)) if !unit.is_slice() => self.start_unit(unit, steps),
            _ => Ok(()),
        }
    }

    fn start_unit(&self, unit: &Unit, steps: &mut Steps) -> Result<()> {
        let v2_alone = self.dirs.len() == 1;
        let is_own = |dir: &&Dir| v2_alone || dir.controllers == "name=systemd";
        if let (Some(dir), Some((_, properties))) = (self.dirs.iter().find(is_own), &self.unit) {
            let op = Op::StartUnit(op::Unit {
                name: unit.name.clone(),
                user: unit.user,
                dir: steps.c_string(self.place, dir.text())?,
                controllers: dir.controllers.clone(),
                is_scope: !unit.is_slice(),
                properties: properties.clone(),
            });
            steps.runtime(op, self.place);
        }
        // Of v1's hierarchies systemd manages some, and joins others together.
        self.make_dirs(|dir| !is_own(&dir), steps)?;
        self.limit(steps)
    }

    /// Whether there is something left for [`make_rest`](Self::make_rest).
    pub(super) fn has_rest(&self) -> bool {
        self.meanwhile && self.exists()
    }

    /// What [`create`](Self::create) has left for later.
    pub(super) fn make_rest(&self, steps: &mut Steps) -> Result<()> {
        self.make_dirs(|dir| !dir.is_v2(), steps)?;
        self.limit(steps)
    }

    /// Where in config.json the directories come from: a plain run has them for its limits.
    fn origin(&self) -> &str {
        match (self.adopt || self.unit.is_some(), self.settings.first()) {
            (false, Some(first)) => &first.path,
            _ => self.place,
        }
    }

    fn make_dirs(&self, which: impl Fn(&Dir) -> bool, steps: &mut Steps) -> Result<()> {
        let place = self.origin();
        for dir in self.dirs.iter().filter(|dir| which(dir)) {
            if dir.is_v2() {
                self.enable(dir, place, steps)?;
            }
            let op = Op::CreateCgroup {
                dir: steps.c_string(place, dir.text())?,
                controllers: dir.controllers.clone(),
                adopt: self.adopt,
            };
            steps.runtime(op, place);
            if dir.has("cpuset") && !dir.is_v2() {
                let root = steps.c_string(place, dir.root.as_str())?;
                let dir = steps.c_string(place, dir.text())?;
                steps.runtime(Op::InheritCpuset { root, dir }, place);
            }
        }
        Ok(())
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
        for settings in self.settings.chunk_by(|a, b| a.controller == b.controller) {
            if let Some(first) = settings.first()
                && let Some(dir) = Dir::of(&self.dirs, first.controller)
            {
                write(settings, &dir.text(), steps)?;
            }
        }
        Ok(())
    }

    /// The v2 directory that clone3 starts the container in. A scope isn't there yet.
    pub(super) fn born_in(&self) -> Option<CString> {
        if self.unit.as_ref().is_some_and(|(unit, _)| !unit.is_slice()) {
            return None;
        }
        let v2 = self.dirs.iter().find(|dir| dir.is_v2())?;
        CString::new(v2.text()).ok()
    }

    /// On v1 the container's process enters each hierarchy itself: a single-threaded
    /// writer of 0 to `tasks` doesn't wait for an RCU grace period, a pid written to
    /// `cgroup.procs` does.
    pub(super) fn join(&self, steps: &mut Steps) {
        for dir in self.dirs.iter().filter(|dir| !dir.is_v2()) {
            if let Ok(tasks) = CString::new(dir.text() + "/tasks") {
                steps.container(Op::JoinCgroup { tasks }, self.origin());
            }
        }
    }

    /// The container's directory in the hierarchy of these controllers.
    pub(super) fn dir(&self, controllers: &str) -> Option<&Dir> {
        self.dirs.iter().find(|dir| dir.controllers == controllers)
    }

    /// Where [`update`] may find that it has to be in too.
    pub(super) fn later(&self) -> Vec<(String, PathBuf)> {
        self.later.iter().map(|dir| (dir.controllers.clone(), dir.text().into())).collect()
    }

    /// Whether there is one at all.
    pub(super) fn exists(&self) -> bool {
        !self.dirs.is_empty()
    }
}

/// The steps for settings of a cgroup's directory.
fn write(settings: &[Setting], dir: &str, steps: &mut Steps) -> Result<()> {
    for Setting { action, path, .. } in settings {
        let file = |name: &str| steps.c_string(path, [dir, "/", name].concat());
        let (op, tolerates) = match action {
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
