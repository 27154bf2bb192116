//! A profile's rules, checked and brought into the form that the compiler works on.

use std::cmp::Ordering;

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use super::Refusal;
use super::abi::{Abi, Syscall};

/// The kernel takes greater errnos for this one (`MAX_ERRNO`).
const GREATEST_ERRNO: u32 = 4095;

/// A profile whose fields can all be carried out.
#[derive(Debug)]
pub(super) struct Profile<'a> {
    /// `SECCOMP_RET_*` for what no rule is about.
    pub(super) default: u32,
    /// Whether system calls newer than the profile get ENOSYS instead.
    pub(super) enosys: bool,
    pub(super) abis: Vec<Abi>,
    pub(super) rules: Vec<Rule<'a>>,
}

/// One entry of `syscalls`.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    pub(super) names: Vec<Syscall<'a>>,
    pub(super) action: u32,
    /// Each of them is enough; conditions in one must all hold. One without conditions
    /// always applies.
    pub(super) alternatives: Vec<Vec<Condition>>,
}

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Number of the argument, from 0.
    pub(super) index: u8,
    pub(super) comparison: Comparison,
    /// The bits that are compared.
    pub(super) mask: u64,
    pub(super) value: u64,
}

/// Comparisons, of unsigned numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Below,
    AtMost,
    AtLeast,
    Above,
}

/// Reads a profile.
///
/// # Errors
/// The field that can't be carried out.
pub(super) fn read(profile: &LinuxSeccomp) -> Result<Profile<'_>, Refusal> {
    let default = action(profile.default_action(), profile.default_errno_ret())
        .map_err(|reason| Refusal::new("linux.seccomp.defaultErrnoRet", reason))?;
    let has_listener = profile.listener_path().as_ref().is_some_and(|path| path.as_os_str() != "");
    if profile.listener_metadata().as_ref().is_some_and(|data| !data.is_empty()) && !has_listener {
        let reason = "it has no meaning without a listenerPath";
        return Err(Refusal::new("linux.seccomp.listenerMetadata", reason));
    }
    if !has_listener && let Some(path) = notifying(profile) {
        let reason = format!("a listener must be named, since {path} is SCMP_ACT_NOTIFY");
        return Err(Refusal::new("linux.seccomp.listenerPath", reason));
    }
    let architectures = profile.architectures().iter().flatten();
    let abis = architectures.copied().filter_map(Abi::of).collect();
    let syscalls = profile.syscalls().iter().flatten().enumerate();
    let rules = syscalls.map(|(index, syscall)| rule(index, syscall)).collect::<Result<_, _>>()?;
    let enosys = !permits(default) && default != errno(libc::ENOSYS as u32);
    Ok(Profile { default, enosys, abis, rules })
}

/// The path of the first action that asks a listener.
pub(super) fn notifying(profile: &LinuxSeccomp) -> Option<String> {
    let is_notify = |action| action == LinuxSeccompAction::ScmpActNotify;
    if is_notify(profile.default_action()) {
        return Some("defaultAction".to_owned());
    }
    let mut rules = profile.syscalls().iter().flatten();
    let index = rules.position(|rule| is_notify(rule.action()))?;
    Some(format!("syscalls[{index}].action"))
}

fn rule(index: usize, syscall: &LinuxSyscall) -> Result<Rule<'_>, Refusal> {
    let path = |field: &str| format!("linux.seccomp.syscalls[{index}].{field}");
    if syscall.names().is_empty() {
        return Err(Refusal::new(path("names"), "a rule needs at least one system call"));
    }
    if let Some(at) = syscall.names().iter().position(String::is_empty) {
        let reason = "no system call has an empty name";
        return Err(Refusal::new(path(&format!("names[{at}]")), reason));
    }
    let action = action(syscall.action(), syscall.errno_ret())
        .map_err(|reason| Refusal::new(path("errnoRet"), reason))?;
    let mut conditions = Vec::new();
    for (number, arg) in syscall.args().iter().flatten().enumerate() {
        let place = || path(&format!("args[{number}].index"));
        conditions.push(condition(arg).map_err(|reason| Refusal::new(place(), reason))?);
    }
    conditions.sort_by_key(|condition| condition.index);
    let is_repeated = conditions.windows(2).any(|pair| pair[0].index == pair[1].index);
    let alternatives = if is_repeated {
        conditions.into_iter().map(|condition| vec![condition]).collect()
    } else {
        vec![conditions]
    };
    let mut names = Vec::with_capacity(syscall.names().len());
    names.extend(Syscall::all(syscall.names()));
    Ok(Rule { names, action, alternatives })
}

/// # Errors
/// What is wrong with the index.
fn condition(arg: &LinuxSeccompArg) -> Result<Condition, String> {
    let index = match u8::try_from(arg.index()) {
        Ok(index @ 0..6) => index,
        _ => return Err(format!("a system call has the arguments 0 to 5, not {}", arg.index())),
    };
    let whole = |comparison| (comparison, u64::MAX, arg.value());
    let (comparison, mask, value) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpEq => whole(Comparison::Equal),
        LinuxSeccompOperator::ScmpCmpNe => whole(Comparison::NotEqual),
        LinuxSeccompOperator::ScmpCmpLt => whole(Comparison::Below),
        LinuxSeccompOperator::ScmpCmpLe => whole(Comparison::AtMost),
        LinuxSeccompOperator::ScmpCmpGe => whole(Comparison::AtLeast),
        LinuxSeccompOperator::ScmpCmpGt => whole(Comparison::Above),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            let mask = arg.value();
            (Comparison::Equal, mask, arg.value_two().unwrap_or(0) & mask)
        }
    };
    Ok(Condition { index, comparison, mask, value })
}

/// The value that a filter ends with.
///
/// # Errors
/// What is wrong with the errno.
fn action(action: LinuxSeccompAction, errno_ret: Option<u32>) -> Result<u32, String> {
    let (value, greatest) = match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            (libc::SECCOMP_RET_KILL_THREAD, 0)
        }
        LinuxSeccompAction::ScmpActKillProcess => (libc::SECCOMP_RET_KILL_PROCESS, 0),
        LinuxSeccompAction::ScmpActTrap => (libc::SECCOMP_RET_TRAP, 0),
        LinuxSeccompAction::ScmpActLog => (libc::SECCOMP_RET_LOG, 0),
        LinuxSeccompAction::ScmpActAllow => (libc::SECCOMP_RET_ALLOW, 0),
        LinuxSeccompAction::ScmpActErrno => (libc::SECCOMP_RET_ERRNO, GREATEST_ERRNO),
        LinuxSeccompAction::ScmpActTrace => (libc::SECCOMP_RET_TRACE, libc::SECCOMP_RET_DATA),
        LinuxSeccompAction::ScmpActNotify => (libc::SECCOMP_RET_USER_NOTIF, 0),
    };
    match errno_ret {
        None if greatest == 0 => Ok(value),
        None => Ok(value | libc::EPERM as u32),
        Some(_) if greatest == 0 => Err(format!("{action} gives no errno")),
        Some(number) if number > greatest => {
            Err(format!("{number} is above the greatest, {greatest}"))
        }
        Some(number) => Ok(value | number),
    }
}

/// Whether a profile lets every caller make a system call, whatever its arguments.
pub(crate) fn always_permits(profile: &LinuxSeccomp, name: &str) -> bool {
    let rules = profile.syscalls().iter().flatten();
    let own = rules.filter(|rule| rule.names().iter().any(|other| other == name));
    let mut unconditional = own.filter(|rule| rule.args().iter().flatten().next().is_none());
    let action = unconditional.next().map_or(profile.default_action(), |rule| rule.action());
    matches!(action, LinuxSeccompAction::ScmpActAllow | LinuxSeccompAction::ScmpActLog)
}

/// The value that gives a caller an errno.
pub(super) fn errno(number: u32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number
}

/// Whether the system call runs, or a tracer or a listener decides so.
pub(super) fn permits(action: u32) -> bool {
    matches!(
        action & libc::SECCOMP_RET_ACTION_FULL,
        libc::SECCOMP_RET_ALLOW
            | libc::SECCOMP_RET_LOG
            | libc::SECCOMP_RET_TRACE
            | libc::SECCOMP_RET_USER_NOTIF
    )
}

/// An action as a profile names it, less its `SCMP_ACT_`: `ERRNO(1)`.
pub(super) fn action_words(action: u32) -> String {
    let number = action & libc::SECCOMP_RET_DATA;
    match action & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_KILL_THREAD => "KILL_THREAD".to_owned(),
        libc::SECCOMP_RET_KILL_PROCESS => "KILL_PROCESS".to_owned(),
        libc::SECCOMP_RET_TRAP => "TRAP".to_owned(),
        libc::SECCOMP_RET_ERRNO => format!("ERRNO({number})"),
        libc::SECCOMP_RET_TRACE => format!("TRACE({number})"),
        libc::SECCOMP_RET_LOG => "LOG".to_owned(),
        libc::SECCOMP_RET_USER_NOTIF => "NOTIFY".to_owned(),
        libc::SECCOMP_RET_ALLOW => "ALLOW".to_owned(),
        other => format!("{other:#x}"),
    }
}

/// Which conditions are looked at first when several rules could apply.
///
/// The order that libseccomp's decision trees have: later arguments first, then equality
/// before "at most" before "at least", then what holds for fewer values. Wider conditions
/// come before narrower ones that begin alike. Only some `bits` of the values are looked at.
pub(super) fn precedence(a: &[Condition], b: &[Condition], bits: u64) -> Ordering {
    let pairs = a.iter().zip(b);
    let differing = pairs.map(|(a, b)| a.precedence(b, bits)).find(|order| order.is_ne());
    differing.unwrap_or_else(|| a.len().cmp(&b.len()))
}

impl Condition {
    fn precedence(&self, other: &Condition, bits: u64) -> Ordering {
        let rank = |condition: &Condition| match condition.comparison {
            Comparison::Equal | Comparison::NotEqual => 2,
            Comparison::Below | Comparison::AtMost => 1,
            Comparison::AtLeast | Comparison::Above => 0,
        };
        let values = match rank(self) {
            1 => (self.value & bits).cmp(&(other.value & bits)),
            _ => (other.value & bits).cmp(&(self.value & bits)),
        };
        other.index.cmp(&self.index).then(rank(other).cmp(&rank(self))).then(values)
    }
}
