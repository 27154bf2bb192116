//! Containers' start, end and cost, beside the other runtimes on this machine: `just bench`, or
//! `just bench NAME…` for the parts whose names begin so.
//!
//! Every round runs each contender once, in changing order, and a ratio is taken between
//! runs of one round: what else the machine does meanwhile falls on both. All run copies of the
//! programs that were made for it, others each round. Timed is what a caller waits for, from fork
//! to the end of wait. `workloads.rs` lists what is measured, and the goals. Then the smallest
//! memory limit is looked for that each starts with (`limit`), and system calls, page faults and
//! written bytes are held against `../counts.txt` (`counts`). The tables and a chart are written
//! to target/bench/.
//!
//! - `BENCH_ROUNDS=N`: rounds to run, 60 by default.
//! - `BENCH_QUICK=1`: a few rounds, to see that every contender works.
//! - `MINIRUN=PATH`: the binary to measure, instead of a static one built for this.
//!
//! The status is 1 when minirun or the floor fails, or a count passes its limit. A peer that is
//! missing or fails is left out and said to be; a time, however long, is no failure.

mod chart;
mod contenders;
mod counts;
mod crowd;
mod load;
mod measure;
mod memory;
mod report;
mod site;
mod work;
mod workloads;

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use contenders::{Contender, Place};
use crowd::{Containers, Mounts};
use load::Ticks;
use measure::Series;
use report::Report;
use site::Site;
use workloads::{Effort, LIMITED, MINIRUN, WORKLOADS, Workload};

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

/// How much of everything.
struct Extent {
    rounds: usize,
    /// Of what varies little.
    few: usize,
    /// Of counting starts per second.
    repetitions: usize,
    starts: usize,
    /// Containers in the crowd.
    containers: usize,
}

/// Measures and reports; whether minirun and the floor worked throughout.
fn bench() -> Result<bool> {
    let quick = env::var_os("BENCH_QUICK").is_some_and(|value| value != "0");
    let (rounds, few, repetitions, starts, containers) =
        if quick { (4, 2, 1, 16, 20) } else { (60, 7, 3, 100, 500) };
    let rounds = match env::var("BENCH_ROUNDS") {
        Ok(number) => number.parse().map_err(|error| format!("BENCH_ROUNDS={number}: {error}"))?,
        Err(_) => rounds,
    };
    let extent = Extent { rounds, few, repetitions, starts, containers };
    let names: Vec<_> = env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let wanted =
        |part: &str| names.is_empty() || names.iter().any(|name| part.starts_with(name.as_str()));

    let parts = || WORKLOADS.iter().map(|workload| workload.name).chain(["limit", "counts"]);
    if let Some(name) = names.iter().find(|name| !parts().any(|part| part.starts_with(*name))) {
        let parts = parts().collect::<Vec<_>>().join("\n  ");
        return Err(format!("no part begins with '{name}'; there are\n  {parts}").into());
    }
    measure::handle_signals()?;
    let site = Site::prepare()?;
    let mut report = Report::new(&site);
    let begin = Ticks::read();
    if let Some(fact) = begin.and_then(Ticks::load) {
        report.note(fact);
    }
    for workload in WORKLOADS.iter().filter(|workload| wanted(workload.name)) {
        match workload.needs_root && !site.is_root {
            true => report.note(format!("**{} is left out**: it needs root", workload.name)),
            false => compare(workload, &extent, &site, &mut report)?,
        }
    }
    match site.is_root {
        true if wanted("limit") => memory::compare(LIMITED, &site, &mut report)?,
        true => {}
        false => report.note("**memory limits are left out**: they need root".to_owned()),
    }
    if site.is_root && wanted("counts") {
        counts::compare(&site, &mut report)?;
    }
    let size = std::fs::metadata(site.program(site::MINIRUN))?.len() as f64 / 1e6;
    report.goal("the binary", "minirun", Ok(size), 3.0, false, "MB");
    if let Some(fact) = begin.and_then(Ticks::theft) {
        report.note(fact);
    }
    let failed = report.failed();
    report.write(&site::target_dir().join("bench"))?;
    Ok(!failed)
}

/// Measures one workload and tells.
fn compare(
    workload: &'static Workload,
    extent: &Extent,
    site: &Site,
    report: &mut Report,
) -> Result<()> {
    let Workload { name, unit, measure, effort, contenders, goals, .. } = *workload;
    let mut field = present(contenders, report);
    let mut running = Containers::default();
    if let Some(prepare) = workload.prepare {
        field.retain(|contender| match prepare(site, contender) {
            Ok(pid) => {
                running.add(pid);
                true
            }
            Err(failure) => {
                report.broken(contender, &failure);
                false
            }
        });
    }
    let rounds = if effort == Effort::Few { extent.few } else { extent.rounds };
    let gaps = match effort {
        Effort::Throughput | Effort::Full => &GAPS[..],
        Effort::BackToBack | Effort::Few => &GAPS[..1],
    };
    let has = |place| move |contender: &&'static Contender| contender.place == place;
    let mounts = field.iter().any(has(Place::Mounts)).then(|| Mounts::make(site)).transpose()?;
    for &(gap, pace) in gaps {
        let title = match gaps.len() {
            1 => name.to_owned(),
            _ => format!("{name}, {pace}"),
        };
        let names: Vec<_> = field.iter().map(|contender| contender.name).collect();
        eprintln!("{title}: {rounds} rounds of {}", names.join(", "));
        let measured = |field: &[&'static Contender]| {
            measure::rounds(site, field, rounds, gap, |contender| {
                if let Some(mounts) = &mounts {
                    mounts.enter(contender.place).map_err(|errno| errno.to_string())?;
                }
                measure(site, contender, 0)
            })
        };
        let (crowded, rest): (Vec<_>, Vec<_>) =
            field.iter().copied().partition(has(Place::Containers));
        let mut series = measured(&rest)?;
        if !crowded.is_empty() {
            report.note(format!("the crowd is of {} containers", extent.containers));
            let crowd = Containers::start(site, &MINIRUN, extent.containers)?;
            series.extend(measured(&crowded)?);
            crowd.end(site);
        }
        let series = drop_broken(series, report);
        report.values(&format!("{title}, {rounds} rounds"), unit, &series);
        report.goals(&title, unit, &series, goals);
        if gaps.len() > 1 && gap == GAPS[0].0 {
            report.draw(name, &series);
        }
        field.retain(|contender| series.iter().any(|s| s.contender.name == contender.name));
    }
    drop(mounts);
    if workload.prepare.is_some() {
        running.end(site);
    }
    if effort == Effort::Throughput {
        let Extent { repetitions, starts, .. } = *extent;
        eprintln!("{name}: {starts} starts in a row, and {} at once", measure::LANES);
        let in_turn = measure::throughput(site, &field, repetitions, starts, 1)?;
        let at_once = measure::throughput(site, &field, repetitions, starts, measure::LANES)?;
        let in_turn = drop_broken(in_turn, report);
        let at_once = drop_broken(at_once, report);
        report.throughput(name, starts, &in_turn, &at_once);
        report.throughput_goals(&format!("{name}, starts one by one"), &in_turn, goals);
        let title = format!("{name}, {} starts at once", measure::LANES);
        report.throughput_goals(&title, &at_once, goals);
    }
    Ok(())
}

/// Those that are installed.
fn present(contenders: &'static [Contender], report: &mut Report) -> Vec<&'static Contender> {
    let mut field = Vec::new();
    for contender in contenders {
        match contender.program.absence() {
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
