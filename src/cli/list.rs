//! `minirun list`: all containers below one root.

use clap::Parser;
use minirun::Error;
use minirun::container::{self, State};

use super::global::Global;
use super::table::Format;
use super::{CarryOut, table};

/// List the containers
#[derive(Debug, Parser)]
pub struct List {
    /// How to print them
    #[arg(
        short,
        long,
        value_name = "table|json",
        default_value = "table",
        hide_possible_values = true
    )]
    format: Format,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

impl CarryOut for List {
    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        let mut states = Vec::new();
        for state in container::list(&global.store()?)? {
            match state {
                Ok(state) => states.push(state),
                // One that can't be read doesn't hide the others.
                Err(error) => global.log.error("minirun: error", &error),
            }
        }
        if self.quiet {
            let ids: String = states.iter().map(|state| format!("{}\n", state.id)).collect();
            super::print(&ids)?;
            return Ok(0);
        }
        match self.format {
            Format::Json => super::print_json(&states),
            Format::Table => {
                let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
                let rows: Vec<_> = states.iter().map(row).collect();
                super::print(&table::render(header, &rows))?;
                Ok(0)
            }
        }
    }
}

fn row(state: &State) -> [String; 6] {
    [
        state.id.clone(),
        state.pid.to_string(),
        state.status.to_string(),
        state.bundle.display().to_string(),
        state.created.clone(),
        state.owner.clone(),
    ]
}
