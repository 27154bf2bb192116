//! Programs are judged by running them, on an interpreter of the instructions in use.

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use super::abi::{Abi, Machine, Syscall};
use super::tables::{MULTIPLEXED, SYSCALLS};
use super::{Filter, Listener, Refusal, compile};

mod default;
mod differential;
mod fuzz;
mod headers;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_THREAD;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;

/// What the kernel's `seccomp_data` says of a call.
#[derive(Debug, Clone, Copy)]
struct Call {
    number: u32,
    architecture: u32,
    args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.architecture,
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                (arg >> (offset % 8 * 8)) as u32
            }
            _ => panic!("a load from {offset}"),
        }
    }
}

/// The verdict of a program, and how many instructions it took.
fn run(program: &[libc::sock_filter], call: Call) -> (u32, usize) {
    let (mut at, mut accumulator, mut steps) = (0, 0_u32, 0);
    loop {
        let libc::sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        steps += 1;
        let mut branch = |taken: bool| at += usize::from(if taken { jt } else { jf });
        match code {
            0x20 => accumulator = call.word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => branch(accumulator == k),
            0x25 => branch(accumulator > k),
            0x35 => branch(accumulator >= k),
            0x06 => return (k, steps),
            _ => panic!("instruction {code:#x}"),
        }
    }
}

fn filter_of(json: Value) -> Result<Filter, Refusal> {
    let profile: LinuxSeccomp = serde_json::from_value(json).expect("a profile");
    compile(&profile, Some(Machine::X86_64))
}

fn filter(json: Value) -> Filter {
    filter_of(json).expect("a filter")
}

fn says(filter: &Filter, name: &str, args: &[u64]) -> u32 {
    says_on(filter, Abi::X86_64, name, args)
}

fn says_on(filter: &Filter, abi: Abi, name: &str, args: &[u64]) -> u32 {
    let number = Syscall::named(name).number(abi).expect("a number");
    says_number(filter, if abi == Abi::I386 { I386 } else { X86_64 }, number, args)
}

fn says_number(filter: &Filter, architecture: u32, number: u32, args: &[u64]) -> u32 {
    let mut call = Call { number, architecture, args: [0; 6] };
    call.args[..args.len()].copy_from_slice(args);
    run(filter.program.instructions(), call).0
}

fn arg(index: u32, op: &str, value: u64) -> Value {
    json!({ "index": index, "op": format!("SCMP_CMP_{op}"), "value": value })
}

#[test]
fn the_table_is_sorted_and_every_number_is_used_once() {
    assert!(SYSCALLS.is_sorted_by(|a, b| a.0 < b.0));
    assert!(MULTIPLEXED.is_sorted_by(|a, b| a.0 < b.0));
    // On arm one call has two names.
    for abi in [Abi::X86_64, Abi::X32, Abi::I386, Abi::Aarch64, Abi::Riscv64] {
        let numbers = SYSCALLS.iter().filter_map(|row| Syscall::named(row.0).number(abi));
        let mut numbers: Vec<u32> = numbers.collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "{abi:?}");
    }
    let native = |name| Machine::NATIVE.and_then(|m| Syscall::named(name).number(m.own()));
    for (name, number) in [
        ("execve", libc::SYS_execve),
        ("fchmodat2", libc::SYS_fchmodat2),
        ("mseal", libc::SYS_mseal),
        ("clone3", libc::SYS_clone3),
    ] {
        assert_eq!(native(name), u32::try_from(number).ok(), "{name}");
    }
}

#[test]
fn what_is_named_is_allowed_and_the_rest_gets_the_default() {
    let filter = filter(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            { "names": ["read", "write", "futex_wake"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["close"], "action": "SCMP_ACT_KILL_PROCESS" },
            { "names": ["open"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 },
            { "names": ["openat"], "action": "SCMP_ACT_TRACE", "errnoRet": 7 },
            { "names": ["stat"], "action": "SCMP_ACT_TRAP" },
            { "names": ["fstat"], "action": "SCMP_ACT_LOG" },
            { "names": ["lstat"], "action": "SCMP_ACT_KILL" },
        ],
    }));
    for (name, action) in [
        ("read", ALLOW),
        ("write", ALLOW),
        ("poll", EPERM),
        ("close", libc::SECCOMP_RET_KILL_PROCESS),
        ("open", libc::SECCOMP_RET_ERRNO | 13),
        ("openat", libc::SECCOMP_RET_TRACE | 7),
        ("stat", libc::SECCOMP_RET_TRAP),
        ("fstat", libc::SECCOMP_RET_LOG),
        ("lstat", KILL),
    ] {
        assert_eq!(says(&filter, name, &[]), action, "{name}");
    }
    assert_eq!(filter.to_string(), {
        let count = filter.program.len();
        format!("5 system calls allowed, default ERRNO(1), {count} instructions")
    });
}

#[test]
fn a_filter_knows_whether_the_clock_can_be_read() {
    let rule = |action: &str| {
        let syscalls = json!([{ "names": ["clock_gettime"], "action": action }]);
        filter(json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": syscalls })).permits_clock
    };
    assert!(rule("SCMP_ACT_ALLOW") && rule("SCMP_ACT_LOG"));
    assert!(!rule("SCMP_ACT_ERRNO") && !rule("SCMP_ACT_TRACE"));
    assert!(filter(json!({ "defaultAction": "SCMP_ACT_ALLOW" })).permits_clock);
}

#[test]
fn calls_through_abis_that_are_not_listed_kill() {
    let profile = |architectures: Value| {
        filter(json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures }))
    };
    let only_64 = profile(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_ARM", "SCMP_ARCH_S390X"]));
    assert_eq!(says(&only_64, "read", &[]), ALLOW);
    assert_eq!(says_on(&only_64, Abi::X32, "read", &[]), KILL);
    assert_eq!(says_on(&only_64, Abi::I386, "read", &[]), KILL);
    assert_eq!(says_number(&only_64, 0x4000_0028, 3, &[]), KILL);
    assert_eq!(says_number(&only_64, X86_64, u32::MAX, &[]), ALLOW);
    let with_32 = profile(json!(["SCMP_ARCH_X86"]));
    assert_eq!(says(&with_32, "read", &[]), ALLOW);
    assert_eq!(says_on(&with_32, Abi::I386, "read", &[]), ALLOW);
    assert_eq!(says_on(&with_32, Abi::X32, "read", &[]), KILL);
    let with_x32 = profile(json!(["SCMP_ARCH_X32"]));
    assert_eq!(says_on(&with_x32, Abi::X32, "read", &[]), ALLOW);
    assert_eq!(says_number(&profile(json!(["SCMP_ARCH_NATIVE"])), X86_64, 0, &[]), ALLOW);
}

#[test]
fn every_comparison_is_of_64_bits_unsigned() {
    let values = [0, 1, 5, 6, 0xffff_ffff, 1 << 32, (1 << 32) + 5, u64::MAX - 1, u64::MAX];
    type Holds = fn(u64, u64) -> bool;
    let comparisons: [(&str, Holds); 6] = [
        ("EQ", |a, b| a == b),
        ("NE", |a, b| a != b),
        ("LT", |a, b| a < b),
        ("LE", |a, b| a <= b),
        ("GE", |a, b| a >= b),
        ("GT", |a, b| a > b),
    ];
    for (op, holds) in comparisons {
        for value in values {
            let filter = filter(json!({
                "defaultAction": "SCMP_ACT_ERRNO",
                "architectures": ["SCMP_ARCH_X86"],
                "syscalls": [{
                    "names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [arg(5, op, value)],
                }],
            }));
            for given in values {
                let says = |abi| says_on(&filter, abi, "ioctl", &[9, 9, 9, 9, 9, given]) == ALLOW;
                assert_eq!(says(Abi::X86_64), holds(given, value), "{given} {op} {value}");
                // An i386 program has 32 bits, and -1 in a profile is meant for it too.
                let holds = holds(given & 0xffff_ffff, value & 0xffff_ffff);
                assert_eq!(says(Abi::I386), holds, "{given} {op} {value} on i386");
            }
        }
    }
    for mask in [0, 1, 0xf0, 0xf_0000_0000, 0xf_0000_000f] {
        for value in values {
            let mut masked = arg(1, "MASKED_EQ", mask);
            masked["valueTwo"] = json!(value);
            let filter = filter(json!({
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{
                    "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [masked],
                }],
            }));
            for given in values {
                let holds = given & mask == value & mask;
                assert_eq!(says(&filter, "clone", &[7, given]) == ALLOW, holds, "{mask} {given}");
            }
        }
    }
}

#[test]
fn conditions_of_a_rule_must_all_hold_and_one_rule_is_enough() {
    let allow =
        |args: Value| json!({ "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": args });
    let filter = filter(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "syscalls": [
            { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22,
              "args": [arg(0, "EQ", 16), arg(2, "EQ", 9)] },
            allow(json!([arg(2, "NE", 9)])),
            allow(json!([arg(0, "NE", 16)])),
        ],
    }));
    assert_eq!(says(&filter, "socket", &[16, 3, 9]), libc::SECCOMP_RET_ERRNO | 22);
    assert_eq!(says(&filter, "socket", &[16, 3, 0]), ALLOW);
    assert_eq!(says(&filter, "socket", &[2, 3, 9]), ALLOW);
}

#[test]
fn two_conditions_on_one_argument_are_two_rules() {
    let filter = filter(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{
            "names": ["personality"], "action": "SCMP_ACT_ALLOW",
            "args": [arg(0, "EQ", 0), arg(0, "EQ", 8)],
        }],
    }));
    for (value, action) in [(0, ALLOW), (8, ALLOW), (4, EPERM)] {
        assert_eq!(says(&filter, "personality", &[value]), action);
    }
}

#[test]
fn a_rule_without_conditions_counts_alone_and_the_first_one_of_them() {
    let rule =
        |action: &str, args: Value| json!({ "names": ["clone"], "action": action, "args": args });
    let filter = filter(json!({
        "defaultAction": "SCMP_ACT_KILL",
        "syscalls": [
            rule("SCMP_ACT_ERRNO", json!([arg(0, "EQ", 1)])),
            rule("SCMP_ACT_ALLOW", json!([])),
            rule("SCMP_ACT_LOG", json!([])),
        ],
    }));
    assert_eq!(says(&filter, "clone", &[1]), ALLOW);
}

#[test]
fn a_rule_with_the_default_action_says_nothing() {
    let filter = filter(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            { "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 },
            { "names": ["read"], "action": "SCMP_ACT_ALLOW" },
        ],
    }));
    assert_eq!(says(&filter, "read", &[]), ALLOW);
}

#[test]
fn calls_newer_than_the_profile_are_unknown_rather_than_forbidden() {
    let profile = |default: &str| {
        filter(json!({
            "defaultAction": default,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [
                { "names": ["read", "openat2", "no_such_call"], "action": "SCMP_ACT_ALLOW" },
                { "names": ["faccessat2"], "action": "SCMP_ACT_ERRNO" },
            ],
        }))
    };
    let strict = profile("SCMP_ACT_ERRNO");
    for abi in [Abi::X86_64, Abi::X32, Abi::I386] {
        assert_eq!(says_on(&strict, abi, "faccessat2", &[]), EPERM);
        assert_eq!(says_on(&strict, abi, "process_madvise", &[]), ENOSYS);
        assert_eq!(says_on(&strict, abi, "write", &[]), EPERM);
    }
    assert_eq!(says_number(&strict, I386, u32::MAX, &[]), ENOSYS);
    assert_eq!(says_number(&strict, X86_64, X32_BIT - 1, &[]), ENOSYS);
    let killing = profile("SCMP_ACT_KILL_PROCESS");
    assert_eq!(says(&killing, "mount_setattr", &[]), ENOSYS);
    assert_eq!(says(&profile("SCMP_ACT_LOG"), "mount_setattr", &[]), libc::SECCOMP_RET_LOG);
}

#[test]
fn on_i386_a_rule_reaches_behind_the_multiplexers() {
    let args = json!([arg(0, "EQ", 40)]);
    let filter = filter(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [
            { "names": ["socket"], "action": "SCMP_ACT_KILL", "args": args },
            { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [arg(0, "EQ", 1)] },
            { "names": ["bind", "shmat"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["listen"], "action": "SCMP_ACT_ALLOW", "args": args },
        ],
    }));
    let on_i386 = |name, args: &[u64]| says_on(&filter, Abi::I386, name, args);
    assert_eq!(on_i386("bind", &[]), ALLOW);
    assert_eq!(on_i386("socketcall", &[2]), ALLOW);
    // The conditions can't be looked at, so the strict side wins.
    assert_eq!(on_i386("socketcall", &[1]), KILL);
    assert_eq!(on_i386("socketcall", &[4]), EPERM);
    assert_eq!(on_i386("ipc", &[21 | 1 << 16]), ALLOW);
    assert_eq!(on_i386("ipc", &[22]), EPERM);
    assert_eq!(on_i386("socket", &[1]), ALLOW);
}

#[test]
fn what_can_not_be_carried_out_is_refused_by_its_path() {
    let rule = |rule: Value| {
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["read"], "action": "SCMP_ACT_LOG" }, rule,
    ] })
    };
    let with_arg =
        |arg: Value| rule(json!({ "names": ["x"], "action": "SCMP_ACT_KILL", "args": [arg] }));
    let twice = |second: Value| {
        json!({ "defaultAction": "SCMP_ACT_KILL", "syscalls": [
        { "names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [arg(0, "EQ", 1), arg(1, "EQ", 2)] },
        { "names": ["ioctl"], "action": "SCMP_ACT_LOG", "args": second },
    ] })
    };
    for (json, path) in [
        (json!({ "defaultAction": "SCMP_ACT_NOTIFY" }), "listenerPath"),
        (json!({ "defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1 }), "defaultErrnoRet"),
        (json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096 }), "defaultErrnoRet"),
        (json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" }), "listenerMetadata"),
        (rule(json!({ "names": ["x"], "action": "SCMP_ACT_NOTIFY" })), "listenerPath"),
        (
            rule(json!({ "names": ["x"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1 })),
            "syscalls[1].errnoRet",
        ),
        (rule(json!({ "names": ["x", ""], "action": "SCMP_ACT_TRAP" })), "syscalls[1].names[1]"),
        (with_arg(arg(6, "EQ", 1)), "syscalls[1].args[0].index"),
        (twice(json!([arg(0, "EQ", 1), arg(1, "EQ", 2)])), "syscalls[1]"),
        (twice(json!([arg(0, "EQ", 1)])), "syscalls[1]"),
    ] {
        let refusal = filter_of(json).expect_err(path);
        assert_eq!(refusal.path, format!("linux.seccomp.{path}"), "{}", refusal.reason);
    }
    let profile = LinuxSeccomp::default();
    assert_eq!(compile(&profile, None).expect_err("no machine").path, "linux.seccomp");
}

#[test]
fn a_listener_is_asked_only_where_an_action_notifies() {
    let profile = |action: &str| {
        let json = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "listenerPath": "/run/agent",
            "listenerMetadata": "x",
            "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "syscalls": [{ "names": ["mkdir"], "action": action }],
        });
        let profile: LinuxSeccomp = serde_json::from_value(json.clone()).expect("a profile");
        (super::listener(&profile), filter(json))
    };
    let (listener, notifying) = profile("SCMP_ACT_NOTIFY");
    let expected = Listener { path: "/run/agent".into(), metadata: Some("x".into()) };
    assert_eq!(listener, Some(expected));
    assert_eq!(says(&notifying, "mkdir", &[]), libc::SECCOMP_RET_USER_NOTIF);
    assert_eq!(says(&notifying, "read", &[]), EPERM);
    assert_eq!(notifying.flags, libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    let (listener, other) = profile("SCMP_ACT_ALLOW");
    assert_eq!((listener, other.flags), (None, 0));
}

#[test]
fn a_program_longer_than_the_kernel_takes_is_refused() {
    let rules: Vec<Value> = (0..2000)
        .map(|n| json!({ "names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [arg(1, "EQ", n)] }))
        .collect();
    let json = |rules: &[Value]| json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules });
    assert_eq!(filter_of(json(&rules)).expect_err("too long").path, "linux.seccomp");
    // Far targets are reached all the same.
    let filter = filter(json(&rules[..500]));
    for n in [0, 1, 250, 499] {
        assert_eq!(says(&filter, "ioctl", &[0, n]), ALLOW);
    }
    assert_eq!(says(&filter, "ioctl", &[0, 500]), EPERM);
    assert_eq!(says(&filter, "ioctl", &[0, 1 << 32]), EPERM);
    assert_eq!(says(&filter, "read", &[]), EPERM);
}

#[test]
fn the_engines_default_profile_stays_small_and_says_what_its_rules_say() {
    let config = include_str!("../../benches/bundles/engine-default/config.json");
    let config: Value = serde_json::from_str(config).expect("JSON");
    let filter = filter(config["linux"]["seccomp"].clone());
    assert!(filter.program.len() <= 336, "{filter}");
    assert_eq!(says(&filter, "read", &[]), ALLOW);
    assert_eq!(says(&filter, "kexec_load", &[]), EPERM);
    assert_eq!(says(&filter, "mseal", &[]), ENOSYS);
    assert_eq!(says(&filter, "personality", &[0xffff_ffff]), ALLOW);
    assert_eq!(says(&filter, "personality", &[4]), ENOSYS);
    assert_eq!(says(&filter, "socket", &[16, 3, 9]), libc::SECCOMP_RET_ERRNO | 22);
    let program = filter.program.instructions();
    let (mut most, call) = (0, Call { number: 0, architecture: X86_64, args: [0; 6] });
    for number in (0..470).filter(|number| ![41, 135].contains(number)) {
        most = most.max(run(program, Call { number, ..call }).1);
    }
    assert!(most <= 12, "{most} instructions for one call {filter}");
}
