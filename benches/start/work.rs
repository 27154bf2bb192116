//! One piece of work of one contender, and what is measured of it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::contenders::{Contender, words};
use crate::measure::finish;
use crate::site::{self, Site};

/// What was measured, or what went wrong.
pub type Outcome<T> = std::result::Result<T, String>;

/// The container that others are executed in.
const RUNNING: &str = "bench-running";

/// Milliseconds from before fork to after wait.
pub fn start(site: &Site, contender: &Contender, lane: usize) -> Outcome<f64> {
    let mut command = run_command(site, contender, lane)?;
    let start = Instant::now();
    run(site, &mut command, lane)?;
    Ok(milliseconds(start))
}

/// Milliseconds of `create`, `start`, waiting for the container's end, and `delete`.
pub fn lifecycle(site: &Site, contender: &Contender, lane: usize) -> Outcome<f64> {
    let id = name(lane);
    let create = verb(site, contender, lane, "create --bundle", &[site.bundle("plain")])?;
    let mut delete = verb(site, contender, lane, "delete", &[id.as_str().into()])?;
    let start = Instant::now();
    let pid = create_and_start(site, contender, lane, create, &id)?;
    waitpid(pid, None).map_err(|errno| format!("wait for the container: {errno}"))?;
    run(site, &mut delete, lane)?;
    Ok(milliseconds(start))
}

/// Milliseconds of an `exec` in the container that [`start_running`] started.
pub fn exec(site: &Site, contender: &Contender, lane: usize) -> Outcome<f64> {
    let arguments = [RUNNING, "/bin/true"].map(OsString::from);
    let mut command = verb(site, contender, lane, "exec", &arguments)?;
    let start = Instant::now();
    run(site, &mut command, lane)?;
    Ok(milliseconds(start))
}

/// Milliseconds from what the payload wrote as the time of its end to the end of wait.
pub fn after_end(site: &Site, contender: &Contender, lane: usize) -> Outcome<f64> {
    let mut command = run_command(site, contender, lane)?;
    let (text, end) = output(site, &mut command, lane)?;
    let written: i64 = text.trim().parse().map_err(|_| format!("the payload said {text:?}"))?;
    Ok((end - written) as f64 / 1e6)
}

/// What the payload wrote.
pub fn number(site: &Site, contender: &Contender, lane: usize) -> Outcome<f64> {
    let (text, _) = output(site, &mut run_command(site, contender, lane)?, lane)?;
    text.trim().parse().map_err(|_| format!("the payload said {text:?}"))
}

/// KiB that it and what it waited for had resident at most, all of them apart.
pub fn peak_memory(site: &Site, contender: &Contender, lane: usize) -> Outcome<f64> {
    Ok(usage(site, contender, lane)?.0)
}

/// Peak of resident memory in KiB, and page faults that read nothing from a disk.
pub fn usage(site: &Site, contender: &Contender, lane: usize) -> Outcome<(f64, f64)> {
    let mut command = command(site, &site.program(site::PAYLOAD), lane)?;
    command.arg("usage").arg(contender.program.path(site).ok_or("it is gone")?);
    command.args((contender.arguments)(site, &name(lane)));
    let (text, _) = output(site, &mut command, lane)?;
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(peak)), Some(Ok(faults)), None) => Ok((peak, faults)),
        _ => Err(text),
    }
}

/// KiB that the runtime's process takes while its container runs on: pages that several
/// processes have are divided between them.
pub fn runtime_memory(site: &Site, contender: &Contender, lane: usize) -> Outcome<f64> {
    while_running(site, contender, lane, |runtime, _| {
        // Longer than minirun waits before it takes a container for one that lasts.
        std::thread::sleep(Duration::from_millis(300));
        memory(runtime, &["Pss:"])
    })
}

/// KiB that the container's first process has alone.
pub fn init_memory(site: &Site, contender: &Contender, lane: usize) -> Outcome<f64> {
    while_running(site, contender, lane, |_, init| {
        memory(init, &["Private_Clean:", "Private_Dirty:"])
    })
}

fn memory(pid: Pid, fields: &[&str]) -> Outcome<f64> {
    let file = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&file).map_err(|error| format!("read {file}: {error}"))?;
    let values = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        fields.contains(&words.next()?).then(|| words.next()?.parse::<f64>().ok())?
    });
    Ok(values.sum())
}

/// Looks at the runtime and at the container's first process while the payload pauses.
fn while_running(
    site: &Site,
    contender: &Contender,
    lane: usize,
    look: impl Fn(Pid, Pid) -> Outcome<f64>,
) -> Outcome<f64> {
    let said = |error: std::io::Error| error.to_string();
    let mut command = run_command(site, contender, lane)?;
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(said)?;
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let ready = { stdout }.read_exact(&mut [0]).map_err(|_| site.complaint(lane));
    let runtime = Pid::from_raw(child.id() as i32);
    let init = first_inside(runtime);
    let looked = ready.and_then(|()| look(runtime, init.ok_or("no container's process")?));
    // The runtime ends by itself when its container does.
    let _ = kill(init.unwrap_or(runtime), Signal::SIGKILL);
    finish(&mut child, lane).map_err(said)?;
    looked
}

/// The child of a runtime that is in another pid namespace.
fn first_inside(runtime: Pid) -> Option<Pid> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let threads = fs::read_dir(format!("/proc/{runtime}/task")).ok()?.flatten();
    let children =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children = children.collect::<String>();
    let mut inside = children.split_whitespace().filter(|pid| namespace(pid) != namespace("self"));
    inside.next()?.parse().ok().map(Pid::from_raw)
}

/// Starts a container that pauses until its first process, which is given back and is this
/// process's to wait for, is killed.
pub fn start_pausing(site: &Site, contender: &Contender, id: &str) -> Outcome<Pid> {
    let create = verb(site, contender, 0, "create --bundle", &[site.bundle("pausing")])?;
    create_and_start(site, contender, 0, create, id)
}

/// Starts the container that [`exec`] is measured in.
pub fn start_running(site: &Site, contender: &Contender) -> Outcome<Pid> {
    start_pausing(site, contender, RUNNING)
}

fn create_and_start(
    site: &Site,
    contender: &Contender,
    lane: usize,
    mut create: Command,
    id: &str,
) -> Outcome<Pid> {
    let pid_file = site.pid_file(lane);
    // What outlives the runtime becomes this process's child, which doesn't reap late.
    let adopt = |on| set_child_subreaper(on).map_err(|errno| errno.to_string());
    adopt(true)?;
    let created = run(site, create.arg("--pid-file").arg(&pid_file).arg(id), lane);
    adopt(false)?;
    created?;
    let pid = fs::read_to_string(pid_file).map_err(|error| format!("read its pid: {error}"))?;
    let pid = pid.trim().parse().map_err(|_| format!("its pid is {pid:?}"))?;
    run(site, &mut verb(site, contender, lane, "start", &[id.into()])?, lane)?;
    Ok(Pid::from_raw(pid))
}

/// Kills and reaps the first process of a container.
pub fn end(pid: Pid) {
    let _ = kill(pid, Signal::SIGKILL);
    while waitpid(pid, None) == Err(Errno::EINTR) {}
}

fn run_command(site: &Site, contender: &Contender, lane: usize) -> Outcome<Command> {
    let mut command = command(site, &contender.program.path(site).ok_or("it is gone")?, lane)?;
    command.args((contender.arguments)(site, &name(lane)));
    Ok(command)
}

/// A verb of an OCI runtime.
fn verb(
    site: &Site,
    contender: &Contender,
    lane: usize,
    verb: &str,
    arguments: &[OsString],
) -> Outcome<Command> {
    let mut command = run_command(site, contender, lane)?;
    command.args(words(verb)).args(arguments);
    Ok(command)
}

/// The name of the container in a lane.
fn name(lane: usize) -> String {
    format!("bench-{}-{lane}", std::process::id())
}

pub fn command(site: &Site, program: &Path, lane: usize) -> Outcome<Command> {
    let complaints = File::create(site.complaints(lane)).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command
        // Cargo's LD_LIBRARY_PATH alone would cost a dynamic program several open(2).
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(complaints);
    Ok(command)
}

/// Runs a command that is to succeed.
pub fn run(site: &Site, command: &mut Command, lane: usize) -> Outcome<()> {
    let said = |error: std::io::Error| error.to_string();
    let mut child = command.spawn().map_err(said)?;
    let status = finish(&mut child, lane).map_err(said)?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{status}: {}", site.complaint(lane)))
}

/// What a command wrote, little enough for a pipe, and when waiting for it ended, in
/// nanoseconds of CLOCK_MONOTONIC.
fn output(site: &Site, command: &mut Command, lane: usize) -> Outcome<(String, i64)> {
    let said = |error: std::io::Error| error.to_string();
    let (mut reader, writer) = std::io::pipe().map_err(said)?;
    command.stdout(writer);
    let outcome = run(site, command, lane);
    let end = now();
    // This process's end for writing.
    command.stdout(Stdio::null());
    outcome?;
    let mut text = String::new();
    reader.read_to_string(&mut text).map_err(said)?;
    Ok((text, end))
}

fn now() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
