//! The file system's part of a specification: what becomes of each field, and which are
//! refused.

use serde_json::{Value, json};

use super::Plan;
use super::tests::{plan_of_json, plan_of_json_on, root};
use crate::error::Error;
use crate::host::Host;

fn mounts(mounts: Value) -> Result<Plan, Error> {
    plan_of_json(&["mounts"], mounts)
}

fn linux(field: &str, value: Value) -> Result<Plan, Error> {
    plan_of_json(&["linux", field], value)
}

fn assert_refused(plan: Result<Plan, Error>, place: &str) {
    let error = plan.map(|plan| plan.to_string()).expect_err(place);
    assert_eq!(error.place(), Some(place), "{error}");
}

#[test]
fn every_kind_of_mount_becomes_its_step() {
    for (mount, words) in [
        (
            json!({ "destination": "/t", "type": "tmpfs", "options": ["nodev", "rro", "shared", "size=1k"] }),
            "mount tmpfs on /t (nodev,size=1k,ro below too,shared)",
        ),
        (
            json!({ "destination": "/t", "type": "tmpfs", "options": ["tmpcopyup"] }),
            "mount tmpfs on /t with what it hides copied into it",
        ),
        (
            json!({ "destination": "/b", "source": "/s", "options": ["rbind", "ro", "rslave", "noatime"] }),
            "bind /s on /b (ro,noatime,rslave)",
        ),
        (
            json!({ "destination": "//a/./x/../b/", "type": "bind", "source": "/s" }),
            "bind /s on /a/b [",
        ),
        (
            json!({ "destination": "/r", "options": ["remount", "ro", "size=2k"] }),
            "remount /r (ro,size=2k)",
        ),
        (
            json!({ "destination": "/r", "options": ["bind", "remount", "rw"] }),
            "remount /r (not ro)",
        ),
        (json!({ "destination": "/p", "options": ["rshared"] }), "remount /p (rshared)"),
        (
            json!({ "destination": "/proc/uptime", "type": "bind", "source": "/s" }),
            "bind /s on /proc/uptime",
        ),
    ] {
        let text = mounts(json!([mount])).unwrap().to_string();
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn mounts_that_make_no_sense_are_refused_by_their_path() {
    for (mount, place) in [
        (json!({ "destination": "/" }), "mounts[0]"),
        (json!({ "destination": "/a/../.." }), "mounts[0]"),
        (json!({ "destination": "/a\0b", "type": "tmpfs" }), "mounts[0]"),
        (json!({ "destination": "/a", "type": "bind" }), "mounts[0]"),
        (json!({ "destination": "/proc/sys", "type": "tmpfs" }), "mounts[0]"),
        (json!({ "destination": "/x/../proc", "type": "tmpfs" }), "mounts[0]"),
        (
            json!({ "destination": "/a", "type": "proc", "options": ["tmpcopyup"] }),
            "mounts[0].options",
        ),
        (
            json!({ "destination": "/a", "type": "overlay", "options": ["x".repeat(4096)] }),
            "mounts[0].options",
        ),
        (
            json!({ "destination": "/a", "type": "tmpfs", "options": ["idmap"] }),
            "mounts[0].options",
        ),
        (
            json!({ "destination": "/a", "source": "/s", "options": ["bind", "idmap"] }),
            "mounts[0].options",
        ),
        (
            json!({ "destination": "/a", "source": "/s", "options": ["bind"],
                "uidMappings": [{ "containerID": 0, "hostID": 1, "size": 1 }] }),
            "mounts[0].gidMappings",
        ),
        (
            json!({ "destination": "/a", "source": "/s", "options": ["bind"],
                "uidMappings": [{ "containerID": 0, "hostID": 1, "size": 1 }],
                "gidMappings": [{ "containerID": 0, "hostID": 1, "size": 0 }] }),
            "mounts[0].gidMappings[0]",
        ),
    ] {
        assert_refused(mounts(json!([mount])), place);
    }
}

#[test]
fn what_a_bind_cannot_have_is_a_warning() {
    let bind = json!([{ "destination": "/a", "source": "/s", "options": ["bind", "size=1k"] }]);
    let plan = mounts(bind).unwrap();
    assert!(plan.warnings[0].contains("mounts[0].options"), "{:?}", plan.warnings);
}

#[test]
fn trees_with_mapped_ids_are_opened_before_the_clone() {
    let ids = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let plan = mounts(json!([
        { "destination": "/plain", "source": "/p", "options": ["bind"] },
        { "destination": "/a", "source": "/s", "options": ["bind", "idmap"],
            "uidMappings": ids, "gidMappings": ids },
        { "destination": "/b", "source": "/s2", "options": ["rbind", "ridmap"],
            "uidMappings": ids, "gidMappings": ids },
    ]));
    let plan = plan.unwrap();
    let trees: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.op {
            super::op::Op::Bind(bind) => Some(bind.tree),
            _ => None,
        })
        .collect();
    assert_eq!(trees, [None, Some(0), Some(1)]);
    let text = plan.to_string();
    let opened = text.find("open /s for the container with mapped ids (uids: 0 is 1000 (x10)");
    assert!(opened.unwrap() < text.find("clone3").unwrap(), "{text}");
}

#[test]
fn a_read_only_tmpfs_is_sealed_after_what_is_mounted_in_it() {
    let plan = mounts(json!([
        { "destination": "/t", "type": "tmpfs", "options": ["ro", "nosuid"] },
        { "destination": "/t/inner", "type": "tmpfs" },
    ]));
    let text = plan.unwrap().to_string();
    assert!(text.contains("mount tmpfs on /t (nosuid)"), "{text}");
    let (inner, sealed) = (text.find("on /t/inner"), text.find("remount /t (ro)"));
    assert!(inner.unwrap() < sealed.unwrap(), "{text}");
}

#[test]
fn what_covers_a_read_only_tmpfs_is_not_sealed() {
    for covering in ["/t/inner", "/t"] {
        let plan = mounts(json!([
            { "destination": "/t/inner", "type": "tmpfs", "options": ["ro"] },
            { "destination": covering, "type": "tmpfs" },
        ]));
        assert_eq!(plan.unwrap().to_string().find("remount /t/inner"), None, "{covering}");
    }
}

#[test]
fn the_root_travels_as_asked() {
    for (value, tree, after) in [
        ("", "make all mounts private", None),
        ("private", "make all mounts private", None),
        ("rslave", "make all mounts slave", None),
        ("shared", "make the mount private that holds /r", Some("make / shared")),
        ("runbindable", "make all mounts private", Some("make / unbindable")),
    ] {
        let text = linux("rootfsPropagation", json!(value)).unwrap().to_string();
        assert!(text.contains(tree), "{value}: {text}");
        assert!(after.is_none_or(|after| text.contains(after)), "{value}: {text}");
        assert_eq!(text.contains("make / "), after.is_some(), "{value}: {text}");
    }
    let receives = json!([{ "destination": "/a", "source": "/s", "options": ["bind", "rslave"] }]);
    assert!(mounts(receives).unwrap().to_string().contains("make all mounts slave"));
    assert_refused(linux("rootfsPropagation", json!("public")), "linux.rootfsPropagation");
}

#[test]
fn devices_that_make_no_sense_are_refused_by_their_path() {
    let device = |path: &str, kind: &str, major: i64, minor: i64| json!([{ "path": path, "type": kind, "major": major, "minor": minor }]);
    for (devices, field) in [
        (device("/dev/x", "a", 1, 1), "type"),
        (device("dev/x", "c", 1, 1), "path"),
        (device("/", "c", 1, 1), "path"),
        (device("/dev/x\0", "c", 1, 1), "path"),
        (device("/dev/x", "c", -1, 1), "major"),
        (device("/dev/x", "c", 4096, 1), "major"),
        (device("/dev/x", "b", 1, 1 << 20), "minor"),
    ] {
        assert_refused(linux("devices", devices), &format!("linux.devices[0].{field}"));
    }
    let text = linux("devices", device("/dev/ptmx", "c", 5, 2)).unwrap().to_string();
    assert!(!text.contains("5:2"), "{text}");
}

#[test]
fn parameters_need_their_namespace() {
    for (key, value) in [
        ("kernel.msgmax", "1"),
        ("net.ipv4.ip_forward", "1"),
        ("kernel.domainname", "x"),
        ("kernel.hostname", "x"),
        ("vm.swappiness", "1"),
        ("net.ipv4..x", "1"),
        ("net/../vm/swappiness", "1"),
    ] {
        assert_refused(linux("sysctl", json!({ key: value })), &format!("linux.sysctl.{key}"));
    }
    assert_refused(plan_of_json(&["domainname"], json!("x")), "domainname");
}

#[test]
fn mounts_are_labelled_where_somebody_reads_labels() {
    let label = "system_u:object_r:container_file_t:s0:c1,c2";
    let without = linux("mountLabel", json!(label)).unwrap();
    assert!(without.warnings[0].starts_with("linux.mountLabel: "), "{:?}", without.warnings);
    assert!(!without.to_string().contains("context="), "{without}");
    assert!(linux("mountLabel", json!("")).unwrap().warnings.is_empty());
    let host = Host { selinux: true, ..root() };
    let with = plan_of_json_on(&["linux", "mountLabel"], json!(label), &host).unwrap();
    assert!(with.warnings.is_empty());
}
