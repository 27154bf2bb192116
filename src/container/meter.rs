//! stats: what running containers use, read again and again.

use std::collections::HashMap;
use std::time::Instant;

use super::events::found;
use super::status::Status;
use super::store::Store;
use crate::cgroup::Usage;
use crate::error::Result;

/// Reads what containers use. Processor time becomes a share of the time between two
/// readings, so that there should be a while between them.
#[derive(Debug)]
pub struct Meter {
    store: Store,
    /// Empty for all that run.
    ids: Vec<String>,
    /// When each was read last, and the seconds of processor time that it had used by then.
    before: HashMap<String, (Instant, f64)>,
}

impl Meter {
    /// A meter for these containers, or for whichever run when none is named.
    ///
    /// # Errors
    /// "container with id ID is not running".
    pub fn new(store: &Store, ids: &[String]) -> Result<Meter> {
        for id in ids {
            found(store, id)?;
        }
        Ok(Meter { store: store.clone(), ids: ids.to_vec(), before: HashMap::new() })
    }

    /// What each of them uses now, in the order in which they were named. Those that have
    /// ended are left out.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn read(&mut self) -> Result<Vec<Usage>> {
        let all = self.ids.is_empty();
        let ids = if all { self.store.ids()? } else { self.ids.clone() };
        let mut before = HashMap::new();
        let mut readings = Vec::new();
        for id in ids {
            // Removed meanwhile, or broken, which `list` tells.
            let Ok((record, look)) = found(&self.store, &id) else { continue };
            if all && look.status == Status::Created {
                continue;
            }
            let (mut usage, now) = (record.tree().gauges(&id), Instant::now());
            if let Some(seconds) = usage.cpu_seconds {
                usage.cpus = self.before.get(&id).and_then(|(then, used)| {
                    let share = (seconds - used) / now.duration_since(*then).as_secs_f64();
                    // One of the same name may have taken its place.
                    Some(share).filter(|share| share.is_finite() && *share >= 0.0)
                });
                before.insert(id, (now, seconds));
            }
            readings.push(usage);
        }
        self.before = before;
        Ok(readings)
    }
}
