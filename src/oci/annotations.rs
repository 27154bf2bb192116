//! What a config.json has no field for. What `run ROOTFS` can do of it, `spec` writes as
//! annotations, and a bundle that has them gets the same.

use std::collections::HashMap;

use oci_spec::runtime::Spec;

use crate::error::{Error, Result};

/// `true`: an init is PID 1, and the target its child.
pub(crate) const INIT: &str = "io.minirun.init";
/// `true`: changes to the root filesystem go with the container.
pub(crate) const EPHEMERAL: &str = "io.minirun.ephemeral";
/// `true`: on cgroup v1, the container is in no hierarchy just for what it counts.
pub(crate) const LEAN_CGROUP: &str = "io.minirun.lean-cgroup";

/// Whether an annotation of ours says `true`.
///
/// # Errors
/// When it says neither that nor `false`.
pub(crate) fn is_set(spec: &Spec, name: &str) -> Result<bool> {
    match spec.annotations().as_ref().and_then(|all| all.get(name)).map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => {
            let reason = format!("{other:?} is neither true nor false");
            Err(Error::said("read an annotation", reason).at(format!("annotations.{name}")))
        }
    }
}

/// The annotations that say `true`, `None` when there are none.
pub(crate) fn of(init: bool, ephemeral: bool) -> Option<HashMap<String, String>> {
    let all: HashMap<_, _> = [(INIT, init), (EPHEMERAL, ephemeral)]
        .into_iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| (name.to_owned(), "true".to_owned()))
        .collect();
    Some(all).filter(|all| !all.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_of_ours_is_true_or_false() {
        let mut spec = Spec::default();
        spec.set_annotations(of(true, false));
        assert_eq!((is_set(&spec, INIT), is_set(&spec, EPHEMERAL)), (Ok(true), Ok(false)));
        spec.set_annotations(Some([(INIT.to_owned(), "yes".to_owned())].into()));
        let error = is_set(&spec, INIT).unwrap_err();
        assert_eq!(error.place(), Some("annotations.io.minirun.init"));
        spec.set_annotations(of(false, false));
        assert_eq!(is_set(&spec, INIT), Ok(false));
    }
}
