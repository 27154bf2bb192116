//! From facts to findings.

use caps::Capability;

use super::Grade::{Dangerous, Ok, Weak};
use super::capabilities::REACHING;
use super::facts::{NAMESPACES, Seccomp};
use super::{Audit, Facts, Finding, Grade, mounts};
use crate::proc;

/// Judges a container.
pub(crate) fn judge(facts: &Facts) -> Audit {
    let mut list = List { findings: Vec::new(), bundle: facts.bundle };
    user(&mut list, facts);
    capabilities(&mut list, facts);
    privileges(&mut list, facts);
    namespaces(&mut list, facts);
    files(&mut list, facts);
    devices(&mut list, facts);
    kernel_files(&mut list, facts);
    limits(&mut list, facts);
    descriptors(&mut list, facts);
    // Stable, so what belongs together stays so.
    list.findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
    Audit { findings: list.findings }
}

struct List {
    findings: Vec<Finding>,
    bundle: bool,
}

impl List {
    fn ok(&mut self, what: &'static str, found: impl Into<String>) {
        self.add(Ok, what, found, "", None);
    }

    /// With what mends it: an option of `run`, and a field of a config.json.
    fn bad(
        &mut self,
        grade: Grade,
        what: &'static str,
        found: impl Into<String>,
        why: impl Into<String>,
        (option, field): (&str, &str),
    ) {
        let fix = if self.bundle { field } else { option };
        self.add(grade, what, found, why, Some(fix.to_owned()).filter(|fix| !fix.is_empty()));
    }

    fn add(
        &mut self,
        grade: Grade,
        what: &'static str,
        found: impl Into<String>,
        why: impl Into<String>,
        fix: Option<String>,
    ) {
        self.findings.push(Finding { grade, what, found: found.into(), why: why.into(), fix });
    }
}

fn user(list: &mut List, facts: &Facts) {
    let uid = facts.uid;
    let outside = match &facts.uid_map {
        None => Some(uid),
        Some(map) => map.iter().find_map(|&(inside, outside, count)| {
            let offset = uid.checked_sub(inside).filter(|offset| *offset < count)?;
            outside.checked_add(offset)
        }),
    };
    let own = if facts.uid_map.is_some() { "in a user namespace" } else { "no user namespace" };
    match outside {
        Some(0) => list.bad(
            Weak,
            "user",
            format!("uid {uid} is root of the host, {own}"),
            "it owns the host's files as soon as it gets at them",
            (
                "--user 1000:1000, or run minirun as an ordinary user",
                "process.user, linux.uidMappings",
            ),
        ),
        Some(outside) if outside == uid => list.ok("user", format!("uid {uid}, {own}")),
        Some(outside) => list.ok("user", format!("uid {uid} is {outside} on the host, {own}")),
        None => list.ok("user", format!("uid {uid} isn't anybody on the host, {own}")),
    }
}

fn capabilities(list: &mut List, facts: &Facts) {
    let held = |bit: u64| facts.capabilities & bit != 0;
    let confined = facts.uid_map.is_some();
    let reaching = REACHING.iter().fold(0, |bits, row| bits | row.0.bitmask());
    let names = proc::capability_names(facts.capabilities & !reaching);
    match names.as_slice() {
        [] => list.ok("capabilities", "none but those listed by themselves, if any"),
        names => list.add(
            Ok,
            "capabilities",
            names.join(" "),
            "these end at the container's own files and processes",
            None,
        ),
    }
    for (capability, grade, why) in REACHING {
        if !held(capability.bitmask()) {
            continue;
        }
        // Over the whole machine it is nothing then, but code of the kernel's is in reach.
        let (grade, why) = match (confined, grade) {
            (false, grade) => (*grade, (*why).to_owned()),
            (true, Dangerous) => (Weak, format!("{why}, within its user namespace")),
            (true, _) => (Ok, format!("{why}, within its user namespace")),
        };
        let name = short(capability);
        let option = format!("no --cap-add {name}");
        list.bad(grade, "capability", name, why, (&option, "process.capabilities"));
    }
}

fn short(capability: &Capability) -> String {
    capability.to_string().trim_start_matches("CAP_").to_owned()
}

fn privileges(list: &mut List, facts: &Facts) {
    match facts.no_new_privileges {
        true => list.ok("no_new_privs", "on: set-uid programs inside give nothing"),
        false => list.bad(
            Weak,
            "no_new_privs",
            "off",
            "set-uid programs inside give what the bounding set has",
            ("no --security-opt no-new-privileges=false", "process.noNewPrivileges"),
        ),
    }
    match &facts.seccomp {
        Seccomp::None => list.bad(
            Weak,
            "seccomp",
            "no filter",
            "every system call of the kernel is in reach, with its faults",
            ("no --security-opt seccomp=unconfined", "linux.seccomp"),
        ),
        Seccomp::Filter { words, permits } if permits.is_empty() => list.ok("seccomp", words),
        Seccomp::Filter { words, permits } => list.bad(
            Weak,
            "seccomp",
            format!("{words}; permits {}", permits.join(" ")),
            "calls with a history of faults, or that others need no container for",
            ("no --security-opt seccomp=FILE, no --cap-add", "linux.seccomp"),
        ),
    }
    match facts.confined {
        None => {}
        Some(true) => list.ok("security module", "confined by its profile or label"),
        Some(false) => list.bad(
            Weak,
            "security module",
            "unconfined",
            "the host has AppArmor or SELinux, and the container no profile or label",
            ("a bundle's process.apparmorProfile", "process.apparmorProfile or selinuxLabel"),
        ),
    }
}

fn namespaces(list: &mut List, facts: &Facts) {
    let mut own = Vec::new();
    for (_, name, word) in NAMESPACES {
        if !facts.shared.contains(name) {
            own.push(*word);
            continue;
        }
        let (grade, why) = match *name {
            "pid" => (Dangerous, "it sees the host's processes, and signals those of its uid"),
            "mnt" => (Dangerous, "its mounts are the host's"),
            "net" => (Weak, "it uses the host's addresses and what listens on localhost"),
            "ipc" => (Weak, "it uses the shared memory of the host's programs"),
            "uts" => (Weak, "with CAP_SYS_ADMIN it renames the host"),
            _ => (Weak, "it sees the names of the host's cgroups"),
        };
        let option = if *name == "net" { "no --net host" } else { "" };
        list.bad(
            grade,
            "namespace",
            format!("{word}: the host's"),
            why,
            (option, "linux.namespaces"),
        );
    }
    if !own.is_empty() {
        list.ok("namespaces", format!("of its own: {}", own.join(" ")));
    }
    if !facts.shared.contains(&"net") {
        list.ok("network", format!("not the host's: {}", facts.interfaces.join(" ")));
    }
}

fn files(list: &mut List, facts: &Facts) {
    if let Some(root) = &facts.root {
        let source = root.source.display();
        let (grade, why) = mounts::grade(&root.source, root.writable);
        match (root.writable, grade) {
            (true, Dangerous) => list.bad(
                Dangerous,
                "root filesystem",
                format!("{source}, writable"),
                why,
                ("another ROOTFS, --read-only or --ephemeral", "root.path, root.readonly"),
            ),
            (true, _) => list.ok("root filesystem", format!("{source}, writable")),
            (false, _) => list.ok("root filesystem", format!("{source}, read-only or a layer")),
        }
    }
    for mount in &facts.mounts {
        let access = if mount.writable { "writable" } else { "read-only" };
        let (source, destination) = (mount.source.display(), mount.destination.display());
        let found = format!("{source} on {destination}, {access}");
        let (grade, why) = mounts::grade(&mount.source, mount.writable);
        match grade {
            Ok => list.ok("host files", found),
            grade if mount.writable => {
                let socket = mounts::grade(&mount.source, false).0 == Dangerous;
                let option = format!("--bind {source}:{destination}:ro");
                let option = if socket { "no such --bind" } else { &option };
                list.bad(grade, "host files", found, why, (option, "option ro in mounts"));
            }
            grade => list.bad(grade, "host files", found, why, ("a smaller --bind", "mounts")),
        }
    }
    if facts.mounts.is_empty() {
        list.ok("host files", "none besides the root filesystem");
    }
}

fn devices(list: &mut List, facts: &Facts) {
    let unusual: Vec<_> = facts.devices.iter().filter(|device| !device.is_usual()).collect();
    for device in &unusual {
        let memory = device.major == 1 && matches!(device.minor, 1 | 2 | 4);
        let (grade, why) = match device.block {
            true => (Dangerous, "a disk of the host, past every permission on its files"),
            false if memory => (Dangerous, "the machine's memory or ports"),
            false => (Weak, "a device of the host"),
        };
        let kind = if device.block { "block" } else { "character" };
        let (path, major, minor) = (device.path.display(), device.major, device.minor);
        let found = format!("{path}, {kind} {major}:{minor}");
        list.bad(grade, "device", found, why, ("another ROOTFS", "linux.devices, mounts"));
    }
    if facts.any_device {
        list.bad(
            Dangerous,
            "devices",
            "all of them",
            "it may make nodes (CAP_MKNOD), and no cgroup says which it may open",
            ("--cap-drop MKNOD", "linux.resources.devices"),
        );
    } else if unusual.is_empty() {
        list.ok("devices", "the usual harmless ones");
    }
}

fn kernel_files(list: &mut List, facts: &Facts) {
    match facts.exposed.as_slice() {
        [] => list.ok("masked paths", "what leaks below /proc and /sys is hidden"),
        paths => list.bad(
            Weak,
            "masked paths",
            format!("in sight: {}", paths.join(" ")),
            "they tell of the machine and what it does",
            ("", "linux.maskedPaths"),
        ),
    }
    if facts.writable.is_empty() {
        list.ok("read-only paths", "the machine's settings can't be written to");
        return;
    }
    // The files belong to root of the host.
    let root = facts.uid == 0 && facts.uid_map.is_none();
    list.bad(
        if root { Dangerous } else { Weak },
        "read-only paths",
        format!("writable: {}", facts.writable.join(" ")),
        "settings of the whole machine, some of which name programs that it executes",
        ("", "linux.readonlyPaths, mounts"),
    );
}

fn limits(list: &mut List, facts: &Facts) {
    match facts.memory_limit {
        Some(bytes) => {
            list.ok("memory", format!("at most {:.1} MiB", bytes as f64 / f64::from(1 << 20)));
        }
        None => list.bad(
            Weak,
            "memory",
            "no limit",
            "one container can take all memory of the machine",
            ("--memory 512m", "linux.resources.memory.limit"),
        ),
    }
    match facts.pids_limit {
        Some(count) => list.ok("processes", format!("at most {count}")),
        None => list.bad(
            Weak,
            "processes",
            "no limit",
            "a fork bomb takes the whole machine",
            ("--pids 1000", "linux.resources.pids.limit"),
        ),
    }
}

fn descriptors(list: &mut List, facts: &Facts) {
    match facts.descriptors.as_slice() {
        [] => list.ok("descriptors", "none of the host's besides 0, 1 and 2"),
        open => list.bad(
            Dangerous,
            "descriptors",
            format!("open from outside: {}", open.join(" ")),
            "a directory among them is a way out of the root filesystem",
            ("no --preserve-fds", "start it without --preserve-fds"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::facts::{Device, HostFiles};

    /// Nothing to find fault with.
    fn locked_down() -> Facts {
        Facts {
            uid: 1000,
            no_new_privileges: true,
            seccomp: Seccomp::Filter { words: "a filter".to_owned(), permits: Vec::new() },
            memory_limit: Some(64 << 20),
            pids_limit: Some(100),
            ..Facts::default()
        }
    }

    fn faults(facts: &Facts) -> Vec<(Grade, &'static str)> {
        let findings = judge(facts).findings.into_iter();
        findings.filter(|f| f.grade > Ok).map(|f| (f.grade, f.what)).collect()
    }

    #[test]
    fn a_container_that_is_locked_down_has_no_faults() {
        assert_eq!(faults(&locked_down()), []);
    }

    #[test]
    fn every_loosening_is_a_finding_of_its_own() {
        let bits = |capability: Capability| capability.bitmask();
        let files = |source: &str, writable| HostFiles {
            source: source.into(),
            destination: "/x".into(),
            writable,
        };
        let device = |block, major, minor| Device { path: "/dev/x".into(), block, major, minor };
        type Change<'a> = &'a dyn Fn(&mut Facts);
        let cases: &[(Change, Grade, &str)] = &[
            (&|f| f.uid = 0, Weak, "user"),
            (&|f| f.uid_map = Some(vec![(1000, 0, 1)]), Weak, "user"),
            (&|f| f.capabilities = bits(Capability::CAP_SYS_ADMIN), Dangerous, "capability"),
            (&|f| f.capabilities = bits(Capability::CAP_NET_RAW), Weak, "capability"),
            (&|f| f.no_new_privileges = false, Weak, "no_new_privs"),
            (&|f| f.seccomp = Seccomp::None, Weak, "seccomp"),
            (&|f| f.confined = Some(false), Weak, "security module"),
            (&|f| f.shared = vec!["pid"], Dangerous, "namespace"),
            (&|f| f.shared = vec!["net"], Weak, "namespace"),
            (&|f| f.root = Some(files("/", true)), Dangerous, "root filesystem"),
            (&|f| f.mounts = vec![files("/etc", true)], Dangerous, "host files"),
            (&|f| f.mounts = vec![files("/srv", true)], Weak, "host files"),
            (&|f| f.devices = vec![device(true, 8, 0)], Dangerous, "device"),
            (&|f| f.devices = vec![device(false, 1, 1)], Dangerous, "device"),
            (&|f| f.devices = vec![device(false, 10, 232)], Weak, "device"),
            (&|f| f.any_device = true, Dangerous, "devices"),
            (&|f| f.exposed = vec!["/proc/kcore".to_owned()], Weak, "masked paths"),
            (&|f| f.writable = vec!["/proc/sys".to_owned()], Weak, "read-only paths"),
            (&|f| f.memory_limit = None, Weak, "memory"),
            (&|f| f.pids_limit = None, Weak, "processes"),
            (&|f| f.descriptors = vec!["7 (/)".to_owned()], Dangerous, "descriptors"),
        ];
        for (change, grade, what) in cases {
            let mut facts = locked_down();
            change(&mut facts);
            assert_eq!(faults(&facts), [(*grade, *what)], "{facts:?}");
        }
        let harmless = [files("/srv", false)].to_vec();
        let null = [device(false, 1, 3)].to_vec();
        assert_eq!(faults(&Facts { mounts: harmless, devices: null, ..locked_down() }), []);
    }

    #[test]
    fn a_user_namespace_takes_the_edge_off_capabilities() {
        let admin_and_raw = Capability::CAP_SYS_ADMIN.bitmask() | Capability::CAP_NET_RAW.bitmask();
        let uid_map = Some(vec![(0, 100_000, 65536)]);
        let facts = Facts { capabilities: admin_and_raw, uid: 0, uid_map, ..locked_down() };
        assert_eq!(faults(&facts), [(Weak, "capability")]);
    }

    #[test]
    fn the_worst_comes_first_and_advice_is_in_the_callers_terms() {
        let facts = Facts { shared: vec!["pid"], pids_limit: None, ..locked_down() };
        let audit = judge(&facts);
        assert_eq!(audit.worst(), Dangerous);
        assert!(audit.findings.is_sorted_by(|a, b| a.grade >= b.grade));
        let fix = |facts: &Facts| {
            let findings = judge(facts).findings;
            findings.into_iter().find(|f| f.what == "processes").and_then(|f| f.fix)
        };
        assert_eq!(fix(&facts).as_deref(), Some("--pids 1000"));
        let bundle = Facts { bundle: true, ..facts };
        assert_eq!(fix(&bundle).as_deref(), Some("linux.resources.pids.limit"));
    }
}
