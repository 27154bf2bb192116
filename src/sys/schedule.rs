//! How the kernel treats a process beside others: scheduler, I/O, memory, personality.

use super::{Result, syscall};

/// The arguments of sched_setattr(2), as linux/sched/types.h lays them out.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub util_min: u32,
    pub util_max: u32,
}

/// Sets this thread's scheduling policy and its attributes (sched_setattr(2)); `size` is
/// filled in.
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE, `EINVAL` for values out of range, `EBUSY` when the
/// processors have no time left to promise.
pub fn sched_setattr(attributes: SchedAttr) -> Result<()> {
    let attributes = SchedAttr { size: size_of::<SchedAttr>() as u32, ..attributes };
    // SAFETY: the structure is as long as its first field says, and lives during the call.
    unsafe { syscall(libc::SYS_sched_setattr, [0, (&raw const attributes) as u64, 0, 0, 0, 0]) }
        .map(drop)
}

/// Sets this process's I/O priority, which its children get too (ioprio_set(2)).
///
/// # Errors
/// `EPERM` for the real-time class without CAP_SYS_NICE, `EINVAL` for a bad value.
pub fn ioprio_set(class: u8, priority: u8) -> Result<()> {
    const WHO_PROCESS: u64 = 1;
    let value = u64::from(class) << 13 | u64::from(priority);
    // SAFETY: integers only.
    unsafe { syscall(libc::SYS_ioprio_set, [WHO_PROCESS, 0, value, 0, 0, 0]) }.map(drop)
}

/// Sets this thread's NUMA memory policy (set_mempolicy(2)); `nodes` are bits.
///
/// # Errors
/// `EINVAL` when the mode, its flags and the nodes don't fit or a node isn't there.
pub fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel takes one bit less than it is told.
    let (mask, bits) = match nodes {
        [] => (0, 0),
        nodes => (nodes.as_ptr() as u64, nodes.len() as u64 * 64 + 1),
    };
    // SAFETY: the mask is null with no bits, or as long as the slice that it comes from.
    unsafe { syscall(libc::SYS_set_mempolicy, [u64::from(mode), mask, bits, 0, 0, 0]) }.map(drop)
}

/// Chooses the processors that this thread may run on, a bit each (sched_setaffinity(2)).
///
/// # Errors
/// `EINVAL` when none of them is there or in the cpuset of this process's cgroup.
pub fn sched_setaffinity(cpus: &[u64]) -> Result<()> {
    let bytes = size_of_val(cpus) as u64;
    // SAFETY: the mask is as long as the slice that it comes from.
    unsafe { syscall(libc::SYS_sched_setaffinity, [0, bytes, cpus.as_ptr() as u64, 0, 0, 0]) }
        .map(drop)
}

/// Sets this process's execution domain (personality(2)): Linux, or Linux as a 32-bit
/// machine would show it.
///
/// # Errors
/// `EINVAL` when the kernel refuses the change.
pub fn personality(linux32: bool) -> Result<()> {
    const PER_LINUX: u64 = 0;
    const PER_LINUX32: u64 = 8;
    let domain = if linux32 { PER_LINUX32 } else { PER_LINUX };
    // SAFETY: integers only.
    unsafe { syscall(libc::SYS_personality, [domain, 0, 0, 0, 0, 0]) }.map(drop)
}
