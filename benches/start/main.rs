//! Starting a container, beside the other runtimes on this machine: `cargo bench`.
//!
//! Every round runs each contender once, in changing order, and a ratio is taken between
//! runs of one round: what else the machine does meanwhile falls on both. Timed is what a
//! caller waits for, from fork to the end of wait. Then the smallest memory limit is looked
//! for that each starts with.
//!
//! - `BENCH_ROUNDS=N`: rounds to run, 60 by default.
//! - `BENCH_QUICK=1`: a few rounds, to see that every contender works.
//! - `MINIRUN=PATH`: the binary to measure, instead of a static one built for this.
//!
//! The status is 1 when minirun or the floor fails. A peer that is missing or fails is
//! left out and said to be; a time, however long, is no failure.

mod contenders;
mod measure;
mod memory;
mod report;
mod site;

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use contenders::{Contender, LIMITED, Program, WORKLOADS};
use measure::Series;
use report::Report;
use site::Site;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A runtime that was idle for a moment meets cold caches and sleeping processors.
const GAPS: [(Duration, &str); 2] =
    [(Duration::ZERO, "back to back"), (Duration::from_millis(150), "150 ms before each run")];

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benches too, but without this argument.
    if !env::args().any(|argument| argument == "--bench") {
        println!("skipped: run it with cargo bench");
        return ExitCode::SUCCESS;
    }
    match bench() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and reports; whether minirun and the floor worked throughout.
fn bench() -> Result<bool> {
    let quick = env::var_os("BENCH_QUICK").is_some_and(|value| value != "0");
    let rounds = match env::var("BENCH_ROUNDS") {
        Ok(number) => number.parse().map_err(|error| format!("BENCH_ROUNDS={number}: {error}"))?,
        Err(_) if quick => 5,
        Err(_) => 60,
    };
    let (repetitions, starts) = if quick { (1, 16) } else { (3, 100) };

    measure::handle_signals()?;
    let site = Site::prepare()?;
    let mut report = Report::new(&site);
    for workload in WORKLOADS {
        let mut field = present(workload.contenders, &site, &mut report);
        if field.iter().all(|contender| matches!(contender.program, Program::Floor)) {
            continue;
        }
        for (gap, name) in GAPS {
            let names: Vec<_> = field.iter().map(|contender| contender.name).collect();
            eprintln!("{}, {name}: {rounds} rounds of {}", workload.name, names.join(", "));
            let series = drop_broken(measure::rounds(&site, &field, rounds, gap)?, &mut report);
            report.times(&format!("{}, {name}, {rounds} rounds", workload.name), &series);
            field.retain(|contender| series.iter().any(|s| s.contender.name == contender.name));
        }
        if workload.throughput {
            eprintln!(
                "{}: {starts} starts in a row, and {} at once",
                workload.name,
                measure::LANES
            );
            let in_turn = measure::throughput(&site, &field, repetitions, starts, 1)?;
            let at_once = measure::throughput(&site, &field, repetitions, starts, measure::LANES)?;
            let in_turn = drop_broken(in_turn, &mut report);
            let at_once = drop_broken(at_once, &mut report);
            report.throughput(workload.name, starts, &in_turn, &at_once);
        }
    }
    match site.is_root {
        true => memory::compare(LIMITED, &site, &mut report)?,
        false => report.note("**memory limits are left out**: they need root".to_owned()),
    }
    report.write(&site::target_dir().join("bench/start.md"))?;
    Ok(!report.ours_failed())
}

/// Those that are installed and that this user can run.
fn present(
    contenders: &'static [Contender],
    site: &Site,
    report: &mut Report,
) -> Vec<&'static Contender> {
    let mut field = Vec::new();
    for contender in contenders {
        match contender.program.absence(site) {
            None => field.push(contender),
            Some(reason) => report.note(format!("**{} is left out**: {reason}", contender.name)),
        }
    }
    field
}

fn drop_broken(series: Vec<Series>, report: &mut Report) -> Vec<Series> {
    let (broken, whole): (Vec<_>, Vec<_>) =
        series.into_iter().partition(|series| series.failure.is_some());
    for Series { contender, failure, .. } in broken {
        report.broken(contender, failure.as_deref().unwrap_or_default());
    }
    whole
}
