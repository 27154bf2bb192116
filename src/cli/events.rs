//! `minirun events`: what a container uses, a line of JSON each time.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use clap::Parser;
use minirun::Error;
use minirun::container;
use serde_json::Value;

use super::CarryOut;
use super::global::Global;
use super::values;

/// Print what a container uses, and when it runs out of memory
#[derive(Debug, Parser)]
pub struct Events {
    /// Print it once
    #[arg(long)]
    stats: bool,
    /// Time from one line to the next, such as 500ms
    #[arg(long, value_name = "TIME", value_parser = values::interval, default_value = "5s")]
    interval: Duration,
    /// The container
    id: String,
}

impl CarryOut for Events {
    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        let store = global.store()?;
        let reader_is_gone = Cell::new(false);
        let mut tell = |event: &Value| {
            std::io::stdout().write_all(format!("{event}\n").as_bytes()).map_err(|error| {
                reader_is_gone.set(error.kind() == ErrorKind::BrokenPipe);
                Error::io("write to standard output", &error)
            })
        };
        let told = match self.stats {
            true => container::stats(&store, &self.id).and_then(|stats| tell(&stats)),
            false => container::events(&store, &self.id, self.interval, &mut tell),
        };
        match told {
            Err(_) if reader_is_gone.get() => Ok(0),
            told => told.map(|()| 0),
        }
    }
}
