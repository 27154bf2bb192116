//! The command line: parsing and printing, nothing else.

mod plan;
mod run;
mod settings;
mod values;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use minirun::Error;

/// A minimal container runtime: a directory and a command, isolated by Linux namespaces.
#[derive(Debug, Parser)]
#[command(name = "minirun", bin_name = "minirun", version = VERSION, about, max_term_width = 100)]
#[command(after_help = "Try:  minirun run ./rootfs /bin/sh        a shell in a container
      minirun run --explain ./rootfs ps   every step, told as it is taken
      minirun plan ./rootfs               the steps, without taking them")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const VERSION: &str = concat!("version ", env!("CARGO_PKG_VERSION"), "\nspec: 1.3.0");

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run::Run>),
    Plan(Box<plan::Print>),
}

/// Parses the arguments and carries out the verb; gives the exit status.
///
/// # Errors
/// What the verb met; `minirun` itself failing is status 125.
pub fn main() -> Result<u8, Error> {
    // Before the arguments are parsed, since that would be done twice.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "run") {
        minirun::protection::shield_own_binary()?;
    }
    match Cli::try_parse() {
        Ok(Cli { verb: Verb::Run(run) }) => run.carry_out(),
        Ok(Cli { verb: Verb::Plan(plan) }) => plan.carry_out(),
        Err(usage) => {
            let asked = matches!(usage.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // A reader that went away, as in `minirun --help | head -1`, has seen enough.
            let _ = usage.print();
            Ok(if asked { 0 } else { 125 })
        }
    }
}

/// Writes to standard output; a reader that went away has seen enough.
fn print(text: &str) -> Result<(), Error> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write to standard output", &error))
        }
        _ => Ok(()),
    }
}
