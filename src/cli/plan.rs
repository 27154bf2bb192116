//! `minirun plan`: the steps of a run, without taking them.

use std::path::PathBuf;

use clap::Parser;
use minirun::{Bundle, Error};

use super::CarryOut;
use super::global::Global;
use super::settings::Settings;

/// Print the steps that `run` would take, without taking them
#[derive(Debug, Parser)]
#[command(override_usage = "minirun plan [OPTIONS] ROOTFS [COMMAND]...
       minirun plan [OPTIONS] --bundle DIR [ID]")]
pub struct Print {
    /// Directory to use as the root filesystem, or the id for the container of a bundle
    #[arg(value_name = "ROOTFS|ID", required_unless_present = "bundle")]
    target: Option<String>,
    /// Command and its arguments [default: /bin/sh]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// Print the steps that the config.json in DIR asks for
    #[arg(short, long, value_name = "DIR", conflicts_with_all = ["Settings", "command"])]
    bundle: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Option<Settings>,
}

impl CarryOut for Print {
    const NOTES: &'static str = "\
Examples:
  minirun plan ./rootfs                      the steps of run ./rootfs
  minirun plan --read-only --net host ./rootfs /bin/sh
  minirun plan --bundle DIR                  those of a config.json
  minirun plan --json ./rootfs | jq .steps   for programs";

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        let target = self.target.as_deref();
        let plan = match &self.bundle {
            Some(bundle) if global.systemd_cgroup => {
                Bundle::load(bundle)?.plan_by_systemd(target.unwrap_or("bundle"))?
            }
            Some(bundle) => Bundle::load(bundle)?.plan(target.unwrap_or("bundle"))?,
            None => {
                global.refuse_systemd()?;
                let default = Settings::default();
                let settings = self.settings.as_ref().unwrap_or(&default);
                settings.command(target.unwrap_or_default(), &self.command, false)?.plan()?
            }
        };
        let text = if self.json { format!("{:#}\n", plan.to_json()) } else { plan.to_string() };
        super::print(&text)?;
        Ok(0)
    }
}
