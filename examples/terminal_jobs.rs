//! Foreground, background and daemons: what a process is to the terminal it was started from.
//!
//! A terminal belongs to a session, and one of the session's process groups is in its
//! foreground: this one alone may read, and gets the signals of the keyboard. A daemon has left
//! the session, so that nothing that becomes of the terminal reaches it.
//!
//! The program in the container plays the terminal itself, by a pseudoterminal: it holds the
//! end that a keyboard and a screen would be at.
//!
//! Read next: credentials(7) on sessions, setsid(2), tcsetpgrp(3), daemon(7), pty(7).

mod support;

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use minirun::Container;
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::prctl::set_name;
use nix::unistd::{Pid, close, getpid, pause, setpgid, setsid, tcsetpgrp};
use support::findings::{Findings, end, found};
use support::fork::fork;
use support::proc_stat::{Stat, until};
use support::{Demo, Result, Table, in_words, itself};

const DEMO: Demo = Demo {
    intro: "A program in a container opens a terminal for a session of three: a job in the\n\
            foreground, one in the background, a daemon. All read from the terminal; then\n\
            somebody types Ctrl-C, and hangs up.",
    columns: ["is to the terminal", "reading from it"],
    claim: "the terminal obeys and reaches its foreground; a daemon has none",
};

const CTRL_C: u8 = 3;

/// What becomes of each job, in the words of `standing`.
const STANDINGS: [(&str, &str); 3] = [
    ("foreground", "of the session, in the foreground, S"),
    ("background", "of the session, T"),
    ("daemon", "of another session, no terminal, child of PID 1, S"),
];

fn standing(stat: &Stat, session: i32) -> String {
    let mut words =
        vec![if stat.session == session { "of the session" } else { "of another session" }];
    if stat.terminal == 0 {
        words.push("no terminal");
    } else if stat.group == stat.foreground {
        words.push("in the foreground");
    }
    if stat.parent == 1 {
        words.push("child of PID 1");
    }
    format!("{}, {}", words.join(", "), stat.state)
}

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(play_terminal()),
        None => DEMO.run_without_rootfs(compare),
    }
}

fn play_terminal() -> Result<()> {
    let mut keyboard = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&keyboard)?;
    unlockpt(&keyboard)?;
    let path = ptsname_r(&keyboard)?;
    let mut leader = fork(|| lead(&keyboard, &path))?;

    let named = |name: &str| {
        let found = support::processes().ok()?.into_iter().find(|process| process.name == name);
        i32::try_from(found?.pid).ok()
    };
    let alive = || -> String {
        let names = ["leader", "foreground", "background", "daemon"].into_iter();
        let is_alive = |name: &&str| named(name).and_then(Stat::of).is_some_and(|s| s.state != 'Z');
        names.filter(is_alive).collect::<Vec<_>>().join(", ")
    };
    let session = leader.pid().as_raw();
    for (name, expected) in STANDINGS {
        until(&format!("a {name}: {expected}"), || {
            (standing(&Stat::of(named(name)?)?, session) == expected).then_some(())
        })?;
    }
    found("at-first", alive())?;
    keyboard.write_all(&[CTRL_C])?;
    until("Ctrl-C to end the foreground", || (!alive().contains("foreground")).then_some(()))?;
    found("after-ctrl-c", alive())?;
    drop(keyboard);
    leader.wait()?;
    until("the hang-up to end the background", || (!alive().contains("background")).then_some(()))?;
    found("after-hang-up", alive())
}

/// What a shell does for its jobs.
fn lead(keyboard: &PtyMaster, path: &str) -> Result<u8> {
    // Else it would be hung up only when this process has ended too.
    close(keyboard.as_raw_fd())?;
    set_name(c"leader")?;
    setsid()?;
    // The first terminal that the leader of a session opens becomes the session's.
    let terminal = OpenOptions::new().read(true).write(true).open(path)?;
    let job = |name: &'static CStr| {
        fork(|| {
            setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
            set_name(name)?;
            if name == c"foreground" {
                until("to be in the foreground", || {
                    let stat = Stat::of(getpid().as_raw())?;
                    (stat.foreground == stat.group).then_some(())
                })?;
            }
            (&terminal).read_exact(&mut [0])?;
            Ok(0)
        })
    };
    let (foreground, _background) = (job(c"foreground")?, job(c"background")?);
    fork(become_daemon)?.succeed()?;
    until("a group of the foreground's own", || {
        let pid = foreground.pid().as_raw();
        (Stat::of(pid)?.group == pid).then_some(())
    })?;
    tcsetpgrp(&terminal, foreground.pid())?;
    loop {
        pause();
    }
}

/// A session of its own, and a parent who goes away: PID 1 takes it over.
fn become_daemon() -> Result<u8> {
    let daemon = fork(|| {
        setsid()?;
        let refused = OpenOptions::new().read(true).open("/dev/tty").err();
        found("refusal", refused.map_or("opened".to_owned(), |error| in_words(&error)))?;
        set_name(c"daemon")?;
        loop {
            pause();
        }
    })?;
    // Its end isn't to be the daemon's.
    std::mem::forget(daemon);
    Ok(0)
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "terminal")?)?;
    let refusal = seen.text("refusal")?;
    table.row("foreground", "its foreground group", "it waits for input (S)");
    table.row("background", "another group of its session", "SIGTTIN stops it (T)");
    table.row("daemon", "in no session of its", refusal);
    table.expect(refusal == "No such device or address", "no /dev/tty for a daemon", refusal);
    for (when, name, expected) in [
        ("are there at first", "at-first", "leader, foreground, background, daemon"),
        ("are left by Ctrl-C", "after-ctrl-c", "leader, background, daemon"),
        ("are left by a hang-up", "after-hang-up", "daemon"),
    ] {
        let left = seen.text(name)?;
        table.row(when, left, "");
        table.expect(left == expected, format!("{expected} {name}"), left);
    }
    Ok(())
}
