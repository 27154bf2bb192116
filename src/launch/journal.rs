//! The journal: memory that both sides see, in which every step leaves its start,
//! its end and its errno.
//!
//! It is mapped before clone3, so a step costs two stores, and the runtime can name
//! the failing step even when the other side was killed in the middle of it. The
//! target never sees it: execve unmaps it. What is read from it is still checked,
//! since init keeps it mapped while the target runs.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::sys::shared::SharedWords;

const CURRENT: usize = 0;
const FAILED: usize = 1;
const STATUS: usize = 2;
const REAPED: usize = 3;
const FOUND: usize = 4;
const CLONED: usize = 5;
const HOOK: usize = 6;
const LISTENER: usize = 7;
const STEPS: usize = 8;
const WORDS_PER_STEP: usize = 3;

/// Set in a word that would be ambiguous as 0.
const PRESENT: u64 = 1 << 63;

/// What both sides have done so far.
#[derive(Debug)]
pub struct Journal {
    shared: SharedWords,
    steps: usize,
    zero: Instant,
    /// What the clock of this process shows if it has been stopped, else 0.
    stopped: AtomicU64,
}

/// What the journal says about one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// When it began, counted from the start of the launch.
    pub start: Duration,
    /// How long it took; `None` when it didn't end (execve doesn't return).
    pub duration: Option<Duration>,
    /// The tolerated errno with which it ended.
    pub tolerated: Option<Errno>,
}

impl Journal {
    /// A journal for a plan of so many steps.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(steps: usize) -> Result<Self> {
        let shared = SharedWords::new(STEPS + steps * WORDS_PER_STEP)
            .map_err(|errno| Error::system("map the journal", errno))?;
        Ok(Journal { shared, steps, zero: Instant::now(), stopped: AtomicU64::new(0) })
    }

    fn store(&self, word: usize, value: u64) {
        if let Some(word) = self.shared.words().get(word) {
            word.store(value, Release);
        }
    }

    fn load(&self, word: usize) -> u64 {
        self.shared.words().get(word).map_or(0, |word| word.load(Acquire))
    }

    fn now(&self) -> u64 {
        match self.stopped.load(Relaxed) {
            0 => self.zero.elapsed().as_nanos() as u64 | PRESENT,
            stopped => stopped,
        }
    }

    /// For steps under a filter that may forbid to ask for the time: where the kernel's
    /// clock source can't be read without it (vdso(7)), that is a system call.
    pub(super) fn stop_clock(&self) {
        self.stopped.store(self.now(), Relaxed);
    }

    /// For a launch whose steps nobody will ask the times of; each reads the clock twice.
    pub(super) fn without_clock(self) -> Self {
        self.stopped.store(PRESENT, Relaxed);
        self
    }

    /// A step begins.
    pub(super) fn begin(&self, step: usize) {
        self.store(CURRENT, step as u64 + 1);
        self.begin_meanwhile(step);
    }

    /// A step begins, but the one that a dead process leaves undone is the other side's.
    pub(super) fn begin_meanwhile(&self, step: usize) {
        self.store(STEPS + step * WORDS_PER_STEP, self.now());
    }

    /// A step is done.
    pub(super) fn end(&self, step: usize) {
        self.store(STEPS + step * WORDS_PER_STEP + 1, self.now());
    }

    /// A step met an errno that it tolerates.
    pub(super) fn tolerate(&self, step: usize, errno: Errno) {
        self.store(STEPS + step * WORDS_PER_STEP + 2, errno as u64);
    }

    /// A step failed; its side stops here.
    pub(super) fn fail(&self, step: usize, errno: Errno) {
        self.store(FAILED, PRESENT | (step as u64) << 32 | errno as u64);
    }

    /// execve failed although this candidate for the program exists.
    pub(super) fn found_program(&self, candidate: usize) {
        self.store(FOUND, PRESENT | candidate as u64);
    }

    /// Which candidate for the program exists in the container and still wasn't executed.
    pub(super) fn program(&self) -> Option<usize> {
        let word = self.load(FOUND);
        (word & PRESENT != 0).then_some((word & !PRESENT) as usize)
    }

    /// The intermediate process has cloned the container's, which has this pid.
    pub(super) fn cloned(&self, pid: i32) {
        self.store(CLONED, PRESENT | pid as u64);
    }

    /// The pid of the container's process, when an intermediate process cloned it.
    pub(super) fn cloned_pid(&self) -> Option<i32> {
        let word = self.load(CLONED);
        (word & PRESENT != 0).then_some((word & !PRESENT) as i32)
    }

    /// A hook ended with this raw wait status.
    pub(super) fn hook_ended(&self, status: i32) {
        self.store(HOOK, PRESENT | status as u32 as u64);
    }

    /// The raw wait status of the last hook.
    pub(super) fn hook_status(&self) -> Option<i32> {
        let word = self.load(HOOK);
        (word & PRESENT != 0).then_some(word as u32 as i32)
    }

    /// Says how far the listener of a seccomp filter has come, in words of `listener.rs`.
    pub(super) fn set_listener(&self, word: u64) {
        self.store(LISTENER, word);
    }

    /// What [`set_listener`](Self::set_listener) said last; 0 at first.
    pub(super) fn listener(&self) -> u64 {
        self.load(LISTENER)
    }

    /// Init saw the target end, with this raw wait status.
    pub(crate) fn target_ended(&self, status: i32) {
        self.store(STATUS, PRESENT | status as u32 as u64);
    }

    /// Init reaped another process.
    pub(crate) fn reaped_one(&self) {
        if let Some(word) = self.shared.words().get(REAPED) {
            word.fetch_add(1, Relaxed);
        }
    }

    /// The step that failed and why.
    pub fn failure(&self) -> Option<(usize, Errno)> {
        let word = self.load(FAILED);
        let step = (word & !PRESENT) >> 32;
        (word & PRESENT != 0 && step < self.steps as u64)
            .then(|| (step as usize, Errno::from_raw(word as u32 as i32)))
    }

    /// The step that was begun last.
    pub fn current(&self) -> Option<usize> {
        let step = self.load(CURRENT).checked_sub(1)?;
        (step < self.steps as u64).then_some(step as usize)
    }

    /// The target's raw wait status, when init saw it end.
    pub fn target_status(&self) -> Option<i32> {
        let word = self.load(STATUS);
        (word & PRESENT != 0).then_some(word as u32 as i32)
    }

    /// How many processes init has reaped, the target included.
    pub fn reaped(&self) -> u64 {
        self.load(REAPED)
    }

    /// What is known of a step; `None` when it hasn't begun.
    pub fn entry(&self, step: usize) -> Option<Entry> {
        let time = |word: u64| (word & PRESENT != 0).then(|| Duration::from_nanos(word & !PRESENT));
        if step >= self.steps {
            return None;
        }
        let word = STEPS + step * WORDS_PER_STEP;
        let start = time(self.load(word))?;
        let errno = self.load(word + 2) as i32;
        Some(Entry {
            start,
            duration: time(self.load(word + 1)).map(|end| end.saturating_sub(start)),
            tolerated: (errno != 0).then(|| Errno::from_raw(errno)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_leaves_its_times_and_errnos() {
        let journal = Journal::new(3).unwrap();
        assert_eq!((journal.current(), journal.entry(1)), (None, None));
        journal.begin(1);
        journal.tolerate(1, Errno::ENOENT);
        assert_eq!(journal.entry(1).unwrap().duration, None);
        journal.end(1);
        let entry = journal.entry(1).unwrap();
        assert!(entry.duration.is_some());
        assert_eq!(entry.tolerated, Some(Errno::ENOENT));
        assert_eq!(journal.current(), Some(1));
        journal.fail(2, Errno::EPERM);
        assert_eq!(journal.failure(), Some((2, Errno::EPERM)));
    }

    #[test]
    fn a_forged_step_number_is_not_believed() {
        let journal = Journal::new(2).unwrap();
        journal.store(FAILED, PRESENT | 77 << 32 | 1);
        journal.store(CURRENT, u64::MAX);
        assert_eq!((journal.failure(), journal.current()), (None, None));
        assert_eq!(journal.entry(77), None);
    }

    #[test]
    fn status_zero_is_told_from_none() {
        let journal = Journal::new(1).unwrap();
        assert_eq!(journal.target_status(), None);
        journal.target_ended(0);
        journal.reaped_one();
        assert_eq!((journal.target_status(), journal.reaped()), (Some(0), 1));
    }
}
