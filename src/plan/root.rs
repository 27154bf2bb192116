//! The root filesystem: opened first, protected and entered last.

use std::ffi::CString;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use oci_spec::runtime::Spec;

use super::mount_options::propagation;
use super::mounts::{self, Entry, Given};
use super::namespaces::Layout;
use super::op::{Op, Propagation};
use super::{Options, Steps, element, hooks};
use crate::error::Result;

const PROPAGATION: &str = "linux.rootfsPropagation";

/// What is masked or read-only may be missing: kernels differ in what /proc and /sys hold.
const MAY_BE_MISSING: &[Errno] = &[Errno::ENOENT, Errno::ENOTDIR];

/// How mounts travel, from `linux.rootfsPropagation`.
pub(super) struct Travel {
    /// What every mount of the new namespace becomes, first of all; nothing when mounts
    /// are to travel both ways.
    pub(super) tree: Option<Propagation>,
    /// What the mount at `/` becomes, last of all.
    root: Option<Propagation>,
}

impl Travel {
    /// # Errors
    /// When the value is none of the specification's.
    pub(super) fn new(spec: &Spec, entries: &[Entry], steps: &Steps) -> Result<Self> {
        let all = |kind| Some(Propagation { kind, recursive: true });
        let asked = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
        let asked = match asked.filter(|asked| !asked.is_empty()) {
            Some(asked) => match propagation(asked) {
                Some(found) => Some(found),
                None => {
                    let reason = format!("{asked:?} is none of shared, slave, private, unbindable");
                    return Err(steps.error(PROPAGATION, "set mount propagation", reason));
                }
            },
            None => None,
        };
        // Binds that receive the host's mounts need a namespace that receives them.
        let cuts = MsFlags::MS_PRIVATE | MsFlags::MS_UNBINDABLE;
        let mut told = entries.iter().flat_map(|entry| &entry.options.settings.propagation);
        let receives = told.any(|propagation| !cuts.contains(propagation.kind));
        let tree = match asked.map(|asked| asked.kind) {
            Some(MsFlags::MS_SHARED) => None,
            Some(MsFlags::MS_SLAVE) => all(MsFlags::MS_SLAVE),
            _ if receives => all(MsFlags::MS_SLAVE),
            _ => all(MsFlags::MS_PRIVATE),
        };
        let root = asked.filter(|asked| {
            matches!(asked.kind, MsFlags::MS_SHARED | MsFlags::MS_UNBINDABLE)
                || (asked.kind == MsFlags::MS_PRIVATE && receives)
        });
        // What single mounts were told holds for them.
        let root = root.map(|root| Propagation { recursive: false, ..root });
        Ok(Travel { tree, root })
    }
}

/// Makes the root filesystem a mount of this namespace.
pub(super) fn open(steps: &mut Steps, given: &Given, travel: &Travel) -> Result<()> {
    let &Given { spec, options, layout, .. } = given;
    let shared = !layout.has(CloneFlags::CLONE_NEWNS);
    if shared {
        refuse_changes(steps, spec, options)?;
    }
    let Some(root) = spec.root() else {
        if shared {
            return Ok(());
        }
        return Err(steps.error("root", "open the root filesystem", "none is given"));
    };
    let path = steps.c_string("root.path", root.path().as_os_str().as_encoded_bytes())?;
    if shared {
        steps.container(Op::OpenRootfs { path }, "root.path");
        return Ok(());
    }
    if layout.from_kernel {
        steps.container(Op::NewMounts, "linux.namespaces");
    }
    match travel.tree {
        Some(propagation) => steps.container(Op::PropagateMounts { propagation }, PROPAGATION),
        None => steps.container(Op::PrivateParent { path: path.clone() }, PROPAGATION),
    }
    // No cgroup of `run ROOTFS` denies devices, and all that it needs are made in /dev; nodes
    // that somebody has put into the directory are none of the container's.
    let nodev = !options.oci;
    let op = if options.ephemeral {
        Op::OverlayRootfs { path, nodev, userxattr: layout.has_user() }
    } else {
        Op::BindRootfs { path, nodev, tree: layout.from_kernel.then(|| given.next_tree()) }
    };
    steps.container(op, "root.path");
    Ok(())
}

/// Without a mount namespace of its own a container has the host's mounts, and what it
/// changed in them it would change for everybody. Who leaves the namespace out often leaves
/// the usual mounts in, so these get a warning; what is meant to protect is refused.
fn refuse_changes(steps: &mut Steps, spec: &Spec, options: &Options) -> Result<()> {
    let linux = spec.linux().as_ref();
    for (path, asked) in [
        ("mounts", spec.mounts().as_ref().is_some_and(|mounts| !mounts.is_empty())),
        ("root.readonly", spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false)),
    ] {
        if asked {
            steps.warn(path, "left out, since there is no mount namespace for it".to_owned());
        }
    }
    let any = |list: Option<&Option<Vec<String>>>| {
        list.and_then(Option::as_ref).is_some_and(|list| !list.is_empty())
    };
    let propagation = linux.and_then(|linux| linux.rootfs_propagation().as_deref());
    let devices = linux.and_then(|linux| linux.devices().as_ref());
    let terminal = spec.process().as_ref().and_then(|process| process.terminal());
    let asked = [
        ("root.path", options.ephemeral),
        (PROPAGATION, propagation.is_some_and(|value| !value.is_empty())),
        ("linux.maskedPaths", any(linux.map(|linux| linux.masked_paths()))),
        ("linux.readonlyPaths", any(linux.map(|linux| linux.readonly_paths()))),
        ("linux.devices", devices.is_some_and(|devices| !devices.is_empty())),
        ("process.terminal", terminal.unwrap_or(false)),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        None => Ok(()),
        Some((path, _)) => {
            let reason = "without a mount namespace it would change the host's file system";
            Err(steps.error(path, "prepare the file system", reason))
        }
    }
}

/// The container's process hides what there is to hide while the runtime makes the cgroups that
/// `rest` begins with: unless a hook, or a mount of that rest, may change it still.
pub(super) fn hide_meanwhile(steps: &mut Steps, given: &Given, rest: &[Entry]) -> Result<()> {
    let is_apart = |path: &Path| {
        let mut targets = rest.iter().filter_map(|entry| entry.target.as_deref());
        targets.all(|target| !path.starts_with(target) && !Path::new(target).starts_with(path))
    };
    let may_come_first = |path: &String| {
        let path = mounts::clean(Path::new(path)).unwrap_or_default();
        let is_kernels = path.starts_with("/proc/") || path.starts_with("/sys/");
        is_kernels && is_apart(Path::new(&path))
    };
    let [masked, readonly] = hidden(given.spec);
    if !given.in_cgroup.get()
        && !hooks::run_before_root(given.spec)
        && masked.iter().chain(readonly).all(may_come_first)
    {
        hide(steps, given)?;
    }
    Ok(())
}

/// `linux.maskedPaths` and `linux.readonlyPaths`.
fn hidden(spec: &Spec) -> [&[String]; 2] {
    let linux = spec.linux().as_ref();
    let masked = linux.and_then(|linux| linux.masked_paths().as_deref());
    let readonly = linux.and_then(|linux| linux.readonly_paths().as_deref());
    [masked.unwrap_or_default(), readonly.unwrap_or_default()]
}

fn hide(steps: &mut Steps, given: &Given) -> Result<()> {
    if given.is_hidden.replace(true) || given.spec.root().is_none() {
        return Ok(());
    }
    let [masked, readonly] = hidden(given.spec);
    for (index, path) in masked.iter().enumerate() {
        let place = element("linux.maskedPaths", index);
        let path = protected(steps, &place, "mask", path)?;
        steps.tolerant(Op::Mask { path }, &place, MAY_BE_MISSING);
    }
    for (index, path) in readonly.iter().enumerate() {
        let place = element("linux.readonlyPaths", index);
        let path = protected(steps, &place, "make read-only", path)?;
        steps.tolerant(Op::ReadonlyPath { path }, &place, MAY_BE_MISSING);
    }
    Ok(())
}

/// Hides and seals, after everything is mounted that could be hidden or sealed.
pub(super) fn protect(steps: &mut Steps, given: &Given) -> Result<()> {
    let &Given { spec, entries, layout, .. } = given;
    if spec.root().is_none() {
        return Ok(());
    }
    hide(steps, given)?;
    let cwd = spec.process().as_ref().map(|process| process.cwd().as_path());
    if let Some(cwd) = cwd.filter(|cwd| *cwd != Path::new("/")) {
        let path = steps.c_string("process.cwd", cwd.as_os_str().as_encoded_bytes())?;
        steps.container(Op::MakeDir { path }, "process.cwd");
    }
    if !layout.has(CloneFlags::CLONE_NEWNS) {
        return Ok(());
    }
    mounts::readonly(steps, entries)?;
    if spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false) {
        steps.container(Op::ReadonlyRootfs, "root.readonly");
    }
    Ok(())
}

/// Without detours, so that it shows whether it lies in the container's /proc. An empty path
/// would be missing and so be taken for done.
fn protected(steps: &Steps, place: &str, what: &str, path: &str) -> Result<CString> {
    match mounts::clean(Path::new(path)) {
        Some(path) => steps.c_string(place, path),
        None if path.is_empty() => Err(steps.error(place, what, "the path is empty")),
        None => Err(steps.error(place, what, "the path is the root itself")),
    }
}

/// Leaves the host's file tree.
pub(super) fn enter(
    steps: &mut Steps,
    spec: &Spec,
    options: &Options,
    layout: &Layout,
    travel: &Travel,
) {
    let op = match (layout.has(CloneFlags::CLONE_NEWNS), options.no_pivot) {
        (false, _) if spec.root().is_none() => return,
        (false, _) => return steps.container(Op::Chroot, "root.path"),
        (true, false) => Op::PivotRoot { cut: travel.tree.is_none() },
        (true, true) => Op::MoveRoot,
    };
    steps.container(op, "root.path");
    if let Some(propagation) = travel.root {
        steps.container(Op::PropagateRoot { propagation }, PROPAGATION);
    }
}
