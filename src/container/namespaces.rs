//! ns: who is in which namespaces, and the picture of one of them. The kernel is asked for all of
//! it, at one time; what it doesn't tell has its reason in the picture.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use nix::errno::Errno;

use super::control;
use super::lifecycle;
use super::picture::{
    Cgroup, Group, IdRange, Mount, Namespace, Overview, Picture, Privileges, Process,
};
use super::process::InitProcess;
use super::status::Look;
use super::store::{Store, no_such_container};
use crate::cgroup::{self, Tree};
use crate::error::{Error, Result, errno_in_words};
use crate::proc::{self, Mounts};

/// Everybody who is in other namespaces than this process, grouped by them.
pub fn namespaces(store: Option<&Store>) -> Overview {
    let kinds = || proc::NAMESPACES.into_iter();
    let own: Vec<Option<u64>> = kinds().map(|kind| proc::namespace(proc::OWN, kind).ok()).collect();
    let mut groups: BTreeMap<Vec<(&'static str, u64)>, Group> = BTreeMap::new();
    let mut unreadable = 0;
    let mut parents = BTreeMap::new();
    for pid in proc::pids() {
        let Ok(status) = proc::read(pid, "status").map(proc::Status) else { continue };
        parents.insert(pid, parent(&status));
        let mut found = Vec::new();
        let mut refused = false;
        for (kind, own) in kinds().zip(&own) {
            match proc::namespace(pid, kind) {
                Ok(inode) if own.is_some_and(|own| own != inode) => found.push((kind, inode)),
                Ok(_) => {}
                Err(error) => refused |= error.kind() == io::ErrorKind::PermissionDenied,
            }
        }
        unreadable += usize::from(refused);
        if !found.is_empty() {
            let group = groups.entry(found.clone()).or_insert_with(|| Group {
                pid,
                namespaces: found.into_iter().collect(),
                command: command(pid, &status),
                ..Group::default()
            });
            group.pids.push(pid);
        }
    }
    let inits = inits(store);
    let mut groups: Vec<Group> = groups.into_values().collect();
    for group in &mut groups {
        let mut lines = group.pids.iter().map(|pid| of_container(*pid, &inits, &parents));
        group.container = lines.find_map(|id| id);
    }
    groups.sort_by_key(|group| group.pid);
    Overview { groups, unreadable }
}

/// The picture of a container, or else of the process that has this number.
///
/// # Errors
/// When there is neither, or it ends meanwhile; "container not running".
pub fn picture(store: Option<&Store>, target: &str) -> Result<Picture> {
    let pid = target.parse::<i32>().ok().filter(|pid| *pid > 0);
    match (store.map(|store| of_id(store, target)), pid) {
        (Some(Err(error)), Some(pid)) if error.is_like(&no_such_container(target)) => {
            of_process(store, pid)
        }
        (Some(picture), _) => picture,
        (None, Some(pid)) => of_process(None, pid),
        (None, None) => Err(no_such_container(target)),
    }
}

fn of_id(store: &Store, id: &str) -> Result<Picture> {
    let file = store.find(id)?;
    let record = file.record()?;
    let look = Look::at(&file, &record)?;
    let (Some(init), Some(_)) = (record.init, &look.init) else {
        return Err(lifecycle::not_running(format!("look at container {id}")));
    };
    let program = if record.has_init() { super::audit::only_child(init.pid) } else { None };
    let extra = control::ps(store, id)?;
    let dirs = (!record.cgroup.is_empty()).then_some(record.cgroup.as_slice());
    let mut picture = seen(init, program, &extra, dirs, id)?;
    (picture.container, picture.status) = (Some(id.to_owned()), Some(look.status));
    Ok(picture)
}

fn of_process(store: Option<&Store>, pid: i32) -> Result<Picture> {
    let process = InitProcess::of(pid).map_err(|error| match error.errno() {
        Some(Errno::ENOENT | Errno::ESRCH) => Error::said(
            format!("look at {pid}"),
            "there is neither a container nor a process of this name",
        ),
        _ => error,
    })?;
    let mut picture = seen(process, None, &[], None, &pid.to_string())?;
    let status = |pid| Some((pid, parent(&proc::Status(proc::read(pid, "status").ok()?))));
    let parents = proc::pids().into_iter().filter_map(status).collect();
    picture.container = of_container(pid, &inits(store), &parents);
    Ok(picture)
}

/// The containers of a store that have a first process, and that process.
fn inits(store: Option<&Store>) -> BTreeMap<i32, String> {
    let ids = store.and_then(|store| store.ids().ok()).unwrap_or_default();
    let init = |id: String| {
        let state = lifecycle::state(store?, &id).ok()?;
        Some((state.pid, id)).filter(|(pid, _)| *pid > 0)
    };
    ids.into_iter().filter_map(init).collect()
}

/// The container that a process or one of its ancestors is the first of, or else the one
/// whose pid namespace it has entered.
fn of_container(
    pid: i32,
    inits: &BTreeMap<i32, String>,
    parents: &BTreeMap<i32, i32>,
) -> Option<String> {
    let mut line = std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
    if let Some(id) = line.find_map(|pid| inits.get(&pid)) {
        return Some(id.clone());
    }
    let namespace = |pid| proc::namespace(pid, "pid").ok();
    let entered = namespace(pid).filter(|found| Some(*found) != namespace(proc::OWN))?;
    inits.iter().find(|(init, _)| namespace(**init) == Some(entered)).map(|(_, id)| id.clone())
}

/// Looks at a process: `program` has its privileges, `extra` are of its kin too, and its
/// cgroup is in `dirs` if that is known.
fn seen(
    first: InitProcess,
    program: Option<i32>,
    extra: &[i32],
    dirs: Option<&[cgroup::Dir]>,
    name: &str,
) -> Result<Picture> {
    let pid = first.pid;
    let mut picture = Picture { pid, ..Picture::default() };
    let mut reader = Reader { pid, unreadable: BTreeMap::new() };
    // minirun's init doesn't show them to its own user; its program does.
    let shows = |pid: &i32| proc::namespace(*pid, "pid").is_ok();
    let open = [Some(pid), program].into_iter().flatten().find(shows).unwrap_or(pid);
    for kind in proc::NAMESPACES.into_iter().filter(|kind| proc::has_namespaces(kind)) {
        let inode = reader.tell("namespaces", proc::namespace(open, kind));
        let own = proc::namespace(proc::OWN, kind).ok();
        let content = (kind == "net").then(|| proc::read(pid, "net/dev").ok()).flatten();
        let content = content.map(|text| proc::interfaces(&text).join(" "));
        picture.namespaces.push(Namespace { kind, inode, own, content });
    }
    let is_shared = |kind: &str| {
        let found = picture.namespaces.iter().find(|namespace| namespace.kind == kind);
        found.and_then(Namespace::is_shared)
    };
    if is_shared("user") != Some(true) {
        picture.uid_map = reader.text("uid_map").map(|text| ranges(&text));
        picture.gid_map = reader.text("gid_map").map(|text| ranges(&text));
    }
    let uid_map = picture.uid_map.as_ref().map(|map| {
        map.iter().map(|range| (range.inside, range.outside, range.count)).collect::<Vec<_>>()
    });
    let mut kin: BTreeSet<i32> = extra.iter().copied().chain([pid]).collect();
    if is_shared("pid") == Some(false) {
        kin.extend(control::namesakes(open));
    }
    let everybody = proc::pids()
        .into_iter()
        .filter_map(|pid| Some((pid, proc::Status(proc::read(pid, "status").ok()?))));
    picture.processes = family(pid, kin, &everybody.collect(), uid_map.as_deref());
    for process in &mut picture.processes {
        if let Ok(words) = proc::read(process.pid, "cmdline") {
            process.command = words_or(&words, &process.command);
        }
    }
    picture.mounts = reader.text("mountinfo").map(|text| mounts(&text));
    picture.privileges = privileges(program.unwrap_or(pid), &mut reader);
    picture.cgroup = reader.text("cgroup").map(|text| {
        let own = cgroup::dirs_of(&proc::read(proc::OWN, "cgroup").unwrap_or_default());
        let found = dirs.map_or_else(|| cgroup::dirs_of(&text), <[_]>::to_vec);
        Cgroup {
            directories: found.iter().map(|dir| dir.path.display().to_string()).collect(),
            is_shared: found == own,
            usage: Tree::new(&found).gauges(name),
        }
    });
    // Its pid may have been given to another one meanwhile.
    if first.find()?.is_none() {
        return Err(Error::said(format!("look at {name}"), "it has ended meanwhile"));
    }
    picture.unreadable = reader.unreadable;
    Ok(picture)
}

/// Reads a process's files, and notes what can't be read.
struct Reader {
    pid: i32,
    unreadable: BTreeMap<&'static str, String>,
}

impl Reader {
    fn text(&mut self, file: &'static str) -> Option<String> {
        let text = proc::read(self.pid, file);
        self.tell(file, text)
    }

    fn tell<T>(&mut self, what: &'static str, found: io::Result<T>) -> Option<T> {
        let error = match found {
            Ok(found) => return Some(found),
            Err(error) => error,
        };
        let errno = error.raw_os_error().map(Errno::from_raw);
        let mut reason = errno.map_or_else(|| error.to_string(), errno_in_words);
        match errno {
            Some(Errno::EACCES | Errno::EPERM) => {
                reason += "; it is another user's, or protected as minirun-init is";
            }
            Some(Errno::ENOENT | Errno::ESRCH | Errno::EINVAL) => reason += "; it has ended",
            _ => {}
        }
        self.unreadable.insert(what, reason);
        None
    }
}

fn parent(status: &proc::Status) -> i32 {
    status.number("PPid").and_then(|pid| pid.try_into().ok()).unwrap_or(0)
}

fn command(pid: i32, status: &proc::Status) -> String {
    let name = status.field("Name").unwrap_or_default();
    words_or(&proc::read(pid, "cmdline").unwrap_or_default(), &format!("[{name}]"))
}

/// The words of a /proc/PID/cmdline, if there are any.
fn words_or(cmdline: &str, name: &str) -> String {
    match cmdline.trim_end_matches('\0') {
        "" => name.to_owned(),
        words => words.replace('\0', " "),
    }
}

/// The kin of a process with all descendants, as a tree. Their numbers inside are those of
/// the first one's namespaces.
fn family(
    first: i32,
    kin: BTreeSet<i32>,
    everybody: &BTreeMap<i32, proc::Status>,
    uid_map: Option<&[proc::IdRange]>,
) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, status) in everybody {
        children.entry(parent(status)).or_default().push(*pid);
    }
    let pids = |status: &proc::Status| -> Vec<i32> {
        let words = status.field("NSpid").unwrap_or_default().split_ascii_whitespace();
        words.filter_map(|pid| pid.parse().ok()).collect()
    };
    // A pid namespace is as many numbers deep as its members have.
    let level = everybody.get(&first).map_or(1, |status| pids(status).len());
    let is_top = |pid: &&i32| everybody.get(pid).is_some_and(|s| !kin.contains(&parent(s)));
    let mut rest: Vec<(i32, usize)> = kin.iter().filter(is_top).map(|pid| (*pid, 0)).collect();
    rest.reverse();
    let mut found = Vec::new();
    let mut done = BTreeSet::new();
    while let Some((pid, depth)) = rest.pop() {
        let (Some(status), true) = (everybody.get(&pid), done.insert(pid)) else { continue };
        let below = children.get(&pid).into_iter().flatten().rev();
        rest.extend(below.map(|child| (*child, depth + 1)));
        let uid = status.number("Uid").unwrap_or(0);
        let state = status.field("State").unwrap_or_default();
        found.push(Process {
            pid,
            parent: parent(status),
            pid_inside: level.checked_sub(1).and_then(|at| pids(status).get(at).copied()),
            uid,
            uid_inside: uid_map.map_or(Some(uid), |map| proc::inside(uid, map)),
            state: state.split(['(', ')']).nth(1).unwrap_or(state).to_owned(),
            depth,
            command: format!("[{}]", status.field("Name").unwrap_or_default()),
        });
    }
    found
}

fn ranges(map: &str) -> Vec<IdRange> {
    let range = |(inside, outside, count)| IdRange { inside, outside, count };
    proc::id_map(map).into_iter().map(range).collect()
}

fn mounts(mountinfo: &str) -> Vec<Mount> {
    let own = Mounts::parse(&proc::read(proc::OWN, "mountinfo").unwrap_or_default());
    let all = Mounts::parse(mountinfo).0.into_iter();
    all.map(|mount| Mount {
        outside: own.place_of(&mount).map(|path| path.display().to_string()),
        destination: mount.point.display().to_string(),
        kind: mount.kind,
        source: mount.source,
        options: mount.options,
    })
    .collect()
}

fn privileges(pid: i32, reader: &mut Reader) -> Option<Privileges> {
    let status = proc::Status(reader.tell("status", proc::read(pid, "status"))?);
    let names = |field| {
        let bits = u64::from_str_radix(status.field(field).unwrap_or_default(), 16);
        proc::capability_names(bits.unwrap_or(0))
    };
    Some(Privileges {
        pid,
        capabilities: names("CapPrm"),
        bounding: names("CapBnd"),
        no_new_privileges: status.field("NoNewPrivs") == Some("1"),
        seccomp: !matches!(status.field("Seccomp"), None | Some("0")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(parent: i32, nspid: &str, uid: u32) -> proc::Status {
        let state = "State:\tS (sleeping)";
        proc::Status(format!(
            "Name:\tx\n{state}\nPPid:\t{parent}\nUid:\t{uid}\t{uid}\nNSpid:\t{nspid}\n"
        ))
    }

    #[test]
    fn a_family_is_a_tree_with_the_numbers_of_its_first_one() {
        let everybody = BTreeMap::from([
            (1, status(0, "1", 0)),
            (70, status(1, "70 1", 1000)),
            (71, status(70, "71 2", 1000)),
            // It has a pid namespace of its own below that.
            (72, status(71, "72 3 1", 100_005)),
            (73, status(70, "73 4", 7)),
            // It came by exec.
            (90, status(1, "90 9", 1000)),
            (91, status(1, "91", 0)),
        ]);
        let map = [(0, 1000, 1), (1, 100_001, 100)];
        let found = family(70, [70, 90].into(), &everybody, Some(&map));
        let row = |p: &Process| (p.pid, p.pid_inside, p.uid_inside, p.depth);
        let expected = [
            (70, Some(1), Some(0), 0),
            (71, Some(2), Some(0), 1),
            (72, Some(3), Some(5), 2),
            (73, Some(4), None, 1),
            (90, Some(9), Some(0), 0),
        ];
        assert_eq!(found.iter().map(row).collect::<Vec<_>>(), expected);
        assert_eq!((found[0].state.as_str(), found[0].command.as_str()), ("sleeping", "[x]"));
        // As seen from a process of the same namespace both numbers are one.
        assert_eq!(family(91, [91].into(), &everybody, None)[0].pid_inside, Some(91));
        // One that has ended by now is left out.
        assert_eq!(family(99, [99].into(), &everybody, None), []);
    }

    #[test]
    fn a_container_is_known_by_its_first_process() {
        let inits = BTreeMap::from([(70, "web".to_owned())]);
        let parents = BTreeMap::from([(72, 71), (71, 70), (70, 1), (1, 0), (90, 1)]);
        assert_eq!(of_container(72, &inits, &parents), Some("web".to_owned()));
        assert_eq!(of_container(90, &inits, &parents), None);
    }
}
