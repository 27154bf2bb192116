//! What else there is on the host: mounts, containers.

use std::fs::{self, File};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::Pid;

use crate::Result;
use crate::contenders::{Contender, Place};
use crate::site::Site;
use crate::work::{end, start_pausing};

const MOUNTS: usize = 1000;

/// A second mount namespace with many mounts, which no process is in when this is dropped.
pub struct Mounts {
    few: File,
    many: File,
}

impl Mounts {
    /// Makes it; this process stays where it was.
    ///
    /// # Errors
    /// When one of the mounts can't be made.
    pub fn make(site: &Site) -> Result<Self> {
        let own = || File::open("/proc/self/ns/mnt");
        let none = None::<&str>;
        let dir = site.mounts();
        let few = own()?;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        for number in 0..MOUNTS {
            let target = dir.join(number.to_string());
            fs::create_dir_all(&target)?;
            mount(Some(&target), &target, none, MsFlags::MS_BIND, none)?;
        }
        let mounts = Mounts { few, many: own()? };
        mounts.enter(Place::Empty)?;
        Ok(mounts)
    }

    /// # Errors
    /// When this process has several threads.
    pub fn enter(&self, place: Place) -> nix::Result<()> {
        let namespace = if place == Place::Mounts { &self.many } else { &self.few };
        setns(namespace, CloneFlags::CLONE_NEWNS)
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        let _ = self.enter(Place::Empty);
    }
}

/// Containers that pause until this is dropped.
#[derive(Default)]
pub struct Containers(Vec<Pid>);

impl Containers {
    /// # Errors
    /// When one of them doesn't start; the others are ended.
    pub fn start(site: &Site, contender: &Contender, count: usize) -> Result<Self> {
        let mut all = Containers::default();
        for number in 0..count {
            all.add(start_pausing(site, contender, &format!("bench-crowd-{number}"))?);
        }
        Ok(all)
    }

    pub fn add(&mut self, pid: Pid) {
        self.0.push(pid);
    }

    /// Ends them, and has their runtimes forget them.
    pub fn end(mut self, site: &Site) {
        self.0.drain(..).for_each(end);
        site.delete_containers();
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        self.0.drain(..).for_each(end);
    }
}
