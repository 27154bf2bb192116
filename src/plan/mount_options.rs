//! fstab-style mount options, as a table.
//!
//! What isn't in the table goes to the filesystem as its own option, as with
//! mount(8) and the runtime-spec ("Linux mount options").

use nix::mount::MsFlags;

use super::op::Attributes;

/// What a list of options means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// Flags for mount(2) of a new filesystem.
    pub flags: MsFlags,
    /// The same as attributes, for bind mounts.
    pub attributes: Attributes,
    /// Attributes for the whole tree (`rro`, `rnosuid` …).
    pub recursive: Attributes,
    /// `Some(recursive)` for `bind` and `rbind`.
    pub bind: Option<bool>,
    /// A propagation flag (`MS_PRIVATE` …), or 0.
    pub propagation: u64,
    /// The filesystem's own options, joined by commas.
    pub data: String,
}

const FLAGS: &[(&str, MsFlags, u64)] = &[
    ("ro", MsFlags::MS_RDONLY, libc::MOUNT_ATTR_RDONLY),
    ("nosuid", MsFlags::MS_NOSUID, libc::MOUNT_ATTR_NOSUID),
    ("nodev", MsFlags::MS_NODEV, libc::MOUNT_ATTR_NODEV),
    ("noexec", MsFlags::MS_NOEXEC, libc::MOUNT_ATTR_NOEXEC),
    ("nodiratime", MsFlags::MS_NODIRATIME, libc::MOUNT_ATTR_NODIRATIME),
    ("noatime", MsFlags::MS_NOATIME, libc::MOUNT_ATTR_NOATIME),
    ("strictatime", MsFlags::MS_STRICTATIME, libc::MOUNT_ATTR_STRICTATIME),
    ("relatime", MsFlags::MS_RELATIME, libc::MOUNT_ATTR_RELATIME),
    ("sync", MsFlags::MS_SYNCHRONOUS, 0),
    ("dirsync", MsFlags::MS_DIRSYNC, 0),
];

/// The opposite of a row in [`FLAGS`].
const OPPOSITES: &[(&str, &str)] = &[
    ("rw", "ro"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("exec", "noexec"),
    ("diratime", "nodiratime"),
    ("atime", "noatime"),
    ("async", "sync"),
];

const PROPAGATION: &[(&str, MsFlags)] = &[
    ("private", MsFlags::MS_PRIVATE),
    ("shared", MsFlags::MS_SHARED),
    ("slave", MsFlags::MS_SLAVE),
    ("unbindable", MsFlags::MS_UNBINDABLE),
];

impl MountOptions {
    /// Reads options in order; later ones win.
    pub fn parse<'a>(options: impl Iterator<Item = &'a str>) -> Self {
        let mut parsed = MountOptions {
            flags: MsFlags::empty(),
            attributes: Attributes::default(),
            recursive: Attributes::default(),
            bind: None,
            propagation: 0,
            data: String::new(),
        };
        for option in options {
            parsed.add(option);
        }
        parsed
    }

    fn add(&mut self, option: &str) {
        match option {
            "" | "defaults" => return,
            "bind" => return self.bind = Some(false),
            "rbind" => return self.bind = Some(true),
            _ => {}
        }
        let (plain, recursive) = match option.strip_prefix('r') {
            Some(rest) if is_known(rest) => (rest, true),
            _ => (option, false),
        };
        let attributes = if recursive { &mut self.recursive } else { &mut self.attributes };
        if let Some((_, flag)) = PROPAGATION.iter().find(|(name, _)| *name == plain) {
            // Binds are attached whole, so the recursive forms say the same here.
            self.propagation = flag.bits();
        } else if let Some((flag, bit)) = lookup(plain) {
            self.flags |= flag;
            attributes.set |= bit;
            attributes.clear &= !bit;
            attributes.clear |= access_time_mask(flag);
        } else if let Some((flag, bit)) = opposite(plain) {
            self.flags &= !flag;
            attributes.set &= !bit;
            attributes.clear |= bit | access_time_mask(flag);
        } else {
            if !self.data.is_empty() {
                self.data.push(',');
            }
            self.data.push_str(option);
        }
    }
}

fn lookup(name: &str) -> Option<(MsFlags, u64)> {
    FLAGS.iter().find(|row| row.0 == name).map(|row| (row.1, row.2))
}

fn opposite(name: &str) -> Option<(MsFlags, u64)> {
    OPPOSITES.iter().find(|row| row.0 == name).and_then(|row| lookup(row.1))
}

/// The access-time attributes are one field: mount_setattr(2) wants it cleared whole.
fn access_time_mask(flag: MsFlags) -> u64 {
    let field = MsFlags::MS_NOATIME | MsFlags::MS_STRICTATIME | MsFlags::MS_RELATIME;
    if field.contains(flag) { libc::MOUNT_ATTR__ATIME } else { 0 }
}

fn is_known(name: &str) -> bool {
    lookup(name).is_some()
        || opposite(name).is_some()
        || PROPAGATION.iter().any(|row| row.0 == name)
}

/// The options' words for `flags`, in the table's order.
pub fn flag_words(flags: MsFlags) -> Vec<&'static str> {
    FLAGS.iter().filter(|row| flags.contains(row.1)).map(|row| row.0).collect()
}

/// Every option that is more than a word for the filesystem, sorted.
pub fn names() -> Vec<String> {
    let flags = FLAGS.iter().map(|row| row.0).chain(OPPOSITES.iter().map(|row| row.0));
    let recursive = flags
        .clone()
        .filter(|name| lookup(name).or_else(|| opposite(name)).is_some_and(|row| row.1 != 0))
        .chain(PROPAGATION.iter().map(|row| row.0))
        .map(|name| format!("r{name}"));
    let plain = flags.chain(PROPAGATION.iter().map(|row| row.0)).chain(["bind", "defaults"]);
    let mut names: Vec<String> =
        plain.map(str::to_owned).chain(recursive).chain(["rbind".to_owned()]).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> MountOptions {
        MountOptions::parse(text.split(','))
    }

    #[test]
    fn flags_and_filesystem_options_part() {
        let parsed = parse("nosuid,strictatime,mode=755,size=65536k");
        assert_eq!(parsed.flags, MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME);
        assert_eq!(parsed.data, "mode=755,size=65536k");
    }

    #[test]
    fn later_options_win() {
        assert_eq!(parse("ro,rw").flags, MsFlags::empty());
        let bind = parse("rbind,ro,rw");
        assert_eq!(bind.bind, Some(true));
        assert_eq!(bind.attributes.set, 0);
        assert_eq!(bind.attributes.clear, libc::MOUNT_ATTR_RDONLY);
    }

    #[test]
    fn recursive_forms_are_kept_apart() {
        let parsed = parse("rbind,rro,rprivate,noexec");
        assert_eq!(parsed.recursive.set, libc::MOUNT_ATTR_RDONLY);
        assert_eq!(parsed.attributes.set, libc::MOUNT_ATTR_NOEXEC);
        assert_eq!(parsed.propagation, MsFlags::MS_PRIVATE.bits());
        assert!(parsed.data.is_empty());
    }

    #[test]
    fn names_are_exactly_what_is_not_left_to_the_filesystem() {
        let names = names();
        assert!(names.iter().all(|name| parse(name).data.is_empty()));
        for name in ["ro", "rro", "rw", "rbind", "rprivate", "nosuid", "norelatime"] {
            let is_known = parse(name).data.is_empty();
            assert_eq!(names.iter().any(|known| known == name), is_known, "{name}");
        }
    }

    #[test]
    fn words_that_begin_with_r_are_not_all_recursive() {
        assert_eq!(parse("relatime").flags, MsFlags::MS_RELATIME);
        assert_eq!(parse("redirect_dir=on").data, "redirect_dir=on");
    }
}
