//! Kernel threads: the kernel's own work, such as writing memory back to disks, is done by
//! tasks with pids but without memory or a program of their own. They belong to the machine, so
//! that no pid namespace but the first has any.
//!
//! kthreadd, pid 2, is the parent of them all.
//!
//! Read next: ps(1) on names in brackets, proc_pid_stat(5) on flags, pid_namespaces(7).

mod support;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use minirun::Container;
use support::{Demo, Result, Shell, Table, processes};

const DEMO: Demo = Demo {
    intro: "Both sides count the processes in /proc, and those of them that are the kernel's;\n\
            then they look closer at pid 2.",
    columns: ["host", "container"],
    claim: "kernel threads are the machine's; a container sees none",
};

/// In the kernel's task flags (linux/sched.h): this one was made by kthreadd.
const PF_KTHREAD: u64 = 0x0020_0000;

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let mut shell = Shell::start(&Container::new(rootfs))?;
    let outside: Vec<String> = processes()?
        .iter()
        // A process that ended since isn't there any more.
        .filter_map(|process| fs::read_to_string(format!("/proc/{}/stat", process.pid)).ok())
        .collect();
    let inside = shell.run("cat /proc/[0-9]*/stat")?;
    let inside: Vec<&str> = inside.lines().filter(|line| line.contains(')')).collect();
    table.row("processes", outside.len(), inside.len());

    let of_kernel = outside.iter().filter(|stat| is_kernel_thread(stat)).count();
    let of_kernel_inside = inside.iter().filter(|stat| is_kernel_thread(stat)).count();
    table.row("kernel threads", of_kernel, of_kernel_inside);
    table.expect(of_kernel_inside == 0, "no kernel thread inside", of_kernel_inside);
    if of_kernel == 0 {
        // Then pid 2 is nobody's in particular.
        table.row("", "(a container, too)", "");
        return Ok(());
    }

    let (second, second_inside) = (read("/proc/2/comm")?, shell.run("cat /proc/2/comm")?);
    table.row("pid 2", second.trim(), &second_inside);
    table.expect(second.trim() == "kthreadd", "kthreadd as pid 2 of the machine", second.trim());
    table.expect(second_inside == "sh", "the shell as pid 2 inside", &second_inside);

    let (memory, memory_inside) =
        (size(&read("/proc/2/status")?), size(&shell.run("cat /proc/2/status")?));
    table.row("its address space", &memory, &memory_inside);
    table.expect(memory == "none", "a kernel thread to have no memory", &memory);
    table.expect(memory_inside != "none", "a shell to have memory", &memory_inside);

    let (words, words_inside) =
        (read("/proc/2/cmdline")?, shell.run("tr '\\0' ' ' < /proc/2/cmdline")?);
    table.row("its command line", if words.is_empty() { "none" } else { &words }, &words_inside);
    table.expect(words.is_empty(), "nobody to have executed it", &words);
    table.expect(words_inside == "/bin/sh", "/bin/sh inside", &words_inside);
    Ok(())
}

/// The ninth field of /proc/PID/stat; the second is a name that may have anything in it.
fn is_kernel_thread(stat: &str) -> bool {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let flags = fields.split_whitespace().nth(6).and_then(|flags| flags.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & PF_KTHREAD != 0)
}

fn size(status: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    line.map_or("none".to_owned(), |size| size.trim().to_owned())
}

fn read(path: &str) -> Result<String> {
    Ok(fs::read_to_string(path).map_err(|error| format!("read {path}: {error}"))?)
}
