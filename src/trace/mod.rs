//! What is shown of a run: the narration of its steps, their timeline, its report.

mod narration;
mod report;
mod timeline;

pub(crate) use narration::narrate;
pub use report::Report;
pub(crate) use timeline::timeline;
