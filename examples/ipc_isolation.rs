//! An IPC namespace: System V objects and POSIX message queues have no place in the file
//! system, so neither a new root nor file permissions keep them apart; this does.
//!
//! The same program is started on the host and in a container. Either makes queues when it is
//! told to, and lists what it sees in /proc/sysvipc/msg, which shows the queues of the
//! namespace of whoever opens it.
//!
//! Read next: ipc_namespaces(7), sysvipc(7), msgget(2), mq_overview(7).

mod support;

use std::fs::{self, File};
use std::io::{BufRead, Write, stdin};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, ExitCode};

use minirun::{Child, Container, Stdio};
use support::findings::{end, found};
use support::queue::Queue;
use support::{Demo, Result, Table, itself, namespace, read_until};

const DEMO: Demo = Demo {
    intro: "One System V message queue is made on the host, one in a container, and a POSIX\n\
            queue in the container. Each side lists what it sees, System V queues by their\n\
            keys.",
    columns: ["host", "container"],
    claim: "message queues are seen in their own IPC namespace only",
};

const QUEUES: &str = "/proc/sysvipc/msg";

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(serve()),
        None => DEMO.run_without_rootfs(compare),
    }
}

/// Does what each line says, until there are no more; what was made is removed then.
fn serve() -> Result<()> {
    let mut made = Vec::new();
    for line in stdin().lock().lines() {
        let answer = match line?.split(' ').collect::<Vec<_>>()[..] {
            ["namespace"] => namespace("ipc")?,
            ["list"] => in_words(&keys()?),
            ["make"] => {
                let queue = Queue::make()?;
                let key = in_hex(queue.key);
                made.push(queue);
                key
            }
            // A file that is made in an mqueue filesystem is a queue (mq_overview(7)).
            ["posix", name] => {
                let place = mqueue()?.ok_or("expected an mqueue filesystem; saw none")?;
                File::create(place.join(name))?;
                posix()?
            }
            ["posix"] => posix()?,
            ref words => return Err(format!("expected something to do; saw {words:?}").into()),
        };
        found("it", answer)?;
    }
    Ok(())
}

fn keys() -> Result<Vec<String>> {
    let text = fs::read_to_string(QUEUES).map_err(|error| format!("read {QUEUES}: {error}"))?;
    let key = |line: &str| Some(in_hex(line.split_whitespace().next()?.parse().ok()?));
    let odd = || format!("expected the table of {QUEUES}; saw {text:?}").into();
    text.lines().skip(1).map(|line| key(line).ok_or_else(odd)).collect()
}

fn in_hex(key: i32) -> String {
    format!("{key:#010x}")
}

fn in_words(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

/// The POSIX queues, which only a mounted mqueue filesystem shows.
fn posix() -> Result<String> {
    let Some(place) = mqueue()? else {
        return Ok("(no mqueue is mounted)".to_owned());
    };
    let names = fs::read_dir(&place)?.map(|entry| Ok(entry?.file_name().display().to_string()));
    Ok(in_words(&names.collect::<Result<Vec<_>>>()?))
}

fn mqueue() -> Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut rows = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let row = rows.find(|row| row.get(2) == Some(&"mqueue"));
    Ok(row.and_then(|row| row.get(1).map(PathBuf::from)))
}

fn compare(table: &mut Table) -> Result<()> {
    let (mut host, mut container) = (Side::host()?, Side::container()?);
    let mut both = |command: &str| -> Result<[String; 2]> {
        Ok([host.ask(command)?, container.ask(command)?])
    };

    let [left, right] = both("namespace")?;
    table.row("IPC namespace", &left, &right);
    table.expect(left != right, "two IPC namespaces", &right);

    let [left, right] = both("list")?;
    table.row("queues at first", &left, &right);
    table.expect(right == "none", "no queues in a new container", &right);

    let [made, made_inside] = both("make")?;
    table.row("each makes one", &made, &made_inside);
    let [left, right] = both("list")?;
    table.row("queues then", &left, &right);
    table.expect(
        left.contains(&made) && !left.contains(&made_inside),
        format!("the host to see its own queue {made} and not {made_inside}"),
        &left,
    );
    table.expect(right == made_inside, format!("{made_inside} alone inside"), &right);

    let name = format!("demo-{}", process::id());
    let right = container.ask(&format!("posix {name}"))?;
    let left = host.ask("posix")?;
    table.row("a POSIX queue inside", &left, &right);
    table.expect(right == name, format!("the POSIX queue {name} inside"), &right);
    table.expect(!left.contains(&name), format!("no {name} on the host"), &left);
    Ok(())
}

/// The program on one side. It ends when it has no more to read, which is also when this
/// process ends, however that comes about.
struct Side {
    input: Option<File>,
    output: File,
    program: Program,
}

enum Program {
    Host(process::Child),
    Container(Box<Child>),
}

impl Side {
    fn host() -> Result<Side> {
        let mut command = itself::again("host")?;
        // Ctrl-C is for the demo alone.
        command.process_group(0).stdin(process::Stdio::piped()).stdout(process::Stdio::piped());
        let mut child = command.spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Side {
                input: Some(OwnedFd::from(input).into()),
                output: OwnedFd::from(output).into(),
                program: Program::Host(child),
            }),
            _ => Err("expected pipes to the program; saw none".into()),
        }
    }

    fn container() -> Result<Side> {
        let mut command = itself::play(&Container::empty(), "container")?;
        let mut child = command.stdin(Stdio::Piped).stdout(Stdio::Piped).spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (input @ Some(_), Some(output)) => {
                Ok(Side { input, output, program: Program::Container(child.into()) })
            }
            _ => Err("expected pipes to the container; saw none".into()),
        }
    }

    fn ask(&mut self, command: &str) -> Result<String> {
        let input = self.input.as_mut().ok_or("expected a pipe; saw none")?;
        writeln!(input, "{command}")?;
        let answer = read_until(&mut self.output, "\n")?;
        Ok(answer.trim_start_matches("it ").to_owned())
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.input = None;
        match &mut self.program {
            Program::Host(child) => drop(child.wait()),
            Program::Container(child) => drop(child.wait()),
        }
    }
}
