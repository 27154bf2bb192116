//! What doesn't depend on the machine's mood: system calls, page faults, bytes written.

use std::fs;
use std::path::Path;

use crate::Result;
use crate::contenders::{Contender, find};
use crate::measure::wind_up;
use crate::report::Report;
use crate::site::Site;
use crate::work::{Outcome, command, run, usage};
use crate::workloads::COUNTED;

/// One limit a line: the case, what is counted, at most how many, and the reason.
const LIMITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.txt");

/// The fewest of so many counts: some calls are made again when something comes between.
const ATTEMPTS: usize = 3;

/// The calls whose results are bytes.
const WRITES: &[&str] =
    &["write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg", "sendfile", "copy_file_range"];

/// Counts, tells, and has the benchmark fail where a limit is passed.
///
/// # Errors
/// When the file of limits isn't what it should be.
pub fn compare(site: &Site, report: &mut Report) -> Result<()> {
    let Some(strace) = find("strace") else {
        report.note("**counts are left out**: there is no strace".to_owned());
        return Ok(());
    };
    let limits = fs::read_to_string(LIMITS).map_err(|error| format!("read {LIMITS}: {error}"))?;
    let mut rows = Vec::new();
    for (case, contender) in COUNTED {
        eprintln!("counts of {case}");
        let all: Outcome<Vec<[u64; 3]>> =
            (0..ATTEMPTS).map(|_| count(site, &strace, contender)).collect();
        let fewest = |which: usize| move |all: &Vec<[u64; 3]>| all.iter().map(|n| n[which]).min();
        for (which, what) in ["calls", "faults", "bytes"].into_iter().enumerate() {
            let limit = limit(&limits, case, what)?;
            match all.as_ref().map(fewest(which)) {
                Ok(counted) => {
                    let counted = counted.unwrap_or_default();
                    if counted > limit {
                        report.fail(format!("{counted} {what} of {case}; {limit} are allowed"));
                    }
                    rows.push((*case, what, counted, limit));
                }
                Err(failure) => report.broken(contender, failure),
            }
        }
    }
    report.counts(&rows);
    Ok(())
}

fn limit(limits: &str, case: &str, what: &str) -> Result<u64> {
    let mut lines = limits.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = lines.find_map(|words| match words[..] {
        [of, counted, limit, _, ..] if of == case && counted == what => Some(limit),
        _ => None,
    });
    let limit =
        found.ok_or_else(|| format!("counts.txt has no limit and reason for {what} of {case}"))?;
    Ok(limit.parse().map_err(|error| format!("counts.txt: {limit}: {error}"))?)
}

/// System calls of all processes, page faults, and bytes written.
fn count(site: &Site, strace: &Path, contender: &Contender) -> Outcome<[u64; 3]> {
    wind_up();
    let log = site.trace();
    let mut traced = command(site, strace, 0)?;
    traced.args(["-f", "-o"]).arg(&log).arg(contender.program.path(site).ok_or("it is gone")?);
    run(site, traced.args((contender.arguments)(site, "bench-counted")), 0)?;
    let text = fs::read(&log).map_err(|error| format!("read strace's log: {error}"))?;
    let (mut calls, mut bytes) = (0, 0);
    for line in String::from_utf8_lossy(&text).lines() {
        // `PID name(…) = N`, or in two halves: `PID name(… <unfinished ...>`, and later
        // `PID <... name resumed>…) = N`.
        let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let resumed = line.strip_prefix("<... ");
        let line = resumed.unwrap_or(line);
        let name = line.split(|c: char| c != '_' && !c.is_alphanumeric()).next().unwrap_or("");
        calls += u64::from(resumed.is_none() && !name.is_empty());
        let result = line.rsplit_once(" = ").and_then(|(_, result)| result.parse::<u64>().ok());
        bytes += result.filter(|_| WRITES.contains(&name)).unwrap_or(0);
    }
    let (_, faults) = usage(site, contender, 0)?;
    Ok([calls, faults as u64, bytes])
}
