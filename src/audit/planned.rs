//! What a container would be like, by its Spec.

use std::path::Path;

use caps::Capability;
use oci_spec::runtime::{
    Capabilities, LinuxDeviceType, LinuxNamespaceType, LinuxSeccomp, Mount, Process, Spec,
};

use super::Facts;
use super::facts::{Device, HostFiles, NAMESPACES, NOTABLE_CALLS, Seccomp};
use crate::host::Host;
use crate::oci::{annotations, defaults};
use crate::seccomp;

/// The facts of a container that this Spec would become on this host.
pub(crate) fn planned(spec: &Spec, host: &Host, bundle: bool) -> Facts {
    let linux = spec.linux().as_ref();
    let process = spec.process().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    let has = |kind: LinuxNamespaceType| {
        // Those of a process of the host may be asked for by their path.
        let hosts =
            |path: &Path| path.starts_with("/proc/1/ns") || path.starts_with("/proc/self/ns");
        namespaces.iter().any(|namespace| {
            namespace.typ() == kind && !namespace.path().as_deref().is_some_and(hosts)
        })
    };
    let confined = has(LinuxNamespaceType::User);
    let uid_map = linux.and_then(|linux| linux.uid_mappings().as_ref());
    let uid_map = uid_map.into_iter().flatten();
    let uid_map = uid_map.map(|map| (map.container_id(), map.host_id(), map.size())).collect();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let memory = resources.and_then(|resources| resources.memory().as_ref()?.limit());
    let pids = resources.and_then(|resources| Some(resources.pids().as_ref()?.limit()));
    // A user namespace's root has no node of a device that it may open.
    let grantable = if confined { u64::MAX } else { host.capabilities };
    let capabilities = process.map_or(0, permitted) & grantable;
    let makes_nodes = !confined && capabilities & Capability::CAP_MKNOD.bitmask() != 0;
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    Facts {
        bundle,
        uid: process.map_or(0, |process| process.user().uid()),
        uid_map: confined.then_some(uid_map),
        capabilities,
        no_new_privileges: process.is_some_and(|p| p.no_new_privileges().unwrap_or(false)),
        seccomp: linux.and_then(|linux| linux.seccomp().as_ref()).map_or(Seccomp::None, filter),
        confined: confined_by_module(process, host),
        shared: NAMESPACES.iter().filter(|row| !has(row.0)).map(|row| row.1).collect(),
        interfaces: interfaces(spec),
        root: spec.root().as_ref().map(|root| HostFiles {
            source: root.path().clone(),
            destination: "/".into(),
            writable: !root.readonly().unwrap_or(false)
                && !annotations::is_set(spec, annotations::EPHEMERAL).unwrap_or(false),
        }),
        mounts: mounts.iter().filter_map(|mount| host_files(mount, mounts)).collect(),
        devices: devices(spec),
        any_device: makes_nodes && !resources.is_some_and(|r| denies_devices(r.devices())),
        exposed: without(spec, defaults::MASKED_PATHS, |linux| linux.masked_paths().as_deref()),
        writable: writable(spec),
        memory_limit: memory.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0),
        pids_limit: pids.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0),
        descriptors: Vec::new(),
    }
}

/// What is left after execve, as bits: to users other than root the ambient ones alone, which
/// must be inheritable.
fn permitted(process: &Process) -> u64 {
    let Some(sets) = process.capabilities() else { return 0 };
    let bits = |set: &Option<Capabilities>| {
        let names = set.iter().flatten().map(|name| format!("CAP_{name}").parse::<Capability>());
        names.flatten().fold(0, |bits, name| bits | name.bitmask())
    };
    match process.user().uid() {
        0 => bits(sets.permitted()),
        _ => bits(sets.ambient()) & bits(sets.inheritable()),
    }
}

/// What a profile comes to.
pub(super) fn filter(profile: &LinuxSeccomp) -> Seccomp {
    let permits = |name: &&str| seccomp::always_permits(profile, name);
    let words = match seccomp::compile(profile, seccomp::Machine::NATIVE) {
        Ok(filter) => filter.to_string(),
        Err(refusal) => refusal.reason,
    };
    Seccomp::Filter { words, permits: NOTABLE_CALLS.iter().copied().filter(permits).collect() }
}

fn confined_by_module(process: Option<&Process>, host: &Host) -> Option<bool> {
    let set = |text: Option<&String>| {
        text.is_some_and(|text| !matches!(text.as_str(), "" | "unconfined"))
    };
    let profile = process.and_then(|process| process.apparmor_profile().as_ref());
    let label = process.and_then(|process| process.selinux_label().as_ref());
    match (host.apparmor, host.selinux) {
        (false, false) => None,
        (true, _) => Some(set(profile)),
        (false, true) => Some(set(label)),
    }
}

fn has_option(mount: &Mount, wanted: &[&str]) -> bool {
    mount.options().iter().flatten().any(|option| wanted.contains(&option.as_str()))
}

/// What a mount shows of the host's files.
fn host_files(mount: &Mount, all: &[Mount]) -> Option<HostFiles> {
    let bind = mount.typ().as_deref() == Some("bind") || has_option(mount, &["bind", "rbind"]);
    let source = mount.source().as_ref().filter(|_| bind)?;
    // A bound /sys is where a user's own can't be mounted.
    let is_default = source == Path::new("/sys") && has_option(mount, &["rro"]);
    // What another mount covers isn't seen.
    let is_covered = all.iter().rev().take_while(|later| !std::ptr::eq(*later, mount));
    let is_covered = is_covered.into_iter().any(|later| later.destination() == mount.destination());
    (!is_default && !is_covered).then(|| HostFiles {
        source: source.clone(),
        destination: mount.destination().clone(),
        writable: !has_option(mount, &["ro", "rro"]),
    })
}

/// lo, and what is moved in from the host.
fn interfaces(spec: &Spec) -> Vec<String> {
    let moved = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
    let mut names: Vec<String> =
        moved.into_iter().flat_map(|moved| moved.keys().cloned()).collect();
    names.sort();
    names.insert(0, "lo".to_owned());
    names
}

fn devices(spec: &Spec) -> Vec<Device> {
    let devices = spec.linux().as_ref().and_then(|linux| linux.devices().as_ref());
    let node = |device: &oci_spec::runtime::LinuxDevice| Device {
        path: device.path().clone(),
        block: device.typ() == LinuxDeviceType::B,
        major: device.major().try_into().unwrap_or(0),
        minor: device.minor().try_into().unwrap_or(0),
    };
    devices.into_iter().flatten().map(node).collect()
}

/// Whether a list of rules begins by denying everything.
fn denies_devices(rules: &Option<Vec<oci_spec::runtime::LinuxDeviceCgroup>>) -> bool {
    let is_all = |rule: &&oci_spec::runtime::LinuxDeviceCgroup| {
        let any_type = !matches!(rule.typ(), Some(LinuxDeviceType::B | LinuxDeviceType::C));
        any_type && rule.major().is_none() && rule.minor().is_none()
    };
    let last = rules.iter().flatten().rfind(is_all);
    last.is_some_and(|rule| !rule.allow())
}

/// The filesystem that a path is in, by the mounts.
fn filesystem<'a>(spec: &'a Spec, path: &str) -> Option<&'a Mount> {
    let mounts = spec.mounts().iter().flatten();
    // Of several as deep, the last is on top.
    mounts
        .filter(|mount| Path::new(path).starts_with(mount.destination()))
        .max_by_key(|mount| mount.destination().components().count())
}

/// Those of `wanted` that the container sees and that aren't in a list of the Spec's.
fn without(
    spec: &Spec,
    wanted: &[&str],
    list: impl Fn(&oci_spec::runtime::Linux) -> Option<&[String]>,
) -> Vec<String> {
    let covered = spec.linux().as_ref().and_then(list).unwrap_or_default();
    let is_open = |path: &&&str| {
        let shown = filesystem(spec, path).is_some_and(|mount| {
            mount.typ().as_deref().is_some_and(|kind| matches!(kind, "proc" | "sysfs" | "bind"))
        });
        shown && !covered.iter().any(|cover| Path::new(**path).starts_with(cover))
    };
    wanted.iter().filter(is_open).map(|path| (*path).to_owned()).collect()
}

fn writable(spec: &Spec) -> Vec<String> {
    let mut found =
        without(spec, defaults::READONLY_PATHS, |linux| linux.readonly_paths().as_deref());
    let is_readonly =
        |path: &str| filesystem(spec, path).is_none_or(|mount| has_option(mount, &["ro", "rro"]));
    found.retain(|path| !is_readonly(path));
    found.extend(
        ["/sys", "/sys/fs/cgroup"]
            .iter()
            .filter(|path| !is_readonly(path))
            .map(|path| (*path).to_owned()),
    );
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Of a container of root's, on a host without security modules.
    fn facts(config: Value) -> Facts {
        let host = Host {
            capabilities: u64::MAX,
            apparmor: false,
            selinux: false,
            ..Host::read().unwrap()
        };
        planned(&serde_json::from_value(config).unwrap(), &host, true)
    }

    fn config(process: Value, linux: Value, mounts: Value) -> Value {
        let mut process = process;
        process["cwd"] = json!("/");
        json!({
            "ociVersion": "1.3.0", "root": { "path": "/r" },
            "process": process, "linux": linux, "mounts": mounts,
        })
    }

    #[test]
    fn what_is_shared_is_told_by_type_and_path() {
        let namespaces = json!([
            { "type": "pid" },
            { "type": "network", "path": "/proc/1/ns/net" },
            { "type": "ipc", "path": "/run/pod/ipc" },
        ]);
        let process = json!({ "user": { "uid": 0, "gid": 0 } });
        let facts = facts(config(process, json!({ "namespaces": namespaces }), json!([])));
        assert_eq!(facts.shared, ["net", "mnt", "uts", "cgroup"]);
        assert_eq!((facts.uid_map, facts.no_new_privileges), (None, false));
    }

    #[test]
    fn paths_of_the_kernel_count_where_they_are_mounted_and_not_covered() {
        let proc = json!({ "destination": "/proc", "type": "proc", "source": "proc" });
        let sys = json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs" });
        let covered = json!({ "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"] });
        let process = || json!({ "user": { "uid": 0, "gid": 0 } });
        let none = facts(config(process(), json!({}), json!([])));
        assert_eq!((none.exposed, none.writable), (vec![], vec![]));
        let some = facts(config(process(), covered, json!([proc, sys])));
        assert!(some.exposed.contains(&"/proc/keys".to_owned()));
        assert!(!some.exposed.contains(&"/proc/kcore".to_owned()));
        assert!(some.writable.contains(&"/proc/irq".to_owned()));
        assert!(!some.writable.contains(&"/proc/sys".to_owned()));
        assert!(some.writable.contains(&"/sys".to_owned()));
    }

    #[test]
    fn capabilities_and_devices_are_what_is_left_after_execve() {
        let names = json!(["CAP_MKNOD", "CAP_KILL"]);
        let process = |uid: u32| {
            let capabilities = json!({ "permitted": names, "bounding": names });
            json!({ "user": { "uid": uid, "gid": 0 }, "capabilities": capabilities })
        };
        let root = facts(config(process(0), json!({}), json!([])));
        let expected = Capability::CAP_MKNOD.bitmask() | Capability::CAP_KILL.bitmask();
        assert_eq!((root.capabilities, root.any_device), (expected, true));
        let user = facts(config(process(7), json!({}), json!([])));
        assert_eq!((user.capabilities, user.any_device), (0, false));
        let deny = json!({ "resources": { "devices": [
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw" },
        ] } });
        assert!(!facts(config(process(0), deny, json!([]))).any_device);
    }

    #[test]
    fn binds_show_files_of_the_host_unless_another_mount_covers_them() {
        let bind = |source: &str, destination: &str, options: Value| json!({ "destination": destination, "source": source, "options": options });
        let tmpfs = json!({ "destination": "/a", "type": "tmpfs", "source": "tmpfs" });
        let mounts = json!([
            bind("/srv", "/a", json!(["bind"])),
            tmpfs,
            bind("/etc", "/b", json!(["rbind", "ro"])),
            bind("/home", "/c", json!(["rbind"])),
        ]);
        let process = json!({ "user": { "uid": 0, "gid": 0 } });
        let found = facts(config(process, json!({}), mounts)).mounts;
        let found: Vec<_> =
            found.iter().map(|m| (m.source.to_str().unwrap(), m.writable)).collect();
        assert_eq!(found, [("/etc", false), ("/home", true)]);
    }
}
