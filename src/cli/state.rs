//! `minirun state`: what a container does now.

use clap::Parser;
use minirun::Error;
use minirun::container;

use super::CarryOut;
use super::global::Global;
use super::quick::Words;

/// Print a container's state, as JSON
#[derive(Debug, Parser)]
pub struct State {
    /// The container
    id: String,
}

impl CarryOut for State {
    fn quick(words: &mut Words) -> Option<Self> {
        let quick = State { id: words.word()?.to_owned() };
        words.end()?;
        Some(quick)
    }

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        let state = container::state(&global.store()?, &self.id)?;
        super::print_json(&state)
    }
}
