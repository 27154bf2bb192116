//! `minirun events`: what a container uses, and word when it runs out of memory.

use std::time::Duration;

use clap::Parser;
use minirun::{Error, container};

use super::CarryOut;
use super::global::Global;

/// Print what a container uses, and when it runs out of memory, a line of JSON each
#[derive(Debug, Parser)]
pub struct Events {
    /// The container
    id: String,
    /// Print what it uses now, and end
    #[arg(long)]
    stats: bool,
    /// How long between two lines of usage
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = super::values::duration)]
    interval: Duration,
}

impl CarryOut for Events {
    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        let store = global.store()?;
        let print = |line: &serde_json::Value| super::print(&format!("{line}\n"));
        match self.stats {
            true => print(&container::stats(&store, &self.id)?)?,
            false => container::events(&store, &self.id, self.interval, print)?,
        }
        Ok(0)
    }
}
