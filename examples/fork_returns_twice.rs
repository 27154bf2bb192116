//! fork: one call, two returns. Behind it the same program goes on in two processes, which
//! learn by what the call returns which of the two they are.
//!
//! Read next: fork(2), credentials(7) on process ids.

mod support;

use std::process::ExitCode;

use minirun::Container;
use nix::unistd::{Pid, getpid, getppid};
use support::findings::{Findings, end, found};
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "A program in a container calls fork once. The lines behind the call write down\n\
            what it returned, and who they are carried out by.",
    columns: ["parent", "child"],
    claim: "fork returns twice: the child's pid to the parent, 0 to the child",
};

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(fork_once()),
        None => DEMO.run_without_rootfs(compare),
    }
}

#[allow(unsafe_code, reason = "what fork itself returns is what this is about")]
fn fork_once() -> Result<()> {
    found("before", getpid())?;
    // SAFETY: This process has one thread, so that its child's memory is whole.
    let returned = unsafe { libc::fork() };
    // From here on everything happens twice.
    let who = match returned {
        0 => "child",
        1.. => "parent",
        _ => return Err(std::io::Error::last_os_error().into()),
    };
    found(&format!("{who}-returned"), returned)?;
    found(&format!("{who}-pid"), getpid())?;
    found(&format!("{who}-parent"), getppid())?;
    if returned > 0 {
        nix::sys::wait::waitpid(Pid::from_raw(returned), None)?;
        found("waited", returned)?;
    }
    Ok(())
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "program")?)?;
    let before = seen.number("before")?;
    table.row("pid before the fork", before, "-");
    let mut row = |question: &str, name: &str| -> Result<[u64; 2]> {
        let both =
            [seen.number(&format!("parent-{name}"))?, seen.number(&format!("child-{name}"))?];
        table.row(question, both[0], both[1]);
        Ok(both)
    };
    let returned = row("fork returned", "returned")?;
    let pids = row("pid behind it", "pid")?;
    let parents = row("its parent's pid", "parent")?;
    let waited = seen.number("waited")?;
    table.row("waited for", waited, "-");
    table.expect(returned == [pids[1], 0], "the child's pid and 0", format!("{returned:?}"));
    table.expect(pids[0] == before, "the parent to keep its pid", pids[0]);
    table.expect(pids[1] != before, "a pid of the child's own", pids[1]);
    table.expect(parents == [1, pids[0]], "init and the caller as parents", format!("{parents:?}"));
    table.expect(waited == pids[1], "the parent to wait for its child", waited);
    Ok(())
}
