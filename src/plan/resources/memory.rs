//! Memory: v1 limits memory and swap together, v2 each by itself.

use nix::errno::Errno;
use oci_spec::runtime::LinuxMemory;

use super::{Action, Settings, Version, max_or};
use crate::error::{Error, Result};

const MEMORY: &str = "memory";

pub(super) fn add(settings: &mut Settings, memory: &LinuxMemory) -> Result<()> {
    check(settings, memory)?;
    match settings.version(MEMORY).unwrap_or(Version::V2) {
        Version::V1 => v1(settings, memory),
        Version::V2 => v2(settings, memory),
    }
}

/// What holds for both versions.
fn check(settings: &Settings, memory: &LinuxMemory) -> Result<()> {
    let (limit, swap) = (asked(memory.limit()), asked(memory.swap()));
    for (value, field) in [
        (limit, "memory.limit"),
        (asked(memory.reservation()), "memory.reservation"),
        (swap, "memory.swap"),
    ] {
        if let Some(value @ ..-1) = value {
            let reason = format!("{value} is neither a number of bytes nor -1, no limit");
            return Err(settings.refuse(field, reason));
        }
    }
    if let (Some(limit), Some(swap @ 1..)) = (limit, swap)
        && swap < limit
    {
        let reason = format!(
            "memory and swap together ({swap}) can't be limited to less than memory ({limit})"
        );
        return Err(settings.refuse("memory.swap", reason));
    }
    if asked(kernel(memory)).is_some_and(|limit| limit != -1) {
        // The file of v1 takes any value, and nothing happens.
        let reason = "no kernel limits it any more (since Linux 5.16)";
        return Err(settings
            .refuse("memory.kernel", reason)
            .hint("leave it out; memory.limit counts what the kernel uses, too"));
    }
    if let Some(value @ 101..) = swappiness(memory) {
        let reason = format!("{value} is not in the range from 0 to 100");
        return Err(settings.refuse("memory.swappiness", reason));
    }
    if memory.use_hierarchy() == Some(false) {
        // Since Linux 5.11 there is nothing else.
        let reason = "limits always include the cgroups below";
        return Err(settings.refuse("memory.useHierarchy", reason));
    }
    Ok(())
}

fn v1(settings: &mut Settings, memory: &LinuxMemory) -> Result<()> {
    let limit = asked(memory.limit());
    let swap = asked(memory.swap());
    if let (None | Some(-1), Some(1..), false) = (limit, swap, settings.is_update()) {
        return Err(swap_of_unlimited_memory(settings));
    }
    const MEMSW: &str = "memory.memsw.limit_in_bytes";
    let memsw = swap.or(limit.filter(|limit| *limit == -1));
    if let (Some(memsw), true) = (memsw, settings.is_update()) {
        // The kernel keeps memory below memory and swap at every moment. A higher limit
        // has to begin here; a lower one fails here, and succeeds once memory is lower.
        let write = settings.write(MEMORY, MEMSW, memsw, "memory.swap")?;
        write.tolerate(&[Errno::EINVAL, Errno::EBUSY, Errno::ENOENT]);
    }
    if let Some(limit) = limit {
        settings.write(MEMORY, "memory.limit_in_bytes", limit, "memory.limit")?;
    }
    if let Some(memsw) = memsw {
        let write = settings.write(MEMORY, MEMSW, memsw, "memory.swap")?;
        if memsw == -1 {
            // Kernels without swap accounting have nothing to lift.
            write.tolerate(&[Errno::ENOENT]);
        }
    }
    for (value, file, field) in [
        (memory.reservation(), "memory.soft_limit_in_bytes", "memory.reservation"),
        (memory.kernel_tcp(), "memory.kmem.tcp.limit_in_bytes", "memory.kernelTCP"),
    ] {
        if let Some(value) = asked(value) {
            settings.write(MEMORY, file, value, field)?;
        }
    }
    if let Some(swappiness) = swappiness(memory) {
        settings.write(MEMORY, "memory.swappiness", swappiness, "memory.swappiness")?;
    }
    match memory.disable_oom_killer() {
        Some(true) => settings.write(MEMORY, "memory.oom_control", 1, "memory.disableOOMKiller")?,
        Some(false) if settings.is_update() => {
            settings.write(MEMORY, "memory.oom_control", 0, "memory.disableOOMKiller")?
        }
        _ => return Ok(()),
    };
    Ok(())
}

fn v2(settings: &mut Settings, memory: &LinuxMemory) -> Result<()> {
    for (is_asked, field) in [
        (swappiness(memory).is_some(), "memory.swappiness"),
        (memory.disable_oom_killer() == Some(true), "memory.disableOOMKiller"),
        (asked(memory.kernel_tcp()).is_some_and(|limit| limit != -1), "memory.kernelTCP"),
    ] {
        if is_asked {
            return Err(settings.only_v1(field));
        }
    }
    let limit = asked(memory.limit());
    let now = settings.now.and_then(|now| now.memory().as_ref()?.limit());
    let swap = swap_alone(settings, limit, now, asked(memory.swap()))?;
    if settings.is_update() && memory.check_before_update() == Some(true) {
        let bytes = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        for (limit, file, field) in [
            (bytes(limit), "memory.current", "memory.limit"),
            (bytes(swap), "memory.swap.current", "memory.swap"),
        ] {
            if let Some(limit) = limit {
                settings.push(MEMORY, Action::CheckUsage { file, limit }, field)?;
            }
        }
    }
    if let Some(swap) = swap {
        let write = settings.write(MEMORY, "memory.swap.max", max_or(swap), "memory.swap")?;
        if swap <= 0 {
            // Without swap in the kernel nothing is swapped anyway.
            write.tolerate(&[Errno::ENOENT]);
        }
    }
    if let Some(limit) = limit {
        settings.write(MEMORY, "memory.max", max_or(limit), "memory.limit")?;
    }
    if let Some(reservation) = asked(memory.reservation()) {
        settings.write(MEMORY, "memory.low", max_or(reservation), "memory.reservation")?;
    }
    Ok(())
}

/// The specification's swap is memory and swap together, that of v2 swap alone.
fn swap_alone(
    settings: &Settings,
    limit: Option<i64>,
    now: Option<i64>,
    swap: Option<i64>,
) -> Result<Option<i64>> {
    match (limit.or(now.filter(|_| swap.is_some())), swap) {
        // On v1, memory without a limit means swap without one.
        (Some(-1), None) => Ok(Some(-1)),
        (_, None | Some(-1)) => Ok(swap),
        (None | Some(-1), Some(_)) => Err(swap_of_unlimited_memory(settings)),
        (Some(limit), Some(swap)) if swap < limit => {
            let reason =
                format!("{swap} is less than the memory limit, {limit}, of which it is a part");
            Err(settings.refuse("memory.swap", reason))
        }
        (Some(limit), Some(swap)) => Ok(Some(swap - limit)),
    }
}

fn swap_of_unlimited_memory(settings: &Settings) -> Error {
    let reason = "it limits memory and swap together, and how much of it is memory isn't said";
    settings.refuse("memory.swap", reason).hint("give memory.limit as well")
}

/// Engines written in Go may send -1 for none in this unsigned field.
fn swappiness(memory: &LinuxMemory) -> Option<u64> {
    memory.swappiness().filter(|value| *value != u64::MAX)
}

/// 0 is what engines send for a limit that nobody gave.
fn asked(value: Option<i64>) -> Option<i64> {
    value.filter(|value| *value != 0)
}

#[allow(deprecated)] // It is still part of the specification.
fn kernel(memory: &LinuxMemory) -> Option<i64> {
    memory.kernel()
}
