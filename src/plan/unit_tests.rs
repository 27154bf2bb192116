//! systemd's unit for a container, as its plan has it.

use serde_json::{Value, json};

use super::op::{Op, Unit};
use super::tests::{position, root};
use super::{Current, Options, Plan, Side};
use crate::error::Error;
use crate::host::{CgroupLayout, Hierarchy, Host, Systemd};

fn systemd(user: bool) -> Option<Systemd> {
    let controllers = ["cpuset", "cpu", "io", "memory", "pids"].map(str::to_owned).to_vec();
    let cgroup = if user { "/user.slice/user-1000.slice/user@1000.service" } else { "" };
    Some(Systemd { user, version: 252, cgroup: cgroup.to_owned(), controllers })
}

fn machine() -> Host {
    Host { systemd: systemd(false), ..root() }
}

fn user() -> Host {
    let cgroup = CgroupLayout::V2 { own: "/a/b".into(), controllers: vec![], delegated: false };
    Host { uid: 1000, gid: 1000, capabilities: 0, cgroup, systemd: systemd(true), ..root() }
}

fn plan(edit: impl FnOnce(&mut Value), host: &Host) -> Result<Plan, Error> {
    let mut spec = json!({
        "ociVersion": "1.3.0",
        "root": { "path": "/r" },
        "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"] },
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }] },
        "annotations": {},
    });
    if host.uid != 0 {
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        let own = json!([{ "containerID": 0, "hostID": host.uid, "size": 1 }]);
        spec["linux"]["uidMappings"] = own.clone();
        spec["linux"]["gidMappings"] = own;
    }
    edit(&mut spec);
    let options = Options {
        name: "box".into(),
        oci: true,
        start_dir: Some("/s".into()),
        ..Options::default()
    };
    Plan::new(&serde_json::from_value(spec).unwrap(), &options, host)
}

fn at(path: &str, host: &Host) -> Result<Plan, Error> {
    plan(|spec| spec["linux"]["cgroupsPath"] = path.into(), host)
}

fn unit(plan: &Plan) -> &Unit {
    let unit = plan.steps.iter().find_map(|step| match &step.op {
        Op::StartUnit(unit) => Some(unit),
        _ => None,
    });
    unit.expect("a unit is started")
}

fn property<'a>(unit: &'a Unit, name: &str) -> Option<&'a str> {
    let found: Vec<_> = unit.properties.iter().filter(|(known, _)| known == name).collect();
    assert!(found.len() <= 1, "{name} is said twice");
    found.first().map(|(_, value)| value.as_str())
}

#[test]
fn the_path_names_slice_and_unit() {
    let base = "/user.slice/user-1000.slice/user@1000.service";
    for (path, host, name, dir) in [
        ("a-b.slice:pre:x", machine(), "pre-x.scope", "/a.slice/a-b.slice/pre-x.scope".to_owned()),
        (":pre:x", machine(), "pre-x.scope", "/system.slice/pre-x.scope".to_owned()),
        ("-.slice:pre:x", machine(), "pre-x.scope", "/pre-x.scope".to_owned()),
        ("a.slice:pre:b-c.slice", machine(), "b-c.slice", "/b.slice/b-c.slice".to_owned()),
        (":pre:x", user(), "pre-x.scope", format!("{base}/user.slice/pre-x.scope")),
        ("", machine(), "minirun-box.scope", "/system.slice/minirun-box.scope".to_owned()),
    ] {
        let plan = at(path, &host).unwrap_or_else(|error| panic!("{path}: {error}"));
        let unit = unit(&plan);
        assert_eq!(unit.name, name);
        assert_eq!(unit.dir.to_str().unwrap(), format!("/sys/fs/cgroup{dir}"));
        assert_eq!(plan.unit(), Some((name, host.uid != 0)));
        assert_eq!(plan.cgroup(), [(String::new(), format!("/sys/fs/cgroup{dir}").into())]);
    }
}

#[test]
fn what_is_no_unit_is_refused_by_its_path() {
    for path in [
        "/a/b",
        "a.slice:x",
        "a.slice:p:x:y",
        "a.slice:p:",
        "a.scope:p:x",
        "a--b.slice:p:x",
        "a.slice:p:x/y",
        "a.slice:p:x y",
    ] {
        let error = at(path, &machine()).expect_err(path);
        assert_eq!(error.place(), Some("linux.cgroupsPath"), "{path}");
    }
    let error = at(":p:x", &root()).unwrap_err().to_string();
    assert!(error.contains("add --systemd-cgroup"), "{error}");
}

#[test]
fn a_scope_is_started_with_the_cloned_process_and_before_any_of_its_steps() {
    let host = machine();
    let resources = json!({ "pids": { "limit": 7 } });
    let plan = plan(|spec| spec["linux"]["resources"] = resources, &host).unwrap();
    let order = ["check_unit", "clone3", "record", "start_unit", "write_cgroup"];
    let order = order.map(|kind| position(&plan, kind).unwrap_or_else(|| panic!("{kind}: {plan}")));
    assert!(order.is_sorted(), "{plan}");
    let first = plan.steps.iter().position(|step| step.side == Side::Container);
    assert!(Some(order[4]) < first, "{plan}");
    assert!(!plan.to_string().contains("into cgroup"), "nothing is there to be born in: {plan}");
    assert_eq!(property(unit(&plan), "TasksMax"), Some("uint64 7"));
}

#[test]
fn a_slice_is_there_before_the_container_is_born_in_it() {
    let plan = at("::own.slice", &machine()).unwrap();
    assert!(position(&plan, "start_unit") < position(&plan, "clone3"), "{plan}");
    assert!(plan.to_string().contains("into cgroup /sys/fs/cgroup/own.slice"), "{plan}");
    let unit = unit(&plan);
    assert!(!unit.is_scope);
    assert_eq!(property(unit, "Wants"), Some("['system.slice']"));
    assert_eq!((property(unit, "Slice"), property(unit, "Delegate")), (None, None));
}

/// A property, and its value where it has one.
type Said<'a> = (&'a str, Option<&'a str>);

#[test]
fn limits_are_said_to_systemd_as_they_are_written() {
    let max = Some("uint64 18446744073709551615");
    let rows: &[(Value, &[Said])] = &[
        (
            json!({ "memory": { "limit": 100, "swap": 150, "reservation": 50 } }),
            &[
                ("MemoryMax", Some("uint64 100")),
                ("MemorySwapMax", Some("uint64 50")),
                ("MemoryLow", Some("uint64 50")),
            ],
        ),
        (json!({ "memory": { "limit": -1 } }), &[("MemoryMax", max), ("MemorySwapMax", max)]),
        (json!({ "pids": { "limit": -1 } }), &[("TasksMax", max)]),
        (
            json!({ "cpu": { "shares": 1024, "quota": 33333, "period": 100_000 } }),
            &[
                ("CPUWeight", Some("uint64 100")),
                // Rounded up to whole hundredths.
                ("CPUQuotaPerSecUSec", Some("uint64 340000")),
                ("CPUQuotaPeriodUSec", Some("uint64 100000")),
            ],
        ),
        (json!({ "cpu": { "quota": -1 } }), &[("CPUQuotaPerSecUSec", max)]),
        (json!({ "cpu": { "idle": 1 } }), &[("CPUWeight", Some("uint64 0"))]),
        (
            json!({ "cpu": { "cpus": "0-2,9", "mems": "0" } }),
            &[
                ("AllowedCPUs", Some("@ay [0x07, 0x02]")),
                ("AllowedMemoryNodes", Some("@ay [0x01]")),
            ],
        ),
        (
            json!({ "unified": { "memory.high": "99", "memory.max": "max", "cpu.max": "5 10" } }),
            &[
                ("MemoryHigh", Some("uint64 99")),
                ("MemoryMax", max),
                ("CPUQuotaPerSecUSec", Some("uint64 500000")),
            ],
        ),
        (json!({ "blockIO": { "weight": 1000 } }), &[("IOWeight", Some("uint64 10000"))]),
        (json!({}), &[("MemoryMax", None), ("DevicePolicy", None)]),
        (json!({ "devices": [] }), &[("DevicePolicy", None)]),
        (
            json!({ "devices": [
                { "allow": false, "access": "rwm" },
                { "allow": false, "type": "c", "major": 1, "minor": 3, "access": "r" },
            ] }),
            &[("DevicePolicy", Some("'auto'")), ("DeviceAllow", Some("@a(ss) []"))],
        ),
    ];
    for (resources, expected) in rows {
        let edit = |spec: &mut Value| spec["linux"]["resources"] = resources.clone();
        let plan = plan(edit, &machine()).unwrap_or_else(|error| panic!("{resources}: {error}"));
        for (name, value) in *expected {
            assert_eq!(property(unit(&plan), name), *value, "{resources}: {name}");
        }
    }
}

#[test]
fn devices_are_a_list_that_systemd_can_read() {
    let devices = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "b", "major": 8, "access": "r" },
    ]);
    let edit = |spec: &mut Value| spec["linux"]["resources"] = json!({ "devices": devices });
    let plan = plan(edit, &machine()).unwrap();
    let list = property(unit(&plan), "DeviceAllow").unwrap();
    for entry in [
        "('block-8', 'r')",
        "('char-*', 'm')",
        "('block-*', 'm')",
        "('/dev/char/1:3', 'rwm')",
        "('char-136', 'rwm')",
    ] {
        assert!(list.contains(entry), "{entry} is missing in {list}");
    }
    assert_eq!(property(unit(&plan), "DevicePolicy"), Some("'strict'"));
}

#[test]
fn every_property_is_a_value() {
    let resources = json!({
        "memory": { "limit": 100 }, "cpu": { "cpus": "0", "quota": 5 },
        "devices": [{ "allow": false, "access": "rwm" }],
    });
    let plan = plan(|spec| spec["linux"]["resources"] = resources, &machine()).unwrap();
    for (name, text) in &unit(&plan).properties {
        let value = crate::systemd::Value::parse(text);
        assert!(value.is_ok(), "{name}={text}: {value:?}");
    }
}

#[test]
fn annotations_become_properties_and_have_the_last_word() {
    let annotated = |name: &str, value: &str| {
        let key = format!("org.systemd.property.{name}");
        plan(|spec| spec["annotations"][&key] = value.into(), &machine())
    };
    for (name, value, property_name, expected) in [
        ("CollectMode", "'inactive'", "CollectMode", "'inactive'"),
        ("After", "['a.service']", "After", "['a.service']"),
        ("TimeoutStopSec", "1.5", "TimeoutStopUSec", "uint64 1500000"),
        ("TimeoutStopUSec", "uint64 7", "TimeoutStopUSec", "uint64 7"),
    ] {
        let plan = annotated(name, value).unwrap();
        assert_eq!(property(unit(&plan), property_name), Some(expected));
    }
    for (name, value) in [
        ("PIDs", "[uint32 1]"),
        ("Slice", "'a.slice'"),
        ("Bad-Name", "true"),
        ("CollectMode", "inactive"),
        ("TimeoutStopSec", "'soon'"),
        ("TimeoutStopSec", "-1"),
    ] {
        let error = annotated(name, value).expect_err(name);
        let place = format!("annotations.org.systemd.property.{name}");
        assert_eq!(error.place(), Some(place.as_str()), "{error}");
    }
}

#[test]
fn an_update_is_said_to_systemd_first() {
    let host = machine();
    let now = json!({ "cpu": { "quota": -1, "period": 50000 } });
    let update = |resources: Value, unit: Option<&str>| {
        let resources = serde_json::from_value(resources).unwrap();
        let now = serde_json::from_value(now.clone()).unwrap();
        let dirs = &[(String::new(), "/c".into())];
        let current = Current { dirs, later: &[], limits: &now, unit };
        Plan::update(&resources, &current, &host).unwrap()
    };
    let asked = json!({ "pids": { "limit": 9 }, "cpu": { "quota": 25000 } });
    let steps = update(asked.clone(), Some("x.scope"));
    match &steps[0].op {
        Op::SetUnit { name, user: false, properties } => {
            assert_eq!(name, "x.scope");
            let text = format!("{properties:?}");
            assert!(text.contains("uint64 9") && text.contains("uint64 500000"), "{text}");
        }
        other => panic!("{other}"),
    }
    assert!(steps.len() > 1 && steps[1..].iter().all(|step| step.op.kind() == "write_cgroup"));
    let kinds = |steps: Vec<super::Step>| steps.iter().map(|s| s.op.kind()).collect::<Vec<_>>();
    assert!(!kinds(update(asked, None)).contains(&"set_unit"));
    assert!(update(json!({}), Some("x.scope")).is_empty());
}

#[test]
fn beside_v1_the_other_hierarchies_follow_the_unit() {
    let hierarchy = |controllers: &str, directory: &str| Hierarchy {
        controllers: controllers.into(),
        directory: directory.into(),
        own: "/x".into(),
    };
    let hierarchies = vec![hierarchy("pids", "pids"), hierarchy("name=systemd", "systemd")];
    let host = Host { cgroup: CgroupLayout::V1 { hierarchies, delegated: true }, ..machine() };
    let plan = at(":pre:x", &host).unwrap();
    assert_eq!(unit(&plan).dir.to_str(), Ok("/sys/fs/cgroup/systemd/system.slice/pre-x.scope"));
    assert_eq!(unit(&plan).controllers, "name=systemd");
    assert!(position(&plan, "start_unit") < position(&plan, "create_cgroup"), "{plan}");
    assert!(plan.to_string().contains("/sys/fs/cgroup/pids/system.slice/pre-x.scope/tasks"));
    let error = at(":pre:x", &Host { uid: 1000, ..host }).unwrap_err().to_string();
    assert!(error.contains("takes cgroup v2"), "{error}");
    let error = at(":pre:x", &Host { cgroup: CgroupLayout::Absent, ..machine() }).unwrap_err();
    assert_eq!(error.place(), Some("--systemd-cgroup"));
}
