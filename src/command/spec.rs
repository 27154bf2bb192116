//! From settings to a runtime-spec: the same for `run`, `plan` and `spec`.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    BoxBuilder, Capability, Linux, LinuxCapabilities, LinuxCpu, LinuxIdMapping,
    LinuxIdMappingBuilder, LinuxMemory, LinuxPids, LinuxResources, LinuxSeccomp, PosixRlimit,
    PosixRlimitBuilder, Process, Root, Spec, User,
};

use super::{Command, Container, Network, Seccomp, UserNamespace};
use crate::error::{Error, Result};
use crate::host::{Host, Subordinate};
use crate::oci::features::NEWEST_VERSION;
use crate::oci::{annotations, defaults};
use crate::plan::{DEFAULT_PATH, Lifecycle, Options};
use crate::seccomp::{self, Machine};

/// Which config.json path an option ends up at, for messages.
const ORIGINS: &[(&str, &str)] = &[
    ("root.path", "ROOTFS"),
    ("root.readonly", "--read-only"),
    ("hostname", "--hostname"),
    ("process.args", "COMMAND"),
    ("process.cwd", "--workdir"),
    ("process.user", "--user"),
    ("process.terminal", "--tty"),
    ("process.noNewPrivileges", "--security-opt no-new-privileges"),
    ("process.capabilities", "--cap-add, --cap-drop"),
    ("process.capabilities.bounding", "--cap-add, --cap-drop"),
    ("linux.seccomp", "--security-opt seccomp"),
    ("linux.resources.memory.limit", "--memory"),
    ("linux.resources.cpu.quota", "--cpus"),
    ("linux.resources.pids.limit", "--pids"),
    ("linux.namespaces", "--net, --userns"),
    ("linux.uidMappings", "--userns"),
    ("linux.gidMappings", "--userns"),
];

/// The kernel's scheduling period for CPU quotas, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// Renders a command as a specification, and as options what has no place in one.
pub(super) fn build(command: &Command, host: &Host) -> Result<(Spec, Options)> {
    let container = &command.container;
    let name = match &container.name {
        Some(name) => checked_name(name)?,
        None => random_name(),
    };
    let hostname = container.hostname.clone().unwrap_or_else(|| name.clone());
    let maps = IdMaps::choose(container, command.user, host)?;
    let mut origins: Vec<(String, String)> =
        ORIGINS.iter().map(|&(path, option)| (path.to_owned(), option.to_owned())).collect();

    for index in 0..container.rlimits.len() {
        origins.push((format!("process.rlimits[{index}]"), "--ulimit".to_owned()));
    }
    let tty_gid = match &maps {
        Some(maps) => maps.has_gid(defaults::TTY_GID),
        None => host.has_tty_group,
    };
    let fresh_sysfs = container.network == Network::None || maps.is_none();
    let mut mounts = defaults::mounts(tty_gid, fresh_sysfs);
    for extra in &container.mounts {
        origins.push((format!("mounts[{}]", mounts.len()), extra.origin.clone()));
        mounts.push(extra.mount.clone());
    }

    // A new user namespace begins with every capability, over itself alone.
    let grantable = if maps.is_some() { u64::MAX } else { host.capabilities };

    let mut root = Root::default();
    let rootfs = container.rootfs.path()?;
    if rootfs.as_os_str().is_empty() {
        return Err(Error::said("open the root filesystem", "its path is empty").at("ROOTFS"));
    }
    let rootfs = std::path::absolute(rootfs)
        .map_err(|error| Error::io("find the working directory", &error))?;
    root.set_path(rootfs).set_readonly(Some(container.read_only));
    let capabilities = capabilities(container, grantable);
    let mut linux = linux(container, maps)?;
    linux.set_seccomp(profile(container, &capabilities, host)?);
    let mut spec = Spec::default();
    spec.set_version(NEWEST_VERSION.to_owned())
        .set_root(Some(root))
        .set_mounts(Some(mounts))
        .set_process(Some(process(command, &hostname, &capabilities)?))
        .set_hostname(Some(hostname))
        .set_annotations(annotations::of(container.init, container.ephemeral))
        .set_linux(Some(linux));
    let piped = |stdio: &super::Stdio| !matches!(stdio, super::Stdio::Inherit);
    let options = Options {
        name,
        init: container.init,
        ephemeral: container.ephemeral,
        lifecycle: match container.die_with_parent {
            true => Lifecycle::Attached,
            false => Lifecycle::Detached,
        },
        stdio: [&command.stdin, &command.stdout, &command.stderr].into_iter().any(piped),
        narrate: command.explain,
        origins,
        // Where minirun doesn't know the machine's system calls, there is none.
        default_seccomp: container.seccomp == Seccomp::Default && Machine::NATIVE.is_some(),
        ..Options::default()
    };
    Ok((spec, options))
}

/// As [`build`], with the default seccomp profile spelt out.
pub(super) fn whole(command: &Command, host: &Host) -> Result<Spec> {
    let (mut spec, options) = build(command, host)?;
    if let Some(machine) = Machine::NATIVE.filter(|_| options.default_seccomp) {
        let capabilities = spec.process().as_ref().and_then(|p| p.capabilities().as_ref());
        let bounding = capabilities.and_then(|sets| sets.bounding().as_ref());
        let profile = built(seccomp::default_profile(machine, bounding))?;
        if let Some(linux) = spec.linux_mut() {
            linux.set_seccomp(Some(profile));
        }
    }
    Ok(spec)
}

fn process(
    command: &Command,
    hostname: &str,
    capabilities: &HashSet<Capability>,
) -> Result<Process> {
    let container = &command.container;
    let (uid, gid) = command.user;
    let mut user = User::default();
    user.set_uid(uid).set_gid(gid).set_umask(Some(0o022));
    let home = if uid == 0 { "/root" } else { "/" };
    let mut env = vec![
        format!("PATH={DEFAULT_PATH}"),
        format!("HOME={home}"),
        format!("HOSTNAME={hostname}"),
    ];
    if command.tty.is_some() {
        env.push(format!("TERM={}", std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned())));
    }
    for entry in &command.env {
        let name = entry.split_once('=').map_or(entry.as_str(), |(name, _)| name);
        if name.is_empty() {
            return Err(Error::said("set the environment", "a variable needs a name").at("--env"));
        }
        env.retain(|old| old.split_once('=').is_none_or(|(old, _)| old != name));
        env.push(entry.clone());
    }
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(capabilities.clone()))
        .set_effective(Some(capabilities.clone()))
        .set_permitted(Some(capabilities.clone()))
        .set_inheritable(None)
        .set_ambient(None);
    let mut process = Process::default();
    process
        .set_terminal(Some(command.tty.is_some()))
        .set_user(user)
        .set_args(Some(command.args.clone()))
        .set_env(Some(env))
        .set_cwd(PathBuf::from(command.cwd.as_deref().unwrap_or("/")))
        .set_capabilities(Some(sets))
        .set_rlimits(Some(rlimits(container)?))
        .set_no_new_privileges(Some(container.no_new_privileges));
    if let Some(Some(size)) = command.tty {
        let console =
            BoxBuilder::default().height(u64::from(size.rows)).width(u64::from(size.columns));
        process.set_console_size(Some(built(console.build())?));
    }
    Ok(process)
}

/// As the engines do: ALL first, then single names, and dropping beats adding.
fn capabilities(container: &Container, grantable: u64) -> HashSet<Capability> {
    let mut set: HashSet<Capability> = match (container.cap_add_all, container.cap_drop_all) {
        (true, false) => caps::all()
            .into_iter()
            .filter(|capability| capability.bitmask() & grantable != 0)
            .filter_map(|capability| capability.to_string().strip_prefix("CAP_")?.parse().ok())
            .collect(),
        (false, false) => defaults::CAPABILITIES.iter().copied().collect(),
        (_, true) => HashSet::new(),
    };
    set.extend(&container.cap_add);
    for dropped in &container.cap_drop {
        set.remove(dropped);
    }
    set
}

/// The profile that was named; the default one is left to the plan, and to [`whole`].
fn profile(
    container: &Container,
    capabilities: &HashSet<Capability>,
    host: &Host,
) -> Result<Option<LinuxSeccomp>> {
    let Seccomp::Profile(profile) = &container.seccomp else { return Ok(None) };
    let option = "--security-opt seccomp";
    let Some(machine) = Machine::NATIVE else {
        let reason = "the system calls of this machine aren't known";
        return Err(Error::said("read a seccomp profile", reason).at(option));
    };
    let about = seccomp::Container { machine, kernel: host.kernel, bounding: capabilities };
    let resolved = seccomp::resolve(profile.clone(), &about).map_err(|refusal| {
        let place = format!("{option} {}", refusal.path);
        Error::said("read a seccomp profile", refusal.reason).at(place.trim_end())
    });
    Ok(Some(resolved?))
}

fn rlimits(container: &Container) -> Result<Vec<PosixRlimit>> {
    let one = |&(kind, soft, hard): &(_, u64, u64)| {
        built(PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build())
    };
    container.rlimits.iter().map(one).collect()
}

/// The builders complain of missing fields only, and none is.
fn built<T>(result: std::result::Result<T, OciSpecError>) -> Result<T> {
    result.map_err(|error| Error::said("write the specification", error.to_string()))
}

fn linux(container: &Container, maps: Option<IdMaps>) -> Result<Linux> {
    let network = container.network == Network::None;
    let owned = |list: &[&str]| Some(list.iter().map(|&path| path.to_owned()).collect());
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(defaults::namespaces(maps.is_some(), network)))
        .set_resources(resources(container)?)
        .set_masked_paths(owned(defaults::MASKED_PATHS))
        .set_readonly_paths(owned(defaults::READONLY_PATHS));
    if let Some(maps) = maps {
        linux.set_uid_mappings(Some(maps.uids)).set_gid_mappings(Some(maps.gids));
    }
    Ok(linux)
}

fn resources(container: &Container) -> Result<Option<LinuxResources>> {
    let mut resources = LinuxResources::default();
    resources.set_devices(None);
    if container.memory == Some(0) {
        let reason = "nothing can run in 0 bytes";
        return Err(Error::said("limit resources", reason).at("--memory"));
    }
    if let Some(bytes) = container.memory {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(bytes));
        resources.set_memory(Some(memory));
    }
    if let Some(cpus) = container.cpus {
        // The kernel's least quota is a millisecond.
        let quota = (cpus * CPU_PERIOD as f64).round();
        if !(1_000.0..1e12).contains(&quota) {
            let reason = format!("{cpus} is not between 0.01 and 10,000,000 processors");
            return Err(Error::said("limit resources", reason).at("--cpus"));
        }
        let mut cpu = LinuxCpu::default();
        cpu.set_quota(Some(quota as i64)).set_period(Some(CPU_PERIOD));
        resources.set_cpu(Some(cpu));
    }
    if let Some(limit) = container.pids {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    let asked = container.memory.is_some() || container.cpus.is_some() || container.pids.is_some();
    Ok(asked.then_some(resources))
}

/// The id maps of a new user namespace.
struct IdMaps {
    uids: Vec<LinuxIdMapping>,
    gids: Vec<LinuxIdMapping>,
}

impl IdMaps {
    /// `None` when no user namespace is needed.
    fn choose(container: &Container, user: (u32, u32), host: &Host) -> Result<Option<Self>> {
        let refuse = |reason: &str, hint: &str| {
            Err(Error::said("choose a user namespace", reason).at("--userns").hint(hint))
        };
        let single = || -> Result<IdMaps> {
            let uids = vec![mapping(user.0, host.uid, 1)?];
            Ok(IdMaps { uids, gids: vec![mapping(user.1, host.gid, 1)?] })
        };
        Ok(match (container.user_namespace, host.uid, host.subordinate) {
            (UserNamespace::Auto | UserNamespace::None, 0, _) => None,
            (UserNamespace::None, ..) => {
                return refuse(
                    "only root can do without one",
                    "leave the option out, or run minirun as root",
                );
            }
            (UserNamespace::Auto, _, None) | (UserNamespace::Single, ..) => Some(single()?),
            (UserNamespace::Full, 0, _) => {
                let identity = vec![mapping(0, 0, 65536)?];
                Some(IdMaps { uids: identity.clone(), gids: identity })
            }
            (UserNamespace::Auto | UserNamespace::Full, _, Some(Subordinate { uids, gids })) => {
                let map = |own, (first, count)| -> Result<Vec<_>> {
                    Ok(vec![mapping(0, own, 1)?, mapping(1, first, count)?])
                };
                Some(IdMaps { uids: map(host.uid, uids)?, gids: map(host.gid, gids)? })
            }
            (UserNamespace::Full, _, None) => {
                return refuse(
                    "this user has no subordinate ids, or newuidmap isn't installed",
                    "add them with usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \
                     USER and install the package uidmap, or use --userns single",
                );
            }
        })
    }

    fn has_gid(&self, gid: u32) -> bool {
        self.gids
            .iter()
            .any(|m| (m.container_id()..m.container_id().saturating_add(m.size())).contains(&gid))
    }
}

fn mapping(container: u32, host: u32, size: u32) -> Result<LinuxIdMapping> {
    let builder = LinuxIdMappingBuilder::default();
    built(builder.container_id(container).host_id(host).size(size).build())
}

/// Names end up in paths of cgroups, so they can't be just anything.
fn checked_name(name: &str) -> Result<String> {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if first && rest && name.len() <= 64 {
        return Ok(name.to_owned());
    }
    let reason = format!("{name:?} isn't a letter or digit followed by at most 63 of A-Za-z0-9_.-");
    Err(Error::said("name the container", reason).at("--name"))
}

/// Twelve hex digits, as `docker run` gives; the standard library's hasher is seeded at random.
fn random_name() -> String {
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("{:012x}", hasher.finish() & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_they_become_paths() {
        assert!(checked_name("web-1.test_2").is_ok());
        for bad in ["", "../x", ".hidden", "a/b", "a b", "-x", &"a".repeat(65)] {
            assert!(checked_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn random_names_are_names_and_differ() {
        let names: HashSet<String> = (0..100).map(|_| random_name()).collect();
        assert_eq!(names.len(), 100);
        assert!(names.iter().all(|name| checked_name(name).is_ok() && name.len() == 12));
    }
}
