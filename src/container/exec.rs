//! exec: another process in a running container.
//!
//! Namespaces, cgroup and what the process may do come from what `create` has written down
//! and from the container's first process, found by its pidfd.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sched::CloneFlags;
use oci_spec::runtime::{Capability, LinuxCapabilities, Process, Spec};

use super::create::{
    Announce, check_preserved, connect, connect_console, send_descriptors, write_pid_file,
};
use super::lifecycle::not_running;
use super::record::Record;
use super::status::{Look, Status, state_of};
use super::store::Store;
use crate::attach::{self, Deadline, Signals};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::init::exit_code;
use crate::launch::{self, Caller, Running};
use crate::oci;
use crate::plan::{Joined, Lifecycle, NAMESPACES, Options, Plan};
use crate::sys;

/// A process to be started in a running container: the container's own, but for what is
/// given here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// The container.
    pub id: String,
    /// A file with all of it, a runtime-spec's `process`; what follows up to
    /// `no_new_privileges` isn't looked at then.
    pub process: Option<PathBuf>,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// Its user and, if that differs from the container's, its group.
    pub user: Option<(u32, Option<u32>)>,
    /// More supplementary groups.
    pub additional_gids: Vec<u32>,
    /// Its working directory.
    pub cwd: Option<PathBuf>,
    /// More variables, as `NAME=value`.
    pub env: Vec<String>,
    /// More capabilities.
    pub capabilities: Vec<Capability>,
    /// Its AppArmor profile.
    pub apparmor_profile: Option<String>,
    /// Its SELinux label.
    pub process_label: Option<String>,
    /// Set no_new_privs.
    pub no_new_privileges: bool,
    /// Cgroups below the container's to run in, as `PATH` or `CONTROLLER,…:PATH`.
    pub cgroup: Vec<String>,
    /// Start it even if the container is paused; it waits for `resume` then.
    pub ignore_paused: bool,
    /// Where to write its pid.
    pub pid_file: Option<PathBuf>,
    /// A socket that gets the master of its pty.
    pub console_socket: Option<PathBuf>,
    /// A socket that gets a pidfd of it.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 on it keeps.
    pub preserve_fds: u32,
}

/// Which field an option sets, for messages.
const ORIGINS: &[(&str, &str)] = &[
    ("process.user", "--user"),
    ("process.user.additionalGids", "--additional-gids"),
    ("process.cwd", "--cwd"),
    ("process.args", "COMMAND"),
    ("process.args[0]", "COMMAND"),
    ("process.capabilities", "--cap"),
    ("process.apparmorProfile", "--apparmor"),
    ("process.selinuxLabel", "--process-label"),
];

/// Starts a process in a container and stands in for it at the caller's terminal until it
/// ends. Gives its exit status, 128+N when signal N killed it. `announce` gets the plan
/// before it is carried out.
///
/// # Errors
/// "container does not exist", "container not running", what can't be done with the field it
/// came from, and when its program can't be executed.
pub fn exec(store: &Store, exec: &Exec, signals: &Signals, announce: Announce<'_>) -> Result<u8> {
    let running = start(store, exec, Lifecycle::Attached, announce)?;
    let mut deadline = Deadline::new(Instant::now(), None, Duration::ZERO);
    let console = running.console.as_ref().map(AsFd::as_fd);
    attach::until_end(&running.init, Some(signals), console, &mut deadline)?;
    let waited = sys::process::wait4(running.init.pid, true)
        .map_err(|errno| Error::system("wait for the process", errno))?;
    let (status, _) = waited.unwrap_or_default();
    Ok(exit_code(status) as u8)
}

/// Starts a process in a container; it goes on when this process has ended.
///
/// # Errors
/// As [`exec`].
pub fn exec_detached(store: &Store, exec: &Exec, announce: Announce<'_>) -> Result<()> {
    start(store, exec, Lifecycle::Detached, announce).map(drop)
}

fn start(
    store: &Store,
    exec: &Exec,
    lifecycle: Lifecycle,
    announce: Announce<'_>,
) -> Result<Running> {
    let step = || format!("execute in container {}", exec.id);
    check_preserved(exec.preserve_fds)?;
    let file = store.find(&exec.id)?;
    let (record, config) = file.record_and_config()?;
    let look = Look::at(&file, &record)?;
    let refuse = |reason: &str| Err(Error::said(step(), reason));
    match look.status {
        Status::Creating => return refuse("container not running: it is being created"),
        Status::Stopped => {
            return refuse("container not running: cannot exec in a stopped container");
        }
        Status::Paused if !exec.ignore_paused => {
            return refuse("cannot exec in a paused container (--ignore-paused does)");
        }
        _ => {}
    }
    let (Some(init), Some(found)) = (&record.init, &look.init) else {
        return Err(not_running(step()));
    };
    let mut spec = oci::bundle::interpret(&config, &record.bundle)?;
    let process = exec.process(&spec)?;
    let terminal = process.terminal() == Some(true);
    // Its hooks are about the container, and have run.
    spec.set_process(Some(process)).set_hooks(None);

    let joined = Joined {
        namespaces: namespaces(init.pid),
        cgroup: exec.cgroups(cgroups(&record, init.pid))?,
        user_unit: record.unit.as_ref().filter(|unit| unit.user).and_then(|unit| {
            let dir = record.cgroup.iter().find(|dir| dir.controllers.is_empty())?;
            Some((unit.name.clone(), dir.path.clone()))
        }),
    };
    if found.has_ended() {
        // What was read of its pid may be about another process.
        return Err(not_running(step()));
    }
    let origins = if exec.process.is_none() { ORIGINS } else { &[] };
    let options = Options {
        name: exec.id.clone(),
        lifecycle,
        oci: true,
        no_new_keyring: record.no_new_keyring,
        preserve_fds: exec.preserve_fds,
        origins: origins.iter().map(|&(path, option)| (path.into(), option.into())).collect(),
        ..Options::default()
    };
    let console = connect_console(exec.console_socket.as_deref(), terminal, lifecycle)?;
    let pidfd = connect(exec.pidfd_socket.as_deref(), "--pidfd-socket")?;
    let plan = Plan::for_exec(&spec, &joined, &options, &Host::read_but_cgroups()?)?;
    announce(&plan);
    // Whatever failed, when the container has ended under its hands that is why.
    let is_over = || found.has_ended() || is_ending(init.pid);
    let render = |_: i32, _: &str| {
        let state = state_of(&file, record.clone(), look.status);
        serde_json::to_string(&state).unwrap_or_default()
    };
    let caller =
        Caller { process: Some(found.pidfd.as_fd()), state: Some(&render), ..Caller::default() };
    let running = launch::launch(&plan, caller)
        .map_err(|error| if is_over() { not_running(step()) } else { error })?;
    let done = || -> Result<()> {
        send_descriptors(&running, console.as_ref(), pidfd.as_ref())?;
        match &exec.pid_file {
            Some(path) => write_pid_file(path, running.init.pid.as_raw()),
            None => Ok(()),
        }
    };
    done().inspect_err(|_| {
        // Nobody would know of it.
        let _ = sys::process::pidfd_send_signal(running.init.pidfd.as_fd(), libc::SIGKILL);
        let _ = sys::process::wait4(running.init.pid, true);
    })?;
    Ok(running)
}

impl Exec {
    fn process(&self, spec: &Spec) -> Result<Process> {
        let missing = || Error::said("read the container's process", "none is given").at("process");
        let own = spec.process().clone().ok_or_else(missing)?;
        let mut process = match &self.process {
            Some(file) => {
                let step = format!("read {}", file.display());
                let text = fs::read(file)
                    .map_err(|error| Error::io(step.as_str(), &error).at("--process"))?;
                oci::bundle::process(&text, &step)?
            }
            None => self.changed(own.clone()),
        };
        // It is a property of the container.
        if process.oom_score_adj().is_none() {
            process.set_oom_score_adj(own.oom_score_adj());
        }
        Ok(process)
    }

    /// The container's own process with what the options say.
    fn changed(&self, mut process: Process) -> Process {
        process.set_args(Some(self.args.clone())).set_terminal(Some(self.tty));
        if let Some(cwd) = &self.cwd {
            process.set_cwd(cwd.clone());
        }
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(self.env.iter().cloned());
        process.set_env(Some(env));
        let mut user = process.user().clone();
        if let Some((uid, gid)) = self.user {
            let gid = gid.unwrap_or_else(|| user.gid());
            user.set_uid(uid).set_gid(gid);
        }
        if !self.additional_gids.is_empty() {
            let mut gids = user.additional_gids().clone().unwrap_or_default();
            gids.extend(&self.additional_gids);
            user.set_additional_gids(Some(gids));
        }
        process.set_user(user);
        if !self.capabilities.is_empty() {
            let sets = process.capabilities().clone();
            process.set_capabilities(Some(self.more(sets.unwrap_or_else(no_capabilities))));
        }
        if let Some(profile) = &self.apparmor_profile {
            process.set_apparmor_profile(Some(profile.clone()));
        }
        if let Some(label) = &self.process_label {
            process.set_selinux_label(Some(label.clone()));
        }
        if self.no_new_privileges {
            process.set_no_new_privileges(Some(true));
        }
        process
    }

    /// What is added is neither inheritable nor ambient (CVE-2022-29162).
    fn more(&self, mut sets: LinuxCapabilities) -> LinuxCapabilities {
        let with = |set: &Option<std::collections::HashSet<Capability>>| {
            Some(set.iter().flatten().chain(&self.capabilities).copied().collect())
        };
        let (bounding, effective, permitted) =
            (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
        sets
    }

    /// The container's cgroup directories with the parts that `--cgroup` names.
    fn cgroups(&self, mut dirs: Vec<(String, PathBuf)>) -> Result<Vec<(String, PathBuf)>> {
        for text in &self.cgroup {
            let refuse = |reason: &str| {
                Err(Error::said("choose a cgroup", reason.to_owned())
                    .at(format!("--cgroup {text}")))
            };
            let (controllers, path) = match text.split_once(':') {
                Some((controllers, path)) => (controllers, path),
                None if self.cgroup.len() == 1 => ("", text.as_str()),
                None => return refuse("each of several needs its CONTROLLER: in front"),
            };
            let below = Path::new(path.trim_start_matches('/'));
            if below.components().any(|part| part == std::path::Component::ParentDir) {
                return refuse("it must lie below the container's");
            }
            let mut asked: Vec<&str> = controllers.split(',').collect();
            for (has, dir) in &mut dirs {
                let before = asked.len();
                asked.retain(|one| !has.split(',').any(|other| other == *one));
                if asked.len() < before {
                    dir.push(below);
                }
            }
            if !asked.is_empty() {
                return refuse("the container has no cgroup of this controller");
            }
        }
        Ok(dirs)
    }
}

/// The crate's default has some.
fn no_capabilities() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(None).set_effective(None).set_permitted(None);
    sets.set_inheritable(None).set_ambient(None);
    sets
}

/// The first process of a pid namespace kills all others and waits for them before it has
/// ended (pid_namespaces(7)); it is in no namespaces any more then.
fn is_ending(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/ns/mnt")).is_err()
}

/// The namespaces in which a process isn't where this one is. Those that both are in can't be
/// joined by everybody, and needn't be. One that can't be looked at counts as another: the
/// kernel then says that the process is gone.
fn namespaces(pid: i32) -> CloneFlags {
    let link = |pid: &str, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).ok();
    let pid = pid.to_string();
    let differs = |name: &str| link(&pid, name) != link("self", name);
    let flags = NAMESPACES.iter().filter(|(_, name)| differs(name));
    flags.fold(CloneFlags::empty(), |flags, (flag, _)| flags | *flag)
}

/// The container's cgroup. A container that manages the v2 hierarchy in it has moved its
/// processes further down, and the kernel lets nobody in above them.
fn cgroups(record: &Record, pid: i32) -> Vec<(String, PathBuf)> {
    let has_v2 = record.cgroup.iter().any(|dir| dir.controllers.is_empty());
    let own = has_v2.then(|| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()).flatten();
    let own = own.unwrap_or_default();
    let v2 = own.lines().find_map(|line| line.strip_prefix("0::"));
    let dirs = record.cgroup.iter().map(|dir| {
        let path = match v2 {
            Some(v2) if dir.controllers.is_empty() => within(&dir.path, Path::new(v2)),
            _ => dir.path.clone(),
        };
        (dir.controllers.clone(), path)
    });
    dirs.collect()
}

/// The directory of a process below `dir`, when its path in the hierarchy leads there.
fn within(dir: &Path, path: &Path) -> PathBuf {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let top = relative.ancestors().find(|top| *top != Path::new("") && dir.ends_with(top));
    match top.and_then(|top| relative.strip_prefix(top).ok()) {
        Some(below) => dir.join(below).components().collect(),
        None => dir.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_further_down_its_containers_cgroup_is_followed() {
        let dir = Path::new("/sys/fs/cgroup/pods/box");
        assert_eq!(within(dir, Path::new("/pods/box")), dir);
        assert_eq!(within(dir, Path::new("/pods/box/init.scope")), dir.join("init.scope"));
        assert_eq!(within(dir, Path::new("/elsewhere")), dir);
        assert_eq!(within(dir, Path::new("/")), dir);
    }

    #[test]
    fn a_part_of_the_cgroup_is_chosen_by_controller_or_alone() {
        let dirs = || {
            vec![("cpu,cpuacct".to_owned(), PathBuf::from("/c")), ("pids".to_owned(), "/p".into())]
        };
        let exec = |cgroup: &[&str]| Exec {
            cgroup: cgroup.iter().map(|&text| text.to_owned()).collect(),
            ..Exec::default()
        };
        let chosen = exec(&["cpu:a/b", "pids:/x"]).cgroups(dirs()).unwrap();
        assert_eq!(chosen[0].1, Path::new("/c/a/b"));
        assert_eq!(chosen[1].1, Path::new("/p/x"));
        for bad in [&["memory:a"][..], &["a"], &["cpu:../x"], &["a", "b"], &[":a"]] {
            assert!(exec(bad).cgroups(dirs()).is_err(), "{bad:?}");
        }
        let v2 = vec![(String::new(), PathBuf::from("/v2"))];
        assert_eq!(exec(&["a"]).cgroups(v2).unwrap()[0].1, Path::new("/v2/a"));
    }

    #[test]
    fn options_change_the_containers_own_process() {
        let mut own = Process::default();
        own.set_env(Some(vec!["A=1".into()])).set_terminal(Some(true)).set_capabilities(None);
        let exec = Exec {
            args: vec!["id".into()],
            user: Some((5, None)),
            env: vec!["A=2".into()],
            capabilities: vec![Capability::Kill],
            ..Exec::default()
        };
        let process = exec.changed(own);
        assert_eq!(process.env().as_deref().unwrap(), ["A=1", "A=2"]);
        assert_eq!((process.user().uid(), process.terminal()), (5, Some(false)));
        let sets = process.capabilities().clone().unwrap();
        assert_eq!(sets.effective(), &Some([Capability::Kill].into()));
        assert_eq!((sets.inheritable(), sets.ambient()), (&None, &None), "CVE-2022-29162");
    }
}
