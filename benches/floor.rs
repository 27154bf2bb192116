//! The floor of every start: five namespaces, proc, a tmpfs, pivot_root, exec, wait.
//!
//! `floor ROOTFS [ARGUMENT]` runs ROOTFS/bin/true so, with nothing checked, masked or cleaned
//! up: what is left of a runtime's time above this is the runtime's own.

// The Rust runtime's start-up isn't part of the floor.
#![no_main]

use std::ffi::{CStr, c_char, c_int};
use std::io::Error;
use std::ptr::null;

const NAMESPACES: c_int = libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS;

/// # Safety
/// Called by the C library alone, with its argument vector.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    if count < 2 {
        return 2;
    }
    // SAFETY: the vector holds `count` C strings that live as long as the process, and ends
    // in null.
    let (rootfs, argument) = unsafe { (CStr::from_ptr(*arguments.add(1)), *arguments.add(2)) };
    // SAFETY: plain integers in; the child has a copy of all memory (no CLONE_VM).
    unsafe {
        let (uid, gid) = (libc::geteuid(), libc::getegid());
        let user = if uid == 0 { 0 } else { libc::CLONE_NEWUSER };
        let mut clone: libc::clone_args = std::mem::zeroed();
        clone.flags = (NAMESPACES | user) as u64;
        clone.exit_signal = libc::SIGCHLD as u64;
        let size = size_of::<libc::clone_args>();
        let pid = libc::syscall(libc::SYS_clone3, &raw mut clone, size) as c_int;
        check("clone3", pid);
        if pid == 0 {
            if user != 0 {
                map_ids(uid, gid);
            }
            enter(rootfs, argument);
        }
        let mut status = 0;
        check("waitpid", libc::waitpid(pid, &mut status, 0));
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 1 }
    }
}

fn map_ids(uid: libc::uid_t, gid: libc::gid_t) {
    let write = |file: &str, text: String| {
        check(file, std::fs::write(file, text).map_or(-1, |()| 0));
    };
    write("/proc/self/setgroups", "deny".to_owned());
    write("/proc/self/uid_map", format!("0 {uid} 1"));
    write("/proc/self/gid_map", format!("0 {gid} 1"));
}

fn enter(rootfs: &CStr, argument: *const c_char) -> ! {
    let mount = |source: &CStr, target: &CStr, kind: &CStr, flags| {
        let (source, kind) = (source.as_ptr(), kind.as_ptr());
        // SAFETY: C strings that outlive the call; data may be null.
        check("mount", unsafe { libc::mount(source, target.as_ptr(), kind, flags, null()) });
    };
    mount(c"", c"/", c"", libc::MS_REC | libc::MS_PRIVATE);
    mount(rootfs, rootfs, c"", libc::MS_BIND | libc::MS_REC);
    let (here, program) = (c".".as_ptr(), c"/bin/true".as_ptr());
    let argv = [program, argument, null()];
    // SAFETY: C strings that outlive the calls, and arrays that end in null.
    unsafe {
        check("chdir", libc::chdir(rootfs.as_ptr()));
        mount(c"proc", c"proc", c"proc", 0);
        mount(c"tmpfs", c"dev", c"tmpfs", 0);
        check("pivot_root", libc::syscall(libc::SYS_pivot_root, here, here) as c_int);
        check("umount2", libc::umount2(here, libc::MNT_DETACH));
        check("execve", libc::execve(program, argv.as_ptr(), [null()].as_ptr()));
        libc::_exit(1)
    }
}

fn check(what: &str, answer: c_int) {
    if answer == -1 {
        eprintln!("floor: {what}: {}", Error::last_os_error());
        // SAFETY: takes any integer.
        unsafe { libc::_exit(1) }
    }
}
