//! The runtime's side of bind mounts that take more rights than the container has.
//!
//! An id map is that of a user namespace, which needs a process to be made: one is cloned,
//! its maps are written, a descriptor is taken, and it ends.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;

use super::{id_maps, root};
use crate::error::{Error, Result};
use crate::plan::op::{IdMap, Mapper, MountIds, OpenTree};
use crate::sys;

/// Opens a detached mount tree, with its ids mapped if that is asked for.
///
/// # Errors
/// When the source isn't there, or can't have mapped ids.
pub(super) fn open(tree: &OpenTree) -> Result<OwnedFd> {
    let failed = |errno: Errno| Error::system(tree.to_string(), errno);
    let opened = match tree.is_rootfs {
        true => root::open_rootfs(&tree.source)
            .and_then(|dir| sys::mount::clone_tree_at(dir.as_fd(), tree.recursive)),
        false => sys::mount::clone_tree(&tree.source, tree.recursive),
    };
    let opened = opened.map_err(failed)?;
    if let Some(propagation) = tree.propagation {
        let kind = propagation.kind.bits();
        sys::mount::mount_setattr(opened.as_fd(), 0, 0, kind, propagation.recursive)
            .map_err(failed)?;
    }
    if let Some(ids) = &tree.ids {
        let user = user_namespace(ids)?;
        sys::mount::map_ids(opened.as_fd(), user.as_fd(), ids.recursive).map_err(failed)?;
    }
    Ok(opened)
}

fn user_namespace(ids: &MountIds) -> Result<OwnedFd> {
    let failed = |errno: Errno| Error::system("make a user namespace for an id map", errno);
    let (ours, its) = sys::message::pair().map_err(failed)?;
    let runtime_end = std::os::fd::AsRawFd::as_raw_fd(&ours);
    let mask = sys::signal::block_all();
    let cloned = sys::process::clone3(CloneFlags::CLONE_NEWUSER, None, &mut || {
        sys::descriptors::close_inherited(runtime_end);
        // It stays until the runtime closes its end, and when that dies.
        let _ = sys::message::receive(its.as_fd());
        0
    });
    sys::signal::restore(&mask);
    let process = cloned.map_err(failed)?;
    let path = format!("/proc/{}/ns/user", process.pid);
    let opened = id_maps::write(process.pid, IdMap::Uid, &ids.uids, Mapper::Runtime)
        .and_then(|()| id_maps::write(process.pid, IdMap::Gid, &ids.gids, Mapper::Runtime))
        .and_then(|()| {
            File::open(&path).map_err(|error| Error::io(format!("open {path}"), &error))
        });
    // It may have ended by itself already.
    let _ = sys::process::pidfd_send_signal(process.pidfd.as_fd(), libc::SIGKILL);
    sys::process::wait4(process.pid, true).map_err(failed)?;
    opened.map(OwnedFd::from)
}
