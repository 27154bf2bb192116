//! `linux`, resources aside.

use serde_json::json;

use super::{Row, gone};

pub fn rows() -> Vec<Row> {
    let user = |field: &str, value: serde_json::Value| {
        let mut linux = json!({
            "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "uts" },
                           { "type": "network" }, { "type": "user" }],
            "uidMappings": [{ "containerID": 0, "hostID": 1000, "size": 10 }],
            "gidMappings": [{ "containerID": 0, "hostID": 1000, "size": 10 }],
        });
        linux[field] = value;
        linux
    };
    vec![
        ("/linux", json!(true), "linux"),
        ("/linux", gone(), "hostname"),
        ("/linux/namespaces", gone(), "linux.maskedPaths"),
        ("/linux/namespaces", json!([]), "linux.maskedPaths"),
        ("/linux/namespaces", json!("pid"), "linux.namespaces"),
        ("/linux/namespaces", json!(["pid", "mount"]), "linux.namespaces[0]"),
        ("/linux/namespaces/0", json!({}), "linux.namespaces[0]"),
        ("/linux/namespaces/0/type", json!("process"), "linux.namespaces[0].type"),
        ("/linux/namespaces/0/type", json!("PID"), "linux.namespaces[0].type"),
        ("/linux/namespaces/0/type", json!(1), "linux.namespaces[0].type"),
        ("/linux/namespaces/1/type", json!("pid"), "linux.namespaces[1]"),
        ("/linux/namespaces/0/path", json!("proc/1/ns/pid"), "linux.namespaces[0].path"),
        ("/linux/namespaces/0/path", json!("/proc/1/ns/\u{0}"), "linux.namespaces[0].path"),
        ("/linux/namespaces/0/path", json!(5), "linux.namespaces[0].path"),
        ("/linux", user("uidMappings", json!([])), "linux.uidMappings"),
        ("/linux", user("gidMappings", json!(null)), "linux.gidMappings"),
        ("/linux", user("uidMappings", json!("0 0 1")), "linux.uidMappings"),
        (
            "/linux",
            user("uidMappings", json!([{ "containerID": 0, "hostID": 0, "size": 0 }])),
            "linux.uidMappings…",
        ),
        (
            "/linux",
            user("uidMappings", json!([{ "containerID": 0, "hostID": 0 }])),
            "linux.uidMappings[0]",
        ),
        (
            "/linux",
            user("gidMappings", json!([{ "containerID": -1, "hostID": 0, "size": 1 }])),
            "linux.gidMappings[0].containerID",
        ),
        (
            "/linux",
            user(
                "uidMappings",
                json!([{ "containerID": 0, "hostID": 0, "size": 4_294_967_296u64 }]),
            ),
            "linux.uidMappings[0].size",
        ),
        (
            "/linux",
            user(
                "uidMappings",
                json!([{ "containerID": 4_294_967_290u32, "hostID": 0, "size": 100 }]),
            ),
            "linux.uidMappings…",
        ),
        (
            "/linux",
            user(
                "uidMappings",
                json!([
                    { "containerID": 0, "hostID": 0, "size": 10 }, { "containerID": 5, "hostID": 100, "size": 10 },
                ]),
            ),
            "linux.uidMappings…",
        ),
        (
            "/linux/uidMappings",
            json!([{ "containerID": 0, "hostID": 0, "size": 1 }]),
            "linux.uidMappings",
        ),
        ("/linux/devices", json!({}), "linux.devices"),
        ("/linux/devices/0/type", json!("q"), "linux.devices[0].type"),
        ("/linux/devices/0/type", gone(), "linux.devices[0]"),
        ("/linux/devices/0/path", gone(), "linux.devices[0]…"),
        ("/linux/devices/0/path", json!("dev/x"), "linux.devices[0]…"),
        ("/linux/devices/0/path", json!("/dev/\u{0}"), "linux.devices[0]…"),
        ("/linux/devices/0/path", json!("/"), "linux.devices[0]…"),
        ("/linux/devices/0/major", json!("one"), "linux.devices[0].major"),
        ("/linux/devices/0/major", json!(-2), "linux.devices[0]…"),
        ("/linux/devices/0/minor", json!(4_294_967_296i64), "linux.devices[0]…"),
        ("/linux/devices/0/fileMode", json!("0666"), "linux.devices[0].fileMode"),
        ("/linux/devices/0/uid", json!(-1), "linux.devices[0].uid"),
        ("/linux/cgroupsPath", json!(7), "linux.cgroupsPath"),
        ("/linux/cgroupsPath", json!("/a\u{0}"), "linux.cgroupsPath"),
        ("/linux/cgroupsPath", json!("/../.."), "linux.cgroupsPath"),
        ("/linux/cgroupsPath", json!("system.slice:minirun:x"), "linux.cgroupsPath"),
        ("/linux/rootfsPropagation", json!("sharing"), "linux.rootfsPropagation"),
        ("/linux/rootfsPropagation", json!(1), "linux.rootfsPropagation"),
        ("/linux/sysctl", json!(["net.ipv4.ip_forward=1"]), "linux.sysctl"),
        ("/linux/sysctl", json!({ "net.ipv4.ip_forward": 1 }), "linux.sysctl…"),
        ("/linux/sysctl", json!({ "vm.swappiness": "1" }), "linux.sysctl…"),
        ("/linux/sysctl", json!({ "kernel.panic": "1" }), "linux.sysctl…"),
        ("/linux/sysctl", json!({ "net/../kernel/panic": "1" }), "linux.sysctl…"),
        ("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1\u{0}" }), "linux.sysctl…"),
        ("/linux/sysctl", json!({ "": "1" }), "linux.sysctl…"),
        ("/linux/maskedPaths", json!("/proc"), "linux.maskedPaths"),
        ("/linux/maskedPaths", json!([1]), "linux.maskedPaths[0]"),
        ("/linux/maskedPaths", json!(["/a\u{0}"]), "linux.maskedPaths[0]"),
        ("/linux/maskedPaths", json!(["/"]), "linux.maskedPaths[0]"),
        ("/linux/readonlyPaths", json!(["/a", "/b\u{0}"]), "linux.readonlyPaths[1]"),
        ("/linux/readonlyPaths", json!(["/"]), "linux.readonlyPaths[0]"),
        ("/linux/readonlyPaths", json!({}), "linux.readonlyPaths"),
        ("/linux/personality", json!("LINUX32"), "linux.personality…"),
        ("/linux/personality", json!({ "domain": "SOLARIS" }), "linux.personality.domain"),
        (
            "/linux/personality",
            json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] }),
            "linux.personality…",
        ),
        (
            "/linux/memoryPolicy",
            json!({ "mode": "MPOL_X", "nodes": "0" }),
            "linux.memoryPolicy.mode",
        ),
        (
            "/linux/memoryPolicy",
            json!({ "mode": "MPOL_BIND", "nodes": "x" }),
            "linux.memoryPolicy…",
        ),
        ("/linux/intelRdt", json!({ "closID": "x" }), "linux.intelRdt…"),
        (
            "/linux/timeOffsets",
            json!({ "monotonic": { "secs": 1, "nanosecs": 0 } }),
            "linux.timeOffsets",
        ),
        ("/linux/seccomp", json!("default"), "linux.seccomp…"),
        ("/linux/seccomp", json!({}), "linux.seccomp"),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_MAYBE" }),
            "linux.seccomp.defaultAction",
        ),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"] }),
            "linux.seccomp.architectures[0]",
        ),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "action": "SCMP_ACT_ERRNO" }] }),
            "linux.seccomp.syscalls[0]",
        ),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": [], "action": "SCMP_ACT_ERRNO" }] }),
            "linux.seccomp.syscalls[0]…",
        ),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_NOTIFY" }),
            "linux.seccomp.listenerPath",
        ),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }] }),
            "linux.seccomp.listenerPath",
        ),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
                "names": ["mkdir"], "action": "SCMP_ACT_ERRNO",
                "args": [{ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" }],
            }] }),
            "linux.seccomp.syscalls[0].args[0]…",
        ),
        ("/hostname", json!(7), "hostname"),
        ("/hostname", json!("a\u{0}b"), "hostname"),
        ("/hostname", json!("x".repeat(65)), "hostname"),
        ("/domainname", json!("x".repeat(65)), "domainname"),
    ]
}
