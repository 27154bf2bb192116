//! Writes the manual pages and the completions for bash, zsh and fish, below a directory as
//! they lie below a prefix such as /usr/local: all of them from the one definition of the
//! command line.
//!
//!     cargo run --example manual -- DIRECTORY

#[allow(dead_code, reason = "only the definition is of use here")]
#[path = "../src/cli/mod.rs"]
mod cli;
mod completions;
mod pages;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("manual: name the directory to write to");
        return ExitCode::FAILURE;
    };
    match write(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: write below {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> io::Result<()> {
    let mut definition = cli::help::definition();
    definition.build();
    let files = pages::all(&definition)?.into_iter().chain(completions::all(&definition));
    for (path, content) in files {
        let path = directory.join("share").join(path);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        fs::write(path, content)?;
    }
    Ok(())
}
