//! What a security module and the key service know the process by: AppArmor profile,
//! SELinux label, session keyring.

use nix::errno::Errno;
use oci_spec::runtime::Process;

use super::namespaces::Layout;
use super::op::Op;
use super::{Options, Side, Steps};
use crate::error::Result;
use crate::host::Host;

/// Without this the process would have the caller's keys (session-keyring(7)).
///
/// A kernel without keys needs no keyring; and where a seccomp filter forbids keyctl (EPERM,
/// which the kernel itself never gives here), it forbids it to the container too.
const NO_KEYS: &[Errno] = &[Errno::ENOSYS, Errno::EPERM];

/// `KEY_USR_SEARCH` and `KEY_OTH_SEARCH` of linux/key.h.
const OWNER_MAY_SEARCH: u32 = 0x0008_0000;
const OTHERS_MAY_SEARCH: u32 = 0x0000_0008;

/// Leaves the caller's session keyring for one of the container's own, in which processes
/// that join the container will find it. Who comes into a user namespace from outside isn't
/// the keyring's owner.
pub(super) fn new_keyring(steps: &mut Steps, options: &Options, layout: &Layout) -> Result<()> {
    let searchable = if layout.has_user() { OTHERS_MAY_SEARCH } else { OWNER_MAY_SEARCH };
    keyring(steps, options, searchable)
}

/// Leaves the caller's session keyring for the container's.
pub(super) fn join_keyring(steps: &mut Steps, options: &Options) -> Result<()> {
    keyring(steps, options, 0)
}

fn keyring(steps: &mut Steps, options: &Options, permissions: u32) -> Result<()> {
    if options.no_new_keyring {
        return Ok(());
    }
    let name = steps.c_string("", format!("_ses.{}", options.name))?;
    steps.tolerant(Op::SessionKeyring { name, permissions }, "", NO_KEYS);
    Ok(())
}

/// Profile and label take effect at the next execve of this very process or the one that it
/// clones. They are set while
/// the host's /proc is still there, which no mount of the container's can stand in for.
pub(super) fn on_exec(steps: &mut Steps, side: Side, process: &Process, host: &Host) -> Result<()> {
    let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    if let Some(profile) = given(process.apparmor_profile()) {
        let path = "process.apparmorProfile";
        let profile = steps.c_string(path, profile)?;
        if host.apparmor {
            steps.push(side, Op::AppArmor { profile }, path, &[]);
        } else {
            steps.warn(path, "AppArmor is not enabled on this host, nothing confines the process");
        }
    }
    if let Some(label) = given(process.selinux_label()) {
        let path = "process.selinuxLabel";
        let label = steps.c_string(path, label)?;
        if host.selinux {
            steps.push(side, Op::SelinuxLabel { label }, path, &[]);
        } else {
            steps.warn(path, NO_SELINUX);
        }
    }
    Ok(())
}

/// Labels mean nothing then; that a container goes without is said, and no reason to fail.
pub(super) const NO_SELINUX: &str =
    "SELinux is not enabled on this host or has no policy, the label is left out";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::host::Host;
    use crate::plan::tests::{plan_of_json, plan_of_json_on, root};

    #[test]
    fn labels_are_for_hosts_that_have_them() {
        let host = Host { apparmor: true, selinux: true, ..root() };
        for (field, words) in [
            ("apparmorProfile", "apply the AppArmor profile x at execve"),
            ("selinuxLabel", "apply the SELinux label x at execve"),
        ] {
            let plan = plan_of_json_on(&["process", field], json!("x"), &host).unwrap();
            let text = plan.to_string();
            assert!(text.find(words).unwrap() < text.find("pivot_root").unwrap(), "{text}");
            let without = plan_of_json(&["process", field], json!("x")).unwrap();
            assert!(without.warnings[0].starts_with(&format!("process.{field}: ")), "{without}");
            let empty = plan_of_json(&["process", field], json!("")).unwrap();
            assert!(empty.warnings.is_empty(), "empty is none");
        }
    }

    #[test]
    fn the_callers_keyring_is_left() {
        let text = plan_of_json(&["process", "cwd"], json!("/")).unwrap().to_string();
        assert!(text.contains("join session keyring _ses.box"), "{text}");
    }
}
