//! What the order of a plan's steps has to be.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::{Value, json};

use super::op::Op;
use super::tests::{
    self, all_kinds, container, on_v1, ordinary, plan, plan_of_json, position, root, shell,
};
use super::{Options, Plan, Side};

/// Every step of the first kind stands before every one of the second.
fn assert_before(plan: &Plan, first: &str, second: &str) {
    let last_of_first = plan.steps.iter().rposition(|step| step.op.kind() == first);
    if let (Some(first_at), Some(second_at)) = (last_of_first, position(plan, second)) {
        assert!(first_at < second_at, "{first} must come before {second}:\n{plan}");
    }
}

#[test]
fn the_order_that_the_kernel_demands_holds_for_every_kind() {
    for plan in all_kinds() {
        for (first, second) in [
            ("create_cgroup", "join_cgroup"),
            ("write_cgroup", "join_cgroup"),
            ("join_cgroup", "pivot_root"),
            ("clone3", "uid_map"),
            ("gid_map", "undumpable"),
            ("propagate_mounts", "rootfs"),
            ("propagate_mounts", "overlay"),
            ("rootfs", "mount"),
            ("overlay", "mount"),
            ("bind", "readonly_rootfs"),
            ("mkdir", "readonly_rootfs"),
            ("mask", "pivot_root"),
            ("readonly_path", "pivot_root"),
            ("console", "pivot_root"),
            ("pivot_root", "bounding_set"),
            ("bounding_set", "setuid"),
            ("keep_capabilities", "setuid"),
            ("setgroups", "setgid"),
            ("setgid", "setuid"),
            ("setuid", "capset"),
            ("capset", "no_new_privs"),
            ("no_new_privs", "fork"),
            ("close_range", "fork"),
            ("close_range", "setuid"),
            ("close_range", "home"),
            ("close_range", "chdir"),
            ("clear_securebits", "setuid"),
            ("narrate", "fork"),
            ("fork", "setsid"),
            ("setsid", "execve"),
        ] {
            assert_before(&plan, first, second);
        }
        assert_eq!(position(&plan, "execve"), Some(plan.steps.len() - 1));
        assert_nothing_covers_a_mask(&plan);
    }
}

fn path(text: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}

/// What is hidden must not come to light again.
fn assert_nothing_covers_a_mask(plan: &Plan) {
    let mut hidden: Vec<&Path> = Vec::new();
    for step in &plan.steps {
        let target = match &step.op {
            Op::Mask { path: masked } | Op::ReadonlyPath { path: masked } => {
                hidden.push(path(masked));
                continue;
            }
            Op::Mount(new) => new.target.as_c_str(),
            Op::Bind(bind) => bind.target.as_c_str(),
            _ => continue,
        };
        let covers = |masked: &&Path| masked.starts_with(path(target));
        assert!(!hidden.iter().any(covers), "{target:?}:\n{plan}");
    }
    assert!(!hidden.is_empty(), "{plan}");
}

#[test]
fn paths_are_hidden_while_v1_cgroups_are_made_unless_something_may_change_them() {
    let plan = |mounts: &[Value], masked: &str, hooks: Value| {
        let mount = |at: &str, kind: &str| json!({ "destination": at, "type": kind });
        let mut all = vec![
            mount("/proc", "proc"),
            mount("/sys", "sysfs"),
            mount("/sys/fs/cgroup", "cgroup"),
            mount("/dev/shm", "tmpfs"),
        ];
        all.extend_from_slice(mounts);
        let spec = json!({
            "ociVersion": "1.3.0",
            "root": { "path": "/r" },
            "mounts": all,
            "hooks": hooks,
            "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"] },
            "linux": {
                "namespaces": [{ "type": "pid" }, { "type": "mount" }],
                "cgroupsPath": "/box",
                "maskedPaths": ["/proc/kcore", masked],
                "readonlyPaths": ["/proc/sys"],
            },
        });
        let options = Options { name: "box".into(), oci: true, ..Options::default() };
        let spec = serde_json::from_value(spec).unwrap();
        let plan = Plan::new(&spec, &options, &on_v1(root())).unwrap();
        assert_nothing_covers_a_mask(&plan);
        plan
    };
    let hook = |stage: &str| json!({ stage: [{ "path": "/bin/true" }] });
    let bind = |at: &str| json!({ "destination": at, "source": "/x", "options": ["bind"] });
    for early in [
        plan(&[], "/sys/firmware", json!({})),
        plan(&[bind("/etc/hosts"), bind("/sys/class")], "/sys/firmware", hook("poststart")),
        plan(&[], "/proc/sys", hook("startContainer")),
    ] {
        let made = early.steps.iter().rposition(|step| step.op.kind() == "create_cgroup").unwrap();
        assert!(position(&early, "mask") < Some(made) && early.is_meanwhile(made), "{early}");
        assert_before(&early, "mask", "join_cgroup");
        assert_before(&early, "readonly_path", "join_cgroup");
    }
    for late in [
        plan(&[], "/etc/shadow", json!({})),
        plan(&[], "/sys/fs/cgroup/memory", json!({})),
        plan(&[], "/sys/fs", json!({})),
        plan(&[bind("/sys/firmware")], "/sys/firmware/efi", json!({})),
        plan(&[bind("/sys")], "/sys/firmware", json!({})),
        plan(&[], "/sys/firmware", hook("prestart")),
        plan(&[], "/sys/firmware", hook("createRuntime")),
        plan(&[], "/sys/firmware", hook("createContainer")),
    ] {
        assert_before(&late, "mount", "mask");
        assert_before(&late, "bind", "mask");
        assert_before(&late, "hook", "mask");
    }
}

#[test]
fn v1_cgroups_are_made_while_the_container_mounts() {
    let mut container = container();
    let plan = plan(&shell(container.memory(1 << 20)), &on_v1(root())).unwrap();
    let made = position(&plan, "create_cgroup").unwrap();
    assert!(plan.clone_index() < made && plan.is_meanwhile(made), "{plan}");
    assert_before(&plan, "join_cgroup", "unshare");
    let cgroup = plan.steps.iter().position(|step| step.op.to_string().contains("mount cgroup"));
    assert!(position(&plan, "unshare") < cgroup, "{plan}");
}

#[test]
fn a_process_is_born_into_v2_and_limited_while_it_mounts() {
    let mut container = container();
    let plan = plan(&shell(container.memory(1 << 20)), &root()).unwrap();
    assert_before(&plan, "create_cgroup", "clone3");
    let limited = plan.steps.iter().position(|step| step.op.to_string().contains("memory.max"));
    let limited = limited.unwrap();
    assert!(plan.clone_index() < limited && plan.is_meanwhile(limited), "{plan}");
    assert!(limited < position(&plan, "pivot_root").unwrap(), "{plan}");
}

#[test]
fn a_bundles_network_namespace_is_begun_first_and_joined_before_sysfs() {
    let plan = |linux: Value| {
        let spec = json!({
            "ociVersion": "1.3.0",
            "root": { "path": "/r" },
            "mounts": [{ "destination": "/sys", "type": "sysfs", "source": "sysfs" }],
            "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"] },
            "linux": linux,
        });
        let options = Options { name: "box".into(), oci: true, ..Options::default() };
        Plan::new(&serde_json::from_value(spec).unwrap(), &options, &root()).unwrap()
    };
    let kinds = |kinds: &[&str]| {
        let kinds = kinds.iter().map(|kind| json!({ "type": kind }));
        json!({ "namespaces": kinds.collect::<Vec<_>>() })
    };
    let own = plan(kinds(&["mount", "network"]));
    assert_eq!(position(&own, "make_network"), Some(0), "{own}");
    let sysfs = own.steps.iter().position(|step| step.op.to_string().contains("mount sysfs"));
    assert!(position(&own, "join_network") < sysfs, "{own}");
    assert_eq!(position(&own, "loopback"), None);
    let bare = plan(kinds(&["network"]));
    assert!(position(&bare, "clone3") < position(&bare, "join_network"), "{bare}");

    let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    let mut in_user = kinds(&["mount", "network", "user"]);
    (in_user["uidMappings"], in_user["gidMappings"]) = (map.clone(), map);
    let mut with_device = kinds(&["mount", "network"]);
    with_device["netDevices"] = json!({ "eth0": {} });
    for linux in [in_user, with_device] {
        let plan = plan(linux);
        assert_eq!(position(&plan, "make_network"), None, "{plan}");
        assert!(plan.to_string().contains(" net "), "{plan}");
        assert!(position(&plan, "loopback").is_some());
    }
}

#[test]
fn a_plain_run_never_changes_sides_after_the_clone() {
    for host in [root(), ordinary(), on_v1(root())] {
        let plan = plan(&shell(&container()), &host).unwrap();
        let after = plan.clone_index() + 1;
        assert!(plan.steps[after..].iter().all(|step| step.side == Side::Container), "{plan}");
    }
}

#[test]
fn death_with_the_parent_is_set_again_after_the_identity() {
    let mut command = shell(&container());
    command.user(7, 7);
    let plan = plan(&command, &root()).unwrap();
    let kinds: Vec<_> = plan.steps.iter().map(|step| step.op.kind()).collect();
    let places: Vec<_> = (0..kinds.len()).filter(|&i| kinds[i] == "die_with_parent").collect();
    let capset = position(&plan, "capset").unwrap();
    assert_eq!(places.len(), 2);
    assert!(places[0] < capset && capset < places[1]);
    let mut detached = container();
    detached.die_with_parent(false);
    let plan = tests::plan(&shell(&detached), &root()).unwrap();
    assert_eq!(position(&plan, "die_with_parent"), None);
}

#[test]
fn who_shares_a_pid_namespace_is_hidden_from_before_it_is_joined() {
    use serde_json::json;
    let joined = |kind: &str| json!({ "type": kind, "path": format!("/proc/1/ns/{kind}") });
    for (namespaces, hides) in [
        (json!([joined("pid"), { "type": "mount" }]), true),
        (json!([joined("ipc"), { "type": "mount" }]), true),
        (json!([joined("ipc"), { "type": "pid" }, { "type": "mount" }]), false),
    ] {
        let plan = plan_of_json(&["linux", "namespaces"], namespaces).unwrap();
        let first = plan.steps.iter().find(|step| step.side == super::Side::Intermediate).unwrap();
        assert_eq!(first.op.kind() == "undumpable", hides, "{plan}");
    }
}
