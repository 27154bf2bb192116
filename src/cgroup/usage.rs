//! What a cgroup counts, as the `data` of `runc events --stats`.
//!
//! That format is v1's; v2's numbers are put where their like stood. A file that this
//! kernel hasn't got counts as nothing rather than as an error: engines ask every few
//! seconds, and for everything at once.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Tree;
use super::stats::value_of;

/// cpuacct.stat counts in hundredths of a second, whatever the machine (`USER_HZ`).
const NANOSECONDS_A_TICK: u64 = 10_000_000;

impl Tree<'_> {
    /// Processor, memory, processes, block devices and huge pages.
    pub(crate) fn usage(&self) -> Value {
        let dir = |controller: &str| Files(self.v1(controller).or(self.v2()));
        json!({
            "cpu": match self.v1("cpuacct") {
                Some(_) => cpu_v1(&dir("cpuacct"), &dir("cpu")),
                None => cpu_v2(&dir("cpu")),
            },
            "cpuset": cpuset(&dir("cpuset")),
            "memory": match self.v1("memory") {
                Some(_) => memory_v1(&dir("memory")),
                None => memory_v2(&dir("memory")),
            },
            "pids": pids(&dir("pids"), self),
            "blkio": match self.v1("blkio") {
                Some(_) => blkio_v1(&dir("blkio")),
                None => blkio_v2(&dir("io")),
            },
            "hugetlb": hugetlb(&dir("hugetlb")),
            "intel_rdt": {},
            "network_interfaces": null,
        })
    }
}

/// The files of one controller, which a container may be without.
struct Files<'a>(Option<&'a Path>);

impl Files<'_> {
    fn text(&self, file: &str) -> String {
        let text = self.0.map(|dir| fs::read_to_string(dir.join(file)));
        text.and_then(Result::ok).unwrap_or_default()
    }

    fn has(&self, file: &str) -> bool {
        self.0.is_some_and(|dir| dir.join(file).exists())
    }

    /// A number; `max` is the largest there is.
    fn number(&self, file: &str) -> u64 {
        let text = self.text(file);
        match text.trim() {
            "max" => u64::MAX,
            text => text.parse().unwrap_or(0),
        }
    }

    /// All of a file's `key number` lines.
    fn table(&self, file: &str) -> Map<String, Value> {
        let text = self.text(file);
        let entry = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse::<u64>().ok()?.into()))
        };
        text.lines().filter_map(entry).collect()
    }

    /// Pressure stall information, `null` where the kernel keeps none.
    fn pressure(&self, file: &str) -> Value {
        let text = self.text(file);
        let mut found = Map::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(kind) = words.next() else { continue };
            let entry = |word: &str| {
                let (key, value) = word.split_once('=')?;
                Some((key.to_owned(), serde_json::from_str(value).ok()?))
            };
            found.insert(kind.to_owned(), Value::Object(words.filter_map(entry).collect()));
        }
        if found.is_empty() { Value::Null } else { found.into() }
    }
}

/// Leaves out what has no value, as Go's `omitempty` does for what points to nothing.
fn without_nulls(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    value
}

fn cpu_v1(cpuacct: &Files, cpu: &Files) -> Value {
    let stat = cpuacct.text("cpuacct.stat");
    let ticks = |key: &str| value_of(&stat, key).unwrap_or(0) * NANOSECONDS_A_TICK;
    let percpu = cpuacct.text("cpuacct.usage_percpu");
    let percpu: Vec<u64> =
        percpu.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
    // A heading, then `cpu user system` a line.
    let all = cpuacct.text("cpuacct.usage_all");
    let column = |index: usize| -> Vec<u64> {
        let number = |line: &str| line.split_ascii_whitespace().nth(index)?.parse().ok();
        all.lines().skip(1).filter_map(number).collect()
    };
    let throttling = cpu.text("cpu.stat");
    let throttled = |key: &str| value_of(&throttling, key).unwrap_or(0);
    json!({
        "usage": {
            "total": cpuacct.number("cpuacct.usage"),
            "percpu": percpu,
            "percpu_user": column(1),
            "percpu_kernel": column(2),
            "kernel": ticks("system"),
            "user": ticks("user"),
        },
        "throttling": {
            "periods": throttled("nr_periods"),
            "throttledPeriods": throttled("nr_throttled"),
            "throttledTime": throttled("throttled_time"),
        },
    })
}

fn cpu_v2(cpu: &Files) -> Value {
    let stat = cpu.text("cpu.stat");
    let number = |key: &str| value_of(&stat, key).unwrap_or(0);
    let nanoseconds = |key: &str| number(key) * 1000;
    without_nulls(json!({
        "usage": {
            "total": nanoseconds("usage_usec"),
            "kernel": nanoseconds("system_usec"),
            "user": nanoseconds("user_usec"),
        },
        "throttling": {
            "periods": number("nr_periods"),
            "throttledPeriods": number("nr_throttled"),
            "throttledTime": nanoseconds("throttled_usec"),
        },
        "psi": cpu.pressure("cpu.pressure"),
    }))
}

fn cpuset(files: &Files) -> Value {
    let list = |file: &str| {
        let text = files.text(file);
        let text = text.trim();
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
        };
        let numbers: Vec<u16> = text.split(',').filter_map(range).flatten().collect();
        if numbers.is_empty() { Value::Null } else { numbers.into() }
    };
    let flags = [
        "cpu_exclusive",
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
    ];
    let number = |flag: &&str| ((*flag).to_owned(), files.number(&format!("cpuset.{flag}")).into());
    let mut found: Map<String, Value> = flags.iter().map(number).collect();
    let level = files.text("cpuset.sched_relax_domain_level").trim().parse::<i64>().unwrap_or(0);
    found.insert("sched_relax_domain_level".into(), level.into());
    found.insert("cpus".into(), list("cpuset.cpus"));
    found.insert("mems".into(), list("cpuset.mems"));
    without_nulls(found.into())
}

fn memory_v1(memory: &Files) -> Value {
    let entry = |name: &str| {
        json!({
            "limit": memory.number(&format!("memory.{name}limit_in_bytes")),
            "usage": memory.number(&format!("memory.{name}usage_in_bytes")),
            "max": memory.number(&format!("memory.{name}max_usage_in_bytes")),
            "failcnt": memory.number(&format!("memory.{name}failcnt")),
        })
    };
    let raw = memory.table("memory.stat");
    json!({
        "cache": raw.get("cache").cloned().unwrap_or(0.into()),
        "usage": entry(""),
        "swap": entry("memsw."),
        "kernel": entry("kmem."),
        "kernelTCP": entry("kmem.tcp."),
        "raw": raw,
    })
}

fn memory_v2(memory: &Files) -> Value {
    let raw = memory.table("memory.stat");
    let (usage, limit) = (memory.number("memory.current"), memory.number("memory.max"));
    // v1 counts memory and swap together.
    let has_swap = memory.has("memory.swap.max");
    let swap =
        |own: u64, file: &str| if has_swap { own.saturating_add(memory.number(file)) } else { 0 };
    let failures = memory.table("memory.events");
    without_nulls(json!({
        "cache": raw.get("file").cloned().unwrap_or(0.into()),
        "usage": {
            "limit": limit,
            "usage": usage,
            "max": memory.number("memory.peak"),
            "failcnt": failures.get("max").cloned().unwrap_or(0.into()),
        },
        "swap": {
            "limit": swap(limit, "memory.swap.max"),
            "usage": swap(usage, "memory.swap.current"),
            "failcnt": 0,
        },
        "kernel": { "limit": 0, "failcnt": 0 },
        "kernelTCP": { "limit": 0, "failcnt": 0 },
        "event_count": failures,
        "raw": raw,
        "psi": memory.pressure("memory.pressure"),
    }))
}

fn pids(pids: &Files, tree: &Tree) -> Value {
    let current = match pids.0 {
        Some(_) => pids.number("pids.current"),
        None => tree.tasks().unwrap_or(0),
    };
    // Here alone, no limit is 0.
    let limit = match pids.number("pids.max") {
        u64::MAX => 0,
        limit => limit,
    };
    json!({ "current": current, "limit": limit })
}

/// Lines of `major:minor operation number`.
fn blkio_v1(blkio: &Files) -> Value {
    let entries = |file: &str| -> Vec<Value> {
        let text = blkio.text(file);
        let entry = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let (major, minor) = device(words.next()?)?;
            let (operation, value) = match (words.next()?, words.next()) {
                (operation, Some(value)) => (operation, value),
                (value, None) => ("", value),
            };
            let value: u64 = value.parse().ok()?;
            Some(json!({ "major": major, "minor": minor, "op": operation, "value": value }))
        };
        text.lines().filter_map(entry).collect()
    };
    // Who counts depends on the scheduler; the throttle always does.
    let choices =
        ["blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive"];
    let served = choices.iter().map(|file| entries(file)).find(|found| !found.is_empty());
    let choices = ["blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive"];
    let operations = choices.iter().map(|file| entries(file)).find(|found| !found.is_empty());
    without_nulls(json!({
        "ioServiceBytesRecursive": served,
        "ioServicedRecursive": operations,
    }))
}

/// Lines of `major:minor rbytes=… wbytes=… rios=… wios=… dbytes=… dios=…`.
fn blkio_v2(io: &Files) -> Value {
    let text = io.text("io.stat");
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, operation) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "dbytes" => (&mut bytes, "Discard"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                "dios" => (&mut operations, "Discard"),
                _ => continue,
            };
            let value: u64 = value.parse().unwrap_or(0);
            list.push(json!({ "major": major, "minor": minor, "op": operation, "value": value }));
        }
    }
    let list = |list: Vec<Value>| if list.is_empty() { Value::Null } else { list.into() };
    without_nulls(json!({
        "ioServiceBytesRecursive": list(bytes),
        "ioServicedRecursive": list(operations),
        "psi": io.pressure("io.pressure"),
    }))
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// An object a page size, `2MB` and the like.
fn hugetlb(files: &Files) -> Value {
    let mut sizes = Map::new();
    for entry in files.0.map(fs::read_dir).and_then(Result::ok).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix("hugetlb.")) else {
            continue;
        };
        if let Some(size) = rest.strip_suffix(".usage_in_bytes").filter(|s| !s.contains('.')) {
            let number = |what: &str| files.number(&format!("hugetlb.{size}.{what}"));
            let usage = json!({
                "usage": number("usage_in_bytes"),
                "max": number("max_usage_in_bytes"),
                "failcnt": number("failcnt"),
            });
            sizes.insert(size.to_owned(), usage);
        } else if let Some(size) = rest.strip_suffix(".current").filter(|s| !s.contains('.')) {
            let events = files.text(&format!("hugetlb.{size}.events"));
            let usage = json!({
                "usage": files.number(&format!("hugetlb.{size}.current")),
                "failcnt": value_of(&events, "max").unwrap_or(0),
            });
            sizes.insert(size.to_owned(), usage);
        }
    }
    sizes.into()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::cgroup::Dir;

    /// A directory with files in it, gone afterwards.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str, files: &[(&str, &str)]) -> Fake {
            let dir = std::env::temp_dir().join(format!("usage-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            for (file, text) in files {
                fs::write(dir.join(file), text).unwrap();
            }
            Fake(dir)
        }

        fn usage(&self, controllers: &str) -> Value {
            let dir = Dir { controllers: controllers.to_owned(), path: self.0.clone() };
            Tree::new(&[dir]).usage()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn v2_is_told_in_the_terms_of_v1() {
        let fake = Fake::new(
            "v2",
            &[
                ("cpu.stat", "usage_usec 7\nuser_usec 5\nsystem_usec 2\nnr_throttled 1\n"),
                ("memory.current", "10\n"),
                ("memory.max", "max\n"),
                ("memory.swap.max", "max\n"),
                ("memory.swap.current", "3\n"),
                ("memory.stat", "anon 6\nfile 4\n"),
                ("memory.events", "max 2\noom_kill 1\n"),
                ("memory.pressure", "some avg10=0.50 avg60=0.00 avg300=0.00 total=9\n"),
                ("pids.max", "max\n"),
                ("pids.current", "2\n"),
                ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"),
                ("hugetlb.2MB.current", "0\n"),
                ("hugetlb.2MB.rsvd.current", "0\n"),
            ],
        );
        let usage = fake.usage("");
        assert_eq!(usage["cpu"]["usage"]["total"], 7000);
        assert_eq!(usage["cpu"]["throttling"]["throttledPeriods"], 1);
        assert_eq!(usage["memory"]["cache"], 4);
        assert_eq!(usage["memory"]["swap"]["usage"], 13);
        assert_eq!(usage["memory"]["usage"]["limit"], u64::MAX);
        assert_eq!(usage["memory"]["event_count"]["oom_kill"], 1);
        assert_eq!(usage["memory"]["psi"]["some"]["avg10"], 0.5);
        assert_eq!(usage["pids"], json!({ "current": 2, "limit": 0 }));
        assert_eq!(usage["blkio"]["ioServicedRecursive"][1]["op"], "Write");
        assert_eq!(usage["hugetlb"], json!({ "2MB": { "usage": 0, "failcnt": 0 } }));
    }

    #[test]
    fn v1_is_told_as_it_is() {
        let fake = Fake::new(
            "v1",
            &[
                ("cpuacct.usage", "900\n"),
                ("cpuacct.usage_percpu", "400 500 \n"),
                ("cpuacct.usage_all", "cpu user system\n0 300 100\n1 500 0\n"),
                ("cpuacct.stat", "user 3\nsystem 1\n"),
                ("memory.usage_in_bytes", "10\n"),
                ("memory.memsw.usage_in_bytes", "12\n"),
                ("memory.stat", "cache 4\nrss 6\n"),
                ("cpuset.cpus", "0-1,3\n"),
                ("blkio.throttle.io_serviced_recursive", "8:0 Read 5\n8:0 Total 5\nTotal 5\n"),
            ],
        );
        let usage = fake.usage("cpu,cpuacct,memory,cpuset,blkio");
        assert_eq!(usage["cpu"]["usage"]["percpu"], json!([400, 500]));
        assert_eq!(usage["cpu"]["usage"]["percpu_kernel"], json!([100, 0]));
        assert_eq!(usage["cpu"]["usage"]["user"], 30_000_000);
        assert_eq!(usage["memory"]["swap"]["usage"], 12);
        assert_eq!(usage["memory"]["raw"]["rss"], 6);
        assert_eq!(usage["cpuset"]["cpus"], json!([0, 1, 3]));
        assert_eq!(usage["blkio"]["ioServicedRecursive"].as_array().unwrap().len(), 2);
    }
}
