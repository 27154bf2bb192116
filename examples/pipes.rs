//! A pipe: bytes in the order in which they were written, through a buffer in the kernel of
//! limited size, without borders between messages; its ends learn when nobody is at the other.
//!
//! A program in the container fills a pipe, has several children write to one at once, closes
//! either end, and has a chain of three processes work on a stream.
//!
//! Read next: pipe(2), pipe(7), fcntl(2) on F_GETPIPE_SZ.

mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::ExitCode;

use minirun::Container;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use support::findings::{Findings, end, found};
use support::fork::fork;
use support::{Demo, Result, Table, handler, itself};

const DEMO: Demo = Demo {
    intro: "A program in a container fills pipes, closes their ends, and has several writers\n\
            share one.",
    columns: ["seen", "pipe(7) says"],
    claim: "a pipe is a stream of limited size, whose small writes stay whole",
};

const WRITERS: usize = 8;
const LINES: usize = 1000;
/// Atomic up to this many bytes.
const PIPE_BUF: usize = 4096;

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(look()),
        None => DEMO.run_without_rootfs(compare),
    }
}

fn look() -> Result<()> {
    let (reader, mut writer) = std::io::pipe()?;
    found("capacity", fcntl(&writer, FcntlArg::F_GETPIPE_SZ)?)?;
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut held = 0;
    let full = loop {
        match writer.write(&[0; PIPE_BUF]) {
            Ok(written) => held += written,
            Err(error) => break error,
        }
    };
    found("held", held)?;
    found("full", in_short(&full))?;

    // Rust's own start has it ignored, which would leave EPIPE alone.
    handler::catch(Signal::SIGPIPE)?;
    drop(reader);
    let broken = writer.write(b"x").err().map_or_else(|| "nothing".to_owned(), |e| in_short(&e));
    found("broken", format!("{broken}, {} SIGPIPE", handler::caught()))?;

    let (mut reader, mut writer) = std::io::pipe()?;
    writer.write_all(b"one")?;
    writer.write_all(b"two")?;
    let mut bytes = [0; 16];
    let length = reader.read(&mut bytes)?;
    found("merged", String::from_utf8_lossy(&bytes[..length]))?;
    drop(writer);
    found("end", reader.read(&mut bytes)?)?;

    share()?;
    chain()
}

/// Many write to one pipe at once, each line with one write.
fn share() -> Result<()> {
    let (reader, writer) = std::io::pipe()?;
    let line = |number: usize| format!("{number}").repeat(PIPE_BUF / 2 - 1) + "\n";
    let mut writer = Some(writer);
    let mut children = Vec::new();
    for number in 0..WRITERS {
        children.push(fork(|| {
            let mut writer = writer.take().ok_or("expected a pipe")?;
            let line = line(number);
            (0..LINES).try_for_each(|_| writer.write_all(line.as_bytes()))?;
            Ok(0)
        })?);
    }
    // Or the end would never come.
    drop(writer);
    let whole: HashMap<String, usize> = (0..WRITERS).map(|number| (line(number), number)).collect();
    let mut reader = BufReader::new(reader);
    let (mut intact, mut read) = (0, String::new());
    while reader.read_line(&mut read)? > 0 {
        intact += usize::from(whole.contains_key(&read));
        read.clear();
    }
    for child in children {
        child.succeed()?;
    }
    found("intact", intact)
}

/// `seq 1000 | grep 7 | wc -l`, the numbers, the filter and the count each in a process.
fn chain() -> Result<()> {
    let (numbers, to_filter) = std::io::pipe()?;
    let (matches, to_count) = std::io::pipe()?;
    let (mut to_filter, mut to_count) = (Some(to_filter), Some(to_count));
    let first = fork(|| {
        let mut out = to_filter.take().ok_or("expected a pipe")?;
        (1..=1000).try_for_each(|number| writeln!(out, "{number}"))?;
        Ok(0)
    })?;
    drop(to_filter);
    let second = fork(|| {
        let mut out = to_count.take().ok_or("expected a pipe")?;
        for line in BufReader::new(&numbers).lines() {
            let line = line?;
            if line.contains('7') {
                writeln!(out, "{line}")?;
            }
        }
        Ok(0)
    })?;
    drop(to_count);
    found("chain", BufReader::new(matches).lines().count())?;
    first.succeed()?;
    second.succeed()
}

fn in_short(error: &std::io::Error) -> String {
    error
        .raw_os_error()
        .map_or_else(|| error.to_string(), |errno| format!("{:?}", Errno::from_raw(errno)))
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "look")?)?;
    let capacity = seen.text("capacity")?;
    let all = format!("{} of {}", WRITERS * LINES, WRITERS * LINES);
    let intact = format!("{} of {}", seen.text("intact")?, WRITERS * LINES);
    let mut row = |question: &str, value: &str, expected: &str| {
        table.row(question, value, expected);
        table.expect(value == expected, format!("{question}: {expected}"), value);
    };
    row("bytes that fit", seen.text("held")?, capacity);
    row("the next write", seen.text("full")?, "EAGAIN");
    row("\"one\", \"two\", one read", seen.text("merged")?, "onetwo");
    row("read, no writer left", &format!("{} bytes", seen.text("end")?), "0 bytes");
    row("write, no reader left", seen.text("broken")?, "EPIPE, 1 SIGPIPE");
    row("lines of 8 writers, whole", &intact, &all);
    row("1..1000 with a 7, by chain", seen.text("chain")?, "271");
    Ok(())
}
