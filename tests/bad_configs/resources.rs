//! `linux.resources`.

use serde_json::json;

use super::Row;

pub fn rows() -> Vec<Row> {
    vec![
        ("/linux/resources/memory", json!(1024), "linux.resources.memory"),
        ("/linux/resources/memory/limit", json!("100M"), "linux.resources.memory.limit"),
        ("/linux/resources/memory/limit", json!(1.5), "linux.resources.memory.limit"),
        ("/linux/resources/memory/swap", json!("1"), "linux.resources.memory.swap"),
        (
            "/linux/resources/memory",
            json!({ "limit": 100, "swap": 50 }),
            "linux.resources.memory.swap",
        ),
        ("/linux/resources/memory/swappiness", json!(101), "linux.resources.memory.swappiness"),
        ("/linux/resources/memory/swappiness", json!(-1), "linux.resources.memory.swappiness"),
        (
            "/linux/resources/memory/disableOOMKiller",
            json!("no"),
            "linux.resources.memory.disableOOMKiller",
        ),
        ("/linux/resources/cpu", json!("1.5"), "linux.resources.cpu…"),
        ("/linux/resources/cpu", json!({ "shares": -1 }), "linux.resources.cpu.shares"),
        ("/linux/resources/cpu", json!({ "quota": "half" }), "linux.resources.cpu.quota"),
        ("/linux/resources/cpu", json!({ "period": -1 }), "linux.resources.cpu.period"),
        ("/linux/resources/cpu", json!({ "cpus": 0 }), "linux.resources.cpu.cpus"),
        ("/linux/resources/cpu", json!({ "cpus": "0\u{0}" }), "linux.resources.cpu.cpus"),
        ("/linux/resources/cpu", json!({ "idle": 2 }), "linux.resources.cpu.idle"),
        ("/linux/resources/pids", json!(5), "linux.resources.pids…"),
        ("/linux/resources/pids", json!({ "limit": "many" }), "linux.resources.pids.limit"),
        ("/linux/resources/pids", json!({ "limit": 1e30 }), "linux.resources.pids.limit"),
        ("/linux/resources/blockIO", json!({ "weight": 5 }), "linux.resources.blockIO.weight"),
        ("/linux/resources/blockIO", json!({ "weight": 70000 }), "linux.resources.blockIO.weight"),
        (
            "/linux/resources/blockIO",
            json!({ "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": -1 }] }),
            "linux.resources.blockIO.throttleReadBpsDevice[0].rate",
        ),
        (
            "/linux/resources/hugepageLimits",
            json!([{ "pageSize": "2 Mega", "limit": 1 }]),
            "linux.resources.hugepageLimits[0]…",
        ),
        (
            "/linux/resources/hugepageLimits",
            json!([{ "limit": 1 }]),
            "linux.resources.hugepageLimits[0]…",
        ),
        ("/linux/resources/unified", json!({ "memory.high": 1 }), "linux.resources.unified…"),
        ("/linux/resources/unified", json!({ "../x": "1" }), "linux.resources.unified…"),
        ("/linux/resources/unified", json!(["x"]), "linux.resources.unified"),
        ("/linux/resources/devices", json!({}), "linux.resources.devices"),
        (
            "/linux/resources/devices",
            json!([{ "allow": true, "type": "x" }]),
            "linux.resources.devices[0].type",
        ),
        (
            "/linux/resources/devices",
            json!([{ "allow": true, "type": "c", "access": "rwx" }]),
            "linux.resources.devices[0].access",
        ),
        (
            "/linux/resources/devices",
            json!([{ "allow": true, "type": "c", "major": -5, "access": "r" }]),
            "linux.resources.devices[0]…",
        ),
        (
            "/linux/resources/devices",
            json!([{ "allow": "yes" }]),
            "linux.resources.devices[0].allow",
        ),
    ]
}
