//! A user namespace: root inside is an ordinary id outside, by a map that is written once.
//!
//! Capabilities count in a user namespace and in what belongs to it, such as the container's
//! host name; over what belongs to the machine they give nothing.
//!
//! Read next: user_namespaces(7), capabilities(7), subuid(5).

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::ExitCode;

use minirun::host::Host;
use minirun::{Capability, Container, UserNamespace};
use serde_json::{Value, json};
use support::bundle::BundledShell;
use support::{Demo, Result, Table, children, namespace};

const DEMO: Demo = Demo {
    intro: "A shell is root in a user namespace of its own. Both sides say who it is and whose\n\
            the files are; then it tries what a root may do, with two capabilities for it.",
    columns: ["host", "container"],
    claim: "root inside is whom the id map names outside, and has rights inside alone",
};

/// Root's containers get ids that nobody else has; everybody else has one id to give at least.
const FIRST_ID: u32 = 100_000;

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let mut container = Container::new(rootfs);
    container.cap_add([Capability::SysAdmin, Capability::Mknod]);
    let host = Host::read()?;
    let mut shell = if host.is_real_root() && is_reachable(rootfs)? {
        BundledShell::start(&container, with_ids_of_nobody)?
    } else if host.uid == 0 {
        // Then root inside is root outside, without its rights.
        BundledShell::start(container.user_namespace(UserNamespace::Single), |_| ())?
    } else {
        BundledShell::start(&container, |_| ())?
    };

    let (host_namespace, namespace) =
        (namespace("user")?, shell.run("readlink /proc/self/ns/user")?);
    table.row("user namespace", &host_namespace, &namespace);
    table.expect(namespace != host_namespace, "two user namespaces", &namespace);

    let map = shell.run("cat /proc/self/uid_map")?;
    table.row("uids: inside outside count", ranges(&fs::read_to_string(MAP)?), ranges(&map));
    let outside = map.split_whitespace().nth(1).unwrap_or_default().to_owned();

    let pid1 = shell.pid1()?;
    let [ref process] = children(pid1)?[..] else {
        return Err("expected init to have one child; saw others".into());
    };
    let (host_sees, inside) = (uid_of(process.pid)?, shell.run("id -u")?);
    table.row("uid of the shell", &host_sees, &inside);
    table.expect(inside == "0", "uid 0 inside", &inside);
    table.expect(host_sees == outside, format!("uid {outside} on the host"), &host_sees);

    shell.run("touch /mnt/made")?;
    let host_sees = fs::metadata(shell.shared().join("made"))?.uid().to_string();
    let inside = shell.run("stat -c %u /mnt/made")?;
    table.row("owner of a file of its", &host_sees, &inside);
    table.expect(inside == "0", "the file to be root's inside", &inside);
    table.expect(host_sees == outside, format!("the file to be {outside}'s"), &host_sees);

    // A file of the kernel's is the machine's root's, whichever namespace looks at it.
    let host_sees = fs::metadata(MACHINE)?.uid();
    let inside = shell.run(&format!("stat -c %u {MACHINE}"))?;
    table.row(&format!("owner of {MACHINE}"), host_sees, &inside);
    if outside != "0" {
        table.expect(inside != "0", "the machine's root to be somebody else inside", &inside);
    }

    let answer = attempt(&mut shell, "hostname other")?;
    table.row("naming its UTS namespace", "(not tried)", &answer);
    table.expect(answer == "allowed", "rights over what belongs to the namespace", &answer);
    let answer = attempt(&mut shell, "mknod /mnt/null c 1 3")?;
    table.row("making a device node", "(not tried)", &answer);
    table.expect(
        answer == "Operation not permitted",
        "no rights over the machine's devices, CAP_MKNOD or not",
        &answer,
    );
    Ok(())
}

const MAP: &str = "/proc/self/uid_map";
const MACHINE: &str = "/proc/meminfo";

fn with_ids_of_nobody(config: &mut Value) {
    let map = json!([{ "containerID": 0, "hostID": FIRST_ID, "size": 65536 }]);
    let linux = &mut config["linux"];
    (linux["uidMappings"], linux["gidMappings"]) = (map.clone(), map);
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.push(json!({ "type": "user" }));
    }
}

/// Whether everybody may go through every directory above.
fn is_reachable(rootfs: &Path) -> Result<bool> {
    for directory in fs::canonicalize(rootfs)?.ancestors() {
        if fs::metadata(directory)?.permissions().mode() & 0o001 == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn ranges(map: &str) -> String {
    let range = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    map.lines().map(range).collect::<Vec<_>>().join(", ")
}

/// The real uid of a process, in this process's user namespace.
fn uid_of(pid: u32) -> Result<String> {
    let file = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&file).map_err(|error| format!("read {file}: {error}"))?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    Ok(uids.split_whitespace().next().unwrap_or_default().to_owned())
}

/// What a command's complaint ends with, which is the system's words.
fn attempt(shell: &mut BundledShell, command: &str) -> Result<String> {
    let said = shell.run(&format!("{command} && echo allowed"))?;
    Ok(said.rsplit(": ").next().unwrap_or_default().to_owned())
}
