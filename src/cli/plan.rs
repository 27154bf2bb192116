//! `minirun plan`: the steps of a run, without taking them.

use clap::Args;
use minirun::{Bundle, Error};

use super::settings::{self, Settings};

/// Print the steps that `run` would take, without taking them
#[derive(Debug, Args)]
pub struct Print {
    #[command(flatten)]
    settings: Settings,
    /// Read the config.json in ROOTFS, a bundle, and print its steps
    #[arg(long, conflicts_with_all = settings::SHAPING)]
    bundle: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Print {
    pub fn carry_out(&self) -> Result<u8, Error> {
        let plan = match self.bundle {
            true => Bundle::load(&self.settings.rootfs)?.plan("bundle")?,
            false => self.settings.command(false)?.plan()?,
        };
        let text = if self.json { format!("{:#}\n", plan.to_json()) } else { plan.to_string() };
        super::print(&text)?;
        Ok(0)
    }
}
