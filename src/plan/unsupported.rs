//! What a specification may ask for and this version doesn't carry out.
//!
//! Such a field is refused with its path. Ignoring it in silence would give a container
//! that is less than what was asked for, and perhaps less safe.

use oci_spec::runtime::{Linux, Mount, Spec};

use super::Steps;
use super::mount_options::MountOptions;
use crate::error::Result;

/// A field's path below its parent, and whether it is there and asks for something.
type Field<T> = (&'static str, fn(&T) -> bool);

const SPEC: &[Field<Spec>] =
    &[("domainname", |spec| spec.domainname().is_some()), ("vm", |spec| spec.vm().is_some())];

const LINUX: &[Field<Linux>] = &[
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
    ("sysctl", |linux| linux.sysctl().as_ref().is_some_and(|sysctl| !sysctl.is_empty())),
];

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
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        check(steps, &format!("mounts[{index}]."), MOUNT, mount)?;
    }
    let Some(linux) = spec.linux() else {
        return Ok(());
    };
    check(steps, "linux.", LINUX, linux)
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
