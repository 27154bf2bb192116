//! Limits: which cgroup is made, what is written to it, how it is entered.
//!
//! The steps are plain mkdir and write calls, rendered here: a reader of the plan sees
//! each limit as the kernel gets it. What the cgroup counted is read, and the cgroup
//! removed, in the room `cgroup`.

use std::ffi::CString;

use oci_spec::runtime::{LinuxResources, Spec};

use super::op::Op;
use super::{Options, Steps};
use crate::error::{Error, Result};
use crate::host::{CgroupLayout, Host};

const ROOT: &str = "/sys/fs/cgroup";

/// One file's setting: controller, file name, value, config.json path.
struct Setting {
    controller: &'static str,
    file: &'static str,
    value: String,
    path: &'static str,
}

/// The container's cgroup, if it has limits.
pub(super) struct Cgroup {
    /// Directories to make, one a v1 hierarchy or a single one for v2.
    dirs: Vec<CString>,
    /// Files and values: v2's subtree_control first, then the limits.
    writes: Vec<(CString, String, &'static str)>,
    v2: bool,
}

impl Cgroup {
    /// Turns `linux.resources` into directories and writes.
    ///
    /// # Errors
    /// When limits are asked for and this user or host can't set them.
    pub(super) fn new(spec: &Spec, options: &Options, host: &Host, steps: &Steps) -> Result<Self> {
        let mut cgroup = Cgroup { dirs: Vec::new(), writes: Vec::new(), v2: false };
        let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
        let is_v2 = matches!(host.cgroup, CgroupLayout::V2 { .. });
        let settings = resources.map_or_else(Vec::new, |resources| settings(resources, is_v2));
        let Some(first) = settings.first() else {
            return Ok(cgroup);
        };
        let refuse = |reason: &str, hint: &str| -> Error {
            steps.error(first.path, "limit resources", reason).hint(hint)
        };
        let leaf = format!("minirun-{}", options.name);
        match &host.cgroup {
            CgroupLayout::Absent => {
                return Err(refuse(
                    "no cgroups are mounted at /sys/fs/cgroup",
                    "mount cgroup2 there, or run without limits",
                ));
            }
            CgroupLayout::V1 { .. } if host.uid != 0 || host.in_user_namespace => {
                return Err(refuse(
                    "cgroup v1 can't be delegated to ordinary users",
                    "run as root, or without limits; --ulimit works for everybody",
                ));
            }
            CgroupLayout::V1 { hierarchies } => {
                for setting in &settings {
                    let has =
                        |controllers: &str| controllers.split(',').any(|c| c == setting.controller);
                    let Some(found) = hierarchies.iter().find(|h| has(&h.controllers)) else {
                        let reason = format!("the kernel has no {} cgroup", setting.controller);
                        return Err(steps.error(setting.path, "limit resources", reason));
                    };
                    let own = found.own.trim_end_matches('/');
                    let dir = format!("{ROOT}/{}{own}/{leaf}", found.directory);
                    let file = format!("{dir}/{}", setting.file);
                    let dir = steps.c_string(setting.path, dir)?;
                    if !cgroup.dirs.contains(&dir) {
                        cgroup.dirs.push(dir);
                    }
                    let file = steps.c_string(setting.path, file)?;
                    cgroup.writes.push((file, setting.value.clone(), setting.path));
                }
            }
            CgroupLayout::V2 { own } => {
                cgroup.v2 = true;
                // Only leaves may hold processes, so the container's cgroup can't be
                // below that of minirun itself: root's goes to the top, an ordinary
                // user's beside their own, where a delegated slice allows it.
                let parent = match own.rsplit_once('/') {
                    Some((parent, _)) if host.uid != 0 => format!("{ROOT}{parent}"),
                    _ => ROOT.to_owned(),
                };
                let mut controllers: Vec<&str> = settings.iter().map(|s| s.controller).collect();
                controllers.dedup();
                let wanted: Vec<_> = controllers.iter().map(|c| format!("+{c}")).collect();
                let control =
                    steps.c_string(first.path, format!("{parent}/cgroup.subtree_control"))?;
                cgroup.writes.push((control, wanted.join(" "), first.path));
                let dir = format!("{parent}/{leaf}");
                cgroup.dirs.push(steps.c_string(first.path, dir.clone())?);
                for setting in settings {
                    let file = steps.c_string(setting.path, format!("{dir}/{}", setting.file))?;
                    cgroup.writes.push((file, setting.value, setting.path));
                }
            }
        }
        Ok(cgroup)
    }

    /// mkdir and the limits, before anything can run inside.
    pub(super) fn create(&self, steps: &mut Steps) {
        let place = self.writes.first().map_or("", |write| write.2);
        let (before, after) = self.writes.split_at(usize::from(self.v2));
        for (file, value, path) in before {
            steps.runtime(Op::WriteCgroup { file: file.clone(), value: value.clone() }, path);
        }
        for dir in &self.dirs {
            steps.runtime(Op::CreateCgroup { dir: dir.clone() }, place);
        }
        for (file, value, path) in after {
            steps.runtime(Op::WriteCgroup { file: file.clone(), value: value.clone() }, path);
        }
    }

    /// The v2 directory that clone3 starts the container in.
    pub(super) fn born_in(&self) -> Option<CString> {
        self.dirs.first().filter(|_| self.v2).cloned()
    }

    /// On v1 the container's process enters each hierarchy itself: a single-threaded
    /// writer of 0 to `tasks` doesn't wait for an RCU grace period, a pid written to
    /// `cgroup.procs` does.
    pub(super) fn join(&self, steps: &mut Steps) {
        for dir in self.dirs.iter().filter(|_| !self.v2) {
            let mut tasks = dir.as_bytes().to_vec();
            tasks.extend_from_slice(b"/tasks");
            if let Ok(tasks) = CString::new(tasks) {
                steps.container(Op::JoinCgroup { tasks }, self.writes[0].2);
            }
        }
    }

    /// Whether there is one at all.
    pub(super) fn exists(&self) -> bool {
        !self.dirs.is_empty()
    }
}

fn settings(resources: &LinuxResources, v2: bool) -> Vec<Setting> {
    let mut list = Vec::new();
    let mut add = |controller, v1_file, v2_file, value, path| {
        let file = if v2 { v2_file } else { v1_file };
        list.push(Setting { controller, file, value, path });
    };
    if let Some(limit) = resources.memory().as_ref().and_then(|memory| memory.limit()) {
        let value = if v2 { max_or(limit) } else { limit.to_string() };
        let path = "linux.resources.memory.limit";
        add("memory", "memory.limit_in_bytes", "memory.max", value, path);
    }
    if let Some(cpu) = resources.cpu() {
        let path = "linux.resources.cpu.quota";
        let period = cpu.period().unwrap_or(100_000);
        match (cpu.quota(), v2) {
            (Some(quota), true) => {
                add("cpu", "", "cpu.max", format!("{} {period}", max_or(quota)), path);
            }
            (Some(quota), false) => {
                add("cpu", "cpu.cfs_period_us", "", period.to_string(), path);
                add("cpu", "cpu.cfs_quota_us", "", quota.to_string(), path);
            }
            (None, _) => {}
        }
    }
    if let Some(pids) = resources.pids() {
        let path = "linux.resources.pids.limit";
        add("pids", "pids.max", "pids.max", max_or(pids.limit()), path);
    }
    list
}

fn max_or(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}
