//! `minirun ns`: a container from both sides in one picture.

use clap::Parser;
use minirun::Error;
use minirun::container::{self, Cgroup, IdRange, Overview, Picture, Privileges};

use super::CarryOut;
use super::global::Global;
use super::table::{self, Format, Formatted, Page, end, printable, start};

/// Show a container or a process from both sides, inside and outside
///
/// INSIDE is what the container sees, OUTSIDE what is the same here, where minirun runs. A
/// number that is no container's id is a PID. Without an argument: who is in other
/// namespaces than minirun itself.
#[derive(Debug, Parser)]
pub struct Ns {
    /// The container, or any process
    #[arg(value_name = "ID|PID")]
    target: Option<String>,
    #[command(flatten)]
    formatted: Formatted,
}

impl CarryOut for Ns {
    const NOTES: &'static str = "\
Examples:
  minirun ns             who lives in other namespaces than you
  minirun ns web         the container web from both sides
  minirun ns $$          your shell
  minirun ns --json 1    process 1, for programs";

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        // A process is to be seen without any directory of containers.
        let store = match global.store() {
            Err(error) if self.target.as_ref().is_some_and(|word| word.parse::<i32>().is_err()) => {
                return Err(error);
            }
            store => store.ok(),
        };
        let page = Page::of_stdout();
        // What a pipe gets can be shown anywhere; JSON has all of it.
        let page = Page { width: page.width.or(Some(80)), ..page };
        let (json, text) = match &self.target {
            None => {
                let overview = container::namespaces(store.as_ref());
                (serde_json::json!(overview), show_all(&overview, page))
            }
            Some(target) => {
                let picture = container::picture(store.as_ref(), target)?;
                (serde_json::json!(picture), show(&picture, page))
            }
        };
        match self.formatted.format() {
            Format::Json => super::print_json(&json),
            Format::Table => super::print(&text).map(|()| 0),
        }
    }
}

fn show_all(overview: &Overview, page: Page) -> String {
    let header = ["CONTAINER", "PID", "PROCESSES", "NAMESPACES OF ITS OWN", "COMMAND"];
    let row = |group: &container::Group| {
        let kinds: Vec<&str> = group.namespaces.keys().copied().collect();
        [
            start(group.container.as_deref().unwrap_or("-"), 20),
            group.pid.to_string(),
            group.pids.len().to_string(),
            kinds.join(" "),
            printable(&group.command),
        ]
    };
    let rows: Vec<_> = overview.groups.iter().map(row).collect();
    let mut text = table::render_and_cut(header, rows, page, |_, _| "");
    if overview.unreadable > 0 {
        text += &format!(
            "\nprocesses that don't show theirs: {} (only their own user and root may look)\n",
            overview.unreadable
        );
    }
    text
}

/// What a namespace gives its members of their own.
const ABOUT: &[(&str, &str)] = &[
    ("user", "users, groups, capabilities"),
    ("mnt", "mounts"),
    ("pid", "process ids"),
    ("net", "network"),
    ("ipc", "shared memory, message queues"),
    ("uts", "host name"),
    ("cgroup", "the top of the cgroups"),
    ("time", "clocks since boot"),
];

fn show(picture: &Picture, page: Page) -> String {
    let mut text = String::new();
    let title = match (&picture.container, picture.status) {
        (Some(id), Some(status)) => format!("container {id}, {status}, pid {}", picture.pid),
        (Some(id), None) => format!("process {} in container {id}", picture.pid),
        (None, _) => format!("process {}", picture.pid),
    };
    text += &page.painted(&title, "1");
    text.push('\n');
    for (section, field) in [
        (namespaces(picture, page), "namespaces"),
        (processes(picture, page), "processes"),
        (ids(picture, page), "uid_map"),
        (mounts(picture, page), "mountinfo"),
        (picture.privileges.as_ref().map(|found| privileges(found, page)), "status"),
        (picture.cgroup.as_ref().map(|cgroup| limits(cgroup, page)), "cgroup"),
    ] {
        text.push('\n');
        text += &section.unwrap_or_default();
        if let Some(reason) = picture.unreadable.get(field) {
            let width = page.width.unwrap_or(usize::MAX);
            let note = format!("({field} can't be read: {reason})");
            text.extend(table::wrapped(&note, width).iter().map(|line| line.clone() + "\n"));
        }
    }
    text
}

fn namespaces(picture: &Picture, page: Page) -> Option<String> {
    let number = |inode: Option<u64>| inode.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let row = |namespace: &container::Namespace| {
        let about = ABOUT.iter().find(|row| row.0 == namespace.kind).map_or("", |row| row.1);
        let whose = match namespace.is_shared() {
            Some(true) => "shared",
            Some(false) => "its own",
            None => "?",
        };
        let content = namespace.content.as_ref().map(|devices| format!(": {devices}"));
        [
            namespace.kind.to_owned(),
            number(namespace.inode),
            number(namespace.own),
            whose.to_owned(),
            printable(&format!("{about}{}", content.unwrap_or_default())),
        ]
    };
    let rows: Vec<_> = picture.namespaces.iter().map(row).collect();
    let header = ["NAMESPACE", "INSIDE", "OUTSIDE", "", "WHAT IT IS OF"];
    let colour = |column, cell: &str| match (column, cell) {
        (3, "its own") => "32",
        (3, "shared") => "33",
        _ => "",
    };
    Some(table::render_and_cut(header, rows, page, colour))
}

fn processes(picture: &Picture, page: Page) -> Option<String> {
    let number = |id: Option<String>| id.unwrap_or_else(|| "-".to_owned());
    let row = |process: &container::Process| {
        let branch = match process.depth {
            0 => String::new(),
            depth => "  ".repeat(depth - 1) + "└ ",
        };
        [
            number(process.pid_inside.map(|pid| pid.to_string())),
            process.pid.to_string(),
            number(process.uid_inside.map(|uid| uid.to_string())),
            process.uid.to_string(),
            process.state.clone(),
            branch + &printable(&process.command),
        ]
    };
    let rows: Vec<_> = picture.processes.iter().map(row).collect();
    let header = ["PID INSIDE", "OUTSIDE", "UID INSIDE", "OUTSIDE", "STATE", "COMMAND"];
    Some(table::render_and_cut(header, rows, page, |_, _| ""))
}

fn ids(picture: &Picture, page: Page) -> Option<String> {
    let (Some(uids), Some(gids)) = (&picture.uid_map, &picture.gid_map) else {
        let is_shared =
            picture.namespaces.iter().any(|n| n.kind == "user" && n.is_shared() == Some(true));
        return is_shared.then(|| "IDS  the same inside and outside\n".to_owned());
    };
    let row = |kind: &str, range: &IdRange| {
        let numbers = |first: u32| match range.count {
            1 => first.to_string(),
            count => format!("{first} to {}", u64::from(first) + u64::from(count) - 1),
        };
        [kind.to_owned(), numbers(range.inside), numbers(range.outside)]
    };
    let uids = uids.iter().map(|range| row("uid", range));
    let rows: Vec<_> = uids.chain(gids.iter().map(|range| row("gid", range))).collect();
    Some(table::render_and_cut(["IDS", "INSIDE", "OUTSIDE"], rows, page, |_, _| ""))
}

fn mounts(picture: &Picture, page: Page) -> Option<String> {
    let share = |part| page.width.map_or(usize::MAX, |width| width * part / 100);
    // What nearly every mount has.
    let is_notable = |option: &&str| !matches!(*option, "rw" | "relatime");
    let row = |mount: &container::Mount| {
        let outside = mount.outside.clone().unwrap_or_else(|| "-".to_owned());
        let options: Vec<&str> = mount.options.split(',').filter(is_notable).collect();
        [
            printable(&end(&mount.destination, share(30))),
            start(&printable(&mount.kind), 8),
            printable(&end(&outside, share(25))),
            printable(&options.join(" ")),
        ]
    };
    let rows: Vec<_> = picture.mounts.as_ref()?.iter().map(row).collect();
    Some(table::render_and_cut(
        ["MOUNT INSIDE", "TYPE", "OUTSIDE", "OPTIONS"],
        rows,
        page,
        |_, _| "",
    ))
}

fn privileges(found: &Privileges, page: Page) -> String {
    let list = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => format!("{}: {}", names.len(), names.join(" ")),
    };
    let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
    let bounding = match found.bounding == found.capabilities {
        true => "the same".to_owned(),
        false => list(&found.bounding),
    };
    let indent = "PRIVILEGES OF 1234567  ".len();
    let width = page.width.unwrap_or(usize::MAX).saturating_sub(indent).max(20);
    let mut text = format!("PRIVILEGES OF {}\n", found.pid);
    for (name, value) in [
        ("capabilities", list(&found.capabilities)),
        ("bounding set", bounding),
        ("no_new_privs", switch(found.no_new_privileges)),
        ("seccomp filter", switch(found.seccomp)),
    ] {
        for (number, line) in table::wrapped(&value, width).iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            text += &format!("{name:indent$}{line}\n");
        }
    }
    text
}

fn limits(cgroup: &Cgroup, page: Page) -> String {
    let usage = &cgroup.usage;
    let bytes = |bytes: Option<u64>| bytes.map(super::stats::bytes);
    let count = |number: Option<u64>| number.map(|number| number.to_string());
    let rows = [
        ("memory", bytes(usage.memory_bytes), bytes(usage.memory_limit_bytes)),
        ("processes", count(usage.pids), count(usage.pids_limit)),
        (
            "processor",
            usage.cpu_seconds.map(|seconds| format!("{seconds:.2} s")),
            usage.cpus_limit.map(|cpus| format!("{cpus} at a time")),
        ),
        ("read", bytes(usage.read_bytes), None),
        ("written", bytes(usage.written_bytes), None),
    ];
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows = rows.map(|(what, used, limit)| [what.to_owned(), dash(used), dash(limit)]);
    let header = ["CGROUP", "USED", "LIMIT"];
    let mut text = table::render_and_cut(header, rows.to_vec(), page, |_, _| "");
    if cgroup.is_shared {
        return text + "(that of minirun itself, and of whoever else is in it)\n";
    }
    for directory in &cgroup.directories {
        text += &start(&printable(directory), page.width.unwrap_or(usize::MAX));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Page = Page { width: Some(80), colours: false };

    /// What was recorded of a container of an ordinary user's.
    fn recorded() -> Picture {
        let mut picture = Picture::default();
        picture.pid = 4711;
        picture.container = Some("web".to_owned());
        picture.status = Some(container::Status::Running);
        for (kind, inode, content) in
            [("user", 7, None), ("net", 8, Some("lo eth0".to_owned())), ("time", 1, None)]
        {
            let mut namespace = container::Namespace::default();
            (namespace.kind, namespace.inode, namespace.content) = (kind, Some(inode), content);
            namespace.own = Some(1);
            picture.namespaces.push(namespace);
        }
        for (pid, inside, depth, command) in
            [(4711, 1, 0, "minirun-init"), (4712, 2, 1, "sh -c x"), (4713, 3, 2, "a\x1b[2J")]
        {
            let mut process = container::Process::default();
            (process.pid, process.pid_inside, process.depth) = (pid, Some(inside), depth);
            (process.uid, process.uid_inside) = (1000, Some(0).filter(|_| pid != 4713));
            (process.state, process.command) = ("sleeping".to_owned(), command.to_owned());
            picture.processes.push(process);
        }
        let mut range = IdRange::default();
        (range.outside, range.count) = (1000, 1);
        picture.uid_map = Some(vec![range]);
        (range.inside, range.outside, range.count) = (1, 100_000, 65536);
        picture.gid_map = Some(vec![range]);
        let mut mount = container::Mount::default();
        mount.destination = "/srv/a-rather-long/path/to/some/data".to_owned();
        mount.outside = Some("/home/ann/data".to_owned());
        (mount.kind, mount.options) = ("ext4".to_owned(), "ro,nosuid,relatime".to_owned());
        picture.mounts = Some(vec![mount]);
        let mut privileges = Privileges::default();
        (privileges.pid, privileges.seccomp) = (4712, true);
        privileges.capabilities = vec!["CHOWN".to_owned(), "KILL".to_owned()];
        picture.privileges = Some(privileges);
        let mut cgroup = Cgroup::default();
        cgroup.directories = vec!["/sys/fs/cgroup/web".to_owned()];
        cgroup.usage.memory_bytes = Some(640 << 10);
        cgroup.usage.memory_limit_bytes = Some(64 << 20);
        picture.cgroup = Some(cgroup);
        picture
    }

    #[test]
    fn a_picture_has_both_sides_of_everything() {
        let expected = "\
container web, running, pid 4711

NAMESPACE  INSIDE  OUTSIDE           WHAT IT IS OF
user       7       1        its own  users, groups, capabilities
net        8       1        its own  network: lo eth0
time       1       1        shared   clocks since boot

PID INSIDE  OUTSIDE  UID INSIDE  OUTSIDE  STATE     COMMAND
1           4711     0           1000     sleeping  minirun-init
2           4712     0           1000     sleeping  └ sh -c x
3           4713     -           1000     sleeping    └ a?[2J

IDS  INSIDE      OUTSIDE
uid  0           1000
gid  1 to 65536  100000 to 165535

MOUNT INSIDE              TYPE  OUTSIDE         OPTIONS
…-long/path/to/some/data  ext4  /home/ann/data  ro nosuid

PRIVILEGES OF 4712
capabilities           2: CHOWN KILL
bounding set           none
no_new_privs           off
seccomp filter         on

CGROUP     USED    LIMIT
memory     640KiB  64MiB
processes  -       -
processor  -       -
read       -       -
written    -       -
/sys/fs/cgroup/web
";
        assert_eq!(show(&recorded(), PAGE), expected);
    }

    #[test]
    fn what_cannot_be_read_says_why_in_its_place() {
        let mut picture = recorded();
        picture.namespaces.iter_mut().for_each(|namespace| namespace.inode = None);
        (picture.mounts, picture.uid_map) = (None, None);
        for field in ["namespaces", "mountinfo"] {
            picture.unreadable.insert(field, "EACCES (permission denied)".to_owned());
        }
        let text = show(&picture, PAGE);
        assert!(text.contains("\nuser       ?       1        ?  users"), "{text}");
        let told = "(mountinfo can't be read: EACCES (permission denied))\n\nPRIVILEGES";
        assert!(text.contains(told) && !text.contains("IDS"), "{text}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_colours_have_no_width() {
        for width in [40, 80, 200] {
            for colours in [false, true] {
                let text = show(&recorded(), Page { width: Some(width), colours });
                let plain = ["1", "32", "33"].iter().fold(text, |text, code| {
                    text.replace(&format!("\x1b[{code}m"), "").replace("\x1b[m", "")
                });
                let wide = plain.lines().find(|line| line.chars().count() > width);
                assert_eq!(wide, None, "{width}\n{plain}");
            }
        }
    }
}
