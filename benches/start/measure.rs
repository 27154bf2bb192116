//! Running contenders against the clock.

use std::process::{Child, ExitStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::Result;
use crate::contenders::Contender;
use crate::site::Site;
use crate::work::{Outcome, start};

/// How many containers start at once.
pub const LANES: usize = 8;

/// After how many seconds a run, or a hundred of them, is taken to hang.
const PATIENCE: u32 = 60;

/// What was measured of one contender.
pub struct Series {
    pub contender: &'static Contender,
    /// One a round.
    pub values: Vec<f64>,
    /// Why it was given up.
    pub failure: Option<String>,
}

/// Set by Ctrl-C and its like: stop, and clean up on the way out.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The pids that run now, or 0.
static RUNNING: [AtomicI32; LANES] = [const { AtomicI32::new(0) }; LANES];

/// Turns Ctrl-C into an error, and SIGALRM into the end of whatever hangs.
pub fn handle_signals() -> Result<()> {
    extern "C" fn interrupt(_: i32) {
        INTERRUPTED.store(true, Relaxed);
    }
    extern "C" fn kill_running(_: i32) {
        for pid in RUNNING.iter().map(|slot| slot.load(Relaxed)).filter(|pid| *pid > 0) {
            // SAFETY: plain integers; kill is async-signal-safe.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
    let handle = |signal, handler| {
        let action =
            SigAction::new(SigHandler::Handler(handler), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: both handlers do no more than loads and stores of atomics and kill.
        unsafe { sigaction(signal, &action) }
    };
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        handle(signal, interrupt)?;
    }
    handle(Signal::SIGALRM, kill_running)?;
    Ok(())
}

/// Kills what runs after [`PATIENCE`], counted from now.
pub fn wind_up() {
    // SAFETY: takes any integer.
    unsafe { libc::alarm(PATIENCE) };
}

fn go_on() -> Result<()> {
    if INTERRUPTED.load(Relaxed) { Err("interrupted".into()) } else { Ok(()) }
}

/// Measures every contender once a round.
///
/// # Errors
/// When the user interrupts.
pub fn rounds(
    site: &Site,
    field: &[&'static Contender],
    rounds: usize,
    gap: Duration,
    measure: impl Fn(&Contender) -> Outcome<f64>,
) -> Result<Vec<Series>> {
    each_round(site, field, rounds, |contender| {
        thread::sleep(gap);
        wind_up();
        measure(contender)
    })
}

/// Starts `starts` containers in so many lanes, once a repetition; the values are starts
/// per second.
///
/// # Errors
/// When the user interrupts.
pub fn throughput(
    site: &Site,
    field: &[&'static Contender],
    repetitions: usize,
    starts: usize,
    lanes: usize,
) -> Result<Vec<Series>> {
    each_round(site, field, repetitions, |contender| {
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let work = |lane| {
            while next.fetch_add(1, Relaxed) < starts && !INTERRUPTED.load(Relaxed) {
                if let Err(error) = start(site, contender, lane) {
                    next.store(starts, Relaxed);
                    failure.lock().unwrap_or_else(|broken| broken.into_inner()).replace(error);
                }
            }
        };
        wind_up();
        let start = Instant::now();
        thread::scope(|scope| {
            for lane in 0..lanes {
                scope.spawn(move || work(lane));
            }
        });
        let time = start.elapsed().as_secs_f64();
        match failure.into_inner().unwrap_or_else(|broken| broken.into_inner()) {
            Some(failure) => Err(failure),
            None => Ok(starts as f64 / time),
        }
    })
}

/// Measures every contender once a round; one that fails is left alone from then on.
/// A round before the first isn't counted: it warms the caches.
fn each_round(
    site: &Site,
    field: &[&'static Contender],
    rounds: usize,
    measure: impl Fn(&Contender) -> Outcome<f64>,
) -> Result<Vec<Series>> {
    let new = |&contender| Series { contender, values: Vec::new(), failure: None };
    let mut all: Vec<Series> = field.iter().map(new).collect();
    for round in 0..=rounds {
        site.turn_to(round);
        for index in order(round, field.len()) {
            let Series { contender, values, failure } = &mut all[index];
            if failure.is_some() {
                continue;
            }
            let outcome = measure(contender);
            // Ctrl-C reaches the contender too; its failure is none then.
            go_on()?;
            match outcome {
                Ok(_) if round == 0 => {}
                Ok(value) => values.push(value),
                Err(error) => *failure = Some(error),
            }
        }
    }
    Ok(all)
}

/// Another one begins each round, and every other round goes backwards, so that what a
/// contender leaves behind (namespaces are torn down after the wait) meets them all.
fn order(round: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..count).map(|place| (place + round / 2) % count).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// Whether a contender works three times in a row, or what went wrong. A failed one's
/// container is deleted.
///
/// # Errors
/// When the user interrupts.
pub fn works(site: &Site, contender: &Contender) -> Result<Outcome<()>> {
    for _ in 0..3 {
        wind_up();
        let outcome = start(site, contender, 0).map(drop);
        go_on()?;
        if let Err(failure) = outcome {
            site.delete_containers();
            return Ok(Err(failure));
        }
    }
    Ok(Ok(()))
}

/// Waits for a child, which is killed should it hang.
pub fn finish(child: &mut Child, lane: usize) -> std::io::Result<ExitStatus> {
    RUNNING[lane].store(child.id() as i32, Relaxed);
    let status = child.wait();
    RUNNING[lane].store(0, Relaxed);
    status
}
