//! What a specification may ask for and this version doesn't carry out.
//!
//! Such a field is refused with its path. Ignoring it in silence would give a container
//! that is less than what was asked for, and perhaps less safe.

use oci_spec::runtime::{Linux, Spec};

use super::Steps;
use crate::error::Result;

/// A field's path below its parent, and whether it is there and asks for something.
type Field<T> = (&'static str, fn(&T) -> bool);

const SPEC: &[Field<Spec>] = &[("vm", |spec| spec.vm().is_some())];

const LINUX: &[Field<Linux>] = &[("intelRdt", |linux| linux.intel_rdt().is_some())];

/// Refuses the first field that isn't carried out.
///
/// # Errors
/// The field, by its path.
pub(super) fn refuse(steps: &Steps, spec: &Spec) -> Result<()> {
    check(steps, "", SPEC, spec)?;
    let Some(linux) = spec.linux() else {
        return Ok(());
    };
    check(steps, "linux.", LINUX, linux)
}

fn check<T>(steps: &Steps, parent: &str, fields: &[Field<T>], value: &T) -> Result<()> {
    match fields.iter().find(|(_, asked)| asked(value)) {
        None => Ok(()),
        Some((name, _)) => Err(steps.error(
            &format!("{parent}{name}"),
            "carry out the specification",
            "this version of minirun can't do that",
        )),
    }
}
