//! `--explain`: each step in words, how long it took, and what it is for.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::error::errno_in_words;
use crate::launch::Journal;
use crate::plan::Plan;

/// Writes the steps to standard error, in one piece.
pub(crate) fn narrate(plan: &Plan, journal: &Journal) {
    // Nobody can be told that standard error is closed.
    let _ = std::io::stderr().write_all(text(plan, journal).as_bytes());
}

fn text(plan: &Plan, journal: &Journal) -> String {
    let mut text = String::new();
    let failure = journal.failure();
    let mut told = "";
    for (index, step) in plan.steps.iter().enumerate() {
        let entry = journal.entry(index);
        let time = match entry.and_then(|entry| entry.duration) {
            Some(duration) => format!("{} µs", duration.as_micros()),
            None => "…".to_owned(),
        };
        let side = step.side.words();
        let _ = writeln!(text, "{:>3}  {side:9}  {time:>9}  {step}", index + 1);
        let purpose = step.op.purpose();
        let (mark, why) = match (failure, entry.and_then(|entry| entry.tolerated)) {
            (Some((failed, errno)), _) if failed == index => ("failed: ", errno_in_words(errno)),
            (_, Some(errno)) => ("skipped: ", errno_in_words(errno)),
            // A row of devices or masks is explained once.
            _ if purpose == told => continue,
            _ => ("", purpose.to_owned()),
        };
        told = purpose;
        let _ = writeln!(text, "{:28}{mark}{why}", "");
        if failure.is_some_and(|(failed, _)| failed == index) {
            break;
        }
    }
    text
}
