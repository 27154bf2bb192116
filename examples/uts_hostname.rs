//! A UTS namespace: the container has a host name of its own, and may change it.
//!
//! Changing a host name takes CAP_SYS_ADMIN, which a container doesn't have by default;
//! the demo adds it to show that even then the host's name stays as it is.
//!
//! Read next: uts_namespaces(7), sethostname(2).

mod support;

use std::path::Path;
use std::process::ExitCode;

use minirun::{Capability, Container};
use support::{Demo, Result, Shell, Table, namespace};

const DEMO: Demo = Demo {
    intro: "A container is started with a host name of its own. Then it is given another one\n\
            from inside, by sethostname(2), while the host watches its own name.",
    columns: ["host", "container"],
    claim: "a host name belongs to a UTS namespace, not to the machine",
};

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let host_before = host_name()?;
    // Names that the host can't have by chance.
    let [given, chosen] = ["given", "chosen"].map(|word| format!("{word}-{}", std::process::id()));

    let mut container = Container::new(rootfs);
    container.hostname(&given);
    let refused = Shell::start(&container)?.run(&format!("hostname {chosen}; hostname"))?;
    let mut shell = Shell::start(container.cap_add([Capability::SysAdmin]))?;

    let (host_namespace, namespace) = (namespace("uts")?, shell.run("readlink /proc/self/ns/uts")?);
    table.row("UTS namespace", &host_namespace, &namespace);
    table.expect(namespace != host_namespace, "two UTS namespaces", &namespace);

    let at_start = shell.run("hostname")?;
    table.row("host name", &host_before, &at_start);
    table.expect(at_start == given, format!("the name {given} inside"), &at_start);

    let said = shell.run(&format!("hostname {chosen}"))?;
    let (host_after, after) = (host_name()?, shell.run("hostname")?);
    table.row("after a change inside", &host_after, &after);
    table.expect(after == chosen, format!("the name {chosen} inside"), format!("{after} {said}"));
    table.expect(
        host_after == host_before,
        format!("the host to be {host_before} still"),
        &host_after,
    );

    let still_given = refused.lines().last() == Some(given.as_str());
    let answer = refused.lines().next().unwrap_or_default();
    let answer = answer.rsplit(": ").next().unwrap_or_default();
    table.row("without CAP_SYS_ADMIN", "(not tried)", answer);
    table.expect(
        still_given && answer == "Operation not permitted",
        "the change to be refused without CAP_SYS_ADMIN",
        refused.replace('\n', ", "),
    );
    Ok(())
}

fn host_name() -> Result<String> {
    Ok(nix::unistd::gethostname()?.to_string_lossy().into_owned())
}
