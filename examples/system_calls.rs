//! System calls: a program can compute by itself, but whatever lies outside of its memory, a
//! device above all, it reaches only by asking the kernel.
//!
//! A hello world is traced by its parent in the container (ptrace(2), as strace does it), and
//! its calls are counted by what they are for. Then it runs where the kernel refuses write(2)
//! to it. At the end it tries an instruction of the processor that is the kernel's alone.
//!
//! Read next: syscalls(2), strace(1), ptrace(2), proc_pid_syscall(5).

mod support;

use std::fs;
use std::io::{Read, Write, pipe};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use minirun::{Container, Seccomp};
use nix::sys::ptrace;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;
use support::findings::{Findings, end, found};
use support::fork::fork;
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "A hello world in a container is traced: each of its system calls is counted. Then\n\
            it runs once more where the kernel refuses to write for it.",
    columns: ["how often", "which"],
    claim: "a program reaches a device by system calls, and in no other way",
};

const HELLO: &str = "hello\n";

type Names = &'static [(libc::c_long, &'static str)];

/// What a small program asks for, by what it is for.
const KINDS: [(&str, Names); 4] = [
    ("output", &[(libc::SYS_write, "write"), (libc::SYS_writev, "writev")]),
    (
        "memory",
        &[
            (libc::SYS_mmap, "mmap"),
            (libc::SYS_munmap, "munmap"),
            (libc::SYS_mprotect, "mprotect"),
            (libc::SYS_brk, "brk"),
            (libc::SYS_madvise, "madvise"),
            (libc::SYS_mremap, "mremap"),
        ],
    ),
    (
        "files",
        &[
            (libc::SYS_openat, "openat"),
            (libc::SYS_close, "close"),
            (libc::SYS_read, "read"),
            (libc::SYS_pread64, "pread64"),
            (libc::SYS_fstat, "fstat"),
            (libc::SYS_newfstatat, "newfstatat"),
            (libc::SYS_faccessat, "faccessat"),
            (libc::SYS_fcntl, "fcntl"),
            (libc::SYS_ppoll, "ppoll"),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_access, "access"),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_poll, "poll"),
        ],
    ),
    (
        "itself and its signals",
        &[
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_arch_prctl, "arch_prctl"),
            (libc::SYS_set_tid_address, "set_tid_address"),
            (libc::SYS_set_robust_list, "set_robust_list"),
            (libc::SYS_rseq, "rseq"),
            (libc::SYS_prlimit64, "prlimit64"),
            (libc::SYS_sched_getaffinity, "sched_getaffinity"),
            (libc::SYS_getrandom, "getrandom"),
            (libc::SYS_gettid, "gettid"),
            (libc::SYS_rt_sigaction, "rt_sigaction"),
            (libc::SYS_rt_sigprocmask, "rt_sigprocmask"),
            (libc::SYS_sigaltstack, "sigaltstack"),
            (libc::SYS_exit_group, "exit_group"),
        ],
    ),
];

pub fn main() -> ExitCode {
    match itself::part().as_deref() {
        None => DEMO.run_without_rootfs(compare),
        Some("tracer") => end(trace()),
        Some("privileged") => privileged_instruction(),
        Some(_) => match std::io::stdout().write_all(HELLO.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
    }
}

/// Runs the hello world and writes down each call that it makes, as a number.
fn trace() -> Result<()> {
    let (mut reader, writer) = pipe()?;
    let child = fork(|| {
        ptrace::traceme()?;
        Err(itself::again("hello")?.stdout(writer).exec().into())
    })?;
    let pid = child.pid();
    // It stops when its execve has succeeded.
    if !matches!(waitpid(pid, None)?, WaitStatus::Stopped(..)) {
        return Err("expected the program to stop at its start".into());
    }
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(pid, options)?;
    let mut calls = Vec::new();
    // A traced process stops twice at each call: before the kernel carries it out, and after.
    let mut begins = true;
    loop {
        ptrace::syscall(pid, None)?;
        match waitpid(pid, None)? {
            WaitStatus::PtraceSyscall(_) => {
                if begins {
                    calls.push(number_of_call(pid)?);
                }
                begins = !begins;
            }
            WaitStatus::Exited(..) => break,
            other => return Err(format!("expected calls until its end; saw {other:?}").into()),
        }
    }
    drop(child);
    let mut output = String::new();
    reader.read_to_string(&mut output)?;
    found("bytes", output.len())?;
    let calls: Vec<String> = calls.iter().map(u64::to_string).collect();
    found("calls", calls.join(" "))
}

/// The number of the system call that a stopped process is in.
fn number_of_call(pid: Pid) -> Result<u64> {
    let said = fs::read_to_string(format!("/proc/{pid}/syscall"))?;
    let number = said.split(' ').next().unwrap_or_default();
    Ok(number.parse().map_err(|_| format!("expected a system call; saw {said:?}"))?)
}

/// Stops the processor until the next interrupt, if the processor allows that.
#[allow(unsafe_code, reason = "no safe code has this instruction")]
fn privileged_instruction() -> ExitCode {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: It touches neither memory nor registers; if it came to that, it would only wait.
    unsafe {
        std::arch::asm!("hlt", options(nomem, nostack, preserves_flags));
    }
    ExitCode::SUCCESS
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "tracer")?)?;
    let calls: Vec<libc::c_long> =
        seen.text("calls")?.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
    let mut others = calls.clone();
    for (kind, names) in KINDS {
        let made: Vec<(usize, &str)> = names
            .iter()
            .map(|(number, name)| (calls.iter().filter(|call| *call == number).count(), *name))
            .filter(|(count, _)| *count > 0)
            .collect();
        others.retain(|call| names.iter().all(|(number, _)| call != number));
        let count: usize = made.iter().map(|(count, _)| count).sum();
        let made: Vec<String> =
            made.iter().map(|(count, name)| format!("{count} {name}")).collect();
        table.row(kind, count, made.join(", "));
        if kind == "output" {
            table.expect(count == 1, "one call that writes", count);
        }
    }
    if !others.is_empty() {
        let numbers: Vec<String> = others.iter().map(ToString::to_string).collect();
        table.row("others", others.len(), format!("numbers {}", numbers.join(", ")));
    }
    table.row("all system calls", calls.len(), "");
    let bytes = seen.number("bytes")?;
    table.row("bytes that came out", bytes, "by the write");
    table.expect(bytes == HELLO.len() as u64, "all of hello to come out", bytes);

    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["write", "writev"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }],
    });
    let mut mute = Container::empty();
    mute.seccomp(Seccomp::Profile(profile));
    let output = itself::play(&mute, "hello")?.output()?;
    table.row("where write is refused", output.stdout.len(), "it only learns that it failed");
    table.expect(
        output.stdout.is_empty() && output.status.exit_code() == 1,
        "nothing to come out where write is refused",
        format!("{} bytes, status {}", output.stdout.len(), output.status.exit_code()),
    );

    if cfg!(target_arch = "x86_64") {
        let output = itself::play(&Container::empty(), "privileged")?.output()?;
        let signal = output.status.signal();
        table.row("hlt, by itself", signal.map_or("done", |_| "refused"), "killed by SIGSEGV");
        table.expect(
            signal == Some(libc::SIGSEGV),
            "the processor to refuse an instruction of the kernel's",
            format!("signal {signal:?}"),
        );
    }
    Ok(())
}
