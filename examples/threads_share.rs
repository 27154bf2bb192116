//! Threads are tasks of one process: they share its memory and its pid, and each has a number
//! of its own, the tid, which ps(1) calls LWP. Processes made by fork(2) share neither.
//!
//! To the kernel's scheduler both are tasks; /proc/PID/task has those of one process.
//!
//! Read next: pthreads(7), gettid(2), clone(2) on CLONE_THREAD, proc_pid_task(5).

mod support;

use std::fs;
use std::io::{PipeWriter, Read, Write};
use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use minirun::{Child, Container, Stdio};
use nix::unistd::{getpid, gettid};
use support::findings::{end, found};
use support::fork::{Forked, fork};
use support::{Demo, Result, Table, children, itself, read_until};

const DEMO: Demo = Demo {
    intro: "A program in a container counts to 1000 in each of four threads; then in each of\n\
            four processes. All of them stay, so that the host can look for them.",
    columns: ["four threads", "four processes"],
    claim: "threads share a pid and memory but no LWP; processes share none of them",
};

const TASKS: usize = 4;
const ROUNDS: u64 = 1000;

static COUNTER: AtomicU64 = AtomicU64::new(0);

pub fn main() -> ExitCode {
    match itself::part().as_deref() {
        None => DEMO.run_without_rootfs(compare),
        Some("threads") => end(threads()),
        Some(_) => end(processes()),
    }
}

fn count() -> Result<()> {
    for _ in 0..ROUNDS {
        COUNTER.fetch_add(1, Ordering::Relaxed);
    }
    found("task", format!("{} {}", getpid(), gettid()))
}

/// The first task says what it reads in the counter, and stays until it is told to end.
fn first() -> Result<()> {
    found("counter", COUNTER.load(Ordering::Relaxed))?;
    found("all", "ready")?;
    wait_for_end()
}

fn wait_for_end() -> Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn threads() -> Result<()> {
    let (counted, ended) = (Barrier::new(TASKS), Barrier::new(TASKS));
    thread::scope(|scope| {
        for _ in 1..TASKS {
            scope.spawn(|| {
                let outcome = count();
                counted.wait();
                ended.wait();
                end(outcome)
            });
        }
        let outcome = count();
        counted.wait();
        let outcome = outcome.and_then(|()| first());
        ended.wait();
        outcome
    })
}

fn processes() -> Result<()> {
    let (mut counted, done) = std::io::pipe()?;
    let child = |mut done: &PipeWriter| -> Result<Forked> {
        fork(|| {
            count()?;
            done.write_all(b".")?;
            wait_for_end()?;
            Ok(0)
        })
    };
    let children: Vec<Forked> = (1..TASKS).map(|_| child(&done)).collect::<Result<_>>()?;
    count()?;
    counted.read_exact(&mut [0; TASKS - 1])?;
    first()?;
    children.into_iter().try_for_each(Forked::succeed)
}

/// What was seen of one run.
struct Seen {
    /// By the tasks' own words, in order.
    pids: Vec<u32>,
    tids: Vec<u32>,
    counter: u64,
    /// On the host: a process each, with its tasks.
    processes: Vec<(u32, Vec<Task>)>,
}

struct Task {
    tid: u32,
    /// Its number inside.
    inner: u32,
}

fn compare(table: &mut Table) -> Result<()> {
    let [threads, processes] = [run("threads")?, run("processes")?];

    let of = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    table.row("getpid() in each", of(&threads.pids), of(&processes.pids));
    table.row("gettid() in each", of(&threads.tids), of(&processes.tids));
    let pid = threads.tids[0];
    table.expect(threads.pids == [pid; TASKS], "one pid in all threads", of(&threads.pids));
    table.expect(processes.pids == processes.tids, "a pid a process", of(&processes.pids));
    for seen in [&threads, &processes] {
        table.expect(is_distinct(&seen.tids), "four numbers", of(&seen.tids));
    }

    let outside = |seen: &Seen| of(&seen.processes.iter().map(|(pid, _)| *pid).collect::<Vec<_>>());
    table.row("pids on the host", outside(&threads), outside(&processes));
    let tasks = |seen: &Seen| -> Vec<u32> {
        seen.processes.iter().flat_map(|(_, tasks)| tasks.iter().map(|task| task.tid)).collect()
    };
    table.row("LWPs on the host", of(&tasks(&threads)), of(&tasks(&processes)));
    let shape = |seen: &Seen| -> Vec<usize> {
        seen.processes.iter().map(|(_, tasks)| tasks.len()).collect()
    };
    table.expect(shape(&threads) == [TASKS], "a process of four tasks", outside(&threads));
    table.expect(shape(&processes) == [1; TASKS], "four of one", outside(&processes));
    for seen in [&threads, &processes] {
        let tasks = seen.processes.iter().flat_map(|(_, tasks)| tasks);
        let mut inner: Vec<u32> = tasks.map(|task| task.inner).collect();
        inner.sort_unstable();
        table.expect(inner == seen.tids, "the same tasks on both sides", of(&inner));
    }

    table.row("the counter, in the first", threads.counter, processes.counter);
    let all = ROUNDS * TASKS as u64;
    table.expect(threads.counter == all, format!("{all} by all threads"), threads.counter);
    table.expect(processes.counter == ROUNDS, "its own rounds alone", processes.counter);
    Ok(())
}

fn is_distinct(numbers: &[u32]) -> bool {
    numbers.len() == TASKS && numbers.windows(2).all(|pair| pair[0] < pair[1])
}

fn run(part: &str) -> Result<Seen> {
    let mut command = itself::play(&Container::empty(), part)?;
    let mut child = command.stdin(Stdio::Piped).stdout(Stdio::Piped).spawn()?;
    let seen = watch(&mut child);
    if seen.is_err() {
        child.kill()?;
    }
    // Its standard input ends here, and with it the program.
    let status = child.wait()?.exit_code();
    match seen {
        Ok(_) if status != 0 => Err(format!("expected it to end with 0; saw {status}").into()),
        seen => seen,
    }
}

fn watch(child: &mut Child) -> Result<Seen> {
    let output = child.stdout.as_mut().ok_or("expected a pipe; saw none")?;
    let said = read_until(output, "all ready\n")?;
    let mut numbers: Vec<[u32; 2]> = Vec::new();
    let mut counter = 0;
    for line in said.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["task", pid, tid] => numbers.push([pid.parse()?, tid.parse()?]),
            ["counter", count] => counter = count.parse()?,
            _ => return Err(format!("expected a task; saw {line:?}").into()),
        }
    }
    numbers.sort_unstable_by_key(|[_, tid]| *tid);
    let [ref target] = children(child.id())?[..] else {
        return Err("expected init to have one child; saw others".into());
    };
    let mut pids = vec![target.pid];
    pids.extend(children(target.pid)?.into_iter().map(|process| process.pid));
    let processes = pids.into_iter().map(|pid| Ok((pid, tasks(pid)?))).collect::<Result<_>>()?;
    Ok(Seen {
        pids: numbers.iter().map(|[pid, _]| *pid).collect(),
        tids: numbers.iter().map(|[_, tid]| *tid).collect(),
        counter,
        processes,
    })
}

/// The tasks of a process, with the last of the numbers that each has.
fn tasks(pid: u32) -> Result<Vec<Task>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let entry = entry?;
        let status = fs::read_to_string(entry.path().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let inner = line.and_then(|line| line.split_whitespace().next_back());
        found.push(Task {
            tid: entry.file_name().to_string_lossy().parse()?,
            inner: inner.ok_or("expected NSpid in a task's status; saw none")?.parse()?,
        });
    }
    Ok(found)
}
