//! Ways for bytes between processes that share no memory: a pipe, UNIX sockets and TCP over the
//! container's own lo, and how fast each is.
//!
//! A program in the container forks a child for each way, which sends 64 MiB, and compares what
//! arrives. Of UNIX sockets it shows as well that datagrams stay apart, which a stream's writes
//! don't, and that the kernel says who is at the other end.
//!
//! Read next: pipe(7), socket(7), unix(7), tcp(7).

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::Instant;

use minirun::Container;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use support::findings::{Findings, end, found};
use support::fork::{Forked, fork};
use support::memory::{MIB, mib};
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "Children of a program in a container send it 64 MiB each, by a pipe, by UNIX\n\
            sockets, and by TCP over the container's lo.",
    columns: ["arrived", "speed (says little)"],
    claim: "every byte arrives, in order, by pipes, UNIX sockets and TCP",
};

const BYTES: u64 = 64 * MIB;
/// In the container's memory.
const SOCKET: &str = "/tmp/socket";

/// As they are named in findings, and in the table.
const WAYS: [(&str, &str); 4] = [
    ("pipe", "pipe"),
    ("pair", "UNIX, socketpair"),
    ("unix", "UNIX, by a path"),
    ("tcp", "TCP over lo"),
];

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(exchange()),
        None => DEMO.run_without_rootfs(compare),
    }
}

fn exchange() -> Result<()> {
    let (reader, writer) = std::io::pipe()?;
    let mut writer = Some(writer);
    let child = sender(|| writer.take().ok_or_else(|| "expected a pipe".into()))?;
    drop(writer);
    receive("pipe", reader, child)?;

    let (here, there) = UnixStream::pair()?;
    let child = sender(|| Ok(&there))?;
    receive("pair", here, child)?;

    let listener = UnixListener::bind(SOCKET)?;
    let child = sender(|| Ok(UnixStream::connect(SOCKET)?))?;
    let (stream, _) = listener.accept()?;
    let peer = getsockopt(&stream, PeerCredentials)?.pid();
    found(
        "peer",
        if peer == child.pid().as_raw() { "the child".into() } else { peer.to_string() },
    )?;
    receive("unix", stream, child)?;

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let child = sender(|| Ok(TcpStream::connect(address)?))?;
    receive("tcp", listener.accept()?.0, child)?;

    let (mut here, mut there) = UnixStream::pair()?;
    there.write_all(b"one")?;
    there.write_all(b"two")?;
    found("stream", here.read(&mut [0; 16])?)?;
    let (here, there) = UnixDatagram::pair()?;
    there.send(b"one")?;
    there.send(b"two")?;
    found("datagrams", format!("{} + {}", here.recv(&mut [0; 16])?, here.recv(&mut [0; 16])?))
}

/// What is sent again and again; its length is no multiple of what a read may give.
fn block() -> Vec<u8> {
    (0..251u8).cycle().take(251 << 8).collect()
}

/// A child that sends by what `open` gives.
fn sender<W: Write>(open: impl FnOnce() -> Result<W>) -> Result<Forked> {
    fork(|| {
        let mut writer = open()?;
        let block = block();
        let mut left = usize::try_from(BYTES)?;
        while left > 0 {
            let length = left.min(block.len());
            writer.write_all(&block[..length])?;
            left -= length;
        }
        Ok(0)
    })
}

/// Reads all of it; how much of it was as it was sent, and in what time.
fn receive(name: &str, mut reader: impl Read, child: Forked) -> Result<()> {
    let block = block();
    let mut buffer = vec![0; 64 << 10];
    let (mut good, mut wrong) = (0, 0);
    let start = Instant::now();
    while good + wrong < BYTES {
        // Not beyond the block's end, so that each read is compared with one piece of it.
        let offset = usize::try_from((good + wrong) % block.len() as u64)?;
        let wanted = buffer.len().min(block.len() - offset);
        let length = reader.read(&mut buffer[..wanted])?;
        if length == 0 {
            break;
        }
        let same = buffer[..length] == block[offset..offset + length];
        *if same { &mut good } else { &mut wrong } += length as u64;
    }
    let seconds = start.elapsed().as_secs_f64();
    child.succeed()?;
    found(&format!("{name}-bytes"), good)?;
    found(&format!("{name}-speed"), format!("{:.0} MiB/s", (good / MIB) as f64 / seconds))
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "exchange")?)?;
    for (name, question) in WAYS {
        let bytes = seen.number(&format!("{name}-bytes"))?;
        table.row(question, mib(bytes), seen.text(&format!("{name}-speed"))?);
        table.expect(bytes == BYTES, format!("{BYTES} bytes by {name}"), bytes);
    }
    let (stream, datagrams) = (seen.text("stream")?, seen.text("datagrams")?);
    table.row("3 + 3 bytes by a stream", format!("{stream} at once"), "");
    table.expect(stream == "6", "a stream to have no borders", stream);
    table.row("3 + 3 bytes by datagrams", datagrams, "");
    table.expect(datagrams == "3 + 3", "datagrams to stay apart", datagrams);
    let peer = seen.text("peer")?;
    table.row("UNIX: the other end is", peer, "");
    table.expect(peer == "the child", "the kernel to name the child", peer);
    Ok(())
}
