//! `minirun start`: a created container's program runs.

use clap::Parser;
use minirun::Error;
use minirun::container;

use super::CarryOut;
use super::global::Global;

/// Run the program of a created container
#[derive(Debug, Parser)]
pub struct Start {
    /// The container
    id: String,
}

impl CarryOut for Start {
    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        container::start(&global.store()?, &self.id)?;
        Ok(0)
    }
}
