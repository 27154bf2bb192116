//! A container as data: a flat list of typed steps.
//!
//! [`Plan::new`] is a pure function of a runtime-spec, the [`Options`] that have
//! no place in it, and the [`Host`]'s facts. It reads no file, starts no process
//! and makes no system call; what can be wrong in the input is found here. The
//! paths inside the root filesystem are *not* looked at: the steps say what will
//! be attempted, and `launch` resolves them when they run.

mod cgroup;
mod cgroup_mounts;
mod cgroup_path;
mod clocks;
mod device_filter;
mod devices;
mod environment;
mod exec;
mod hooks;
mod kernel_mounts;
mod labels;
mod mount_options;
mod mount_words;
mod mounts;
mod namespaces;
mod net_devices;
pub mod op;
mod process;
mod purpose;
mod resources;
mod root;
mod schedule;
mod seccomp;
mod sysctl;
mod trees;
mod unit;
mod unsupported;
mod words;

use std::cell::Cell;
use std::ffi::{CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxResources, Spec};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::oci::annotations;
pub(crate) use environment::DEFAULT_PATH;
pub(crate) use exec::Joined;
pub(crate) use hooks::of_stage as hooks_of_stage;
pub(crate) use mount_options::names as mount_option_names;
pub(crate) use namespaces::NEWTIME;
use op::Op;
pub(crate) use words::NAMESPACE_WORDS as NAMESPACES;

/// Which process carries out a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The process that minirun was started as; it never leaves the host's namespaces.
    Runtime,
    /// A short-lived process that joins existing namespaces and clones the container's
    /// process into them. Its steps are one block, from [`Op::Intermediate`] to [`Op::Clone`].
    Intermediate,
    /// The process that clone3 made; it becomes the container's PID 1.
    Container,
}

/// How long the runtime stays with a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// To its end; the container dies with the runtime.
    #[default]
    Attached,
    /// Until the target runs.
    Detached,
    /// Until everything is ready but the target, which waits for `start`.
    Created,
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Who carries it out.
    pub side: Side,
    /// What is done.
    pub op: Op,
    /// The option or the config.json path that asked for it; empty when
    /// nobody had to ask.
    pub place: String,
    /// With these the step counts as done.
    pub tolerates: &'static [Errno],
}

/// What a caller can ask for beyond a runtime-spec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The container's id; names its cgroup where the specification doesn't.
    pub name: String,
    /// Run an init as PID 1, with the target as its child.
    pub init: bool,
    /// Cover the root filesystem by an overlay that goes with the container.
    pub ephemeral: bool,
    /// How long the runtime stays with the container.
    pub lifecycle: Lifecycle,
    /// A container of a bundle, which engines look after: it has a cgroup in every
    /// hierarchy, hooks, and the search for its program happens before `start`.
    pub oci: bool,
    /// On cgroup v1, a bundle's container is only in hierarchies that something is limited in.
    pub lean_cgroup: bool,
    /// Directory for the socket at which `start` will knock; there is one for whatever
    /// container is written down.
    pub start_dir: Option<PathBuf>,
    /// The caller connects the standard descriptors itself.
    pub stdio: bool,
    /// Stop before the target runs, so that the steps can be shown first.
    pub narrate: bool,
    /// Change the root by MS_MOVE and chroot(2), for hosts whose root is a ramfs.
    pub no_pivot: bool,
    /// Leave the container in the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on the target keeps.
    pub preserve_fds: u32,
    /// The default seccomp profile is meant where the specification has none. It needn't be
    /// spelt out and compiled then, which takes as long as a tenth of all steps.
    pub default_seccomp: bool,
    /// Which command-line option a config.json path came from, for messages.
    pub origins: Vec<(String, String)>,
}

impl Options {
    /// Those of a bundle's container: what its annotations say beyond the specification.
    ///
    /// # Errors
    /// When an annotation of ours is neither true nor false.
    pub(crate) fn of_bundle(name: &str, spec: &Spec) -> Result<Options> {
        Ok(Options {
            name: name.to_owned(),
            init: annotations::is_set(spec, annotations::INIT)?,
            ephemeral: annotations::is_set(spec, annotations::EPHEMERAL)?,
            lean_cgroup: annotations::is_set(spec, annotations::LEAN_CGROUP)?,
            oci: true,
            ..Options::default()
        })
    }
}

/// A validated list of steps; the same list is run, printed, narrated and timed.
///
/// ```
/// use minirun::{Container, plan::op::Op};
/// let plan = Container::new("/srv/rootfs").command("/bin/true").plan().unwrap();
/// assert!(matches!(plan.steps.last().unwrap().op, Op::Exec(_)));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In the order in which they are carried out.
    pub steps: Vec<Step>,
    /// What was asked for and can't be had, where that is no reason to fail.
    pub warnings: Vec<String>,
    /// Directories of cgroup v1 that the container comes into when something there is limited,
    /// as in [`Plan::cgroup`]; it is in none of them before.
    pub later_cgroup: Vec<(String, PathBuf)>,
}

/// A running container, as far as changing its limits depends on it.
pub(crate) struct Current<'a> {
    /// Its cgroup, as [`Plan::cgroup`] gave it.
    pub(crate) dirs: &'a [(String, PathBuf)],
    /// As [`Plan::later_cgroup`], whether it is there by now or not.
    pub(crate) later: &'a [(String, PathBuf)],
    /// What limits it.
    pub(crate) limits: &'a LinuxResources,
    /// The unit that systemd has made its cgroup for.
    pub(crate) unit: Option<&'a str>,
}

impl Plan {
    /// Turns a specification into steps.
    ///
    /// # Errors
    /// When the specification contradicts itself, asks for what this host can't
    /// do, or holds a string with a NUL byte; the error names the field.
    pub fn new(spec: &Spec, options: &Options, host: &Host) -> Result<Plan> {
        let mut steps = Steps::new(&options.origins);
        unsupported::refuse(&steps, spec)?;
        let mut layout = namespaces::Layout::new(spec, &steps)?;
        let entries = mounts::read(spec);
        let travel = root::Travel::new(spec, &entries, &steps)?;
        layout.from_kernel =
            kernel_mounts::are_entered(spec, options, host, &layout, &entries, &travel);
        let (layout, entries) = (&layout, entries.as_slice());
        let cgroup = &cgroup::Cgroup::new(spec, options, host, layout, &steps)?;
        let beside = layout.beside(spec, options);
        if !beside.is_empty() {
            steps.runtime(Op::MakeNetwork, "linux.namespaces");
        }

        // The container's process is born into v2's cgroup, so that comes first; v1's it joins.
        cgroup.create(&mut steps)?;
        process::listen(&mut steps, options)?;
        let [in_network, in_cgroup] = [Cell::new(beside.is_empty()), Cell::new(!cgroup.has_rest())];
        let (trees, is_hidden) = (Cell::new(0), Cell::new(false));
        let given = mounts::Given {
            spec,
            entries,
            options,
            host,
            layout,
            cgroup,
            trees,
            in_network,
            in_cgroup,
            is_hidden,
        };
        trees::open(&mut steps, &given, travel.tree)?;
        layout.clone(&mut steps, spec, beside, host, cgroup)?;
        if !cgroup.has_rest() {
            process::record(&mut steps, options);
        }
        cgroup.start_scope(&mut steps)?;
        layout.map_ids(&mut steps, host)?;
        net_devices::take(&mut steps, spec, host, layout)?;
        schedule::oom_score(&mut steps, spec, host, layout)?;
        clocks::enter(&mut steps, spec, layout)?;
        // Root of a user namespace has no rights over the files of cgroups any more.
        if !cgroup.has_rest() {
            cgroup.join(&mut steps);
        }
        layout.become_root(&mut steps, host);
        process::settle_in(&mut steps, options);
        labels::new_keyring(&mut steps, options, layout)?;
        if !cgroup.has_rest() {
            layout.enter_cgroup(&mut steps, cgroup);
        }
        layout.enter(&mut steps, beside);

        root::open(&mut steps, &given, &travel)?;
        mounts::tree(&mut steps, &given)?;
        given.enter_network(&mut steps);
        given.enter_cgroup(&mut steps)?;
        hooks::create(&mut steps, spec)?;
        // Hooks may mount what is to be hidden, and write to what is to be sealed.
        root::protect(&mut steps, &given)?;
        sysctl::write(&mut steps, spec, layout)?;
        process::labels(&mut steps, spec, host)?;

        // From here on the host's files are out of reach.
        root::enter(&mut steps, spec, options, layout, &travel);
        process::null_device(&mut steps, options);
        layout.names(&mut steps, spec, options)?;
        process::limits(&mut steps, spec, host, layout)?;
        process::close_inherited(&mut steps, options);
        process::surroundings(&mut steps, spec, options)?;
        process::identity(&mut steps, spec, options, host, layout)?;
        process::start(&mut steps, spec, options)?;
        let later_cgroup = cgroup.later();
        Ok(Plan { steps: steps.list, warnings: steps.warnings, later_cgroup })
    }

    /// Whether the plan of an OCI container has [`Op::MakeNetwork`], for who wants to begin it
    /// before the plan is made.
    pub(crate) fn makes_network(spec: &Spec) -> bool {
        let options = Options { oci: true, ..Options::default() };
        let layout = namespaces::Layout::new(spec, &Steps::new(&[]));
        layout.is_ok_and(|layout| !layout.beside(spec, &options).is_empty())
    }

    /// Whether a step changes what belongs to a namespace of this kind as a whole.
    pub(crate) fn changes(&self, namespace: CloneFlags) -> bool {
        self.steps.iter().any(|step| match &step.op {
            Op::Sysctl { file, .. } => sysctl::is_of(&file.to_string_lossy(), namespace),
            Op::Hostname { .. } | Op::Domainname { .. } => namespace == CloneFlags::CLONE_NEWUTS,
            _ => false,
        })
    }

    /// Whether the runtime's steps from this one on, up to the container's next, can be carried
    /// out while the container's before them still are.
    pub(crate) fn is_meanwhile(&self, index: usize) -> bool {
        let steps = self.steps.get(index..).unwrap_or_default();
        let mut group = steps.iter().take_while(|step| step.side == Side::Runtime);
        group.all(|step| matches!(step.op, Op::Record) || step.op.sets_up_cgroup())
    }

    /// Whether there is something of its cgroup before the container is cloned.
    pub(crate) fn makes_cgroup_first(&self) -> bool {
        let before = self.steps.iter().take(self.clone_index());
        let mut ops = before.map(|step| &step.op);
        ops.any(|op| {
            matches!(op, Op::CreateCgroup { .. } | Op::EnableControllers { .. } | Op::StartUnit(_))
        })
    }

    /// Whether the target waits for `start`.
    pub(crate) fn hands_over(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.op, Op::HandOver))
    }

    /// The execve at its end.
    pub(crate) fn exec(&self) -> Option<&op::Exec> {
        self.steps.iter().rev().find_map(|step| match &step.op {
            Op::Exec(exec) => Some(exec),
            _ => None,
        })
    }

    /// Where the container's first process starts.
    pub(crate) fn clone_index(&self) -> usize {
        let is_clone = |step: &Step| matches!(step.op, Op::Clone { .. });
        self.steps.iter().position(is_clone).unwrap_or_default()
    }

    /// The container's cgroup: a directory in each hierarchy, with the controllers as in
    /// /proc/PID/cgroup (empty for v2); none for a container without.
    pub fn cgroup(&self) -> Vec<(String, PathBuf)> {
        let dir = |step: &Step| match &step.op {
            Op::CreateCgroup { dir, controllers, .. }
            | Op::StartUnit(op::Unit { dir, controllers, .. }) => {
                Some((controllers.clone(), PathBuf::from(OsStr::from_bytes(dir.to_bytes()))))
            }
            _ => None,
        };
        self.steps.iter().filter_map(dir).collect()
    }

    /// The unit of systemd that the container has its cgroup from: its name, and whether it
    /// is the user's.
    pub(crate) fn unit(&self) -> Option<(&str, bool)> {
        self.steps.iter().find_map(|step| match &step.op {
            Op::CheckUnit { name, user } => Some((name.as_str(), *user)),
            _ => None,
        })
    }

    /// The steps that change the limits of a running container. A limit of 0 stays as it is,
    /// except where 0 means something.
    ///
    /// # Errors
    /// As [`Plan::new`], by the field's path in the config.json.
    pub(crate) fn update(
        resources: &LinuxResources,
        current: &Current,
        host: &Host,
    ) -> Result<Vec<Step>> {
        let mut steps = Steps::new(&[]);
        cgroup::update(resources, current, host, &mut steps)?;
        Ok(steps.list)
    }

    /// Whether the target gets a pty of its own.
    pub fn has_console(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.op, Op::Console { .. } | Op::Terminal { .. }))
    }
}

/// The path of a list's element: `mounts[3]`.
fn element(list: &str, index: usize) -> String {
    [list, "[", &index.to_string(), "]"].concat()
}

/// The list while it is being written.
struct Steps<'a> {
    list: Vec<Step>,
    warnings: Vec<String>,
    origins: &'a [(String, String)],
}

impl<'a> Steps<'a> {
    fn new(origins: &'a [(String, String)]) -> Self {
        Steps { list: Vec::with_capacity(192), warnings: Vec::new(), origins }
    }

    fn warn(&mut self, path: &str, reason: impl fmt::Display) {
        self.warnings.push(format!("{}: {reason}", self.place(path)));
    }

    fn runtime(&mut self, op: Op, path: &str) {
        self.push(Side::Runtime, op, path, &[]);
    }

    fn container(&mut self, op: Op, path: &str) {
        self.push(Side::Container, op, path, &[]);
    }

    fn tolerant(&mut self, op: Op, path: &str, tolerates: &'static [Errno]) {
        self.push(Side::Container, op, path, tolerates);
    }

    fn push(&mut self, side: Side, op: Op, path: &str, tolerates: &'static [Errno]) {
        self.list.push(Step { side, op, place: self.place(path), tolerates });
    }

    /// The option that a config.json path came from, else the path itself.
    fn place(&self, path: &str) -> String {
        let origin = self.origins.iter().find(|(from, _)| from == path);
        origin.map_or(path, |(_, option)| option).to_owned()
    }

    /// An error about a field.
    fn error(&self, path: &str, what: &str, reason: impl Into<String>) -> Error {
        Error::said(what, reason).at(self.place(path))
    }

    /// A string for the kernel, which can't take NUL bytes.
    fn c_string(&self, path: impl fmt::Display, text: impl Into<Vec<u8>>) -> Result<CString> {
        let refused = |_| {
            let reason = "it has a NUL byte in it";
            self.error(&path.to_string(), "read a string", reason)
        };
        CString::new(text).map_err(refused)
    }
}

#[cfg(test)]
mod cgroup_tests;
#[cfg(test)]
mod mount_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unit_tests;
