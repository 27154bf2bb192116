//! A mount namespace without a copy of the host's mounts.
//!
//! clone3 copies every mount of the host, and letting go of them takes as long again. Where
//! there are many, the container's process enters the kernel's own mount namespace, which has
//! next to nothing in it, and makes its own from there. The host's files are out of its reach
//! then: the runtime opens whatever comes from them before the clone.

use nix::sched::CloneFlags;
use oci_spec::runtime::Spec;

use super::Options;
use super::hooks::run_before_root;
use super::mounts::Entry;
use super::namespaces::Layout;
use super::root::Travel;
use crate::host::Host;

/// Filesystems that need nothing of the host's; the options of others may name its files.
const OWN: [&str; 6] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup2"];

/// Whether it is to be done so.
pub(super) fn are_entered(
    spec: &Spec,
    options: &Options,
    host: &Host,
    layout: &Layout,
    entries: &[Entry],
    travel: &Travel,
) -> bool {
    let is_alone = layout.new.contains(CloneFlags::CLONE_NEWNS)
        && !layout.has_user()
        && !layout.joins()
        // Mounts that are to travel to the host need a copy of the one that they are made in.
        && travel.tree.is_some();
    // Without a namespace of its own the container's cgroup is bound, and a scope that systemd
    // makes for the cloned process isn't there before.
    let has_cgroup = host.systemd.is_none() || layout.has(CloneFlags::CLONE_NEWCGROUP);
    let is_within_reach = |entry: &Entry| match entry.is_cgroup() {
        true => has_cgroup,
        false => entry.is_bind() || entry.options.remount || OWN.contains(&entry.fstype()),
    };
    host.many_mounts
        && options.oci
        && !options.no_pivot
        && !options.ephemeral
        && is_alone
        && spec.root().is_some()
        // Until pivot_root a hook finds the host's files in the container's mount namespace.
        && !run_before_root(spec)
        && entries.iter().all(is_within_reach)
}

#[cfg(test)]
mod tests {
    use nix::mount::MsFlags;
    use serde_json::{Value, json};

    use super::super::op::Op;
    use super::super::tests::root;
    use super::super::{Options, Plan};
    use super::*;
    use crate::host::Systemd;

    /// The plan of a bundle with a few mounts, on a host with many, after `change`.
    fn plan(change: impl FnOnce(&mut Value, &mut Options)) -> Plan {
        plan_on(root(), change)
    }

    fn plan_on(host: Host, change: impl FnOnce(&mut Value, &mut Options)) -> Plan {
        let mut config = json!({
            "ociVersion": "1.3.0",
            "root": { "path": "/r" },
            "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"] },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/first", "source": "/a", "options": ["rbind", "ro"] },
                { "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"] },
                { "destination": "/second", "source": "/b", "options": ["bind", "rslave"] },
            ],
            "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }], "resources": {} },
        });
        let mut options = Options { name: "box".into(), oci: true, ..Default::default() };
        change(&mut config, &mut options);
        let host = Host { many_mounts: true, ..host };
        Plan::new(&serde_json::from_value(config).unwrap(), &options, &host).unwrap()
    }

    fn enters(plan: &Plan) -> bool {
        plan.steps.iter().any(|step| step.op == Op::NewMounts)
    }

    #[test]
    fn what_comes_from_the_host_is_opened_before_the_clone() {
        let plan = plan(|_, _| {});
        let opened = plan.steps[..plan.clone_index()].iter().filter_map(|step| match &step.op {
            Op::OpenTree(tree) => {
                let kind = tree.propagation.map(|propagation| propagation.kind);
                assert_eq!(kind, Some(MsFlags::MS_SLAVE), "{}: as /second is told", step.op);
                Some(tree.source.to_str().unwrap())
            }
            _ => None,
        });
        let opened: Vec<&str> = opened.collect();
        assert_eq!(opened, ["/r", "/a", "/sys/fs/cgroup/box", "/b"]);
        let mut used = 0;
        for step in &plan.steps[plan.clone_index()..] {
            let (source, tree) = match &step.op {
                Op::BindRootfs { path, tree, .. } => (path, tree),
                Op::Bind(bind) => (&bind.source, &bind.tree),
                Op::Clone { namespaces, .. } => {
                    assert!(!namespaces.contains(CloneFlags::CLONE_NEWNS), "{plan}");
                    continue;
                }
                _ => continue,
            };
            assert_eq!(tree.and_then(|tree| opened.get(tree).copied()), source.to_str().ok());
            used += 1;
        }
        assert_eq!(used, opened.len());
        let position = |op: &Op| plan.steps.iter().position(|step| step.op == *op);
        assert!(position(&Op::OpenKernelMounts) < position(&Op::NewMounts));
    }

    #[test]
    fn who_needs_the_hosts_mounts_gets_copies_of_them() {
        assert!(enters(&plan(|_, _| {})));
        assert!(!enters(&plan(|_, options| options.oci = false)));
        assert!(!enters(&plan(|_, options| options.no_pivot = true)));
        assert!(!enters(&plan(|_, options| options.ephemeral = true)));
        let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        let hook = json!([{ "path": "/bin/true" }]);
        let changes: &[&[(&str, Value)]] = &[
            &[("/linux/rootfsPropagation", json!("shared"))],
            &[("/linux/namespaces/0/path", json!("/proc/1/ns/pid"))],
            &[
                ("/linux/namespaces/2", json!({ "type": "user" })),
                ("/linux/uidMappings", ids.clone()),
                ("/linux/gidMappings", ids),
            ],
            &[("/linux/namespaces/1", json!({ "type": "ipc" })), ("/mounts", json!([]))],
            &[("/hooks/prestart", hook.clone())],
            &[("/hooks/createRuntime", hook.clone())],
            &[("/hooks/createContainer", hook.clone())],
            &[(
                "/mounts/0",
                json!({ "destination": "/o", "type": "overlay", "options": ["lowerdir=/l"] }),
            )],
            &[("/mounts/0", json!({ "destination": "/d", "type": "ext4", "source": "/dev/d" }))],
        ];
        for fields in changes {
            let plan = plan(|config, _| {
                for (pointer, value) in *fields {
                    set(config, pointer, value.clone());
                }
            });
            assert!(!enters(&plan), "{fields:?}\n{plan}");
            let opened = plan.steps.iter().any(|step| step.op == Op::OpenKernelMounts);
            assert!(!opened, "{fields:?}\n{plan}");
        }
        assert!(enters(&plan(|config, _| set(config, "/hooks/startContainer", hook))));
    }

    #[test]
    fn a_scope_that_is_still_to_be_made_cannot_be_opened_before() {
        let controllers = vec!["memory".to_owned(), "pids".to_owned()];
        let cgroup = String::new();
        let systemd = Some(Systemd { user: false, version: 252, cgroup, controllers });
        let host = Host { systemd, ..root() };
        let own =
            |config: &mut Value| set(config, "/linux/namespaces/2", json!({"type": "cgroup"}));
        assert!(!enters(&plan_on(host.clone(), |_, _| {})));
        assert!(enters(&plan_on(host.clone(), |config, _| own(config))));
        let without = |config: &mut Value| set(config, "/mounts/2/type", json!("tmpfs"));
        assert!(enters(&plan_on(host, |config, _| without(config))));
    }

    /// Sets a field, after making what is missing of its path.
    fn set(config: &mut Value, pointer: &str, value: Value) {
        let mut place = config;
        for key in pointer.split('/').skip(1) {
            place = match place {
                Value::Array(list) => {
                    let index: usize = key.parse().unwrap();
                    list.resize(list.len().max(index + 1), Value::Null);
                    &mut list[index]
                }
                other => &mut other[key],
            };
        }
        *place = value;
    }
}
