//! The environment that the program starts with.

use std::collections::BTreeSet;
use std::ffi::CString;

use oci_spec::runtime::Process;

use super::Steps;
use crate::error::Result;

/// Where commands without a slash are looked for when the environment has no PATH.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `process.env`, read and checked.
pub(super) struct Environment<'a> {
    /// `NAME=value` each, a name once.
    pub(super) entries: Vec<CString>,
    /// Where to look for the program.
    pub(super) path: &'a str,
    /// Whether HOME is missing, and has to be looked up in the container.
    pub(super) wants_home: bool,
}

impl<'a> Environment<'a> {
    /// Of a name that comes more than once the last value counts. An empty HOME is as
    /// good as none.
    ///
    /// # Errors
    /// An entry without a name, without `=`, or with a NUL byte, by its path.
    pub(super) fn new(steps: &Steps, process: &'a Process) -> Result<Self> {
        let given = process.env().as_deref().unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut environment =
            Environment { entries: Vec::new(), path: DEFAULT_PATH, wants_home: true };
        for (index, entry) in given.iter().enumerate().rev() {
            let place = format_args!("process.env[{index}]");
            let refuse =
                |reason| Err(steps.error(&place.to_string(), "set the environment", reason));
            match entry.split_once('=') {
                None => return refuse("an entry has the form NAME=value"),
                Some(("", _)) => return refuse("a variable needs a name"),
                Some((name, _)) if !seen.insert(name) => {
                    steps.c_string(place, entry.as_str())?;
                    continue;
                }
                Some(("HOME", "")) => continue,
                Some(("HOME", _)) => environment.wants_home = false,
                Some(("PATH", path)) => environment.path = path,
                Some(_) => {}
            }
            environment.entries.push(steps.c_string(place, entry.as_str())?);
        }
        environment.entries.reverse();
        Ok(environment)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::plan::Plan;
    use crate::plan::op::Op;
    use crate::plan::tests::plan_of_json;

    fn plan(env: serde_json::Value) -> Plan {
        plan_of_json(&["process", "env"], env).unwrap()
    }

    fn entries(plan: &Plan) -> Vec<&str> {
        let Some(Op::Exec(exec)) = plan.steps.last().map(|step| &step.op) else {
            panic!("the last step is execve");
        };
        exec.envp.iter().map(|entry| entry.to_str().unwrap()).collect()
    }

    fn looks_for_home(plan: &Plan) -> bool {
        plan.steps.iter().any(|step| matches!(step.op, Op::Home { .. }))
    }

    #[test]
    fn the_last_value_of_a_name_counts() {
        let plan = plan(json!(["A=1", "B=", "HOME=/h", "A=2=3"]));
        assert_eq!(entries(&plan), ["B=", "HOME=/h", "A=2=3"]);
        assert!(!looks_for_home(&plan));
    }

    #[test]
    fn a_missing_or_empty_home_is_looked_up_inside() {
        for env in [json!([]), json!(["HOME="]), json!(["HOME=/h", "HOME="])] {
            let plan = plan(env);
            assert!(looks_for_home(&plan), "{plan}");
            assert!(entries(&plan).is_empty());
        }
    }

    #[test]
    fn an_entry_that_sets_nothing_is_refused_by_its_path() {
        for (env, place) in [
            (json!(["A=1", "B"]), "process.env[1]"),
            (json!(["=x"]), "process.env[0]"),
            (json!(["A=1\u{0}", "A=2"]), "process.env[0]"),
        ] {
            let error = plan_of_json(&["process", "env"], env).unwrap_err();
            assert_eq!(error.place(), Some(place), "{error}");
        }
    }
}
