//! `linux.sysctl` and `domainname`: the kernel's parameters that belong to a namespace.
//!
//! Everything else below /proc/sys belongs to the whole machine and is refused.

use nix::sched::CloneFlags;
use oci_spec::runtime::Spec;

use super::Steps;
use super::namespaces::Layout;
use super::op::Op;
use crate::error::Result;

/// The longest domain name (`__NEW_UTS_LEN`).
const NAME_MAX: usize = 64;

/// Parameters of the IPC namespace (ipc_namespaces(7)).
const IPC: &[&str] = &[
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// The steps, written while the only /proc around is the host's: no file system of the
/// container's can stand in for it (CVE-2025-52881).
pub(super) fn write(steps: &mut Steps, spec: &Spec, layout: &Layout) -> Result<()> {
    let sysctl = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    // A map has no order of its own, and a plan is the same every time.
    let mut sysctl: Vec<_> = sysctl.into_iter().flatten().collect();
    sysctl.sort();
    for (key, value) in sysctl {
        let place = format!("linux.sysctl.{key}");
        let refuse = |reason: String| Err(steps.error(&place, "set a kernel parameter", reason));
        let file = file(key);
        if file.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return refuse("it is no name of a parameter".to_owned());
        }
        if file == "kernel/hostname" {
            return refuse("the host name is set by hostname".to_owned());
        }
        if file == "kernel/domainname" && spec.domainname().is_some() {
            return refuse("the domain name is set by domainname already".to_owned());
        }
        let Some((namespace, word)) = namespace(&file) else {
            return refuse("it belongs to the whole machine, not to a namespace".to_owned());
        };
        if !layout.has(namespace) {
            return refuse(format!("without a {word} namespace it would change the host's"));
        }
        let file = steps.c_string(&place, file)?;
        steps.c_string(&place, value.as_str())?;
        steps.container(Op::Sysctl { file, value: value.clone() }, &place);
    }
    domainname(steps, spec, layout)
}

fn domainname(steps: &mut Steps, spec: &Spec, layout: &Layout) -> Result<()> {
    let Some(name) = spec.domainname().as_ref().filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    let refuse = |reason| Err(steps.error("domainname", "set domain name", reason));
    if !layout.has(CloneFlags::CLONE_NEWUTS) {
        return refuse("without a uts namespace it would change the host's");
    }
    if name.len() > NAME_MAX || name.contains(char::is_control) {
        return refuse("a domain name has up to 64 bytes and no control characters");
    }
    steps.container(Op::Domainname { name: name.clone() }, "domainname");
    Ok(())
}

/// The file below /proc/sys. As with sysctl(8) the first separator says which one is
/// meant: `net.ipv4.conf.eth0/1.forwarding` and `net/ipv4/conf/eth0.1/forwarding` are one.
fn file(key: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    match key.find(['.', '/']).map(|at| &key[at..]) {
        Some(rest) if rest.starts_with('.') => key.chars().map(swap).collect(),
        _ => key.to_owned(),
    }
}

/// Whether a file below /proc/sys belongs to namespaces of this kind.
pub(super) fn is_of(file: &str, kind: CloneFlags) -> bool {
    namespace(file).is_some_and(|(namespace, _)| namespace == kind)
}

fn namespace(file: &str) -> Option<(CloneFlags, &'static str)> {
    if file.starts_with("net/") {
        return Some((CloneFlags::CLONE_NEWNET, "network"));
    }
    if IPC.contains(&file) || file.starts_with("fs/mqueue/") {
        return Some((CloneFlags::CLONE_NEWIPC, "ipc"));
    }
    (file == "kernel/domainname").then_some((CloneFlags::CLONE_NEWUTS, "uts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_decides() {
        assert_eq!(file("kernel.shmmax"), "kernel/shmmax");
        assert_eq!(file("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(file("net/ipv4/conf/eth0.1/forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(file("kernel"), "kernel");
    }

    #[test]
    fn only_parameters_of_a_namespace_have_one() {
        for file in ["kernel/pid_max", "kernel/core_pattern", "vm/swappiness", "fs/file-max"] {
            assert_eq!(namespace(file), None, "{file}");
        }
        for file in ["kernel/sem", "fs/mqueue/msg_max", "net/core/somaxconn", "kernel/domainname"] {
            assert!(namespace(file).is_some(), "{file}");
        }
    }
}
