//! The mount of type `cgroup`: what it means depends on how the host's cgroups are mounted.

use nix::mount::MsFlags;
use nix::sched::CloneFlags;

use super::Steps;
use super::cgroup_path::Dir;
use super::mounts::{Given, read_only};
use super::op::{Bind, NewMount, Op, Settings, TakesOver};
use crate::error::Result;
use crate::host::{CgroupLayout, Hierarchy};

const TOP: &str = "/sys/fs/cgroup";

/// One mount on a host with cgroup v2, a directory of mounts with v1. A container sees the
/// cgroups that it has: another one would be its caller's, with the names of all below.
pub(super) fn mount(
    steps: &mut Steps,
    place: &str,
    mut new: NewMount,
    given: &Given,
) -> Result<()> {
    match &given.host.cgroup {
        // There is nothing to show.
        CgroupLayout::Absent => Ok(()),
        _ if !given.options.oci && !given.cgroup.exists() => Ok(()),
        CgroupLayout::V2 { own, .. } => {
            let own = own_cgroup(given, "", || format!("{TOP}{own}"));
            new.fstype = c"cgroup2".into();
            hierarchy(steps, place, new, own, given)
        }
        CgroupLayout::V1 { hierarchies, .. } => v1(steps, place, &new, hierarchies, given),
    }
}

/// The host's directories that [`mount`] binds, in that order.
pub(super) fn sources(given: &Given) -> Vec<String> {
    match &given.host.cgroup {
        CgroupLayout::Absent => Vec::new(),
        CgroupLayout::V2 { own, .. } => {
            own_cgroup(given, "", || format!("{TOP}{own}")).into_iter().collect()
        }
        CgroupLayout::V1 { hierarchies, .. } => {
            shown(given, hierarchies).filter_map(|found| own_v1(given, found)).collect()
        }
    }
}

/// Without a cgroup namespace a fresh mount would show the host's whole tree, so
/// the container's part is bound instead; `None` says that a mount will do.
fn own_cgroup(
    given: &Given,
    controllers: &str,
    of_runtime: impl FnOnce() -> String,
) -> Option<String> {
    let namespaced = given.layout.has(CloneFlags::CLONE_NEWCGROUP);
    (!namespaced).then(|| given.cgroup.dir(controllers).map_or_else(of_runtime, Dir::text))
}

/// What is bound is read-only: nothing would keep the container below its own cgroup
/// (CVE-2023-25809).
fn hierarchy(
    steps: &mut Steps,
    place: &str,
    new: NewMount,
    own: Option<String>,
    given: &Given,
) -> Result<()> {
    let op = match own {
        None => Op::Mount(new),
        Some(own) => {
            let mut settings = Settings::default();
            settings.attributes.set = libc::MOUNT_ATTR_RDONLY
                | libc::MOUNT_ATTR_NOSUID
                | libc::MOUNT_ATTR_NODEV
                | libc::MOUNT_ATTR_NOEXEC;
            let source = steps.c_string(place, own)?;
            let tree = given.layout.from_kernel.then(|| given.next_tree());
            let target = new.target;
            Op::Bind(Bind { source, target, recursive: false, settings, tree, is_dir: true })
        }
    };
    steps.container(op, place);
    Ok(())
}

fn own_v1(given: &Given, found: &Hierarchy) -> Option<String> {
    let of_runtime = || format!("{TOP}/{}{}", found.directory, found.own);
    own_cgroup(given, &found.controllers, of_runtime)
}

/// The hierarchies that the container has a cgroup in; all of them when it has none.
fn shown<'a>(
    given: &Given<'_>,
    hierarchies: &'a [Hierarchy],
) -> impl Iterator<Item = &'a Hierarchy> {
    hierarchies
        .iter()
        .filter(|found| !given.cgroup.exists() || given.cgroup.dir(&found.controllers).is_some())
}

/// A v1 host has a directory a hierarchy, on a tmpfs that is sealed afterwards.
fn v1(
    steps: &mut Steps,
    place: &str,
    asked: &NewMount,
    hierarchies: &[Hierarchy],
    given: &Given,
) -> Result<()> {
    let base = NewMount {
        source: c"tmpfs".into(),
        fstype: c"tmpfs".into(),
        flags: asked.flags - MsFlags::MS_RDONLY,
        data: c"mode=755,size=64k".into(),
        ..asked.clone()
    };
    steps.container(Op::Mount(base), place);
    let top = asked.target.to_string_lossy();
    for found in shown(given, hierarchies) {
        let is_v2 = found.controllers.is_empty();
        let target = steps.c_string(place, [&top, "/", &found.directory].concat())?;
        let new = NewMount {
            source: c"cgroup".into(),
            target,
            fstype: if is_v2 { c"cgroup2".into() } else { c"cgroup".into() },
            flags: asked.flags,
            data: steps.c_string(place, found.controllers.as_str())?,
            settings: asked.settings.clone(),
            takes_over: TakesOver::Nothing,
        };
        hierarchy(steps, place, new, own_v1(given, found), given)?;
        // `cpu,cpuacct` is reached as `cpu` and as `cpuacct` too.
        for name in found.controllers.split(',').filter(|_| found.controllers.contains(',')) {
            let path = steps.c_string(place, [&top, "/", name].concat())?;
            let target = steps.c_string(place, found.directory.as_str())?;
            steps.container(Op::Symlink { path, target }, place);
        }
    }
    if asked.flags.contains(MsFlags::MS_RDONLY) {
        steps.container(Op::Remount(read_only(asked.target.clone())), place);
    }
    Ok(())
}
