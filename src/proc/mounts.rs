//! /proc/PID/mountinfo (proc_pid_mountinfo(5)).

use std::path::{Path, PathBuf};

/// The mounts that a process sees.
#[derive(Debug, Default)]
pub(crate) struct Mounts(pub(crate) Vec<Mount>);

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mount {
    pub(crate) id: String,
    /// `major:minor` of the filesystem.
    pub(crate) device: String,
    /// Which directory of the filesystem is mounted.
    pub(crate) root: PathBuf,
    pub(crate) point: PathBuf,
    pub(crate) readonly: bool,
    pub(crate) kind: String,
    /// What the filesystem calls its source.
    pub(crate) source: String,
    /// Those of the mount, as in mount(8).
    pub(crate) options: String,
}

impl Mounts {
    pub(crate) fn parse(text: &str) -> Mounts {
        let mount = |line: &str| {
            let (before, after) = line.split_once(" - ")?;
            let fields: Vec<&str> = before.split(' ').collect();
            let [id, _, device, root, point, options, ..] = fields.as_slice() else { return None };
            let mut after = after.split(' ');
            let (kind, source) = (after.next()?, after.next().unwrap_or_default());
            let readonly = |options: &str| options.split(',').any(|option| option == "ro");
            Some(Mount {
                id: (*id).to_owned(),
                device: (*device).to_owned(),
                root: unescaped(root).into(),
                point: unescaped(point).into(),
                readonly: readonly(options) || after.next().is_some_and(readonly),
                kind: kind.to_owned(),
                source: unescaped(source),
                options: (*options).to_owned(),
            })
        };
        Mounts(text.lines().filter_map(mount).collect())
    }

    /// The mount that a path is in; the last one at a place is on top.
    pub(crate) fn covering(&self, path: &Path) -> Option<&Mount> {
        let around = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        around.max_by_key(|mount| mount.point.components().count())
    }

    /// Where what another process's mount shows is among these, if its filesystem is mounted
    /// here too.
    pub(crate) fn place_of(&self, mount: &Mount) -> Option<PathBuf> {
        let is_same =
            |own: &&Mount| own.device == mount.device && mount.root.starts_with(&own.root);
        // The most special place says most.
        let own = self.0.iter().filter(is_same).max_by_key(|own| own.root.components().count())?;
        let below = mount.root.strip_prefix(&own.root).ok()?;
        Some(if below == Path::new("") { own.point.clone() } else { own.point.join(below) })
    }
}

/// mountinfo has spaces and the like as `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                path.push(code.into());
                path.push_str(&part[3..]);
            }
            None => path.extend(["\\", part]),
        }
    }
    path
}
