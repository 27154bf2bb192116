//! From rules to a program: for each architecture a binary search over ranges of system
//! call numbers, with checks of arguments where a range has any.

use std::borrow::Cow;

use super::abi::{Abi, Architecture, Machine, Syscall, X32_BIT};
use super::bpf::{Assembler, LONGEST, Label, Test};
use super::profile::{self, Comparison, Condition, Profile, Rule};
use super::tables::MULTIPLEXED;
use super::{Filter, Refusal};

/// Where the words of `seccomp_data` are.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// What a filter says to calls that come through another ABI than the profile's.
const FOREIGN: u32 = libc::SECCOMP_RET_KILL_THREAD;

/// Numbers below this are looked up in a table; only arm has greater ones, a few.
const COMMON_NUMBERS: usize = 1024;

/// What happens to a call: the same always, or as the first check says that it passes.
#[derive(Debug, Clone, PartialEq)]
enum Verdict<'a> {
    Always(u32),
    Checked(Vec<Check<'a>>),
}

/// Conditions and what to do where all of them hold.
#[derive(Debug, Clone, PartialEq)]
struct Check<'a> {
    conditions: Cow<'a, [Condition]>,
    action: u32,
}

/// From this number on, up to the next range's.
type Range<'a> = (u32, Verdict<'a>);

/// # Errors
/// Rules that contradict each other, or a program too long for the kernel.
pub(super) fn compile(profile: &Profile<'_>, machine: Machine) -> Result<Filter, Refusal> {
    let mut program = Assembler::default();
    let (mut allowed, mut restricted, mut permits_clock) = (0, 0, false);
    let mut sections = Vec::new();
    for architecture in machine.architectures().iter().rev() {
        let mut ranges = Vec::new();
        for abi in covered(profile, machine, architecture) {
            let calls = Calls::new(profile, abi)?;
            if abi == machine.own() {
                allowed = calls.verdicts.iter().filter(|(_, v)| v.always_permits()).count();
                restricted = calls.verdicts.len() - allowed;
                permits_clock = calls.always_runs(libc::SYS_clock_gettime as u32, profile.default);
            }
            calls.add_ranges(profile, abi, &mut ranges);
        }
        if ranges.is_empty() {
            continue;
        }
        let mut starts = Vec::with_capacity(ranges.len());
        for (start, verdict) in &ranges {
            let abi = architecture.abis.iter().rfind(|abi| abi.first() <= *start);
            let bits = abi.map_or(u64::MAX, |abi| abi.argument_bits());
            let label = write_verdict(&mut program, verdict, profile.default, bits);
            starts.push((*start, label));
        }
        let search = write_search(&mut program, &starts);
        sections.push((architecture.audit, program.load(NUMBER, search)));
    }
    let mut dispatch = program.end(FOREIGN);
    for (audit, section) in sections {
        dispatch = program.test(Test::Equal, audit, section, dispatch);
    }
    program.load(ARCHITECTURE, dispatch);
    if program.len() > LONGEST {
        return Err(too_long(program.len()));
    }
    let program = program.finish();
    let default = profile.default;
    Ok(Filter { program, flags: 0, allowed, restricted, permits_clock, default })
}

fn too_long(instructions: usize) -> Refusal {
    let reason = format!("it makes {instructions} instructions, the kernel takes {LONGEST}");
    Refusal::new("linux.seccomp", reason)
}

/// The ABIs of an architecture that the profile is about; the machine's own one always is.
fn covered(
    profile: &Profile<'_>,
    machine: Machine,
    architecture: &Architecture,
) -> impl Iterator<Item = Abi> {
    let is_covered = move |abi: &Abi| *abi == machine.own() || profile.abis.contains(abi);
    architecture.abis.iter().copied().filter(is_covered)
}

/// The system calls of an ABI that the profile is about.
struct Calls<'a> {
    /// By number, each once.
    verdicts: Vec<(u32, Verdict<'a>)>,
    /// The greatest number that the profile names, arm's private ones aside.
    newest: Option<u32>,
}

/// A rule's say on a call of an ABI.
struct Entry<'a> {
    number: u32,
    check: Check<'a>,
    /// Which rule said so, or none where it follows from rules for another call.
    rule: Option<usize>,
}

impl<'a> Calls<'a> {
    fn new(profile: &'a Profile<'a>, abi: Abi) -> Result<Self, Refusal> {
        // Most rules have no conditions, and of those the first for a call counts alone.
        let mut always = vec![None; COMMON_NUMBERS];
        let mut entries = Vec::new();
        let mut behind_multiplexers = Vec::new();
        let mut newest = None;
        for (index, rule) in profile.rules.iter().enumerate() {
            for syscall in &rule.names {
                let number = syscall.number(abi);
                newest = newest.max(number);
                if rule.action == profile.default {
                    continue;
                }
                if abi == Abi::I386
                    && let Some(row) = multiplexed(syscall.name)
                {
                    behind_multiplexers.push((row, rule));
                }
                let Some(number) = number.or_else(|| syscall.private_number(abi)) else {
                    continue;
                };
                for conditions in &rule.alternatives {
                    let conditions = needed(conditions, abi);
                    let common = always.get_mut((number - abi.first()) as usize);
                    match common.filter(|_| conditions.is_empty()) {
                        Some(known) => _ = known.get_or_insert(rule.action),
                        None => {
                            let check = Check { conditions, action: rule.action };
                            entries.push(Entry { number, check, rule: Some(index) });
                        }
                    }
                }
            }
        }
        behind_multiplexers.sort_by_key(|(row, _)| *row);
        let behind = behind_multiplexers.chunk_by(|a, b| a.0 == b.0);
        entries.extend(behind.filter_map(multiplexer_entry));
        let is_always =
            |number: u32| matches!(always.get((number - abi.first()) as usize), Some(Some(_)));
        entries.retain(|entry| !is_always(entry.number));
        entries.sort_by_key(|entry| entry.number);
        let numbered = (abi.first()..).zip(&always);
        let mut verdicts: Vec<(u32, Verdict)> = numbered
            .filter_map(|(number, action)| Some((number, Verdict::Always((*action)?))))
            .collect();
        for call in entries.chunk_by(|a, b| a.number == b.number) {
            verdicts.push((call[0].number, verdict(call, abi)?));
        }
        verdicts.sort_by_key(|(number, _)| *number);
        Ok(Calls { verdicts, newest })
    }

    /// Appends the ranges of the ABI's numbers.
    fn add_ranges(self, profile: &Profile<'_>, abi: Abi, ranges: &mut Vec<Range<'a>>) {
        let newest = self.newest.filter(|_| profile.enosys);
        let is_unknown = |number: u32| newest.is_some_and(|newest| number > newest);
        let unnamed = |number| match is_unknown(number) {
            true => Verdict::Always(profile::errno(libc::ENOSYS as u32)),
            false => Verdict::Always(profile.default),
        };
        // x32 may overwrite the numbers that x86_64 leaves to it.
        ranges.retain(|(start, _)| *start < abi.first());
        let mut add = |start: u32, verdict: Verdict<'a>| {
            if ranges.last().is_none_or(|(_, last)| *last != verdict) {
                ranges.push((start, verdict));
            }
        };
        let mut next = abi.first();
        for (number, verdict) in self.verdicts {
            if next < number {
                add(next, unnamed(next));
                if let Some(newest) = newest.filter(|newest| (next..number - 1).contains(newest)) {
                    add(newest + 1, unnamed(newest + 1));
                }
            }
            add(number, verdict);
            next = number + 1;
        }
        add(next, unnamed(next));
        if let Some(newest) = newest.filter(|newest| *newest >= next) {
            add(newest + 1, unnamed(newest + 1));
        }
        if abi == Abi::X86_64 {
            add(X32_BIT, Verdict::Always(FOREIGN));
            // What a tracer has skipped bears this number (seccomp(2), -1).
            add(u32::MAX, Verdict::Always(profile.default));
        }
    }

    /// Whether nothing and nobody is asked before this call runs.
    fn always_runs(&self, call: u32, default: u32) -> bool {
        let verdict = self.verdicts.iter().find(|(number, _)| *number == call);
        let action = match verdict {
            Some((_, Verdict::Always(action))) => *action,
            Some((_, Verdict::Checked(_))) => return false,
            None => default,
        };
        [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG].contains(&action)
    }
}

/// The conditions that don't hold anyway.
fn needed(conditions: &[Condition], abi: Abi) -> Cow<'_, [Condition]> {
    let is_needed = |condition: &&Condition| condition.mask & abi.argument_bits() != 0;
    match conditions.iter().all(|condition| is_needed(&condition)) {
        true => conditions.into(),
        false => conditions.iter().filter(is_needed).copied().collect(),
    }
}

/// What the rules for a call come to.
fn verdict<'a>(entries: &[Entry<'a>], abi: Abi) -> Result<Verdict<'a>, Refusal> {
    let always = entries.iter().find(|entry| entry.check.conditions.is_empty());
    if let Some(entry) = always {
        return Ok(Verdict::Always(entry.check.action));
    }
    if entries.len() > LONGEST {
        return Err(too_long(entries.len()));
    }
    for (index, entry) in entries.iter().enumerate() {
        let conflicts = |earlier: &&Entry| {
            earlier.check.action != entry.check.action
                && earlier.check.conditions.starts_with(&entry.check.conditions)
        };
        let earlier = entries[..index].iter().find(conflicts).and_then(|earlier| earlier.rule);
        if let (Some(rule), Some(earlier)) = (entry.rule, earlier) {
            let reason = format!(
                "another action for what linux.seccomp.syscalls[{earlier}] decides already"
            );
            return Err(Refusal::new(format!("linux.seccomp.syscalls[{rule}]"), reason));
        }
    }
    let mut checks: Vec<_> = entries.iter().map(|entry| entry.check.clone()).collect();
    checks.sort_by(|a, b| profile::precedence(&a.conditions, &b.conditions, abi.argument_bits()));
    checks.dedup();
    Ok(Verdict::Checked(checks))
}

/// The row of a call that i386 has behind socketcall(2) or ipc(2).
fn multiplexed(name: &str) -> Option<usize> {
    MULTIPLEXED.binary_search_by_key(&name, |row| row.0).ok()
}

/// What follows for a multiplexer from the rules for a call behind it, given with its row.
///
/// The arguments of such a call are in memory, where a filter can't look. So a rule with
/// conditions that permits is left out, and one that doesn't holds for the whole call.
fn multiplexer_entry<'a>(rules: &[(usize, &Rule<'_>)]) -> Option<Entry<'a>> {
    let (_, multiplexer, call) = MULTIPLEXED.get(rules.first()?.0)?;
    let is_unconditional = |rule: &Rule| rule.alternatives.iter().any(Vec::is_empty);
    let always = rules.iter().find(|(_, rule)| is_unconditional(rule));
    let (_, rule) =
        always.or_else(|| rules.iter().find(|(_, rule)| !profile::permits(rule.action)))?;
    // The upper half of ipc's first argument is a version.
    let mask = if *multiplexer == "ipc" { 0xffff } else { u64::MAX };
    let value = u64::from(*call);
    let condition = Condition { index: 0, comparison: Comparison::Equal, mask, value };
    let number = Syscall::named(multiplexer).number(Abi::I386)?;
    let check = Check { conditions: Cow::Owned(vec![condition]), action: rule.action };
    Some(Entry { number, check, rule: None })
}

impl Verdict<'_> {
    fn always_permits(&self) -> bool {
        matches!(self, Verdict::Always(action) if profile::permits(*action))
    }
}

/// A binary search for the range that the accumulator's number is in.
fn write_search(program: &mut Assembler, starts: &[(u32, Label)]) -> Label {
    match starts {
        [(_, only)] => *only,
        _ => {
            let (below, from) = starts.split_at(starts.len() / 2);
            let (yes, no) = (write_search(program, from), write_search(program, below));
            program.test(Test::AtLeast, from[0].0, yes, no)
        }
    }
}

fn write_verdict(program: &mut Assembler, verdict: &Verdict<'_>, default: u32, bits: u64) -> Label {
    match verdict {
        Verdict::Always(action) => program.end(*action),
        Verdict::Checked(checks) => {
            let none = program.end(default);
            checks.iter().rev().fold(none, |no, check| {
                let yes = program.end(check.action);
                let conditions = check.conditions.iter().rev();
                conditions
                    .fold(yes, |yes, condition| write_condition(program, condition, bits, yes, no))
            })
        }
    }
}

/// A comparison of 64 bits with an accumulator of 32.
fn write_condition(
    program: &mut Assembler,
    condition: &Condition,
    bits: u64,
    yes: Label,
    no: Label,
) -> Label {
    let Condition { index, comparison, mask, value } = *condition;
    let (test, yes, no) = match comparison {
        Comparison::Equal => (Test::Equal, yes, no),
        Comparison::NotEqual => (Test::Equal, no, yes),
        Comparison::AtLeast => (Test::AtLeast, yes, no),
        Comparison::Below => (Test::AtLeast, no, yes),
        Comparison::Above => (Test::Above, yes, no),
        Comparison::AtMost => (Test::Above, no, yes),
    };
    let low = (ARGUMENTS + 8 * u32::from(index), mask as u32);
    let high = (low.0 + 4, (mask >> 32) as u32);
    let (low_value, high_value) = (value as u32, (value >> 32) as u32);
    if low.1 == 0 {
        return program.load_and_test(high, test, high_value, yes, no);
    }
    let below = program.load_and_test(low, test, low_value, yes, no);
    if bits >> 32 == 0 || high.1 == 0 {
        return below;
    }
    let equal = match test {
        Test::Equal => return program.load_and_test(high, Test::Equal, high_value, below, no),
        Test::Above | Test::AtLeast => program.test(Test::Equal, high_value, below, no),
    };
    program.load_and_test(high, Test::Above, high_value, yes, equal)
}
