//! The mount tree: root filesystem, mounts, devices, and what is hidden in them.

use std::path::{Component, Path};

use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use oci_spec::runtime::{Mount, Spec};

use super::mount_options::MountOptions;
use super::namespaces::Layout;
use super::op::{Bind, NewMount, Op, TerminalSize};
use super::{Options, Steps};
use crate::error::Result;
use crate::host::{CgroupLayout, Hierarchy, Host};

/// Devices that every container has (runtime-spec, "Default Devices").
const DEVICES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Names that programs expect below /dev (runtime-spec, "Dev symbolic links").
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// What is masked or read-only may be missing: kernels differ in what /proc and /sys hold.
const MAY_BE_MISSING: &[Errno] = &[Errno::ENOENT, Errno::ENOTDIR];

/// Makes the root filesystem a mount of this namespace.
pub(super) fn root(
    steps: &mut Steps,
    spec: &Spec,
    options: &Options,
    layout: &Layout,
) -> Result<()> {
    let Some(root) = spec.root() else {
        return Err(steps.error("root", "open the root filesystem", "none is given"));
    };
    let path = steps.c_string("root.path", root.path().as_os_str().as_encoded_bytes())?;
    steps.container(Op::PrivateMounts, "linux.rootfsPropagation");
    let op = if options.ephemeral {
        Op::OverlayRootfs { path, userxattr: layout.has_user() }
    } else {
        Op::BindRootfs { path }
    };
    steps.container(op, "root.path");
    Ok(())
}

/// Mounts and devices, in the specification's order.
pub(super) fn tree(steps: &mut Steps, spec: &Spec, host: &Host, layout: &Layout) -> Result<()> {
    let mut has_dev = false;
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let place = format!("mounts[{index}]");
        one_mount(steps, mount, &place, host, layout)?;
        // What lies below /dev needs the devices' directory, and the reverse: pts comes after.
        // A /dev of the host's is left as it is: nodes made there would be the host's.
        let is_bind = matches!(steps.list.last().map(|step| &step.op), Some(Op::Bind(_)));
        if mount.destination() == Path::new("/dev") && !is_bind {
            has_dev = true;
            devices(steps, host, layout)?;
        }
    }
    let process = spec.process().as_ref();
    if process.and_then(|process| process.terminal()).unwrap_or(false) {
        if !has_dev {
            let reason = "a terminal needs a mount on /dev";
            return Err(steps.error("process.terminal", "open a pty", reason));
        }
        let size = process.and_then(|process| process.console_size()).map(|size| TerminalSize {
            rows: size.height().try_into().unwrap_or(u16::MAX),
            columns: size.width().try_into().unwrap_or(u16::MAX),
        });
        let owner = process.map_or(0, |process| process.user().uid());
        steps.container(Op::Console { size, owner }, "process.terminal");
    }
    Ok(())
}

fn one_mount(
    steps: &mut Steps,
    mount: &Mount,
    place: &str,
    host: &Host,
    layout: &Layout,
) -> Result<()> {
    let target = steps.c_string(place, mount.destination().as_os_str().as_encoded_bytes())?;
    if target.as_bytes().first() != Some(&b'/') {
        return Err(steps.error(place, "mount", "the destination must be an absolute path"));
    }
    if mount.destination().components().all(|part| !matches!(part, Component::Normal(_))) {
        return Err(steps.error(place, "mount", "the root itself can't be mounted over"));
    }
    let options = MountOptions::parse(mount.options().iter().flatten().map(String::as_str));
    let fstype = mount.typ().as_deref().unwrap_or("none");
    let source = mount.source().as_ref().map(|path| path.as_os_str().as_encoded_bytes());
    if let Some(recursive) = options.bind.or((fstype == "bind").then_some(false)) {
        let Some(source) = source else {
            return Err(steps.error(place, "bind", "a source is missing"));
        };
        let bind = Bind {
            source: steps.c_string(place, source)?,
            target,
            recursive,
            attributes: options.attributes,
            recursive_attributes: options.recursive,
            propagation: options.propagation,
        };
        steps.container(Op::Bind(bind), place);
        return Ok(());
    }
    let mut new = NewMount {
        source: steps.c_string(place, source.unwrap_or(fstype.as_bytes()))?,
        target,
        fstype: steps.c_string(place, fstype)?,
        flags: options.flags,
        data: steps.c_string(place, options.data.as_str())?,
    };
    if fstype != "cgroup" {
        steps.container(Op::Mount(new), place);
        return Ok(());
    }
    match &host.cgroup {
        CgroupLayout::Absent => Ok(()),
        CgroupLayout::V2 { own, .. } => {
            let own = layout.own_cgroup("/sys/fs/cgroup", own);
            new.fstype = c"cgroup2".into();
            cgroup_hierarchy(steps, place, new, own)
        }
        CgroupLayout::V1 { hierarchies } => cgroup_v1(steps, place, &new, hierarchies, layout),
    }
}

impl Layout {
    /// Without a cgroup namespace a fresh mount would show the host's whole tree, so
    /// the container's part is bound instead; `None` says that a mount will do.
    fn own_cgroup(&self, mounted_at: &str, own: &str) -> Option<String> {
        let namespaced = self.new.contains(CloneFlags::CLONE_NEWCGROUP);
        (!namespaced).then(|| format!("{mounted_at}{own}"))
    }
}

fn cgroup_hierarchy(
    steps: &mut Steps,
    place: &str,
    new: NewMount,
    own: Option<String>,
) -> Result<()> {
    let op = match own {
        None => Op::Mount(new),
        Some(own) => Op::Bind(Bind {
            source: steps.c_string(place, own)?,
            target: new.target,
            recursive: false,
            attributes: super::op::Attributes {
                set: libc::MOUNT_ATTR_RDONLY
                    | libc::MOUNT_ATTR_NOSUID
                    | libc::MOUNT_ATTR_NODEV
                    | libc::MOUNT_ATTR_NOEXEC,
                clear: 0,
            },
            recursive_attributes: super::op::Attributes::default(),
            propagation: 0,
        }),
    };
    steps.container(op, place);
    Ok(())
}

/// A v1 host has a directory a hierarchy, on a tmpfs that is sealed afterwards.
fn cgroup_v1(
    steps: &mut Steps,
    place: &str,
    asked: &NewMount,
    hierarchies: &[Hierarchy],
    layout: &Layout,
) -> Result<()> {
    let base = NewMount {
        source: c"tmpfs".into(),
        fstype: c"tmpfs".into(),
        flags: asked.flags - MsFlags::MS_RDONLY,
        data: c"mode=755,size=64k".into(),
        ..asked.clone()
    };
    steps.container(Op::Mount(base), place);
    let top = asked.target.to_string_lossy().into_owned();
    for hierarchy in hierarchies {
        let is_v2 = hierarchy.controllers.is_empty();
        let target = steps.c_string(place, format!("{top}/{}", hierarchy.directory))?;
        let new = NewMount {
            source: c"cgroup".into(),
            target,
            fstype: if is_v2 { c"cgroup2".into() } else { c"cgroup".into() },
            flags: asked.flags,
            data: steps.c_string(place, hierarchy.controllers.as_str())?,
        };
        let mounted_at = format!("/sys/fs/cgroup/{}", hierarchy.directory);
        cgroup_hierarchy(steps, place, new, layout.own_cgroup(&mounted_at, &hierarchy.own))?;
        // `cpu,cpuacct` is reached as `cpu` and as `cpuacct` too.
        for name in hierarchy.controllers.split(',').filter(|_| hierarchy.controllers.contains(','))
        {
            let path = steps.c_string(place, format!("{top}/{name}"))?;
            let target = steps.c_string(place, hierarchy.directory.as_str())?;
            steps.container(Op::Symlink { path, target }, place);
        }
    }
    if asked.flags.contains(MsFlags::MS_RDONLY) {
        let target = asked.target.clone();
        steps.container(Op::Remount { target, set: libc::MOUNT_ATTR_RDONLY }, place);
    }
    Ok(())
}

fn devices(steps: &mut Steps, host: &Host, layout: &Layout) -> Result<()> {
    // In a user namespace even root may not make device nodes (mknod(2)); there the
    // host's are bound, which costs three times as much.
    let make_nodes = !layout.has_user() && !host.in_user_namespace;
    for &(name, major, minor) in DEVICES {
        let path = steps.c_string("", format!("/dev/{name}"))?;
        let op = if make_nodes {
            Op::Device { path, major, minor, mode: 0o666 }
        } else {
            Op::Bind(Bind {
                source: path.clone(),
                target: path,
                recursive: false,
                attributes: super::op::Attributes::default(),
                recursive_attributes: super::op::Attributes::default(),
                propagation: 0,
            })
        };
        steps.container(op, "");
    }
    for &(path, target) in LINKS {
        let (path, target) = (steps.c_string("", path)?, steps.c_string("", target)?);
        // A bound /dev may have them already.
        steps.tolerant(Op::Symlink { path, target }, "", &[Errno::EEXIST]);
    }
    Ok(())
}

/// Hides and seals, after everything is mounted that could be hidden or sealed.
pub(super) fn protect(steps: &mut Steps, spec: &Spec) -> Result<()> {
    let linux = spec.linux().as_ref();
    let masked = linux.and_then(|linux| linux.masked_paths().as_ref());
    for (index, path) in masked.into_iter().flatten().enumerate() {
        let place = format!("linux.maskedPaths[{index}]");
        let path = steps.c_string(&place, path.as_str())?;
        steps.tolerant(Op::Mask { path }, &place, MAY_BE_MISSING);
    }
    let readonly = linux.and_then(|linux| linux.readonly_paths().as_ref());
    for (index, path) in readonly.into_iter().flatten().enumerate() {
        let place = format!("linux.readonlyPaths[{index}]");
        let path = steps.c_string(&place, path.as_str())?;
        steps.tolerant(Op::ReadonlyPath { path }, &place, MAY_BE_MISSING);
    }
    let cwd = spec.process().as_ref().map(|process| process.cwd().as_path());
    if let Some(cwd) = cwd.filter(|cwd| *cwd != Path::new("/")) {
        let path = steps.c_string("process.cwd", cwd.as_os_str().as_encoded_bytes())?;
        steps.container(Op::MakeDir { path }, "process.cwd");
    }
    if spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false) {
        steps.container(Op::ReadonlyRootfs, "root.readonly");
    }
    Ok(())
}
