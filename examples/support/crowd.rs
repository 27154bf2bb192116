//! Many processes that do the same at the same time.

use std::io::Read;

use super::Result;
use super::fork::fork;

/// Forks `count` children that all begin once the last of them is there, and waits for them.
///
/// # Errors
/// When one can't be forked, or didn't succeed.
pub fn together(count: usize, child: impl Fn() -> Result<()>) -> Result<()> {
    let (gate, latch) = std::io::pipe()?;
    let mut latch = Some(latch);
    let mut children = Vec::new();
    for _ in 0..count {
        children.push(fork(|| {
            // Whoever has it open keeps the others waiting.
            drop(latch.take());
            (&gate).read_to_end(&mut Vec::new())?;
            child().map(|()| 0)
        })?);
    }
    drop(latch);
    children.into_iter().try_for_each(|child| child.succeed())
}
