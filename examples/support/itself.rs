//! A lab that is started once more, in the container it looks at or beside itself, to play a
//! part there.
//!
//! `pub fn main() -> ExitCode { match itself::part().as_deref() { None => DEMO.run(compare),
//! Some("child") => …, … } }`

use std::process;

use minirun::{Command, Container};

use super::Result;

const PART: &str = "MINIRUN_LAB_PART";

/// The part that this process was started for; `None` in the lab itself.
pub fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// This lab in a container, to play a part there. What the part has to know comes by
/// [`Command::env`]: the arguments stay those of the lab, since `minirun-lab` finds it by them.
pub fn play(container: &Container, part: &str) -> Result<Command> {
    let mut command = container.itself()?;
    command.args(std::env::args().skip(1)).env(PART, part);
    Ok(command)
}

/// The same as one more process where this one is, also inside.
pub fn again(part: &str) -> Result<process::Command> {
    let mut command = process::Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(PART, part);
    Ok(command)
}
