//! Namespaces, id maps and the names in them.

use std::ffi::CString;

use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};

use super::cgroup::Cgroup;
use super::op::{IdMap, IdRange, Mapper, Op};
use super::{Options, Side, Steps, clocks};
use crate::error::Result;
use crate::host::Host;

/// `CLONE_NEWTIME` of linux/sched.h, which nix lacks. clone3 takes it; in clone(2) the bit
/// belongs to the exit signal.
pub(crate) const NEWTIME: CloneFlags = CloneFlags::from_bits_retain(0x80);

/// How many lines an id map can have.
const MOST_RANGES: usize = 340;

/// Which namespaces are new, which are joined, and the id maps of the user namespace.
pub(super) struct Layout {
    pub(super) new: CloneFlags,
    /// Existing ones: which, where, and their config.json path.
    joined: Vec<(CloneFlags, CString, String)>,
    pub(super) uids: Vec<IdRange>,
    pub(super) gids: Vec<IdRange>,
    /// Whether the mount namespace is made from the kernel's own (`kernel_mounts.rs`).
    pub(super) from_kernel: bool,
}

impl Layout {
    /// Reads `linux.namespaces` and the id mappings, and checks that they fit together.
    pub(super) fn new(spec: &Spec, steps: &Steps) -> Result<Self> {
        let linux = spec.linux().as_ref();
        let mut new = CloneFlags::empty();
        let mut joined: Vec<(CloneFlags, CString, String)> = Vec::new();
        let namespaces = linux.and_then(|linux| linux.namespaces().as_ref());
        for (index, namespace) in namespaces.into_iter().flatten().enumerate() {
            let place = format_args!("linux.namespaces[{index}]");
            let flag = flag(namespace.typ());
            if new.contains(flag) || joined.iter().any(|(other, ..)| *other == flag) {
                let reason = format!("a second {} namespace is asked for", namespace.typ());
                return Err(steps.error(&place.to_string(), "choose namespaces", reason));
            }
            match namespace.path() {
                None => new |= flag,
                Some(path) => {
                    let place = format!("{place}.path");
                    let path = steps.c_string(&place, path.as_os_str().as_encoded_bytes())?;
                    if path.as_bytes().first() != Some(&b'/') {
                        let reason = "the path of a namespace must be absolute";
                        return Err(steps.error(&place, "join a namespace", reason));
                    }
                    joined.push((flag, path, place));
                }
            }
        }
        let ranges = |mappings: &Option<Vec<LinuxIdMapping>>| -> Vec<IdRange> {
            mappings.iter().flatten().map(range).collect()
        };
        let uids = linux.map_or_else(Vec::new, |linux| ranges(linux.uid_mappings()));
        let gids = linux.map_or_else(Vec::new, |linux| ranges(linux.gid_mappings()));
        let layout = Layout { new, joined, uids, gids, from_kernel: false };
        for (ranges, path) in
            [(&layout.uids, "linux.uidMappings"), (&layout.gids, "linux.gidMappings")]
        {
            if layout.new.contains(CloneFlags::CLONE_NEWUSER) && ranges.is_empty() {
                let reason = "a user namespace needs at least one mapping";
                return Err(steps.error(path, "map ids", reason));
            }
            if !layout.has_user() && !ranges.is_empty() {
                let reason = "there is no user namespace to map them in";
                return Err(steps.error(path, "map ids", reason));
            }
            check_ranges(steps, ranges, path)?;
        }
        Ok(layout)
    }

    /// Whether the container is in a namespace of its own or another container's, not
    /// in the runtime's.
    pub(super) fn has(&self, flag: CloneFlags) -> bool {
        self.new.contains(flag) || self.joined.iter().any(|(joined, ..)| *joined == flag)
    }

    /// Whether it joins namespaces that exist.
    pub(super) fn joins(&self) -> bool {
        !self.joined.is_empty()
    }

    /// Whether it is in a user namespace other than the runtime's.
    pub(super) fn has_user(&self) -> bool {
        self.has(CloneFlags::CLONE_NEWUSER)
    }

    /// The cgroup namespace takes the cgroup of its maker for its root, so one that
    /// should be rooted at a cgroup joined later must be made later. With nsdelegate,
    /// systemd's way to mount cgroup v2, one that exists lets nobody into other cgroups.
    fn late(&self, cgroup: &Cgroup) -> CloneFlags {
        if cgroup.exists() { CloneFlags::CLONE_NEWCGROUP } else { CloneFlags::empty() }
    }

    /// The namespaces that the runtime makes beside, for the container to join: that of the
    /// network takes longer than all others together. But a user namespace would have to own
    /// it, and devices can be moved only into one that is there.
    pub(super) fn beside(&self, spec: &Spec, options: &Options) -> CloneFlags {
        let devices = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
        let has_devices = devices.is_some_and(|devices| !devices.is_empty());
        match options.oci && !self.has_user() && !self.joins() && !has_devices {
            true => self.new & CloneFlags::CLONE_NEWNET,
            false => CloneFlags::empty(),
        }
    }

    /// One clone3 by the runtime, or by a process that has joined namespaces before.
    pub(super) fn clone(
        &self,
        steps: &mut Steps,
        spec: &Spec,
        beside: CloneFlags,
        host: &Host,
        cgroup: &Cgroup,
    ) -> Result<()> {
        let mut namespaces = self.new - self.late(cgroup) - beside;
        if self.from_kernel {
            steps.runtime(Op::OpenKernelMounts, "linux.namespaces");
            namespaces -= CloneFlags::CLONE_NEWNS;
        }
        if !clocks::offsets(steps, spec)?.is_empty() {
            namespaces = namespaces.difference(NEWTIME);
        }
        let clone = Op::Clone { namespaces, cgroup: cgroup.born_in() };
        if self.joined.is_empty() {
            steps.runtime(clone, "linux.namespaces");
            return Ok(());
        }
        for (namespace, path, place) in &self.joined {
            steps.runtime(Op::OpenNamespace { namespace: *namespace, path: path.clone() }, place);
        }
        steps.runtime(Op::Intermediate, "linux.namespaces");
        // Who is in a pid namespace already could look into a process that comes into it with
        // the host's files and rights still (CVE-2016-9962).
        let joins = |flag| self.joined.iter().any(|(joined, ..)| *joined == flag);
        let shares_pids = joins(CloneFlags::CLONE_NEWPID)
            || (host.is_real_root() && !self.new.contains(CloneFlags::CLONE_NEWPID));
        if shares_pids {
            steps.push(Side::Intermediate, Op::Undumpable, "", &[]);
        }
        // Root of the host has every right over all of them, and none over the host's once
        // it is in a user namespace; for an ordinary user it is the reverse.
        let is_user = |flag: CloneFlags| flag == CloneFlags::CLONE_NEWUSER;
        let late = self.late(cgroup);
        let mut joined: Vec<_> = self.joined.iter().filter(|(flag, ..)| *flag != late).collect();
        joined.sort_by_key(|(flag, ..)| is_user(*flag) == host.is_real_root());
        for (namespace, _, place) in joined {
            steps.push(Side::Intermediate, Op::JoinNamespace { namespace: *namespace }, place, &[]);
        }
        steps.push(Side::Intermediate, clone, "linux.namespaces", &[]);
        Ok(())
    }

    /// An ordinary user's own single id is mapped from inside, which needs no message;
    /// everything else must be written by somebody with more rights outside.
    pub(super) fn map_ids(&self, steps: &mut Steps, host: &Host) -> Result<()> {
        if !self.new.contains(CloneFlags::CLONE_NEWUSER) {
            return Ok(());
        }
        let maps = [
            (IdMap::Uid, &self.uids, host.uid, "linux.uidMappings"),
            (IdMap::Gid, &self.gids, host.gid, "linux.gidMappings"),
        ];
        let own_only = maps.iter().all(|(_, ranges, own, _)| {
            matches!(ranges[..], [IdRange { host, size: 1, .. }] if host == *own)
        });
        for (map, ranges, _, path) in maps {
            let op = match (own_only, ranges.first()) {
                (true, Some(range)) => {
                    let line = format!("{} {} 1", range.container, range.host);
                    steps.container(Op::MapOwnId { map, line }, path);
                    continue;
                }
                _ if host.uid == 0 => Mapper::Runtime,
                _ => Mapper::Tool,
            };
            steps.runtime(Op::MapIds { map, ranges: ranges.clone(), by: op }, path);
        }
        Ok(())
    }

    /// Root of the host that has no id inside can make no file there (EOVERFLOW), so it
    /// becomes root of the user namespace; the namespace's capabilities stay.
    pub(super) fn become_root(&self, steps: &mut Steps, host: &Host) {
        let is_new = self.new.contains(CloneFlags::CLONE_NEWUSER);
        let maps = |range: &IdRange, id: u32| {
            id.checked_sub(range.host).is_some_and(|offset| offset < range.size)
        };
        let has_ids = is_new
            && self.uids.iter().any(|range| maps(range, host.uid))
            && self.gids.iter().any(|range| maps(range, host.gid));
        if self.has_user() && host.uid == 0 && !has_ids {
            steps.container(Op::SetGid { gid: 0 }, "linux.gidMappings");
            steps.container(Op::SetUid { uid: 0 }, "linux.uidMappings");
        }
    }

    /// Whether setgroups(2) works inside: an ordinary user who maps their own gid
    /// has to give it up first (user_namespaces(7)).
    pub(super) fn can_set_groups(&self, host: &Host) -> bool {
        if !self.has_user() {
            return host.can_set_groups;
        }
        // Who made a namespace that is joined has mapped it already.
        let is_new = self.new.contains(CloneFlags::CLONE_NEWUSER);
        !is_new || self.gids.iter().map(|range| range.size as u64).sum::<u64>() > 1
    }

    /// The namespace that is rooted at the cgroup that was joined last.
    pub(super) fn enter_cgroup(&self, steps: &mut Steps, cgroup: &Cgroup) {
        let late = self.late(cgroup);
        if self.new.intersects(late) {
            steps.container(Op::Unshare { namespaces: late }, "linux.namespaces");
        }
        if let Some((namespace, _, place)) = self.joined.iter().find(|(flag, ..)| *flag == late) {
            steps.container(Op::JoinNamespace { namespace: *namespace }, place);
        }
    }

    pub(super) fn enter(&self, steps: &mut Steps, beside: CloneFlags) {
        if (self.new - beside).contains(CloneFlags::CLONE_NEWNET) {
            steps.container(Op::LoopbackUp, "linux.namespaces");
        }
    }

    pub(super) fn names(&self, steps: &mut Steps, spec: &Spec, options: &Options) -> Result<()> {
        // An engine that writes an empty name means none.
        let none = |name: &&String| name.is_empty() && options.oci;
        let Some(name) = spec.hostname().as_ref().filter(|name| !none(name)) else {
            return Ok(());
        };
        if !self.has(CloneFlags::CLONE_NEWUTS) {
            let reason = "without a uts namespace it would change the host's";
            return Err(steps.error("hostname", "set hostname", reason));
        }
        if name.is_empty() || name.len() > 64 || name.contains(|c: char| c.is_control()) {
            let reason = "a host name has 1 to 64 bytes and no control characters";
            return Err(steps.error("hostname", "set hostname", reason));
        }
        steps.container(Op::Hostname { name: name.clone() }, "hostname");
        Ok(())
    }
}

/// What the kernel would refuse with a bare EINVAL (user_namespaces(7)).
pub(super) fn check_ranges(steps: &Steps, ranges: &[IdRange], path: &str) -> Result<()> {
    if ranges.len() > MOST_RANGES {
        let reason = format!("{} mappings are more than the {MOST_RANGES} allowed", ranges.len());
        return Err(steps.error(path, "map ids", reason));
    }
    for (index, range) in ranges.iter().enumerate() {
        let refuse =
            |reason: &str| Err(steps.error(&format!("{path}[{index}]"), "map ids", reason));
        let last = |first: u32| first.checked_add(range.size - 1).filter(|id| *id < u32::MAX);
        if range.size == 0 {
            return refuse("its size is 0");
        }
        if last(range.container).is_none() || last(range.host).is_none() {
            return refuse("it goes beyond the highest id, 4294967294");
        }
        let meets = |first: u32, other: u32, size: u32| {
            first <= other + (size - 1) && other <= first + (range.size - 1)
        };
        if ranges[..index].iter().any(|before| {
            meets(range.container, before.container, before.size)
                || meets(range.host, before.host, before.size)
        }) {
            return refuse("it overlaps with one before it");
        }
    }
    Ok(())
}

fn flag(kind: LinuxNamespaceType) -> CloneFlags {
    // The crate's discriminants are the kernel's flags.
    CloneFlags::from_bits_retain(kind as i32)
}

pub(super) fn range(mapping: &LinuxIdMapping) -> IdRange {
    IdRange { container: mapping.container_id(), host: mapping.host_id(), size: mapping.size() }
}
