//! `minirun plan`: the steps of a run, without taking them.

use clap::Args;
use minirun::Error;

use super::settings::Settings;

/// Print the steps that `run` would take, without taking them
#[derive(Debug, Args)]
pub struct Print {
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Print {
    pub fn carry_out(&self) -> Result<u8, Error> {
        let plan = self.settings.command(false)?.plan()?;
        let text = if self.json { format!("{:#}\n", plan.to_json()) } else { plan.to_string() };
        super::print(&text)?;
        Ok(0)
    }
}
