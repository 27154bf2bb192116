//! The surroundings of a process, as settings.

use std::path::Path;
use std::time::Duration;

use oci_spec::runtime::{Capability, Mount, PosixRlimitType};

use super::itself::Rootfs;
use super::{Command, Stdio};
use crate::oci::defaults;

/// The surroundings of a process: a root filesystem, and how far it is isolated.
///
/// The defaults are those of `minirun run`: new pid, network, IPC, mount, UTS and
/// cgroup namespaces (and a user namespace when the caller isn't root), the container
/// engines' default capabilities or less and default seccomp profile, no_new_privs, an init
/// as PID 1.
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
    pub(super) rootfs: Rootfs,
    pub(super) name: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) mounts: Vec<ExtraMount>,
    pub(super) read_only: bool,
    pub(super) ephemeral: bool,
    pub(super) network: Network,
    pub(super) user_namespace: UserNamespace,
    pub(super) cap_add_all: bool,
    pub(super) cap_add: Vec<Capability>,
    pub(super) cap_drop_all: bool,
    pub(super) cap_drop: Vec<Capability>,
    pub(super) no_new_privileges: bool,
    pub(super) seccomp: Seccomp,
    pub(super) rlimits: Vec<(PosixRlimitType, u64, u64)>,
    pub(super) memory: Option<i64>,
    pub(super) cpus: Option<f64>,
    pub(super) pids: Option<i64>,
    pub(super) init: bool,
    pub(super) die_with_parent: bool,
}

/// A mount that the caller asked for, with the words in which they did.
#[derive(Debug, Clone)]
pub(super) struct ExtraMount {
    pub(super) mount: Mount,
    pub(super) origin: String,
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

/// Which system calls a container may make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Seccomp {
    /// Those of the container engines' default profile, by the container's capabilities.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// Those of a profile in JSON: a `linux.seccomp` of the runtime-spec, or a file that
    /// Docker, podman or Kubernetes would take.
    Profile(serde_json::Value),
}

impl Container {
    /// A container with this directory as its root filesystem. A relative path is
    /// taken from the working directory of the moment the container starts.
    pub fn new(rootfs: impl AsRef<Path>) -> Self {
        Container::of(Rootfs::Path(rootfs.as_ref().to_owned()))
    }

    /// A container with nothing in its root filesystem but what is mounted there: /proc, /dev,
    /// /sys, a /tmp in memory, and what [`bind`](Self::bind) adds. For
    /// [`itself`](Self::itself), or a static program.
    ///
    /// An empty directory below [`std::env::temp_dir`] stands for it while it is in use.
    pub fn empty() -> Self {
        let mut container = Container::of(Rootfs::default());
        container.ephemeral(true).tmpfs("/tmp", &[]);
        container
    }

    fn of(rootfs: Rootfs) -> Self {
        Container {
            rootfs,
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
            seccomp: Seccomp::Default,
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
        let mount = defaults::mount(target, "bind", source, options);
        self.mounts.push(ExtraMount { mount, origin });
        self
    }

    /// Mounts an empty filesystem in memory at `target`, with fstab-style `options`
    /// after the default `nosuid,nodev,mode=1777`.
    pub fn tmpfs(&mut self, target: impl AsRef<Path>, options: &[&str]) -> &mut Self {
        let target = target.as_ref();
        let options = [&["nosuid", "nodev", "mode=1777"], options].concat();
        let origin = format!("--tmpfs {}", target.display());
        let mount = defaults::mount(target, "tmpfs", "tmpfs", &options);
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

    /// Which system calls the container may make; [`Seccomp::Default`] unless said otherwise.
    /// What a profile has that can't be carried out is an error of the start.
    pub fn seccomp(&mut self, seccomp: Seccomp) -> &mut Self {
        self.seccomp = seccomp;
        self
    }

    /// Limits a resource of each process (setrlimit(2)), in the resource's own unit.
    pub fn rlimit(&mut self, resource: PosixRlimitType, soft: u64, hard: u64) -> &mut Self {
        self.rlimits.push((resource, soft, hard));
        self
    }

    pub(super) fn has_limits(&self) -> bool {
        self.memory.is_some() || self.cpus.is_some() || self.pids.is_some()
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
