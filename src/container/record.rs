//! What is written down about a container while it is created, in one file: a line with its
//! record; a line `PID STARTTIME` with its first process; its config.json as it was; and
//! [`CREATED`]. After that there is only [`IN_LATER_CGROUP`] to come.
//!
//! Each of these is written when it is known. What a creator leaves half-written that is
//! killed, isn't there for a reader: a line ends with its line break, and no JSON as
//! [`CREATED`] does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::Hooks;
use serde::{Deserialize, Serialize};

use super::process::{InitProcess, Present};
use crate::cgroup::{Dir, Tree};
use crate::error::Result;
use crate::oci::annotations;
use crate::systemd::Unit;

/// Says that everything has been made.
pub(crate) const CREATED: &[u8] = b"\ncreated\n";

/// Says that the container may be in cgroups that the record has for later.
pub(crate) const IN_LATER_CGROUP: &[u8] = b"in later cgroup\n";

/// The first line. Written before anything is made that would have to be removed, so that
/// all of it can be found again whenever the creator is killed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) oci_version: String,
    pub(crate) id: String,
    /// The container's first process; `None` before it has been cloned.
    #[serde(skip)]
    pub(crate) init: Option<InitProcess>,
    /// Whether everything has been made, and the container waits for `start`, or ran.
    #[serde(skip)]
    pub(crate) is_created: bool,
    /// An absolute path.
    pub(crate) bundle: PathBuf,
    /// An absolute path.
    pub(crate) rootfs: PathBuf,
    /// RFC 3339.
    pub(crate) created: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// Directories of cgroups, made for this container or to be made.
    pub(crate) cgroup: Vec<Dir>,
    /// Directories that `update` and `pause` may add to them, and for this container alone.
    /// Those which they have added when this is read are among `cgroup` too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) later_cgroup: Vec<Dir>,
    /// The unit of systemd that the cgroup belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<Unit>,
    /// Whether it was left in its creator's session keyring.
    #[serde(default)]
    pub(crate) no_new_keyring: bool,
    /// Whether the container's processes end with its first one.
    pub(crate) has_own_pid_namespace: bool,
    /// poststart and poststop, for verbs that don't read config.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hooks: Option<Hooks>,
}

impl Record {
    /// Whether the first process is minirun's init, which executes nothing itself.
    pub(crate) fn has_init(&self) -> bool {
        self.annotations.get(annotations::INIT).is_some_and(|value| value == "true")
    }

    /// The container's first process, unless it has ended.
    ///
    /// # Errors
    /// As [`InitProcess::find`].
    pub(crate) fn running(&self) -> Result<Option<Present>> {
        self.init.as_ref().map_or(Ok(None), InitProcess::running)
    }

    /// Looks which cgroups `update` and `pause` have added; they hold the container's lock then.
    pub(super) fn notice_later_cgroup(&mut self) {
        let is_new = |dir: &&Dir| !self.cgroup.contains(dir) && dir.path.exists();
        let new: Vec<Dir> = self.later_cgroup.iter().filter(is_new).cloned().collect();
        self.cgroup.extend(new);
    }

    pub(crate) fn tree(&self) -> Tree<'_> {
        Tree::new(&self.cgroup)
    }

    /// What a container's file says, and what there is of its config.json; `None` when not
    /// even the first line has been written.
    pub(crate) fn parse(text: &[u8]) -> Option<serde_json::Result<(Record, &[u8])>> {
        let (line, rest) = split_line(text)?;
        let rest = rest.strip_suffix(IN_LATER_CGROUP).unwrap_or(rest);
        let (rest, is_created) = match rest.strip_suffix(CREATED) {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (init, config) = split_line(rest).unwrap_or_default();
        let init = std::str::from_utf8(init).ok().and_then(|text| text.parse().ok());
        let record = serde_json::from_slice::<Record>(line);
        Some(record.map(|record| (Record { init, is_created, ..record }, config)))
    }

    pub(crate) fn to_line(&self) -> Vec<u8> {
        // Only a map whose keys aren't strings could fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    #[cfg(test)]
    pub(crate) fn example(id: &str) -> Record {
        Record {
            oci_version: "1.3.0".to_owned(),
            id: id.to_owned(),
            init: None,
            is_created: false,
            bundle: "/bundle".into(),
            rootfs: "/bundle/rootfs".into(),
            created: "2026-01-01T00:00:00.000000001Z".to_owned(),
            annotations: BTreeMap::from([("key".to_owned(), "value".to_owned())]),
            cgroup: Vec::new(),
            later_cgroup: Vec::new(),
            unit: None,
            no_new_keyring: false,
            has_own_pid_namespace: true,
            hooks: None,
        }
    }
}

/// `None` when the line has no end.
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_half_written_is_not_there() {
        let init = InitProcess { pid: 123, start_time: 456 };
        let config = b"{\n\"ociVersion\": \"1.2.0\"\n}\n";
        let mut text = Record::example("one").to_line();
        let record = text.len();
        text.extend(format!("{init}\n").bytes());
        let noted = text.len();
        text.extend(config);
        text.extend(CREATED);
        let created = text.len();
        text.extend(IN_LATER_CGROUP);
        for length in 0..=text.len() {
            if created < length && length < text.len() {
                continue;
            }
            let Some(parsed) = Record::parse(&text[..length]) else {
                assert!(length < record);
                continue;
            };
            let (found, rest) = parsed.unwrap();
            assert!(length >= record);
            assert_eq!(found.init, (length >= noted).then_some(init));
            assert_eq!(found.is_created, length >= created);
            assert_eq!(Record { init: None, is_created: false, ..found }, Record::example("one"));
            if length >= created {
                assert_eq!(rest, config);
            }
        }
    }

    #[test]
    fn any_state_is_a_record_or_refused() {
        let mut example = Record::example("fuzz");
        example.cgroup = vec![Dir { controllers: "memory".to_owned(), path: "/c".into() }];
        let mut example = example.to_line();
        example.extend(b"7 9\n{}");
        example.extend(CREATED);
        let pieces = ["null", "true", "\"", "[", "]", "{", "}", "\"id\":", "-1", "1e999"];
        let mut records = 0;
        let count = crate::chance::fuzz(20_000, |_, chance| {
            let mut text = example.clone();
            for _ in 0..=chance.below(2) {
                let from = chance.below(text.len());
                let to = (from + chance.below(3)).min(text.len());
                match chance.below(3) {
                    0 => drop(text.splice(from..to, chance.text(&pieces).into_bytes())),
                    1 => text.truncate(from),
                    _ => text[from] ^= 1 << chance.below(8),
                }
                text.push(b' ');
            }
            if let Some(Ok((record, _))) = Record::parse(&text) {
                if let Some(init) = record.init {
                    assert_eq!(init.to_string().parse(), Ok(init));
                }
                let line = Record { init: None, is_created: false, ..record }.to_line();
                let (again, _) = Record::parse(&line).expect("a line").expect("JSON");
                assert_eq!(again.to_line(), line);
                records += 1;
            }
        });
        assert!(count.is_none_or(|count| records > count / 100), "only {records} records");
    }
}
