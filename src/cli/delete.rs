//! `minirun delete`: a container and all that belongs to it go.

use clap::Parser;
use minirun::Error;
use minirun::container;

use super::CarryOut;
use super::global::Global;
use super::quick::{Words, switch};

/// Remove a container that has stopped, with its cgroup and its state
#[derive(Debug, Default, Parser)]
pub struct Delete {
    /// Kill it first if it still runs; that there is none is no error then
    #[arg(short, long)]
    force: bool,
    /// The container
    id: String,
}

impl CarryOut for Delete {
    const NOTES: &'static str = "\
Examples:
  minirun delete web           a container that has stopped
  minirun delete --force web   even while it runs";

    fn quick(words: &mut Words) -> Option<Self> {
        let mut quick = Delete::default();
        while let Some(option) = words.option() {
            match option {
                "--force" | "-f" => switch(&mut quick.force)?,
                _ => return None,
            }
        }
        quick.id = words.word()?.to_owned();
        words.end()?;
        Some(quick)
    }

    fn waits_for(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        container::delete(&global.store()?, &self.id, self.force)?;
        Ok(0)
    }
}
