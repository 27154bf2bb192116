//! PID 1 of a container: looks after the target and everybody it leaves behind.
//!
//! The kernel gives PID 1 of a pid namespace two duties (pid_namespaces(7)): orphans
//! become its children and stay zombies until it waits for them, and signals without
//! a handler don't reach it. So this one takes every signal that is sent to it, passes
//! it on to the target, reaps whoever ends, and ends itself when the target does;
//! the kernel then kills all that is left.
//!
//! It runs in a copy of the process that cloned the container: nothing here allocates.

use nix::unistd::Pid;

use crate::launch::Journal;
use crate::sys;
use crate::sys::process::CommandLine;

/// What `ps` shows for PID 1.
const NAME: &std::ffi::CStr = c"minirun-init";

/// Looks like init from here on, before there is anybody to look.
pub(crate) fn take_name(own: Option<CommandLine>) {
    let _ = nix::sys::prctl::set_name(NAME);
    // The caller's command line names host paths, and /proc/1/cmdline is for everybody.
    if let Some(own) = own {
        own.overwrite(NAME);
    }
}

/// Becomes init for `target`, this process's child; all signals must be blocked,
/// so that none was missed and none is lost.
pub(crate) fn run(target: Pid, journal: &Journal) -> ! {
    // Pipes and terminals belong to the target alone: a reader must see end-of-file
    // when the target closes its end, and the runtime must see that execve succeeded.
    sys::descriptors::exit_without_descriptors(|| {
        loop {
            // SIGCHLD tells of the end of children; for the rest init is a relay.
            match sys::signal::wait_for_any() {
                libc::SIGCHLD => {
                    if let Some(status) = reap(target, journal) {
                        journal.target_ended(status);
                        return exit_code(status);
                    }
                }
                signal => drop(sys::signal::kill(target.as_raw(), signal)),
            }
        }
    })
}

/// Reaps everybody who has ended; gives the target's raw wait status if it was among them.
fn reap(target: Pid, journal: &Journal) -> Option<i32> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = sys::process::reap_any() {
        journal.reaped_one();
        if pid == target {
            ended = Some(status);
        }
    }
    ended
}

/// The exit status that stands for a raw wait status: the target's own, or 128+N.
pub(crate) fn exit_code(status: i32) -> i32 {
    if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

#[cfg(test)]
mod tests {
    use super::exit_code;

    #[test]
    fn exit_codes_follow_the_shell() {
        assert_eq!(exit_code(0), 0);
        assert_eq!(exit_code(7 << 8), 7);
        assert_eq!(exit_code(libc::SIGKILL), 137);
        assert_eq!(exit_code(libc::SIGSEGV | 0x80), 139, "the core flag is not the signal");
    }
}
