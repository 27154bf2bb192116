//! create and run: from a bundle to a container that is written down.
//!
//! The record is saved before anything is made that would outlive this process, and the
//! container's first process is noted before it does more than prepare itself. So whenever
//! this is killed, `delete --force` finds all that there is.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use oci_spec::runtime::{Hooks, LinuxNamespaceType, Spec};

use super::lifecycle::{after_start, delete_locked};
use super::pid_file::PidFile;
use super::process::InitProcess;
use super::record::{CREATED, Record};
use super::state_file::{Locked, StateFile, start_dir};
use super::status::{Status, state_of};
use super::store::{Store, check_id};
use crate::attach::{self, Deadline, Signals};
use crate::cgroup::Dir;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::init::exit_code;
use crate::launch::{self, Caller, Network, Running};
use crate::oci;
use crate::plan::{Lifecycle, Options, Plan};
use crate::sys;
use crate::systemd::Unit;

/// A container to be made of a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub id: String,
    /// Directory with its config.json.
    pub bundle: PathBuf,
    /// Where to write the pid of its first process.
    pub pid_file: Option<PathBuf>,
    /// A socket that gets the master of its pty.
    pub console_socket: Option<PathBuf>,
    /// A socket that gets a pidfd of its first process.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 on its program keeps.
    pub preserve_fds: u32,
    /// How many descriptors from 3 on are sockets that its program gets as if from systemd.
    pub listen_fds: u32,
    /// Change the root by MS_MOVE and chroot(2) instead of pivot_root(2).
    pub no_pivot: bool,
    /// Leave it in the caller's session keyring.
    pub no_new_keyring: bool,
    /// Don't delete it when it ends in the foreground.
    pub keep: bool,
    /// Have systemd make its cgroup: the machine's for root, else the user's.
    pub systemd_cgroup: bool,
}

/// How a container in the foreground ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status, 128+N when signal N killed it.
    pub status: u8,
    /// What stood in the way of deleting it, a poststop hook for example.
    pub deleted: Result<()>,
}

/// Called with the plan before it is carried out: its steps, and the warnings of what had
/// to be left out.
pub type Announce<'a> = &'a mut dyn FnMut(&Plan);

/// Makes a container whose program waits for [`start`](super::start). `announce` gets what
/// was left out of what config.json asks for.
///
/// # Errors
/// What can't be done, with its path in config.json. Nothing is left then.
pub fn create(store: &Store, request: &Request, announce: Announce<'_>) -> Result<()> {
    launch(store, request, Lifecycle::Created, announce).map(drop)
}

/// Makes a container and starts it; it goes on when this process has ended.
///
/// # Errors
/// As [`create`], and when its program can't be executed.
pub fn run_detached(store: &Store, request: &Request, announce: Announce<'_>) -> Result<()> {
    let launched = launch(store, request, Lifecycle::Detached, announce)?;
    after_start(&launched.file, &launched.record)
}

/// Makes a container, starts it, stands in for it at the caller's terminal until it ends,
/// and deletes it.
///
/// # Errors
/// As [`create`], and when its program can't be executed.
pub fn run(
    store: &Store,
    request: &Request,
    signals: &Signals,
    announce: Announce<'_>,
) -> Result<Ended> {
    let Launched { file, record, running } = launch(store, request, Lifecycle::Attached, announce)?;
    let started = after_start(&file, &record);
    // Other verbs may have it while it runs.
    let file = file.unlock();
    let mut deadline = Deadline::new(Instant::now(), None, Duration::ZERO);
    let console = running.console.as_ref().map(AsFd::as_fd);
    let attached = attach::until_end(&running.init, Some(signals), console, &mut deadline);
    if attached.is_err() {
        // Nobody would pass a signal on to it any more.
        let _ = sys::process::pidfd_send_signal(running.init.pidfd.as_fd(), libc::SIGKILL);
    }
    let waited = sys::process::wait4(running.init.pid, true)
        .map_err(|errno| Error::system("wait for the container", errno));
    let deleted = if request.keep { Ok(()) } else { delete_own(store, file, record) };
    started.and(attached)?;
    let (status, _) = waited?.unwrap_or_default();
    Ok(Ended { status: exit_code(status) as u8, deleted })
}

/// Deletes it, unless somebody else has done so, and perhaps made another of its name.
fn delete_own(store: &Store, file: StateFile, mut record: Record) -> Result<()> {
    match file.lock(libc::LOCK_EX)? {
        Some(file) => {
            file.notice_later_cgroup(&mut record);
            store.leave_to_later_owner(&mut record)?;
            delete_locked(file, record, None)
        }
        None => Ok(()),
    }
}

struct Launched {
    file: Locked,
    record: Record,
    running: Running,
}

fn launch(
    store: &Store,
    request: &Request,
    lifecycle: Lifecycle,
    announce: Announce<'_>,
) -> Result<Launched> {
    check_id(&request.id)?;
    let preserve_fds = request.preserve_fds.max(request.listen_fds);
    check_preserved(preserve_fds)?;
    let bundle = std::path::absolute(&request.bundle)
        .map_err(|error| Error::io("find the working directory", &error))?;
    let config = oci::bundle::read(&bundle)?;
    // It takes longer than all that is done before the container is cloned, config.json's reading
    // included. What stands in the way is told at its step.
    let network = oci::bundle::seems_to_make_network(&config).then(Network::begin);
    let mut spec = oci::bundle::interpret(&config, &bundle)?;
    let network = network.and_then(Result::ok).filter(|_| Plan::makes_network(&spec));
    if request.listen_fds > 0 {
        hand_on_sockets(&mut spec, request.listen_fds)?;
    }
    let terminal = spec.process().as_ref().and_then(|process| process.terminal()) == Some(true);
    let console = connect_console(request.console_socket.as_deref(), terminal, lifecycle)?;
    let pidfd_socket = connect(request.pidfd_socket.as_deref(), "--pidfd-socket")?;
    let options = Options {
        lifecycle,
        start_dir: Some(start_dir(&store.path(&request.id))),
        no_pivot: request.no_pivot,
        no_new_keyring: request.no_new_keyring,
        preserve_fds,
        ..Options::of_bundle(&request.id, &spec)?
    };
    let mut host = Host::read()?;
    if request.systemd_cgroup {
        host = host.with_systemd()?;
    }
    let plan = Plan::new(&spec, &options, &host)?;
    announce(&plan);

    let file = store.create(&request.id)?;
    let mut record = record(&spec, &plan, request, bundle);
    let made = carry_out(&file, &mut record, &plan, &config, network)
        .and_then(|running| finish(&file, running, request, [console, pidfd_socket]));
    match made {
        Ok(running) => {
            record.is_created = true;
            Ok(Launched { file, record, running })
        }
        Err(error) => {
            // The first failure is the one to tell.
            let _ = record.running().and_then(|init| delete_locked(file, record, init));
            Err(error)
        }
    }
}

/// Tells the program of the sockets in the words of sd_listen_fds(3), which believes them in the
/// process of the pid that they name only: the first of its namespace, or init's first child.
fn hand_on_sockets(spec: &mut Spec, count: u32) -> Result<()> {
    let pid = if oci::annotations::is_set(spec, oci::annotations::INIT)? { 2 } else { 1 };
    if let Some(process) = spec.process_mut() {
        let mut env = process.env().clone().unwrap_or_default();
        env.extend([format!("LISTEN_FDS={count}"), format!("LISTEN_PID={pid}")]);
        process.set_env(Some(env));
    }
    Ok(())
}

/// Launches the plan, and writes down what there is to find of the container: before it is
/// cloned if there is something by then, else while its process is at work already.
fn carry_out(
    file: &Locked,
    record: &mut Record,
    plan: &Plan,
    config: &[u8],
    network: Option<Network>,
) -> Result<Running> {
    let mut text = record.to_line();
    if plan.makes_cgroup_first() {
        file.append(&text)?;
        text.clear();
    }
    let render = |pid: i32, status: &str| {
        let mut state = state_of(file, record.clone(), Status::Creating);
        state.pid = pid;
        // A map whose keys are strings can't fail.
        let mut json = serde_json::to_value(&state).unwrap_or_default();
        json["status"] = status.into();
        json.to_string()
    };
    let mut init = None;
    let mut recorder = |process: &sys::process::Cloned| {
        let (found, processor) = InitProcess::with_processor(process.pid.as_raw())?;
        // Most often it is the container that the runtime waits for, and not the reverse.
        sys::thread::leave_to_other(processor);
        init = Some(found);
        text.extend(format!("{found}\n").bytes());
        text.extend(config);
        file.append(&text)
    };
    let is_cancelled = || file.is_to_be_deleted();
    let caller = Caller {
        state: Some(&render),
        recorder: Some(&mut recorder),
        is_cancelled: Some(&is_cancelled),
        network,
        ..Caller::default()
    };
    let launched = launch::launch(plan, caller);
    record.init = init;
    launched
}

/// What is left to do when the container's process waits, or its program runs.
fn finish(
    file: &Locked,
    running: Running,
    request: &Request,
    [console, pidfd_socket]: [Option<OwnedFd>; 2],
) -> Result<Running> {
    send_descriptors(&running, console.as_ref(), pidfd_socket.as_ref())?;
    file.append(CREATED)?;
    if let Some(path) = &request.pid_file {
        write_pid_file(path, running.init.pid.as_raw())?;
    }
    Ok(running)
}

/// Sends what the caller has given sockets for: the master of the pty, and a pidfd.
pub(super) fn send_descriptors(
    running: &Running,
    console: Option<&OwnedFd>,
    pidfd_socket: Option<&OwnedFd>,
) -> Result<()> {
    if let (Some(socket), Some(master)) = (console, &running.console) {
        sys::message::send(socket.as_fd(), b'c', Some(master.as_fd())).map_err(|errno| {
            Error::system("send the master of the pty", errno).at("--console-socket")
        })?;
    }
    if let Some(socket) = pidfd_socket {
        let pidfd = running.init.pidfd.as_fd();
        sys::message::send(socket.as_fd(), b'p', Some(pidfd)).map_err(|errno| {
            Error::system("send a pidfd of the process", errno).at("--pidfd-socket")
        })?;
    }
    Ok(())
}

fn record(spec: &Spec, plan: &Plan, request: &Request, bundle: PathBuf) -> Record {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let is_own_pid = |namespace: &oci_spec::runtime::LinuxNamespace| {
        namespace.typ() == LinuxNamespaceType::Pid && namespace.path().is_none()
    };
    let later = spec.hooks().as_ref().map(|hooks| {
        let mut later = Hooks::default();
        later.set_poststart(hooks.poststart().clone()).set_poststop(hooks.poststop().clone());
        later
    });
    Record {
        oci_version: spec.version().clone(),
        id: request.id.clone(),
        init: None,
        is_created: false,
        rootfs: spec.root().as_ref().map_or_else(PathBuf::new, |root| root.path().clone()),
        bundle,
        created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
        annotations: spec.annotations().iter().flatten().map(own).collect(),
        cgroup: dirs(plan.cgroup()),
        later_cgroup: dirs(plan.later_cgroup.clone()),
        unit: plan.unit().map(|(name, user)| Unit { name: name.to_owned(), user }),
        no_new_keyring: request.no_new_keyring,
        has_own_pid_namespace: namespaces.into_iter().flatten().any(is_own_pid),
        hooks: later,
    }
}

fn dirs(pairs: Vec<(String, PathBuf)>) -> Vec<Dir> {
    pairs.into_iter().map(|(controllers, path)| Dir { controllers, path }).collect()
}

fn own((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

/// Who detaches from a terminal has to say who gets it.
pub(super) fn connect_console(
    socket: Option<&Path>,
    terminal: bool,
    lifecycle: Lifecycle,
) -> Result<Option<OwnedFd>> {
    let detaches = lifecycle != Lifecycle::Attached;
    match socket {
        None if terminal && detaches => {
            let reason =
                "cannot allocate tty if minirun will detach without setting console socket";
            Err(Error::said("make a terminal", reason).at("process.terminal"))
        }
        None => Ok(None),
        Some(_) if !terminal || !detaches => {
            let reason = "cannot use console socket if minirun will not detach or allocate tty";
            Err(Error::said("make a terminal", reason).at("--console-socket"))
        }
        Some(path) => connect(Some(path), "--console-socket"),
    }
}

/// What isn't open could come to be a descriptor of minirun's own, which must not be kept.
pub(super) fn check_preserved(count: u32) -> Result<()> {
    let missing = (3..).take(count as usize).find(|fd| !sys::descriptors::is_inheritable(*fd));
    match missing {
        None => Ok(()),
        Some(fd) => {
            let reason = format!("descriptor {fd} isn't open");
            Err(Error::said("pass descriptors on", reason).at("--preserve-fds"))
        }
    }
}

pub(super) fn connect(path: Option<&Path>, option: &str) -> Result<Option<OwnedFd>> {
    let connected = path.map(|path| {
        std::os::unix::net::UnixStream::connect(path)
            .map_err(|error| Error::io(format!("connect to {}", path.display()), &error).at(option))
    });
    Ok(connected.transpose()?.map(OwnedFd::from))
}

pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    PidFile::create(path)
        .and_then(|file| file.write(pid))
        .map_err(|error| Error::io(format!("write {}", path.display()), &error).at("--pid-file"))
}
