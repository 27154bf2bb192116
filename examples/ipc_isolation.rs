//! An IPC namespace: System V objects and POSIX message queues have no place in the file
//! system, so neither a new root nor file permissions keep them apart; this does.
//!
//! ipcmk(1) makes a message queue on the host. The same ipcmk makes one in the container's
//! IPC namespace, entered with nsenter(1): all else is the host's there, so that nothing
//! but the namespace can make the difference.
//!
//! Read next: ipc_namespaces(7), sysvipc(7), mq_overview(7).

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use minirun::Container;
use support::{Demo, Result, Shell, Table, namespace};

const DEMO: Demo = Demo {
    intro: "One System V message queue is made on the host, one in the container's IPC\n\
            namespace, and a POSIX queue in the container. Each side lists what it sees,\n\
            System V queues by their keys.",
    columns: ["host", "container"],
    claim: "message queues are seen in their own IPC namespace only",
};

const QUEUES: &str = "/proc/sysvipc/msg";

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let mut shell = Shell::start(&Container::new(rootfs))?;

    let (host_namespace, namespace) = (namespace("ipc")?, shell.run("readlink /proc/self/ns/ipc")?);
    table.row("IPC namespace", &host_namespace, &namespace);
    table.expect(namespace != host_namespace, "two IPC namespaces", &namespace);

    let (host_queues, queues) = (on_host()?, inside(&mut shell)?);
    table.row("queues at first", in_words(&host_queues), in_words(&queues));
    table.expect(queues.is_empty(), "no queues in a new container", in_words(&queues));

    let host_queue = HostQueue::make()?;
    let made = key_of(&on_host()?, &host_queue.id)?;
    let (host_queues, queues) = (on_host()?, inside(&mut shell)?);
    table.row("one is made on the host", in_words(&host_queues), in_words(&queues));
    table.expect(
        !queues.iter().any(|queue| queue.key == made),
        format!("the host's queue {made} to be out of the container's sight"),
        in_words(&queues),
    );

    let id = make_inside(shell.pid()?)?;
    let (host_queues, queues) = (on_host()?, inside(&mut shell)?);
    let made_inside = key_of(&queues, &id)?;
    table.row("one is made inside", in_words(&host_queues), in_words(&queues));
    table.expect(
        host_queues.iter().any(|queue| queue.key == made)
            && !host_queues.iter().any(|queue| queue.key == made_inside),
        format!("the host to see its own queue {made} and not {made_inside}"),
        in_words(&host_queues),
    );

    // A file that is made in an mqueue filesystem is a queue (mq_overview(7)).
    let name = format!("demo-{}", std::process::id());
    let said = shell.run(&format!("touch /dev/mqueue/{name}; ls /dev/mqueue"))?;
    let host_said = posix_on_host()?;
    table.row("POSIX queues", &host_said, &said);
    table.expect(said == name, format!("the POSIX queue {name} inside"), &said);
    table.expect(!host_said.contains(&name), format!("no {name} on the host"), &host_said);
    Ok(())
}

/// One line of /proc/sysvipc/msg. Ids are small numbers in every namespace; keys, which
/// ipcmk makes at random, tell queues apart.
struct Queue {
    key: String,
    id: String,
}

/// The file shows the queues of the namespace of whoever opens it.
fn on_host() -> Result<Vec<Queue>> {
    parse(&fs::read_to_string(QUEUES).map_err(|error| format!("read {QUEUES}: {error}"))?)
}

fn inside(shell: &mut Shell) -> Result<Vec<Queue>> {
    parse(&shell.run(&format!("cat {QUEUES}"))?)
}

fn parse(text: &str) -> Result<Vec<Queue>> {
    let odd = || format!("expected the table of {QUEUES}; saw {text:?}");
    if !text.trim_start().starts_with("key") {
        return Err(odd().into());
    }
    let queue = |line: &str| {
        let mut fields = line.split_whitespace();
        let key: i32 = fields.next()?.parse().ok()?;
        Some(Queue { key: format!("{key:#010x}"), id: fields.next()?.to_owned() })
    };
    text.lines().skip(1).map(|line| queue(line).ok_or_else(|| odd().into())).collect()
}

fn key_of(queues: &[Queue], id: &str) -> Result<String> {
    let found = queues.iter().find(|queue| queue.id == id);
    let missing = || format!("expected the queue with id {id}; saw {}", in_words(queues));
    Ok(found.ok_or_else(missing)?.key.clone())
}

fn in_words(queues: &[Queue]) -> String {
    let keys: Vec<_> = queues.iter().map(|queue| queue.key.as_str()).collect();
    if keys.is_empty() { "none".to_owned() } else { keys.join(" ") }
}

/// A message queue on the host, and the shell that keeps it. Nothing ties a queue's life
/// to a process; so the shell waits at a pipe and removes the queue when the pipe closes,
/// which it does however this process ends.
struct HostQueue {
    id: String,
    keeper: Child,
}

const KEEPER: &str = r#"
    trap '' HUP INT QUIT TERM
    made=$(ipcmk -Q) || exit
    id=${made##* }
    echo "$id"
    read -r end_of_file
    ipcrm -q "$id"
"#;

impl HostQueue {
    fn make() -> Result<HostQueue> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", KEEPER]).env("LC_ALL", "C");
        let keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut queue = HostQueue { id: String::new(), keeper };
        if let Some(output) = queue.keeper.stdout.take() {
            BufReader::new(output).read_line(&mut queue.id)?;
        }
        queue.id.truncate(queue.id.trim_end().len());
        if queue.id.is_empty() {
            return Err("expected ipcmk to make a queue; saw none (it is in util-linux)".into());
        }
        Ok(queue)
    }
}

impl Drop for HostQueue {
    fn drop(&mut self) {
        self.keeper.stdin = None;
        let _ = self.keeper.wait();
    }
}

/// Makes a queue in the IPC namespace of a process; it ends with the namespace.
fn make_inside(pid: u32) -> Result<String> {
    let mut command = Command::new("nsenter");
    command.args(["--ipc", "--target", &pid.to_string()]);
    // An ordinary user's rights over the container come from its user namespace.
    let user = fs::read_link(format!("/proc/{pid}/ns/user"))
        .map_err(|error| format!("read /proc/{pid}/ns/user: {error}"))?;
    if user.display().to_string() != namespace("user")? {
        command.args(["--user", "--preserve-credentials"]);
    }
    command.args(["ipcmk", "-Q"]).env("LC_ALL", "C");
    let output =
        command.output().map_err(|error| format!("run nsenter (it is in util-linux): {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim().rsplit(' ').next() {
        Some(id) if output.status.success() => Ok(id.to_owned()),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("expected ipcmk to make a queue inside; saw {:?}", said.trim()).into())
        }
    }
}

/// The names in the host's mqueue filesystem, which only a mount shows.
fn posix_on_host() -> Result<String> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut rows = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let Some(place) =
        rows.find_map(|row| (row.get(2) == Some(&"mqueue")).then(|| row[1].to_owned()))
    else {
        return Ok("(no mqueue is mounted)".to_owned());
    };
    let names = fs::read_dir(&place)?.map(|entry| Ok(entry?.file_name().display().to_string()));
    let names = names.collect::<Result<Vec<_>>>()?;
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(" ") })
}
