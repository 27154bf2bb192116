//! `minirun update`: other limits for a container that is there.

use clap::Parser;
use minirun::Error;
use minirun::container;
use oci_spec::runtime::LinuxResources;
use serde_json::json;

use super::CarryOut;
use super::global::Global;
use super::values;

/// Change a container's resource limits
#[derive(Debug, Parser)]
pub struct Update {
    /// The container
    id: String,
    /// Read linux.resources of a config.json from FILE, or - for standard input; what isn't
    /// in it stays as it is, and the options below are ignored
    #[arg(short, long, value_name = "FILE")]
    resources: Option<String>,

    /// Memory, such as 100m; -1 for no limit
    #[arg(long, value_name = "BYTES", value_parser = limit, allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Memory to fall back to when the host runs short
    #[arg(long, value_name = "BYTES", value_parser = limit, allow_negative_numbers = true)]
    memory_reservation: Option<i64>,
    /// Memory and swap together; -1 for no limit
    #[arg(long, value_name = "BYTES", value_parser = limit, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Number of processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Weight against other containers where processor time is short
    #[arg(long, visible_alias = "cpu-shares", value_name = "NUMBER")]
    cpu_share: Option<u64>,
    /// Microseconds of processor time in a period; -1 for no limit
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Length of that period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Microseconds that may be saved up for later periods
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_burst: Option<u64>,
    /// Microseconds of realtime scheduling in a realtime period
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    /// Length of that period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,
    /// 1: run only when nobody else wants the processor
    #[arg(long, value_name = "0|1", allow_negative_numbers = true)]
    cpu_idle: Option<i64>,
    /// Processors to run on, such as 0-3,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Weight of disk access, 10 to 1000
    #[arg(long, value_name = "NUMBER")]
    blkio_weight: Option<u16>,
}

impl CarryOut for Update {
    const NOTES: &'static str = "\
Examples:
  minirun update --memory 128m --pids-limit 200 web
  minirun update --cpu-quota 50000 --cpu-period 100000 web    half a processor";

    fn waits_for(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        let resources = match self.resources.as_deref() {
            Some(file) => super::read_json(file, "--resources")?,
            None => self.by_options()?,
        };
        container::update(&global.store()?, &self.id, &resources)?;
        Ok(0)
    }
}

impl Update {
    fn by_options(&self) -> Result<LinuxResources, Error> {
        let mut resources = json!({
            "memory": {
                "limit": self.memory,
                "reservation": self.memory_reservation,
                "swap": self.memory_swap,
            },
            "cpu": {
                "shares": self.cpu_share,
                "quota": self.cpu_quota,
                "period": self.cpu_period,
                "burst": self.cpu_burst,
                "realtimeRuntime": self.cpu_rt_runtime,
                "realtimePeriod": self.cpu_rt_period,
                "idle": self.cpu_idle,
                "cpus": self.cpuset_cpus,
                "mems": self.cpuset_mems,
            },
            "pids": { "limit": self.pids_limit },
            "blockIO": { "weight": self.blkio_weight },
        });
        // An object without a value in it asks for nothing.
        if let Some(resources) = resources.as_object_mut() {
            resources.retain(|_, group| {
                let values = group.as_object().map(|group| group.values().any(|v| !v.is_null()));
                values.unwrap_or(false)
            });
        }
        super::parse_json(&resources.to_string(), "linux.resources")
    }
}

/// A size, or -1 for no limit.
fn limit(text: &str) -> Result<i64, String> {
    match text {
        "-1" => Ok(-1),
        _ => values::bytes(text).map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(options: &[&str]) -> LinuxResources {
        Update::parse_from([&["update", "id"], options].concat()).by_options().unwrap()
    }

    #[test]
    fn options_become_resources_and_nothing_else() {
        let asked = resources(&["--memory", "1m", "--memory-swap", "-1", "--cpuset-cpus", "0-1"]);
        let memory = asked.memory().unwrap();
        assert_eq!((memory.limit(), memory.swap()), (Some(1 << 20), Some(-1)));
        assert_eq!(asked.cpu().as_ref().unwrap().cpus().as_deref(), Some("0-1"));
        assert!(asked.pids().is_none() && asked.block_io().is_none());
        assert_eq!(resources(&["--pids-limit", "7"]).pids().unwrap().limit(), 7);
        assert!(resources(&[]).memory().is_none());
    }

    #[test]
    fn a_limit_can_be_none() {
        assert_eq!((limit("-1"), limit("1k")), (Ok(-1), Ok(1024)));
        assert!(limit("-2").is_err());
    }
}
