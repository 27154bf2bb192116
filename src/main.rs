//! minirun: parse, carry out, exit.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::main() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("minirun: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
