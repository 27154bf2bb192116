//! How the limits of a running container change, and what stays.

use serde_json::{Value, json};

use super::tests::{lines, on_v1, on_v2, plan, written};
use crate::error::Error;
use crate::host::Host;
use crate::plan::{Current, Plan};

fn updated(resources: Value, now: Value, host: &Host) -> Result<Vec<String>, Error> {
    let dirs = plan(json!({ "cgroupsPath": "/c" }), host)?.cgroup();
    let resource = |value: Value| serde_json::from_value(value).unwrap();
    let current = Current { dirs: &dirs, later: &[], limits: &resource(now), unit: None };
    Plan::update(&resource(resources), &current, host).map(|steps| lines(&steps))
}

#[test]
fn an_update_leaves_what_is_0_and_finds_the_order_of_dependent_limits() {
    let rows: &[(Value, &[&str], &[&str])] = &[
        (
            json!({
                "memory": { "limit": 0 }, "pids": { "limit": 0 }, "cpu": { "shares": 0 },
                "blockIO": { "weight": 0 },
            }),
            &[],
            &[],
        ),
        (
            json!({ "memory": { "limit": 10, "swap": 20, "checkBeforeUpdate": true } }),
            &[
                "memory.memsw.limit_in_bytes 20?",
                "memory.limit_in_bytes 10",
                "memory.memsw.limit_in_bytes 20",
            ],
            &[
                "memory.current <= 10",
                "memory.swap.current <= 10",
                "memory.swap.max 10",
                "memory.max 10",
            ],
        ),
        (
            json!({ "cpu": { "quota": 5, "period": 7, "burst": 0 } }),
            &[
                "cpu.cfs_burst_us 0?",
                "cpu.cfs_period_us 7?",
                "cpu.cfs_quota_us 5",
                "cpu.cfs_period_us 7",
                "cpu.cfs_burst_us 0?",
            ],
            &["cpu.max.burst 0?", "cpu.max 5 7", "cpu.max.burst 0?"],
        ),
        (json!({ "cpu": { "quota": 5 } }), &["cpu.cfs_quota_us 5"], &["cpu.max 5"]),
        (
            json!({ "memory": { "disableOOMKiller": false, "reservation": 5 } }),
            &["memory.soft_limit_in_bytes 5", "memory.oom_control 0"],
            &["memory.low 5"],
        ),
        (
            json!({ "cpu": { "idle": 1, "cpus": "1" }, "blockIO": { "weight": 20 } }),
            &["cpu.idle 1", "cpuset.cpus 1", "blkio.weight 20 | blkio.bfq.weight 20"],
            &["cpu.idle 1", "cpuset.cpus 1", "io.bfq.weight 20 | io.weight 102"],
        ),
        (json!({ "pids": { "limit": -1 } }), &["pids.max max"], &["pids.max max"]),
    ];
    for (resources, v1, v2) in rows {
        assert_eq!(
            updated(resources.clone(), json!({}), &on_v1()).unwrap(),
            *v1,
            "v1: {resources}"
        );
        assert_eq!(
            updated(resources.clone(), json!({}), &on_v2()).unwrap(),
            *v2,
            "v2: {resources}"
        );
    }
}

#[test]
fn real_time_of_a_running_container_is_changed_up_and_down() {
    let resources = json!({ "cpu": { "realtimePeriod": 7, "realtimeRuntime": 5 } });
    assert_eq!(
        updated(resources, json!({}), &on_v1()).unwrap(),
        ["cpu.rt_period_us 7?", "cpu.rt_runtime_us 5", "cpu.rt_period_us 7"]
    );
}

#[test]
fn an_update_of_one_half_takes_the_other_from_what_holds_now() {
    let now = json!({ "memory": { "limit": 100 }, "cpu": { "quota": 5, "period": 9 } });
    let update = |resources| updated(resources, now.clone(), &on_v2());
    assert_eq!(update(json!({ "cpu": { "period": 7 } })).unwrap(), ["cpu.max 5 7"]);
    assert_eq!(update(json!({ "memory": { "swap": 150 } })).unwrap(), ["memory.swap.max 50"]);
    assert_eq!(update(json!({ "memory": { "limit": 200 } })).unwrap(), ["memory.max 200"]);
    let error = update(json!({ "memory": { "swap": 90 } })).unwrap_err();
    assert_eq!(error.place(), Some("linux.resources.memory.swap"));
    // On v1 the kernel knows what holds now, on v2 there is nothing that it could be part of.
    let swap = json!({ "memory": { "swap": 90 } });
    let unlimited = json!({ "memory": { "limit": -1 } });
    assert!(updated(swap.clone(), json!({}), &on_v1()).is_ok());
    let error = updated(swap, unlimited, &on_v2()).unwrap_err();
    assert_eq!(error.place(), Some("linux.resources.memory.swap"));
}

#[test]
fn a_running_container_never_loses_a_device_that_it_keeps() {
    let deny = json!({ "allow": false, "access": "rwm" });
    let allow = |minor: u32| json!({ "allow": true, "type": "c", "major": 10, "minor": minor, "access": "rw" });
    let new = written(&json!({ "devices": [deny, allow(1), allow(2)] }), &on_v1()).unwrap();
    // As devices.list shows it: all but the first line, which denied everything.
    let list = new.iter().skip(1).map(|line| {
        let words: Vec<_> = line.split_ascii_whitespace().skip(1).collect();
        let (major, minor) = words[1].split_once(':').unwrap();
        let number = |text: &str| text.parse::<u32>().ok();
        json!({
            "allow": true, "type": words[0], "access": words[2],
            "major": number(major), "minor": number(minor),
        })
    });
    let now: Vec<Value> = [deny.clone()].into_iter().chain(list).collect();
    let now = json!({ "devices": now });
    let wanted = json!({ "devices": [deny, allow(2), allow(3)] });
    let changes = updated(wanted.clone(), now.clone(), &on_v1()).unwrap();
    assert_eq!(changes, ["devices.deny c 10:1 rw", "devices.allow c 10:3 rw"]);
    assert_eq!(updated(wanted, now, &on_v2()).unwrap(), ["device filter"]);
}
