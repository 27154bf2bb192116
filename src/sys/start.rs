//! The first lines of a program, without what the standard library does before `main`: its
//! handler for stack overflows alone takes as long as parsing a command line, and a program
//! that executes itself again pays for it twice.

use std::ffi::{CStr, OsStr, OsString, c_char};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use super::Errno;

unsafe extern "C" {
    /// environ(7).
    static environ: *const *const c_char;
}

/// The arguments of this process, as the C library's `main` has them; the program's name is
/// the first. Nobody but `program!` can have them.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct Arguments(*const *const c_char);

impl Arguments {
    /// Each as it was typed.
    pub fn words(self) -> impl Iterator<Item = &'static CStr> {
        (0..).map_while(move |index| {
            // SAFETY: the vector of `main` ends in null, and map_while doesn't go on behind that.
            let word = unsafe { *self.0.add(index) };
            // SAFETY: it is a C string that stays.
            (!word.is_null()).then(|| unsafe { CStr::from_ptr(word) })
        })
    }

    /// The same, owned.
    pub fn owned(self) -> impl Iterator<Item = OsString> {
        self.words().map(|word| OsStr::from_bytes(word.to_bytes()).to_owned())
    }

    /// For a program's first line, what the standard library sees to as well: descriptors 0 to
    /// 2 are open, so that no file takes their place, and whoever writes to a closed pipe gets
    /// `EPIPE` instead of a signal. Children are there to be waited for, whatever the caller
    /// ignores: the kernel would take their status away (waitpid(2), NOTES).
    ///
    /// # Errors
    /// When a descriptor isn't open and /dev/null can't be opened for it.
    pub fn settle(self) -> io::Result<()> {
        let mut standard = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
        // SAFETY: the array holds that many; a timeout of zero doesn't wait. No handler is set.
        unsafe {
            Errno::result(libc::poll(standard.as_mut_ptr(), 3, 0))?;
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        }
        for descriptor in standard.iter().filter(|polled| polled.revents & libc::POLLNVAL != 0) {
            // SAFETY: a C string. The lowest number that is free is the one that was looked at.
            let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
            if Errno::result(opened)? != descriptor.fd {
                return Err(Errno::EBADF.into());
            }
        }
        Ok(())
    }

    /// Executes the program that a descriptor stands for with these arguments and this
    /// process's environment; returns only when that failed. See execveat(2).
    pub fn execute(self, program: BorrowedFd<'_>) -> Errno {
        // SAFETY: both vectors end in null; nobody changes the environment of a program that has
        // one thread and stands at its beginning.
        unsafe { super::process::execve_fd_with(program, self.0, environ) }
    }
}

/// Defines the `main` that the C library calls, for a program with `#![no_main]`:
/// `program!(begin: fn(Arguments))`, where `begin` gives the exit status.
///
/// `std::env::args` knows the arguments with some C libraries only.
#[macro_export]
macro_rules! program {
    ($begin:path: fn($arguments:ty)) => {
        // SAFETY: no other function of this name is linked into a program without Rust's main,
        // and the C library calls it with the argument vector, which is what Arguments are.
        #[unsafe(no_mangle)]
        extern "C" fn main(_: std::ffi::c_int, arguments: $arguments) -> std::ffi::c_int {
            std::process::exit($begin(arguments).into())
        }
    };
}
