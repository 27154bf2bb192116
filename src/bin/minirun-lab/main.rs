//! minirun-lab: every experiment of examples/ in one program, for those who have no cargo.
//! `minirun lab` executes it.

#![allow(
    clippy::duplicate_mod,
    reason = "each lab has its own examples/support, as with cargo run"
)]

mod list;
mod rootfs;
mod table;

use std::io::Write;
use std::process::ExitCode;

/// There is no such lab, which isn't a claim that failed.
const NOT_FOUND: u8 = 2;

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    match args.first().map(String::as_str) {
        None | Some("list") => print(&list::all()),
        Some("-h" | "--help" | "help") => print(list::HELP),
        Some("--names") => print(&list::names()),
        Some(name) => match table::LABS.iter().find(|lab| lab.is_called(name)) {
            Some(lab) => rootfs::provide().map_or_else(|error| fail(&error), |()| (lab.main)()),
            None => match list::about(&args.join(" ")) {
                Ok(found) => print(&found),
                Err(answer) => {
                    print(&answer);
                    ExitCode::from(NOT_FOUND)
                }
            },
        },
    }
}

/// A reader that went away has seen enough.
fn print(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(error: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "minirun lab: {error}");
    ExitCode::FAILURE
}
