//! minirun: parse, carry out, exit.

mod cli;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: minirun::Arena = minirun::Arena;

fn main() -> ExitCode {
    ExitCode::from(cli::main())
}
