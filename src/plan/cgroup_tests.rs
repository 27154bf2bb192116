//! Which hierarchies a bundle's container has a cgroup in, and where.

use serde_json::{Value, json};

use super::Options;
use super::op::Op;
use super::resources::tests::{on_v1, on_v2, plan, plan_with};
use crate::host::Host;

/// The controllers of the hierarchies that it is in, and of those for later.
fn hierarchies(linux: Value, lean_cgroup: bool) -> [Vec<String>; 2] {
    let options = Options { name: "box".into(), oci: true, lean_cgroup, ..Options::default() };
    let plan = plan_with(&options, linux, &on_v1()).unwrap();
    [plan.cgroup(), plan.later_cgroup].map(|dirs| dirs.into_iter().map(|(name, _)| name).collect())
}

#[test]
fn without_a_path_it_is_where_something_counts_or_limits() {
    let limits =
        json!({ "pids": { "limit": 5 }, "devices": [{ "allow": false, "access": "rwm" }] });
    let shared = json!([{ "type": "mount" }]);
    let joined = json!([{ "type": "mount" }, { "type": "pid", "path": "/proc/1/ns/pid" }]);
    let with_freezer: &[&str] = &["cpu,cpuacct", "memory", "freezer", "blkio"];
    let memory = json!({ "memory": { "limit": 1 << 20 } });
    let rows: [(Value, &[&str]); 5] = [
        (json!({}), &["cpu,cpuacct", "memory", "blkio"]),
        (json!({ "resources": memory }), &["cpu,cpuacct", "cpuset", "memory", "blkio"]),
        (json!({ "resources": limits }), &["cpu,cpuacct", "memory", "devices", "blkio", "pids"]),
        // What shares its pids with others ends only when each of them is found.
        (json!({ "namespaces": shared }), with_freezer),
        (json!({ "namespaces": joined }), with_freezer),
    ];
    for (linux, expected) in rows {
        let [now, later] = hierarchies(linux, false);
        assert_eq!(now, expected);
        let all =
            ["hugetlb", "cpuset", "devices", "freezer", "pids", "net_cls", "net_prio", "rdma"];
        let rest: Vec<_> = all.into_iter().filter(|name| !expected.contains(name)).collect();
        assert_eq!(later, rest);
    }
}

#[test]
fn a_lean_one_is_where_something_limits_with_and_without_a_path() {
    let limits = json!({ "pids": { "limit": 5 }, "cpu": { "cpus": "0" } });
    for path in ["", "/pod/c"] {
        let linux = |resources: &Value| json!({ "cgroupsPath": path, "resources": resources });
        let [now, later] = hierarchies(linux(&json!({})), true);
        assert_eq!(now, ["devices"]);
        assert!(later.contains(&"memory".to_owned()) && !later.contains(&String::new()));
        let [now, _] = hierarchies(linux(&limits), true);
        assert_eq!(now, ["cpu,cpuacct", "cpuset", "memory", "devices", "pids"], "as Java needs it");
    }
    let options = Options { oci: true, lean_cgroup: true, ..Options::default() };
    let on_v2 = plan_with(&options, json!({ "cgroupsPath": "/pod/c" }), &on_v2()).unwrap();
    assert_eq!(on_v2.cgroup(), [(String::new(), "/sys/fs/cgroup/pod/c".into())]);
    assert_eq!(on_v2.later_cgroup, []);
}

#[test]
fn the_path_is_below_the_root_of_every_hierarchy() {
    let dirs = |path: &str, host: &Host| {
        plan(json!({ "cgroupsPath": path }), host).map(|plan| plan.cgroup())
    };
    let v1 = dirs("/pod//./c", &on_v1()).unwrap();
    assert_eq!(v1.len(), 13);
    assert!(v1.contains(&("memory".into(), "/sys/fs/cgroup/memory/pod/c".into())));
    assert!(v1.contains(&("name=systemd".into(), "/sys/fs/cgroup/systemd/pod/c".into())));
    assert!(v1.contains(&(String::new(), "/sys/fs/cgroup/unified/pod/c".into())));
    for (path, dir) in [("/pod/c", "pod/c"), ("pod/c", "pod/c"), ("", "box")] {
        let v2 = dirs(path, &on_v2()).unwrap();
        assert_eq!(v2, [(String::new(), format!("/sys/fs/cgroup/{dir}").into())]);
    }
    for path in ["/", "/a/../b", "system.slice:minirun:box"] {
        let error = dirs(path, &on_v2()).expect_err(path);
        assert_eq!(error.place(), Some("linux.cgroupsPath"), "{error}");
    }
}

#[test]
fn every_level_of_v2_hands_its_controllers_down() {
    let plan = plan(json!({ "cgroupsPath": "/pod/sub/c" }), &on_v2()).unwrap();
    let levels: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.op {
            Op::EnableControllers { dir, controllers } => {
                assert_eq!(controllers.len(), 7);
                Some(dir.to_string_lossy().into_owned())
            }
            _ => None,
        })
        .collect();
    let root = "/sys/fs/cgroup";
    assert_eq!(levels, [root.to_owned(), format!("{root}/pod"), format!("{root}/pod/sub")]);
}
