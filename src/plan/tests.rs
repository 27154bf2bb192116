//! The plan without root and without a kernel: hosts as tables, a snapshot. What the order of
//! its steps has to be is in `order_tests.rs`.

use std::time::Duration;

use nix::errno::Errno;
use nix::sched::CloneFlags;

use super::op::{IdMap, IdRange, Mapper, Op};
use super::{Plan, Side};
use crate::command::{Command, Container, Network, UserNamespace};
use crate::error::Error;
use crate::host::{CgroupLayout, Hierarchy, Host, Subordinate};

pub(super) fn root() -> Host {
    Host {
        uid: 0,
        gid: 0,
        capabilities: (1 << 41) - 1,
        securebits: 0,
        kernel: (6, 1),
        in_user_namespace: false,
        has_tty_group: true,
        can_set_groups: true,
        subordinate: None,
        apparmor: false,
        selinux: false,
        many_mounts: false,
        cgroup: v2("/user.slice/session-1.scope"),
        systemd: None,
    }
}

fn v2(own: &str) -> CgroupLayout {
    let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];
    let controllers = controllers.map(str::to_owned).to_vec();
    CgroupLayout::V2 { own: own.into(), controllers, delegated: true }
}

pub(super) fn ordinary() -> Host {
    Host { uid: 1000, gid: 1000, capabilities: 0, ..root() }
}

fn with_subordinate_ids() -> Host {
    let subordinate = Some(Subordinate { uids: (100_000, 65536), gids: (200_000, 65536) });
    Host { subordinate, ..ordinary() }
}

pub(super) fn on_v1(host: Host) -> Host {
    let hierarchy = |controllers: &str, directory: &str| Hierarchy {
        controllers: controllers.into(),
        directory: directory.into(),
        own: "/".into(),
    };
    let hierarchies = vec![
        hierarchy("", "unified"),
        hierarchy("cpu,cpuacct", "cpu,cpuacct"),
        hierarchy("memory", "memory"),
        hierarchy("name=systemd", "systemd"),
    ];
    Host { cgroup: CgroupLayout::V1 { hierarchies, delegated: true }, ..host }
}

pub(super) fn plan(command: &Command, host: &Host) -> Result<Plan, Error> {
    command.plan_on(host).map(|(_, plan)| plan)
}

pub(super) fn container() -> Container {
    let mut container = Container::new("/r");
    container.name("box");
    container
}

pub(super) fn shell(container: &Container) -> Command {
    container.command("/bin/sh")
}

/// Every kind of container that the order must hold for.
pub(super) fn all_kinds() -> Vec<Plan> {
    let mut plans = Vec::new();
    let fussy = Host { securebits: 4, ..root() };
    for host in [root(), ordinary(), with_subordinate_ids(), on_v1(root()), fussy] {
        for (init, ephemeral, narrate, uid) in
            [(true, false, false, 0), (false, true, false, 0), (true, true, true, 7)]
        {
            let mut container = container();
            container.init(init).ephemeral(ephemeral).bind("/etc", "/mnt", true);
            if host.uid == 0 {
                container.memory(1 << 20);
            }
            let mut command = shell(&container);
            command.user(uid, uid).explain(narrate).current_dir("/x").tty(None);
            plans.push(plan(&command, &host).unwrap());
        }
    }
    plans
}

pub(super) fn position(plan: &Plan, kind: &str) -> Option<usize> {
    plan.steps.iter().position(|step| step.op.kind() == kind)
}

#[test]
fn the_default_plan_of_root_reads_as_it_should() {
    let text = plan(&shell(&container()), &root()).unwrap().to_string();
    // What the filter comes to is the machine's; the profile has its own tests.
    let (before, filter) = text.split_once("filter: ").unwrap();
    let text = format!("{before}filter {}", filter.trim_start_matches(|c| c != '['));
    let expected = include_str!("default_plan.txt");
    assert_eq!(text, expected, "if this is meant, write it to src/plan/default_plan.txt");
}

/// What a host and the options make of the ids.
#[test]
fn user_namespaces_follow_the_host() {
    let identity = [IdRange { container: 0, host: 0, size: 65536 }];
    let full = [
        IdRange { container: 0, host: 1000, size: 1 },
        IdRange { container: 1, host: 100_000, size: 65536 },
    ];
    type Row<'a> = (&'a str, Host, UserNamespace, Option<(Mapper, &'a [IdRange])>, Option<&'a str>);
    let rows: Vec<Row> = vec![
        ("root", root(), UserNamespace::Auto, None, None),
        ("root in one", root(), UserNamespace::Full, Some((Mapper::Runtime, &identity)), None),
        ("root, single", root(), UserNamespace::Single, None, Some("0 0 1")),
        ("ordinary", ordinary(), UserNamespace::Auto, None, Some("0 1000 1")),
        ("subids", with_subordinate_ids(), UserNamespace::Auto, Some((Mapper::Tool, &full)), None),
        ("single", with_subordinate_ids(), UserNamespace::Single, None, Some("0 1000 1")),
    ];
    for (name, host, choice, mapped, own) in rows {
        let mut container = container();
        container.user_namespace(choice);
        let plan = plan(&shell(&container), &host).unwrap();
        let find = |wanted: IdMap| {
            plan.steps.iter().find_map(|step| match &step.op {
                Op::MapIds { map, ranges, by } if *map == wanted => Some((*by, ranges.clone())),
                _ => None,
            })
        };
        let line = plan.steps.iter().find_map(|step| match &step.op {
            Op::MapOwnId { map: IdMap::Uid, line } => Some(line.as_str()),
            _ => None,
        });
        assert_eq!(find(IdMap::Uid), mapped.map(|(by, r)| (by, r.to_vec())), "{name}");
        assert_eq!(line, own, "{name}");
        let has_user = plan.steps.iter().any(|step| {
            matches!(step.op, Op::Clone { namespaces, .. } if namespaces.contains(CloneFlags::CLONE_NEWUSER))
        });
        assert_eq!(has_user, mapped.is_some() || own.is_some(), "{name}");
    }
}

#[test]
fn a_single_mapped_id_can_set_no_groups() {
    let single = plan(&shell(&container()), &ordinary()).unwrap();
    assert_eq!(position(&single, "setgroups"), None);
    let full = plan(&shell(&container()), &with_subordinate_ids()).unwrap();
    assert!(position(&full, "setgroups").is_some());
}

/// As after `unshare -Ur`: root, but of a namespace with one id.
#[test]
fn root_of_a_user_namespace_does_without_what_it_lacks() {
    let host =
        Host { in_user_namespace: true, has_tty_group: false, can_set_groups: false, ..root() };
    let plan = plan(&shell(&container()), &host).unwrap();
    assert_eq!((position(&plan, "uid_map"), position(&plan, "setgroups")), (None, None));
    assert!(!plan.to_string().contains("gid=5"));
}

#[test]
fn devices_are_bound_where_mknod_is_refused() {
    for (host, made) in
        [(root(), 6), (Host { in_user_namespace: true, ..root() }, 0), (ordinary(), 0)]
    {
        let plan = plan(&shell(&container()), &host).unwrap();
        let count = |kind| plan.steps.iter().filter(|step| step.op.kind() == kind).count();
        assert_eq!((count("device"), count("bind")), (made, 6 - made));
    }
}

#[test]
fn a_bound_dev_gets_no_devices_of_ours() {
    let mut container = container();
    container.bind("/host", "/dev", false);
    let plan = plan(&shell(&container), &root()).unwrap();
    assert_eq!(plan.steps.iter().filter(|step| step.op.kind() == "device").count(), 0);
}

#[test]
fn the_tty_group_is_used_where_it_is_mapped() {
    let has_gid = |host: &Host| {
        let text = plan(&shell(&container()), host).unwrap().to_string();
        text.contains("mode=0620,gid=5")
    };
    assert!(has_gid(&root()));
    assert!(has_gid(&with_subordinate_ids()));
    assert!(!has_gid(&ordinary()));
}

#[test]
fn the_hosts_network_leaves_an_ordinary_user_the_hosts_sysfs() {
    let mut container = container();
    container.network(Network::Host);
    for (host, bound) in [(root(), false), (ordinary(), true)] {
        let plan = plan(&shell(&container), &host).unwrap();
        assert_eq!(plan.to_string().contains("bind /sys on /sys"), bound);
        assert_eq!(position(&plan, "loopback"), None);
    }
}

#[test]
fn limits_on_v2_are_written_to_the_cgroup_that_the_container_is_born_into() {
    let mut container = container();
    container.memory(64 << 20).cpus(1.5).pids(9);
    let plan = plan(&shell(&container), &root()).unwrap();
    let text = plan.to_string();
    for line in [
        "write \"+memory +cpu +pids\" to /sys/fs/cgroup/cgroup.subtree_control [--memory]",
        "create cgroup /sys/fs/cgroup/minirun-box [--memory]",
        "write \"67108864\" to /sys/fs/cgroup/minirun-box/memory.max [--memory]",
        "write \"150000 100000\" to /sys/fs/cgroup/minirun-box/cpu.max [--cpus]",
        "write \"9\" to /sys/fs/cgroup/minirun-box/pids.max [--pids]",
        "into cgroup /sys/fs/cgroup/minirun-box",
        "unshare namespaces: cgroup",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
}

#[test]
fn limits_on_v1_are_joined_by_the_container_itself() {
    let mut container = container();
    container.memory(1 << 20).cpus(0.5);
    let text = plan(&shell(&container), &on_v1(root())).unwrap().to_string();
    for line in [
        "create cgroup /sys/fs/cgroup/memory/minirun-box",
        "write \"1048576\" to /sys/fs/cgroup/memory/minirun-box/memory.limit_in_bytes",
        "write \"50000\" to /sys/fs/cgroup/cpu,cpuacct/minirun-box/cpu.cfs_quota_us",
        "join cgroup /sys/fs/cgroup/memory/minirun-box/tasks",
        "join cgroup /sys/fs/cgroup/cpu,cpuacct/minirun-box/tasks",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
}

#[test]
fn what_cannot_work_is_refused_with_its_place() {
    let limited = |limit: fn(&mut Container) -> &mut Container| {
        let mut container = container();
        limit(&mut container);
        shell(&container)
    };
    let memory = || limited(|c| c.memory(1));
    let absent = Host { cgroup: CgroupLayout::Absent, ..root() };
    let mut relative = shell(&container());
    relative.current_dir("x");
    let mut named = container();
    named.name("../up");
    let rows: Vec<(Command, Host, &str)> = vec![
        (memory(), on_v1(ordinary()), "--memory"),
        (memory(), absent, "--memory"),
        (limited(|c| c.pids(1)), on_v1(root()), "--pids"),
        (limited(|c| c.cpus(0.0)), root(), "--cpus"),
        (limited(|c| c.cpus(f64::NAN)), root(), "--cpus"),
        (limited(|c| c.user_namespace(UserNamespace::None)), ordinary(), "--userns"),
        (limited(|c| c.user_namespace(UserNamespace::Full)), ordinary(), "--userns"),
        (limited(|c| c.hostname("x".repeat(65))), root(), "--hostname"),
        (limited(|c| c.tmpfs("relative", &[])), root(), "--tmpfs relative"),
        (limited(|c| c.tmpfs("/", &[])), root(), "--tmpfs /"),
        (limited(|c| c.tmpfs("/..//", &[])), root(), "--tmpfs /..//"),
        (limited(|c| c.hostname("")), root(), "--hostname"),
        (limited(|c| c.hostname("a\nb")), root(), "--hostname"),
        (limited(|c| c.memory(0)), root(), "--memory"),
        (relative, root(), "--workdir"),
        (shell(&named), root(), "--name"),
        (container().command(""), root(), "COMMAND"),
        (container().command("a\0b"), root(), "process.args[0]"),
    ];
    for (command, host, place) in rows {
        let error = plan(&command, &host).expect_err(place);
        assert_eq!(error.place(), Some(place), "{error}");
        assert_eq!(error.exit_code(), 125);
    }
}

#[test]
fn commands_without_a_slash_are_looked_for_in_the_containers_path() {
    let mut command = container().command("ls");
    command.env("PATH", "/a::/b/").timeout(Duration::from_secs(1));
    let plan = plan(&command, &root()).unwrap();
    let Some(Op::Exec(exec)) = plan.steps.last().map(|step| &step.op) else {
        panic!("the last step is execve");
    };
    assert_eq!(
        exec.candidates,
        [c"/a/ls".into(), c"./ls".into(), c"/b/ls".into()] as [std::ffi::CString; 3]
    );
}

#[test]
fn only_what_kernels_lack_is_tolerated() {
    for plan in all_kinds() {
        for step in plan.steps.iter().filter(|step| !step.tolerates.is_empty()) {
            let kind = step.op.kind();
            assert!(
                ["mask", "readonly_path", "symlink", "chdir", "session_keyring"].contains(&kind),
                "{kind}"
            );
            let keyring = kind == "session_keyring";
            assert!(keyring || !step.tolerates.contains(&Errno::EPERM), "{kind}");
        }
    }
}

#[test]
fn every_step_has_words_and_a_purpose() {
    for plan in all_kinds() {
        let json = plan.to_json();
        let steps = json.as_array().unwrap();
        assert_eq!(steps.len(), plan.steps.len());
        for step in steps {
            for key in ["side", "kind", "what", "purpose"] {
                assert!(!step[key].as_str().unwrap().is_empty(), "{key} of {step}");
            }
        }
    }
}

/// A specification from JSON, with one field of it replaced.
pub(super) fn plan_of_json(path: &[&str], value: serde_json::Value) -> Result<Plan, Error> {
    plan_of_json_on(path, value, &root())
}

pub(super) fn plan_of_json_on(
    path: &[&str],
    value: serde_json::Value,
    host: &Host,
) -> Result<Plan, Error> {
    let mut json = serde_json::json!({
        "ociVersion": "1.3.0",
        "root": { "path": "/r" },
        "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"] },
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }], "resources": {} },
    });
    let mut place = &mut json;
    for key in path {
        place = &mut place[*key];
    }
    *place = value;
    let spec = serde_json::from_value(json).expect("a specification");
    let options = super::Options { name: "box".into(), ..Default::default() };
    Plan::new(&spec, &options, host)
}

#[test]
fn securebits_are_cleared_where_the_kernel_does_not() {
    let cleared = |host| {
        let host = Host { securebits: 4, ..host };
        position(&plan(&shell(&container()), &host).unwrap(), "clear_securebits").is_some()
    };
    assert!(cleared(root()));
    assert!(!cleared(ordinary()), "a new user namespace has none");
}

#[test]
fn a_field_that_is_not_carried_out_is_refused_by_its_path() {
    use serde_json::json;
    assert!(plan_of_json(&["annotations"], json!({ "any": "thing" })).is_ok());
    let notify = json!({ "defaultAction": "SCMP_ACT_NOTIFY" });
    let rows = [
        (&["linux", "seccomp"][..], notify, "linux.seccomp.listenerPath"),
        (&["vm"], json!({ "kernel": { "path": "/k" } }), "vm"),
    ];
    for (keys, value, path) in rows {
        let error = plan_of_json(keys, value).expect_err(path);
        assert_eq!(error.place(), Some(path), "{error}");
    }
}

/// On a host whose root lacks some, as in most virtual machines of CI services.
#[test]
fn capabilities_that_cannot_be_granted_are_left_out_with_a_warning() {
    use serde_json::json;
    let sets = json!({ "bounding": ["CAP_KILL", "CAP_SYS_RESOURCE"],
        "effective": ["CAP_KILL", "CAP_SYS_RESOURCE"],
        "permitted": ["CAP_KILL", "CAP_SYS_RESOURCE"] });
    let lacking = Host { capabilities: root().capabilities & !(1 << 24), ..root() };
    for (host, effective, warned) in [(root(), 2, false), (lacking, 1, true)] {
        let plan = plan_of_json_on(&["process", "capabilities"], sets.clone(), &host).unwrap();
        let words = format!("set capabilities: {effective} effective, {effective} permitted");
        assert!(plan.to_string().contains(&words), "{plan}");
        let warning = plan.warnings.first().is_some_and(|text| text.contains("CAP_SYS_RESOURCE"));
        assert_eq!(warning, warned, "{:?}", plan.warnings);
    }
}

/// The system calls would take it for "as it is", which is root.
#[test]
fn no_id_at_all_is_refused() {
    use serde_json::json;
    for user in [
        json!({ "uid": u32::MAX, "gid": 0 }),
        json!({ "uid": 0, "gid": u32::MAX }),
        json!({ "uid": 0, "gid": 0, "additionalGids": [5, u32::MAX] }),
    ] {
        let error = plan_of_json(&["process", "user"], user).expect_err("no user");
        assert_eq!(error.place(), Some("process.user"), "{error}");
    }
}

/// `runc spec` writes such a list, and runc and crun give the container's user none of it.
#[test]
fn what_is_not_inheritable_is_not_ambient() {
    use serde_json::json;
    let kill = json!(["CAP_KILL"]);
    for (uid, inheritable, is_raised, is_warned) in
        [(0, json!([]), false, false), (7, json!([]), false, true), (7, kill.clone(), true, false)]
    {
        let process = json!({ "cwd": "/", "user": { "uid": uid, "gid": 0 }, "args": ["/bin/true"],
            "capabilities": { "bounding": kill, "effective": kill, "permitted": kill,
                "ambient": kill, "inheritable": inheritable } });
        let plan = plan_of_json(&["process"], process).unwrap();
        assert_eq!(position(&plan, "ambient").is_some(), is_raised, "{plan}");
        assert_eq!(!plan.warnings.is_empty(), is_warned, "{:?}", plan.warnings);
    }
}

/// Rights over the machine end at the edge of a user namespace.
#[test]
fn with_a_user_namespace_the_runtime_limits_and_scores_and_its_root_makes_the_files() {
    use serde_json::json;
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    for (kinds, side, ids) in [
        (vec!["pid", "mount"], Side::Container, json!([])),
        (vec!["pid", "mount", "user"], Side::Runtime, ids),
    ] {
        let namespaces: Vec<_> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        let spec = json!({
            "ociVersion": "1.3.0",
            "root": { "path": "/r" },
            "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"],
                "oomScoreAdj": -7,
                "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 2 }] },
            "linux": { "namespaces": namespaces, "uidMappings": ids, "gidMappings": ids },
        });
        let spec = serde_json::from_value(spec).unwrap();
        let plan = Plan::new(&spec, &super::Options::default(), &root()).unwrap();
        let root_at = position(&plan, "setuid").unwrap();
        let makes_files_as_root = root_at < position(&plan, "rootfs").unwrap();
        assert_eq!(makes_files_as_root, side == Side::Runtime, "{plan}");
        for kind in ["oom_score", "rlimit"] {
            let step = plan.steps.iter().find(|step| step.op.kind() == kind).unwrap();
            assert_eq!(step.side, side, "{kind}");
        }
    }
}
