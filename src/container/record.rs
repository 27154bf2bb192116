//! What is written down about a container when it is created, and never changes but for
//! the end of its creation.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::Hooks;
use serde::{Deserialize, Serialize};

use super::process::InitProcess;
use crate::cgroup::{Dir, Tree};
use crate::oci::annotations;
use crate::systemd::Unit;

/// `state.json`. Written before anything is made that would have to be removed, so that
/// all of it can be found again whenever the creator is killed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) oci_version: String,
    pub(crate) id: String,
    /// The container's first process; `None` before it has been cloned.
    pub(crate) init: Option<InitProcess>,
    /// Whether everything has been made, and the container waits for `start`, or ran.
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

    pub(crate) fn tree(&self) -> Tree<'_> {
        Tree::new(&self.cgroup)
    }

    pub(crate) fn parse(text: &[u8]) -> serde_json::Result<Record> {
        serde_json::from_slice(text)
    }

    pub(crate) fn to_json(&self) -> String {
        // Only a map whose keys aren't strings could fail.
        serde_json::to_string(self).unwrap_or_default()
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
            unit: None,
            no_new_keyring: false,
            has_own_pid_namespace: true,
            hooks: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_state_is_a_record_or_refused() {
        let mut example = Record::example("fuzz");
        example.init = Some(InitProcess { pid: 7, start_time: 9 });
        example.cgroup = vec![Dir { controllers: "memory".to_owned(), path: "/c".into() }];
        let example = example.to_json();
        let pieces = ["null", "true", "\"", "[", "]", "{", "}", "\"id\":", "-1", "1e999"];
        let mut records = 0;
        let count = crate::chance::fuzz(20_000, |_, chance| {
            let mut text = example.clone().into_bytes();
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
            if let Ok(record) = Record::parse(&text) {
                let again = Record::parse(record.to_json().as_bytes());
                assert_eq!(again.expect("JSON"), record);
                records += 1;
            }
            // The note of the first process, and what the kernel says of it.
            let text = String::from_utf8_lossy(&text);
            if let Ok(init) = text.parse::<InitProcess>() {
                assert_eq!(init.to_string().parse(), Ok(init));
            }
        });
        assert!(count.is_none_or(|count| records > count / 100), "only {records} records");
    }
}
