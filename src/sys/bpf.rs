//! Loading a BPF program and attaching it to a cgroup (bpf(2)).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{Errno, Result, syscall};

/// Commands of bpf(2), `enum bpf_cmd`.
const PROG_LOAD: u64 = 5;
const PROG_ATTACH: u64 = 8;
const PROG_DETACH: u64 = 9;
const PROG_GET_FD_BY_ID: u64 = 13;
const PROG_QUERY: u64 = 16;

/// `BPF_PROG_TYPE_CGROUP_DEVICE` and the hook that such programs are for.
const CGROUP_DEVICE: u32 = 15;
const DEVICE_HOOK: u32 = 6;
/// `BPF_F_ALLOW_MULTI`: programs of parents and children all have to agree.
const ALLOW_MULTI: u32 = 2;
/// `BPF_F_REPLACE`.
const REPLACE: u32 = 4;

/// The part of `union bpf_attr` that PROG_LOAD reads, up to `expected_attach_type`.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

/// The part that PROG_ATTACH and PROG_DETACH read.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replaced: u32,
}

/// The part that PROG_QUERY reads and fills.
#[repr(C)]
#[derive(Default)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// The part that PROG_GET_FD_BY_ID reads.
#[repr(C)]
#[derive(Default)]
struct GetById {
    id: u32,
    next: u32,
    flags: u32,
}

/// How many programs of others may be attached to one cgroup (`BPF_CGROUP_MAX_PROGS`).
const MOST: usize = 64;

/// Attaches a device filter to a cgroup v2 directory. One that is there already is
/// replaced in one step, so that there is no moment without a filter.
///
/// # Errors
/// `EPERM` without CAP_BPF or CAP_SYS_ADMIN, `EINVAL` when the kernel was built without
/// CONFIG_CGROUP_BPF or its verifier refuses the program.
pub fn replace_device_filter(cgroup: BorrowedFd<'_>, instructions: &[u64]) -> Result<()> {
    let program = load(instructions)?;
    let former = attached(cgroup)?;
    // Nobody else attaches one here, unless they mean to restrict the container further;
    // theirs would be the later one.
    let replaced = former.first().map(|id| by_id(*id)).transpose()?;
    let mut attach = Attach {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        attach_type: DEVICE_HOOK,
        flags: ALLOW_MULTI | if replaced.is_some() { REPLACE } else { 0 },
        replaced: replaced.as_ref().map_or(0, |fd| fd.as_raw_fd().cast_unsigned()),
    };
    match bpf(PROG_ATTACH, &mut attach) {
        // Attached without ALLOW_MULTI, a program can't be replaced by one with it.
        Err(Errno::EINVAL | Errno::EPERM) if replaced.is_some() => {
            attach.flags = ALLOW_MULTI;
            attach.replaced = 0;
            let mut detach = Attach {
                target: attach.target,
                program: replaced.as_ref().map_or(0, |fd| fd.as_raw_fd().cast_unsigned()),
                attach_type: DEVICE_HOOK,
                ..Attach::default()
            };
            bpf(PROG_DETACH, &mut detach)?;
            bpf(PROG_ATTACH, &mut attach).map(drop)
        }
        answer => answer.map(drop),
    }
}

fn load(instructions: &[u64]) -> Result<OwnedFd> {
    let mut load = Load {
        program_type: CGROUP_DEVICE,
        count: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
        instructions: instructions.as_ptr() as u64,
        license: c"".as_ptr() as u64,
        attach_type: DEVICE_HOOK,
        ..Load::default()
    };
    let fd = bpf(PROG_LOAD, &mut load)?;
    // SAFETY: PROG_LOAD answered with a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>> {
    let mut ids = [0u32; MOST];
    let mut query = Query {
        target: cgroup.as_raw_fd().cast_unsigned(),
        attach_type: DEVICE_HOOK,
        ids: (&raw mut ids) as u64,
        count: MOST as u32,
        ..Query::default()
    };
    bpf(PROG_QUERY, &mut query)?;
    Ok(ids.iter().take(query.count as usize).copied().collect())
}

fn by_id(id: u32) -> Result<OwnedFd> {
    let fd = bpf(PROG_GET_FD_BY_ID, &mut GetById { id, ..GetById::default() })?;
    // SAFETY: the kernel answered with a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn bpf<T>(command: u64, attributes: &mut T) -> Result<libc::c_long> {
    let address = std::ptr::from_mut(attributes) as u64;
    // SAFETY: `attributes` is one of the structures above, valid for its size, and what
    // it points to is borrowed by its maker until after this call.
    unsafe { syscall(libc::SYS_bpf, [command, address, size_of::<T>() as u64, 0, 0, 0]) }
}
