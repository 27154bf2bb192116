//! The words of the mount and device operations.

use std::ffi::CStr;
use std::fmt;

use nix::mount::MsFlags;

use super::mount_options::{attribute_words, flag_words, propagation_word};
use super::op::{
    Bind, Device, DeviceKind, DeviceSource, NewMount, OpenTree, Remount, Settings, TakesOver,
};
use super::words::{range_words, text};

impl fmt::Display for NewMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let takes_over = match self.takes_over {
            TakesOver::Content => " with what it hides copied into it",
            TakesOver::Nothing | TakesOver::Mode => "",
        };
        write!(f, "mount {} on {}{takes_over}", text(&self.fstype), text(&self.target))?;
        write_options(f, self.flags, &self.data, &self.settings)
    }
}

impl NewMount {
    pub(super) fn purpose(&self) -> &'static str {
        match self.fstype.to_bytes() {
            b"proc" => "a fresh /proc that knows only the processes of the new pid namespace",
            b"sysfs" => "the network devices in it are those of the new network namespace",
            b"devpts" => "terminals of its own, numbered from 0",
            b"mqueue" => "POSIX message queues of the new IPC namespace",
            b"cgroup" | b"cgroup2" => "the container sees its own cgroups",
            _ => "memory that nobody else sees, gone with the container",
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bind {} on {}", text(&self.source), text(&self.target))?;
        write_options(f, MsFlags::empty(), c"", &self.settings)
    }
}

impl fmt::Display for OpenTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_rootfs { "the root filesystem " } else { "" };
        write!(f, "open {what}{} for the container", text(&self.source))?;
        let Some(ids) = &self.ids else {
            return Ok(());
        };
        let (uids, gids) = (range_words(&ids.uids), range_words(&ids.gids));
        write!(f, " with mapped ids (uids: {uids}; gids: {gids})")
    }
}

impl fmt::Display for Remount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remount {}", text(&self.target))?;
        match &self.filesystem {
            Some((flags, data)) => write_options(f, *flags, data, &self.settings),
            None => write_options(f, MsFlags::empty(), c"", &self.settings),
        }
    }
}

fn write_options(
    f: &mut fmt::Formatter<'_>,
    flags: MsFlags,
    data: &CStr,
    settings: &Settings,
) -> fmt::Result {
    let mut words: Vec<String> = flag_words(flags).into_iter().map(str::to_owned).collect();
    words.extend(Some(text(data)).filter(|data| !data.is_empty()));
    words.extend(setting_words(settings));
    if words.is_empty() { Ok(()) } else { write!(f, " ({})", words.join(",")) }
}

fn setting_words(settings: &Settings) -> Vec<String> {
    let below = attribute_words(settings.recursive).into_iter();
    attribute_words(settings.attributes)
        .into_iter()
        .chain(below.map(|word| format!("{word} below too")))
        .chain(settings.propagation.iter().copied().map(propagation_word))
        .collect()
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, mode) = (text(&self.path), self.mode);
        let number = format!("{}:{}", self.major, self.minor);
        let kind = match self.kind {
            DeviceKind::Character => format!("character {number}"),
            DeviceKind::Block => format!("block {number}"),
            DeviceKind::Fifo => "fifo".to_owned(),
        };
        match self.from {
            DeviceSource::Host => return write!(f, "bind the host's device {path} ({kind})"),
            DeviceSource::New => write!(f, "make device {path} ({kind}, mode {mode:04o}")?,
        }
        match (self.uid, self.gid) {
            (0, 0) => f.write_str(")"),
            (uid, gid) => write!(f, ", owner {uid}:{gid})"),
        }
    }
}
