//! Core dumps: some signals leave an image of the process's memory, unless its limit or its owner
//! says no.
//!
//! Children of a program in the container get SIGTERM, which ends a process, and SIGABRT, which
//! also has it dumped: as they are, with RLIMIT_CORE at 0, and not dumpable
//! (PR_SET_DUMPABLE 0), as programs with secrets are. wait(2) says whether the kernel has
//! dumped one (WCOREDUMP), and a file in the working directory shows it.
//!
//! Where dumps go is the machine's to say (core_pattern); a container can't change it. Where it
//! names a program of the host's, that gets the dumps of containers too, whatever RLIMIT_CORE
//! says; then it is left alone, and those rows are left out.
//!
//! Read next: core(5), signal(7), prctl(2), getrlimit(2).

mod support;

use std::fs;
use std::process::ExitCode;

use minirun::{Container, PosixRlimitType};
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::unistd::pause;
use support::findings::{Findings, end, found};
use support::fork::fork;
use support::{Demo, Result, Table, handler, itself};

const DEMO: Demo = Demo {
    intro: "Processes in a container get a signal that ends them, and one that has them\n\
            dumped as well; with and without a limit on core dumps.",
    columns: ["SIGTERM", "SIGABRT"],
    claim: "a core dump needs a signal for it, a limit above 0, and a dumpable process",
};

const PATTERN: &str = "/proc/sys/kernel/core_pattern";
/// How it begins when a program of the host's gets the dumps, by a pipe or a socket.
const HOSTS: [char; 2] = ['|', '@'];
const LEFT_OUT: &str = "left out";
/// Where the processes work; in memory.
const PLACE: &str = "/tmp/cores";
const SIGNALS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGABRT];

/// What keeps a process from being dumped.
#[derive(Clone, Copy, PartialEq)]
enum Refusal {
    None,
    Limit,
    NotDumpable,
}

/// In the order of the table.
const ATTEMPTS: [(Refusal, &str); 3] = [
    (Refusal::None, "as it is"),
    (Refusal::Limit, "RLIMIT_CORE 0"),
    (Refusal::NotDumpable, "not dumpable"),
];

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(crash()),
        None => DEMO.run_without_rootfs(compare),
    }
}

fn crash() -> Result<()> {
    let goes_to_host = fs::read_to_string(PATTERN)?.starts_with(HOSTS);
    fs::create_dir(PLACE)?;
    std::env::set_current_dir(PLACE)?;
    for (refusal, name) in ATTEMPTS {
        for signal in SIGNALS {
            let reaches_host = goes_to_host && signal == Signal::SIGABRT;
            let seen = match reaches_host && refusal != Refusal::NotDumpable {
                true => LEFT_OUT.to_owned(),
                false => attempt(signal, refusal)?,
            };
            found(&format!("{signal}-{}", name.replace(' ', "-")), seen)?;
        }
    }
    let writable = fs::OpenOptions::new().write(true).open(PATTERN);
    found("pattern-writable", writable.is_ok())
}

/// What a child leaves behind that gets a signal, in words.
fn attempt(signal: Signal, refusal: Refusal) -> Result<String> {
    let (mut answer, mut ready) = std::io::pipe()?;
    let mut child = fork(|| {
        let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
        setrlimit(Resource::RLIMIT_CORE, if refusal == Refusal::Limit { 0 } else { hard }, hard)?;
        set_dumpable(refusal != Refusal::NotDumpable)?;
        handler::reset(signal)?;
        std::io::Write::write_all(&mut ready, b"r")?;
        loop {
            pause();
        }
    })?;
    drop(ready);
    std::io::Read::read_exact(&mut answer, &mut [0])?;
    kill(child.pid(), signal)?;
    let WaitStatus::Signaled(_, _, dumped) = child.wait()? else {
        return Err(format!("expected {signal} to end a child; saw something else").into());
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(".")? {
        let entry = entry?;
        files.push(format!(
            "{} of {} KiB",
            entry.file_name().display(),
            entry.metadata()?.len() >> 10
        ));
        fs::remove_file(entry.path())?;
    }
    Ok(match (dumped, &files[..]) {
        (false, []) => "no dump".to_owned(),
        (true, []) => "dumped elsewhere".to_owned(),
        (true, files) => format!("dumped: {}", files.join(", ")),
        (false, files) => format!("no dump, but {}", files.join(", ")),
    })
}

fn compare(table: &mut Table) -> Result<()> {
    let pattern = fs::read_to_string(PATTERN)?;
    let pattern = pattern.trim();
    // The soft limit is often 0; an ordinary user can't raise the hard one.
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    let mut container = Container::empty();
    container.rlimit(PosixRlimitType::RlimitCore, hard, hard);
    let seen = Findings::of(&mut itself::play(&container, "crash")?)?;

    // Another directory needn't be there in the container, and a low limit cuts a dump off.
    let in_directory = !pattern.is_empty() && !pattern.contains('/') && !pattern.starts_with(HOSTS);
    let known_dump = in_directory && (hard == 0 || hard > 64 << 20);
    for (refusal, question) in ATTEMPTS {
        let name = question.replace(' ', "-");
        let [ended, aborted] = SIGNALS.map(|signal| seen.text(&format!("{signal}-{name}")));
        let (ended, aborted) = (ended?, aborted?);
        table.row(question, ended, aborted);
        for (signal, seen) in SIGNALS.into_iter().zip([ended, aborted]) {
            let dumps = signal == Signal::SIGABRT && refusal == Refusal::None;
            let expected = if dumps && hard > 0 { "dumped: " } else { "no dump" };
            let known = if dumps { known_dump } else { seen != LEFT_OUT };
            table.expect(
                !known || seen.starts_with(expected),
                format!("{expected} by {signal}, {question}"),
                seen,
            );
        }
    }
    let limit = if hard == libc::RLIM_INFINITY { "none".to_owned() } else { hard.to_string() };
    table.row("hard limit of the caller", limit, "");
    let whose = match pattern.starts_with(HOSTS) {
        true => "a program of the host's: left out are dumps that it would get",
        false => "the machine's",
    };
    table.row("core_pattern", pattern, whose);
    let writable = seen.text("pattern-writable")?;
    table.row("open to the container", if writable == "true" { "yes" } else { "no" }, "");
    table.expect(writable == "false", "core_pattern to be out of a container's reach", writable);
    Ok(())
}
