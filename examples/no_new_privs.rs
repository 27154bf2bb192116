//! no_new_privs: an execve(2) gives nothing that the process didn't have, whatever bits the
//! program's file has. Children inherit it, and nobody can take it off again.
//!
//! ping is the classic of set-uid programs: it needs a raw socket, which takes CAP_NET_RAW,
//! which the program gets by being root's for as long as it runs.
//!
//! Read next: PR_SET_NO_NEW_PRIVS in prctl(2), execve(2) on set-user-ID, capabilities(7).

mod support;

use std::path::Path;
use std::process::ExitCode;

use minirun::{Capability, Container};
use support::{Demo, Result, Shell, Table};

const DEMO: Demo = Demo {
    intro: "An ordinary user inside pings 127.0.0.1: with a plain copy of busybox, and with one\n\
            that root has made set-uid. Both is done without no_new_privs and with it.",
    columns: ["without no_new_privs", "with it"],
    claim: "with no_new_privs an execve gives no privileges, set-uid or not",
};

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let mut container = Container::new(rootfs);
    container.cap_add([Capability::NetRaw]).tmpfs("/mnt", &["suid", "mode=755"]);
    let mut with = Shell::start(&container)?;
    let mut without = Shell::start(container.no_new_privileges(false))?;

    let own = "sed -n s/^NoNewPrivs:.//p /proc/self/status";
    let (left, right) = (without.run(own)?, with.run(own)?);
    table.row("NoNewPrivs", &left, &right);
    let grandchilds = format!("sh -c 'sh -c \"{own}\"'");
    let inherited = with.run(&grandchilds)?;
    table.row("NoNewPrivs of a grandchild", without.run(&grandchilds)?, &inherited);
    for seen in [&right, &inherited] {
        table.expect(seen == "1", "no_new_privs", seen);
    }

    let map = with.run("cat /proc/self/uid_map")?;
    // A set-uid program of the one id there is makes nobody of anybody else.
    let one_id = map.lines().count() == 1 && map.split_whitespace().nth(2) == Some("1");
    if one_id || left != "0" {
        let reason = if one_id { "(left out: one id)" } else { "(left out: inherited)" };
        table.row("ping by a user", reason, reason);
        return Ok(());
    }

    for shell in [&mut with, &mut without] {
        shell.run(
            "cd /mnt; cp /bin/busybox busybox; cp busybox set-uid; chmod 4755 set-uid; \
             mkdir plain root; ln -s ../busybox plain/ping; ln -s ../set-uid root/ping",
        )?;
    }
    for (what, command, expected) in [
        ("uid of the user", "id -u", ["1000"; 2]),
        ("ping", "/mnt/plain/ping -c 1 127.0.0.1", [REFUSED; 2]),
        ("ping, set-uid root", "/mnt/root/ping -c 1 127.0.0.1", ["answered", REFUSED]),
    ] {
        let seen = [as_user(&mut without, command)?, as_user(&mut with, command)?];
        table.row(what, &seen[0], &seen[1]);
        table.expect(seen == expected, expected.join(" and "), seen.join(" and "));
    }
    Ok(())
}

const REFUSED: &str = "permission denied";

/// How a command ends for uid 1000.
fn as_user(shell: &mut Shell, command: &str) -> Result<String> {
    let said = shell.run(&format!("su user -c '{command}'"))?;
    Ok(if said.contains("1 packets received") {
        "answered".to_owned()
    } else if said.contains(REFUSED) {
        REFUSED.to_owned()
    } else {
        said.replace('\n', ", ")
    })
}
