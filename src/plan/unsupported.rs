//! What a specification may ask for and this version doesn't carry out.
//!
//! Such a field is refused with its path. Ignoring it in silence would give a container
//! that is less than what was asked for, and perhaps less safe.

use oci_spec::runtime::{Linux, LinuxNamespace, LinuxResources, Mount, Process, Spec};

use super::Steps;
use super::mount_options::MountOptions;
use crate::error::Result;

/// A field's path below its parent, and whether it is there and asks for something.
type Field<T> = (&'static str, fn(&T) -> bool);

const SPEC: &[Field<Spec>] =
    &[("domainname", |spec| spec.domainname().is_some()), ("vm", |spec| spec.vm().is_some())];

const PROCESS: &[Field<Process>] = &[
    ("apparmorProfile", |process| process.apparmor_profile().is_some()),
    ("selinuxLabel", |process| process.selinux_label().is_some()),
];

const LINUX: &[Field<Linux>] = &[
    ("cgroupsPath", |linux| linux.cgroups_path().is_some()),
    ("devices", |linux| has_any(linux.devices())),
    ("intelRdt", |linux| linux.intel_rdt().is_some()),
    ("mountLabel", |linux| linux.mount_label().is_some()),
    ("netDevices", |linux| linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty())),
    ("rootfsPropagation", |linux| {
        linux
            .rootfs_propagation()
            .as_deref()
            .is_some_and(|kind| !matches!(kind, "" | "rprivate" | "private"))
    }),
    ("seccomp", |linux| linux.seccomp().is_some()),
    ("sysctl", |linux| linux.sysctl().as_ref().is_some_and(|sysctl| !sysctl.is_empty())),
    ("timeOffsets", |linux| linux.time_offsets().is_some()),
];

const RESOURCES: &[Field<LinuxResources>] = &[
    ("blockIO", |resources| resources.block_io().is_some()),
    ("devices", |resources| has_any(resources.devices())),
    ("hugepageLimits", |resources| has_any(resources.hugepage_limits())),
    ("network", |resources| resources.network().is_some()),
    ("rdma", |resources| resources.rdma().is_some()),
    ("unified", |resources| resources.unified().is_some()),
    ("memory.reservation", |r| memory(r, |memory| memory.reservation().is_some())),
    ("memory.swap", |r| memory(r, |memory| memory.swap().is_some())),
    ("memory.swappiness", |r| memory(r, |memory| memory.swappiness().is_some())),
    ("memory.disableOOMKiller", |r| memory(r, |memory| memory.disable_oom_killer() == Some(true))),
    ("cpu.shares", |r| cpu(r, |cpu| cpu.shares().is_some())),
    ("cpu.realtimeRuntime", |r| cpu(r, |cpu| cpu.realtime_runtime().is_some())),
    ("cpu.realtimePeriod", |r| cpu(r, |cpu| cpu.realtime_period().is_some())),
    ("cpu.cpus", |r| cpu(r, |cpu| cpu.cpus().is_some())),
    ("cpu.mems", |r| cpu(r, |cpu| cpu.mems().is_some())),
    ("cpu.idle", |r| cpu(r, |cpu| cpu.idle().is_some())),
    ("cpu.burst", |r| cpu(r, |cpu| cpu.burst().is_some())),
];

const NAMESPACE: &[Field<LinuxNamespace>] =
    &[("type", |namespace| namespace.typ() == oci_spec::runtime::LinuxNamespaceType::Time)];

const MOUNT: &[Field<Mount>] = &[
    ("uidMappings", |mount| mount.uid_mappings().is_some()),
    ("gidMappings", |mount| mount.gid_mappings().is_some()),
    ("options", |mount| {
        let options = mount.options().iter().flatten();
        let known = MountOptions::parse(options.map(String::as_str));
        known.data.split(',').any(|option| matches!(option, "idmap" | "ridmap" | "tmpcopyup"))
    }),
];

/// Refuses the first field that isn't carried out.
///
/// # Errors
/// The field, by its path.
pub(super) fn refuse(steps: &Steps, spec: &Spec) -> Result<()> {
    check(steps, "", SPEC, spec)?;
    if let Some(process) = spec.process() {
        check(steps, "process.", PROCESS, process)?;
    }
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        check(steps, &format!("mounts[{index}]."), MOUNT, mount)?;
    }
    let Some(linux) = spec.linux() else {
        return Ok(());
    };
    check(steps, "linux.", LINUX, linux)?;
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        check(steps, &format!("linux.namespaces[{index}]."), NAMESPACE, namespace)?;
    }
    match linux.resources() {
        Some(resources) => check(steps, "linux.resources.", RESOURCES, resources),
        None => Ok(()),
    }
}

fn check<T>(steps: &Steps, parent: &str, fields: &[Field<T>], value: &T) -> Result<()> {
    match fields.iter().find(|(_, asked)| asked(value)) {
        None => Ok(()),
        Some((name, _)) => Err(steps.error(
            &format!("{parent}{name}"),
            "carry out the specification",
            "this version of minirun can't do that",
        )),
    }
}

fn has_any<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn memory(resources: &LinuxResources, asked: fn(&oci_spec::runtime::LinuxMemory) -> bool) -> bool {
    resources.memory().as_ref().is_some_and(asked)
}

fn cpu(resources: &LinuxResources, asked: fn(&oci_spec::runtime::LinuxCpu) -> bool) -> bool {
    resources.cpu().as_ref().is_some_and(asked)
}
