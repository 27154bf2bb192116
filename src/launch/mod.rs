//! Carries a plan out: the runtime's steps in `runtime.rs`, one clone3, the container's
//! in `container.rs`, execve last.
//!
//! Both sides walk the same list. Where the side changes, the one that is done sends a
//! byte and the other waits for it; a plain run never changes sides after clone3 and so
//! sends nothing. What the runtime can do meanwhile ([`Plan::is_meanwhile`]), it doesn't wait
//! with. That the socket closes says that execve has succeeded.
//!
//! A container that joins namespaces has one process in between, `intermediate.rs`; one
//! that is created first and started later waits at a socket, `hand_over.rs`.

pub(crate) mod cgroup;
mod container;
mod copy_up;
mod devices;
pub(crate) mod hand_over;
mod hint;
mod home;
pub(crate) mod hook;
mod id_maps;
mod inside;
mod intermediate;
mod itself;
mod journal;
mod labels;
mod listener;
mod masks;
mod mount_hint;
mod mounts;
mod net_devices;
mod network;
mod procfs;
mod pty;
mod root;
mod runtime;
mod trees;
mod units;
mod waiting;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::CloneFlags;

pub use journal::{Entry, Journal};

use crate::cgroup::Sweeper;
use crate::error::Result;
use crate::plan::op::Op;
use crate::plan::{Plan, Side};
use crate::sys;
use crate::sys::process::{Cloned, CommandLine, PointerArray};
pub(crate) use network::Network;
use runtime::Runtime;

/// The runtime is done with its steps, go on.
const GO: u8 = b'g';
/// The container is done with its steps, go on.
const DONE: u8 = b'd';
/// Here is the master of the pty.
const CONSOLE: u8 = b'c';
/// Here is the listener of the seccomp filter.
const LISTENER: u8 = b'l';
/// All is ready but the target, which waits for `start`.
const HANDED_OVER: u8 = b'h';

/// What a process exits with when a step of its side failed; the journal says more.
const FAILED: i32 = 125;

/// A container whose target runs, or waits for `start`.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) init: Cloned,
    /// The master of the target's pty.
    pub(crate) console: Option<OwnedFd>,
    pub(crate) journal: Journal,
    /// Removes the cgroup when this process closes it or dies.
    pub(crate) sweeper: Option<Sweeper>,
}

/// What a caller lends to a launch.
#[derive(Default)]
pub(crate) struct Caller<'a> {
    /// What to make of descriptors 0, 1 and 2; `None` leaves one as it is.
    pub(crate) stdio: [Option<OwnedFd>; 3],
    pub(crate) narrator: Option<Narrator<'a>>,
    /// Whether the journal's times will be read.
    pub(crate) is_timed: bool,
    /// The process whose namespaces [`Op::JoinProcess`] joins.
    pub(crate) process: Option<BorrowedFd<'a>>,
    /// The container's state as hooks get it, of this pid and in this status.
    pub(crate) state: Option<Renderer<'a>>,
    /// Carries out [`Op::Record`].
    pub(crate) recorder: Option<Recorder<'a>>,
    /// The network namespace of [`Op::MakeNetwork`], for who has begun it before the plan.
    pub(crate) network: Option<Network>,
    /// Whether somebody wants the container gone; asked while a hook runs.
    pub(crate) is_cancelled: Option<&'a dyn Fn() -> bool>,
}

/// What the child needs besides the plan, made before clone3 since it allocates.
struct Ready<'a> {
    argv: PointerArray<'a>,
    envp: PointerArray<'a>,
    stdio: &'a [Option<OwnedFd>; 3],
    namespaces: &'a [(CloneFlags, OwnedFd)],
    process: Option<BorrowedFd<'a>>,
    /// Where an intermediate process clones into: after it has joined a mount namespace
    /// the path would lead elsewhere.
    cgroup: Option<BorrowedFd<'a>>,
    /// For the same reason, what steps that join a cgroup write to, by their number.
    tasks: &'a [(usize, OwnedFd)],
    listener: Option<BorrowedFd<'a>>,
    /// Where the network namespace comes from that the runtime makes.
    network: Option<BorrowedFd<'a>>,
    /// The state for createContainer and for startContainer hooks.
    states: Option<&'a [File; 2]>,
    /// Arguments and environment of the container's hooks, by the number of their step.
    hooks: Vec<(usize, PointerArray<'a>, PointerArray<'a>)>,
    /// The first step after the hand-over, and what to tell `start` should one fail.
    words: (usize, Vec<Vec<u8>>),
    /// Mount trees that the runtime has opened, in the order of the plan.
    trees: &'a [OwnedFd],
    /// The signals that this process ignores, of which the target must know nothing.
    ignored: u64,
    /// For init, which has this process's.
    command_line: Option<CommandLine>,
}

impl<'a> Ready<'a> {
    fn new(plan: &'a Plan, lent: &'a Lent<'a>) -> Self {
        fn pointers(strings: &[std::ffi::CString]) -> PointerArray<'_> {
            PointerArray::new(strings.iter().map(|string| string.as_c_str()))
        }
        let exec = plan.exec();
        let steps = plan.steps.iter().enumerate();
        let hooks = steps.clone().filter_map(|(index, step)| match (&step.op, step.side) {
            (Op::Hook(hook), Side::Container) => {
                Some((index, pointers(&hook.argv), pointers(&hook.envp)))
            }
            _ => None,
        });
        let after = plan.steps.iter().position(|step| matches!(step.op, Op::HandOver));
        let first = after.map_or(plan.steps.len(), |index| index + 1);
        let has_init = plan.steps.iter().any(|step| matches!(step.op, Op::Fork));
        let words = plan.steps.iter().skip(first).map(|step| hand_over::words(step, exec));
        Ready {
            argv: pointers(exec.map_or(&[], |exec| &exec.argv)),
            envp: pointers(exec.map_or(&[], |exec| &exec.envp)),
            stdio: lent.stdio,
            namespaces: lent.namespaces,
            process: lent.process,
            cgroup: lent.cgroup.map(AsFd::as_fd),
            tasks: lent.tasks,
            listener: lent.listener.map(AsFd::as_fd),
            network: lent.network.map(Network::source),
            states: lent.states,
            trees: lent.trees,
            hooks: hooks.collect(),
            words: (first, words.collect()),
            ignored: sys::signal::ignored(),
            command_line: has_init.then(|| CommandLine::find().ok()).flatten(),
        }
    }
}

/// The runtime's descriptors that the child uses.
struct Lent<'a> {
    stdio: &'a [Option<OwnedFd>; 3],
    namespaces: &'a [(CloneFlags, OwnedFd)],
    process: Option<BorrowedFd<'a>>,
    cgroup: Option<&'a OwnedFd>,
    tasks: &'a [(usize, OwnedFd)],
    listener: Option<&'a OwnedFd>,
    network: Option<&'a Network>,
    states: Option<&'a [File; 2]>,
    trees: &'a [OwnedFd],
}

/// Gives a container's state for a pid and a status.
pub(crate) type Renderer<'a> = &'a dyn Fn(i32, &str) -> String;

/// Writes down which process the container's is; the launch fails when it does.
pub(crate) type Recorder<'a> = &'a mut dyn FnMut(&Cloned) -> Result<()>;

/// Called with the list and its journal once: when the narrated steps are done, or when
/// one of them has failed.
pub(crate) type Narrator<'a> = &'a mut dyn FnMut(&Plan, &Journal);

/// Carries out the plan up to and including execve, or up to the hand-over.
///
/// # Errors
/// The step that failed, on either side. Nothing is left of the container then.
pub(crate) fn launch<'a>(plan: &'a Plan, caller: Caller<'a>) -> Result<Running> {
    let mut runtime = Runtime::new(plan, caller)?;
    match runtime.walk() {
        Ok(()) => runtime.running(),
        Err(error) => {
            runtime.abort();
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests;
