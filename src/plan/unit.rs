//! The container's unit, where systemd makes its cgroup: what it is called, where it lies,
//! and its properties.
//!
//! systemd writes what it knows of a unit to the cgroup's files again whenever its
//! configuration is loaded anew. So every limit that it has a property for is said to it
//! too, from the same list of settings that the files are written from.

use oci_spec::runtime::Spec;

use super::Steps;
use super::cgroup_path::PATH;
use super::device_filter::{Access, Kind, Rule};
use super::resources::{Action, Setting};
use crate::error::Result;
use crate::host::Systemd;
use crate::systemd::Value;

/// Where a property comes from that the specification has no field for.
const ANNOTATION: &str = "org.systemd.property.";
/// No limit, for systemd.
const INFINITY: &str = "uint64 18446744073709551615";
/// Whole hundredths of a processor, which is what systemd's files have of a quota.
const QUOTA_UNIT: u64 = 10_000;

/// A property's name and its value as text (see `systemd::Value`).
pub(super) type Property = (String, String);

/// A unit as `linux.cgroupsPath` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: String,
    slice: String,
    /// Its cgroup, from the top of the hierarchy.
    pub(super) path: String,
    pub(super) user: bool,
}

impl Unit {
    /// Reads `slice:prefix:name`; without a path it is the unit that runc would choose.
    pub(super) fn new(
        path: Option<&str>,
        id: &str,
        systemd: &Systemd,
        steps: &Steps,
    ) -> Result<Unit> {
        let place = if path.is_some() { PATH } else { "--systemd-cgroup" };
        let refuse = |reason: String| steps.error(place, "name a unit of systemd", reason);
        let (slice, prefix, name) = match path {
            None => ("", "minirun", id),
            Some(path) => {
                let mut parts = path.split(':');
                match (parts.next(), parts.next(), parts.next(), parts.next()) {
                    (Some(slice), Some(prefix), Some(name), None) => (slice, prefix, name),
                    _ => {
                        let reason = format!("{path:?} isn't slice:prefix:name");
                        return Err(refuse(reason)
                            .hint("leave --systemd-cgroup away for a path with slashes"));
                    }
                }
            }
        };
        if name.is_empty() {
            return Err(refuse("the name behind the second colon is missing".to_owned()));
        }
        let slice = match (slice, systemd.user) {
            ("", true) => "user.slice",
            ("", false) => "system.slice",
            (slice, _) => slice,
        };
        let is_slice = name.ends_with(".slice");
        let name = if is_slice { name.to_owned() } else { format!("{prefix}-{name}.scope") };
        for unit in [slice, name.as_str()] {
            let good = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
            if unit.len() > 255 || !unit.chars().all(good) {
                let reason =
                    format!("{unit:?} has more in it than A-Za-z0-9:-_.\\@ or is too long");
                return Err(refuse(reason));
            }
        }
        let within = |slice: &str| {
            expand(slice).ok_or_else(|| {
                let reason =
                    format!("{slice:?} is no slice such as a-b.slice, which lies in a.slice");
                refuse(reason)
            })
        };
        let above = within(slice)?;
        let path = match is_slice {
            true => within(&name)?,
            false => format!("{above}/{name}"),
        };
        let path = format!("{}{path}", systemd.cgroup);
        Ok(Unit { name, slice: slice.to_owned(), path, user: systemd.user })
    }

    /// A slice has no processes of its own to be born with.
    pub(super) fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }

    /// What the unit is to be like.
    ///
    /// # Errors
    /// For an annotation that is no property, by its name.
    pub(super) fn properties(
        &self,
        spec: &Spec,
        id: &str,
        limits: Vec<Property>,
        steps: &Steps,
    ) -> Result<Vec<Property>> {
        let mut all = Vec::new();
        let mut add = |name: &str, value: String| put(&mut all, name, value);
        add("Description", quoted(&format!("minirun container {id}")));
        if self.is_slice() {
            add("Wants", format!("[{}]", quoted(&self.slice)));
        } else {
            add("Slice", quoted(&self.slice));
            add("Delegate", "true".to_owned());
        }
        add("DefaultDependencies", "false".to_owned());
        // Else one whose container was killed would stay behind as failed.
        add("CollectMode", quoted("inactive-or-failed"));
        for controller in ["Memory", "CPU", "IO", "Tasks"] {
            add(&format!("{controller}Accounting"), "true".to_owned());
        }
        limits.into_iter().for_each(|(name, value)| add(&name, value));
        let mut annotations: Vec<_> = spec.annotations().iter().flatten().collect();
        annotations.sort();
        for (key, text) in annotations {
            if let Some(name) = key.strip_prefix(ANNOTATION) {
                let (name, value) = annotated(name, text).map_err(|reason| {
                    steps.error(&format!("annotations.{key}"), "set a property of the unit", reason)
                })?;
                add(&name, value);
            }
        }
        Ok(all)
    }
}

/// Replaces what was said before, as the last word does for systemd.
fn put(all: &mut Vec<Property>, name: &str, value: String) {
    match all.iter_mut().find(|(known, _)| known == name) {
        Some(property) => property.1 = value,
        None => all.push((name.to_owned(), value)),
    }
}

fn annotated(name: &str, text: &str) -> std::result::Result<Property, String> {
    if name.len() < 3 || !name.chars().all(|c| c.is_ascii_alphabetic()) {
        return Err(format!("{name:?} is no name of a property"));
    }
    if matches!(name, "PIDs" | "Slice" | "Wants") {
        return Err("linux.cgroupsPath and minirun decide about it".to_owned());
    }
    let value = Value::parse(text)?;
    // As unit files have them: seconds, which systemd's properties count in millionths.
    if let Some(stem) = name.strip_suffix("Sec")
        && stem.ends_with(|c: char| c.is_ascii_lowercase())
    {
        let seconds = match value {
            Value::Number(_, number) => number as f64,
            Value::Double(number) => number,
            _ => return Err(format!("{text} is no number of seconds")),
        };
        if !(0.0..1e12).contains(&seconds) {
            return Err(format!("{text} is no number of seconds"));
        }
        return Ok((format!("{stem}USec"), format!("uint64 {}", (seconds * 1e6) as u64)));
    }
    Ok((name.to_owned(), text.to_owned()))
}

/// Where a slice lies: `a-b.slice` is in `a.slice` (systemd.slice(5)). `None` for none.
fn expand(slice: &str) -> Option<String> {
    let stem = slice.strip_suffix(".slice")?;
    if stem == "-" {
        return Some(String::new());
    }
    let parts: Vec<&str> = stem.split('-').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    Some((1..=parts.len()).map(|end| format!("/{}.slice", parts[..end].join("-"))).collect())
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// What systemd has to know of the settings. `period` is that of a quota which names none,
/// in microseconds.
pub(super) fn limits(
    settings: &[Setting],
    devices: Option<&[Rule]>,
    period: u64,
    systemd: &Systemd,
) -> Vec<Property> {
    let mut all = Vec::new();
    let mut quota_of_v1 = (None, None);
    for setting in settings {
        let (file, value) = match &setting.action {
            Action::Write { file, value, .. } => (file.as_str(), value.as_str()),
            Action::WriteFirst(choices) => {
                let weight = choices.iter().find(|(file, _)| file == "io.weight");
                weight.map_or(("", ""), |(file, value)| (file.as_str(), value.as_str()))
            }
            Action::CheckUsage { .. } | Action::DeviceFilter(_) => continue,
        };
        match file {
            "cpu.cfs_quota_us" => quota_of_v1.0 = Some(value),
            "cpu.cfs_period_us" => quota_of_v1.1 = value.parse().ok(),
            _ => {
                for (name, value) in twins(file, value, period, systemd.version) {
                    put(&mut all, name, value);
                }
            }
        }
    }
    if let (Some(quota), asked) = quota_of_v1 {
        let quota = if quota.starts_with('-') { "max" } else { quota };
        for (name, value) in bandwidth(quota, asked.unwrap_or(period)) {
            put(&mut all, name, value);
        }
    }
    if let Some(rules) = devices {
        let (policy, list) = match allowed(rules) {
            Some(list) => ("strict", list),
            // Not a list of what is allowed; the container's own filter holds all the same.
            None => ("auto", Vec::new()),
        };
        let list: Vec<String> = list
            .iter()
            .map(|(node, access)| format!("({}, {})", quoted(node), quoted(access)))
            .collect();
        put(&mut all, "DevicePolicy", quoted(policy));
        put(&mut all, "DeviceAllow", format!("@a(ss) [{}]", list.join(", ")));
    }
    all
}

/// The properties that make systemd write `value` to a cgroup's file.
fn twins(file: &str, value: &str, period: u64, version: u32) -> Vec<(&'static str, String)> {
    let limit = |name| match value {
        "max" | "-1" => vec![(name, INFINITY.to_owned())],
        _ => number(value).map(|n| (name, format!("uint64 {n}"))).into_iter().collect(),
    };
    match file {
        "memory.max" | "memory.limit_in_bytes" => limit("MemoryMax"),
        "memory.swap.max" => limit("MemorySwapMax"),
        "memory.high" => limit("MemoryHigh"),
        "memory.low" => limit("MemoryLow"),
        "memory.min" => limit("MemoryMin"),
        "pids.max" => limit("TasksMax"),
        "cpu.shares" => limit("CPUShares"),
        "cpu.weight" => limit("CPUWeight"),
        // Earlier ones know no such weight.
        "cpu.idle" if value == "1" && version >= 252 => vec![("CPUWeight", "uint64 0".to_owned())],
        "io.weight" => limit("IOWeight"),
        "cpu.max" => {
            let (quota, asked) = value.split_once(' ').unwrap_or((value, ""));
            bandwidth(quota, number(asked).unwrap_or(period))
        }
        "cpuset.cpus" if version >= 244 => mask("AllowedCPUs", value),
        "cpuset.mems" if version >= 244 => mask("AllowedMemoryNodes", value),
        _ => Vec::new(),
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn bandwidth(quota: &str, period: u64) -> Vec<(&'static str, String)> {
    let second = |quota: u64| {
        let share = u128::from(quota) * 1_000_000 / u128::from(period.max(1));
        u64::try_from(share).unwrap_or(u64::MAX).checked_next_multiple_of(QUOTA_UNIT)
    };
    let quota = match number(quota).map(second) {
        Some(share) => format!("uint64 {}", share.unwrap_or(u64::MAX)),
        None => INFINITY.to_owned(),
    };
    vec![("CPUQuotaPeriodUSec", format!("uint64 {period}")), ("CPUQuotaPerSecUSec", quota)]
}

/// A list such as `0-2,7` as a bit each, the first byte for the first eight.
fn mask(name: &'static str, list: &str) -> Vec<(&'static str, String)> {
    let mut bytes: Vec<u8> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Vec::new();
        };
        // As many as systemd takes at most; the kernel refuses the file's value itself.
        for bit in first..=last.min(8191) {
            let at = (bit / 8) as usize;
            bytes.resize(bytes.len().max(at + 1), 0);
            bytes[at] |= 1 << (bit % 8);
        }
    }
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect();
    if bytes.is_empty() { Vec::new() } else { vec![(name, format!("@ay [{}]", bytes.join(", ")))] }
}

/// Nodes and kinds of access as systemd lists them; `None` when these rules are no list of
/// what is allowed while all else is denied.
fn allowed(rules: &[Rule]) -> Option<Vec<(String, String)>> {
    let [first, rest @ ..] = rules else { return None };
    if first.allow || !first.is_about_everything() || rest.iter().any(|rule| !rule.allow) {
        return None;
    }
    let mut list: Vec<(String, Access)> = Vec::new();
    for rule in rest {
        let kinds: &[&str] = match rule.kind {
            Kind::Any => &["block", "char"],
            Kind::Block => &["block"],
            Kind::Character => &["char"],
        };
        for kind in kinds {
            let node = match (rule.major, rule.minor) {
                (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
                (Some(major), None) => format!("{kind}-{major}"),
                (None, None) => format!("{kind}-*"),
                (None, Some(_)) => return None,
            };
            match list.iter_mut().find(|(known, _)| *known == node) {
                Some((_, access)) => *access = *access | rule.access,
                None => list.push((node, rule.access)),
            }
        }
    }
    Some(list.into_iter().map(|(node, access)| (node, access.letters())).collect())
}
