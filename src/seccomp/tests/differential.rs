//! Random profiles and calls, judged by libseccomp's programs as well.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;
use crate::seccomp::abi::Abi;
use crate::seccomp::profile::Profile;
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

const ACTIONS: [&str; 5] = ["ALLOW", "ERRNO", "LOG", "TRAP", "KILL_PROCESS"];
const VALUES: [u64; 7] = [0, 1, 9, 0xffff_ffff, 1 << 32, (1 << 32) + 9, u64::MAX];
const ARCHITECTURES: [(&str, u32); 3] = [("X86_64", X86_64), ("X86", I386), ("X32", 0x4000_003e)];
/// By their numbers in libseccomp's `enum scmp_compare`.
const OPERATORS: [&str; 8] = ["", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

/// Names that libseccomp 2.5 knows, each on at least one ABI.
fn names() -> Vec<&'static str> {
    let is_old = |row: &&(&str, [i16; 5])| row.1[..3].iter().all(|number| *number <= 448);
    let is_common = |name: &&str| {
        let [abi @ .., _] = [Abi::X86_64, Abi::X32, Abi::I386, Abi::Arm];
        !name.ends_with("probe")
            && abi.iter().any(|abi| Syscall::named(name).number(*abi).is_some())
    };
    SYSCALLS.iter().filter(is_old).map(|row| row.0).filter(is_common).collect()
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

fn random_profile(random: &mut Random, names: &[&str]) -> Value {
    // Where an ABI has no call at all, libseccomp 2.5 compares numbers that it didn't load.
    let mut syscalls =
        vec![json!({ "names": ["getppid"], "action": "SCMP_ACT_TRACE", "args": [] })];
    for _ in 0..1 + random.below(40) {
        let name = random.of(names);
        rules(random, name, &mut syscalls);
    }
    let default = random.of(&ACTIONS);
    let architectures = ARCHITECTURES.iter().filter(|_| random.below(2) == 0);
    json!({
        "defaultAction": format!("SCMP_ACT_{default}"),
        "architectures": architectures.map(|(name, _)| format!("SCMP_ARCH_{name}")).collect::<Vec<_>>(),
        "syscalls": syscalls,
    })
}

/// The profile as the C program reads it.
fn for_libseccomp(json: &Value, profile: &Profile<'_>) -> String {
    let mut text = format!("new {}\n", profile.default);
    for (name, token) in ARCHITECTURES {
        if json["architectures"].as_array().unwrap().contains(&format!("SCMP_ARCH_{name}").into()) {
            text += &format!("arch {token}\n");
        }
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
    let (mut random, names) = (Random(0x5ecc_0417), names());
    let profiles: Vec<Value> = (0..300).map(|_| random_profile(&mut random, &names)).collect();
    let parse = |json: &Value| serde_json::from_value::<LinuxSeccomp>(json.clone()).unwrap();
    let parsed: Vec<LinuxSeccomp> = profiles.iter().map(parse).collect();
    let mut read: Vec<Profile<'_>> =
        parsed.iter().map(|profile| profile::read(profile).expect("a profile")).collect();
    let text = profiles.iter().zip(&read).map(|(json, profile)| for_libseccomp(json, profile));
    let theirs = programs(&program, text.collect());
    let _ = std::fs::remove_dir_all(&dir);
    assert_eq!(theirs.len(), profiles.len());
    let mut compared = 0;
    for ((profile, json), theirs) in read.iter_mut().zip(&profiles).zip(theirs) {
        // That is not libseccomp's doing.
        profile.enosys = false;
        if theirs.is_empty() {
            // What contradicts itself on i386 alone, where values are cut off.
            continue;
        }
        let ours = compiler::compile(profile, Machine::X86_64).expect("what libseccomp takes");
        for rule in &profile.rules {
            for (abi, architecture) in
                [(Abi::X86_64, X86_64), (Abi::X32, X86_64), (Abi::I386, I386)]
            {
                let Some(number) = rule.names[0].number(abi) else { continue };
                for near in [number.wrapping_sub(1), number, number + 1] {
                    let args = [0; 6]
                        .map(|_| random.of(&VALUES).wrapping_add(random.below(3)).wrapping_sub(1));
                    let mask = if abi == Abi::I386 { 0xffff_ffff } else { u64::MAX };
                    let args = args.map(|arg| arg & mask);
                    let call = Call { number: near, architecture, args };
                    let (mine, _) = run(ours.program.instructions(), call);
                    let (expected, _) = run(&theirs, call);
                    assert_eq!(mine, expected, "{call:?} ({}) under {json:#}", rule.names[0].name);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 20_000, "{compared}");
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
