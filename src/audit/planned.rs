//! What a container would be like, by its Spec.

use std::path::Path;

use caps::Capability;
use oci_spec::runtime::{LinuxDeviceType, LinuxNamespaceType, LinuxSeccomp, Mount, Process, Spec};

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

/// What is left after execve, as bits: to users other than root the ambient ones alone.
fn permitted(process: &Process) -> u64 {
    let sets = process.capabilities().as_ref();
    let is_root = process.user().uid() == 0;
    let names = sets.and_then(|sets| match is_root {
        true => sets.permitted().as_ref(),
        false => sets.ambient().as_ref(),
    });
    let bit = |name| format!("CAP_{name}").parse::<Capability>().map_or(0, |c| c.bitmask());
    names.into_iter().flatten().map(bit).fold(0, |bits, bit| bits | bit)
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
