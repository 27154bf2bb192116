//! `minirun pause` and `minirun resume`: a container holds its breath.

use clap::Parser;
use minirun::Error;
use minirun::container;

use super::CarryOut;
use super::global::Global;

/// Stop all processes of a container where they are
#[derive(Debug, Parser)]
pub struct Pause {
    /// The container
    id: String,
}

impl CarryOut for Pause {
    fn waits_for(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        container::pause(&global.store()?, &self.id)?;
        Ok(0)
    }
}

/// Let the processes of a paused container go on
#[derive(Debug, Parser)]
pub struct Resume {
    /// The container
    id: String,
}

impl CarryOut for Resume {
    fn waits_for(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        container::resume(&global.store()?, &self.id)?;
        Ok(0)
    }
}
