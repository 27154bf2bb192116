//! Containers that outlive the minirun that made them: state on disk, and the verbs of
//! an OCI runtime on it.
//!
//! A container is described once, by [`fn@create`]; every other verb finds it by its id in a
//! [`Store`], looks at what the kernel says of its first process and its cgroup, and acts
//! on those. No verb but `create` and `exec` makes a plan.

mod audit;
mod control;
mod create;
mod events;
mod exec;
mod lifecycle;
mod meter;
mod namespaces;
mod picture;
mod pid_file;
mod process;
mod record;
mod state_file;
mod status;
mod store;

pub use audit::audit;
pub use control::{pause, ps, resume, update};
pub use create::{Announce, Ended, Request, create, run, run_detached};
pub use events::{events, stats};
pub use exec::{Exec, exec, exec_detached};
pub use lifecycle::{delete, kill, list, start, state};
pub use meter::Meter;
pub use namespaces::{namespaces, picture};
pub use picture::{
    Cgroup, Group, IdRange, Mount, Namespace, Overview, Picture, Privileges, Process,
};
pub use pid_file::PidFile;
pub use status::{State, Status};
pub use store::Store;

pub use crate::cgroup::{Pressure, Usage};
