//! Capabilities: root's power in pieces. A process with uid 0 that lacks one of them is refused
//! what that one is for, and nothing else.
//!
//! No system call is filtered here and no user id changes, so that nothing but the missing
//! capability makes the difference.
//!
//! Read next: capabilities(7), and CapEff in proc_pid_status(5).

mod support;

use std::path::Path;
use std::process::ExitCode;

use minirun::{Capability, Container, Seccomp};
use support::{Demo, Result, Shell, Table};

const DEMO: Demo = Demo {
    intro: "Root tries five things in a container that has the capabilities for all of them,\n\
            and each of them in one that lacks the one capability that is for it.",
    columns: ["with it", "without it"],
    claim: "what uid 0 may do are its capabilities, each by itself",
};

/// A capability, what it is for, a command that needs it, and the kernel's refusal.
const ATTEMPTS: [(Capability, &str, &str, &str); 5] = [
    (
        Capability::DacOverride,
        "write to a read-only file",
        "echo > /mnt/locked",
        "Permission denied",
    ),
    (
        Capability::NetBindService,
        "listen on port 80",
        "httpd -p 127.0.0.1:80 -h /mnt",
        "Permission denied",
    ),
    (Capability::SysChroot, "change the root", "chroot / true", "Operation not permitted"),
    (Capability::NetAdmin, "set an address", "ifconfig lo 127.0.0.2", "Operation not permitted"),
    (Capability::SysAdmin, "set the host name", "hostname other", "Operation not permitted"),
];

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let all = ATTEMPTS.map(|(capability, ..)| capability);
    let mut container = Container::new(rootfs);
    container.cap_drop_all().cap_add(all).seccomp(Seccomp::Unconfined).tmpfs("/mnt", &[]);
    let mut with = shell(&container)?;
    let mut with_none = shell(container.clone().cap_drop(all))?;
    let effective = "sed -n 's/^CapEff:.//p' /proc/self/status";
    let (some, none) = (with.run(effective)?, with_none.run(effective)?);
    table.row("all five: CapEff", &some, &none);
    let count = |mask: &str| u64::from_str_radix(mask, 16).map(u64::count_ones);
    table.expect(count(&some) == Ok(5), "five bits with all five", &some);
    table.expect(count(&none) == Ok(0), "no bit without", &none);
    let (some, none) = (with.run("id -u")?, with_none.run("id -u")?);
    table.row("all five: uid", &some, &none);
    table.expect(some == "0" && none == "0", "uid 0 in both", format!("{some}, {none}"));

    for (capability, what, command, refusal) in ATTEMPTS {
        let mut without = shell(container.clone().cap_drop([capability]))?;
        let (allowed, refused) = (attempt(&mut with, command)?, attempt(&mut without, command)?);
        table.row(&format!("CAP_{capability}: {what}"), &allowed, &refused);
        table.expect(allowed == "allowed", format!("to {what} with {capability}"), &allowed);
        table.expect(refused == refusal, format!("{capability} to be missed"), &refused);
        // Whoever lacks one has the others still.
        for (other, what, command, _) in ATTEMPTS.iter().filter(|row| row.0 != capability) {
            let seen = attempt(&mut without, command)?;
            table.expect(
                seen == "allowed",
                format!("to {what} with {other}, without {capability}"),
                &seen,
            );
        }
    }
    Ok(())
}

fn shell(container: &Container) -> Result<Shell> {
    let mut shell = Shell::start(container)?;
    shell.run(": > /mnt/locked; chmod 444 /mnt/locked")?;
    Ok(shell)
}

/// What a command's complaint ends with, which is the system's words. In a subshell, so that
/// no shell ends with a redirection that fails.
fn attempt(shell: &mut Shell, command: &str) -> Result<String> {
    let said = shell.run(&format!("({command}) && echo allowed"))?;
    Ok(said.rsplit(": ").next().unwrap_or_default().to_owned())
}
