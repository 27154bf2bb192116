//! minirun: parse, carry out, exit.

#[cfg(test)]
#[path = "../tests/support/chance.rs"]
mod chance;
mod cli;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: minirun::Arena = minirun::Arena;

fn main() -> ExitCode {
    ExitCode::from(cli::main())
}
