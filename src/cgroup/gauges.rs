//! What the processes of a cgroup use at this moment, as far as its files tell.

use std::fs;

use serde::Serialize;

use super::Tree;
use super::stats::value_of;

/// What a container uses; `None` where nothing counts it, or nothing limits it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// The container.
    pub id: String,
    /// Processors that it kept busy since the reading before, on average; `None` in the
    /// first one.
    pub cpus: Option<f64>,
    /// Processors that its quota lets it keep busy.
    pub cpus_limit: Option<f64>,
    /// Processor time that it used since it began, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Bytes of memory, without the files that the kernel could drop first.
    pub memory_bytes: Option<u64>,
    /// The limit of that.
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// The limit of that.
    pub pids_limit: Option<u64>,
    /// Bytes read from block devices since it began.
    pub read_bytes: Option<u64>,
    /// Bytes written to them.
    pub written_bytes: Option<u64>,
    /// How its processes waited for a processor.
    pub cpu_pressure: Option<Pressure>,
    /// How they waited for memory.
    pub memory_pressure: Option<Pressure>,
    /// How they waited for block devices.
    pub io_pressure: Option<Pressure>,
}

/// Pressure stall information: percent of the last ten seconds (accounting/psi.rst).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pressure {
    /// In which some process waited.
    pub some: f64,
    /// In which all of them did.
    pub full: f64,
}

impl Tree<'_> {
    /// Reads the files of v1 and of v2, whichever there are; `cpus` takes two readings.
    pub(crate) fn gauges(&self, id: &str) -> Usage {
        // A file's name means one thing, in whichever hierarchy it is found; but for cpu.stat,
        // of which v2's has other keys.
        let text = |file: &str| {
            self.dirs.iter().find_map(|dir| fs::read_to_string(dir.path.join(file)).ok())
        };
        let number = |file: &str| text(file)?.trim().parse::<u64>().ok();
        let stat_v2 = || fs::read_to_string(self.v2()?.join("cpu.stat")).ok();
        let nanoseconds = number("cpuacct.usage")
            .or_else(|| Some(value_of(&stat_v2()?, "usage_usec")?.saturating_mul(1000)));
        let quota_v1 = || Some((number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?));
        let quota_v2 = || {
            let text = text("cpu.max")?;
            let (quota, period) = text.trim().split_once(' ')?;
            Some((quota.parse().ok()?, period.parse().ok()?))
        };
        let quota = quota_v1().or_else(quota_v2);
        let memory = number("memory.usage_in_bytes").or_else(|| number("memory.current"));
        let memory_stat = text("memory.stat").unwrap_or_default();
        let droppable = value_of(&memory_stat, "total_inactive_file")
            .or_else(|| value_of(&memory_stat, "inactive_file"));
        let limit = number("memory.limit_in_bytes").or_else(|| number("memory.max"));
        let pressure = |file: &str| Pressure::parse(&text(file)?);
        let io = block_io(text);
        Usage {
            id: id.to_owned(),
            cpus: None,
            cpus_limit: quota.map(|(quota, period): (u64, u64)| quota as f64 / period as f64),
            cpu_seconds: nanoseconds.map(|time| time as f64 / 1e9),
            memory_bytes: memory.map(|memory| memory.saturating_sub(droppable.unwrap_or(0))),
            // v1's "no limit" is the largest number of whole pages.
            memory_limit_bytes: limit.filter(|limit| *limit < 1 << 62),
            pids: number("pids.current").or_else(|| self.tasks()),
            pids_limit: number("pids.max"),
            read_bytes: io.map(|(read, _)| read),
            written_bytes: io.map(|(_, written)| written),
            cpu_pressure: pressure("cpu.pressure"),
            memory_pressure: pressure("memory.pressure"),
            io_pressure: pressure("io.pressure"),
        }
    }
}

impl Pressure {
    /// Lines of `some|full avg10=… avg60=… avg300=… total=…`.
    fn parse(text: &str) -> Option<Pressure> {
        let average = |kind: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(kind))?;
            rest.trim_start().strip_prefix("avg10=")?.split(' ').next()?.parse().ok()
        };
        // No kernel told how all processes wait for a processor before 5.13.
        Some(Pressure { some: average("some")?, full: average("full").unwrap_or(0.0) })
    }
}

/// Bytes read and written, of all devices together.
fn block_io(text: impl Fn(&str) -> Option<String>) -> Option<(u64, u64)> {
    let v1 = |who: &str| text(&format!("blkio.{who}.io_service_bytes_recursive"));
    // Who counts depends on the scheduler; the throttle always does.
    let found = v1("bfq").filter(|text| text.contains("Read")).or_else(|| v1("throttle"));
    let sum = |text: &str, key: &str| {
        // v1 has `8:0 Read 512` a line, v2 `8:0 rbytes=512 wbytes=0 …`.
        let words = text.lines().filter_map(|line| line.split_once(key));
        let number = |(_, rest): (&str, &str)| rest.split(' ').next()?.parse::<u64>().ok();
        words.filter_map(number).sum()
    };
    match found {
        Some(text) => Some((sum(&text, " Read "), sum(&text, " Write "))),
        None => text("io.stat").map(|text| (sum(&text, " rbytes="), sum(&text, " wbytes="))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Dir;

    fn usage(name: &str, controllers: &str, files: &[(&str, &str)]) -> Usage {
        let path = std::env::temp_dir().join(format!("gauges-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (file, text) in files {
            fs::write(path.join(file), text).unwrap();
        }
        let dir = Dir { controllers: controllers.to_owned(), path: path.clone() };
        let usage = Tree::new(&[dir]).gauges("one");
        fs::remove_dir_all(path).unwrap();
        usage
    }

    #[test]
    fn v2_is_read() {
        let files = [
            ("cpu.stat", "usage_usec 1500000\nuser_usec 5\n"),
            ("cpu.max", "50000 100000\n"),
            ("cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=9\n"),
            ("memory.current", "10\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "anon 6\ninactive_file 4\n"),
            ("memory.pressure", "some avg10=0.50 avg60=0 avg300=0 total=9\nfull avg10=0.25 a\n"),
            ("pids.current", "2\n"),
            ("pids.max", "7\n"),
            ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3\n8:16 rbytes=10 wbytes=20 rios=3\n"),
        ];
        let expected = Usage {
            id: "one".to_owned(),
            cpus_limit: Some(0.5),
            cpu_seconds: Some(1.5),
            memory_bytes: Some(6),
            pids: Some(2),
            pids_limit: Some(7),
            read_bytes: Some(11),
            written_bytes: Some(22),
            cpu_pressure: Some(Pressure { some: 1.5, full: 0.0 }),
            memory_pressure: Some(Pressure { some: 0.5, full: 0.25 }),
            ..Usage::default()
        };
        assert_eq!(usage("v2", "", &files), expected);
    }

    #[test]
    fn v1_is_read() {
        let files = [
            ("cpuacct.usage", "2000000000\n"),
            ("cpu.stat", "nr_periods 3\n"),
            ("cpu.cfs_quota_us", "-1\n"),
            ("cpu.cfs_period_us", "100000\n"),
            ("memory.usage_in_bytes", "10\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 3\n"),
            ("pids.current", "1\n"),
            ("pids.max", "max\n"),
            ("blkio.bfq.io_service_bytes_recursive", "Total 0\n"),
            ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 5\n8:0 Write 6\nTotal 11\n"),
        ];
        let expected = Usage {
            id: "one".to_owned(),
            cpu_seconds: Some(2.0),
            memory_bytes: Some(7),
            pids: Some(1),
            read_bytes: Some(5),
            written_bytes: Some(6),
            ..Usage::default()
        };
        assert_eq!(usage("v1", "cpu,cpuacct,memory,pids,blkio", &files), expected);
    }

    #[test]
    fn what_nothing_counts_is_left_out() {
        assert_eq!(Tree::new(&[]).gauges(""), Usage::default());
    }
}
