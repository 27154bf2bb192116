//! Writes `layout.ld`, the order of functions in the static release: those that a start
//! needs, first. The kernel maps a program in pieces of 64 KiB around what is touched, so
//! functions that lie together take fewer of them, and less memory. The arena comes last, after
//! what no start touches, so that all other variables share the page in which those with a value
//! end.
//!
//!     layout PROGRAM ARGUMENT... [-- ARGUMENT...]...
//!
//! PROGRAM is stepped through with each list of arguments, with all its threads and with its
//! children as long as they execute this same file, which must have its symbols. Names lose the
//! hashes of compilers in them; one that isn't known any more does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What musl has in assembler isn't in sections of its own.
const HEAD: &str = "/* Made by benches/layout.rs, which says what for: `just layout`. */
SECTIONS
{
  .fini :
  {
    KEEP(*(SORT_NONE(.fini)))
  }
  .text.start :
  {
    *crt1.o(.text)
    *set_thread_area.lo(.text)
    *clone.lo(.text)
    *memset.lo(.text)
    *restore.lo(.text)
    *syscall_cp.lo(.text)
";
const TAIL: &str = "  }
}
INSERT AFTER .init;
SECTIONS
{
  .arena (NOLOAD) :
  {
    *(.bss._ZN9libunwind* .bss.*_sem .bss.*key_lock)
    *(.bss.keys .bss.__pthread_tsd_main .bss.__malloc_context)
    *(.bss._ZN7minirun3sys5arena5BLOCK17h*)
  }
}
INSERT AFTER .bss;
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((program, arguments)) = words.split_first() else {
        eprintln!("layout: name a program");
        return ExitCode::FAILURE;
    };
    match written(program, arguments) {
        Ok(script) => {
            print!("{script}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("layout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn written(program: &str, arguments: &[String]) -> Result<String, Box<dyn Error>> {
    let mut patterns: Vec<String> = Vec::new();
    for arguments in arguments.split(|word| word == "--") {
        for pattern in used(program, arguments)?.iter().map(|name| pattern(name)) {
            // Instances of one generic function differ in their hashes only.
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
    }
    Ok(format!("{HEAD}{}{TAIL}", patterns.concat()))
}

/// The functions that are executed, by their symbols. No process finds the pages of another mapped:
/// first come those of the first start, then what the runtime alone needs, what it shares with the
/// container's process, and what is that one's; each in the order of first use.
fn used(program: &str, arguments: &[String]) -> Result<Vec<String>, Box<dyn Error>> {
    let functions = functions(program)?;
    let own = fs::metadata(program)?;
    let is_own = |pid: Pid| {
        let now = fs::metadata(format!("/proc/{pid}/exe"));
        now.is_ok_and(|now| (now.dev(), now.ino()) == (own.dev(), own.ino()))
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: ptrace(2) neither allocates nor locks.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(|| Ok(ptrace::traceme()?));
    }
    let first = Pid::from_raw(command.spawn()?.id().cast_signed());
    let options = Options::PTRACE_O_EXITKILL
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC;
    let mut found: BTreeMap<u64, (usize, BTreeSet<usize>)> = BTreeMap::new();
    // A process that executes the file again begins another life.
    let (mut lives, mut lived) = (BTreeMap::from([(first, 0)]), 1);
    let mut is_set = false;
    loop {
        let status = waitpid(None, Some(WaitPidFlag::__WALL))?;
        let (pid, signal) = match status {
            WaitStatus::Exited(pid, status) if pid == first => match status {
                0 => break,
                status => return Err(format!("{program} exits with {status}").into()),
            },
            WaitStatus::Stopped(pid, signal) => (pid, signal),
            WaitStatus::PtraceEvent(pid, ..) => (pid, Signal::SIGTRAP),
            _ => continue,
        };
        if !std::mem::replace(&mut is_set, true) {
            ptrace::setoptions(pid, options)?;
        }
        if matches!(status, WaitStatus::PtraceEvent(.., event) if event == libc::PTRACE_EVENT_EXEC)
        {
            if !is_own(pid) {
                ptrace::detach(pid, None)?;
                continue;
            }
            lives.remove(&pid);
        }
        // Who was killed meanwhile is told of by the next wait.
        let Ok(registers) = ptrace::getregs(pid) else { continue };
        if let Some((address, _)) = functions.range(..=registers.rip).next_back() {
            let life = lives.get(&pid).copied().unwrap_or_else(|| {
                // A thread finds what its process has mapped.
                let is_thread = Path::new(&format!("/proc/{first}/task/{pid}")).exists();
                let shared = lives.get(&first).copied().filter(|_| is_thread);
                let life = shared.unwrap_or(lived);
                lived += usize::from(shared.is_none());
                lives.insert(pid, life);
                life
            });
            let next = found.len();
            found.entry(*address).or_insert((next, BTreeSet::new())).1.insert(life);
        }
        let passed = (!matches!(signal, Signal::SIGTRAP | Signal::SIGSTOP)).then_some(signal);
        let _ = ptrace::step(pid, passed);
    }
    let mut used: Vec<_> = found.into_iter().collect();
    used.sort_by_key(|(_, (first_use, lives))| (place(lives), *first_use));
    Ok(used.iter().filter_map(|(address, _)| functions.get(address)).flatten().cloned().collect())
}

/// Which of the parts a function goes to that is used in these lives.
fn place(lives: &BTreeSet<usize>) -> usize {
    match (lives.first(), lives.len()) {
        (None | Some(0), _) => 0,
        (Some(1), 1) => 1,
        (Some(_), 2..) => 2,
        (Some(life), _) => 1 + life,
    }
}

/// The symbols of functions by their addresses; some are the same function.
fn functions(program: &str) -> Result<BTreeMap<u64, Vec<String>>, Box<dyn Error>> {
    let listed = Command::new("nm").args(["--defined-only", program]).output()?;
    let text = String::from_utf8(listed.stdout)?;
    let mut functions: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let listed = text.lines().filter_map(|line| {
        let (address, rest) = line.split_once(' ')?;
        let name = rest.strip_prefix("t ").or_else(|| rest.strip_prefix("T "))?;
        Some((u64::from_str_radix(address, 16).ok()?, name.to_owned()))
    });
    for (address, name) in listed {
        functions.entry(address).or_default().push(name);
    }
    if functions.is_empty() {
        return Err(format!("nm finds no functions in {program}").into());
    }
    Ok(functions)
}

/// The line of a linker script that has the section of a function, whatever its hash is, and the
/// number by which the compiler tells it from others of its name.
fn pattern(name: &str) -> String {
    let end = name.len().saturating_sub("17h0123456789abcdefE".len());
    let name = match name.get(end..) {
        Some(hash) if hash.starts_with("17h") && name.starts_with("_ZN") => {
            format!("{}17h*", &name[..end])
        }
        _ => numberless(name).split("Cs").enumerate().fold(String::new(), |text, (index, part)| {
            match (index, part.split_once('_')) {
                (1.., Some((_, rest))) => format!("{text}Cs*_{rest}"),
                _ => text + part,
            }
        }),
    };
    let name = name.replace('$', "?");
    format!("    *(.text.{name} .text.unlikely.{name})\n")
}

/// The name with `.*` for a number at its end.
fn numberless(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{name}.*")
        }
        _ => name.to_owned(),
    }
}
