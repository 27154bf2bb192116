//! A fuzzer of config.json -> plan: whatever a bundle says, the answer is a plan or one
//! sentence, never a panic.
//!
//! It knows the format: real configurations are changed by leaving out, doubling, moving
//! and replacing values, with the specification's own words among the replacements.
//! `support/chance.rs` says how many are tried and how one is repeated. Other formats are
//! fuzzed beside their parsers.

mod support;

use std::collections::BTreeSet;
use std::fs;

use minirun::Bundle;
use serde_json::{Value, json};
use support::TempDir;
use support::chance::{Chance, fuzz};

const BUNDLES: &[&str] = &["benches/bundles/plain", "benches/bundles/engine-default"];

/// Properties of the runtime-spec that the bundles don't have, each with a fair value.
fn additions() -> Vec<(&'static str, Value)> {
    vec![
        ("/domainname", json!("example")),
        ("/hooks", json!({ "createRuntime": [{ "path": "/bin/true", "timeout": 1 }] })),
        ("/process/oomScoreAdj", json!(100)),
        ("/process/scheduler", json!({ "policy": "SCHED_DEADLINE", "runtime": 1, "period": 2 })),
        ("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 })),
        ("/process/execCPUAffinity", json!({ "initial": "0-1", "final": "0" })),
        ("/process/consoleSize", json!({ "height": 24, "width": 80 })),
        ("/linux/personality", json!({ "domain": "LINUX32" })),
        ("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0" })),
        ("/linux/timeOffsets", json!({ "monotonic": { "secs": 5, "nanosecs": 7 } })),
        ("/linux/netDevices", json!({ "eth0": { "name": "x" } })),
        ("/linux/sysctl", json!({ "net.core.somaxconn": "5", "kernel.msgmax": "1" })),
        ("/linux/devices", json!([{ "path": "/dev/f", "type": "c", "major": 1, "minor": 7 }])),
        ("/linux/uidMappings", json!([{ "containerID": 0, "hostID": 1000, "size": 65536 }])),
        ("/linux/rootfsPropagation", json!("rslave")),
        ("/linux/cgroupsPath", json!("/a/b")),
        (
            "/linux/resources",
            json!({
                "memory": { "limit": 1 << 28, "swap": 1 << 29, "reservation": 5 },
                "cpu": { "shares": 512, "quota": 5000, "period": 10000, "cpus": "0-1" },
                "blockIO": { "weight": 10, "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 5 }] },
                "hugepageLimits": [{ "pageSize": "2MB", "limit": 4096 }],
                "unified": { "memory.high": "10000" }, "rdma": { "mlx": { "hcaHandles": 3 } },
                "network": { "classID": 7, "priorities": [{ "name": "lo", "priority": 1 }] },
            }),
        ),
    ]
}

/// Values that have broken parsers.
fn oddities() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1.5e300),
        json!(4_294_967_296u64),
        json!(""),
        json!("/"),
        json!(".."),
        json!("\u{0}"),
        json!("a\u{0}b"),
        json!("\u{202e}\u{1f980}"),
        json!("0-"),
        json!("0-4294967295"),
        json!("99999999999999999999"),
        json!("%s%n{}"),
        json!("x".repeat(70_000)),
        json!([]),
        json!({}),
        json!([[[]]]),
    ]
}

/// The pointers of all values in a configuration.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), found);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                pointers(value, &format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
}

fn insert(config: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    match config.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.insert(key.to_owned(), value)),
        Some(Value::Array(list)) => list.push(value),
        _ => {}
    }
}

fn remove(config: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    match config.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.remove(key)),
        Some(Value::Array(list)) => {
            if let Some(index) = key.parse().ok().filter(|index: &usize| *index < list.len()) {
                list.remove(index);
            }
        }
        _ => {}
    }
}

fn mutate(config: &mut Value, chance: &mut Chance) {
    let mut places = Vec::new();
    pointers(config, "", &mut places);
    let place = chance.one(&places).clone();
    match chance.below(7) {
        0 => remove(config, &place),
        1 | 2 => {
            let odd = chance.one(&oddities()).clone();
            if let Some(value) = config.pointer_mut(&place) {
                *value = odd;
            }
        }
        3 => {
            // A value of the specification's where another one belongs.
            let other =
                config.pointer(&places[chance.below(places.len())]).cloned().unwrap_or_default();
            if let Some(value) = config.pointer_mut(&place) {
                *value = other;
            }
        }
        4 => match config.pointer_mut(&place) {
            Some(Value::Array(list)) if !list.is_empty() => {
                let again = list[chance.below(list.len())].clone();
                list.push(again);
            }
            Some(Value::String(text)) => text.push(*chance.one(&['/', '\0', ',', ':', '-'])),
            Some(Value::Number(number)) => {
                *number = (number.as_i64().unwrap_or(0) ^ (1 << chance.below(63))).into();
            }
            _ => {}
        },
        _ => {
            let (pointer, value) = chance.one(&additions()).clone();
            insert(config, pointer, value);
        }
    }
}

#[test]
fn any_configuration_gives_a_plan_or_one_sentence() {
    let place = TempDir::new("fuzz");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |bundle: &&str| fs::read_to_string(root.join(bundle).join("config.json"));
    let seeds: Vec<Value> =
        BUNDLES.iter().map(|b| serde_json::from_str(&read(b).unwrap()).unwrap()).collect();
    let (mut plans, mut refusals) = (0u64, BTreeSet::new());
    let count = fuzz(1000, |_, chance| {
        let mut config = chance.one(&seeds).clone();
        for _ in 0..=chance.below(4) {
            mutate(&mut config, chance);
        }
        fs::write(place.file("config.json"), config.to_string()).expect("write config.json");
        let plan = Bundle::load(place.path()).and_then(|bundle| bundle.plan("fuzz"));
        match plan {
            Ok(plan) => {
                assert!(!plan.to_string().is_empty() && !plan.to_json().is_null());
                plans += 1;
            }
            Err(error) => {
                let text = error.to_string();
                assert!(!text.contains('\n'), "{text}");
                assert!(text.len() < 200_000, "{} bytes", text.len());
                let place = error.place().unwrap_or_default().split(['[', '.']).next();
                refusals.insert(place.unwrap_or_default().to_owned());
            }
        }
    });
    if let Some(count) = count.filter(|count| *count >= 1000) {
        // Both outcomes must be met, and refusals all over the format, or this tests nothing.
        assert!(plans > count / 20, "only {plans} of {count} gave a plan");
        for part in ["process", "linux", "mounts", "root", "ociVersion"] {
            assert!(refusals.contains(part), "no refusal below {part}: {refusals:?}");
        }
    }
}
