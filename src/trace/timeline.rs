//! `--trace`: the start-up as Chrome trace events, which Perfetto opens.
//!
//! The format is the JSON object form of "Trace Event Format": complete events (`X`)
//! with times in microseconds, and metadata events (`M`) that name the two threads.

use serde_json::{Value, json};

use crate::launch::Journal;
use crate::plan::{Plan, Side};

/// One complete event a step; `pid` is the container's first process.
pub(crate) fn timeline(plan: &Plan, journal: &Journal, pid: u32) -> Value {
    let thread = |side: Side| match side {
        Side::Runtime => 1,
        Side::Container => 2,
        Side::Intermediate => 3,
    };
    let name = |side: Side| {
        json!({
            "name": "thread_name", "ph": "M", "pid": pid, "tid": thread(side),
            "args": { "name": side.words() },
        })
    };
    let mut events = vec![name(Side::Runtime), name(Side::Container)];
    if plan.steps.iter().any(|step| step.side == Side::Intermediate) {
        events.push(name(Side::Intermediate));
    }
    for (index, step) in plan.steps.iter().enumerate() {
        let Some(entry) = journal.entry(index) else {
            continue;
        };
        let microseconds = |time: std::time::Duration| time.as_nanos() as f64 / 1000.0;
        events.push(json!({
            "name": step.op.to_string(),
            "cat": step.op.kind(),
            "ph": "X",
            "ts": microseconds(entry.start),
            "dur": entry.duration.map_or(0.0, microseconds),
            "pid": pid,
            "tid": thread(step.side),
            "args": {
                "step": index + 1,
                "purpose": step.op.purpose(),
                "place": step.place,
                "tolerated": entry.tolerated.map(|errno| format!("{errno:?}")),
            },
        }));
    }
    json!({ "displayTimeUnit": "ns", "traceEvents": events })
}
