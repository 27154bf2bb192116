//! What the demos share: the frame in which one runs, its table, a shell inside a
//! container, and a look at /proc.
//!
//! A demo measures both sides, puts what it saw in the table, and says what it expected.
//! The table is printed in any case, so that a failure can be looked at.

#![allow(dead_code, reason = "each demo uses its own part of this")]

pub mod bundle;
pub mod crowd;
pub mod findings;
pub mod fork;
pub mod handler;
pub mod itself;
pub mod limits;
pub mod mapping;
pub mod memory;
pub mod proc_stat;
pub mod queue;

use std::error::Error;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use minirun::{Child, Container, Stdio};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Everything that can go wrong in a demo ends as one line for the reader.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long a demo waits for one thing before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// The words around a demo.
pub struct Demo {
    /// What it will do, in two or three lines.
    pub intro: &'static str,
    /// What its two columns of measurements are.
    pub columns: [&'static str; 2],
    /// What holds when nothing unexpected was seen.
    pub claim: &'static str,
}

impl Demo {
    /// Runs the demo on the root filesystem; the exit code says whether the claim holds.
    pub fn run(self, compare: impl FnOnce(&Path, &mut Table) -> Result<()>) -> ExitCode {
        self.run_without_rootfs(|table| compare(&rootfs()?, table))
    }

    /// The same for a demo that brings all it needs, as by `Container::empty`.
    pub fn run_without_rootfs(self, compare: impl FnOnce(&mut Table) -> Result<()>) -> ExitCode {
        print_paragraph(self.intro);
        println!();
        let mut table = Table::default();
        let outcome = compare(&mut table);
        table.print(self.columns);
        let failures =
            outcome.err().map(|error| error.to_string()).into_iter().chain(table.surprises);
        let failed = failures.map(|failure| eprintln!("FAILED: {failure}")).count() > 0;
        if failed {
            return ExitCode::FAILURE;
        }
        print_paragraph(&format!("{}: ok", self.claim));
        ExitCode::SUCCESS
    }
}

/// The directory that MINIRUN_ROOTFS names, else the `rootfs` that build.sh fills: here, or
/// where `cargo run` says that the sources are.
fn rootfs() -> Result<PathBuf> {
    let sources = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let places = match std::env::var_os("MINIRUN_ROOTFS") {
        Some(path) => vec![PathBuf::from(path)],
        None => std::iter::once(PathBuf::new()).chain(sources).map(|d| d.join("rootfs")).collect(),
    };
    let usable = |path: &&PathBuf| path.join("bin/busybox").exists();
    places.iter().find(usable).cloned().ok_or_else(|| {
        let names: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
        let names = names.join(" or ");
        format!(
            "expected a root filesystem with bin/busybox, saw none in {names}; \
             run rootfs/build.sh, or set MINIRUN_ROOTFS"
        )
        .into()
    })
}

/// Two views of the same questions, side by side, and what was unexpected in them.
#[derive(Default)]
pub struct Table {
    rows: Vec<[String; 3]>,
    surprises: Vec<String>,
}

impl Table {
    /// Adds a question and what was measured in each column.
    pub fn row(&mut self, question: &str, left: impl Display, right: impl Display) {
        self.rows.push([question.to_owned(), left.to_string(), right.to_string()]);
    }

    /// Makes the demo fail unless `holds`, saying what was expected and what was seen.
    pub fn expect(&mut self, holds: bool, expected: impl Display, seen: impl Display) {
        if !holds {
            self.surprises.push(format!("expected {expected}; saw {seen}"));
        }
    }

    fn print(&self, [left, right]: [&str; 2]) {
        // Together with the gaps, 78 columns.
        const WIDEST: [usize; 3] = [26, 24, 24];
        if self.rows.is_empty() {
            return;
        }
        let head = [String::new(), left.to_owned(), right.to_owned()];
        let cells = |row: &[String; 3]| [0, 1, 2].map(|column| wrap(&row[column], WIDEST[column]));
        let rows: Vec<_> = std::iter::once(&head).chain(&self.rows).map(cells).collect();
        let width = |column: usize| {
            rows.iter().flat_map(|row| &row[column]).map(|line| line.chars().count()).max()
        };
        let [first, second, third] = [0, 1, 2].map(|column| width(column).unwrap_or(0));
        for (index, row) in rows.iter().enumerate() {
            for line in 0..row.iter().map(Vec::len).max().unwrap_or(0) {
                let [a, b, c] = [0, 1, 2].map(|column| row[column].get(line).map_or("", |s| s));
                println!("{}", format!("{a:first$}  {b:second$}  {c}").trim_end());
            }
            if index == 0 {
                println!("{}", "-".repeat(first + second + third + 4));
            }
        }
        println!();
    }
}

fn print_paragraph(text: &str) {
    for line in wrap(text, 80) {
        println!("{line}");
    }
}

/// Breaks a text at its spaces, and a word that is wider than a line anywhere.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for (index, piece) in letters.chunks(width).enumerate() {
            let line = lines.last().map_or(0, |line| line.chars().count());
            match lines.last_mut() {
                Some(last) if line == 0 => last.extend(piece),
                Some(last) if index == 0 && line + 1 + piece.len() <= width => {
                    last.push(' ');
                    last.extend(piece);
                }
                _ => lines.push(piece.iter().collect()),
            }
        }
    }
    lines
}

/// A shell that stays in a container, so that the host can be looked at between its commands.
pub struct Shell {
    child: Child,
    input: File,
    output: File,
}

/// No command in a demo writes this.
const END: &str = "--end of answer--\n";

impl Shell {
    /// Starts a container with a shell in it.
    pub fn start(container: &Container) -> Result<Shell> {
        let mut command = container.command("/bin/sh");
        let mut child = command.stdin(Stdio::Piped).stdout(Stdio::Piped).spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Shell { child, input, output }),
            _ => Err("expected pipes to the container's shell; saw none".into()),
        }
    }

    /// Has a command carried out inside; what it wrote, its errors included.
    pub fn run(&mut self, command: &str) -> Result<String> {
        ask(&mut self.input, &mut self.output, command)
    }

    /// The pid of the container's PID 1, as the host numbers it.
    pub fn pid1(&self) -> u32 {
        self.child.id()
    }

    /// The pid of the shell, as the host numbers it.
    pub fn pid(&self) -> Result<u32> {
        match children(self.pid1())?[..] {
            [Process { pid, .. }] => Ok(pid),
            ref others => {
                Err(format!("expected init to have one child; saw {}", others.len()).into())
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The kernel kills everybody else in the namespace when its PID 1 dies.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Has a command carried out by the shell behind two pipes; what it wrote, its errors included.
pub fn ask(input: &mut File, output: &mut File, command: &str) -> Result<String> {
    // The shell's own input holds the commands to come: no command may read it.
    write!(input, "{{ {command}\n}} </dev/null 2>&1; echo; echo '{}'\n", END.trim_end())?;
    let answer = read_until(output, END)
        .map_err(|error| format!("{command:?} in the container: {error}"))?;
    Ok(answer.trim().to_owned())
}

/// Reads from a container until `end` has come; an error after [`PATIENCE`].
pub fn read_until(output: &mut File, end: &str) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::try_from(left)?)? == 0 {
            return Err(format!("expected an answer within {PATIENCE:?}; saw none").into());
        }
        let mut chunk = [0; 4096];
        match output.read(&mut chunk)? {
            0 => return Err("expected an answer; saw the container end".into()),
            length => text.extend(&chunk[..length]),
        }
    }
    text.truncate(text.len() - end.len());
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// One process, as /proc on the host shows it.
pub struct Process {
    /// Its pid on the host.
    pub pid: u32,
    /// The pid of its parent.
    pub parent: u32,
    /// One letter (proc_pid_stat(5)); Z is a zombie.
    pub state: char,
    /// Its name.
    pub name: String,
}

/// Everybody in the host's /proc.
pub fn processes() -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else {
            continue;
        };
        // A process that ended since isn't there any more.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        found.push(parse_stat(pid, &stat).ok_or_else(|| format!("/proc/{pid}/stat is odd"))?);
    }
    Ok(found)
}

/// `PID (name) state parent …`, where a name may itself have spaces and parentheses.
fn parse_stat(pid: u32, stat: &str) -> Option<Process> {
    let (start, rest) = stat.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some(Process { pid, parent: fields.next()?.parse().ok()?, state, name: name.to_owned() })
}

/// The children of a process, zombies included.
pub fn children(parent: u32) -> Result<Vec<Process>> {
    let mut processes = processes()?;
    processes.retain(|process| process.parent == parent);
    Ok(processes)
}

/// What one of this process's own namespaces is called: its kind and its inode number.
pub fn namespace(kind: &str) -> Result<String> {
    let link = format!("/proc/self/ns/{kind}");
    let name = fs::read_link(&link).map_err(|error| format!("read {link}: {error}"))?;
    Ok(name.display().to_string())
}

/// The system's words for an error, without the number that Rust adds.
pub fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_owned(),
        None => error.to_string(),
    }
}
