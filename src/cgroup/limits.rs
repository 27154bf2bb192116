//! The limits that a cgroup has now, as far as others can't be changed without them.

use std::fs;
use std::path::Path;

use oci_spec::runtime::{
    LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources,
};

use super::Tree;

impl Tree<'_> {
    /// v2's memory limit, its quota and period, and v1's allowed devices.
    pub(crate) fn limits(&self) -> LinuxResources {
        let mut found = LinuxResources::default();
        if let Some(dir) = self.v2() {
            let text = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
            if let Some(limit) = or_max(text("memory.max").trim()) {
                let mut memory = LinuxMemory::default();
                memory.set_limit(Some(limit));
                found.set_memory(Some(memory));
            }
            if let Some((quota, period)) = text("cpu.max").trim().split_once(' ') {
                let mut cpu = LinuxCpu::default();
                cpu.set_quota(or_max(quota)).set_period(period.parse().ok());
                found.set_cpu(Some(cpu));
            }
        }
        found.set_devices(self.v1("devices").and_then(devices));
        found
    }
}

/// A number, or -1 for `max`.
fn or_max(text: &str) -> Option<i64> {
    if text == "max" { Some(-1) } else { text.parse().ok() }
}

/// devices.list as rules: all are denied but these. `None` when it isn't such a list.
fn devices(dir: &Path) -> Option<Vec<LinuxDeviceCgroup>> {
    let text = fs::read_to_string(dir.join("devices.list")).ok()?;
    let mut deny = LinuxDeviceCgroup::default();
    deny.set_access(Some("rwm".to_owned()));
    let allowed = text.lines().map(|line| {
        let mut words = line.split_ascii_whitespace();
        let kind = match words.next()? {
            "b" => LinuxDeviceType::B,
            "c" => LinuxDeviceType::C,
            _ => return None,
        };
        let (major, minor) = words.next()?.split_once(':')?;
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(true).set_typ(Some(kind)).set_access(Some(words.next()?.to_owned()));
        // `*` is all of them, which no number says.
        rule.set_major(major.parse().ok()).set_minor(minor.parse().ok());
        Some(rule)
    });
    std::iter::once(Some(deny)).chain(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Dir;

    #[test]
    fn limits_are_read_back() {
        let path = std::env::temp_dir().join(format!("limits-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (file, text) in [
            ("memory.max", "max\n"),
            ("cpu.max", "5 100\n"),
            ("devices.list", "c *:* m\nb 8:0 r\n"),
        ] {
            fs::write(path.join(file), text).unwrap();
        }
        let dir = |controllers: &str| [Dir { controllers: controllers.into(), path: path.clone() }];
        let (v1, v2) = (dir("devices"), dir(""));
        let (v1, v2) = (Tree::new(&v1).limits(), Tree::new(&v2).limits());
        fs::write(path.join("devices.list"), "a *:* rwm\n").unwrap();
        let open = dir("devices");
        let open = Tree::new(&open).limits();
        fs::remove_dir_all(&path).unwrap();
        assert_eq!(v2.memory().unwrap().limit(), Some(-1));
        let cpu = v2.cpu().clone().unwrap();
        assert_eq!((cpu.quota(), cpu.period()), (Some(5), Some(100)));
        let rules: Vec<_> = v1.devices().iter().flatten().map(ToString::to_string).collect();
        assert_eq!(rules, ["a *:* rwm", "c *:* m", "b 8:0 r"]);
        assert!(!v1.devices().as_ref().unwrap()[0].allow());
        assert_eq!(*open.devices(), None);
    }
}
