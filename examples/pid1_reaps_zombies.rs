//! The duty of PID 1: whoever loses its parent becomes a child of PID 1, and stays a
//! zombie after its end until PID 1 waits for it.
//!
//! The same script runs twice. It makes five orphans and turns itself into `sleep`, which
//! never waits for anybody. With an init, PID 1 is minirun-init, which reaps them;
//! without, PID 1 is that `sleep`, and the zombies stay as long as the container does.
//!
//! Read next: pid_namespaces(7) on the init process, wait(2) on zombies.

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use minirun::{Child, Container, Stdio};
use support::{Demo, PATIENCE, Result, Table, children, read_until};

const DEMO: Demo = Demo {
    intro: "A script in a container leaves five orphans behind, which end soon, and becomes\n\
            a program that waits for nobody; once below an init, once as PID 1 itself.\n\
            Zombies are counted by an observer inside, and by the host.",
    columns: ["with init", "init(false)"],
    claim: "orphans become children of PID 1, and vanish only if it waits for them",
};

const ORPHANS: usize = 5;

/// The observer is an orphan as well. It counts with the shell's own words alone, so that
/// nobody new is among the counted. The standard input of a command in the background is
/// /dev/null, hence descriptor 3.
const SCRIPT: &str = r#"
    zombies() {
        count=0
        for stat in /proc/[0-9]*/stat; do
            read -r line < $stat || continue
            case ${line##*) } in Z*) count=$((count + 1)) ;; esac
        done
        echo $count
    }
    exec 3<&0
    zombies
    for i in $(seq $ORPHANS); do (sleep 0.2 &); done
    ( (read -r go <&3; zombies; echo counted) & )
    echo ready
    exec sleep 60
"#;

/// What was seen of one run.
struct Seen {
    first: String,
    before: String,
    after: String,
    from_outside: usize,
    reaped: u64,
}

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let [with, without] = [run(rootfs, true)?, run(rootfs, false)?];
    table.row("PID 1", &with.first, &without.first);
    table.row("zombies inside, at first", &with.before, &without.before);
    table.row("zombies inside, after", &with.after, &without.after);
    table.row("the same from the host", with.from_outside, without.from_outside);
    table.row("reaped by init, in all", with.reaped, without.reaped);

    table.expect(with.first == "minirun-init", "minirun-init as PID 1", &with.first);
    table.expect(without.first == "sleep", "sleep as PID 1 without an init", &without.first);
    for (seen, zombies, when) in [(&with, 0, "with an init"), (&without, ORPHANS, "without one")] {
        table.expect(seen.before == "0", format!("no zombies at first {when}"), &seen.before);
        let inside = seen.after == zombies.to_string();
        table.expect(inside, format!("{zombies} zombies inside {when}"), &seen.after);
        let outside = seen.from_outside == zombies;
        table.expect(outside, format!("{zombies} zombies from the host {when}"), seen.from_outside);
    }
    let everybody = ORPHANS as u64 + 2;
    table.expect(
        with.reaped == everybody,
        format!("init to reap {everybody}: {ORPHANS} orphans, the observer and the target"),
        with.reaped,
    );
    table.expect(without.reaped == 0, "nobody reaped without an init", without.reaped);
    Ok(())
}

fn run(rootfs: &Path, init: bool) -> Result<Seen> {
    let mut command = Container::new(rootfs).init(init).command("/bin/sh");
    command.args(["-c", SCRIPT]).env("ORPHANS", ORPHANS.to_string());
    let mut child = command.stdin(Stdio::Piped).stdout(Stdio::Piped).spawn()?;
    let watched = watch(&mut child, init);
    // Without a handler PID 1 doesn't get SIGTERM, so only init can be asked to end.
    let ended = if init && watched.is_ok() { child.signal(libc::SIGTERM) } else { child.kill() };
    child.wait()?;
    ended?;
    let mut seen = watched?;
    seen.reaped = child.report().map_or(0, |report| report.processes_reaped);
    Ok(seen)
}

fn watch(child: &mut Child, init: bool) -> Result<Seen> {
    let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("expected pipes to the container; saw none".into());
    };
    let before = read_until(&mut output, "\nready\n")?;
    // Below an init the target is a child of PID 1 too; the observer is in any case.
    let (target, zombies) = if init { (1, 0) } else { (0, ORPHANS) };
    let from_outside = settle(child.id(), target + 1, zombies)?;
    writeln!(input, "go")?;
    let after = read_until(&mut output, "\ncounted\n")?;
    settle(child.id(), target, if init { 0 } else { ORPHANS + 1 })?;
    let first = fs::read_to_string(format!("/proc/{}/comm", child.id()))?.trim().to_owned();
    Ok(Seen { first, before, after, from_outside, reaped: 0 })
}

/// The zombies among the children of PID 1, once so many others are left. Everybody is
/// a zombie for a moment, so this gives them time to become as many as `expected`.
fn settle(pid1: u32, left: usize, expected: usize) -> Result<usize> {
    let deadline = Instant::now() + PATIENCE / 2;
    loop {
        let children = children(pid1)?;
        let zombies = children.iter().filter(|child| child.state == 'Z').count();
        let others = children.len() - zombies;
        let late = Instant::now() > deadline;
        if others == left && (zombies == expected || late) {
            return Ok(zombies);
        }
        if late {
            return Err(format!("expected {left} children of PID 1 to live; saw {others}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
