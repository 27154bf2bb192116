//! `minirun kill`: a signal for a container.

use clap::Parser;
use minirun::Error;
use minirun::container;

use super::CarryOut;
use super::global::Global;
use super::quick::{Words, switch};
use super::values;

/// Send a signal to a container's first process
#[derive(Debug, Parser)]
pub struct Kill {
    /// Send it to all processes of the container
    #[arg(short, long)]
    all: bool,
    /// The container
    id: String,
    /// Name or number, such as KILL, SIGKILL, 9 or RTMIN+3
    #[arg(default_value = "TERM", value_parser = values::signal)]
    signal: i32,
}

impl CarryOut for Kill {
    const NOTES: &'static str = "\
Examples:
  minirun kill web             SIGTERM for its first process
  minirun kill --all web KILL  the end of all of them";

    fn quick(words: &mut Words) -> Option<Self> {
        let mut all = false;
        while let Some(option) = words.option() {
            match option {
                "--all" | "-a" => switch(&mut all)?,
                _ => return None,
            }
        }
        let id = words.word()?.to_owned();
        let signal = values::signal(words.word()?).ok()?;
        words.end()?;
        Some(Kill { all, id, signal })
    }

    fn waits_for(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        container::kill(&global.store()?, &self.id, self.signal, self.all)?;
        Ok(0)
    }
}
