//! What a process in a container can do, judged.
//!
//! [`Facts`] say what a container is like: those of a planned one come from its Spec
//! (`planned.rs`), those of a running one from the kernel (`running.rs`). [`judge()`] makes
//! findings of them, as a pure function that doesn't know which of the two it was.

mod capabilities;
mod facts;
mod judge;
mod mounts;
mod planned;
mod running;

use std::fmt;

use serde::Serialize;

pub(crate) use facts::Facts;
pub(crate) use judge::judge;
pub(crate) use planned::planned;
pub(crate) use running::running;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It helps whoever has found a hole elsewhere, or lets one container harm others.
    Weak,
    /// A way to the host by itself.
    Dangerous,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Grade::Ok => "ok",
            Grade::Weak => "weak",
            Grade::Dangerous => "dangerous",
        })
    }
}

/// One thing that a process in the container can or can't do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub grade: Grade,
    /// What was looked at.
    pub what: &'static str,
    /// How it is.
    pub found: String,
    /// What that means; empty where it says itself.
    pub why: String,
    /// The option of `run`, or the field of a config.json, that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// What was found of a container, the worst first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Audit {
    /// The grade of the worst finding.
    pub fn worst(&self) -> Grade {
        self.findings.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Ok)
    }
}
