//! minirun, a minimal container runtime: a directory and a command become a container.
//!
//! # The one idea
//! A container is a plan: a flat list of typed [steps](plan::Step). [`plan`] makes it
//! from a specification as a pure function; the launch carries it out, one `clone3` in
//! the middle and `execve` at the end; `minirun plan` prints it, `--explain` narrates
//! it, `--trace` times it, and an error names a step of it.
//!
//! # The map
//! - [`Container`] and [`Command`]: the library's face, all that the CLI uses.
//! - `oci`: the defaults of a container in terms of the runtime-spec.
//! - [`plan`]: from a specification to steps.
//! - `seccomp`: from a profile to a program for the kernel.
//! - `launch`: from steps to a running process.
//! - `init`: PID 1 of the container.
//! - `attach`: signals, terminal and clock while a container runs; [`background`]: without one.
//! - `proc`: what the kernel says of a process.
//! - `cgroup`: what was counted, and cleaning up.
//! - [`container`]: state on disk, and the verbs of an OCI runtime on it.
//! - `trace`: narration, timeline, report.
//! - `audit`: what a container's process can and can't do, judged.
//! - [`host`]: the facts about this machine.
//! - [`protection`]: of the runtime's own binary.
//! - [`similar`]: the word that was meant.
//! - [`mod@test`]: a Rust test's body in a container.
//! - `sys`: the only room with `unsafe`.
//!
//! # What it doesn't do
//! It pulls no images, sets up no network but `lo`, and keeps no daemon.
//!
//! ```
//! use std::time::Duration;
//! use minirun::Container;
//!
//! let mut command = Container::new("rootfs").read_only(true).command("/bin/sh");
//! command.args(["-c", "exit 3"]).timeout(Duration::from_secs(10));
//! let mut child = command.spawn()?;
//! assert_eq!(child.wait()?.exit_code(), 3);
//! println!("{:#}", child.report().unwrap().to_json());
//! # Ok::<(), minirun::Error>(())
//! ```

#![warn(missing_docs)]
#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]

mod attach;
mod audit;
pub mod background;
mod cgroup;
#[cfg(test)]
#[path = "../tests/support/chance.rs"]
mod chance;
mod command;
pub mod container;
mod error;
pub mod host;
mod init;
pub mod json;
mod launch;
mod oci;
pub mod plan;
mod proc;
pub mod protection;
mod seccomp;
pub mod similar;
#[allow(unsafe_code)]
mod sys;
mod systemd;
pub mod test;
mod trace;

pub use attach::Signals;
pub use audit::{Audit, Finding, Grade};
pub use command::{
    Bundle, Child, Command, Container, ExitStatus, Network, Output, Seccomp, Stdio, UserNamespace,
};
pub use error::{Error, Result};
pub use launch::{Entry, Journal};
pub use oci::features::NEWEST_VERSION as SPEC_VERSION;
pub use oci_spec::runtime::{Capability, PosixRlimitType, Spec};
pub use sys::arena::Arena;
#[cfg(all(target_arch = "x86_64", target_env = "musl"))]
#[doc(hidden)]
pub use sys::copy::copy;
pub use sys::start::Arguments;
pub use trace::Report;

/// What of the runtime-spec is carried out, in the form of its "Features Structure".
pub fn features() -> serde_json::Value {
    oci::features::render(&plan::mount_option_names())
}

/// The size of the terminal behind a descriptor; `None` when it is no terminal.
pub fn terminal_size(fd: &impl std::os::fd::AsFd) -> Option<plan::op::TerminalSize> {
    let size = sys::terminal::window_size(fd.as_fd()).ok()?;
    Some(plan::op::TerminalSize { rows: size.rows, columns: size.columns })
}
