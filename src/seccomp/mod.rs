//! The `linux.seccomp` of a config.json as a BPF program for the kernel (seccomp(2)).
//!
//! [`compile`] is a pure function: it makes no system call and asks nothing of the machine
//! but what [`Machine`] says. Installing the program is a step of a plan.
//!
//! # What a profile means
//! The runtime-spec gives the fields; how rules meet is what libseccomp, and with it every
//! other runtime, makes of them:
//! - A rule with the default action says nothing and is left out.
//! - Conditions of one rule must all hold, unless two of them are about the same argument:
//!   then each is a rule of its own.
//! - Of several rules for a system call, the first one without conditions counts alone.
//!   Otherwise the first that applies counts, in the order of `profile::precedence`.
//! - A name that no ABI here knows is left out, and so are foreign architectures. Calls
//!   through an ABI of this machine that the profile doesn't list kill the thread.
//! - A system call newer than all that the profile names gets ENOSYS, not the default errno:
//!   a C library takes that for an old kernel and falls back, while EPERM breaks it. (The
//!   authors of the profile couldn't have meant to refuse what didn't exist.)

mod abi;
mod bpf;
mod compiler;
mod default;
mod engines;
mod profile;
mod ready;
mod tables;

use std::fmt;
use std::path::PathBuf;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag};

pub use abi::Machine;
pub(crate) use bpf::Program;
pub(crate) use default::{default_filter, default_profile};
pub(crate) use engines::{Container, resolve};
pub(crate) use profile::always_permits;

/// A program that is ready to be installed, and what it does in figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// What the kernel runs at every system call.
    pub(crate) program: Program,
    /// For seccomp(2).
    pub(crate) flags: u64,
    /// How many system calls of the machine's own ABI always run.
    pub(crate) allowed: usize,
    /// How many others the profile has a rule for.
    pub(crate) restricted: usize,
    /// Whether clock_gettime is among those that always run.
    pub(crate) permits_clock: bool,
    /// `SECCOMP_RET_*` for what the profile doesn't name.
    pub(crate) default: u32,
}

/// Who decides about the system calls that a profile leaves to be notified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The socket that gets the descriptor of the notifications.
    pub path: PathBuf,
    /// What goes with it, of the profile's own.
    pub metadata: Option<String>,
}

/// The listener of a profile that notifies; others ignore its path (runtime-spec, "Seccomp").
pub(crate) fn listener(profile: &LinuxSeccomp) -> Option<Listener> {
    profile::notifying(profile)?;
    let path = profile.listener_path().clone()?;
    Some(Listener { path, metadata: profile.listener_metadata().clone() })
}

/// What can't be carried out of a profile.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The path of the field, in the config.json or in the file of a profile.
    pub(crate) path: String,
    pub(crate) reason: String,
}

impl Refusal {
    fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Refusal { path: path.into(), reason: reason.into() }
    }
}

/// Turns a profile into a program for a machine.
///
/// # Errors
/// The field that can't be carried out.
pub(crate) fn compile(profile: &LinuxSeccomp, machine: Option<Machine>) -> Result<Filter, Refusal> {
    let Some(machine) = machine else {
        let reason = "this build knows the system calls of x86_64, aarch64 and riscv64 only";
        return Err(Refusal::new("linux.seccomp", reason));
    };
    let rules = profile::read(profile)?;
    let filter = compiler::compile(&rules, machine)?;
    Ok(Filter { flags: flags(profile), ..filter })
}

/// The flags for seccomp(2).
///
/// Without any the speculation mitigation stays off, as with other runtimes. A container's
/// process has one thread, so TSYNC has nothing to do; and without notifications nobody
/// waits for their answer, which is all that WAIT_KILLABLE_RECV is about (the kernel would
/// refuse it then).
fn flags(profile: &LinuxSeccomp) -> u64 {
    let Some(flags) = profile.flags() else {
        return libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    };
    let notifies = profile::notifying(profile).is_some();
    flags.iter().fold(0, |flags, flag| {
        flags
            | match flag {
                LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
                LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => {
                    libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW
                }
                LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if notifies => {
                    libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
                }
                LinuxSeccompFilterFlag::SeccompFilterFlagTsync
                | LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
            }
    })
}

/// `312 system calls allowed, default ERRNO(1), 299 instructions`.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if profile::permits(self.default) {
            write!(f, "{} system calls restricted", self.restricted)?;
        } else {
            write!(f, "{} system calls allowed", self.allowed)?;
        }
        let default = profile::action_words(self.default);
        write!(f, ", default {default}, {} instructions", self.program.len())
    }
}

#[cfg(test)]
mod tests;
