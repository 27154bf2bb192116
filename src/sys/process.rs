//! Processes: clone3, fork, execve, wait, exit and pidfds.

use std::cell::Cell;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use nix::sched::CloneFlags;
use nix::sys::resource::Resource;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{Errno, Result, syscall};

/// `CLONE_INTO_CGROUP` of linux/sched.h, which doesn't fit libc's type for it.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// A child made by [`clone3`]: its pid in the caller's pid namespace, and a
/// pidfd, which can't come to mean another process when the pid is reused.
#[derive(Debug)]
pub struct Cloned {
    pub pid: Pid,
    pub pidfd: OwnedFd,
}

/// Clones this process into new `namespaces` and runs `child` there.
///
/// Memory is copied, not shared (no `CLONE_VM`). The child starts with a copy
/// of the calling thread alone, so a lock that another thread holds stays
/// locked for ever in it: `child` must neither allocate nor take a lock.
/// What it returns becomes the exit status of the process.
///
/// `cgroup` is a cgroup v2 directory to be born in (`CLONE_INTO_CGROUP`).
/// The raw call is used on purpose: the C library's `fork` runs at-fork
/// handlers and takes the allocator's locks. See clone(2).
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN or a new user namespace, `ENOSPC` when a
/// limit on namespaces is reached, `EAGAIN` or `EBUSY` from process and cgroup limits.
pub fn clone3(
    namespaces: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    child: &mut dyn FnMut() -> i32,
) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = clone_args(libc::SIGCHLD);
    args.flags = namespaces.bits() as u32 as u64 | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    let Some(pid) = raw_clone3(&mut args)? else {
        exit(child());
    };
    // SAFETY: clone3 stored a new descriptor in `pidfd`, and nobody else owns it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned { pid, pidfd })
}

/// As [`clone3`], but the new process becomes a child of this process's parent
/// (`CLONE_PARENT`); gives its pid in this process's pid namespace.
///
/// # Errors
/// As [`clone3`].
pub fn clone3_sibling(
    namespaces: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    child: &mut dyn FnMut() -> i32,
) -> Result<Pid> {
    // The signal at its end is that of this process; another one may not be asked for.
    let mut args = clone_args(0);
    args.flags = namespaces.bits() as u32 as u64 | libc::CLONE_PARENT as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    match raw_clone3(&mut args)? {
        Some(pid) => Ok(pid),
        None => exit(child()),
    }
}

/// A pidfd for a process (pidfd_open(2)).
///
/// # Errors
/// `ESRCH` when there is no such process, `EINVAL` when `pid` is a thread's.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: integers only; on success the descriptor is new and nobody else owns it.
    unsafe {
        let fd = syscall(libc::SYS_pidfd_open, [pid.as_raw() as u64, 0, 0, 0, 0, 0])?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Forks; `None` in the child, the child's pid in the parent.
///
/// The same rule holds as for [`clone3`]: the child neither allocates nor locks.
/// `exit_signal` is sent to the parent when the child ends; without one the
/// child is waited for with [`wait_silent`] only.
///
/// # Errors
/// `EAGAIN` when a limit on processes is reached (RLIMIT_NPROC, pids.max).
pub fn fork(exit_signal: Option<Signal>) -> Result<Option<Pid>> {
    raw_clone(exit_signal.map_or(0, |signal| signal as i32))
}

/// As [`fork`] without an exit signal, but both processes have one table of descriptors
/// (`CLONE_FILES`) until one of them executes a program.
///
/// # Errors
/// As [`fork`].
pub fn fork_sharing_descriptors() -> Result<Option<Pid>> {
    raw_clone(libc::CLONE_FILES)
}

/// Runs `child` in a new process that shares this one's memory, but nothing else, and waits
/// until it has executed a program or ended: vfork(2), with a stack of the child's own.
///
/// Copying the memory of a process that will only execute a program costs more than all that
/// it does before. A signal that isn't SIGKILL waits as well. The stack stays mapped for the
/// next time: taking it away would interrupt the processor that the child ran on.
///
/// # Errors
/// `EAGAIN` when a limit on processes is reached, `ENOMEM` without memory for the stack.
pub fn vfork(child: &mut dyn FnMut() -> i32) -> Result<Pid> {
    extern "C" fn call(child: *mut libc::c_void) -> i32 {
        // SAFETY: the pointer that is given below, in the only process that runs meanwhile.
        let child = unsafe { &mut *child.cast::<&mut dyn FnMut() -> i32>() };
        child()
    }
    /// For the paths that are put together on it; touched only as far as it is used.
    const STACK: usize = 256 * 1024;
    /// One that nobody uses just now.
    static SPARE: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());
    let mut child = child;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: a mapping which the child alone uses, from its aligned upper end on. `child`
    // lives in this frame, which can't be left while the other process shares it; that one
    // doesn't return from `call`, after which the C library ends it.
    unsafe {
        let mut stack = SPARE.swap(std::ptr::null_mut(), Ordering::Acquire);
        if stack.is_null() {
            stack = libc::mmap(std::ptr::null_mut(), STACK, protection, kind, -1, 0);
        }
        if stack == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let pid = libc::clone(call, stack.byte_add(STACK), flags, (&raw mut child).cast());
        let pid = Errno::result(pid).map(Pid::from_raw);
        let none = std::ptr::null_mut();
        if SPARE.compare_exchange(none, stack, Ordering::Release, Ordering::Relaxed).is_err() {
            // Another thread has put its own there.
            libc::munmap(stack, STACK);
        }
        pid
    }
}

fn clone_args(exit_signal: i32) -> libc::clone_args {
    // SAFETY: clone_args is plain integers, for which all zeroes is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = exit_signal as u64;
    args
}

fn raw_clone3(args: &mut libc::clone_args) -> Result<Option<Pid>> {
    let size = size_of::<libc::clone_args>();
    // SAFETY: `args` is valid for its size, the flags that callers can set hold no
    // CLONE_VM, so the child has its own copy of the stack it returns on.
    let pid = unsafe {
        syscall(libc::SYS_clone3, [(args as *mut libc::clone_args) as u64, size as u64, 0, 0, 0, 0])
    }?;
    Ok((pid != 0).then(|| Pid::from_raw(pid as i32)))
}

/// clone(2), since seccomp profiles of engines permit no clone3 to look into its arguments.
/// Its flags come first on every machine but s390, and no stack means the caller's own.
fn raw_clone(flags: i32) -> Result<Option<Pid>> {
    // SAFETY: integers only; the flags that callers here set hold no CLONE_VM, so the child
    // has its own copy of the stack it returns on.
    let pid = unsafe { syscall(libc::SYS_clone, [flags as u64, 0, 0, 0, 0, 0]) }?;
    Ok((pid != 0).then(|| Pid::from_raw(pid as i32)))
}

/// Ends the process at once: no destructors, no at-exit handlers (see _exit(2)).
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit takes any integer and doesn't return.
    unsafe { libc::_exit(status) }
}

/// A list of strings in the shape that execve(2) wants: pointers, then null; with room for
/// one more.
///
/// Made before `clone3`, because it allocates.
#[derive(Debug)]
pub struct PointerArray<'a> {
    pointers: Vec<Cell<*const libc::c_char>>,
    strings: std::marker::PhantomData<&'a CStr>,
}

impl<'a> PointerArray<'a> {
    /// Collects the strings' addresses; the strings stay borrowed.
    pub fn new(strings: impl Iterator<Item = &'a CStr>) -> Self {
        let nulls = [std::ptr::null(); 2];
        let pointers = strings.map(CStr::as_ptr).chain(nulls).map(Cell::new);
        PointerArray { pointers: pointers.collect(), strings: std::marker::PhantomData }
    }

    fn as_ptr(&self) -> *const *const libc::c_char {
        // A Cell is laid out as what it holds.
        self.pointers.as_ptr().cast()
    }

    /// Calls `f` while `extra` is the last of the strings.
    fn with<T>(&self, extra: Option<&CStr>, f: impl FnOnce() -> T) -> T {
        let room = self.pointers.len().checked_sub(2).and_then(|last| self.pointers.get(last));
        let set = |pointer| room.inspect(|room| room.set(pointer));
        set(extra.map_or(std::ptr::null(), CStr::as_ptr));
        let answer = f();
        set(std::ptr::null());
        answer
    }
}

/// Replaces the program of this process, whose environment is `envp` and one `more`;
/// returns only when that failed.
///
/// # Errors
/// See execve(2): `ENOENT` no such file or interpreter, `EACCES` not executable,
/// `ENOEXEC` not a program format, and others.
pub fn execve(
    path: &CStr,
    argv: &PointerArray<'_>,
    envp: &PointerArray<'_>,
    more: Option<&CStr>,
) -> Errno {
    envp.with(more, || {
        // SAFETY: both arrays end in null and their strings live as long as the borrow.
        unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
        Errno::last()
    })
}

/// Replaces the program of this process by the file behind `fd` (execveat(2)); returns
/// only when that failed.
pub fn execve_fd(fd: BorrowedFd<'_>, argv: &PointerArray<'_>, envp: &PointerArray<'_>) -> Errno {
    // SAFETY: both arrays end in null, and their strings live as long as the borrow.
    unsafe { execve_fd_with(fd, argv.as_ptr(), envp.as_ptr()) }
}

/// The same for vectors that aren't Rust's.
///
/// # Safety
/// Both are vectors of C strings that end in null.
pub(super) unsafe fn execve_fd_with(
    fd: BorrowedFd<'_>,
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
) -> Errno {
    let (fd, flags) = (fd.as_raw_fd() as u64, libc::AT_EMPTY_PATH as u64);
    let (path, argv, envp) = (c"".as_ptr() as u64, argv as u64, envp as u64);
    // SAFETY: the path is the empty C string, and the caller vouches for the vectors.
    let answer = unsafe { syscall(libc::SYS_execveat, [fd, path, argv, envp, flags, 0]) };
    answer.err().unwrap_or(Errno::EIO)
}

/// Sends `signal` to the process behind a pidfd (pidfd_send_signal(2)).
///
/// # Errors
/// `ESRCH` when the process has ended, `EPERM` when it belongs to somebody else.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: the third argument may be null; the call then makes up the siginfo itself.
    unsafe {
        syscall(libc::SYS_pidfd_send_signal, [pidfd.as_raw_fd() as u64, signal as u64, 0, 0, 0, 0])
    }?;
    Ok(())
}

/// What a process and the children that it waited for have used (getrusage(2)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time spent in user mode.
    pub user: Duration,
    /// Time spent in the kernel.
    pub system: Duration,
    /// The largest resident set of any one of the processes, in bytes.
    pub max_resident: u64,
}

/// Waits for a child; gives its raw wait status (see wait(2)) and its usage.
///
/// With `block` false, `None` says that the child hasn't ended yet.
///
/// # Errors
/// `ECHILD` when there is no such child, or when somebody else reaped it.
pub fn wait4(pid: Pid, block: bool) -> Result<Option<(i32, Usage)>> {
    let mut status = 0;
    // SAFETY: rusage is plain integers, for which all zeroes is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let flags = if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: both pointers are to live locals of the right type.
        let answer = unsafe { libc::wait4(pid.as_raw(), &mut status, flags, &mut usage) };
        match Errno::result(answer) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
        }
    }
    let time = |t: libc::timeval| {
        Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64)
    };
    let usage = Usage {
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        max_resident: usage.ru_maxrss as u64 * 1024,
    };
    Ok(Some((status, usage)))
}

/// Waits for a child that was forked without an exit signal.
///
/// # Errors
/// `ECHILD` when there is no such child.
pub fn wait_silent(pid: Pid) -> Result<()> {
    // SAFETY: a null status pointer is allowed; __WALL also finds children without a signal.
    let wait = || unsafe { libc::waitpid(pid.as_raw(), std::ptr::null_mut(), libc::__WALL) };
    loop {
        match Errno::result(wait()) {
            Err(Errno::EINTR) => continue,
            answer => return answer.map(drop),
        }
    }
}

/// Reaps any child that has ended: its pid and raw wait status, or `None` when
/// none has ended.
///
/// # Errors
/// `ECHILD` when there are no children at all.
pub fn reap_any() -> Result<Option<(Pid, i32)>> {
    let mut status = 0;
    // SAFETY: the status pointer is to a live local.
    let pid =
        Errno::result(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) })?;
    Ok((pid != 0).then_some((Pid::from_raw(pid), status)))
}

/// Makes sure that the working directory can be reached from the root directory
/// (getcwd(2)), which one on the other side of a pivot_root can't.
///
/// # Errors
/// `ENOENT` when it can't, or when it has been removed.
pub fn check_working_directory() -> Result<()> {
    let mut path = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most as many bytes as the buffer has.
    unsafe {
        syscall(libc::SYS_getcwd, [path.as_mut_ptr() as u64, path.len() as u64, 0, 0, 0, 0])
    }?;
    // The kernel puts "(unreachable)" before the path of such a directory.
    if path[0] == b'/' { Ok(()) } else { Err(Errno::ENOENT) }
}

/// Sets a resource limit of another process (prlimit(2)).
///
/// # Errors
/// `EPERM` without CAP_SYS_RESOURCE, `ESRCH` when the process has ended.
pub fn prlimit(pid: Pid, resource: Resource, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the new limit lives during the call; the old one isn't asked for.
    unsafe {
        syscall(
            libc::SYS_prlimit64,
            [pid.as_raw() as u64, resource as u64, (&raw const limit) as u64, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Removes an empty directory, or a cgroup without processes (rmdir(2)).
///
/// # Errors
/// `EBUSY` when a cgroup still has processes, `ENOENT` when it is gone already.
pub fn rmdir(path: &CStr) -> Result<()> {
    // SAFETY: the path is a C string that outlives the call.
    Errno::result(unsafe { libc::rmdir(path.as_ptr()) }).map(drop)
}

/// Where this process's arguments and environment lie, which the kernel shows as
/// /proc/PID/cmdline and /proc/PID/environ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandLine([usize; 4]);

impl CommandLine {
    /// Asks the kernel for them (proc(5), `arg_start` to `env_end` of /proc/PID/stat), by the
    /// /proc of the host: in a container it could be anybody's file.
    ///
    /// # Errors
    /// Those of open(2) and read(2) on /proc/self/stat; `EINVAL` when it isn't understood.
    pub fn find() -> Result<Self> {
        let mut buffer = [0; 1024];
        let stat = super::file::read_start(c"/proc/self/stat", &mut buffer)?;
        let area = argument_area(stat)
            .filter(|[start, end, env_start, env_end]| start <= end && env_start <= env_end);
        area.map(CommandLine).ok_or(Errno::EINVAL)
    }

    /// Overwrites the arguments with `name`, and the environment with nothing, in a cloned
    /// process that won't look at either again.
    pub fn overwrite(self, name: &CStr) {
        let [start, end, env_start, env_end] = self.0;
        let name = name.to_bytes_with_nul();
        // SAFETY: the kernel put arguments and environment into these areas of the writable
        // stack, and no reference to them lives: this process is a copy that carries steps out,
        // runs init's loop, and looks at neither.
        unsafe {
            std::ptr::write_bytes(start as *mut u8, 0, end - start);
            std::ptr::copy_nonoverlapping(
                name.as_ptr(),
                start as *mut u8,
                name.len().min(end - start),
            );
            std::ptr::write_bytes(env_start as *mut u8, 0, env_end - env_start);
        }
    }
}

/// Fields 48 to 51 of /proc/PID/stat; the second field, the name, may hold anything
/// but ends at the last parenthesis.
fn argument_area(stat: &[u8]) -> Option<[usize; 4]> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat.get(name_end + 2..)?.split(|byte| *byte == b' ').skip(45);
    let mut address = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    Some([address()?, address()?, address()?, address()?])
}

#[cfg(test)]
mod tests {
    use super::argument_area;

    #[test]
    fn the_argument_area_is_found_behind_any_name() {
        let numbers: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let stat = format!("1 (a) b) (c) S {}", numbers.join(" "));
        assert_eq!(argument_area(stat.as_bytes()), Some([48, 49, 50, 51]));
        assert_eq!(argument_area(b"1 (x"), None);
        assert_eq!(argument_area(b""), None);
    }
}
