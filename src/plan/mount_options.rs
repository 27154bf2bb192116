//! fstab-style mount options, as a table (runtime-spec, "Linux mount options").
//!
//! What isn't in the table goes to the filesystem as its own option, as with mount(8).

use nix::mount::MsFlags;

use super::op::{Attributes, Propagation, Settings};

/// What a list of options means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// Flags for mount(2) of a new filesystem.
    pub flags: MsFlags,
    /// What is set on the mount and the mounts below it: the same flags as attributes,
    /// the recursive forms (`rro`, `rnosuid` …), and how mounts propagate.
    pub settings: Settings,
    /// `Some(recursive)` for `bind` and `rbind`.
    pub bind: Option<bool>,
    /// Change what is mounted already.
    pub remount: bool,
    /// `Some(recursive)` for `idmap` and `ridmap`.
    pub id_map: Option<bool>,
    /// Copy what the mount hides into it (`tmpcopyup`).
    pub copy_up: bool,
    /// The filesystem's own options, joined by commas.
    pub data: String,
}

/// An option, its flag of mount(2), and its attribute of mount_setattr(2) if a single
/// mount can have it; the others belong to the whole filesystem.
type Row = (&'static str, MsFlags, Option<u64>);

/// linux/mount.h; the C library's headers lag behind.
const MS_NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(1 << 8);

const FLAGS: &[Row] = &[
    ("ro", MsFlags::MS_RDONLY, Some(libc::MOUNT_ATTR_RDONLY)),
    ("nosuid", MsFlags::MS_NOSUID, Some(libc::MOUNT_ATTR_NOSUID)),
    ("nodev", MsFlags::MS_NODEV, Some(libc::MOUNT_ATTR_NODEV)),
    ("noexec", MsFlags::MS_NOEXEC, Some(libc::MOUNT_ATTR_NOEXEC)),
    ("nosymfollow", MS_NOSYMFOLLOW, Some(libc::MOUNT_ATTR_NOSYMFOLLOW)),
    ("nodiratime", MsFlags::MS_NODIRATIME, Some(libc::MOUNT_ATTR_NODIRATIME)),
    ("noatime", MsFlags::MS_NOATIME, Some(libc::MOUNT_ATTR_NOATIME)),
    ("strictatime", MsFlags::MS_STRICTATIME, Some(libc::MOUNT_ATTR_STRICTATIME)),
    ("relatime", MsFlags::MS_RELATIME, Some(libc::MOUNT_ATTR_RELATIME)),
    ("sync", MsFlags::MS_SYNCHRONOUS, None),
    ("dirsync", MsFlags::MS_DIRSYNC, None),
    ("iversion", MsFlags::MS_I_VERSION, None),
    ("lazytime", MsFlags::MS_LAZYTIME, None),
    ("mand", MsFlags::MS_MANDLOCK, None),
    ("silent", MsFlags::MS_SILENT, None),
];

/// The opposite of a row in [`FLAGS`].
const OPPOSITES: &[(&str, &str)] = &[
    ("rw", "ro"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("exec", "noexec"),
    ("symfollow", "nosymfollow"),
    ("diratime", "nodiratime"),
    ("atime", "noatime"),
    ("nostrictatime", "strictatime"),
    ("norelatime", "relatime"),
    ("async", "sync"),
    ("noiversion", "iversion"),
    ("nolazytime", "lazytime"),
    ("nomand", "mand"),
    ("loud", "silent"),
];

const PROPAGATION: &[(&str, MsFlags)] = &[
    ("private", MsFlags::MS_PRIVATE),
    ("shared", MsFlags::MS_SHARED),
    ("slave", MsFlags::MS_SLAVE),
    ("unbindable", MsFlags::MS_UNBINDABLE),
];

impl Default for MountOptions {
    fn default() -> Self {
        MountOptions {
            flags: MsFlags::empty(),
            settings: Settings::default(),
            bind: None,
            remount: false,
            id_map: None,
            copy_up: false,
            data: String::new(),
        }
    }
}

impl MountOptions {
    /// Reads options in order; later ones win.
    pub fn parse<'a>(options: impl Iterator<Item = &'a str>) -> Self {
        let mut parsed = MountOptions::default();
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
            "remount" => return self.remount = true,
            "idmap" => return self.id_map = Some(false),
            "ridmap" => return self.id_map = Some(true),
            "tmpcopyup" => return self.copy_up = true,
            _ => {}
        }
        if let Some(propagation) = propagation(option) {
            return self.settings.propagation.push(propagation);
        }
        let recursive = option.strip_prefix('r').and_then(lookup);
        if let Some(((_, _, Some(attribute)), on)) = recursive {
            change(&mut self.settings.recursive, attribute, on);
        } else if let Some(((_, flag, attribute), on)) = lookup(option) {
            self.flags.set(flag, on);
            if let Some(attribute) = attribute {
                change(&mut self.settings.attributes, attribute, on);
            }
        } else {
            if !self.data.is_empty() {
                self.data.push(',');
            }
            self.data.push_str(option);
        }
    }
}

/// How mounts propagate, from its name with or without the `r` for recursive.
pub fn propagation(option: &str) -> Option<Propagation> {
    let find = |name: &str| PROPAGATION.iter().find(|row| row.0 == name).map(|row| row.1);
    let recursive = || option.strip_prefix('r').and_then(find);
    match find(option) {
        Some(kind) => Some(Propagation { kind, recursive: false }),
        None => recursive().map(|kind| Propagation { kind, recursive: true }),
    }
}

/// A row of the table, and whether the name switches it on.
fn lookup(name: &str) -> Option<(Row, bool)> {
    let find = |name: &str| FLAGS.iter().find(|row| row.0 == name).copied();
    let opposite = || OPPOSITES.iter().find(|row| row.0 == name).and_then(|row| find(row.1));
    find(name).map(|row| (row, true)).or_else(|| opposite().map(|row| (row, false)))
}

fn change(attributes: &mut Attributes, attribute: u64, on: bool) {
    // The access time is one field of several bits (0 is relatime), cleared whole.
    let field = match attribute {
        libc::MOUNT_ATTR_RELATIME | libc::MOUNT_ATTR_NOATIME | libc::MOUNT_ATTR_STRICTATIME => {
            libc::MOUNT_ATTR__ATIME
        }
        single => single,
    };
    attributes.set &= !field;
    attributes.clear |= field;
    if on {
        attributes.set |= attribute;
        if field != libc::MOUNT_ATTR__ATIME {
            attributes.clear &= !field;
        }
    }
}

/// The options' words for `flags`, in the table's order.
pub fn flag_words(flags: MsFlags) -> Vec<&'static str> {
    FLAGS.iter().filter(|row| flags.contains(row.1)).map(|row| row.0).collect()
}

/// Every option that is more than a word for the filesystem, sorted.
pub fn names() -> Vec<String> {
    let kinds = || PROPAGATION.iter().map(|row| row.0);
    let flags = || FLAGS.iter().map(|row| row.0).chain(OPPOSITES.iter().map(|row| row.0));
    let recurses = |name: &&str| lookup(name).is_some_and(|(row, _)| row.2.is_some());
    let recursive = flags().filter(recurses).chain(kinds()).map(|name| format!("r{name}"));
    let words = ["bind", "defaults", "idmap", "rbind", "remount", "ridmap", "tmpcopyup"];
    let plain = flags().chain(kinds()).chain(words).map(str::to_owned);
    let mut names: Vec<String> = plain.chain(recursive).collect();
    names.sort();
    names
}

/// The options' words for attributes: what is switched on, and what is switched off.
pub fn attribute_words(attributes: Attributes) -> Vec<String> {
    let Attributes { set, clear } = attributes;
    let is_time = |bit: u64| bit & libc::MOUNT_ATTR__ATIME != 0;
    let bits = || FLAGS.iter().filter_map(|row| Some((row.0, row.2.filter(|bit| *bit != 0)?)));
    let on = bits().filter(|(_, bit)| set & bit != 0).map(|(word, _)| word.to_owned());
    let off = bits().filter(|(_, bit)| clear & bit != 0 && !is_time(*bit));
    let mut words: Vec<_> = on.chain(off.map(|(word, _)| format!("not {word}"))).collect();
    if is_time(clear) && !is_time(set) {
        words.push("relatime".to_owned());
    }
    words
}

/// The word for a way of propagation.
pub fn propagation_word(propagation: Propagation) -> String {
    let found = PROPAGATION.iter().find(|row| row.1 == propagation.kind);
    let word = found.map_or("unknown", |row| row.0);
    if propagation.recursive { format!("r{word}") } else { word.to_owned() }
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
        assert_eq!(bind.settings.attributes.set, 0);
        assert_eq!(bind.settings.attributes.clear, libc::MOUNT_ATTR_RDONLY);
        assert_eq!(parse("rw,ro").settings.attributes.clear, 0);
    }

    #[test]
    fn recursive_forms_are_kept_apart() {
        let parsed = parse("rbind,rro,rprivate,noexec");
        assert_eq!(parsed.settings.recursive.set, libc::MOUNT_ATTR_RDONLY);
        assert_eq!(parsed.settings.attributes.set, libc::MOUNT_ATTR_NOEXEC);
        let rprivate = Propagation { kind: MsFlags::MS_PRIVATE, recursive: true };
        assert_eq!(parsed.settings.propagation, [rprivate]);
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
        assert_eq!(parse("rsync").data, "rsync", "only a mount's own attributes recurse");
    }

    #[test]
    fn every_option_of_the_specification_is_known() {
        let all = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand \
             noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime \
             nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime \
             remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime \
             rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime \
             rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow \
             sync tmpcopyup unbindable idmap ridmap";
        for option in all.split_whitespace() {
            assert_eq!(parse(option).data, "", "{option}");
            let listed = names().iter().any(|name| name == option);
            assert!(listed, "{option} is missing in the list for features");
        }
    }

    #[test]
    fn the_access_time_is_one_field() {
        let field = libc::MOUNT_ATTR__ATIME;
        for (options, set) in [
            ("noatime", libc::MOUNT_ATTR_NOATIME),
            ("noatime,strictatime", libc::MOUNT_ATTR_STRICTATIME),
            ("noatime,relatime", 0),
            ("noatime,atime", 0),
            ("nostrictatime", 0),
        ] {
            let attributes = parse(options).settings.attributes;
            assert_eq!(attributes, Attributes { set, clear: field }, "{options}");
        }
        let days = parse("nodiratime").settings.attributes;
        assert_eq!(days, Attributes { set: libc::MOUNT_ATTR_NODIRATIME, clear: 0 });
    }

    #[test]
    fn any_option_is_a_word_of_the_table_or_the_filesystems() {
        let words = names();
        crate::chance::fuzz(20_000, |_, chance| {
            let count = chance.below(6);
            let option = |_| match chance.below(3) {
                0 => chance.text(&["mode=755", "size", "r", "no", "atime", "ro", "context="]),
                _ => chance.one(&words).clone(),
            };
            let options: Vec<String> = (0..=count).map(option).collect();
            let parsed = MountOptions::parse(options.iter().map(String::as_str));
            let is_foreign = |option: &&String| !option.is_empty() && !words.contains(option);
            let foreign: Vec<&str> =
                options.iter().filter(is_foreign).map(|o| o.as_str()).collect();
            assert_eq!(parsed.data, foreign.join(","), "{options:?}");
            for Attributes { set, clear } in [parsed.settings.attributes, parsed.settings.recursive]
            {
                let both = set & clear & !libc::MOUNT_ATTR__ATIME;
                assert_eq!(both, 0, "{options:?} sets and clears {both:#x}");
            }
            // What was read is written in words that are read as the same.
            let written = flag_words(parsed.flags);
            let again = MountOptions::parse(written.iter().copied());
            assert_eq!(again.flags, parsed.flags, "{options:?}");
        });
    }
}
