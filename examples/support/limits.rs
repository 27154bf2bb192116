//! Limits that a user may not be able to set: a demo of one then shows how it is refused.

use std::path::Path;
use std::process::ExitCode;

use minirun::{Container, Report};

use super::{Demo, Result, Table};

/// Runs the demo where `limited` can be had; else one that shows the refusal. What can't be
/// limited isn't run without a limit in silence.
pub fn run(
    demo: Demo,
    limited: fn(&Path) -> Container,
    compare: fn(&Path, &mut Table) -> Result<()>,
) -> ExitCode {
    // The limits are the same whatever the root filesystem is, and a plan looks at none.
    if limited(Path::new("/")).command("true").plan().is_ok() {
        return demo.run(compare);
    }
    let refusal = Demo {
        intro: "This user can't make a cgroup here, and limits are a cgroup's. The same program\n\
                is started without a limit and with one.",
        columns: ["without a limit", "with one"],
        claim: "a limit that can't be kept is refused; nothing runs without it",
    };
    refusal.run(|rootfs, table| refused(rootfs, &limited(rootfs), table))
}

/// The limits that a container ran into.
pub fn hit(report: &Report) -> String {
    match report.limits_hit[..] {
        [] => "none".to_owned(),
        ref hit => hit.join(", "),
    }
}

fn refused(rootfs: &Path, limited: &Container, table: &mut Table) -> Result<()> {
    let free = Container::new(rootfs).command("true").status()?.exit_code();
    table.expect(free == 0, "true to end with 0 without a limit", free);
    let error = match limited.command("true").spawn() {
        Ok(mut child) => {
            child.wait()?;
            return Err("expected the limit to be refused; saw the container start".into());
        }
        Err(error) => error,
    };
    table.row("exit status of true", free, "(not started)");
    let place = error.place().unwrap_or_default();
    table.row("refused", "-", place);
    table.expect(!place.is_empty(), "the setting that asked for the limit", "none");
    let words = error.to_string();
    table.row("minirun says", "-", &words);
    let why = ["cgroup", "controller"].iter().any(|reason| words.contains(reason));
    table.expect(why, "cgroups as the reason", &words);
    Ok(())
}
