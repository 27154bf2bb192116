//! `minirun lab`: a program of its own has the labs, so that this one stays small.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Parser;
use minirun::Error;

use super::CarryOut;
use super::global::Global;

const PROGRAM: &str = "minirun-lab";

/// List experiments that show what containers are made of, or run one
#[derive(Debug, Parser)]
#[command(disable_help_flag = true)]
pub struct Lab {
    /// The name of a lab, or words to look for; --help tells more
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "NAME|WORDS")]
    args: Vec<OsString>,
}

impl CarryOut for Lab {
    fn carry_out(&self, _: &Global) -> Result<u8, Error> {
        // Beside this file, where both are installed, or else in PATH.
        let own = std::env::current_exe().ok();
        let beside = own.map(|path| path.with_file_name(PROGRAM)).filter(|path| path.is_file());
        let error = Command::new(beside.unwrap_or_else(|| PROGRAM.into())).args(&self.args).exec();
        let step = format!("execute {PROGRAM}, which has the labs");
        Err(match error.kind() {
            ErrorKind::NotFound => Error::said(step, "it is neither beside minirun nor in PATH")
                .hint("`just install` and `cargo install` in minirun's sources install both"),
            _ => Error::io(step, &error),
        })
    }
}
