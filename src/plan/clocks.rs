//! The clocks of a time namespace (time_namespaces(7)).

use oci_spec::runtime::Spec;

use super::Steps;
use super::namespaces::{Layout, NEWTIME};
use super::op::Op;
use crate::error::Result;

/// The clocks that a time namespace has for itself, as timens_offsets names them.
const CLOCKS: &[&str] = &["boottime", "monotonic"];

/// `linux.timeOffsets` as /proc/PID/timens_offsets takes them, a clock a line.
///
/// # Errors
/// A clock or a number that the kernel doesn't take, by its path.
pub(super) fn offsets(steps: &Steps, spec: &Spec) -> Result<String> {
    let offsets = spec.linux().as_ref().and_then(|linux| linux.time_offsets().as_ref());
    let refuse = |path: &str, reason: String| {
        let path = format!("linux.timeOffsets{path}");
        Err(steps.error(&path, "set a clock", reason))
    };
    let mut lines = Vec::new();
    for (clock, offset) in offsets.into_iter().flatten() {
        if !CLOCKS.contains(&clock.as_str()) {
            return refuse(&format!(".{clock}"), format!("the clocks are {}", CLOCKS.join(", ")));
        }
        let (secs, nanosecs) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        if nanosecs > 999_999_999 {
            let reason = format!("{nanosecs} nanoseconds are a second or more");
            return refuse(&format!(".{clock}.nanosecs"), reason);
        }
        lines.push(format!("{clock} {secs} {nanosecs}\n"));
    }
    lines.sort();
    Ok(lines.concat())
}

/// A process that is cloned into a new time namespace finds its clocks set for good, so
/// offsets must be written before it enters; it makes, sets and enters the namespace itself.
pub(super) fn enter(steps: &mut Steps, spec: &Spec, layout: &Layout) -> Result<()> {
    let offsets = offsets(steps, spec)?;
    if offsets.is_empty() {
        return Ok(());
    }
    if !layout.new.contains(NEWTIME) {
        let reason = "offsets need a new time namespace";
        return Err(steps.error("linux.timeOffsets", "set a clock", reason));
    }
    steps.container(Op::EnterTime { offsets }, "linux.timeOffsets");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::error::Error;
    use crate::plan::Plan;
    use crate::plan::tests::plan_of_json;

    fn plan(kinds: &[&str], offsets: serde_json::Value) -> Result<Plan, Error> {
        let namespaces: Vec<_> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        let linux = json!({ "namespaces": namespaces, "timeOffsets": offsets });
        plan_of_json(&["linux"], linux)
    }

    #[test]
    fn without_offsets_clone3_makes_the_time_namespace() {
        let text = plan(&["pid", "mount", "time"], json!({})).unwrap().to_string();
        assert!(text.contains("clone3 into new namespaces: pid mnt time"), "{text}");
        assert!(!text.contains("enter a new time namespace"), "{text}");
    }

    #[test]
    fn with_offsets_the_process_enters_it_once_they_are_written() {
        let offsets = json!({ "monotonic": { "secs": -1 }, "boottime": { "nanosecs": 7 } });
        let text = plan(&["pid", "mount", "time"], offsets).unwrap().to_string();
        assert!(text.contains("clone3 into new namespaces: pid mnt ["), "{text}");
        let words = "enter a new time namespace (boottime 0 7, monotonic -1 0)";
        assert!(text.contains(words), "{text}");
        assert!(text.find(words) < text.find("close /proc/PID"), "{text}");
    }

    #[test]
    fn what_the_kernel_would_not_take_is_refused_by_its_path() {
        let long = json!({ "boottime": { "nanosecs": 1_000_000_000 } });
        for (kinds, offsets, place) in [
            (vec!["pid", "mount"], json!({ "boottime": { "secs": 1 } }), "linux.timeOffsets"),
            (vec!["pid", "mount", "time"], json!({ "tai": {} }), "linux.timeOffsets.tai"),
            (vec!["pid", "mount", "time"], long, "linux.timeOffsets.boottime.nanosecs"),
        ] {
            let error = plan(&kinds, offsets).unwrap_err();
            assert_eq!(error.place(), Some(place), "{error}");
        }
    }
}
