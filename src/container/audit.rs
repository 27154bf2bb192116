//! What the processes of a running container can and can't do.

use super::lifecycle::not_running;
use super::status::{Look, Status};
use super::store::Store;
use crate::audit::{self, Audit};
use crate::error::Result;
use crate::host::Host;
use crate::oci;

/// Judges a running container by what the kernel says of its program's process.
///
/// # Errors
/// "container does not exist", "container not running".
pub fn audit(store: &Store, id: &str) -> Result<Audit> {
    let file = store.find(id)?;
    let (record, config) = file.record_and_config()?;
    let look = Look::at(&file, &record)?;
    let step = || format!("audit container {id}");
    let (Some(init), Some(present)) = (&record.init, &look.init) else {
        return Err(not_running(step()));
    };
    if matches!(look.status, Status::Creating | Status::Created) {
        // Its process isn't the program yet, and lacks some of what that will have.
        let hint = format!("audit --bundle {} judges what is meant", record.bundle.display());
        return Err(not_running(step()).hint(hint));
    }
    let spec = oci::bundle::interpret(&config, &record.bundle)?;
    let usage = record.tree().gauges(id);
    // The program runs with less than minirun's init does.
    let program = if record.has_init() { only_child(init.pid) } else { None };
    let facts = audit::running(program.unwrap_or(init.pid), &spec, &Host::read()?);
    // Its pid may have been given to another process meanwhile.
    if present.has_ended() {
        return Err(not_running(step()));
    }
    Ok(audit::judge(&audit::Facts {
        memory_limit: usage.memory_limit_bytes,
        pids_limit: usage.pids_limit,
        ..facts
    }))
}

/// `None` where a kernel doesn't tell, or none has been made yet.
pub(super) fn only_child(pid: i32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_ascii_whitespace().next()?.parse().ok()
}
