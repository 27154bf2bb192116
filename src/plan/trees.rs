//! Sources of bind mounts that the container's process couldn't open.
//!
//! Only who has rights over a filesystem may map its ids (`idmap`, `ridmap`, `uidMappings`,
//! `gidMappings`), root of a user namespace can't even enter a directory that is for root of
//! the host alone, and who has entered the kernel's own mounts has left the host's. So the
//! runtime opens such trees before the clone, and the container's process inherits them and
//! puts them into place.

use std::ffi::CString;

use oci_spec::runtime::LinuxIdMapping;

use super::mounts::{Entry, Given};
use super::namespaces::{Layout, check_ranges, range};
use super::op::{IdRange, MountIds, Op, OpenTree, Propagation};
use super::{Steps, cgroup_mounts};
use crate::error::Result;

/// The runtime's steps, one for each tree, in the order in which [`Given::next_tree`] is asked
/// for them: the root filesystem, then those of `mounts`.
pub(super) fn open(
    steps: &mut Steps,
    given: &Given,
    propagation: Option<Propagation>,
) -> Result<()> {
    let source = CString::default();
    let tree = OpenTree { source, recursive: false, ids: None, is_rootfs: false, propagation };
    let push = |steps: &mut Steps, place: &str, source: &[u8], tree: OpenTree| {
        let source = steps.c_string(place, source)?;
        steps.runtime(Op::OpenTree(OpenTree { source, ..tree }), place);
        Ok(())
    };
    let from_kernel = given.layout.from_kernel;
    if let Some(root) = given.spec.root().as_ref().filter(|_| from_kernel) {
        let root = root.path().as_os_str().as_encoded_bytes();
        let tree = OpenTree { recursive: true, is_rootfs: true, ..tree.clone() };
        push(steps, "root.path", root, tree)?;
    }
    for entry in given.entries {
        let Entry { mount, place, options, .. } = entry;
        if entry.is_cgroup() && from_kernel {
            for source in cgroup_mounts::sources(given) {
                push(steps, place, source.as_bytes(), tree.clone())?;
            }
        }
        if !is_opened(entry, given) {
            continue;
        }
        check(steps, entry, given.layout)?;
        let Some(source) = mount.source() else {
            return Err(steps.error(place, "bind", "a source is missing"));
        };
        let (recursive, ids) = (options.bind.unwrap_or(false), ids(entry, given.layout));
        let tree = OpenTree { recursive, ids, ..tree.clone() };
        push(steps, place, source.as_os_str().as_encoded_bytes(), tree)?;
    }
    Ok(())
}

fn ids(entry: &Entry, layout: &Layout) -> Option<MountIds> {
    let ranges = |own: &Option<Vec<LinuxIdMapping>>, layout: &[IdRange]| match own {
        Some(own) if !own.is_empty() => own.iter().map(range).collect(),
        _ => layout.to_vec(),
    };
    is_id_mapped(entry).then(|| MountIds {
        uids: ranges(entry.mount.uid_mappings(), &layout.uids),
        gids: ranges(entry.mount.gid_mappings(), &layout.gids),
        recursive: entry.options.id_map.unwrap_or(false),
    })
}

/// Whether the source of an entry is among the opened trees.
pub(super) fn is_opened(entry: &Entry, given: &Given) -> bool {
    let &Given { layout, host, .. } = given;
    let out_of_reach = layout.from_kernel || (layout.has_user() && host.is_real_root());
    is_id_mapped(entry) || (out_of_reach && entry.is_bind() && !entry.options.remount)
}

fn is_id_mapped(Entry { mount, options, .. }: &Entry) -> bool {
    options.id_map.is_some() || has_any(mount.uid_mappings()) || has_any(mount.gid_mappings())
}

/// Refuses an id map that has no meaning.
///
/// # Errors
/// The field, by its path.
pub(super) fn check(steps: &Steps, entry: &Entry, layout: &Layout) -> Result<()> {
    if !is_id_mapped(entry) {
        return Ok(());
    }
    let Entry { mount, place, options, .. } = entry;
    let refuse = |field: &str, reason: &str| {
        Err(steps.error(&format!("{place}.{field}"), "map the ids of a mount", reason))
    };
    if !entry.is_bind() || options.remount {
        return refuse("options", "only a bind mount can have an id map");
    }
    let (uids, gids) = (mount.uid_mappings(), mount.gid_mappings());
    match (has_any(uids), has_any(gids)) {
        (true, false) => return refuse("gidMappings", "there are uidMappings and none for gids"),
        (false, true) => return refuse("uidMappings", "there are gidMappings and none for uids"),
        (false, false) if layout.uids.is_empty() || layout.gids.is_empty() => {
            let reason = "without mappings of its own the mount takes those of the container's \
                          user namespace, and linux.uidMappings and linux.gidMappings give none";
            return refuse("options", reason);
        }
        _ => {}
    }
    for (mappings, field) in [(uids, "uidMappings"), (gids, "gidMappings")] {
        let ranges: Vec<_> = mappings.iter().flatten().map(range).collect();
        check_ranges(steps, &ranges, &format!("{place}.{field}"))?;
    }
    Ok(())
}

fn has_any(mappings: &Option<Vec<LinuxIdMapping>>) -> bool {
    mappings.as_ref().is_some_and(|mappings| !mappings.is_empty())
}
