//! The library's face, shaped like [`std::process::Command`]: a [`Container`] is the
//! surroundings, a [`Command`] is a program in them, a [`Child`] is one that runs.

mod child;
mod spec;
mod stdio;

use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::{Capability, PosixRlimitType, Spec};

pub use child::{Child, ExitStatus, Output};
pub use stdio::Stdio;

use crate::error::Result;
use crate::host::Host;
use crate::launch;
use crate::plan::Plan;
use crate::plan::op::TerminalSize;
use crate::trace;

/// The surroundings of a process: a root filesystem, and how far it is isolated.
///
/// The defaults are those of `minirun run`: new pid, network, IPC, mount, UTS and
/// cgroup namespaces (and a user namespace when the caller isn't root), the container
/// engines' default capabilities or less, no_new_privs, an init as PID 1.
///
/// ```
/// use minirun::Container;
///
/// let output = Container::new("rootfs") // made by rootfs/build.sh
///     .hostname("box")
///     .command("/bin/sh")
///     .args(["-c", "hostname; echo $$"])
///     .output()?;
/// assert_eq!(output.stdout, b"box\n2\n");
/// # Ok::<(), minirun::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Container {
    rootfs: PathBuf,
    name: Option<String>,
    hostname: Option<String>,
    mounts: Vec<ExtraMount>,
    read_only: bool,
    ephemeral: bool,
    network: Network,
    user_namespace: UserNamespace,
    cap_add_all: bool,
    cap_add: Vec<Capability>,
    cap_drop_all: bool,
    cap_drop: Vec<Capability>,
    no_new_privileges: bool,
    rlimits: Vec<(PosixRlimitType, u64, u64)>,
    memory: Option<i64>,
    cpus: Option<f64>,
    pids: Option<i64>,
    init: bool,
    die_with_parent: bool,
}

/// A mount that the caller asked for, with the words in which they did.
#[derive(Debug, Clone)]
struct ExtraMount {
    mount: oci_spec::runtime::Mount,
    origin: String,
}

/// Which network a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// A namespace of its own with nothing but `lo` in it.
    #[default]
    None,
    /// The host's.
    Host,
}

/// Whether and how a container's ids differ from the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserNamespace {
    /// None for root; else `Full` where the user has subordinate ids, `Single` where not.
    #[default]
    Auto,
    /// No user namespace; for root only.
    None,
    /// One id: the caller's is the container user's.
    Single,
    /// The caller is root inside, and their subordinate ids (subuid(5)) are the others.
    Full,
}

impl Container {
    /// A container with this directory as its root filesystem. A relative path is
    /// taken from the working directory of the moment the container starts.
    pub fn new(rootfs: impl AsRef<Path>) -> Self {
        Container {
            rootfs: rootfs.as_ref().to_owned(),
            name: None,
            hostname: None,
            mounts: Vec::new(),
            read_only: false,
            ephemeral: false,
            network: Network::None,
            user_namespace: UserNamespace::Auto,
            cap_add_all: false,
            cap_add: Vec::new(),
            cap_drop_all: false,
            cap_drop: Vec::new(),
            no_new_privileges: true,
            rlimits: Vec::new(),
            memory: None,
            cpus: None,
            pids: None,
            init: true,
            die_with_parent: true,
        }
    }

    /// Names the container and its cgroup; a random name is the default.
    pub fn name(&mut self, name: impl Into<String>) -> &mut Self {
        self.name = Some(name.into());
        self
    }

    /// The host name inside; the container's name is the default.
    pub fn hostname(&mut self, hostname: impl Into<String>) -> &mut Self {
        self.hostname = Some(hostname.into());
        self
    }

    /// Makes a host file or directory appear at `target`, with what is mounted below it.
    pub fn bind(
        &mut self,
        source: impl AsRef<Path>,
        target: impl AsRef<Path>,
        read_only: bool,
    ) -> &mut Self {
        let options: &[&str] =
            if read_only { &["rbind", "rprivate", "rro"] } else { &["rbind", "rprivate"] };
        let (source, target) = (source.as_ref(), target.as_ref());
        let source = std::path::absolute(source).unwrap_or_else(|_| source.to_owned());
        let origin = format!("--bind {}:{}", source.display(), target.display());
        let mount = crate::oci::defaults::mount(target, "bind", source, options);
        self.mounts.push(ExtraMount { mount, origin });
        self
    }

    /// Mounts an empty filesystem in memory at `target`, with fstab-style `options`
    /// after the default `nosuid,nodev,mode=1777`.
    pub fn tmpfs(&mut self, target: impl AsRef<Path>, options: &[&str]) -> &mut Self {
        let target = target.as_ref();
        let options = [&["nosuid", "nodev", "mode=1777"], options].concat();
        let origin = format!("--tmpfs {}", target.display());
        let mount = crate::oci::defaults::mount(target, "tmpfs", "tmpfs", &options);
        self.mounts.push(ExtraMount { mount, origin });
        self
    }

    /// Makes the root filesystem read-only for the container.
    pub fn read_only(&mut self, read_only: bool) -> &mut Self {
        self.read_only = read_only;
        self
    }

    /// Sends the container's writes to memory, so that the root filesystem stays as it is.
    pub fn ephemeral(&mut self, ephemeral: bool) -> &mut Self {
        self.ephemeral = ephemeral;
        self
    }

    /// Chooses the network.
    pub fn network(&mut self, network: Network) -> &mut Self {
        self.network = network;
        self
    }

    /// Chooses the user namespace.
    pub fn user_namespace(&mut self, user_namespace: UserNamespace) -> &mut Self {
        self.user_namespace = user_namespace;
        self
    }

    /// Adds capabilities to the default ones.
    pub fn cap_add(&mut self, capabilities: impl IntoIterator<Item = Capability>) -> &mut Self {
        self.cap_add.extend(capabilities);
        self
    }

    /// Adds every capability that the caller can give: all in a user namespace, else its own.
    pub fn cap_add_all(&mut self) -> &mut Self {
        self.cap_add_all = true;
        self
    }

    /// Takes the default capabilities away; only those added by name are left.
    pub fn cap_drop_all(&mut self) -> &mut Self {
        self.cap_drop_all = true;
        self
    }

    /// Takes capabilities away, also from those that were added.
    pub fn cap_drop(&mut self, capabilities: impl IntoIterator<Item = Capability>) -> &mut Self {
        self.cap_drop.extend(capabilities);
        self
    }

    /// Whether set-uid programs inside give nothing; on by default.
    pub fn no_new_privileges(&mut self, no_new_privileges: bool) -> &mut Self {
        self.no_new_privileges = no_new_privileges;
        self
    }

    /// Limits a resource of each process (setrlimit(2)), in the resource's own unit.
    pub fn rlimit(&mut self, resource: PosixRlimitType, soft: u64, hard: u64) -> &mut Self {
        self.rlimits.push((resource, soft, hard));
        self
    }

    /// Limits the memory of all processes together, in bytes.
    pub fn memory(&mut self, bytes: u64) -> &mut Self {
        self.memory = Some(i64::try_from(bytes).unwrap_or(i64::MAX));
        self
    }

    /// Limits the processor time of all processes together, in processors (1.5 is one and a half).
    pub fn cpus(&mut self, cpus: f64) -> &mut Self {
        self.cpus = Some(cpus);
        self
    }

    /// Limits how many processes and threads there can be.
    pub fn pids(&mut self, pids: u32) -> &mut Self {
        self.pids = Some(pids.into());
        self
    }

    /// Whether an init is PID 1 and the target its child (the default), or the target is PID 1.
    pub fn init(&mut self, init: bool) -> &mut Self {
        self.init = init;
        self
    }

    /// Whether the container is killed when the thread that started it ends; on by default.
    pub fn die_with_parent(&mut self, die_with_parent: bool) -> &mut Self {
        self.die_with_parent = die_with_parent;
        self
    }

    /// A program to run in a container like this.
    pub fn command(&self, program: impl Into<String>) -> Command {
        Command {
            container: self.clone(),
            args: vec![program.into()],
            env: Vec::new(),
            cwd: None,
            user: (0, 0),
            tty: None,
            stdin: Stdio::Inherit,
            stdout: Stdio::Inherit,
            stderr: Stdio::Inherit,
            timeout: None,
            kill_after: Duration::from_secs(10),
            explain: false,
        }
    }
}

/// A program to be started in a container of its own.
///
/// ```
/// use std::io::{Read, Write};
/// use minirun::{Container, Stdio};
///
/// let mut child = Container::new("rootfs")
///     .command("tr")
///     .args(["a-z", "A-Z"])
///     .stdin(Stdio::Piped)
///     .stdout(Stdio::Piped)
///     .spawn()?;
/// child.stdin.take().unwrap().write_all(b"shout")?;
/// let mut answer = String::new();
/// child.stdout.take().unwrap().read_to_string(&mut answer)?;
/// assert_eq!((answer.as_str(), child.wait()?.exit_code()), ("SHOUT", 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Command {
    container: Container,
    args: Vec<String>,
    env: Vec<String>,
    cwd: Option<String>,
    user: (u32, u32),
    tty: Option<Option<TerminalSize>>,
    stdin: Stdio,
    stdout: Stdio,
    stderr: Stdio,
    timeout: Option<Duration>,
    kill_after: Duration,
    explain: bool,
}

impl Command {
    /// Adds an argument.
    pub fn arg(&mut self, arg: impl Into<String>) -> &mut Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<S: Into<String>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable. A target starts with PATH, HOME and HOSTNAME (and TERM when it
    /// has a terminal), not with the caller's environment.
    pub fn env(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> &mut Self {
        self.env.push(format!("{}={}", name.as_ref(), value.as_ref()));
        self
    }

    /// The working directory inside, an absolute path; it is made when it is missing.
    pub fn current_dir(&mut self, dir: impl Into<String>) -> &mut Self {
        self.cwd = Some(dir.into());
        self
    }

    /// The user and group inside; both 0 by default.
    pub fn user(&mut self, uid: u32, gid: u32) -> &mut Self {
        self.user = (uid, gid);
        self
    }

    /// Gives the target a pty of its own instead of the three descriptors, of this size
    /// if there is one.
    pub fn tty(&mut self, size: Option<TerminalSize>) -> &mut Self {
        self.tty = Some(size);
        self
    }

    /// Where the target reads from.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.stdin = stdin.into();
        self
    }

    /// Where the target writes to.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.stdout = stdout.into();
        self
    }

    /// Where the target writes its errors to.
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.stderr = stderr.into();
        self
    }

    /// Sends SIGTERM after this time, and SIGKILL when that hasn't helped; it holds
    /// while [`Child::wait`] or [`Child::attach`] waits. See [`ExitStatus::timed_out`].
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long after SIGTERM a timeout sends SIGKILL; ten seconds by default.
    pub fn kill_after(&mut self, kill_after: Duration) -> &mut Self {
        self.kill_after = kill_after;
        self
    }

    /// Narrates every step to standard error before the target runs.
    pub fn explain(&mut self, explain: bool) -> &mut Self {
        self.explain = explain;
        self
    }

    /// The runtime-spec (config.json) that says the same.
    ///
    /// # Errors
    /// When a setting contradicts another, or this host can't do what is asked for.
    pub fn spec(&self) -> Result<Spec> {
        Ok(spec::build(self, &Host::read()?)?.0)
    }

    /// The steps that [`spawn`](Self::spawn) would carry out, without doing so.
    ///
    /// # Errors
    /// As [`spec`](Self::spec); what can be known only from the root filesystem isn't
    /// looked at.
    pub fn plan(&self) -> Result<Plan> {
        Ok(self.plan_on(&Host::read()?)?.1)
    }

    /// The container's name and steps on a given host.
    pub(crate) fn plan_on(&self, host: &Host) -> Result<(String, Plan)> {
        let (spec, options) = spec::build(self, host)?;
        let plan = Plan::new(&spec, &options, host)?;
        Ok((options.name, plan))
    }

    /// Starts the program; returns when its execve has succeeded.
    ///
    /// # Errors
    /// The step that failed, named with its place and errno. Nothing is left behind.
    pub fn spawn(&self) -> Result<Child> {
        let (name, plan) = self.plan_on(&Host::read()?)?;
        let (stdin, in_end) = self.stdin.open(true)?;
        let (stdout, out_end) = self.stdout.open(false)?;
        let (stderr, err_end) = self.stderr.open(false)?;
        let mut narrate = |plan: &Plan, journal: &launch::Journal| trace::narrate(plan, journal);
        let narrator: Option<launch::Narrator<'_>> =
            if self.explain { Some(&mut narrate) } else { None };
        let running = launch::launch(&plan, &[stdin, stdout, stderr], narrator)?;
        Ok(Child::new(self, name, plan, running, [in_end, out_end, err_end]))
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn status(&self) -> Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Runs the program to its end and collects what it wrote. Its standard input is
    /// /dev/null unless [`stdin`](Self::stdin) said otherwise.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn output(&mut self) -> Result<Output> {
        self.stdout = Stdio::Piped;
        self.stderr = Stdio::Piped;
        if matches!(self.stdin, Stdio::Inherit) {
            self.stdin = Stdio::Null;
        }
        self.spawn()?.wait_with_output()
    }
}
