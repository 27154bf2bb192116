//! A network namespace: the container has a loopback device of its own and nothing else.
//!
//! 127.0.0.1 is an address of a namespace, not of the machine: what listens on the host's
//! isn't there for the container, unless it is given the host's network.
//!
//! Read next: network_namespaces(7), netdevice(7) on interface flags.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;

use minirun::{Container, Network};
use support::{Demo, PATIENCE, Result, Shell, Table, namespace};

const DEMO: Demo = Demo {
    intro: "The host listens on a port of 127.0.0.1, and both sides call it there. Then the\n\
            container listens on the same port too. At the end the call comes from a\n\
            container that has the host's network.",
    columns: ["host", "container"],
    claim: "127.0.0.1 is another address in another network namespace",
};

const FROM_HOST: &str = "hello from the host";
const FROM_CONTAINER: &str = "hello from the container";

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let mut shell = Shell::start(&Container::new(rootfs))?;

    let (host_namespace, namespace) = (namespace("net")?, shell.run("readlink /proc/self/ns/net")?);
    table.row("network namespace", &host_namespace, &namespace);
    table.expect(namespace != host_namespace, "two network namespaces", &namespace);

    let host_interfaces = interfaces(&read("/proc/self/net/dev")?);
    let seen = interfaces(&shell.run("cat /proc/self/net/dev")?);
    table.row("interfaces", &host_interfaces, &seen);
    table.expect(seen == "lo", "no interface but lo inside", &seen);

    let flags = "/sys/class/net/lo/flags";
    let (host_up, up) = (is_up(&read(flags)?)?, is_up(&shell.run(&format!("cat {flags}"))?)?);
    table.row("lo is", host_up, up);
    table.expect(up == "up", "lo to be up inside", up);

    let port = listen_on_host()?;
    let (host_heard, heard) = (call(port), call_inside(&mut shell, port)?);
    table.row("calling 127.0.0.1", &host_heard, &heard);
    table.expect(host_heard == FROM_HOST, "the host to reach its own listener", &host_heard);
    table.expect(heard == "Connection refused", "the container's call to be refused", &heard);

    // The same port is free inside. The loop waits until nc has come to listen.
    shell.run(&format!(
        "echo {FROM_CONTAINER} | nc -l -p {port} & \
         for i in $(seq 100); do \
         netstat -ltn | grep -q ':{port} ' && break; usleep 20000; done"
    ))?;
    let (host_heard, heard) = (call(port), call_inside(&mut shell, port)?);
    table.row("with a listener inside", &host_heard, &heard);
    table.expect(host_heard == FROM_HOST, "the host to reach its own listener", &host_heard);
    table.expect(heard == FROM_CONTAINER, "the container to reach its own listener", &heard);

    let mut shell = Shell::start(Container::new(rootfs).network(Network::Host))?;
    let (host_heard, heard) = (call(port), call_inside(&mut shell, port)?);
    table.row("with Network::Host", &host_heard, &heard);
    table.expect(heard == FROM_HOST, "the host's listener to answer with Network::Host", &heard);
    Ok(())
}

/// A listener on the host that greets everybody until this process ends.
fn listen_on_host() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for caller in listener.incoming() {
            // Somebody who hung up at once needs no greeting.
            let _ = caller.and_then(|mut caller| writeln!(caller, "{FROM_HOST}"));
        }
    });
    Ok(port)
}

/// What a listener on the host's 127.0.0.1 says, or why it can't be heard.
fn call(port: u16) -> String {
    let connect = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard).map(|_| heard.trim().to_owned())
    };
    connect().unwrap_or_else(|error| support::in_words(&error))
}

/// The same inside; the last words of nc's complaints are the system's.
fn call_inside(shell: &mut Shell, port: u16) -> Result<String> {
    let said = shell.run(&format!("nc -w 3 127.0.0.1 {port}"))?;
    Ok(said.rsplit(": ").next().unwrap_or_default().to_owned())
}

/// The names in /proc/net/dev, below two lines of headings.
fn interfaces(table: &str) -> String {
    let names = table.lines().skip(2).filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim()).collect::<Vec<_>>().join(", ")
}

/// Whether IFF_UP, the lowest bit, is among an interface's flags.
fn is_up(flags: &str) -> Result<&'static str> {
    let digits = flags.trim().trim_start_matches("0x");
    let flags = u32::from_str_radix(digits, 16)
        .map_err(|_| format!("expected the flags of lo; saw {flags:?}"))?;
    Ok(if flags & 1 == 1 { "up" } else { "down" })
}

fn read(path: &str) -> Result<String> {
    Ok(fs::read_to_string(path).map_err(|error| format!("read {path}: {error}"))?)
}
