//! What is mounted below the root filesystem.

use std::cell::Cell;
use std::ffi::CString;
use std::path::{Component, Path};

use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use oci_spec::runtime::{Mount, Spec};

use super::cgroup::Cgroup;
use super::mount_options::MountOptions;
use super::namespaces::Layout;
use super::op::{Bind, NewMount, Op, Remount, Settings, TakesOver};
use super::{Options, Steps, cgroup_mounts, devices, element, labels, process, root, trees};
use crate::error::Result;
use crate::host::Host;

/// The longest string of options that mount(2) takes: a page with its NUL.
const DATA_MAX: usize = 4095;

/// Files of /proc that may be covered, by one with the container's own figures (LXCFS).
/// Anything else there could fool those who rely on /proc (CVE-2019-16884).
const COVERABLE: &[&str] = &[
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

/// An entry of `mounts`, read.
pub(super) struct Entry<'a> {
    pub(super) mount: &'a Mount,
    /// Its path in the config.json.
    pub(super) place: String,
    pub(super) options: MountOptions,
    /// The destination without detours; `None` is the root itself.
    pub(super) target: Option<String>,
}

/// All entries, in their order.
pub(super) fn read(spec: &Spec) -> Vec<Entry<'_>> {
    let mounts = spec.mounts().iter().flatten().enumerate();
    let entries = mounts.map(|(index, mount)| Entry {
        mount,
        place: element("mounts", index),
        options: MountOptions::parse(mount.options().iter().flatten().map(String::as_str)),
        target: clean(mount.destination()),
    });
    entries.collect()
}

impl Entry<'_> {
    /// Whether a part of the host's file tree is mounted.
    pub(super) fn is_bind(&self) -> bool {
        self.options.bind.is_some() || self.mount.typ().as_deref() == Some("bind")
    }

    /// Whether the container's cgroups are mounted.
    pub(super) fn is_cgroup(&self) -> bool {
        self.fstype() == "cgroup" && !self.is_bind() && !self.options.remount
    }

    pub(super) fn fstype(&self) -> &str {
        let fstype = self.mount.typ().as_deref().filter(|fstype| !fstype.is_empty());
        fstype.unwrap_or("none")
    }

    /// What is made in a tmpfs first needs it writable; [`readonly`] follows.
    fn late_flags(&self) -> MsFlags {
        match self.fstype() {
            "tmpfs" => self.options.flags & MsFlags::MS_RDONLY,
            _ => MsFlags::empty(),
        }
    }
}

/// What the mounts depend on.
pub(super) struct Given<'a> {
    pub(super) spec: &'a Spec,
    pub(super) entries: &'a [Entry<'a>],
    pub(super) options: &'a Options,
    pub(super) host: &'a Host,
    pub(super) layout: &'a Layout,
    pub(super) cgroup: &'a Cgroup,
    /// How many of the trees that the runtime has opened are in their place.
    pub(super) trees: Cell<usize>,
    /// Whether the network namespace has been entered.
    pub(super) in_network: Cell<bool>,
    /// Whether the cgroup is complete and entered.
    pub(super) in_cgroup: Cell<bool>,
    /// Whether what is to be hidden has been.
    pub(super) is_hidden: Cell<bool>,
}

impl Given<'_> {
    /// The number of the tree that was opened next (`trees.rs`).
    pub(super) fn next_tree(&self) -> usize {
        self.trees.replace(self.trees.get() + 1)
    }

    /// The container's process enters the network namespace, which has been made while that
    /// one was at work.
    pub(super) fn enter_network(&self, steps: &mut Steps) {
        if !self.in_network.replace(true) {
            steps.container(Op::JoinNetwork, "linux.namespaces");
        }
    }

    /// The same for the cgroup, which the runtime has made.
    pub(super) fn enter_cgroup(&self, steps: &mut Steps) -> Result<()> {
        if self.in_cgroup.replace(true) {
            return Ok(());
        }
        process::record(steps, self.options);
        self.cgroup.make_rest(steps)?;
        self.cgroup.join(steps);
        self.layout.enter_cgroup(steps, self.cgroup);
        Ok(())
    }
}

/// Mounts and devices, in the specification's order.
pub(super) fn tree(steps: &mut Steps, given: &Given) -> Result<()> {
    let &Given { spec, options, host, layout, .. } = given;
    if !layout.has(CloneFlags::CLONE_NEWNS) {
        return Ok(());
    }
    check_label(steps, spec, host);
    let dev = Dev::of(given.entries);
    for (index, entry) in given.entries.iter().enumerate() {
        // Engines have always been allowed to leave the slash out.
        if !options.oci && entry.mount.destination().is_relative() {
            let reason = "the destination must be an absolute path";
            return Err(steps.error(&entry.place, "mount", reason));
        }
        if entry.is_cgroup() {
            root::hide_meanwhile(steps, given, given.entries.get(index..).unwrap_or_default())?;
        }
        one_mount(steps, entry, given)?;
        // What lies below /dev needs the devices' directory, and the reverse: pts comes after.
        if dev == Dev::Fresh(index) {
            devices::defaults(steps, spec, host, layout)?;
        }
    }
    if dev == Dev::Rootfs {
        devices::defaults(steps, spec, host, layout)?;
    }
    devices::asked_for(steps, spec, host, layout, dev == Dev::Bound)?;
    let process = spec.process().as_ref();
    if process.and_then(|process| process.terminal()).unwrap_or(false) {
        let size = process.and_then(super::process::terminal_size);
        let owner = process.map_or(0, |process| process.user().uid());
        steps.container(Op::Console { size, owner }, "process.terminal");
    }
    Ok(())
}

/// What the container's /dev is.
#[derive(PartialEq, Eq)]
enum Dev {
    /// The directory in the root filesystem.
    Rootfs,
    /// A new filesystem, by this mount.
    Fresh(usize),
    /// A directory of the host's, which is left as it is: nodes made there would be the host's.
    Bound,
}

impl Dev {
    fn of(entries: &[Entry]) -> Self {
        let is_dev = |(_, entry): &(usize, &Entry)| {
            entry.target.as_deref() == Some("/dev") && !entry.options.remount
        };
        match entries.iter().enumerate().rfind(is_dev) {
            None => Dev::Rootfs,
            Some((_, entry)) if entry.is_bind() => Dev::Bound,
            Some((index, _)) => Dev::Fresh(index),
        }
    }
}

/// A destination without detours; a relative one is taken from the root. `None` is the
/// root itself.
pub(super) fn clean(path: &Path) -> Option<String> {
    let mut clean = String::with_capacity(path.as_os_str().len() + 1);
    for component in path.components() {
        match component {
            Component::Normal(part) => {
                clean.push('/');
                clean.push_str(&part.to_string_lossy());
            }
            Component::ParentDir => clean.truncate(clean.rfind('/').unwrap_or(0)),
            _ => {}
        }
    }
    Some(clean).filter(|clean| !clean.is_empty())
}

fn one_mount(steps: &mut Steps, entry: &Entry, given: &Given) -> Result<()> {
    let Entry { mount, place, options, target } = entry;
    let at = |field: &str| format!("{place}.{field}");
    let Some(target) = target else {
        let reason = "the root itself can't be mounted over";
        return Err(steps.error(place, "mount", reason));
    };
    let (fstype, bind) = (entry.fstype(), entry.is_bind());
    check_proc(steps, place, target, fstype, bind || options.remount)?;
    if options.copy_up && (bind || options.remount || fstype != "tmpfs") {
        let reason = "tmpcopyup is for new mounts of tmpfs";
        return Err(steps.error(&at("options"), "mount", reason));
    }
    if options.data.len() > DATA_MAX {
        let reason = format!("the options of the filesystem are longer than {DATA_MAX} bytes");
        return Err(steps.error(&at("options"), "mount", reason));
    }
    trees::check(steps, entry, given.layout)?;
    let target = steps.c_string(place, target.as_str())?;
    let data = steps.c_string(place, options.data.as_str())?;
    let source = mount.source().as_ref().map(|path| path.as_os_str().as_encoded_bytes());

    let only_propagates = fstype == "none" && source.is_none() && !bind;
    if options.remount || (only_propagates && !options.settings.propagation.is_empty()) {
        let whole = options.remount && !bind;
        let filesystem = whole.then_some((options.flags, data));
        let settings = if whole { beyond_flags(options) } else { options.settings.clone() };
        steps.container(Op::Remount(Remount { target, filesystem, settings }), place);
        return Ok(());
    }
    if bind {
        if !options.data.is_empty() {
            let reason = "a bind mount has its filesystem's own options, and not these";
            steps.warn(&at("options"), format!("{reason}: {}", options.data));
        }
        let Some(source) = source else {
            return Err(steps.error(place, "bind", "a source is missing"));
        };
        let bind = Bind {
            source: steps.c_string(place, source)?,
            target,
            recursive: options.bind.unwrap_or(false),
            settings: options.settings.clone(),
            tree: trees::is_opened(entry, given).then(|| given.next_tree()),
            is_dir: false,
        };
        steps.container(Op::Bind(bind), place);
        return Ok(());
    }
    let new = NewMount {
        source: steps.c_string(place, source.unwrap_or(fstype.as_bytes()))?,
        target,
        fstype: steps.c_string(place, fstype)?,
        flags: options.flags - entry.late_flags(),
        data: steps.c_string(place, labelled(given, fstype, &options.data))?,
        settings: beyond_flags(options),
        takes_over: takes_over(fstype, options),
    };
    if fstype == "sysfs" {
        given.enter_network(steps);
    }
    if entry.is_cgroup() {
        given.enter_cgroup(steps)?;
        return cgroup_mounts::mount(steps, place, new, given);
    }
    steps.container(Op::Mount(new), place);
    Ok(())
}

/// A new filesystem has its flags from mount(2); the rest is set afterwards.
fn beyond_flags(options: &MountOptions) -> Settings {
    Settings { attributes: Default::default(), ..options.settings.clone() }
}

/// `linux.mountLabel` is for hosts where something looks at it.
fn check_label(steps: &mut Steps, spec: &Spec, host: &Host) {
    if !host.selinux && label(spec).is_some() {
        steps.warn("linux.mountLabel", labels::NO_SELINUX);
    }
}

fn label(spec: &Spec) -> Option<&str> {
    let label = spec.linux().as_ref().and_then(|linux| linux.mount_label().as_deref());
    label.filter(|label| !label.is_empty())
}

/// The kernel's own filesystems have labels of their own.
fn labelled(given: &Given<'_>, fstype: &str, data: &str) -> String {
    let own = matches!(fstype, "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2");
    match label(given.spec).filter(|_| given.host.selinux && !own && !data.contains("context=")) {
        None => data.to_owned(),
        // In quotes, since the categories of a label have commas between them.
        Some(label) if data.is_empty() => format!("context=\"{label}\""),
        Some(label) => format!("{data},context=\"{label}\""),
    }
}

/// The kernel would make every tmpfs world-writable, /run among them.
fn takes_over(fstype: &str, options: &MountOptions) -> TakesOver {
    let has_mode = || options.data.split(',').any(|option| option.starts_with("mode="));
    match fstype {
        "tmpfs" if options.copy_up => TakesOver::Content,
        "tmpfs" if !has_mode() => TakesOver::Mode,
        _ => TakesOver::Nothing,
    }
}

/// Makes read-only what had to be writable while others were mounted in it.
pub(super) fn readonly(steps: &mut Steps, entries: &[Entry]) -> Result<()> {
    for (index, entry) in entries.iter().enumerate() {
        // What a later mount covers can't be reached, and the path leads to that one.
        let target = entry.target.as_deref().unwrap_or_default();
        let is_below = |top: &String| Path::new(target).starts_with(top);
        let covers =
            |later: &Entry| !later.options.remount && later.target.as_ref().is_some_and(is_below);
        let is_new = !entry.options.remount && !entry.is_bind();
        if !is_new || entry.late_flags().is_empty() || entries.iter().skip(index + 1).any(covers) {
            continue;
        }
        let target = steps.c_string(&entry.place, target)?;
        steps.container(Op::Remount(read_only(target)), &entry.place);
    }
    Ok(())
}

/// The step that makes one mount read-only.
pub(super) fn read_only(target: CString) -> Remount {
    let mut settings = Settings::default();
    settings.attributes.set = libc::MOUNT_ATTR_RDONLY;
    Remount { target, filesystem: None, settings }
}

/// Nothing but procfs may be mounted on /proc, and next to nothing in it. That a symlink
/// doesn't lead there, and that a bound /proc is procfs, is seen when the step runs.
fn check_proc(
    steps: &Steps,
    place: &str,
    target: &str,
    fstype: &str,
    has_source: bool,
) -> Result<()> {
    let below = Path::new(target).strip_prefix("/proc").ok();
    let reason = match below.and_then(Path::to_str) {
        None => return Ok(()),
        Some("") if fstype == "proc" || has_source => return Ok(()),
        Some("") => "only procfs can be mounted on /proc",
        Some(file) if COVERABLE.contains(&file) => return Ok(()),
        Some(_) => "this part of /proc can't be covered by a mount",
    };
    Err(steps.error(place, &format!("mount on {target}"), reason))
}
