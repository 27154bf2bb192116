//! `minirun list`: all containers below one root.

use clap::Parser;
use minirun::Error;
use minirun::container::{self, State};

use super::global::Global;
use super::table::{Format, Formatted, Page};
use super::{CarryOut, table};

/// List the containers
#[derive(Debug, Parser)]
pub struct List {
    #[command(flatten)]
    formatted: Formatted,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

impl CarryOut for List {
    const NOTES: &'static str = "\
Examples:
  minirun list                 all containers
  minirun list --quiet         their ids alone
  minirun list --json | jq     for programs";

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
        match self.formatted.format() {
            Format::Json => super::print_json(&states),
            Format::Table => {
                super::print(&table(&states, Page::of_stdout()))?;
                Ok(0)
            }
        }
    }
}

fn table(states: &[State], page: Page) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
    let rows = states.iter().map(row);
    // What programs read has the form that runc's callers expect.
    let Some(width) = page.width else { return table::render(header, &rows.collect::<Vec<_>>()) };
    let short = |[id, pid, status, bundle, created, owner]: [String; 6]| {
        let minute = created.get(..16).map_or(created.clone(), |time| time.replace('T', " ") + "Z");
        let bundle = table::printable(&table::end(&bundle, width / 4));
        [table::start(&id, width / 4), pid, status, bundle, minute, owner]
    };
    let rows: Vec<_> = rows.map(short).collect();
    let colour = |column, cell: &str| match (column, cell) {
        (2, "running") => "32",
        (2, "paused") => "33",
        (2, "stopped") => "2",
        _ => "",
    };
    table::render_within(header, &rows, page, colour)
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
