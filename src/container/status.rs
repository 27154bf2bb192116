//! What a container does now, by what the kernel says of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::process::Present;
use super::record::Record;
use super::state_file::StateFile;
use crate::cgroup::Tree;
use crate::error::Result;

/// What a container does (runtime-spec, "State").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is being made.
    Creating,
    /// It is ready, and waits for `start`.
    Created,
    /// Its program runs.
    Running,
    /// Its cgroup is frozen.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A container as `state` and `list` show it: the runtime-spec's state, and what runc
/// adds to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct State {
    /// Version of the runtime-spec that its config.json was written for.
    pub oci_version: String,
    /// Its name.
    pub id: String,
    /// Its first process as the host numbers it; 0 when it has ended.
    pub pid: i32,
    /// What it does.
    pub status: Status,
    /// Directory of its bundle.
    pub bundle: PathBuf,
    /// Its root filesystem on the host.
    pub rootfs: PathBuf,
    /// When it was created (RFC 3339).
    pub created: String,
    /// From its config.json.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The user who created it.
    pub owner: String,
}

/// A container's status, and its first process unless that has ended.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) status: Status,
    pub(super) init: Option<Present>,
}

impl Look {
    /// Looks at a container.
    ///
    /// # Errors
    /// Those of pidfd_open(2), and of reading its cgroup.
    pub(super) fn at(file: &StateFile, record: &Record) -> Result<Look> {
        let init = record.running()?;
        // Until it is started, it is a copy of the minirun that created it. That an init
        // stays; there the socket tells, which `start` removes.
        let executed = match record.has_init() {
            true => record.is_created && !file.waits_for_start(),
            false => init.as_ref().is_some_and(Present::has_executed),
        };
        let status = match &init {
            _ if !record.is_created && !executed && (init.is_some() || file.is_locked()) => {
                Status::Creating
            }
            None => Status::Stopped,
            Some(_) if Tree::new(&record.cgroup).is_frozen() => Status::Paused,
            Some(_) if executed => Status::Running,
            Some(_) => Status::Created,
        };
        Ok(Look { status, init })
    }
}

/// A container's state.
///
/// # Errors
/// As [`Look::at`].
pub(super) fn state(file: &StateFile, record: Record) -> Result<State> {
    let look = Look::at(file, &record)?;
    Ok(state_of(file, record, look.status))
}

/// A container's state when its status is known.
pub(super) fn state_of(file: &StateFile, record: Record, status: Status) -> State {
    let pid = record.init.filter(|_| status != Status::Stopped).map_or(0, |init| init.pid);
    State {
        oci_version: record.oci_version,
        id: record.id,
        pid,
        status,
        bundle: record.bundle,
        rootfs: record.rootfs,
        created: record.created,
        annotations: record.annotations,
        owner: file.owner(),
    }
}
