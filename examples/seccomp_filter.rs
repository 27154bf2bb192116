//! seccomp: a program in the kernel looks at the number and the arguments of each system call
//! before it is carried out, and may answer in its place, or kill.
//!
//! It can't be taken off again and goes over to every child. Where pointers lead it can't see,
//! so that a path, for example, is nothing to choose by.
//!
//! Read next: seccomp(2), and "Seccomp" in proc_pid_status(5).

mod support;

use std::path::Path;
use std::process::ExitCode;

use minirun::{Container, Seccomp};
use serde_json::{Value, json};
use support::{Demo, Result, Shell, Table};

const DEMO: Demo = Demo {
    intro: "The same commands are run in a container whose system calls aren't filtered, and\n\
            under a profile of four rules; and one under the profile that containers have\n\
            when nothing else is asked for.",
    columns: ["no filter", "the profile"],
    claim: "a filter answers system calls by their number and arguments alone",
};

/// What is done, the command, and how that ends under the profile.
const ATTEMPTS: [(&str, &str, &str); 7] = [
    ("mkdir: EPERM", "mkdir /mnt/made", "Operation not permitted"),
    ("the same in a grandchild", "sh -c 'sh -c \"mkdir /mnt/again\"'", "Operation not permitted"),
    ("symlink: ENOSYS", "ln -s target /mnt/link", "Function not implemented"),
    ("chmod to 755: no rule", "chmod 755 /mnt/file", "allowed"),
    ("chmod to 4755: EPERM", "chmod 4755 /mnt/file", "Operation not permitted"),
    ("setpriority: killed", "renice -n 1 $$", "killed by signal 31"),
    ("unlink: no rule", "rm /mnt/file", "allowed"),
];

/// Under each name that a call has on some machine; what comes as an argument is compared as a
/// number.
fn profile() -> Value {
    let refuse = |names: &[&str], errno: i32| {
        json!({
            "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno,
        })
    };
    let set_uid_bit = |name: &str, argument: u32| {
        json!({
            "names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM,
            "args": [{
                "index": argument, "op": "SCMP_CMP_MASKED_EQ", "value": 0o4000, "valueTwo": 0o4000,
            }],
        })
    };
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            refuse(&["mkdir", "mkdirat"], libc::EPERM),
            refuse(&["symlink", "symlinkat"], libc::ENOSYS),
            set_uid_bit("chmod", 1),
            set_uid_bit("fchmodat", 2),
            { "names": ["setpriority"], "action": "SCMP_ACT_KILL_PROCESS" },
        ],
    })
}

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let mut container = Container::new(rootfs);
    container.seccomp(Seccomp::Unconfined).tmpfs("/mnt", &[]);
    let mut free = Shell::start(&container)?;
    let mut filtered = Shell::start(container.clone().seccomp(Seccomp::Profile(profile())))?;
    let mut default = Shell::start(container.seccomp(Seccomp::Default))?;

    let filters = |shell: &mut Shell| -> Result<u32> {
        let count = shell.run("sed -n 's/^Seccomp_filters:.//p' /proc/self/status")?;
        Ok(count.parse().map_err(|_| format!("expected a number of filters; saw {count:?}"))?)
    };
    // Whoever runs this may be under a filter themselves.
    let (some, more) = (filters(&mut free)?, filters(&mut filtered)?);
    table.row("filters on a process", some, more);
    table.expect(more == some + 1, "one filter more", more);

    for shell in [&mut free, &mut filtered] {
        shell.run(": > /mnt/file")?;
    }
    for (what, command, expected) in ATTEMPTS {
        let (allowed, seen) = (attempt(&mut free, command)?, attempt(&mut filtered, command)?);
        table.row(what, &allowed, &seen);
        table.expect(allowed == "allowed", format!("{command:?} without a filter"), &allowed);
        table.expect(seen == expected, format!("{command:?}: {expected}"), &seen);
    }
    // Some machines allow nobody that.
    let command = "unshare -U true";
    let (allowed, seen) = (attempt(&mut free, command)?, attempt(&mut default, command)?);
    table.row("a user namespace, under the default profile", &allowed, &seen);
    table.expect(seen == "Operation not permitted", "no new namespaces by default", &seen);
    Ok(())
}

/// How a command ends: the system's words are the last of its complaint.
fn attempt(shell: &mut Shell, command: &str) -> Result<String> {
    let said = shell.run(&format!(
        "({command}); status=$?; case $status in 0) echo allowed ;; 1) ;;
         *) echo \"killed by signal $((status - 128))\" ;; esac"
    ))?;
    Ok(said.lines().last().unwrap_or_default().rsplit(": ").next().unwrap_or_default().to_owned())
}
