//! Processors: shares, bandwidth, real-time, and which ones may be used.

use nix::errno::Errno;
use oci_spec::runtime::LinuxCpu;

use super::{Settings, Version, max_or};
use crate::error::Result;

const CPU: &str = "cpu";
/// The kernel's own, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

pub(super) fn add(settings: &mut Settings, cpu: &LinuxCpu) -> Result<()> {
    if let Some(idle) = cpu.idle()
        && !(0..=1).contains(&idle)
    {
        return Err(settings.refuse("cpu.idle", format!("{idle} is neither 0 nor 1")));
    }
    match settings.version(CPU).unwrap_or(Version::V2) {
        Version::V1 => v1(settings, cpu)?,
        Version::V2 => v2(settings, cpu)?,
    }
    let sets = [(cpu.cpus(), "cpuset.cpus", "cpu.cpus"), (cpu.mems(), "cpuset.mems", "cpu.mems")];
    for (list, file, field) in sets {
        let Some(list) = list.as_deref().map(str::trim).filter(|list| !list.is_empty()) else {
            continue;
        };
        if list.contains(|c: char| !matches!(c, '0'..='9' | ',' | '-' | ' ')) {
            let reason = format!("{list:?} is no list of numbers such as 0-3,7");
            return Err(settings.refuse(field, reason));
        }
        settings.write("cpuset", file, list, field)?;
    }
    Ok(())
}

fn v1(settings: &mut Settings, cpu: &LinuxCpu) -> Result<()> {
    let shares = cpu.shares().filter(|shares| *shares != 0);
    if let Some(shares) = shares {
        settings.write(CPU, "cpu.shares", shares, "cpu.shares")?;
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    burst_before(settings, cpu, "cpu.cfs_burst_us")?;
    if let Some(period) = period {
        let write = settings.write(CPU, "cpu.cfs_period_us", period, "cpu.period")?;
        if quota.is_some() {
            // It may fit the new quota only, together with the parent's limit.
            write.tolerate(&[Errno::EINVAL]);
        }
    }
    if let Some(quota) = quota {
        settings.write(CPU, "cpu.cfs_quota_us", quota.max(-1), "cpu.quota")?;
        if let (Some(period), true) = (period, settings.is_update()) {
            settings.write(CPU, "cpu.cfs_period_us", period, "cpu.period")?;
        }
    }
    if let Some(burst) = cpu.burst() {
        write_burst(settings, "cpu.cfs_burst_us", burst)?;
    }
    let runtime = cpu.realtime_runtime().filter(|runtime| *runtime != 0);
    let period = cpu.realtime_period().filter(|period| *period != 0);
    if let Some(period) = period {
        let is_update = settings.is_update();
        let write = settings.write(CPU, "cpu.rt_period_us", period, "cpu.realtimePeriod")?;
        if runtime.is_some() && is_update {
            // A shorter one may fit the new runtime only.
            write.tolerate(&[Errno::EINVAL]);
        }
    }
    if let Some(runtime) = runtime {
        settings.write(CPU, "cpu.rt_runtime_us", runtime, "cpu.realtimeRuntime")?;
        if let (Some(period), true) = (period, settings.is_update()) {
            settings.write(CPU, "cpu.rt_period_us", period, "cpu.realtimePeriod")?;
        }
    }
    if let Some(idle) = cpu.idle() {
        // A v1 kernel before 5.15 has no such file; 0 is how it behaves.
        let write = settings.write(CPU, "cpu.idle", idle, "cpu.idle")?;
        if idle == 0 {
            write.tolerate(&[Errno::ENOENT]);
        }
    }
    Ok(())
}

fn v2(settings: &mut Settings, cpu: &LinuxCpu) -> Result<()> {
    for (value, field) in [
        (cpu.realtime_period(), "cpu.realtimePeriod"),
        (cpu.realtime_runtime().map(|runtime| runtime as u64), "cpu.realtimeRuntime"),
    ] {
        if value.is_some_and(|value| value != 0) {
            return Err(settings.only_v1(field));
        }
    }
    let idle = cpu.idle();
    if let Some(idle) = idle {
        let write = settings.write(CPU, "cpu.idle", idle, "cpu.idle")?;
        if idle == 0 {
            write.tolerate(&[Errno::ENOENT]);
        }
    }
    // The kernel refuses a weight for a group that runs when nothing else does.
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0 && idle != Some(1)) {
        settings.write(CPU, "cpu.weight", weight(shares), "cpu.shares")?;
    }
    burst_before(settings, cpu, "cpu.max.burst")?;
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    match (quota, period) {
        (Some(quota), None) if settings.is_update() => {
            // The kernel keeps the period.
            settings.write(CPU, "cpu.max", max_or(quota), "cpu.quota")?;
        }
        (Some(quota), period) => {
            let period = period.unwrap_or(DEFAULT_PERIOD);
            settings.write(CPU, "cpu.max", format!("{} {period}", max_or(quota)), "cpu.quota")?;
        }
        (None, Some(period)) if settings.is_update() => {
            // v2 takes both at once.
            let now = settings.now.and_then(|now| now.cpu().as_ref()?.quota());
            let value = format!("{} {period}", max_or(now.unwrap_or(-1)));
            settings.write(CPU, "cpu.max", value, "cpu.period")?;
        }
        (None, Some(period)) => {
            settings.write(CPU, "cpu.max", format!("max {period}"), "cpu.period")?;
        }
        (None, None) => {}
    }
    if let Some(burst) = cpu.burst() {
        write_burst(settings, "cpu.max.burst", burst)?;
    }
    Ok(())
}

/// A burst is never longer than the quota: on update, a lower quota needs the lower burst
/// first, and a higher burst the higher quota.
fn burst_before(settings: &mut Settings, cpu: &LinuxCpu, file: &str) -> Result<()> {
    if let (Some(burst), true) = (cpu.burst(), settings.is_update()) {
        let write = settings.write(CPU, file, burst, "cpu.burst")?;
        write.tolerate(&[Errno::EINVAL, Errno::ENOENT]);
    }
    Ok(())
}

fn write_burst(settings: &mut Settings, file: &str, burst: u64) -> Result<()> {
    let write = settings.write(CPU, file, burst, "cpu.burst")?;
    if burst == 0 {
        write.tolerate(&[Errno::ENOENT]);
    }
    Ok(())
}

/// Shares of v1 (2 to 262144, 1024 by default) as a weight of v2 (1 to 10000, 100 by
/// default): a quadratic curve on logarithmic scales through both ends and the default,
/// as all OCI runtimes draw it since 2025.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn shares_become_the_weight_that_other_runtimes_give() {
        for (shares, expected) in [
            (1, 1),
            (2, 1),
            (102, 17),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }
}
