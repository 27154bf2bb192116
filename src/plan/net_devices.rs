//! Network devices of the host that become the container's (`linux.netDevices`).

use nix::sched::CloneFlags;
use oci_spec::runtime::Spec;

use super::Steps;
use super::namespaces::Layout;
use super::op::Op;
use crate::error::Result;
use crate::host::Host;

/// A name has one byte less than IFNAMSIZ of linux/if.h.
const LONGEST_NAME: usize = 15;

/// The runtime moves them, as soon as the container's network namespace is there.
///
/// # Errors
/// Names that the kernel wouldn't take, and what this user can't do, by their paths.
pub(super) fn take(steps: &mut Steps, spec: &Spec, host: &Host, layout: &Layout) -> Result<()> {
    let devices = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
    let mut devices: Vec<_> = devices.into_iter().flatten().collect();
    if devices.is_empty() {
        return Ok(());
    }
    let refuse = |steps: &Steps, path: &str, reason: &str| {
        Err(steps.error(path, "move a network device", reason))
    };
    if !layout.has(CloneFlags::CLONE_NEWNET) {
        let reason = "the container has the runtime's network namespace";
        return refuse(steps, "linux.netDevices", reason);
    }
    if !host.is_real_root() {
        return refuse(steps, "linux.netDevices", "only root can take a device from the host");
    }
    devices.sort_by_key(|(name, _)| *name);
    let mut taken: Vec<&str> = Vec::new();
    for (name, device) in devices {
        let path = format!("linux.netDevices.{name}");
        let inside = device.name().as_deref().filter(|name| !name.is_empty()).unwrap_or(name);
        if !is_name(name) {
            return refuse(steps, &path, "this is no name of a network device");
        }
        let path_inside = format!("{path}.name");
        if !is_name(inside) {
            return refuse(steps, &path_inside, "this is no name of a network device");
        }
        // The kernel counts up what stands for %d.
        if !inside.contains("%d") && taken.contains(&inside) {
            return refuse(steps, &path_inside, "another device gets this name");
        }
        taken.push(inside);
        let op = Op::MoveNetDevice { name: name.clone(), inside: inside.to_owned() };
        steps.runtime(op, &path);
    }
    Ok(())
}

/// The kernel's rules (dev_valid_name).
fn is_name(name: &str) -> bool {
    let is_bad = |c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace();
    (1..=LONGEST_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(is_bad)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::error::Error;
    use crate::host::Host;
    use crate::plan::tests::{plan_of_json_on, root};
    use crate::plan::{Plan, Side};

    fn plan(kinds: &[&str], devices: serde_json::Value, host: &Host) -> Result<Plan, Error> {
        let namespaces: Vec<_> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        let linux = json!({ "namespaces": namespaces, "netDevices": devices });
        plan_of_json_on(&["linux"], linux, host)
    }

    const KINDS: &[&str] = &["pid", "mount", "network"];

    #[test]
    fn devices_are_moved_by_the_runtime_in_the_order_of_their_names() {
        let devices = json!({ "eth1": { "name": "net%d" }, "eth0": {} });
        let plan = plan(KINDS, devices, &root()).unwrap();
        let moved = plan.steps.iter().filter(|step| step.op.kind() == "net_device");
        let words: Vec<_> = moved
            .inspect(|step| assert_eq!(step.side, Side::Runtime))
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            words,
            [
                "move network device eth0 into the container [linux.netDevices.eth0]",
                "move network device eth1 into the container as net%d [linux.netDevices.eth1]",
            ]
        );
    }

    #[test]
    fn what_cannot_be_moved_is_refused_by_its_path() {
        let own = Host { in_user_namespace: true, ..root() };
        let twice = json!({ "a": { "name": "x" }, "b": { "name": "x" } });
        for (kinds, devices, host, place) in [
            (&KINDS[..2], json!({ "eth0": {} }), root(), "linux.netDevices"),
            (KINDS, json!({ "eth0": {} }), own, "linux.netDevices"),
            (KINDS, json!({ "a/b": {} }), root(), "linux.netDevices.a/b"),
            (KINDS, json!({ "a": { "name": ".." } }), root(), "linux.netDevices.a.name"),
            (KINDS, json!({ "abcdefghijklmnop": {} }), root(), "linux.netDevices.abcdefghijklmnop"),
            (KINDS, twice, root(), "linux.netDevices.b.name"),
        ] {
            let error = plan(kinds, devices, &host).unwrap_err();
            assert_eq!(error.place(), Some(place), "{error}");
        }
    }
}
