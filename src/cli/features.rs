//! `minirun features`: what this runtime can do, for engines.

use clap::Parser;
use minirun::Error;

use super::CarryOut;
use super::global::Global;

/// Print what of the runtime specification is carried out, as JSON
#[derive(Debug, Parser)]
pub struct Features {}

impl CarryOut for Features {
    fn carry_out(&self, _: &Global) -> Result<u8, Error> {
        super::print(&format!("{:#}\n", minirun::features()))?;
        Ok(0)
    }
}
