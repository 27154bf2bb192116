//! Waiting for a container: signals, the terminal and the clock, in one poll loop.

mod terminal;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::process::Cloned;
use crate::sys::signal::SignalQueue;
use terminal::Terminal;

/// Signals that are not passed on: they can't be caught, are this process's own
/// business (children, faults), or would stop it at the terminal.
const KEPT: &[i32] = &[
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGCHLD,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGABRT,
    libc::SIGPIPE,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// When nothing has happened for so long, it may be long until something does.
const MOMENT: Duration = Duration::from_millis(100);

/// When to send SIGTERM, and then SIGKILL.
#[derive(Debug)]
pub(crate) struct Deadline {
    next: Option<(Instant, i32)>,
    kill_after: Duration,
    struck: bool,
}

impl Deadline {
    /// Counts from `start`; without a timeout it never strikes.
    pub(crate) fn new(start: Instant, timeout: Option<Duration>, kill_after: Duration) -> Self {
        let next = timeout.and_then(|timeout| start.checked_add(timeout));
        Deadline { next: next.map(|at| (at, libc::SIGTERM)), kill_after, struck: false }
    }

    /// Whether it has struck.
    pub(crate) fn has_struck(&self) -> bool {
        self.struck
    }

    /// The signal that is due now.
    fn due(&mut self) -> Option<i32> {
        let (at, signal) = self.next.filter(|(at, _)| *at <= Instant::now())?;
        self.struck = true;
        let kill = || at.checked_add(self.kill_after).map(|at| (at, libc::SIGKILL));
        self.next = if signal == libc::SIGTERM { kill() } else { None };
        Some(signal)
    }

    /// How long there is nothing to do; `None` for ever. Rounded up, so that a sleep
    /// doesn't end a moment too early.
    fn time_left(&self) -> Option<Duration> {
        let (at, _) = self.next?;
        Some(at.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }
}

/// This process's signals, collected to be passed on to a container.
///
/// Make it before the container, so that none is lost in between; the calling thread has
/// the signals blocked for as long as it lives.
pub struct Signals(SignalQueue);

impl Signals {
    /// Begins to collect every signal that can be passed on.
    ///
    /// # Errors
    /// When descriptors run out.
    pub fn collect() -> Result<Self> {
        Signals::those(|signal| !KEPT.contains(&signal))
    }

    /// Begins to collect these alone.
    ///
    /// # Errors
    /// When descriptors run out.
    pub fn only(signals: &[i32]) -> Result<Self> {
        Signals::those(|signal| signals.contains(&signal))
    }

    fn those(take: impl Fn(i32) -> bool) -> Result<Self> {
        let queue = SignalQueue::new(take);
        queue.map(Signals).map_err(|errno| Error::system("collect signals", errno))
    }

    /// The next one that has come. What the caller ignores (nohup does so with SIGHUP) is not
    /// for the target either; being blocked, it comes all the same.
    fn next(&self) -> Option<i32> {
        std::iter::from_fn(|| self.0.next()).find(|signal| !sys::signal::is_ignored(*signal))
    }

    /// Sleeps so long; less when a signal comes, which it gives.
    pub fn sleep(&self, time: Duration) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(signal) = self.next() {
                return Some(signal);
            }
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return None;
            }
            // Rounded up, so that it doesn't wake before its time.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1));
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            // Whatever it says, the loop looks at the signals and the clock.
            let _ = poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX));
        }
    }
}

/// Returns when the container's first process has ended; it is not reaped yet. A process
/// that passes on signals is taken to have nothing else to do, so that it lets go of memory
/// while it waits.
///
/// # Errors
/// When the terminal can't be set up, or poll(2) fails.
pub(crate) fn until_end(
    init: &Cloned,
    signals: Option<&Signals>,
    console: Option<BorrowedFd<'_>>,
    deadline: &mut Deadline,
) -> Result<()> {
    let mut terminal = match console {
        Some(master) => Some(Terminal::take_over(master)?),
        None => None,
    };
    let send = |signal| sys::process::pidfd_send_signal(init.pidfd.as_fd(), signal);
    loop {
        if let Some(signal) = deadline.due() {
            // It may have ended in this moment, which poll will tell.
            let _ = send(signal);
        }
        let (ended, signalled) = wait_for_news(init, signals, terminal.as_ref(), deadline)?;
        while let Some(signal) = signals.filter(|_| signalled).and_then(Signals::next) {
            match (&terminal, signal) {
                (Some(terminal), libc::SIGWINCH) => terminal.resize(),
                // Ctrl-Z without a pty: the shell must see this process stop.
                (None, libc::SIGTSTP) => stop_until_continued(&send),
                _ => drop(send(signal)),
            }
        }
        if let Some(terminal) = &mut terminal {
            let was_gone = terminal.is_gone();
            terminal.relay();
            if terminal.is_gone() && !was_gone {
                let _ = send(libc::SIGHUP);
            }
        }
        if ended {
            if let Some(terminal) = &mut terminal {
                terminal.drain();
            }
            return Ok(());
        }
    }
}

/// Sleeps until there is something to do: whether the container has ended, and whether
/// there are signals.
fn wait_for_news(
    init: &Cloned,
    signals: Option<&Signals>,
    terminal: Option<&Terminal<'_>>,
    deadline: &Deadline,
) -> Result<(bool, bool)> {
    let mut fds = vec![PollFd::new(init.pidfd.as_fd(), PollFlags::POLLIN)];
    if let Some(signals) = signals {
        fds.push(PollFd::new(signals.0.as_fd(), PollFlags::POLLIN));
    }
    let mut sleep = deadline.time_left();
    if let Some(terminal) = terminal {
        terminal.poll_fds(&mut fds);
        if terminal.is_hung_up() {
            let pause = terminal::HANGUP_PAUSE;
            sleep = Some(sleep.map_or(pause, |left| left.min(pause)));
        }
    }
    let is_long = signals.is_some() && sleep.is_none_or(|left| left > MOMENT);
    let first = if is_long { Some(MOMENT) } else { sleep };
    let news = match poll(&mut fds, timeout(first)) {
        Ok(0) if is_long => {
            let left = sleep.map(|left| left - MOMENT);
            sys::memory::poll_without(&mut fds, timeout(left))
        }
        news => news,
    };
    match news {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(Error::system("wait for the container", errno)),
    }
    let ready = |index: usize| fds.get(index).and_then(PollFd::any).unwrap_or(false);
    Ok((ready(0), signals.is_some() && ready(1)))
}

fn timeout(left: Option<Duration>) -> PollTimeout {
    left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))
}

fn stop_until_continued(send: &dyn Fn(i32) -> sys::Result<()>) {
    let _ = send(libc::SIGTSTP);
    let _ = sys::signal::kill(std::process::id() as i32, libc::SIGSTOP);
    let _ = send(libc::SIGCONT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_terminates_first_and_kills_later() {
        let mut deadline = Deadline::new(Instant::now(), Some(Duration::ZERO), Duration::ZERO);
        assert!(!deadline.has_struck());
        assert_eq!(deadline.due(), Some(libc::SIGTERM));
        assert_eq!(deadline.due(), Some(libc::SIGKILL));
        assert_eq!(deadline.due(), None);
        assert!(deadline.has_struck());
    }

    #[test]
    fn without_a_timeout_nothing_is_ever_due() {
        let mut deadline = Deadline::new(Instant::now(), None, Duration::ZERO);
        assert_eq!(deadline.due(), None);
        assert_eq!(deadline.time_left(), None);
        let far = Deadline::new(Instant::now(), Some(Duration::MAX), Duration::ZERO);
        assert_eq!(far.time_left(), None, "the end of time is no deadline");
    }
}
