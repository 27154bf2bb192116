//! `minirun start`: a created container's program runs.

use clap::Parser;
use minirun::Error;
use minirun::container;

use super::CarryOut;
use super::global::Global;
use super::quick::Words;

/// Run the program of a created container
#[derive(Debug, Parser)]
pub struct Start {
    /// The container
    id: String,
}

impl CarryOut for Start {
    fn quick(words: &mut Words) -> Option<Self> {
        let quick = Start { id: words.word()?.to_owned() };
        words.end()?;
        Some(quick)
    }

    fn waits_for(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        container::start(&global.store()?, &self.id)?;
        Ok(0)
    }
}
