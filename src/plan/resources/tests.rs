//! Every limit as the files and values of each host; a row a limit.

use serde_json::{Value, json};

use crate::error::Error;
use crate::host::{CgroupLayout, Hierarchy, Host};
use crate::plan::op::Op;
use crate::plan::{Options, Plan};

fn host(cgroup: CgroupLayout) -> Host {
    Host { cgroup, ..crate::plan::tests::root() }
}

pub(in crate::plan) fn on_v2() -> Host {
    let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];
    host(CgroupLayout::V2 {
        own: "/user.slice/x.scope".into(),
        controllers: controllers.map(str::to_owned).to_vec(),
        delegated: true,
    })
}

pub(in crate::plan) fn on_v1() -> Host {
    let controllers = [
        "cpu,cpuacct",
        "hugetlb",
        "cpuset",
        "memory",
        "devices",
        "freezer",
        "blkio",
        "pids",
        "net_cls",
        "net_prio",
        "rdma",
        "name=systemd",
        "",
    ];
    let hierarchy = |controllers: &str| Hierarchy {
        controllers: controllers.into(),
        directory: match controllers {
            "" => "unified".into(),
            name => name.trim_start_matches("name=").into(),
        },
        own: "/".into(),
    };
    host(CgroupLayout::V1 { hierarchies: controllers.map(hierarchy).to_vec(), delegated: true })
}

fn user(host: Host) -> Host {
    Host { uid: 1000, gid: 1000, capabilities: 0, ..host }
}

pub(in crate::plan) fn plan(linux: Value, host: &Host) -> Result<Plan, Error> {
    let options = Options { name: "box".into(), oci: true, ..Options::default() };
    plan_with(&options, linux, host)
}

pub(in crate::plan) fn plan_with(
    options: &Options,
    mut linux: Value,
    host: &Host,
) -> Result<Plan, Error> {
    if linux["namespaces"].is_null() {
        linux["namespaces"] = json!([{ "type": "pid" }, { "type": "mount" }]);
    }
    if host.uid != 0 {
        linux["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        let own = json!([{ "containerID": 0, "hostID": host.uid, "size": 1 }]);
        linux["uidMappings"] = own.clone();
        linux["gidMappings"] = own;
    }
    let spec = json!({
        "ociVersion": "1.3.0",
        "root": { "path": "/r" },
        "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"] },
        "linux": linux,
    });
    Plan::new(&serde_json::from_value(spec).unwrap(), options, host)
}

/// What is written for these resources: `file value`, without the cgroup's directory.
pub(super) fn written(resources: &Value, host: &Host) -> Result<Vec<String>, Error> {
    let plan = plan(json!({ "cgroupsPath": "/c", "resources": resources }), host)?;
    Ok(lines(&plan.steps))
}

pub(super) fn lines(steps: &[crate::plan::Step]) -> Vec<String> {
    let name = |file: &std::ffi::CStr| {
        file.to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned()
    };
    let line = |step: &crate::plan::Step| match &step.op {
        Op::WriteCgroup { file, value } => {
            let optional = if step.tolerates.is_empty() { "" } else { "?" };
            Some(format!("{} {value}{optional}", name(file)))
        }
        Op::WriteFirst { choices } => {
            let choices = choices.iter().map(|(file, value)| format!("{} {value}", name(file)));
            Some(choices.collect::<Vec<_>>().join(" | "))
        }
        Op::CheckUsage { file, limit } => Some(format!("{} <= {limit}", name(file))),
        Op::DeviceFilter { .. } => Some("device filter".to_owned()),
        _ => None,
    };
    steps.iter().filter_map(line).collect()
}

#[test]
fn each_limit_has_its_file_on_both_versions() {
    let rows: &[(Value, &[&str], &[&str])] = &[
        (json!({}), &[], &[]),
        (
            json!({ "memory": { "limit": 100, "swap": 150, "reservation": 50 } }),
            &[
                "memory.limit_in_bytes 100",
                "memory.memsw.limit_in_bytes 150",
                "memory.soft_limit_in_bytes 50",
            ],
            &["memory.swap.max 50", "memory.max 100", "memory.low 50"],
        ),
        (
            json!({ "memory": { "limit": 100, "swap": 100 } }),
            &["memory.limit_in_bytes 100", "memory.memsw.limit_in_bytes 100"],
            &["memory.swap.max 0?", "memory.max 100"],
        ),
        (
            json!({ "memory": { "limit": -1 } }),
            &["memory.limit_in_bytes -1", "memory.memsw.limit_in_bytes -1?"],
            &["memory.swap.max max?", "memory.max max"],
        ),
        // What engines send when nobody asked for anything.
        (
            json!({
                "memory": {
                    "limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "kernelTCP": 0,
                    "disableOOMKiller": false, "swappiness": u64::MAX, "useHierarchy": true,
                    "checkBeforeUpdate": false,
                },
                "cpu": {
                    "shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": "",
                    "realtimeRuntime": 0, "realtimePeriod": 0,
                },
                "blockIO": { "weight": 0, "leafWeight": 0, "weightDevice": [] },
                "network": { "classID": 0, "priorities": [] },
                "hugepageLimits": [], "rdma": {}, "unified": {}, "devices": [],
            }),
            &[],
            &[],
        ),
        (
            json!({ "cpu": { "shares": 1024, "quota": 50000, "period": 100000, "burst": 9 } }),
            &[
                "cpu.shares 1024",
                "cpu.cfs_period_us 100000?",
                "cpu.cfs_quota_us 50000",
                "cpu.cfs_burst_us 9",
            ],
            &["cpu.weight 100", "cpu.max 50000 100000", "cpu.max.burst 9"],
        ),
        (
            json!({ "memory": { "limit": -1, "swap": -1, "kernel": -1, "reservation": -1 } }),
            &[
                "memory.limit_in_bytes -1",
                "memory.memsw.limit_in_bytes -1?",
                "memory.soft_limit_in_bytes -1",
            ],
            &["memory.swap.max max?", "memory.max max", "memory.low max"],
        ),
        (json!({ "pids": {} }), &["pids.max max"], &["pids.max max"]),
        (json!({ "rdma": { "mlx5_1": {} } }), &[], &[]),
        (
            json!({ "cpu": { "period": 7, "idle": 0 } }),
            &["cpu.cfs_period_us 7", "cpu.idle 0?"],
            &["cpu.idle 0?", "cpu.max max 7"],
        ),
        (json!({ "cpu": { "quota": -1 } }), &["cpu.cfs_quota_us -1"], &["cpu.max max 100000"]),
        (
            json!({ "cpu": { "idle": 1, "shares": 2 } }),
            &["cpu.shares 2", "cpu.idle 1"],
            &["cpu.idle 1"],
        ),
        (
            json!({ "cpu": { "cpus": "0-1,3", "mems": "0" } }),
            &["cpuset.cpus 0-1,3", "cpuset.mems 0"],
            &["cpuset.cpus 0-1,3", "cpuset.mems 0"],
        ),
        (json!({ "pids": { "limit": 7 } }), &["pids.max 7"], &["pids.max 7"]),
        (json!({ "pids": { "limit": 0 } }), &["pids.max max"], &["pids.max max"]),
        (json!({ "pids": { "limit": -1 } }), &["pids.max max"], &["pids.max max"]),
        (
            json!({ "blockIO": {
                "weight": 500,
                "weightDevice": [{ "major": 8, "minor": 0, "weight": 10 }],
                "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 600 }],
                "throttleWriteIOPSDevice": [{ "major": 8, "minor": 16, "rate": 0 }],
            }}),
            &[
                "blkio.weight 500 | blkio.bfq.weight 500",
                "blkio.weight_device 8:0 10 | blkio.bfq.weight_device 8:0 10",
                "blkio.throttle.read_bps_device 8:0 600",
                "blkio.throttle.write_iops_device 8:16 0",
            ],
            &[
                "io.bfq.weight 500 | io.weight 4950",
                "io.bfq.weight 8:0 10 | io.weight 8:0 1",
                "io.max 8:0 rbps=600",
                "io.max 8:16 wiops=max",
            ],
        ),
        (
            json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 }] }),
            &["hugetlb.2MB.limit_in_bytes 4", "hugetlb.2MB.rsvd.limit_in_bytes 4?"],
            &["hugetlb.2MB.max 4", "hugetlb.2MB.rsvd.max 4?"],
        ),
        (
            json!({ "rdma": { "mlx5_1": { "hcaHandles": 3, "hcaObjects": 4 } } }),
            &["rdma.max mlx5_1 hca_handle=3 hca_object=4"],
            &["rdma.max mlx5_1 hca_handle=3 hca_object=4"],
        ),
        (json!({ "devices": [{ "allow": true, "access": "rwm" }] }), &[], &[]),
    ];
    for (resources, v1, v2) in rows {
        assert_eq!(written(resources, &on_v1()).unwrap(), *v1, "v1: {resources}");
        assert_eq!(written(resources, &on_v2()).unwrap(), *v2, "v2: {resources}");
    }
}

#[test]
fn what_only_v1_has_is_refused_on_v2_by_its_path() {
    let rows: &[(Value, &str, &str)] = &[
        (json!({ "memory": { "swappiness": 1 } }), "memory.swappiness 1", "memory.swappiness"),
        (
            json!({ "memory": { "disableOOMKiller": true } }),
            "memory.oom_control 1",
            "memory.disableOOMKiller",
        ),
        (
            json!({ "memory": { "kernelTCP": 5 } }),
            "memory.kmem.tcp.limit_in_bytes 5",
            "memory.kernelTCP",
        ),
        (json!({ "cpu": { "realtimeRuntime": 5 } }), "cpu.rt_runtime_us 5", "cpu.realtimeRuntime"),
        (json!({ "cpu": { "realtimePeriod": 5 } }), "cpu.rt_period_us 5", "cpu.realtimePeriod"),
        (json!({ "network": { "classID": 5 } }), "net_cls.classid 5", "network.classID"),
        (
            json!({ "network": { "priorities": [{ "name": "lo", "priority": 3 }] } }),
            "net_prio.ifpriomap lo 3",
            "network.priorities[0]",
        ),
    ];
    for (resources, v1, path) in rows {
        assert_eq!(written(resources, &on_v1()).unwrap(), [*v1]);
        let error = written(resources, &on_v2()).expect_err(path);
        assert_eq!(error.place(), Some(format!("linux.resources.{path}").as_str()), "{error}");
    }
}

#[test]
fn unified_is_for_v2_alone() {
    let resources =
        json!({ "unified": { "memory.high": "9", "io.max": "8:0 rbps=1\n8:1 rbps=2" } });
    let expected = ["io.max 8:0 rbps=1", "io.max 8:1 rbps=2", "memory.high 9"];
    assert_eq!(written(&resources, &on_v2()).unwrap(), expected);
    let error = written(&resources, &on_v1()).unwrap_err();
    assert_eq!(error.place(), Some("linux.resources.unified.io.max"), "{error}");
    for file in ["../x", "memory", "cpu/../../cgroup.kill", "nothing.max"] {
        let error = written(&json!({ "unified": { file: "1" } }), &on_v2()).expect_err(file);
        assert_eq!(error.place(), Some(format!("linux.resources.unified.{file}").as_str()));
    }
}

#[test]
fn nonsense_is_refused_by_its_path() {
    let rows = [
        ("memory.limit", json!({ "memory": { "limit": -2 } })),
        ("memory.swap", json!({ "memory": { "limit": 9, "swap": 8 } })),
        ("memory.swap", json!({ "memory": { "swap": 8 } })),
        ("memory.swap", json!({ "memory": { "limit": -1, "swap": 8 } })),
        ("memory.kernel", json!({ "memory": { "kernel": 8 } })),
        ("memory.swappiness", json!({ "memory": { "swappiness": 101 } })),
        ("memory.useHierarchy", json!({ "memory": { "useHierarchy": false } })),
        ("cpu.cpus", json!({ "cpu": { "cpus": "0\n1" } })),
        ("cpu.idle", json!({ "cpu": { "idle": 2 } })),
        ("blockIO.weight", json!({ "blockIO": { "weight": 9 } })),
        (
            "blockIO.weightDevice[1].leafWeight",
            json!({ "blockIO": { "weightDevice": [
                { "major": 8, "minor": 0, "weight": 10 },
                { "major": 8, "minor": 0, "leafWeight": 10 },
            ]}}),
        ),
        (
            "blockIO.weightDevice[0]",
            json!({ "blockIO": { "weightDevice": [{ "major": 8, "minor": 0, "weight": 1001 }]}}),
        ),
        ("blockIO.leafWeight", json!({ "blockIO": { "leafWeight": 10 } })),
        (
            "hugepageLimits[0].pageSize",
            json!({ "hugepageLimits": [{ "pageSize": "../MB", "limit": 1 }] }),
        ),
        ("rdma.a b", json!({ "rdma": { "a b": { "hcaHandles": 1 } } })),
        ("devices[0].access", json!({ "devices": [{ "allow": false, "access": "x" }] })),
        ("devices[0].access", json!({ "devices": [{ "allow": false }] })),
        (
            "devices[1].major",
            json!({ "devices": [
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "c", "major": -7, "access": "r" },
            ]}),
        ),
    ];
    for (path, resources) in rows {
        for host in [on_v1(), on_v2()] {
            let error = written(&resources, &host).expect_err(path);
            assert_eq!(error.place(), Some(format!("linux.resources.{path}").as_str()));
        }
    }
}

#[test]
fn a_missing_controller_is_told_only_when_it_is_needed() {
    let CgroupLayout::V2 { own, .. } = on_v2().cgroup else { unreachable!() };
    let bare = host(CgroupLayout::V2 { own, controllers: Vec::new(), delegated: true });
    for (path, resources) in [
        ("pids.limit", json!({ "pids": { "limit": 5 } })),
        ("memory.limit", json!({ "memory": { "limit": 5 } })),
        (
            "hugepageLimits[0].limit",
            json!({ "hugepageLimits": [{ "pageSize": "1GB", "limit": 1 }] }),
        ),
    ] {
        let error = written(&resources, &bare).expect_err(path);
        assert_eq!(error.place(), Some(format!("linux.resources.{path}").as_str()));
    }
    assert!(written(&json!({ "pids": { "limit": 0 } }), &bare).unwrap().is_empty());
}

/// What podman, containerd and Docker send: nothing but these.
#[test]
fn devices_are_denied_first_and_the_usual_ones_allowed_last() {
    let resources = json!({ "devices": [
        { "allow": true, "type": "b", "major": 8, "minor": 0, "access": "r" },
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" },
    ]});
    let lines = written(&resources, &on_v1()).unwrap();
    assert_eq!(lines[..2], ["devices.deny a", "devices.allow c 10:229 rw"]);
    for line in ["c *:* m", "b *:* m", "c 1:3 rwm", "c 5:2 rwm", "c 136:* rwm"] {
        assert!(lines[2..].contains(&format!("devices.allow {line}")), "{line}: {lines:?}");
    }
    assert_eq!(written(&resources, &on_v2()).unwrap(), ["device filter"]);
}

#[test]
fn ordinary_users_get_what_was_delegated_to_them() {
    let default = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    let pids = json!({ "pids": { "limit": 5 } });
    let specific = json!({ "devices": [
        { "allow": false, "type": "c", "major": 1, "access": "rwm" }
    ]});
    let dirs = |resources: &Value, host: Host| {
        let linux = json!({ "cgroupsPath": "/pod/c", "resources": resources });
        plan(linux, &user(host)).map(|plan| plan.cgroup().len())
    };
    let place = |resources: &Value, host: Host| {
        dirs(resources, host).unwrap_err().place().unwrap_or_default().to_owned()
    };
    assert_eq!(dirs(&default, on_v1()), Ok(0), "nothing is asked for that could be done");
    assert_eq!(place(&pids, on_v1()), "linux.resources.pids.limit");
    let CgroupLayout::V2 { own, controllers, .. } = on_v2().cgroup else { unreachable!() };
    let kept = host(CgroupLayout::V2 { own, controllers, delegated: false });
    assert_eq!(dirs(&default, kept.clone()), Ok(0));
    let linux = json!({ "cgroupsPath": "/pod/c" });
    let warnings = |host: Host| plan(linux.clone(), &host).unwrap().warnings;
    assert!(warnings(user(on_v2())).is_empty());
    let [warning] = &warnings(user(kept.clone()))[..] else { panic!() };
    assert!(warning.starts_with("linux.cgroupsPath: the container has no cgroup"), "{warning}");
    assert_eq!(place(&pids, kept), "linux.resources.pids.limit");
    assert_eq!(dirs(&default, on_v2()), Ok(1));
    assert_eq!(place(&specific, on_v2()), "linux.resources.devices[0]");
    let linux = json!({ "cgroupsPath": "/pod/c", "resources": pids });
    let [(_, dir)] = &plan(linux, &user(on_v2())).unwrap().cgroup()[..] else { panic!() };
    assert_eq!(dir.to_str(), Some("/sys/fs/cgroup/user.slice/pod/c"));
}

#[test]
fn root_inside_a_container_does_without_cgroups_where_they_are_read_only() {
    let read_only = |cgroup: CgroupLayout| match cgroup {
        CgroupLayout::V1 { hierarchies, .. } => {
            host(CgroupLayout::V1 { hierarchies, delegated: false })
        }
        CgroupLayout::V2 { own, controllers, .. } => {
            host(CgroupLayout::V2 { own, controllers, delegated: false })
        }
        CgroupLayout::Absent => host(CgroupLayout::Absent),
    };
    for machine in [on_v1(), on_v2()] {
        let inside = read_only(machine.cgroup);
        let made = plan(json!({ "resources": { "pids": { "limit": 0 } } }), &inside).unwrap();
        assert!(made.cgroup().is_empty() && made.warnings.is_empty());
        let error = written(&json!({ "pids": { "limit": 5 } }), &inside).unwrap_err();
        assert_eq!(error.place(), Some("linux.resources.pids.limit"));
        assert!(error.to_string().contains("read-only"), "{error}");
    }
}
