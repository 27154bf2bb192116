//! Random profiles, and every system call of every ABI under them, judged by libseccomp's
//! programs as well. MINIRUN_SECCOMP_ROUNDS says how often 100 profiles are made for each
//! machine; one round is a second.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;
use crate::seccomp::abi::{Abi, Architecture};
use crate::seccomp::profile::Profile;
use crate::seccomp::tables::ARM_PRIVATE;
use crate::seccomp::{compiler, profile};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/seccomp/tests/libseccomp.c");

/// Numbers that look random and are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

const ACTIONS: [&str; 8] =
    ["ALLOW", "ERRNO", "LOG", "TRAP", "KILL_PROCESS", "KILL_THREAD", "TRACE", "NOTIFY"];
const VALUES: [u64; 7] = [0, 1, 9, 0xffff_ffff, 1 << 32, (1 << 32) + 9, u64::MAX];

/// A machine, and what profiles and libseccomp call its ABIs, its own first.
type Row = (Machine, &'static [(Abi, &'static str, u32)]);

const MACHINES: [Row; 3] = [
    (
        Machine::X86_64,
        &[
            (Abi::X86_64, "SCMP_ARCH_X86_64", X86_64),
            (Abi::I386, "SCMP_ARCH_X86", I386),
            (Abi::X32, "SCMP_ARCH_X32", 0x4000_003e),
        ],
    ),
    (
        Machine::Aarch64,
        &[
            (Abi::Aarch64, "SCMP_ARCH_AARCH64", 0xc000_00b7),
            (Abi::Arm, "SCMP_ARCH_ARM", 0x4000_0028),
        ],
    ),
    (Machine::Riscv64, &[(Abi::Riscv64, "SCMP_ARCH_RISCV64", 0xc000_00f3)]),
];

/// By their numbers in libseccomp's `enum scmp_compare`.
const OPERATORS: [&str; 8] = ["", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

/// Names that libseccomp 2.5 knows, each on at least one ABI of a machine.
fn names(abis: &[(Abi, &str, u32)]) -> Vec<&'static str> {
    let is_old = |row: &&(&str, [i16; 5])| row.1.iter().all(|number| *number <= 448);
    let numbered = |name: &str, abi: Abi| {
        let call = Syscall::named(name);
        call.number(abi).or_else(|| call.private_number(abi))
    };
    let is_here = |name: &&str| abis.iter().any(|row| numbered(name, row.0).is_some());
    let common = SYSCALLS.iter().filter(is_old).map(|row| row.0);
    let all = common.chain(ARM_PRIVATE.iter().map(|row| row.0));
    // Three came after 2.5, and two are one call on arm, of which it knows one name.
    const UNKNOWN: [&str; 5] =
        ["uprobe", "uretprobe", "riscv_hwprobe", "arm_sync_file_range", "sync_file_range2"];
    let is_known = |name: &&str| !UNKNOWN.contains(name);
    all.filter(is_known).filter(is_here).collect()
}

/// Rules for one call, in forms that profiles have and that libseccomp 2.5 gets right. (Its
/// trees lose or widen some rules where several compare the same arguments otherwise, and
/// never come to an end for some.)
fn rules(random: &mut Random, name: &str, list: &mut Vec<Value>) {
    let is_multiplexed =
        MULTIPLEXED.iter().any(|row| row.0 == name) || ["socketcall", "ipc"].contains(&name);
    let mut add = |action: &str, args: Value| {
        list.push(json!({ "names": [name], "action": format!("SCMP_ACT_{action}"), "args": args }));
    };
    let compare = |index, operator: &str, value, second: u64| {
        let mut arg = arg(index, operator, value);
        arg["valueTwo"] = second.into();
        arg
    };
    let (first, second) = (random.of(&VALUES), random.of(&VALUES));
    let index = random.below(3) as u32;
    match if is_multiplexed { 0 } else { random.below(5) } {
        0 => return add(random.of(&ACTIONS), json!([])),
        1 => {
            let operator = OPERATORS[1 + random.below(7) as usize];
            let last = compare(index + 1, operator, first, second);
            match random.below(2) {
                0 => add(random.of(&ACTIONS), json!([last])),
                _ => add(random.of(&ACTIONS), json!([compare(index, "EQ", second, 0), last])),
            }
        }
        2 => {
            for value in VALUES.iter().filter(|_| random.below(2) == 0) {
                add("ALLOW", json!([compare(index, "EQ", *value, 0)]));
            }
        }
        3 => {
            for index in 0..3 {
                let value = VALUES[(random.below(2) + 2 * u64::from(index)) as usize];
                add(random.of(&ACTIONS), json!([compare(index, "EQ", value, 0)]));
            }
        }
        _ => {
            let (one, other) = ((index, first), (index + 2, second));
            let equal = |(index, value)| compare(index, "EQ", value, 0);
            let differs = |(index, value)| compare(index, "NE", value, 0);
            add("ERRNO", json!([equal(one), equal(other)]));
            add("ALLOW", json!([differs(other)]));
            add("ALLOW", json!([differs(one)]));
        }
    }
    if random.below(6) == 0 {
        add(random.of(&ACTIONS), json!([]));
    }
}

fn random_profile(random: &mut Random, names: &[&'static str], abis: &[(Abi, &str, u32)]) -> Value {
    // Where an ABI has no call at all, libseccomp 2.5 compares numbers that it didn't load.
    let mut syscalls =
        vec![json!({ "names": ["getppid"], "action": "SCMP_ACT_TRACE", "args": [] })];
    let mut used = HashSet::from(["getppid"]);
    for _ in 0..1 + random.below(40) {
        let name = random.of(names);
        // Twice the same call would make forms that libseccomp gets wrong.
        if used.insert(name) {
            rules(random, name, &mut syscalls);
        }
    }
    // The default must not be that of the rule above; notifying all is beyond libseccomp.
    let default = random.of(&ACTIONS[..6]);
    let architectures = abis.iter().filter(|_| random.below(2) == 0);
    json!({
        "defaultAction": format!("SCMP_ACT_{default}"),
        "listenerPath": "/run/agent",
        "architectures": architectures.map(|row| row.1).collect::<Vec<_>>(),
        "syscalls": syscalls,
    })
}

/// The profile as the C program reads it.
fn for_libseccomp(json: &Value, profile: &Profile<'_>, abis: &[(Abi, &str, u32)]) -> String {
    let mut text = format!("new {}\n", profile.default);
    let listed = json["architectures"].as_array().unwrap();
    for (index, (_, name, token)) in abis.iter().enumerate() {
        if index == 0 || listed.contains(&(*name).into()) {
            text += &format!("arch {token}\n");
        }
    }
    if !abis.iter().any(|row| row.2 == X86_64) {
        text += &format!("without {X86_64}\n");
    }
    for (rule, json) in profile.rules.iter().zip(json["syscalls"].as_array().unwrap()) {
        let args = json["args"].as_array().unwrap();
        text += &format!("rule {} {} {}", rule.action, rule.names[0].name, args.len());
        for arg in args {
            let operator = arg["op"].as_str().unwrap().strip_prefix("SCMP_CMP_").unwrap();
            let operator = OPERATORS.iter().position(|other| *other == operator).unwrap();
            text += &format!(" {} {operator} {} {}", arg["index"], arg["value"], arg["valueTwo"]);
        }
        text.push('\n');
    }
    text + "end\n"
}

fn build(dir: &Path) -> Option<PathBuf> {
    let program = dir.join("libseccomp");
    let mut gcc = Command::new("gcc");
    gcc.arg("-o").arg(&program).args([SOURCE, "-lseccomp"]).stderr(Stdio::null());
    gcc.status().is_ok_and(|status| status.success()).then_some(program)
}

fn programs(program: &Path, text: String) -> Vec<Vec<libc::sock_filter>> {
    let mut command = Command::new(program);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run the C program");
    let mut input = child.stdin.take().expect("stdin");
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let mut bytes = Vec::new();
    child.stdout.take().expect("stdout").read_to_end(&mut bytes).expect("programs");
    writer.join().expect("a thread").expect("write profiles");
    assert!(child.wait().expect("wait").success());
    let mut rest = &bytes[..];
    let mut found = Vec::new();
    while let Some((size, after)) = rest.split_first_chunk() {
        let (program, after) = after.split_at(u32::from_ne_bytes(*size) as usize);
        let instruction = |bytes: &[u8]| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        found.push(program.chunks_exact(8).map(instruction).collect());
        rest = after;
    }
    found
}

#[test]
fn libseccomp_gives_the_same_verdicts() {
    let dir = std::env::temp_dir().join(format!("seccomp-test-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a temporary directory");
    let built = build(&dir);
    let Some(program) = built.filter(|_| cfg!(target_arch = "x86_64")) else {
        let _ = std::fs::remove_dir_all(&dir);
        let _ = writeln!(std::io::stderr(), "SKIPPED: gcc, libseccomp-dev and x86_64 are needed");
        return;
    };
    let rounds = std::env::var("MINIRUN_SECCOMP_ROUNDS").ok().and_then(|text| text.parse().ok());
    let mut random = Random(0x5ecc_0417);
    for (machine, abis) in MACHINES {
        let (mut compared, names) = (0, names(abis));
        for _ in 0..rounds.unwrap_or(1) {
            compared += one_round(&program, machine, abis, &names, &mut random);
        }
        // Past the test harness, which would keep it to itself where all is well.
        if rounds.is_some() {
            let _ = writeln!(std::io::stderr(), "{machine:?}: {compared} calls compared");
        }
        assert!(compared > 30_000, "{compared} on {machine:?}");
    }
    let _ = std::fs::remove_dir_all(&dir);
}

/// How many calls were compared under a hundred profiles.
fn one_round(
    program: &Path,
    machine: Machine,
    abis: &[(Abi, &str, u32)],
    names: &[&'static str],
    random: &mut Random,
) -> usize {
    let profiles: Vec<Value> = (0..100).map(|_| random_profile(random, names, abis)).collect();
    let parse = |json: &Value| serde_json::from_value::<LinuxSeccomp>(json.clone()).unwrap();
    let parsed: Vec<LinuxSeccomp> = profiles.iter().map(parse).collect();
    let mut read: Vec<Profile<'_>> =
        parsed.iter().map(|profile| profile::read(profile).expect("a profile")).collect();
    let text =
        profiles.iter().zip(&read).map(|(json, profile)| for_libseccomp(json, profile, abis));
    let theirs = programs(program, text.collect());
    assert_eq!(theirs.len(), profiles.len());
    let mut compared = 0;
    for ((profile, json), theirs) in read.iter_mut().zip(&profiles).zip(theirs) {
        if theirs.is_empty() {
            // What contradicts itself on a 32-bit ABI alone, where values are cut off.
            continue;
        }
        let whole = compiler::compile(profile, machine);
        let whole = whole.unwrap_or_else(|refusal| panic!("{refusal:?}: {json:#}"));
        // ENOSYS for what is newer than the profile is not libseccomp's doing.
        let newest = std::mem::replace(&mut profile.enosys, false);
        let ours = compiler::compile(profile, machine).expect("what libseccomp takes");
        assert_eq!(ours, compiler::compile(profile, machine).expect("the same"));
        for (abi, ..) in abis {
            let named = profile.rules.iter().flat_map(|rule| &rule.names);
            let newest =
                if newest { named.filter_map(|name| name.number(*abi)).max() } else { None };
            let covered = *abi == machine.own() || profile.abis.contains(abi);
            for (name, call) in calls(machine, *abi, random) {
                let (mine, _) = run(ours.program.instructions(), call);
                let (expected, _) = run(&theirs, call);
                assert_eq!(mine, expected, "{name} {call:x?} on {machine:?} under {json:#}");
                // A rule with the default action says nothing, also of arm's private calls.
                let is_named = || {
                    let rules = profile.rules.iter().filter(|rule| rule.action != profile.default);
                    rules.flat_map(|rule| &rule.names).any(|other| {
                        let number = other.number(*abi).or_else(|| other.private_number(*abi));
                        number == Some(call.number)
                    })
                };
                let unknown =
                    covered && newest.is_some_and(|newest| call.number > newest) && !is_named();
                let expected = if unknown { ENOSYS } else { expected };
                let (mine, _) = run(whole.program.instructions(), call);
                assert_eq!(mine, expected, "{name} {call:x?} with ENOSYS under {json:#}");
                compared += 1;
            }
        }
    }
    compared
}

/// Every call that an ABI has, and one that it hasn't.
fn calls(machine: Machine, abi: Abi, random: &mut Random) -> Vec<(&'static str, Call)> {
    let has = |row: &&Architecture| row.abis.contains(&abi);
    let architecture = machine.architectures().iter().find(has).expect("its architecture").audit;
    let names = SYSCALLS.iter().map(|row| row.0).chain(ARM_PRIVATE.iter().map(|row| row.0));
    let numbered = names.filter_map(|name| {
        let call = Syscall::named(name);
        Some((name, call.number(abi).or_else(|| call.private_number(abi))?))
    });
    let args = |random: &mut Random| {
        let args = [0; 6].map(|_| random.of(&VALUES).wrapping_add(random.below(3)).wrapping_sub(1));
        // The kernel passes no more to 32-bit programs; x32's are 64-bit ones.
        args.map(|arg| if abi == Abi::X32 { arg } else { arg & abi.argument_bits() })
    };
    numbered
        .chain([("", abi.first() + 1000)])
        .map(|(name, number)| (name, Call { number, architecture, args: args(random) }))
        .collect()
}

/// Whether a condition of a rule holds, said as plainly as can be.
fn holds(arg: &Value, args: &[u64; 6], bits: u64) -> bool {
    let number = |field: &str| arg[field].as_u64().unwrap();
    let given = args[number("index") as usize] & bits;
    let value = number("value") & bits;
    match arg["op"].as_str().unwrap() {
        "SCMP_CMP_EQ" => given == value,
        "SCMP_CMP_NE" => given != value,
        "SCMP_CMP_LT" => given < value,
        "SCMP_CMP_LE" => given <= value,
        "SCMP_CMP_GE" => given >= value,
        "SCMP_CMP_GT" => given > value,
        _ => given & value == number("valueTwo") & value,
    }
}

#[test]
fn any_rules_that_agree_on_the_action_are_an_or_of_ands() {
    let mut random = Random(0xb0f_b0f);
    for _ in 0..1000 {
        let mut rules = Vec::new();
        for _ in 0..1 + random.below(6) {
            let first = random.below(5);
            let args = (first..=first + random.below(2)).map(|index| {
                let operator = OPERATORS[1 + random.below(7) as usize];
                let mut arg = arg(index as u32, operator, random.of(&VALUES));
                arg["valueTwo"] = random.of(&VALUES).into();
                arg
            });
            let args: Vec<Value> = args.collect();
            rules.push(json!({ "names": ["mmap"], "action": "SCMP_ACT_ALLOW", "args": args }));
        }
        let filter = filter(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": rules,
        }));
        for _ in 0..40 {
            let args = [0; 6].map(|_| random.of(&VALUES).wrapping_add(random.below(3)));
            for (abi, bits) in
                [(Abi::X86_64, u64::MAX), (Abi::X32, 0xffff_ffff), (Abi::I386, 0xffff_ffff)]
            {
                let applies = |rule: &Value| {
                    rule["args"].as_array().unwrap().iter().all(|arg| holds(arg, &args, bits))
                };
                let expected = if rules.iter().any(applies) { ALLOW } else { EPERM };
                assert_eq!(says_on(&filter, abi, "mmap", &args), expected, "{args:x?} {rules:#?}");
            }
        }
    }
}
