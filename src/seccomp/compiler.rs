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
                (allowed, restricted) = calls.count(profile.default);
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

/// What happens to the system calls of an ABI.
struct Calls<'a> {
    /// From the ABI's first number to the greatest that the profile names: what rules without
    /// conditions say, else the default.
    actions: Vec<u32>,
    /// What the other rules say, by number.
    others: Vec<(u32, Verdict<'a>)>,
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
        let mut actions = Vec::new();
        let first = abi.first();
        let index = |number: u32| (number - first) as usize;
        let mut entries = Vec::new();
        for (rule_index, rule) in profile.rules.iter().enumerate() {
            let alternatives = || rule.alternatives.iter().map(|all| needed(all, abi));
            let is_unconditional = alternatives().any(|conditions| conditions.is_empty());
            for syscall in &rule.names {
                let common = syscall.number(abi);
                if let Some(end) = common.map(|number| index(number) + 1)
                    && end > actions.len()
                {
                    actions.resize(end, profile.default);
                }
                let number = common.or_else(|| syscall.private_number(abi));
                let Some(number) = number.filter(|_| rule.action != profile.default) else {
                    continue;
                };
                match actions.get_mut(index(number)).filter(|_| is_unconditional) {
                    // Of the rules without conditions the first counts alone.
                    Some(action) if *action == profile.default => *action = rule.action,
                    Some(_) => {}
                    None => entries.extend(alternatives().map(|conditions| Entry {
                        number,
                        check: Check { conditions, action: rule.action },
                        rule: Some(rule_index),
                    })),
                }
            }
        }
        let is_decided = |number: u32| {
            actions.get(index(number)).is_some_and(|action| *action != profile.default)
        };
        if abi == Abi::I386 {
            add_multiplexers(profile, is_decided, &mut entries);
        }
        entries.retain(|entry| !is_decided(entry.number));
        entries.sort_by_key(|entry| entry.number);
        let calls = entries.chunk_by(|a, b| a.number == b.number);
        let others = calls.map(|call| Ok((call[0].number, verdict(call, abi)?)));
        let others = others.collect::<Result<_, _>>()?;
        Ok(Calls { actions, others })
    }

    /// Appends the ranges of the ABI's numbers.
    fn add_ranges(self, profile: &Profile<'_>, abi: Abi, ranges: &mut Vec<Range<'a>>) {
        // x32 may overwrite the numbers that x86_64 leaves to it.
        ranges.retain(|(start, _)| *start < abi.first());
        let mut add = |start: u32, verdict: Verdict<'a>| {
            if ranges.last().is_none_or(|(_, last)| *last != verdict) {
                ranges.push((start, verdict));
            }
        };
        let newer = match profile.enosys && !self.actions.is_empty() {
            true => profile::errno(libc::ENOSYS as u32),
            false => profile.default,
        };
        let others = self.others.into_iter().map(|(number, verdict)| (number, Some(verdict)));
        let mut actions = self.actions.as_slice();
        let mut next = abi.first();
        for (number, verdict) in others.chain([(u32::MAX, None)]) {
            let before = (number - next) as usize;
            let (before, rest) = actions.split_at(before.min(actions.len()));
            for run in before.chunk_by(|a, b| a == b) {
                add(next, Verdict::Always(run[0]));
                next += run.len() as u32;
            }
            if next < number {
                add(next, Verdict::Always(newer));
            }
            if let Some(verdict) = verdict {
                add(number, verdict);
                next = number + 1;
                actions = rest.get(1..).unwrap_or_default();
            }
        }
        if abi == Abi::X86_64 {
            add(X32_BIT, Verdict::Always(FOREIGN));
            // What a tracer has skipped bears this number (seccomp(2), -1).
            add(u32::MAX, Verdict::Always(profile.default));
        }
    }

    /// How many always run, and how many others there are rules for.
    fn count(&self, default: u32) -> (usize, usize) {
        let decided = || self.actions.iter().filter(|action| **action != default);
        let allowed = decided().filter(|action| profile::permits(**action)).count();
        (allowed, decided().count() - allowed + self.others.len())
    }

    /// Whether nothing and nobody is asked before this call of the machine's own ABI runs.
    fn always_runs(&self, call: u32, default: u32) -> bool {
        let action = self.actions.get(call as usize).unwrap_or(&default);
        let is_checked = self.others.iter().any(|(number, _)| *number == call);
        !is_checked && [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG].contains(action)
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

/// Adds what follows for socketcall(2) and ipc(2) of i386 from the rules for calls behind
/// them, unless both are decided about anyway, as in the profiles of engines.
fn add_multiplexers<'a>(
    profile: &Profile<'_>,
    is_decided: impl Fn(u32) -> bool,
    entries: &mut Vec<Entry<'a>>,
) {
    let multiplexers = ["ipc", "socketcall"].map(|name| Syscall::named(name).number(Abi::I386));
    if multiplexers.into_iter().flatten().all(is_decided) {
        return;
    }
    let mut behind = Vec::new();
    for rule in profile.rules.iter().filter(|rule| rule.action != profile.default) {
        let rows = rule.names.iter().map(|call| multiplexed(call.name));
        behind.extend(rows.flatten().map(|row| (row, rule)));
    }
    behind.sort_by_key(|(row, _)| *row);
    entries.extend(behind.chunk_by(|a, b| a.0 == b.0).filter_map(multiplexer_entry));
}

/// The row of a call that i386 has behind a multiplexer.
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
