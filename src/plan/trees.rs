//! Sources of bind mounts that take more rights than the container's process has.
//!
//! Only who has rights over a filesystem may map its ids (`idmap`, `ridmap`, `uidMappings`,
//! `gidMappings`), and root of a user namespace can't even enter a directory that is for
//! root of the host alone. So the runtime opens such trees before the clone, and the
//! container's process inherits them and puts them into place.

use oci_spec::runtime::LinuxIdMapping;

use super::Steps;
use super::mounts::{Entry, Given};
use super::namespaces::{Layout, range};
use super::op::{IdRange, MountIds, Op, OpenTree, Propagation};
use crate::error::Result;
use crate::host::Host;

/// The runtime's steps, one for each such mount.
pub(super) fn open(
    steps: &mut Steps,
    entries: &[Entry],
    host: &Host,
    layout: &Layout,
    propagation: Option<Propagation>,
) -> Result<()> {
    for entry in entries.iter().filter(|entry| is_opened(entry, host, layout)) {
        check(steps, entry, layout)?;
        let Entry { mount, place, options, .. } = entry;
        let Some(source) = mount.source() else {
            return Err(steps.error(place, "bind", "a source is missing"));
        };
        let ranges = |own: &Option<Vec<LinuxIdMapping>>, layout: &[IdRange]| match own {
            Some(own) if !own.is_empty() => own.iter().map(range).collect(),
            _ => layout.to_vec(),
        };
        let ids = is_id_mapped(entry).then(|| MountIds {
            uids: ranges(mount.uid_mappings(), &layout.uids),
            gids: ranges(mount.gid_mappings(), &layout.gids),
            recursive: options.id_map.unwrap_or(false),
        });
        let source = steps.c_string(place, source.as_os_str().as_encoded_bytes())?;
        let recursive = options.bind.unwrap_or(false);
        let tree = OpenTree { source, recursive, ids, propagation };
        steps.runtime(Op::OpenTree(tree), place);
    }
    Ok(())
}

/// Which of the opened trees an entry binds.
pub(super) fn tree(entry: &Entry, given: &Given) -> Option<usize> {
    let is_opened = |entry: &&Entry| is_opened(entry, given.host, given.layout);
    let mut opened = given.entries.iter().filter(is_opened);
    opened.position(|opened| std::ptr::eq(opened, entry))
}

fn is_opened(entry: &Entry, host: &Host, layout: &Layout) -> bool {
    let out_of_reach = layout.has_user() && host.is_real_root();
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
        if mappings.iter().flatten().any(|mapping| mapping.size() == 0) {
            return refuse(field, "a mapping has size 0");
        }
    }
    Ok(())
}

fn has_any(mappings: &Option<Vec<LinuxIdMapping>>) -> bool {
    mappings.as_ref().is_some_and(|mappings| !mappings.is_empty())
}
