//! `linux.resources`: every limit as the file and the value that the kernel takes.
//!
//! The specification is written in the terms of cgroup v1; what v2 has instead stands
//! beside it, conversions included, in one file for each kind of resource. A field that
//! this host or this version of cgroups hasn't got is refused by its path.

mod block_io;
mod cpu;
mod devices;
mod memory;

use nix::errno::Errno;
use oci_spec::runtime::{LinuxHugepageLimit, LinuxNetwork, LinuxPids, LinuxRdma, LinuxResources};

use super::Steps;
use super::cgroup_path::Dir;
use super::device_filter::Rule;
use crate::error::{Error, Result};

/// One setting of a cgroup.
#[derive(Debug)]
pub(super) struct Setting {
    /// Whose hierarchy its file is in.
    pub(super) controller: &'static str,
    pub(super) action: Action,
    /// The field of config.json.
    pub(super) path: String,
    /// Whether the container is no less limited without it.
    pub(super) optional: bool,
}

/// What is done for a setting; files are names in the cgroup's directory.
#[derive(Debug)]
pub(super) enum Action {
    Write {
        file: String,
        value: String,
        tolerates: &'static [Errno],
    },
    /// The first file that exists.
    WriteFirst(Vec<(String, String)>),
    /// The number in the file must not be above the limit.
    CheckUsage {
        file: &'static str,
        limit: u64,
    },
    DeviceFilter(Vec<u64>),
}

/// Which cgroups' rules hold for a controller on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// The settings while they are collected.
pub(super) struct Settings<'a> {
    pub(super) list: Vec<Setting>,
    dirs: &'a [Dir],
    steps: &'a Steps<'a>,
    /// What limits a running container now; there 0 means to leave a limit as it is.
    now: Option<&'a LinuxResources>,
    /// Whether this user has a say about devices.
    devices: bool,
    /// The rules about devices, defaults included, that settings were made of.
    pub(super) device_rules: Option<Vec<Rule>>,
}

impl<'a> Settings<'a> {
    pub(super) fn of_new(dirs: &'a [Dir], steps: &'a Steps<'a>, is_real_root: bool) -> Self {
        Settings {
            list: Vec::new(),
            dirs,
            steps,
            now: None,
            devices: is_real_root,
            device_rules: None,
        }
    }

    pub(super) fn of_update(
        dirs: &'a [Dir],
        steps: &'a Steps<'a>,
        now: &'a LinuxResources,
        is_real_root: bool,
    ) -> Self {
        Settings { now: Some(now), ..Settings::of_new(dirs, steps, is_real_root) }
    }

    fn is_update(&self) -> bool {
        self.now.is_some()
    }

    /// Adds what `resources` ask for.
    ///
    /// # Errors
    /// The first field that can't be carried out, by its path.
    pub(super) fn add(&mut self, resources: &LinuxResources) -> Result<()> {
        if let Some(memory) = resources.memory() {
            memory::add(self, memory)?;
        }
        if let Some(cpu) = resources.cpu() {
            cpu::add(self, cpu)?;
        }
        if let Some(pids) = resources.pids() {
            self.pids(pids)?;
        }
        if let Some(block_io) = resources.block_io() {
            block_io::add(self, block_io)?;
        }
        for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
            self.hugepages(limit, &format!("hugepageLimits[{index}]"))?;
        }
        let mut rdma: Vec<_> = resources.rdma().iter().flatten().collect();
        rdma.sort_by_key(|(device, _)| device.as_str());
        for (device, limits) in rdma {
            self.rdma(device, limits)?;
        }
        if let Some(network) = resources.network() {
            self.network(network)?;
        }
        if let Some(rules) = resources.devices() {
            devices::add(self, rules)?;
        }
        let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
        unified.sort();
        for (file, value) in unified {
            self.unified(file, value)?;
        }
        Ok(())
    }

    fn pids(&mut self, pids: &LinuxPids) -> Result<()> {
        let limit = pids.limit();
        if limit > 0 {
            return self.write("pids", "pids.max", limit, "pids.limit").map(drop);
        }
        // 0 has come to mean no limit in runtime-spec 1.3; engines send it as a default.
        if (self.is_update() && limit == 0) || self.version("pids").is_none() {
            return Ok(());
        }
        self.write("pids", "pids.max", "max", "pids.limit")?.optional = true;
        Ok(())
    }

    fn hugepages(&mut self, limit: &LinuxHugepageLimit, field: &str) -> Result<()> {
        let size = limit.page_size();
        let number = size.trim_end_matches(['K', 'M', 'G', 'B']);
        let is_size = ["KB", "MB", "GB"].iter().any(|unit| size == &format!("{number}{unit}"));
        if !is_size || number.is_empty() || number.contains(|c: char| !c.is_ascii_digit()) {
            let reason = format!("{size:?} is no page size such as 2MB");
            return Err(self.refuse(&format!("{field}.pageSize"), reason));
        }
        let path = format!("{field}.limit");
        let (file, value) = match self.needs("hugetlb", &path)? {
            Version::V1 => ("limit_in_bytes", limit.limit().to_string()),
            Version::V2 => ("max", max_or(limit.limit())),
        };
        self.write("hugetlb", &format!("hugetlb.{size}.{file}"), &value, &path)?;
        // Reservations came with Linux 5.7 and can be compiled out.
        let rsvd = format!("hugetlb.{size}.rsvd.{file}");
        self.write("hugetlb", &rsvd, value, &path)?.tolerate(&[Errno::ENOENT]);
        Ok(())
    }

    fn rdma(&mut self, device: &str, limits: &LinuxRdma) -> Result<()> {
        let path = format!("rdma.{device}");
        let part = |name: &str, limit: Option<u32>| limit.map(|limit| format!(" {name}={limit}"));
        let parts =
            [part("hca_handle", limits.hca_handles()), part("hca_object", limits.hca_objects())];
        let parts: String = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            return Ok(());
        }
        if device.is_empty() || device.contains(char::is_whitespace) {
            return Err(self.refuse(&path, "this is no name of a device"));
        }
        self.write("rdma", "rdma.max", format!("{device}{parts}"), &path).map(drop)
    }

    fn network(&mut self, network: &LinuxNetwork) -> Result<()> {
        if let Some(class) = network.class_id().filter(|class| *class != 0) {
            self.write("net_cls", "net_cls.classid", class, "network.classID")?;
        }
        for (index, entry) in network.priorities().iter().flatten().enumerate() {
            let path = format!("network.priorities[{index}]");
            if entry.name().is_empty() || entry.name().contains(char::is_whitespace) {
                return Err(self.refuse(&path, "this is no name of a network interface"));
            }
            let value = format!("{} {}", entry.name(), entry.priority());
            self.write("net_prio", "net_prio.ifpriomap", value, &path)?;
        }
        Ok(())
    }

    /// A file of cgroup v2 by its own name, for which the specification has no field.
    fn unified(&mut self, file: &str, value: &str) -> Result<()> {
        let path = format!("unified.{file}");
        let name = file.split_once('.').filter(|_| !file.contains(['/', '\0']));
        let Some((prefix, _)) = name else {
            return Err(self.refuse(&path, "this is no file of a cgroup, such as memory.high"));
        };
        let v2 = self.dirs.iter().find(|dir| dir.is_v2() && self.dirs.len() == 1);
        let Some(v2) = v2 else {
            return Err(self
                .refuse(&path, "it is for cgroup v2, and this host has v1")
                .hint("use the fields of linux.resources instead"));
        };
        let controller = CONTROLLERS.iter().find(|known| **known == prefix);
        let Some(controller) = controller.filter(|known| v2.has(known)) else {
            return Err(self.refuse(&path, format!("there is no {prefix} controller here")));
        };
        for line in value.lines().filter(|line| !line.is_empty()) {
            self.write(controller, file, line, &path)?;
        }
        Ok(())
    }

    /// The version of a controller; `None` where the host has none.
    fn version(&self, controller: &str) -> Option<Version> {
        let dir = Dir::of(self.dirs, controller)?;
        Some(if dir.is_v2() { Version::V2 } else { Version::V1 })
    }

    /// The version of a controller that a field needs.
    fn needs(&self, controller: &str, field: &str) -> Result<Version> {
        if self.dirs.is_empty() {
            // What is to be said about it is the same for all limits.
            return Ok(Version::V2);
        }
        let missing = || {
            let reason = format!("this host has no {controller} cgroup controller");
            self.refuse(field, reason)
        };
        self.version(controller).ok_or_else(missing)
    }

    /// Adds a write to a file that both versions name alike, or that was chosen before.
    fn write(
        &mut self,
        controller: &'static str,
        file: &str,
        value: impl ToString,
        field: &str,
    ) -> Result<&mut Setting> {
        let action =
            Action::Write { file: file.to_owned(), value: value.to_string(), tolerates: &[] };
        self.push(controller, action, field)
    }

    fn push(
        &mut self,
        controller: &'static str,
        action: Action,
        field: &str,
    ) -> Result<&mut Setting> {
        self.needs(controller, field)?;
        let path = full(field);
        let index = self.list.len();
        self.list.push(Setting { controller, action, path, optional: false });
        Ok(&mut self.list[index])
    }

    /// An error about a field of `linux.resources`.
    fn refuse(&self, field: &str, reason: impl Into<String>) -> Error {
        self.steps.error(&full(field), "limit resources", reason)
    }

    /// Refuses a field of cgroup v1 that v2 has no equal of.
    fn only_v1(&self, field: &str) -> Error {
        self.refuse(field, "cgroup v2, which this host has, knows no such setting")
    }
}

impl Setting {
    fn tolerate(&mut self, errnos: &'static [Errno]) {
        if let Action::Write { tolerates, .. } = &mut self.action {
            *tolerates = errnos;
        }
    }
}

/// Everything that a file of cgroup v2 can belong to.
const CONTROLLERS: &[&str] = &[
    "cgroup",
    "cpu",
    "cpuset",
    "dmem",
    "hugetlb",
    "io",
    "memory",
    "misc",
    "perf_event",
    "pids",
    "rdma",
];

fn full(field: &str) -> String {
    format!("linux.resources.{field}")
}

fn max_or(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

#[cfg(test)]
pub(in crate::plan) mod tests;
#[cfg(test)]
mod update_tests;
